//! Compiled definitions with what follows from them for a process that runs them: plans, decoders,
//! and which groups each stream feeds.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use std::sync::Arc;
use std::time::Duration;
use trueup_core::{Limits, Plan, Stored};
use trueup_sql::decode::{AvroSchemas, DecodeError, Decoded, Decoder};
use trueup_sql::{Definitions, GroupDef, Stream, View};
use trueup_store::{MAX_KEY_BYTES, Space, Value};

/// Bytes that a key column takes in a key beside its text: its type, its length, or its number.
const KEY_COLUMN_BYTES: usize = 24;

/// A store's value as the arithmetic takes it: a store has no base before the first compaction.
pub fn stored(value: &Value) -> Stored<'_> {
    Stored { base: Some(value.base()).filter(|base| !base.is_empty()), tail: value.tail() }
}

/// How far clocks and the log's delivery may be off before an expired value could be missed,
/// microseconds: values live for their horizon and twice this after their last event.
pub const SLACK_US: u64 = 3_600_000_000;

/// Everything that ingest and serving know of the definitions. Built once, shared by all threads.
#[derive(Debug)]
pub struct Catalog {
    definitions: Definitions,
    plans: Vec<Plan>,
    expiry: Vec<(Space, Duration)>,
    streams: Vec<StreamPart>,
    /// Bounds on one key's state.
    pub limits: Limits,
}

/// What a stream's events go through.
#[derive(Debug)]
pub struct StreamPart {
    /// The declaration.
    pub stream: Arc<Stream>,
    /// Decodes its events.
    pub decoder: Decoder,
    /// Decodes request rows: as events, but the event time may be missing.
    pub row_decoder: Decoder,
    /// Decodes the keys of a look-up: any column may be missing.
    pub key_decoder: Decoder,
    /// The groups that its events enter, by number.
    pub groups: Vec<usize>,
    /// The sets of columns that make keys, of groups and of look-ups.
    keys: Vec<Vec<usize>>,
}

impl StreamPart {
    /// Decodes records of the stream's log: Avro by its schemas, else JSON.
    ///
    /// # Errors
    /// None that records cause; see [`DecodeError::Batch`].
    pub fn records(
        &self,
        avro: Option<&AvroSchemas>,
        records: &[&[u8]],
    ) -> Result<Decoded, DecodeError> {
        match avro {
            Some(avro) => self.decoder.avro_rows(avro, records),
            None => self.decoder.json_rows(records),
        }
    }

    /// Why a row's key is longer than a store takes, with the column at fault; `None` if it is not.
    pub fn long_key(&self, batch: &RecordBatch, row: usize) -> Option<(&str, String)> {
        self.keys.iter().find_map(|columns| {
            let length = |&column: &usize| match batch.column(column).data_type() {
                DataType::Utf8 if batch.column(column).is_valid(row) => {
                    batch.column(column).as_string::<i32>().value(row).len() + KEY_COLUMN_BYTES
                }
                _ => KEY_COLUMN_BYTES,
            };
            let bytes: usize = columns.iter().map(length).sum();
            let longest = columns.iter().max_by_key(|column| length(column))?;
            let name = self.stream.columns[*longest].name.as_str();
            let reason = || format!("a key of {bytes} bytes; keys may have {MAX_KEY_BYTES}");
            (bytes > MAX_KEY_BYTES).then(|| (name, reason()))
        })
    }
}

impl Catalog {
    /// Works out what follows from definitions.
    pub fn new(definitions: Definitions) -> Catalog {
        Catalog::feeding(definitions, |_| true)
    }

    /// The same for a process whose events enter some of the groups only.
    pub fn feeding(definitions: Definitions, feeds: impl Fn(Space) -> bool) -> Catalog {
        let plans = definitions.groups.iter().map(|group| Plan::new(group.core.clone())).collect();
        let part = |(number, stream): (usize, &Arc<Stream>)| {
            let decoder = Decoder::new(Arc::clone(stream));
            let own = |group: &usize| definitions.groups[*group].stream == number;
            let groups: Vec<usize> = (0..definitions.groups.len()).filter(own).collect();
            let mut keys: Vec<Vec<usize>> =
                groups.iter().map(|&group| definitions.groups[group].keys.clone()).collect();
            let views = definitions.views.iter().filter(|view| view.stream == number);
            keys.extend(views.flat_map(|view| &view.lookups).map(|lookup| lookup.keys.clone()));
            keys.sort_unstable();
            keys.dedup();
            let fed = |&group: &usize| feeds(Space::from(definitions.groups[group].digest.0));
            let groups = groups.into_iter().filter(fed).collect();
            StreamPart {
                stream: Arc::clone(stream),
                row_decoder: decoder.clone().allow_null([stream.event_time]),
                key_decoder: decoder.clone().allow_null(0..stream.columns.len()),
                decoder,
                groups,
                keys,
            }
        };
        let streams = definitions.streams.iter().enumerate().map(part).collect();
        let mut catalog =
            Catalog { plans, expiry: Vec::new(), streams, limits: Limits::default(), definitions };
        let expiry = |group: usize| {
            let horizon_us = catalog.plans[group].horizon_us()?;
            let kept_us = u64::try_from(horizon_us).unwrap_or(0).saturating_add(2 * SLACK_US);
            Some((catalog.space(group), Duration::from_micros(kept_us)))
        };
        catalog.expiry = (0..catalog.plans.len()).filter_map(expiry).collect();
        catalog
    }

    /// Where the state of all groups is kept, in their order.
    pub fn all_spaces(&self) -> impl Iterator<Item = Space> {
        self.definitions.groups.iter().map(|group| Space::from(group.digest.0))
    }

    /// The definitions themselves.
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// A group's definition.
    pub fn group(&self, group: usize) -> &GroupDef {
        &self.definitions.groups[group]
    }

    /// A group's plan.
    pub fn plan(&self, group: usize) -> &Plan {
        &self.plans[group]
    }

    /// Where a group's state is kept.
    pub fn space(&self, group: usize) -> Space {
        Space::from(self.definitions.groups[group].digest.0)
    }

    /// Where the state of a stream's groups is kept, in their order.
    pub fn spaces(&self, stream: usize) -> Vec<Space> {
        self.streams[stream].groups.iter().map(|&group| self.space(group)).collect()
    }

    /// After how long values that nobody writes to may go: those of groups whose frames all end
    /// somewhere in the past.
    pub fn expiry(&self) -> &[(Space, Duration)] {
        &self.expiry
    }

    /// All streams, by number.
    pub fn streams(&self) -> &[StreamPart] {
        &self.streams
    }

    /// The stream called `name`.
    pub fn stream(&self, name: &str) -> Option<&StreamPart> {
        self.streams.iter().find(|part| part.stream.name == name)
    }

    /// The view called `name`.
    pub fn view(&self, name: &str) -> Option<&View> {
        self.definitions.view(name)
    }

    /// The names of the streams, for messages.
    pub fn stream_names(&self) -> String {
        let names = self.streams.iter().map(|part| part.stream.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }

    /// The names of the views, for messages.
    pub fn view_names(&self) -> String {
        let names = self.definitions.views.iter().map(|view| view.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}
