//! Bytes of a file a few megabytes at a time, for the readers that cut them into rows.

use super::DecodeError;
use std::io::Read;

/// Bytes that a reader holds at least, unless the input ends: 4 MiB, some 30,000 events to a
/// batch, and more than the longest row.
pub(super) const CHUNK_BYTES: usize = 4 << 20;

/// The byte order mark that some tools put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A window on the bytes of `reader`.
pub(super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: Read> Input<R> {
    /// A window on the first bytes, past a byte order mark.
    pub(super) fn open(reader: R) -> Result<Input<R>, DecodeError> {
        let mut input = Input { reader, buffer: Vec::new(), ended: false };
        input.fill()?;
        let mark = input.buffer.len() - without_mark(&input.buffer).len();
        input.consume(mark);
        Ok(input)
    }

    /// What is there.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether nothing follows [`Input::bytes`].
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Drops the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.buffer.drain(..count.min(self.buffer.len()));
    }

    /// Reads on until [`CHUNK_BYTES`] are there or the input ends.
    pub(super) fn fill(&mut self) -> Result<(), DecodeError> {
        let missing = CHUNK_BYTES.saturating_sub(self.buffer.len());
        if missing == 0 || self.ended {
            return Ok(());
        }
        let mut part = self.reader.by_ref().take(missing as u64);
        let read = part.read_to_end(&mut self.buffer).map_err(DecodeError::Read)?;
        self.ended = read < missing;
        Ok(())
    }
}

/// `bytes` past a byte order mark.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}
