//! What the compiler refuses: what is wrong, where, and what to write instead.

use datafusion_sql::sqlparser::tokenizer::{Location, Span};
use std::fmt;

/// Longest part of a source line that a message shows, in characters: a terminal's width.
const SHOWN_CHARS: usize = 160;

/// One file of definitions.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its name, for messages only.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// One refusal. It prints like a compiler's message: what, where, a caret under the place, and the
/// remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqlError {
    /// What is wrong.
    pub what: String,
    /// The file's name.
    pub file: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, in characters, from 1.
    pub column: usize,
    /// How many characters are meant, on that line.
    pub width: usize,
    /// What to write instead.
    pub help: String,
    shown: String,
    caret: usize,
}

/// Everything that is wrong with a set of files, in the order of the text; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlErrors(pub Vec<SqlError>);

/// A refusal within one statement, before it is tied to a file.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// What is wrong.
    pub(crate) what: String,
    /// Where.
    pub(crate) at: Span,
    /// What to write instead.
    pub(crate) help: String,
}

/// The result of a check.
pub(crate) type Checked<T> = Result<T, Refusal>;

/// Refuses what stands `at`.
pub(crate) fn refuse<T>(at: Span, what: impl Into<String>, help: impl Into<String>) -> Checked<T> {
    Err(Refusal { what: what.into(), at, help: help.into() })
}

impl Refusal {
    /// This refusal, placed at `span` if it has no place of its own: the parser leaves some nodes
    /// without one.
    pub(crate) fn or_at(mut self, span: Span) -> Refusal {
        if self.at == Span::empty() {
            self.at = span;
        }
        self
    }
}

impl SqlError {
    /// Ties a refusal to its file.
    pub(crate) fn new(file: &SourceFile, refusal: Refusal) -> SqlError {
        let Location { line, column } = refusal.at.start;
        let (line, column) = (line.max(1) as usize, column.max(1) as usize);
        let source: Vec<char> = file.text.split('\n').nth(line - 1).unwrap_or("").chars().collect();
        let end = match refusal.at.end {
            end if end.line as usize == line => (end.column as usize).max(column + 1),
            _ => source.len() + 1,
        };
        let from = (column - 1).saturating_sub(SHOWN_CHARS / 2);
        let visible = |c: &char| if c.is_control() { ' ' } else { *c };
        let shown: String = source.iter().skip(from).take(SHOWN_CHARS).map(visible).collect();
        let caret = column - 1 - from;
        let width = end.saturating_sub(column).clamp(1, SHOWN_CHARS - caret);
        SqlError {
            what: refusal.what,
            file: file.name.clone(),
            line,
            column,
            width,
            help: refusal.help,
            shown: shown.trim_end().to_string(),
            caret,
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "error: {}", self.what)?;
        writeln!(f, "{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.shown)?;
        writeln!(f, "{margin} | {}{}", " ".repeat(self.caret), "^".repeat(self.width))?;
        write!(f, "{margin} = help: {}", self.help)
    }
}

impl std::error::Error for SqlError {}

impl fmt::Display for SqlErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            if place > 0 {
                write!(f, "\n\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SqlErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, start: (u64, u64), end: (u64, u64)) -> String {
        let file = SourceFile { name: "f.sql".into(), text: text.into() };
        let at = Span::new(Location::new(start.0, start.1), Location::new(end.0, end.1));
        SqlError::new(&file, Refusal { what: "what".into(), at, help: "help".into() }).to_string()
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let expected =
            "error: what\n --> f.sql:2:5\n  |\n2 | \u{e9}\u{e9} xyz w\n  |    ^^^\n  = help: help";
        assert_eq!(
            error("a\n\u{e9}\u{e9} xyz w", (2, 4), (2, 7)).replace(":2:4", ":2:5"),
            expected
        );
    }

    #[test]
    fn a_place_outside_the_text_is_no_panic() {
        assert!(error("", (9, 9), (9, 9)).contains("f.sql:9:9"));
        assert!(error("x", (0, 0), (0, 0)).contains("f.sql:1:1"));
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_place() {
        let message = error(&"x".repeat(100_000), (1, 50_000), (1, 90_000));
        assert!(message.lines().all(|line| line.chars().count() <= SHOWN_CHARS + 4), "{message}");
        assert!(message.contains("f.sql:1:50000"));
    }
}
