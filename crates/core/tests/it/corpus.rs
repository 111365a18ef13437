//! The codec fuzzer's corpus, run once: the target compiles, and what was found stays found.

use std::path::Path;

#[path = "../../../../fuzz/targets/codec/work.rs"]
mod codec;

/// The memory that work holds is counted by the fuzzer, which has an allocator of its own.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    (work(), 0)
}

#[test]
fn the_corpus_of_states_is_read_and_folded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/codec");
    let files = std::fs::read_dir(folder).unwrap();
    let run = |file: std::io::Result<std::fs::DirEntry>| {
        codec::run(&std::fs::read(file.unwrap().path()).unwrap());
    };
    assert!(files.map(run).count() > 0);
}
