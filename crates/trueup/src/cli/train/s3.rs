//! The history of a stream from objects in S3: copied beside the training set, read as files are,
//! and removed.

use super::Args;
use crate::cli::Failure;
#[cfg(feature = "s3")]
use crate::{
    cli::common::{self, failed},
    clock::Clock,
    spool::{Spool, s3::Bucket},
};
use std::sync::Arc;
use trueup_offline::{History, Progress};
use trueup_sql::Stream;

#[cfg(feature = "s3")]
pub(super) fn history(
    args: &Args,
    stream: &Arc<Stream>,
    said: &str,
    watch: &(dyn Fn(Progress) + Sync),
) -> Result<History, Failure> {
    use std::path::Path;
    let bucket = Bucket::new(said, |name| std::env::var(name).ok(), Clock::system());
    let bucket = bucket.map_err(failed)?;
    // Where the training set comes to lie there is room for what it is made of.
    let out = args.out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = out.unwrap_or(Path::new("."));
    let folder = tempfile::Builder::new().prefix(".history-").tempdir_in(folder);
    let folder = folder.map_err(|error| failed(format!("--out: {error}")))?;
    let spool = Spool::new(folder.path(), &stream.name);
    let copied = common::runtime()?.block_on(bucket.copy(&spool, &|_, _| {}));
    let copied = copied.map_err(failed)?;
    let files = copied.files().map_err(failed)?;
    History::of_files(stream, &files, watch).map_err(failed)
}

#[cfg(not(feature = "s3"))]
pub(super) fn history(
    _: &Args,
    _: &Arc<Stream>,
    said: &str,
    _: &(dyn Fn(Progress) + Sync),
) -> Result<History, Failure> {
    Err(format!("error: --history {said}: {}", crate::spool::NO_S3).into())
}
