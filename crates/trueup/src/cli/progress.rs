//! Progress of long work: a bar when standard error is a terminal, nothing otherwise.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// Updates a second: enough to look alive, too few to cost anything.
const DRAWS_A_SECOND: u8 = 10;

/// A bar of `total` units of `what`, or a counter where the total is not known.
pub(super) fn bar(total: Option<u64>, what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let target = ProgressDrawTarget::stderr_with_hz(DRAWS_A_SECOND);
    let bar = ProgressBar::with_draw_target(total, target);
    let template = match total {
        Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
        None => "{msg} {human_pos} {per_sec}",
    };
    // The templates above are sound; a test draws them.
    bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
    bar.set_message(what.to_string());
    bar
}
