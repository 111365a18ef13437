//! Any text as a definition: an error or definitions, never a panic.
//!
//! The compiler catches a panic of its own and says that it is a mistake in Trueup; libFuzzer's
//! hook stops at the panic itself, so that it is found here all the same.
use trueup_sql::{SourceFile, compile};

/// Streams for texts that declare none: those of the crate's own tests.
const STREAMS: &str = include_str!("../../../crates/sql/tests/it/streams.sql");

/// One input.
pub(super) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut files = vec![SourceFile { name: "v.sql".into(), text: text.to_string() }];
    if !text.contains("CREATE TABLE") {
        files.push(SourceFile { name: "streams.sql".into(), text: STREAMS.into() });
    }
    if let Err(errors) = compile(&files) {
        assert!(!errors.0.is_empty(), "refused without a reason");
        let message = errors.to_string();
        assert!(!message.contains("a mistake in Trueup"), "{message}");
    }
}
