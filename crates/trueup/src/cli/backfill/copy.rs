//! A history that is a table of the settings' database, copied but for what the log brings before
//! it is read; or objects in S3, copied whole. `docs/operations.md` says what has to hold of table
//! and log.
//!
//! ```text
//! places of --up-to ─▶ snapshot ─▶ wait --log-lag ─▶ the log's end ─▶ ids from there to the end
//!                                                        └▶ rows of the snapshot without these
//! ```

use super::{Args, Job, failed};
use crate::cli::Failure;
use crate::cli::progress::bar;
use crate::clock::Clock;
use crate::ingest::IngestError;
use crate::ingest::backfill::{LogState, Overlap, Reading, UpTo};
use crate::node;
use crate::settings::{Settings, duration};
#[cfg(feature = "s3")]
use crate::spool::s3::Bucket;
use crate::spool::{Complete, Manifest, Origin, copy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use trueup_sql::decode::print::Timestamp;

/// Tells a thread to end when nobody waits for it any more.
struct Watched(Arc<AtomicBool>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The copy of the stream's table that is there already, or a new one.
pub(super) async fn of_table(
    job: &Job,
    args: &Args,
    settings: &Settings,
) -> Result<Complete, Failure> {
    let lag = duration(&args.log_lag).map_err(|why| format!("error: --log-lag: {why}"))?;
    let part = &job.catalog.streams()[job.stream];
    let away = |error: &dyn std::fmt::Display| failed(format!("setting database: {error}"));
    let origin = Origin::new(settings.database.as_ref(), &part.stream);
    let origin = origin.map_err(|error| away(&error))?;
    let log = job.log().map_err(failed)?;
    if !args.again
        && let Some(copy) = job.spool.complete().map_err(failed)?
        && fits(&copy.manifest, &origin, &log, args.up_to.as_ref())
    {
        return Ok(copy);
    }
    let up_to = args.up_to.as_ref().ok_or(
        "error: --history database needs --up-to: the place from which on events come from the \
         log. The table must hold all that the log has before it; what the log has from there on \
         is left out of the copy. `first` takes all that the log has from the log",
    )?;
    let up_to = job.target.may_begin(&log, up_to, args.again).await.map_err(failed)?;
    let taken_us = Clock::system().now().0;
    let mut snapshot = origin.snapshot().await.map_err(|error| away(&error))?;
    // Only now: until the database is there, an older copy may be the better one.
    let mut writer = job.spool.begin().map_err(failed)?;
    let overlap = overlap(job, args, settings, &up_to, lag).await?;
    let bar = bar(None, "copying rows");
    let told = |rows| bar.set_position(rows);
    let leaves_out = |id: &_| overlap.holds(id);
    let copied = copy(&mut snapshot, part, &leaves_out, &mut writer, &told).await;
    let copied = copied.map_err(failed)?;
    bar.finish_and_clear();
    let manifest = Manifest {
        of: origin.name(),
        columns: origin.columns(),
        taken_us,
        rows: copied.rows,
        left_out: copied.left_out,
        log: log.number(),
        up_to: Some(up_to),
        files: Vec::new(),
    };
    let complete = writer.finish(manifest).map_err(failed)?;
    crate::fault::point("history-copied");
    let (name, at) = (job.stream_name(), Timestamp(taken_us));
    let Manifest { of, rows, left_out, .. } = &complete.manifest;
    eprintln!(
        "{name}: {of} as it was at {at}: {rows} rows, {left_out} left out that the log brings"
    );
    Ok(complete)
}

/// Whether a copy is what is asked for, and of a log that is still the same.
fn fits(manifest: &Manifest, origin: &Origin<'_>, log: &LogState, up_to: Option<&UpTo>) -> bool {
    let is_asked = match up_to {
        Some(UpTo::Places(places)) => manifest.up_to.as_ref() == Some(places),
        // Settled when it was copied.
        Some(UpTo::First | UpTo::End) | None => true,
    };
    is_asked
        && manifest.log == log.number()
        && manifest.of == origin.name()
        && manifest.columns == origin.columns()
}

/// The events that the log brings from these places on, of all that a snapshot taken before this
/// call may hold.
async fn overlap(
    job: &Job,
    args: &Args,
    settings: &Settings,
    up_to: &BTreeMap<u32, u64>,
    lag: Duration,
) -> Result<Overlap, Failure> {
    // The local log is this process's alone: nobody puts anything in meanwhile.
    if job.source.is_some() {
        eprintln!("{}: waiting {lag:?} for the log", job.stream_name());
        tokio::time::sleep(lag).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let watched = Watched(Arc::clone(&stop));
    let (catalog, stream, source) = (Arc::clone(&job.catalog), job.stream, job.source.clone());
    let (logs, up_to, most) = (Arc::clone(&job.logs), up_to.clone(), args.overlap);
    let avro = settings.avro.get(job.stream_name()).cloned();
    let reading = tokio::task::spawn_blocking(move || {
        let part = &catalog.streams()[stream];
        let log = node::log_reader(source.as_ref(), &part.stream.name, &logs);
        let mut log = log.map_err(IngestError::from)?;
        let avro = avro.as_deref();
        Reading { part, avro, from: &up_to, most, stop: &stop }.read(&mut *log)
    });
    let overlap = reading.await.map_err(failed)?.map_err(failed)?;
    drop(watched);
    Ok(overlap)
}

/// The copy of a bucket's objects that is there already, or a new one.
#[cfg(feature = "s3")]
pub(super) async fn of_objects(job: &Job, args: &Args, said: &str) -> Result<Complete, Failure> {
    let bucket = Bucket::new(said, |name| std::env::var(name).ok(), Clock::system());
    let bucket = bucket.map_err(failed)?;
    if !args.again
        && let Some(copy) = job.spool.complete().map_err(failed)?
        && copy.manifest.of == bucket.name()
    {
        return Ok(copy);
    }
    let log = job.log().map_err(failed)?;
    let up_to = args.up_to.as_ref().unwrap_or(&UpTo::First);
    job.target.may_begin(&log, up_to, args.again).await.map_err(failed)?;
    if args.again {
        job.spool.remove().map_err(failed)?;
    }
    let bar = bar(Some(1), "copying bytes");
    let told = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let complete = bucket.copy(&job.spool, &told).await.map_err(failed)?;
    bar.finish_and_clear();
    Ok(complete)
}

#[cfg(not(feature = "s3"))]
pub(super) async fn of_objects(_: &Job, _: &Args, said: &str) -> Result<Complete, Failure> {
    Err(failed(format!("--history {said}: {}", crate::spool::NO_S3)))
}
