//! Finds out what is so of one environment: what settings say, what a status tells, what store and
//! database say of themselves, and how long they take.

use super::facts::{
    DatabaseFacts, DefinitionsFacts, Facts, IndexFacts, Lack, ServerFacts, StoreFacts, StreamFacts,
};
use super::probe::{Extent, Of, WARM_UP, probe};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::node::{self, NodeError};
use crate::outgrown;
use crate::place::{Place, SourcePlace};
use crate::release;
use crate::serve::{Fallback, MissingIndex, Serving, Tables};
use crate::settings::{DatabaseSettings, Settings};
use crate::status::{DefinitionsStatus, Role, Status, StreamStatus};
use std::sync::Arc;
use std::time::Duration;
use trueup_core::Micros;
use trueup_store::{MemoryStore, Policies, Store};

/// Look-ups of the store: enough for a p99, done in a moment where a store is near.
const STORE: Extent =
    Extent { asks: 200, within: Duration::from_secs(1), altogether: Duration::from_secs(10) };

/// Look-ups of the database: few, since it serves others, and none is begun after some seconds.
const DATABASE_ASKS: usize = 20;
const DATABASE_ALTOGETHER: Duration = Duration::from_secs(5);

/// What one environment is examined by.
#[derive(Debug)]
pub struct Examined<'a> {
    /// Its name.
    pub environment: String,
    /// Its settings.
    pub settings: &'a Settings,
    /// Why these are not taken as they are: they name no online store.
    pub refused: Option<String>,
    /// The definitions of the files.
    pub own: Result<Arc<Catalog>, String>,
    /// How it is.
    pub status: Status,
    /// The store, where this process could open it.
    pub store: Option<Arc<dyn Store>>,
}

/// Finds out what is so.
pub async fn examine(it: Examined<'_>, clock: &Clock) -> Facts {
    let Examined { environment, settings, refused, own, status, store } = it;
    let served = status.definitions.iter().find(|set| set.role == Role::Current);
    let catalog = match &store {
        Some(store) => served_by(&**store).await.or_else(|| own.as_ref().ok().cloned()),
        None => own.as_ref().ok().cloned(),
    };
    let without_store = refused.is_some();
    let mut facts = Facts {
        environment,
        refused,
        without_store,
        definitions: definitions(&own, served, catalog.as_deref()),
        store: (!without_store).then(|| store_facts(settings, &status)),
        troubles: status.troubles.clone(),
        fresh_seconds: fresh_seconds(effective(&status)),
        streams: streams(settings, &status),
        database: None,
        max_staleness_seconds: settings.max_staleness.as_secs_f64(),
        listen: match settings.grpc_listen {
            None => settings.listen.to_string(),
            Some(grpc) => format!("{}, gRPC on {grpc}", settings.listen),
        },
        token: settings.token.is_some(),
        insecure: settings.insecure,
    };
    if let (Some(told), Some(store)) = (&mut facts.store, &store) {
        let retrieval = match &catalog {
            Some(catalog) => probe(&serving(catalog, store, clock, None), Of::Store, STORE).await,
            None => None,
        };
        let asked = retrieval.as_ref().filter(|probe| probe.lacking > 0);
        told.lack = asked.map(|probe| Lack {
            of: format!("{} of {} look-ups", probe.lacking, probe.asks),
            reason: probe.reason.clone().unwrap_or_default(),
        });
        told.retrieval = retrieval;
        if let Some(catalog) = &catalog {
            match outgrown::look(&**store, catalog).await {
                Ok(keys) => told.outgrown = keys,
                Err(error) => facts.troubles.push(error.to_string()),
            }
        }
        match policies(&**store, clock).await {
            Ok((servers, identity)) => {
                told.servers = servers;
                told.identity.extend(identity);
            }
            Err(error) => facts.troubles.push(error),
        }
    } else if let Some(told) = &mut facts.store {
        told.lack = effective(&status).and_then(lack);
    }
    if let (Some(settings), Some(catalog)) = (&settings.database, &catalog) {
        facts.database = Some(database(settings, catalog, clock).await);
    }
    facts
}

/// The definitions in service, compiled again.
async fn served_by(store: &dyn Store) -> Option<Arc<Catalog>> {
    let seen = release::read(store).await.ok()??;
    seen.note.current.catalog().ok().map(Arc::new)
}

/// Those by which answers are given, or would be.
fn effective(status: &Status) -> Option<&DefinitionsStatus> {
    let of = |role| status.definitions.iter().find(|set| set.role == role);
    of(Role::Current).or_else(|| of(Role::Files))
}

fn definitions(
    own: &Result<Arc<Catalog>, String>,
    served: Option<&DefinitionsStatus>,
    in_effect: Option<&Catalog>,
) -> DefinitionsFacts {
    let views = in_effect.iter().flat_map(|catalog| &catalog.definitions().views);
    let views = views.map(|view| (view.name.clone(), view.digest.to_string())).collect();
    DefinitionsFacts {
        files: own.as_ref().ok().map(|own| own.definitions().digest().to_string()),
        trouble: own.as_ref().err().cloned(),
        served: served.map(|set| set.digest.clone()),
        served_trouble: served.and_then(|set| set.trouble.clone()),
        views,
    }
}

fn store_facts(settings: &Settings, status: &Status) -> StoreFacts {
    let mut software: Vec<String> =
        status.store.servers.iter().map(|server| server.software.clone()).collect();
    software.sort();
    software.dedup();
    let (kind, identity) = match &settings.store {
        Place::Memory => ("memory", None),
        Place::Embedded(dir) => {
            let path = dir.canonicalize().unwrap_or_else(|_| dir.clone());
            ("embedded", Some(path.display().to_string()))
        }
        Place::Redis(_) => ("redis", None),
    };
    StoreFacts {
        place: settings.store.to_string(),
        kind: kind.to_owned(),
        shape: status.store.shape.clone(),
        software,
        buckets: status.store.buckets.clone(),
        identity: identity.into_iter().collect(),
        ..StoreFacts::default()
    }
}

