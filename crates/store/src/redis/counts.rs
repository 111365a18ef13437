//! What a Redis store did, as numbers that only rise.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// What a store did since it was opened; each number only rises.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct RedisCounts {
            $($(#[doc = $doc])* pub $name: u64),*
        }

        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $(pub(super) $name: Count),*
        }

        impl Counts {
            pub(super) fn read(&self) -> RedisCounts {
                RedisCounts { $($name: self.$name.0.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counts! {
    /// Records appended and acknowledged.
    appends,
    /// Early copies appended.
    early,
    /// Times to live set by writers.
    refreshes,
    /// Checkpoint calls done, one a bucket.
    checkpoints,
    /// Checkpoint calls refused, because the bucket stands elsewhere.
    refused,
    /// Checkpoint calls held back, because the bucket is being moved.
    withheld,
    /// Swaps done.
    swaps,
    /// Swaps refused, because something else is there.
    swaps_refused,
    /// Buckets adopted after a restart, a failover or a move.
    adopted,
    /// Buckets begun anew, under a new epoch.
    begun,
    /// Connections opened.
    connections,
    /// Round trips that ran out of time; each costs its connection.
    timeouts,
    /// Commands that were sent to the node that no longer has the bucket.
    moved,
    /// Commands that were answered on the way of a move.
    asked,
    /// Commands tried again, because a bucket's keys are on two nodes.
    tried_again,
    /// Keys that the servers evicted, as far as seen.
    evicted,
}

/// A number that only rises.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}
