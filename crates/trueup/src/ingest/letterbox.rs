//! Where dead letters go beside the local log: a topic of Kafka, streams of Redis, subjects of
//! NATS, or a file of JSON lines, for whoever watches over several processes.
//!
//! ```text
//! {"stream": "payments", "partition": 3, "offset": 77, "time": "2026-…Z", "reason": "…",
//!  "bytes": "…"}             the event as it came, in base64; no partition and offset if pushed
//! ```
//!
//! A letter is there before the checkpoint passes its record, and after a failure perhaps twice. It
//! reads nothing back: `trueup dead-letters` works on the local log.

#[cfg(feature = "kafka")]
use super::push;
use super::push::{PushError, Sink};
use super::source::SourceError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use trueup_sql::decode::print::Timestamp;
use trueup_store::DeadLetter;

/// Who may read the file: events may hold secrets.
const OWNER_ALONE: u32 = 0o600;

/// One place for the letters of all streams.
#[derive(Debug)]
pub struct Letterbox {
    name: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File(Mutex<File>),
    Log(Sink),
}

impl Letterbox {
    /// A log that is not ours; `name` is for messages.
    pub fn log(name: String, sink: Sink) -> Letterbox {
        Letterbox { name, place: Place::Log(sink) }
    }

    /// A file, which is made if it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn file(path: &Path) -> Result<Letterbox, SourceError> {
        let name = format!("file:{}", path.display());
        match open(path) {
            Ok(file) => Ok(Letterbox { name, place: Place::File(Mutex::new(file)) }),
            Err(error) => Err(failed(&name, &error.to_string(), false)),
        }
    }

    /// Sends letters, and returns when they are there.
    ///
    /// # Errors
    /// [`SourceError`]; then some may be there, and all are to be sent again.
    pub async fn post(&self, stream: &str, letters: &[DeadLetter]) -> Result<(), SourceError> {
        let lines: Vec<Vec<u8>> = letters.iter().map(|letter| line(stream, letter)).collect();
        let sent = match &self.place {
            Place::File(file) => return self.write(file, &lines.concat()),
            Place::Log(sink) => send(sink, letters, &lines).await,
        };
        sent.map_err(|error| match error {
            PushError::Source(error) => error,
            error => failed(&self.name, &error.to_string(), true),
        })
    }

    /// Writes lines and syncs them; a line that is there in part is taken back.
    fn write(&self, file: &Mutex<File>, lines: &[u8]) -> Result<(), SourceError> {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let before = file.metadata().map(|metadata| metadata.len());
        let written = file.write_all(lines).and_then(|()| file.sync_data());
        written.map_err(|error| {
            if let Ok(before) = before {
                // If even this fails, the next opening ends the line.
                let _ = file.set_len(before);
            }
            failed(&self.name, &error.to_string(), true)
        })
    }
}

async fn send(sink: &Sink, letters: &[DeadLetter], lines: &[Vec<u8>]) -> Result<(), PushError> {
    let key = |letter: &DeadLetter| match letter.position {
        Some((partition, offset)) => format!("{partition}/{offset}"),
        None => String::new(),
    };
    let keys: Vec<String> = letters.iter().map(key).collect();
    let rows: Vec<&[u8]> = lines.iter().map(|line| line.trim_ascii_end()).collect();
    let keyed: Vec<(&[u8], &[u8])> =
        keys.iter().map(String::as_bytes).zip(rows.iter().copied()).collect();
    match sink {
        #[cfg(feature = "kafka")]
        Sink::Kafka(producer) => {
            let numbered: Vec<_> = keys.into_iter().enumerate().collect();
            push::produce(producer, &numbered, &rows).await?;
        }
        Sink::RedisStream(producer) => drop(producer.send(&keyed).await?),
        #[cfg(feature = "nats")]
        Sink::Nats(producer) => drop(producer.send(&keyed).await?),
        _ => return Err(PushError::Elsewhere { stream: "dead letters".into() }),
    }
    Ok(())
}

/// Opens a file to append to; a line that a crash left without an end is ended.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).mode(OWNER_ALONE).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

fn line(stream: &str, letter: &DeadLetter) -> Vec<u8> {
    let line = json!({
        "stream": stream,
        "partition": letter.position.map(|(partition, _)| partition),
        "offset": letter.position.map(|(_, offset)| offset),
        "time": letter.time_us.map(|us| Timestamp(us).to_string()),
        "reason": letter.reason,
        "bytes": BASE64_STANDARD.encode(&letter.bytes),
    });
    format!("{line}\n").into_bytes()
}

fn failed(name: &str, detail: &str, retry: bool) -> SourceError {
    SourceError {
        source: name.to_owned(),
        detail: format!("dead letters cannot be written there: {detail}"),
        retry,
        remedy: "Mend the place that the setting `dead_letters` names; ingest waits for it.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(letterbox: &Letterbox, reason: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = vec![0xff, b'\n'];
        let (position, time_us) = (Some((3, 77)), Some(0));
        let letter = DeadLetter { position, time_us, reason: reason.into(), bytes };
        runtime.block_on(letterbox.post("s", &[letter])).unwrap();
    }

    #[test]
    fn a_file_has_a_line_a_letter_whatever_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.jsonl");
        post(&Letterbox::file(&path).unwrap(), "one");
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"st").unwrap();
        post(&Letterbox::file(&path).unwrap(), "two");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let last: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        let wanted = json!({ "stream": "s", "partition": 3, "offset": 77, "bytes": "/wo=",
                             "time": "1970-01-01T00:00:00.000000Z", "reason": "two" });
        assert_eq!(last, wanted);
    }
}
