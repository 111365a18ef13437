//! Messages of several partitions, each by a consumer of its own in the server.
//!
//! ```text
//!   begin ─▶ make a consumer from there on ─▶ ask for so many ─▶ messages … ─▶ ask for more
//!     ▲                                            └─▶ none in time ──────────────▲
//!     └── lost, late, cut off: an error; the worker begins again where the store says
//! ```
//!
//! The server sends the messages of one consumer in order and counts them, and hands none out
//! again: nothing is acknowledged. So a count that skips tells of a message that was lost on the
//! way. What is asked for ahead is all that can wait here, and is bounded in messages and bytes.

use super::lease::token;
use super::link::{ANSWER, Link, WAITING_MESSAGES};
use crate::ingest::source::{Bounds, SourceError, SourceRecord};
use async_nats::jetstream::consumer::pull::{BatchConfig, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::{Message, StatusCode, Subscriber};
use futures_util::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::unconstrained;

/// Messages that are asked for ahead of the worker, all partitions together: two of its batches.
const AHEAD_MESSAGES: usize = WAITING_MESSAGES / 2;

/// Messages that are asked for ahead in each partition, however many there are.
const LEAST_AHEAD: usize = 16;

/// Bytes that are asked for ahead, all partitions together: some batches of 4 MiB.
const AHEAD_BYTES: usize = 16 << 20;

/// Bytes that a message has in the server's count beside what the servers bound: its subjects.
const MESSAGE_BYTES: usize = 4 << 10;

/// How long the server keeps a question for messages. One about a consumer that it has forgotten is
/// not answered at all, and is given up some time after this.
const EXPIRES: Duration = Duration::from_secs(2);

/// How long the server keeps a consumer that asks for nothing: longer than a store may be away
/// between two batches. Afterwards reading begins again.
const KEPT: Duration = Duration::from_secs(60);

/// Messages on their way from the server.
#[derive(Default)]
pub(super) struct Reader {
    /// Where answers come to, one subject for each consumer; with its name.
    inbox: Option<(String, Subscriber)>,
    /// How often a connection had been made when that was opened.
    connects: u64,
    parts: BTreeMap<u32, Reading>,
    /// Consumers made so far; names them apart.
    made: u64,
    /// A record that the last poll had no room for.
    held: Option<SourceRecord>,
}

/// One partition.
struct Reading {
    /// The least offset that the next record to return may have.
    next: u64,
    consumer: Option<Pulled>,
}

/// Its consumer.
struct Pulled {
    consumer: Consumer<Config>,
    /// By which answers and messages are known to be of it.
    number: u64,
    /// The server's count of messages that it sent.
    sent: u64,
    /// What was asked for and has not come.
    asked: Option<Asked>,
    /// Whether the last question brought nothing because the first message has more bytes than
    /// were asked for.
    is_large: bool,
}

/// A question for messages.
struct Asked {
    left: usize,
    /// Whether a message came.
    brought: bool,
    /// When the server must have answered.
    until: Instant,
}

impl Reader {
    /// Where each partition that is read goes on.
    pub(super) fn places(&self) -> BTreeMap<u32, u64> {
        self.parts.iter().map(|(&partition, reading)| (partition, reading.next)).collect()
    }

    /// Reads nothing any more.
    pub(super) fn clear(&mut self, link: &Link) {
        self.parts.values_mut().for_each(|reading| reading.drop_consumer(link));
        self.parts.clear();
        (self.inbox, self.held) = (None, None);
    }

    /// Reads these partitions from these offsets on, and the others from where they are; forgets
    /// what was fetched.
    pub(super) fn begin(&mut self, link: &Link, places: impl IntoIterator<Item = (u32, u64)>) {
        for (partition, next) in places {
            let reading = self.parts.entry(partition).or_insert(Reading { next, consumer: None });
            reading.next = next;
        }
        // What waits of the others comes again: it is mixed with what is not wanted.
        self.parts.values_mut().for_each(|reading| reading.drop_consumer(link));
        (self.inbox, self.held) = (None, None);
    }

    /// Reads these partitions no more.
    pub(super) fn end(&mut self, link: &Link, partitions: impl Iterator<Item = u32>) {
        for partition in partitions {
            if let Some(mut reading) = self.parts.remove(&partition) {
                reading.drop_consumer(link);
            }
        }
    }

    /// Records that came, as soon as there are some; none if none came until then.
    pub(super) async fn poll(
        &mut self,
        link: &Link,
        bounds: &Bounds,
        until: Instant,
    ) -> Result<Vec<SourceRecord>, SourceError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        if self.parts.is_empty() || bounds.records == 0 {
            tokio::time::sleep_until(until.into()).await;
            return Ok(records);
        }
        self.ask(link).await?;
        while records.len() < bounds.records {
            let Some(record) = self.record(link, records.is_empty(), until).await? else { break };
            let size = record.payload.len();
            if !records.is_empty() && bytes + size > bounds.bytes {
                self.held = Some(record);
                break;
            }
            bytes += size;
            if let Some(reading) = self.parts.get_mut(&record.partition) {
                reading.next = record.offset + 1;
            }
            records.push(record);
        }
        // So that the next ones are here when the worker is done with these.
        self.ask(link).await?;
        Ok(records)
    }

    /// The next record; with `wait` as soon as it comes, until then.
    async fn record(
        &mut self,
        link: &Link,
        wait: bool,
        until: Instant,
    ) -> Result<Option<SourceRecord>, SourceError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        loop {
            let late = self.parts.values().filter_map(Reading::late_at).min().unwrap_or(until);
            let Some((_, inbox)) = &mut self.inbox else { return Ok(None) };
            let came = match wait {
                true => tokio::time::timeout_at(until.min(late).into(), inbox.next()).await.ok(),
                // Unconstrained, or the runtime would let some hundred pass only.
                false => unconstrained(inbox.next()).now_or_never(),
            };
            match came {
                Some(Some(message)) => {
                    if let Some(record) = self.take(link, message)? {
                        return Ok(Some(record));
                    }
                    // An answer that there is nothing.
                    self.ask(link).await?;
                }
                Some(None) => return Err(link.changed("the connection was closed".into())),
                None if wait && late <= Instant::now() => {
                    return Err(link.changed("the server does not answer a question".into()));
                }
                None => return Ok(None),
            }
        }
    }

    /// Makes consumers where they are missing, and asks for messages where none are asked for.
    async fn ask(&mut self, link: &Link) -> Result<(), SourceError> {
        if self.inbox.is_some() && self.connects != link.connects() {
            return Err(link.changed("the connection to the server was made anew".into()));
        }
        if self.inbox.is_none() {
            self.connects = link.connects();
            let inbox = link.client()?.new_inbox();
            let subscribed = link.client()?.subscribe(format!("{inbox}.*")).await;
            let subscriber = subscribed.map_err(|error| link.failed("no inbox", &error))?;
            self.inbox = Some((inbox, subscriber));
        }
        let Some((inbox, _)) = &self.inbox else { return Ok(()) };
        let many = self.parts.len().max(1);
        let messages = (AHEAD_MESSAGES / many).max(LEAST_AHEAD);
        // One message must fit, or none would ever come.
        let bytes = (AHEAD_BYTES / many).max(link.client()?.max_payload() + MESSAGE_BYTES);
        for (&partition, reading) in &mut self.parts {
            if reading.consumer.is_none() {
                self.made += 1;
                reading.consumer = Some(pulled(link, partition, reading.next, self.made).await?);
            }
            let Some(pulled) = reading.consumer.as_mut().filter(|it| it.asked.is_none()) else {
                continue;
            };
            // A message that was taken when servers took larger ones comes alone.
            let (batch, max_bytes) = if pulled.is_large { (1, 0) } else { (messages, bytes) };
            let expires = Some(EXPIRES);
            let question = BatchConfig { batch, max_bytes, expires, ..BatchConfig::default() };
            let to = format!("{inbox}.{}", pulled.number).into();
            let sent = pulled.consumer.request_batch(question, to).await;
            sent.map_err(|error| link.failed("messages could not be asked for", &error))?;
            let until = Instant::now() + EXPIRES + ANSWER;
            pulled.asked = Some(Asked { left: batch, brought: false, until });
        }
        Ok(())
    }

    /// A record, if that is what came; what is of a consumer of before is passed over.
    fn take(&mut self, link: &Link, message: Message) -> Result<Option<SourceRecord>, SourceError> {
        if let Some(status) = message.status {
            self.end_question(link, &message, status)?;
            return Ok(None);
        }
        let Some(sent) = message.reply.as_deref().and_then(Sent::parse) else {
            return Err(link.changed("a message does not say where it stands".into()));
        };
        let Some((partition, pulled)) = self.of(Some(sent.consumer)) else { return Ok(None) };
        if sent.count != pulled.sent + 1 {
            let detail = format!("messages of partition {partition} were lost on the way");
            return Err(link.changed(detail));
        }
        pulled.sent = sent.count;
        if let Some(asked) = &mut pulled.asked {
            (asked.left, asked.brought) = (asked.left.saturating_sub(1), true);
            if asked.left == 0 {
                (pulled.asked, pulled.is_large) = (None, false);
            }
        }
        let (offset, payload) = (sent.sequence, message.payload.to_vec());
        Ok(Some(SourceRecord { partition, offset, time_us: sent.time_us, payload }))
    }

    fn of(&mut self, number: Option<u64>) -> Option<(u32, &mut Pulled)> {
        let number = number?;
        self.parts.iter_mut().find_map(|(&partition, reading)| {
            let pulled = reading.consumer.as_mut().filter(|pulled| pulled.number == number)?;
            Some((partition, pulled))
        })
    }

    /// The server has answered a question: no message is left to come for it.
    fn end_question(
        &mut self,
        link: &Link,
        message: &Message,
        status: StatusCode,
    ) -> Result<(), SourceError> {
        let number = message.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        let Some((partition, pulled)) = self.of(number) else { return Ok(()) };
        let said = message.description.clone().unwrap_or_default();
        let is_full = ["MaxBytes", "Batch Completed"].iter().any(|word| said.contains(word));
        if status == StatusCode::TIMEOUT || status == StatusCode::NOT_FOUND || is_full {
            let brought = pulled.asked.take().is_some_and(|asked| asked.brought);
            pulled.is_large = is_full && !brought;
            return Ok(());
        }
        let detail = format!("partition {partition} is not sent any more: {status} {said}");
        Err(link.changed(detail))
    }
}

