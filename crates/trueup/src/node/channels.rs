//! What belongs to a stream by its name, whichever definitions declare it: where its events go to
//! and come from, and how far they have been applied.

use super::{NodeError, sink, source};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::http::Live;
use crate::ingest::source::Source;
use crate::ingest::{Bell, IngestError, Letterbox, Progress, Pusher, Sink};
use crate::place::{AvroStreams, SourcePlace};
use crate::serve::{Fallback, Policies, Rules, Serving, Tables};
use std::collections::BTreeMap;
use std::sync::Arc;
use trueup_sql::decode::AvroSchemas;
use trueup_store::{Log, Store};

/// A stream's log and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) sink: Arc<Sink>,
    pub(super) progress: Arc<Progress>,
    pub(super) wake: Arc<Bell>,
}

/// The streams of all definitions that this process has met.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) log: Option<Arc<Log>>,
    /// Where dead letters go besides.
    pub(super) letterbox: Option<Arc<Letterbox>>,
    sources: BTreeMap<String, SourcePlace>,
    avro: AvroStreams,
    /// The database that is asked for what the store does not vouch for.
    fallback: Option<Arc<Fallback>>,
    /// What views return in place of values of some status.
    views: Policies,
    /// Whether rows that are recorded go into the log too.
    record_to_log: bool,
    met: BTreeMap<String, Channel>,
}

/// Whether what settings say of views fits these definitions.
///
/// # Errors
/// [`NodeError::Settings`], for the first that does not.
pub(crate) fn views_fit(views: &Policies, catalog: &Catalog) -> Result<(), NodeError> {
    let (_, unfit) = rules(views, catalog);
    unfit.into_iter().next().map_or(Ok(()), |why| Err(NodeError::Settings(why)))
}

/// The rules of these definitions' views, and what of the settings does not fit them.
fn rules(views: &Policies, catalog: &Catalog) -> (BTreeMap<String, Rules>, Vec<String>) {
    let (mut rules, mut unfit) = (BTreeMap::new(), Vec::new());
    for (name, said) in views {
        let of = match catalog.view(name) {
            Some(view) => Rules::of(view, said),
            None => Err(format!(
                "[views.{name}]: there is no view {name}; there are: {}",
                catalog.view_names()
            )),
        };
        match of {
            Ok(of) => drop(rules.insert(name.clone(), of)),
            Err(why) => unfit.push(why),
        }
    }
    (rules, unfit)
}

impl Channels {
    /// `sources` says where streams come from that have not the local log, and `avro` the schemas
    /// of those that hold Avro.
    pub(super) fn new(
        log: Option<Arc<Log>>,
        letterbox: Option<Arc<Letterbox>>,
        sources: BTreeMap<String, SourcePlace>,
        avro: &AvroStreams,
        fallback: Option<Arc<Fallback>>,
        views: Policies,
        record_to_log: bool,
    ) -> Channels {
        let (avro, met) = (avro.clone(), BTreeMap::new());
        Channels { log, letterbox, sources, avro, fallback, views, record_to_log, met }
    }

    /// The channel of a stream, which is opened if it is new.
    pub(super) fn of(&mut self, stream: &str) -> Result<Channel, IngestError> {
        if let Some(channel) = self.met.get(stream) {
            return Ok(channel.clone());
        }
        let sink = Arc::new(sink(self.sources.get(stream), self.log.as_ref())?);
        let channel = Channel { sink, progress: Arc::default(), wake: Arc::default() };
        self.met.insert(stream.to_owned(), channel.clone());
        Ok(channel)
    }

    /// The log of a stream for one more reader; `lane` tells those of one process apart.
    pub(super) fn source(
        &mut self,
        stream: &str,
        lane: Option<&str>,
        log: &Arc<Log>,
    ) -> Result<Box<dyn Source>, IngestError> {
        let wake = self.of(stream)?.wake;
        Ok(source(self.sources.get(stream), stream, lane, log, &wake)?)
    }

    /// The schemas of a stream's records, if they are Avro.
    pub(super) fn avro(&self, stream: &str) -> Option<Arc<AvroSchemas>> {
        self.avro.get(stream).cloned()
    }

    /// All channels with their streams' names.
    pub(super) fn named(&self) -> impl Iterator<Item = (&String, &Channel)> {
        self.met.iter()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Channel> {
        self.met.values()
    }

    /// What serves by these definitions.
    pub(super) fn live(
        &mut self,
        catalog: &Arc<Catalog>,
        store: &Arc<dyn Store>,
        clock: &Clock,
        max_staleness_us: i64,
    ) -> Result<Live, IngestError> {
        let names = catalog.streams().iter().map(|part| part.stream.name.as_str());
        let channels = names.map(|name| self.of(name)).collect::<Result<Vec<_>, _>>()?;
        let names = catalog.streams().iter().map(|part| part.stream.name.as_str());
        let avro = names.map(|name| self.avro(name)).collect();
        let (catalog, clock) = (Arc::clone(catalog), clock.clone());
        let pusher = Pusher {
            catalog: Arc::clone(&catalog),
            log: self.log.clone(),
            letterbox: self.letterbox.clone(),
            sinks: channels.iter().map(|channel| Arc::clone(&channel.sink)).collect(),
            avro,
            record_to_log: self.record_to_log,
            clock: clock.clone(),
            progress: channels.iter().map(|channel| Arc::clone(&channel.progress)).collect(),
            wakes: channels.iter().map(|channel| Arc::clone(&channel.wake)).collect(),
        };
        let tables = self.fallback.as_ref();
        let tables = tables.map(|fallback| Tables::new(Arc::clone(fallback), &catalog));
        let store = Arc::clone(store);
        let (rules, unfit) = rules(&self.views, &catalog);
        unfit.iter().for_each(|why| tracing::warn!("setting views: {why}"));
        let serving = Serving { catalog, store, clock, max_staleness_us, tables, rules };
        Ok(Live { serving, pusher })
    }
}