/// Groups without a marker, where no look-up can be made here.
fn lack(set: &DefinitionsStatus) -> Option<Lack> {
    let known = set.groups.iter().filter(|group| group.vouched.is_some());
    let lacking: Vec<&str> =
        known.filter(|group| !group.complete).map(|group| group.group.as_str()).collect();
    (!lacking.is_empty()).then(|| Lack {
        of: format!("{} of {} groups", lacking.len(), set.groups.len()),
        reason: format!("{} not complete", lacking.join(", ")),
    })
}

/// How old the oldest group is; none if one never was whole.
fn fresh_seconds(set: Option<&DefinitionsStatus>) -> Option<f64> {
    let each: Option<Vec<f64>> = set?.groups.iter().map(|group| group.fresh_seconds).collect();
    each?.into_iter().reduce(f64::max)
}

fn streams(settings: &Settings, status: &Status) -> Vec<StreamFacts> {
    let logs = settings.sources.iter().map(|(_, place)| place);
    let logs = logs.filter(|place| !matches!(place, SourcePlace::File(_)));
    let logs: Vec<String> = logs.map(ToString::to_string).collect();
    let one = |stream: &StreamStatus| StreamFacts {
        stream: stream.stream.clone(),
        source: stream.source.clone(),
        shared: logs.contains(&stream.source),
        lag_events: stream.lag_events,
        gaps: stream.gaps.clone(),
    };
    status.streams.iter().map(one).collect()
}

fn serving(
    catalog: &Arc<Catalog>,
    store: &Arc<dyn Store>,
    clock: &Clock,
    tables: Option<Tables>,
) -> Serving {
    Serving {
        catalog: Arc::clone(catalog),
        store: Arc::clone(store),
        clock: clock.clone(),
        // Old values take as long as others.
        max_staleness_us: i64::MAX,
        tables,
        rules: Default::default(),
    }
}

/// How the servers are set up, and what of them is this store.
async fn policies(
    store: &dyn Store,
    clock: &Clock,
) -> Result<(Vec<ServerFacts>, Vec<String>), String> {
    let before = clock.now();
    let all = store.policies().await.map_err(|error| error.to_string())?;
    let after = clock.now();
    let identity = all.iter().map(|server| format!("{}/{}", server.life, server.part)).collect();
    Ok((all.into_iter().map(|server| server_facts(server, before, after)).collect(), identity))
}

/// The clock is read somewhere between the question and the answer.
fn server_facts(server: Policies, before: Micros, after: Micros) -> ServerFacts {
    let Policies { place, life, part: _, eviction, persistence, replicas, min_replicas, time_us } =
        server;
    let ahead_us = |time_us: i64| match time_us {
        early if early < before.0 => early - before.0,
        late if late > after.0 => late - after.0,
        _ => 0,
    };
    let clock_ms = time_us.map(|time_us| ahead_us(time_us) as f64 / 1e3);
    ServerFacts { place, life, eviction, persistence, replicas, min_replicas, clock_ms }
}

/// What a database is, and what a miss costs: look-ups over a store that vouches for nothing.
async fn database(
    settings: &DatabaseSettings,
    catalog: &Arc<Catalog>,
    clock: &Clock,
) -> DatabaseFacts {
    let bounds = settings.bounds;
    let mut facts = DatabaseFacts {
        place: settings.place.to_string(),
        bounds: format!(
            "{} at once, {} a second, {:?}, {} rows",
            bounds.connections, bounds.per_second, bounds.timeout, bounds.max_rows
        ),
        ..DatabaseFacts::default()
    };
    match look(settings, catalog, clock).await {
        Ok((fallback, missing)) => {
            let told = |index: &MissingIndex| IndexFacts {
                key: format!("{} ({})", index.table, index.keys.join(", ")),
                statement: index.statement(),
            };
            facts.missing_indexes = missing.iter().map(told).collect();
            let empty: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let tables = Tables::new(fallback, catalog);
            let asks = asks_within(bounds.per_second, catalog);
            // A query that breaks off is sent once more.
            let within = 2 * bounds.timeout + Duration::from_millis(100);
            let extent = Extent { asks, within, altogether: DATABASE_ALTOGETHER };
            let serving = serving(catalog, &empty, clock, Some(tables));
            facts.miss = probe(&serving, Of::Database, extent).await;
        }
        Err(error) => facts.trouble = Some(error.to_string()),
    }
    facts
}

/// How many look-ups keep to a budget of queries a second, each of which needs one for every key.
fn asks_within(per_second: u32, catalog: &Catalog) -> usize {
    let views = catalog.definitions().views.iter();
    let keys = views.map(|view| view.lookups.len()).max().unwrap_or(1).max(1);
    (per_second as usize / keys).saturating_sub(WARM_UP).clamp(1, DATABASE_ASKS)
}

async fn look(
    settings: &DatabaseSettings,
    catalog: &Catalog,
    clock: &Clock,
) -> Result<(Arc<Fallback>, Vec<MissingIndex>), NodeError> {
    // What is written back would be no miss the next time.
    let settings = DatabaseSettings { write_back: false, ..settings.clone() };
    let tables = node::tables(&settings, catalog, clock.clone())?;
    let missing = tables.look(catalog).await.map_err(NodeError::Database)?;
    Ok((Arc::clone(tables.fallback()), missing))
}