impl Reading {
    fn late_at(&self) -> Option<Instant> {
        Some(self.consumer.as_ref()?.asked.as_ref()?.until)
    }

    /// Lets the server forget the consumer, if it hears of it; else it does so after [`KEPT`].
    fn drop_consumer(&mut self, link: &Link) {
        let (Some(pulled), Ok(stream)) = (self.consumer.take(), link.stream()) else { return };
        let (stream, name) = (stream.clone(), pulled.consumer.cached_info().name.clone());
        tokio::spawn(async move {
            // It is nobody's loss.
            let _ = stream.delete_consumer(&name).await;
        });
    }
}

/// What the subject to acknowledge a message by says of it. (The library reads it too, and wants a
/// copy of its context for each message.)
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    /// The number of the consumer.
    consumer: u64,
    /// The message's place in the stream.
    sequence: u64,
    /// The server's count of messages sent to the consumer.
    count: u64,
    time_us: i64,
}

impl Sent {
    /// `$JS.ACK.STREAM.CONSUMER.DELIVERED.SEQUENCE.COUNT.TIME.PENDING`; newer servers may write a
    /// domain and an account before the stream.
    fn parse(reply: &str) -> Option<Sent> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let of_message = if tokens.len() == 7 { &tokens[1..] } else { tokens.get(3..)? };
        let &[consumer, _, sequence, count, time_ns, ..] = of_message else { return None };
        Some(Sent {
            consumer: consumer.rsplit_once('-')?.1.parse().ok()?,
            sequence: sequence.parse().ok()?,
            count: count.parse().ok()?,
            time_us: time_ns.parse::<i64>().ok()? / 1_000,
        })
    }
}

