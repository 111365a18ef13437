//! The connection of a reader, what it asks of the stream, and what it writes down in the
//! key-value bucket beside it.
//!
//! The library connects again by itself; whoever had asked for something meanwhile gets an error
//! after [`ANSWER`].

use super::NatsSettings;
use super::error::{AGAIN, failed, refused};
use crate::ingest::source::SourceError;
use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::kv;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, RawMessageErrorKind, RetentionPolicy, Stream,
};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long an answer may take; longer than a server that is well stops for, and short enough that
/// a lease is renewed in time after one failure.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// The bucket of what is written down about logs and their readers. It is made where it is missing.
const BUCKET: &str = "trueup";

/// Messages that may wait for us to take them: what a reader asks for ahead, with room to spare.
/// What came above it would be dropped, which a reader notices.
pub(super) const WAITING_MESSAGES: usize = 16_384;

/// What a person does where the bucket cannot be had.
const BUCKET_REMEDY: &str = "Allow this user to make and use the key-value bucket trueup";

/// A message of the stream to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    /// The one of this sequence.
    At(u64),
    /// The first of a subject.
    First(&'a str),
    /// The last of a subject.
    Last(&'a str),
}

/// The servers, and the connection to one of them.
pub(super) struct Link {
    pub(super) settings: NatsSettings,
    subjects: Vec<String>,
    open: Option<Open>,
}

struct Open {
    client: Client,
    context: Context,
    stream: Stream<()>,
    bucket: Option<kv::Store>,
}

impl Link {
    /// Connects later.
    pub(super) fn new(settings: NatsSettings) -> Link {
        Link { subjects: settings.subjects(), settings, open: None }
    }

    /// The subjects, by partition.
    pub(super) fn subjects(&self) -> &[String] {
        &self.subjects
    }

    /// Connects, if that was not done before.
    pub(super) async fn connect(&mut self) -> Result<(), SourceError> {
        if self.open.is_some() {
            return Ok(());
        }
        let context = connect(&self.settings, ANSWER, WAITING_MESSAGES).await?;
        let stream = context.get_stream_no_info(self.settings.stream()).await;
        let stream = stream.map_err(|error| self.failed("no stream", &error))?;
        self.open = Some(Open { client: context.client(), context, stream, bucket: None });
        Ok(())
    }

    fn open(&self) -> Result<&Open, SourceError> {
        self.open.as_ref().ok_or_else(|| self.failed("no connection", &"not connected yet"))
    }

    pub(super) fn client(&self) -> Result<&Client, SourceError> {
        Ok(&self.open()?.client)
    }

    pub(super) fn stream(&self) -> Result<&Stream<()>, SourceError> {
        Ok(&self.open()?.stream)
    }

    /// How often a connection was made: another number than before says that something that was
    /// under way is lost.
    pub(super) fn connects(&self) -> u64 {
        let connects = |open: &Open| open.client.statistics().connects.load(Ordering::Relaxed);
        self.open.as_ref().map_or(0, connects)
    }

    /// The stream as it is now, and with `gone` what is missing in it.
    pub(super) async fn info(&self, gone: bool) -> Result<Info, SourceError> {
        const WHAT: &str = "the stream could not be asked for";
        let asked = self.stream()?.info_builder().with_deleted(gone).fetch().await;
        let info = asked.map_err(|error| self.failed(WHAT, &error))?.info;
        self.check(&info.config)?;
        Ok(info)
    }

    /// Refuses streams that cannot be read from checkpoints.
    fn check(&self, config: &Config) -> Result<(), SourceError> {
        if config.retention != RetentionPolicy::Limits {
            const REMEDY: &str = "Make the stream with the retention `limits`";
            let detail = "the stream deletes what others have acknowledged".to_owned();
            return Err(refused(&self.settings, detail, false, REMEDY));
        }
        // A stream that is filled from others need not take a subject itself.
        if config.subjects.is_empty() {
            return Ok(());
        }
        let takes = |subject: &&String| config.subjects.iter().any(|it| matches(it, subject));
        let Some(foreign) = self.subjects.iter().find(|subject| !takes(subject)) else {
            return Ok(());
        };
        let detail = format!("the stream does not take the subject {foreign}");
        const REMEDY: &str = "Give the stream this subject, or the URL the right partitions=N";
        Err(refused(&self.settings, detail, false, REMEDY))
    }

    /// A message of the stream.
    pub(super) async fn message(&self, ask: Ask<'_>) -> Result<Option<StreamMessage>, SourceError> {
        let stream = self.stream()?;
        // These ask the stream's leader; what its followers say may be old.
        let told = match ask {
            Ask::At(sequence) => stream.get_raw_message(sequence).await,
            Ask::First(subject) => stream.get_first_raw_message_by_subject(subject, 1).await,
            Ask::Last(subject) => stream.get_last_raw_message_by_subject(subject).await,
        };
        match told {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.failed("a message could not be asked for", &error)),
        }
    }

    /// What is written down under a key, with its revision.
    pub(super) async fn written(
        &mut self,
        key: &str,
    ) -> Result<Option<(Vec<u8>, u64)>, SourceError> {
        let bucket = self.bucket().await?;
        let subject = format!("{}{key}", bucket.prefix);
        let told = bucket.stream.get_last_raw_message_by_subject(&subject).await;
        match told {
            Ok(message) => Ok(Some((message.payload.to_vec(), message.sequence))),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.bucket_failed(&error)),
        }
    }

    /// Writes down, if what is there has this revision still, 0 for nothing; whether it did.
    pub(super) async fn write(
        &mut self,
        key: &str,
        text: Vec<u8>,
        revision: u64,
    ) -> Result<bool, SourceError> {
        let bucket = self.bucket().await?;
        match bucket.update(key, text.into(), revision).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(false),
            Err(error) => Err(self.bucket_failed(&error)),
        }
    }

    async fn bucket(&mut self) -> Result<kv::Store, SourceError> {
        let open = self.open()?;
        if let Some(bucket) = &open.bucket {
            return Ok(bucket.clone());
        }
        let bucket = match open.context.get_key_value(BUCKET).await {
            Ok(bucket) => bucket,
            Err(_) => self.make_bucket().await?,
        };
        if let Some(open) = &mut self.open {
            open.bucket = Some(bucket.clone());
        }
        Ok(bucket)
    }

    /// Makes it, as safe as the stream is. By itself the library would ask for the account first,
    /// and does not understand what servers before 2.10 answer.
    async fn make_bucket(&self) -> Result<kv::Store, SourceError> {
        let failed = |error: &dyn std::fmt::Display| {
            let detail = format!("the key-value bucket {BUCKET} could not be made: {error}");
            refused(&self.settings, detail, true, BUCKET_REMEDY)
        };
        let config = Config {
            name: format!("KV_{BUCKET}"),
            subjects: vec![format!("$KV.{BUCKET}.>")],
            description: Some("what Trueup saw of the streams it reads, and who reads them".into()),
            max_messages_per_subject: 1,
            max_messages: -1,
            max_bytes: -1,
            discard: DiscardPolicy::New,
            num_replicas: self.info(false).await?.config.num_replicas,
            allow_rollup: true,
            deny_delete: true,
            ..Config::default()
        };
        let context = &self.open()?.context;
        context.create_stream(config).await.map_err(|error| failed(&error))?;
        context.get_key_value(BUCKET).await.map_err(|error| failed(&error))
    }

    /// The next call looks for the bucket anew.
    fn bucket_failed(&mut self, error: &dyn std::fmt::Display) -> SourceError {
        if let Some(open) = &mut self.open {
            open.bucket = None;
        }
        let detail = format!("the key-value bucket {BUCKET} could not be used: {error}");
        refused(&self.settings, detail, true, BUCKET_REMEDY)
    }

    /// The error of a call, with what the call was to do.
    pub(super) fn failed(&self, what: &str, error: &dyn std::fmt::Display) -> SourceError {
        failed(&self.settings, what, error)
    }

    /// The error for what changed under its reader.
    pub(super) fn changed(&self, detail: String) -> SourceError {
        refused(&self.settings, detail, true, AGAIN)
    }
}

/// A connection, on which an answer is waited for so long and so many messages may wait.
pub(super) async fn connect(
    settings: &NatsSettings,
    answer: Duration,
    waiting: usize,
) -> Result<Context, SourceError> {
    const WHAT: &str = "no server could be connected to";
    let (options, servers) = settings.options().map_err(|error| failed(settings, WHAT, &error))?;
    let options = options.subscription_capacity(waiting);
    let connected = options.connect(servers).await;
    let client = connected.map_err(|error| failed(settings, WHAT, &error))?;
    Ok(ContextBuilder::new().timeout(answer).max_ack_inflight(waiting).build(client))
}

/// Whether a stream's subject, which may have wildcards, takes a subject.
fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_of_a_stream_take_one_token_or_all_that_are_left() {
        for (pattern, takes) in
            [("a.b", true), ("a.*", true), ("*.b", true), (">", true), ("a.>", true)]
                .into_iter()
                .chain([("a", false), ("a.b.*", false), ("a.b.>", false), ("b.*", false)])
        {
            assert_eq!(matches(pattern, "a.b"), takes, "{pattern}");
        }
    }
}
