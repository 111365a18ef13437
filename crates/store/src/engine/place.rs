//! Where a database file lives: what the engine needs of a directory, so that a test can put a disk
//! that fails in its place.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, StorageBackend};

/// Room held back beside each database, in bytes. When the disk is full it is given up, so that the
/// file can be repaired and read; some pages of allocator state are all that this takes. Writes
/// wait until it can be taken again.
const RESERVE_BYTES: usize = 4 << 20;

/// A place for one database file.
#[cfg_attr(not(feature = "testing"), expect(unreachable_pub, reason = "public for tests only"))]
pub trait Place: Send + Sync + fmt::Debug {
    /// Opens the file. One that is not there is made as an empty database, in one step.
    ///
    /// # Errors
    /// What the operating system said.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// Called when the file is open and ours.
    ///
    /// # Errors
    /// What the operating system said.
    fn opened(&self) -> io::Result<()>;

    /// Holds room back, if it is not held already.
    ///
    /// # Errors
    /// What the operating system said; `StorageFull` when there is no room.
    fn reserve(&self) -> io::Result<()>;

    /// Gives the room up.
    ///
    /// # Errors
    /// What the operating system said.
    fn release(&self) -> io::Result<()>;

    /// The process that has the file, as far as it left its id.
    fn holder(&self) -> Option<u32>;

    /// Bytes of the file; 0 when there is none.
    fn size(&self) -> u64;

    /// Its name in messages.
    fn name(&self) -> String;
}

/// A file in a directory, with its reserve and its holder's id beside it.
#[derive(Debug)]
pub(crate) struct InDirectory {
    dir: PathBuf,
    file: PathBuf,
}

impl InDirectory {
    pub(crate) fn new(dir: &Path, file: &str) -> Self {
        Self { dir: dir.to_owned(), file: dir.join(file) }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.file.with_extension(suffix)
    }

    /// Makes an empty database aside and puts it in its place in one step: a crash half-way would
    /// leave a file that is no database, which nobody could tell from a damaged one.
    fn make(&self) -> io::Result<()> {
        let aside = self.beside(&format!("new-{}", std::process::id()));
        let made = blank(&aside);
        // Not a rename: another process may have come first, and its file may hold events by now.
        let placed = made.and_then(|()| match fs::hard_link(&aside, &self.file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        fs::remove_file(&aside)?;
        placed?;
        // The name must outlive a power loss as well as the bytes do.
        File::open(&self.dir)?.sync_all()
    }
}

/// Writes an empty database.
fn blank(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    let backend = FileBackend::new(file).map_err(io::Error::other)?;
    Database::builder().create_with_backend(backend).map_err(io::Error::other)?;
    File::open(path)?.sync_all()
}

impl Place for InDirectory {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        fs::create_dir_all(&self.dir)?;
        if !self.file.exists() {
            self.make()?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&self.file)?;
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Box::new(backend))
    }

    fn opened(&self) -> io::Result<()> {
        fs::write(self.beside("pid"), std::process::id().to_string())
    }

    fn reserve(&self) -> io::Result<()> {
        let path = self.beside("reserve");
        if fs::metadata(&path).is_ok_and(|held| held.len() == RESERVE_BYTES as u64) {
            return Ok(());
        }
        // Written, not only sized: a hole in a file holds no room.
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0x5a; RESERVE_BYTES])?;
            file.sync_all()
        });
        if written.is_err() {
            self.release()?;
        }
        written
    }

    fn release(&self) -> io::Result<()> {
        match fs::remove_file(self.beside("reserve")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn holder(&self) -> Option<u32> {
        fs::read_to_string(self.beside("pid")).ok()?.trim().parse().ok()
    }

    fn size(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |file| file.len())
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }
}

/// No file at all.
#[derive(Debug)]
pub(crate) struct InMemory;

impl Place for InMemory {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(InMemoryBackend::new()))
    }

    fn opened(&self) -> io::Result<()> {
        Ok(())
    }

    fn reserve(&self) -> io::Result<()> {
        Ok(())
    }

    fn release(&self) -> io::Result<()> {
        Ok(())
    }

    fn holder(&self) -> Option<u32> {
        None
    }

    fn size(&self) -> u64 {
        0
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
