//! Remembers the first I/O error beneath the database, which afterwards says only that there was
//! one.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use redb::{BackendError, StorageBackend};

/// The first error of one opening of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Cause(Arc<OnceLock<(io::ErrorKind, String)>>);

impl Cause {
    /// Kind and text, if anything failed.
    pub(super) fn get(&self) -> Option<&(io::ErrorKind, String)> {
        self.0.get()
    }
}

/// Whether an error says that there is no room, rather than that the disk failed.
pub(super) fn is_full(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(kind, StorageFull | QuotaExceeded | FileTooLarge)
}

/// A backend that keeps its first error.
#[derive(Debug)]
pub(super) struct Watch {
    inner: Box<dyn StorageBackend>,
    cause: Cause,
}

impl Watch {
    pub(super) fn new(inner: Box<dyn StorageBackend>, cause: Cause) -> Self {
        Self { inner, cause }
    }

    fn note<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            self.cause.0.get_or_init(|| (error.kind(), error.to_string()));
        })
    }
}

impl StorageBackend for Watch {
    fn len(&self) -> io::Result<u64> {
        self.note(self.inner.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(self.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(from, to)
    }

    fn try_lock_shared_range(
        &self,
        from: Bound<u64>,
        to: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(from, to)
    }

    fn lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(from, to)
    }

    fn lock_shared_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(from, to)
    }

    fn unlock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(from, to)
    }

    fn query_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(from, to)
    }
}
