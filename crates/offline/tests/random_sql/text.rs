//! Generated SQL: an expression, how nearly its values must agree, and how DuckDB
//! spells it.
//!
//! One text serves both sides. Where they differ, both spellings stand in it, ours first, between
//! characters that no SQL has.

use std::collections::BTreeSet;
use trueup_core::testing::Dice;

/// What stands for an expression without a value where that is judged too.
pub(crate) const NO_VALUE: &str = "no value";

const OPEN: char = '\u{1}';
const OR: char = '\u{2}';
const CLOSE: char = '\u{3}';

/// The types of generated expressions; decimals of any scale are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    Int,
    Dec,
    Dbl,
    Text,
    Bool,
    Time,
    Date,
}

impl Ty {
    pub(crate) const ALL: [Ty; 7] =
        [Ty::Int, Ty::Dec, Ty::Dbl, Ty::Text, Ty::Bool, Ty::Time, Ty::Date];

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Ty::Int | Ty::Dec | Ty::Dbl)
    }
}

/// A generated expression.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) sql: String,
    /// How far DuckDB's value may be off, in 1e-9ths, as an expression of DuckDB's; `None` if it
    /// may not be off at all. Besides, a double may be off by 1e-9 of itself then.
    pub(crate) scale: Option<String>,
}

/// A column that expressions may name.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// As expressions write it: with the relation's name before it or without.
    pub(crate) name: String,
    pub(crate) ty: Ty,
}

/// The source of all choices for one definition, and a record of the constructs that it chose.
pub(crate) struct Gen {
    pub(crate) dice: Dice,
    /// What the expression at hand is made of, in words for the report.
    pub(crate) met: BTreeSet<String>,
}

impl Expr {
    /// An expression whose values must be equal.
    pub(crate) fn exact(sql: impl Into<String>) -> Expr {
        Expr { sql: sql.into(), scale: None }
    }

    /// A DOUBLE that may be off by 1e-9 of itself and of `scale`.
    pub(crate) fn near(sql: impl Into<String>, scale: impl Into<String>) -> Expr {
        Expr { sql: sql.into(), scale: Some(scale.into()) }
    }

    /// Whether a comparison with it decides alike on both sides.
    pub(crate) fn is_exact(&self) -> bool {
        self.scale.is_none()
    }
}

impl Gen {
    pub(crate) fn new(seed: u64) -> Gen {
        Gen { dice: Dice::new(seed), met: BTreeSet::new() }
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.dice.below(n)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.dice.one_in(n)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *self.dice.pick(from)
    }

    /// Notes that a construct was used.
    pub(crate) fn note(&mut self, construct: impl Into<String>) {
        self.met.insert(construct.into());
    }
}

/// Text that is `ours` for Trueup and `theirs` for DuckDB; neither may hold such text itself.
pub(crate) fn either(ours: &str, theirs: &str) -> String {
    format!("{OPEN}{ours}{OR}{theirs}{CLOSE}")
}

/// The text for Trueup.
pub(crate) fn ours(text: &str) -> String {
    resolved(text, true)
}

/// The text for DuckDB.
pub(crate) fn theirs(text: &str) -> String {
    resolved(text, false)
}

fn resolved(text: &str, first: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut kept = true;
    for c in text.chars() {
        match c {
            OPEN => kept = first,
            OR => kept = !first,
            CLOSE => kept = true,
            c if kept => out.push(c),
            _ => {}
        }
    }
    out
}
