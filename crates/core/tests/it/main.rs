//! The tests of `core` against what is obvious: rational arithmetic, the naive oracle, and each
//! other's bytes.

mod exact;
mod state;
