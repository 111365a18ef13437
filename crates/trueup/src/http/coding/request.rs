//! Packed bodies that came, unpacked within the bounds that plain ones have.

use super::super::admission::Admission;
use super::super::problem::Problem;
use super::{Coding, STEP_BYTES};
use bytes::{Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use std::io::Read;
use tokio::sync::SemaphorePermit;
use zstd::stream::read::Decoder;

/// Bytes that a zstd frame may look back, as a power of two: 8 MiB, what RFC 9659 lets senders
/// count on. A frame that wants more would have its decoder take up to 128 MiB.
const MAX_WINDOW_LOG: u32 = 23;

/// Bytes that a decoder has beside its window: of zstd some 160 KB of tables and a block of 128 KB.
const DECODER_BYTES: usize = 512 << 10;

/// Members or frames that a body may be made of. Tools that cut one do so by 128 KiB or more, which
/// makes 128 of the largest; a decoder for each eight bytes would be work without end.
const MAX_PARTS: usize = 1_000;

/// What has been unpacked.
struct Sink<'a> {
    admission: &'a Admission,
    limit: usize,
    bytes: BytesMut,
    room: SemaphorePermit<'a>,
    /// What the decoder has: itself, and a window of what it gave.
    working: SemaphorePermit<'a>,
    piece: Vec<u8>,
    unrested: usize,
}

/// A body of at most `limit` bytes, and its room, from what it was packed into.
pub(in super::super) async fn decoded<'a>(
    admission: &'a Admission,
    packed: &[u8],
    coding: Coding,
    limit: usize,
) -> Result<(Bytes, SemaphorePermit<'a>), Problem> {
    let mut sink = Sink {
        admission,
        limit,
        bytes: BytesMut::new(),
        room: admission.bytes(0)?,
        working: admission.bytes(DECODER_BYTES)?,
        piece: vec![0; STEP_BYTES],
        unrested: 0,
    };
    let (mut rest, mut parts) = (packed, 0);
    while !rest.is_empty() {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(unreadable(coding, &format!("it has over {MAX_PARTS} parts")));
        }
        rest = match coding {
            Coding::Gzip => {
                let mut member = GzDecoder::new(rest);
                sink.take(&mut member, coding).await?;
                member.into_inner()
            }
            Coding::Zstd => {
                let frame = Decoder::with_buffer(rest).and_then(|mut frame| {
                    frame.window_log_max(MAX_WINDOW_LOG)?;
                    Ok(frame.single_frame())
                });
                let mut frame = frame.map_err(|error| unreadable(coding, &error.to_string()))?;
                sink.take(&mut frame, coding).await?;
                frame.finish()
            }
        };
    }
    Ok((sink.bytes.freeze(), sink.room))
}

impl Sink<'_> {
    /// Takes in what a decoder gives, to its end.
    async fn take(
        &mut self,
        decoder: &mut (impl Read + Send),
        coding: Coding,
    ) -> Result<(), Problem> {
        loop {
            let read = decoder.read(&mut self.piece);
            let count = read.map_err(|error| unreadable(coding, &error.to_string()))?;
            if count == 0 {
                return Ok(());
            }
            if count > self.limit - self.bytes.len() {
                return Err(Problem::too_large("body", "the unpacked body", self.limit, "bytes"));
            }
            self.room.merge(self.admission.bytes(count)?);
            self.working.merge(self.admission.bytes(count)?);
            self.bytes.extend_from_slice(&self.piece[..count]);
            self.unrested += count;
            if self.unrested >= STEP_BYTES {
                self.unrested = 0;
                tokio::task::yield_now().await;
            }
        }
    }
}

fn unreadable(coding: Coding, why: &str) -> Problem {
    let window = 1 << (MAX_WINDOW_LOG - 20);
    let name = coding.name();
    Problem::bad_request(format!("the body cannot be unpacked by {name}: {why}")).at("body").remedy(
        format!(
            "send all that {name} made of it, from its first byte to its last, of zstd with a \
             window of at most {window} MiB; or send it plain, without Content-Encoding"
        ),
    )
}
