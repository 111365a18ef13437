//! Places, and records, at which a test can end the process as a crash would. Without the feature
//! `testing` they are nothing.

/// Ends the process at once if the environment variable `TRUEUP_CRASH` names this place and how
/// many times it is passed before: `compaction:3` survives three compactions.
#[cfg(feature = "testing")]
pub fn point(place: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};
    static CUE: OnceLock<Option<(String, AtomicI64)>> = OnceLock::new();
    let cue = CUE.get_or_init(|| {
        let said = std::env::var("TRUEUP_CRASH").ok()?;
        let (place, times) = said.split_once(':')?;
        Some((place.to_string(), AtomicI64::new(times.parse().ok()?)))
    });
    if let Some((named, left)) = cue
        && named == place
        && left.fetch_sub(1, Ordering::SeqCst) == 0
    {
        std::process::abort();
    }
}

/// Ends the process, or panics, if one of these records holds what the environment variable
/// `TRUEUP_POISON` names: `abort:TEXT` or `panic:TEXT`.
#[cfg(feature = "testing")]
pub fn poison(records: &[&[u8]]) {
    use std::sync::OnceLock;
    static CUE: OnceLock<Option<(bool, Vec<u8>)>> = OnceLock::new();
    let cue = CUE.get_or_init(|| {
        let said = std::env::var("TRUEUP_POISON").ok()?;
        let (how, text) = said.split_once(':')?;
        (!text.is_empty()).then(|| (how == "abort", text.as_bytes().to_vec()))
    });
    let Some((abort, text)) = cue else { return };
    if records.iter().any(|record| record.windows(text.len()).any(|found| found == &text[..])) {
        match abort {
            true => std::process::abort(),
            false => panic!("poisoned on cue"),
        }
    }
}

/// Nothing, outside tests.
#[cfg(not(feature = "testing"))]
pub fn poison(_records: &[&[u8]]) {}

/// Nothing, outside tests.
#[cfg(not(feature = "testing"))]
pub fn point(_place: &str) {}
