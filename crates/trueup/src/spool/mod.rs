//! A history that is elsewhere, copied into files of this machine before it is read: a backfill may
//! be killed and has to go on from the same rows, in the same order, whatever becomes of where they
//! came from.
//!
//! ```text
//! history-STREAM/copying/…        while it is being written; never read
//!        └▶ files synced ─▶ _copy.json synced ─▶ renamed ─▶ folder synced
//! history-STREAM/copy/            whole: names and lengths of its files stand in _copy.json
//!        └▶ _copy.json removed ─▶ the rest
//! ```
//!
//! So a copy is whole or it is none, and what was broken off is begun anew. Its files' names hold a
//! number of its own, by which the backfill's plan knows it from any other copy.

#[cfg(feature = "s3")]
pub mod s3;
mod table;

pub use table::{Copy, CopyError, Origin, copy, decoded};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use trueup_offline::{EventFile, OfflineError};
use xxhash_rust::xxh3::xxh3_64;

/// The history that is a stream's table in the settings' database.
pub const DATABASE: &str = "database";

/// What is said of [`SCHEME`] where it cannot be read.
#[cfg(not(feature = "s3"))]
pub(crate) const NO_S3: &str = "this program was built without S3; build it with the feature `s3`";

/// How a history in a bucket of S3 is written.
pub const SCHEME: &str = "s3://";

/// What is said of a copy; a name that histories pass over.
const MANIFEST: &str = "_copy.json";

/// Bytes at which a file is full. One who goes on in the middle reads its file from the beginning.
const ROLL_BYTES: u64 = 64 << 20;

/// Where the copies of one stream's history are.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
}

/// What a copy is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What it is a copy of, without secrets.
    pub of: String,
    /// How its rows are to be understood: the stream's columns, and which ones these were.
    pub columns: Vec<String>,
    /// When it was begun, microseconds since 1970.
    pub taken_us: i64,
    /// Rows that are in it.
    pub rows: u64,
    /// Rows that the log brings, and that are not in it therefore.
    pub left_out: u64,
    /// The log that these were left out for.
    pub log: u32,
    /// By partition of that log, the first offset that the history has not; none if the copy was
    /// made for no log.
    pub up_to: Option<BTreeMap<u32, u64>>,
    /// Its files, in their order.
    pub files: Vec<CopiedFile>,
}

/// A file of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// What it is a copy of, for people.
    pub of: String,
}

/// A copy that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complete {
    /// The folder with its files.
    pub folder: PathBuf,
    /// What it is.
    pub manifest: Manifest,
}

impl Complete {
    /// Its files, each called by what it is a copy of.
    ///
    /// # Errors
    /// [`OfflineError`], if they cannot be looked at.
    pub fn files(&self) -> Result<Vec<EventFile>, OfflineError> {
        // Their names have the order of the copy.
        let named = EventFile::all(&self.folder)?.into_iter().zip(&self.manifest.files);
        Ok(named.map(|(file, copied)| file.called(&copied.of)).collect())
    }
}

/// The disk did not do what a copy needs.
#[derive(Debug)]
pub struct SpoolError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let SpoolError { path, error } = self;
        write!(f, "the copy of the history: {}: {error}", path.display())?;
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => f.write_str(
                "; make room, or name a folder on a larger disk with --data; nothing of the copy \
                 is left, and the state is as it was",
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for SpoolError {}

/// Puts the place to what the system said.
fn at(path: &Path) -> impl Fn(io::Error) -> SpoolError {
    move |error| SpoolError { path: path.to_owned(), error }
}

impl Spool {
    /// That of a stream, in a folder that this process has for itself.
    pub fn new(data: &Path, stream: &str) -> Spool {
        Spool { folder: data.join(format!("history-{:016x}", xxh3_64(stream.as_bytes()))) }
    }

    /// The copy that is whole, if there is one.
    ///
    /// # Errors
    /// [`SpoolError`], if it cannot be looked at.
    pub fn complete(&self) -> Result<Option<Complete>, SpoolError> {
        let folder = self.folder.join("copy");
        let path = folder.join(MANIFEST);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&text) else { return Ok(None) };
        for file in &manifest.files {
            let path = folder.join(&file.name);
            match std::fs::metadata(&path) {
                Ok(about) if about.len() == file.bytes => {}
                Ok(_) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(at(&path)(error)),
            }
        }
        Ok(Some(Complete { folder, manifest }))
    }

    /// Begins a copy, and removes what there was.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn begin(&self) -> Result<Writer, SpoolError> {
        self.remove()?;
        let folder = self.copying();
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        let (spool, number) = (self.clone(), number(&folder)?);
        Ok(Writer { spool, folder, number, files: Vec::new(), file: None, is_whole: false })
    }

    /// Where it is while it is being written.
    fn copying(&self) -> PathBuf {
        self.folder.join("copying")
    }

    /// The files in that folder, each of which is on the disk, are the copy.
    fn publish(&self, copying: &Path, manifest: Manifest) -> Result<Complete, SpoolError> {
        let path = copying.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| at(&path)(error.into()))?;
        let write = || -> io::Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(&text)?;
            file.sync_all()?;
            File::open(copying)?.sync_all()
        };
        write().map_err(at(&path))?;
        let folder = self.folder.join("copy");
        crate::fault::point("history-whole");
        std::fs::rename(copying, &folder).map_err(at(&folder))?;
        let above = &self.folder;
        File::open(above).and_then(|above| above.sync_all()).map_err(at(above))?;
        Ok(Complete { folder, manifest })
    }

    /// Removes the copy, whole or not.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn remove(&self) -> Result<(), SpoolError> {
        let manifest = self.folder.join("copy").join(MANIFEST);
        let there = |done: io::Result<()>| match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        // First, so that what is removed by half is no copy.
        there(std::fs::remove_file(&manifest)).map_err(at(&manifest))?;
        there(std::fs::remove_dir_all(&self.folder)).map_err(at(&self.folder))
    }
}

