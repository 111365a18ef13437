//! Questions about a topic: its partitions, where they begin and end, when the first record came.
//!
//! They have a client of their own. A broker answers the requests of one connection in turn, so on
//! the reader's they would wait behind a fetch that waits for records. And the reader sees
//! committed transactions only, for which a broker tells another end than that of the log.

use super::error::{failed, failed_with, passes};
use super::group::Group;
use super::{KafkaSettings, READER, READER_ALWAYS, place, places, record};
use crate::ingest::source::SourceError;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an answer may take: an election of a leader's successor, with room to spare.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Events of the client (words for the log, lost connections) that are served before a question:
/// they wait in memory for somebody to poll, and few come between two questions.
const SERVED: usize = 64;

/// What is not settings' to say.
const ASKER: &[(&str, &str)] = &[
    ("isolation.level", "read_uncommitted"),
    ("enable.partition.eof", "true"),
    // It reads one record.
    ("queued.min.messages", "1"),
];

/// A client that asks and joins no group.
pub(super) struct Asker {
    client: BaseConsumer<Group>,
}

impl Asker {
    /// Connects in the background.
    pub(super) fn open(settings: &KafkaSettings) -> Result<Asker, SourceError> {
        let fixed: Vec<_> = READER_ALWAYS.iter().chain(ASKER).copied().collect();
        let made = settings.reader(READER, &fixed).create_with_context(Group::default());
        let client = made.map_err(|error| failed(settings, "no client could be made", &error))?;
        Ok(Asker { client })
    }

    fn serve(&self) {
        for _ in 0..SERVED {
            // Its errors come back from the questions that they concern.
            drop(self.client.poll(Duration::ZERO));
        }
    }

    /// The numbers of all partitions, ascending.
    pub(super) fn partitions(&self, settings: &KafkaSettings) -> Result<Vec<u32>, SourceError> {
        const WHAT: &str = "the topic's partitions could not be asked for";
        self.serve();
        let topic = settings.topic();
        let told = self.client.fetch_metadata(Some(topic), ANSWER);
        let told = told.map_err(|error| failed(settings, WHAT, &error))?;
        let unknown = || failed_with(settings, WHAT, RDKafkaErrorCode::UnknownTopicOrPartition);
        let found = told.topics().iter().find(|found| found.name() == topic).ok_or_else(unknown)?;
        if let Some(error) = found.error() {
            return Err(failed_with(settings, WHAT, error.into()));
        }
        let numbers = found.partitions().iter().filter_map(|one| u32::try_from(one.id()).ok());
        let mut numbers: Vec<u32> = numbers.collect();
        if numbers.is_empty() {
            return Err(unknown());
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The first offset that is left of each of these partitions.
    pub(super) fn firsts(
        &self,
        settings: &KafkaSettings,
        partitions: &[u32],
    ) -> Result<Vec<u64>, SourceError> {
        self.edges(settings, partitions, Offset::Beginning)
    }

    /// One past the last offset of each of these partitions.
    pub(super) fn ends(
        &self,
        settings: &KafkaSettings,
        partitions: &[u32],
    ) -> Result<Vec<u64>, SourceError> {
        self.edges(settings, partitions, Offset::End)
    }

    /// The request that looks a time up takes these two for the times of the first record and of
    /// the end. Unlike the question for a partition's watermarks it asks a leader for all its
    /// partitions at once.
    fn edges(
        &self,
        settings: &KafkaSettings,
        partitions: &[u32],
        edge: Offset,
    ) -> Result<Vec<u64>, SourceError> {
        const WHAT: &str = "where partitions begin and end could not be asked for";
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        self.serve();
        let asked = places(settings, partitions.iter().map(|&partition| (partition, edge)));
        let told = self.client.offsets_for_times(asked, ANSWER);
        let told = told.map_err(|error| failed(settings, WHAT, &error))?;
        let mut edges = BTreeMap::new();
        for one in told.elements() {
            one.error().map_err(|error| failed(settings, WHAT, &error))?;
            if let (Ok(partition), Offset::Offset(offset)) =
                (u32::try_from(one.partition()), one.offset())
            {
                edges.insert(partition, u64::try_from(offset).unwrap_or(0));
            }
        }
        let unknown = || failed_with(settings, WHAT, RDKafkaErrorCode::UnknownPartition);
        partitions.iter().map(|one| edges.get(one).copied().ok_or_else(unknown)).collect()
    }

    /// The time of the first record, by reading it: brokers tell offsets of times, not times of
    /// offsets.
    pub(super) fn first_time_us(
        &self,
        settings: &KafkaSettings,
        partition: u32,
    ) -> Result<Option<i64>, SourceError> {
        const WHAT: &str = "the first record could not be read";
        let first = self.firsts(settings, &[partition])?[0];
        if first >= self.ends(settings, &[partition])?[0] {
            return Ok(None);
        }
        let from = places(settings, [(partition, place(first))]);
        self.client.assign(&from).map_err(|error| failed(settings, WHAT, &error))?;
        let read = self.first_record_us(partition);
        self.client.unassign().map_err(|error| failed(settings, WHAT, &error))?;
        read.map_err(|error| failed(settings, WHAT, &error))
    }

    fn first_record_us(&self, partition: u32) -> Result<Option<i64>, KafkaError> {
        let began = Instant::now();
        while began.elapsed() < ANSWER {
            match self.client.poll(ANSWER.saturating_sub(began.elapsed())) {
                None => {}
                Some(Ok(message)) => {
                    let record = record(&message).filter(|record| record.partition == partition);
                    if let Some(record) = record {
                        return Ok(Some(record.time_us));
                    }
                }
                // Only markers of transactions are left.
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) if passes(&error) => {}
                Some(Err(error)) => return Err(error),
            }
        }
        Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
    }
}
