//! Digests: SHA-256 over a canonical text, one fact on a line.
//!
//! ```text
//! trueup <view|group|definitions> arithmetic <version>
//! stream <name>
//! column <name> <type> [not null]            one line each, in order
//! id <place> time <place> known <place>
//! lateness <us> future <us> reorder <us> epoch <unit>
//! filter <expression>
//! group: keys <names> / keep <how> / id <how> / slot <expression> ... / aggregate <text> ...
//! view:  feature <lookup and aggregate> ... / output <name> <type> <expression> ...
//! definitions: the streams and view <name> <digest> ..., each by name
//! ```
//!
//! Expressions are printed from the parse tree with names resolved and unqualified, so layout,
//! comments, letter case and table aliases do not show. Every line is preceded by its length, so no
//! text can imitate two lines.

use sha2::Digest as _;
use std::fmt;
use trueup_decode::print::Hex;

/// Version of the arithmetic of `trueup_core`: raised whenever the same events could give another
/// value.
pub const ARITHMETIC_VERSION: u32 = 1;

/// A SHA-256 digest of a definition. Prints as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The first 16 hex digits: enough to tell definitions apart at a glance.
    pub fn short(&self) -> String {
        Hex(&self.0[..8]).to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// A canonical text in the making.
pub(crate) struct Canon(sha2::Sha256);

impl Canon {
    /// Begins the text of a `what` ("view", "group" or "definitions").
    pub(crate) fn new(what: &str) -> Canon {
        let mut canon = Canon(sha2::Sha256::new());
        canon.line(format_args!("trueup {what} arithmetic {ARITHMETIC_VERSION}"));
        canon
    }

    /// Adds one fact.
    pub(crate) fn line(&mut self, fact: impl fmt::Display) {
        let text = fact.to_string();
        self.0.update(format!("{}:", text.len()));
        self.0.update(text.as_bytes());
        self.0.update(b"\n");
    }

    /// The digest of all facts.
    pub(crate) fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_facts_never_read_as_one() {
        let digest_of = |facts: &[&str]| {
            let mut canon = Canon::new("view");
            facts.iter().for_each(|fact| canon.line(fact));
            canon.digest()
        };
        assert_ne!(digest_of(&["a", "b"]), digest_of(&["a\n1:b"]));
        assert_ne!(digest_of(&["a", "b"]), digest_of(&["b", "a"]));
        assert_eq!(digest_of(&["a", "b"]), digest_of(&["a", "b"]));
    }

    #[test]
    fn a_digest_prints_as_lower_case_hex() {
        let digest = Digest([0xAB; 32]);
        assert_eq!(digest.to_string(), "ab".repeat(32));
        assert_eq!(digest.short(), "ab".repeat(8));
    }
}
