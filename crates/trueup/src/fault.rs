//! Places at which a test can end the process as a crash would. Without the feature `testing` they
//! are nothing.

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

/// Nothing, outside tests.
#[cfg(not(feature = "testing"))]
pub fn point(_place: &str) {}
