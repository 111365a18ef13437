//! The two ways in which windows are kept in Redis today, written as their users write them.
//!
//! Both serve four windows over two groups: two windows a card and two a merchant, of one sorted
//! set or one row of buckets each. Neither knows an event that comes twice when its bytes differ,
//! and the buckets know none at all.

use redis::Pipeline;

use super::workload::{Event, WINDOW_MS};

const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;

/// A sorted set a key: the event by its time, and what has left the longest window goes.
pub(super) fn sorted_sets(events: &[Event], expire: bool) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(6 * events.len());
    for event in events {
        let member = format!("{}:{}.{:02}", event.id, event.cents / 100, event.cents % 100);
        for (group, nth) in event.owners() {
            let key = format!("events:{group}:{nth}");
            let oldest = event.time_ms - WINDOW_MS;
            pipeline.cmd("ZADD").arg(&key).arg(event.time_ms).arg(&member);
            pipeline.cmd("ZREMRANGEBYSCORE").arg(&key).arg("-inf").arg(oldest);
            if expire {
                pipeline.cmd("PEXPIRE").arg(&key).arg(WINDOW_MS);
            }
        }
    }
    pipeline
}

/// A hash a key and hour with a count and a sum for each minute.
pub(super) fn minute_buckets(events: &[Event], expire: bool) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(6 * events.len());
    for event in events {
        let (hour, minute) = (event.time_ms / HOUR_MS, event.time_ms / MINUTE_MS % 60);
        for (group, nth) in event.owners() {
            let key = format!("minutes:{group}:{nth}:{hour}");
            pipeline.cmd("HINCRBY").arg(&key).arg(format!("{minute}:n")).arg(1);
            pipeline.cmd("HINCRBY").arg(&key).arg(format!("{minute}:cents")).arg(event.cents);
            if expire {
                pipeline.cmd("PEXPIRE").arg(&key).arg(WINDOW_MS);
            }
        }
    }
    pipeline
}
