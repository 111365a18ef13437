//! Where `--watch` shows what it sees: a terminal that is drawn anew each time, or block after
//! block on anything else. Plain ANSI; `stty` sets the terminal such that a key is heard without
//! Enter, and says how large it is.

use crate::cli::{Failure, common};
use std::io::{IsTerminal, Read};
use std::process::{Command, Stdio};
use tokio::sync::watch;

/// Another screen, so that the one before comes back; without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// What is drawn on.
pub(super) struct Screen {
    /// `None` where it is no terminal.
    terminal: Option<Terminal>,
    shown: bool,
    /// Blocks are told apart by an empty line, objects by their line's end.
    apart: &'static str,
}

struct Terminal {
    /// What `stty` needs to put it back; `None` where keys cannot be heard.
    before: Option<String>,
    quit: watch::Receiver<bool>,
}

impl Screen {
    /// Takes the terminal, if there is one to take; `lines` are shown one after the other anyway.
    pub(super) fn open(lines: bool) -> Screen {
        let apart = if lines { "" } else { "\n" };
        if lines || !std::io::stdout().is_terminal() {
            return Screen { terminal: None, shown: false, apart };
        }
        let before = std::io::stdin().is_terminal().then(|| stty(&["-g"])).flatten();
        if before.is_some() {
            stty(&["-icanon", "-echo", "min", "1"]);
        }
        let (said, quit) = watch::channel(false);
        if before.is_some() {
            std::thread::spawn(move || hear(&said));
        }
        // What fails here fails again, and is said, at the first picture.
        let _ = common::print(ENTER);
        Screen { terminal: Some(Terminal { before, quit }), shown: false, apart }
    }

    /// Returns when somebody presses q.
    pub(super) async fn quit(&self) {
        if let Some(Terminal { quit, .. }) = &self.terminal
            && quit.clone().wait_for(|quit| *quit).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Shows a picture in place of the last one, or after it.
    pub(super) fn show(&mut self, text: &str) -> Result<(), Failure> {
        let first = !std::mem::replace(&mut self.shown, true);
        match &self.terminal {
            None if first => common::print(text),
            None => common::print(&format!("{}{text}", self.apart)),
            Some(_) => common::print(&picture(text, size())),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(Terminal { before, .. }) = &self.terminal {
            // The terminal is gone, or it is as it was.
            let _ = common::print(LEAVE);
            if let Some(before) = before {
                stty(&[before]);
            }
        }
    }
}

/// Says when q comes; ends with the input or the process.
fn hear(said: &watch::Sender<bool>) {
    let keys = std::io::stdin().lock().bytes().map_while(Result::ok);
    for key in keys {
        if matches!(key, b'q' | b'Q') {
            said.send_replace(true);
        }
    }
}

/// Lines and columns of the terminal, where it says.
fn size() -> Option<(usize, usize)> {
    let said = stty(&["size"])?;
    let (lines, columns) = said.split_once(' ')?;
    let size = (lines.parse().ok()?, columns.parse().ok()?);
    (size.0 > 0 && size.1 > 0).then_some(size)
}

fn stty(arguments: &[&str]) -> Option<String> {
    let mut stty = Command::new("stty");
    let said = stty.args(arguments).stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// What draws a text over the last one, no more of it than the terminal has room for: a line that
/// wraps, or one below the last, would move all others.
fn picture(text: &str, size: Option<(usize, usize)>) -> String {
    let (lines, columns) = size.unwrap_or((usize::MAX, usize::MAX));
    let mut picture = HOME.to_owned();
    let mut all = text.lines().chain(["", "q or Ctrl-C ends"]).take(lines).peekable();
    while let Some(line) = all.next() {
        picture.extend(line.chars().take(columns));
        picture += CLEAR_LINE;
        if all.peek().is_some() {
            picture += "\r\n";
        }
    }
    picture + CLEAR_REST
}

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn a_picture_has_no_more_lines_and_columns_than_the_terminal() {
        let drawn = picture("first line\nsecond\nthird\n", Some((2, 5)));
        assert_eq!(drawn, "\x1b[Hfirst\x1b[K\r\nsecon\x1b[K\x1b[J");
        let whole = picture("one\n", None);
        assert_eq!(whole, "\x1b[Hone\x1b[K\r\n\x1b[K\r\nq or Ctrl-C ends\x1b[K\x1b[J");
    }
}
