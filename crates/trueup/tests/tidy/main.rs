//! The rules of the house, each held by a test of its own, so that none is only written down.
//!
//! A rule's failure names the file, the line and the remedy. What was over a limit when its rule
//! came is held by a ratchet: a list of exceptions that may shrink and never grow.

mod edges;
mod lints;
mod map;
mod sizes;
mod tree;
mod words;
