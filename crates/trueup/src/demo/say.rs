//! What the demo says while it works, on standard error: a bar on a terminal, and a line for each
//! phase with the time that it took.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Updates a second: enough to look alive, too few to cost anything while something is measured.
const DRAWS_A_SECOND: u8 = 5;

/// How often the clock of a phase without a count moves on.
const TICK: Duration = Duration::from_millis(500);

/// A phase under way.
pub(super) struct Phase {
    what: String,
    began: Instant,
    bar: ProgressBar,
}

impl Phase {
    /// Begins a phase of `total` steps, or one whose end is not known.
    pub(super) fn begin(what: impl Into<String>, total: Option<u64>) -> Phase {
        let what = what.into();
        let bar = match std::io::stderr().is_terminal() {
            true => bar(total),
            false => ProgressBar::hidden(),
        };
        bar.set_message(what.clone());
        Phase { what, began: Instant::now(), bar }
    }

    /// So many steps are done.
    pub(super) fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Ends the phase; `result` says what came out.
    pub(super) fn end(self, result: &str) {
        self.bar.finish_and_clear();
        eprintln!("{:>6.1} s  {}: {result}", self.began.elapsed().as_secs_f64(), self.what);
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(DRAWS_A_SECOND);
    let bar = ProgressBar::with_draw_target(total, target);
    let template = match total {
        Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
        None => "{msg} {elapsed}",
    };
    // Both templates are sound; what they would be replaced by shows the same.
    bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
    if total.is_none() {
        bar.enable_steady_tick(TICK);
    }
    bar
}
