//! The tests of `core` against what is obvious: rational arithmetic, the naive oracle, and each
//! other's bytes.

use proptest::prelude::ProptestConfig;

mod corpus;
mod exact;
mod fill;
mod fixtures;
mod harms;
mod inspect;
mod state;

/// Cases of each property: enough in release to meet rare conjunctions; `PROPTEST_CASES` overrides.
const CASES: u32 = if cfg!(debug_assertions) { 256 } else { 10_000 };

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = std::env::var_os("PROPTEST_CASES").map_or(CASES, |_| default.cases);
    ProptestConfig { cases, failure_persistence: None, ..default }
}
