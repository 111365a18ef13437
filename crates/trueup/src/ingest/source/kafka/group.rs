//! What the consumer group gives this process to read.
//!
//! librdkafka asks for an answer to each assignment and each revocation. It always gets the same
//! one, nothing to fetch: what is fetched, and from where, is said by a seek, after the worker has
//! looked where it stands. So no record of an assignment can come before the seek.

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The context of a consumer of one topic.
#[derive(Debug, Default)]
pub(super) struct Group {
    given: Mutex<Given>,
}

/// What the group has given.
#[derive(Debug, Default)]
struct Given {
    partitions: Vec<u32>,
    /// Whether it changed since it was last taken.
    changed: bool,
}

impl Group {
    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions given, if that changed since the last call that returned some.
    pub(super) fn take(&self) -> Option<Vec<u32>> {
        let mut given = self.given();
        std::mem::take(&mut given.changed).then(|| given.partitions.clone())
    }

    /// Whether there is something to take.
    pub(super) fn has_changed(&self) -> bool {
        self.given().changed
    }

    /// Whether the group has given this partition.
    pub(super) fn has(&self, partition: u32) -> bool {
        self.given().partitions.contains(&partition)
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    /// Nothing: errors come out of polls, and are said there.
    fn error(&self, _error: KafkaError, _reason: &str) {}

    /// Nothing: nobody asks for librdkafka's statistics.
    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let is_given = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let mut given = self.given();
        given.changed = true;
        given.partitions.clear();
        let answered = if is_given {
            let numbers = partitions.elements().into_iter().map(|one| one.partition());
            given.partitions.extend(numbers.filter_map(|number| u32::try_from(number).ok()));
            given.partitions.sort_unstable();
            consumer.assign(&TopicPartitionList::new())
        } else {
            consumer.unassign()
        };
        if let Err(error) = answered {
            // librdkafka leaves the group and joins it again, which ends here anew.
            tracing::warn!(%error, "an assignment of Kafka partitions could not be answered");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "Kafka's tools will show an old lag: a commit failed");
        }
    }
}

/// librdkafka's words among ours.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // One set of properties serves readers and writers, each of which warns of the other's; what is
    // not known at all is an error all the same.
    if facility == "CONFWARN" && message.contains("property and will be ignored") {
        tracing::debug!(facility, "librdkafka: {message}");
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(facility, "librdkafka: {message}"),
    }
}
