//! The fuzz target sql: any text as a definition.
//! `work.rs` says what must hold; a test of the crate that it is about runs the corpus through it
//! too.
#![no_main]

mod work;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| work::run(bytes));