/// A consumer of one partition from an offset on.
async fn pulled(
    link: &Link,
    partition: u32,
    next: u64,
    number: u64,
) -> Result<Pulled, SourceError> {
    let config = Config {
        name: Some(format!("trueup-{}-{number}", token())),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next.max(1) },
        ack_policy: AckPolicy::None,
        filter_subject: link.subjects()[partition as usize].clone(),
        inactive_threshold: KEPT,
        num_replicas: 1,
        memory_storage: true,
        ..Config::default()
    };
    let made = link.stream()?.create_consumer(config).await;
    let consumer = made.map_err(|error| link.failed("no consumer could be made", &error))?;
    Ok(Pulled { consumer, number, sent: 0, asked: None, is_large: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_where_it_stands_in_both_forms() {
        let known =
            Some(Sent { consumer: 3, sequence: 40, count: 7, time_us: 1_700_000_000_123_456 });
        for (reply, sent) in [
            ("$JS.ACK.PAY.trueup-0a-3.1.40.7.1700000000123456789.5", &known),
            ("$JS.ACK.hub.acc.PAY.trueup-0a-3.1.40.7.1700000000123456789.5", &known),
            ("$JS.ACK.hub.acc.PAY.trueup-0a-3.1.40.7.1700000000123456789.5.more", &known),
            ("$JS.ACK.PAY.other.1.40.7.1700000000123456789.5", &None),
            ("$JS.ACK.PAY", &None),
            ("elsewhere", &None),
        ] {
            assert_eq!(Sent::parse(reply), *sent, "{reply}");
        }
    }
}
