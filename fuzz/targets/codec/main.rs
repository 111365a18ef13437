//! The fuzz target codec: any bytes as the state of a key.
//! `work.rs` says what must hold; a test of the crate that it is about runs the corpus through it
//! too.
#![no_main]

mod memory;
mod work;

use libfuzzer_sys::fuzz_target;
use memory::peak_of;

#[global_allocator]
static MEMORY: memory::Counting = memory::Counting;

fuzz_target!(|bytes: &[u8]| work::run(bytes));