/// A number that no other copy has.
fn number(folder: &Path) -> Result<u64, SpoolError> {
    getrandom::u64().map_err(|error| at(folder)(io::Error::other(error)))
}

/// Writes a copy. Dropped before its end it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    spool: Spool,
    folder: PathBuf,
    /// This copy's own.
    number: u64,
    files: Vec<CopiedFile>,
    file: Option<BufWriter<File>>,
    is_whole: bool,
}

impl Writer {
    /// Adds a row as a line of JSON.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn line(&mut self, line: &[u8]) -> Result<(), SpoolError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let name = format!("{:016x}-{:06}.jsonl", self.number, self.files.len());
                let path = self.folder.join(&name);
                let file = File::create_new(&path).map_err(at(&path))?;
                self.files.push(CopiedFile { name, ..CopiedFile::default() });
                none.insert(BufWriter::with_capacity(1 << 20, file))
            }
        };
        let written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
        let last = self.files.last_mut();
        let bytes = last.map_or(0, |last| {
            last.bytes += line.len() as u64 + 1;
            last.bytes
        });
        written.map_err(at(&self.folder))?;
        if bytes >= ROLL_BYTES { self.close() } else { Ok(()) }
    }

    /// The file that is open is on the disk, and no longer open.
    fn close(&mut self) -> Result<(), SpoolError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let file = file.into_inner().map_err(|error| at(&self.folder)(error.into_error()))?;
        file.sync_all().map_err(at(&self.folder))
    }

    /// The copy is whole; `manifest` says all of it but its files.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn finish(mut self, manifest: Manifest) -> Result<Complete, SpoolError> {
        self.close()?;
        if self.files.is_empty() {
            // A history has one file at least.
            let name = format!("{:016x}-{:06}.jsonl", self.number, 0);
            File::create_new(self.folder.join(&name)).map_err(at(&self.folder))?;
            self.files.push(CopiedFile { name, ..CopiedFile::default() });
        }
        let of = &manifest.of;
        self.files.iter_mut().for_each(|file| file.of = format!("{of}, copy {}", file.name));
        let manifest = Manifest { files: std::mem::take(&mut self.files), ..manifest };
        let complete = self.spool.publish(&self.folder, manifest)?;
        self.is_whole = true;
        Ok(complete)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_whole {
            // What cannot be removed is no copy, and is removed before the next.
            let _ = self.spool.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), "pay/ments");
        (folder, spool)
    }

    fn manifest() -> Manifest {
        Manifest {
            of: "table a".into(),
            up_to: Some(BTreeMap::from([(3, 7)])),
            ..Manifest::default()
        }
    }

    #[test]
    fn a_copy_is_found_again_as_it_was_finished_and_gone_when_it_is_removed() {
        let (folder, spool) = spool();
        assert_eq!(spool.complete().unwrap(), None);
        let mut writer = spool.begin().unwrap();
        for line in ["{}", "[1]"] {
            writer.line(line.as_bytes()).unwrap();
        }
        let complete = writer.finish(manifest()).unwrap();
        assert_eq!(spool.complete().unwrap(), Some(complete.clone()));
        assert_eq!(complete.manifest.up_to, manifest().up_to);
        let [file] = &complete.manifest.files[..] else { panic!("{complete:?}") };
        let text = std::fs::read_to_string(complete.folder.join(&file.name)).unwrap();
        assert_eq!(text, "{}\n[1]\n");
        let next = spool.begin().unwrap().finish(manifest()).unwrap();
        assert_ne!(next.manifest.files[0].name, file.name, "two copies have one name");
        spool.remove().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// The harm: a part of a table that is taken for all of it.
    #[test]
    fn what_is_not_whole_is_no_copy() {
        let (folder, spool) = spool();
        let mut writer = spool.begin().unwrap();
        writer.line(b"{}").unwrap();
        assert_eq!(spool.complete().unwrap(), None, "while it is being written");
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something is left");
        let harms: [fn(&Path); 3] = [
            |file| std::fs::write(file, "{").unwrap(),
            |file| std::fs::remove_file(file).unwrap(),
            |file| std::fs::write(file.with_file_name(MANIFEST), "{\"of\": 1").unwrap(),
        ];
        for harm in harms {
            let mut writer = spool.begin().unwrap();
            writer.line(b"{}").unwrap();
            let complete = writer.finish(manifest()).unwrap();
            harm(&complete.folder.join(&complete.manifest.files[0].name));
            assert_eq!(spool.complete().unwrap(), None);
        }
    }

    #[test]
    fn a_disk_that_is_full_is_named_with_what_to_do() {
        let error = SpoolError { path: "a".into(), error: io::ErrorKind::StorageFull.into() };
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
