//! Which server has which bucket, and the servers' lives as far as seen.
//!
//! On one server and behind sentinels all buckets are with one primary. In a cluster each bucket is
//! one slot, and a map says whose; a server that no longer has a bucket names the one that has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::cluster;
use super::futures::join_all;
use super::link::{Dial, Link};
use super::node::{Lane, Node};
use super::url::{Place, Shape};
use super::words::BUCKETS;
use crate::StoreError;

/// Least time between two questions for the map: a failover takes longer, and callers wait.
const FIND_PAUSE: Duration = Duration::from_millis(50);

/// Servers and who owns what.
pub(super) struct Router {
    pub(super) dial: Arc<Dial>,
    map: RwLock<Arc<Map>>,
    nodes: Mutex<BTreeMap<Place, Arc<Node>>>,
    finding: tokio::sync::Mutex<Option<Instant>>,
    /// When a bucket was last seen on its way to another node, by bucket.
    moving: Vec<Mutex<Option<Instant>>>,
    /// Incarnations of the primaries, as their scripts compute them.
    incarnations: Mutex<BTreeMap<Place, String>>,
}

/// The owners of the buckets at one time.
pub(super) struct Map {
    number: u64,
    /// One a bucket; empty before the first was found.
    owners: Vec<Arc<Node>>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("dial", &self.dial).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Router {
    pub(super) fn new(dial: Dial) -> Self {
        Self {
            dial: Arc::new(dial),
            map: RwLock::new(Arc::new(Map { number: 0, owners: Vec::new() })),
            nodes: Mutex::default(),
            finding: tokio::sync::Mutex::new(None),
            moving: (0..BUCKETS).map(|_| Mutex::new(None)).collect(),
            incarnations: Mutex::default(),
        }
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, owners: Vec<Arc<Node>>) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let used: Vec<Place> = owners.iter().map(|node| node.place.clone()).collect();
        lock(&self.incarnations).retain(|place, _| used.contains(place));
        *map = Arc::new(Map { number: map.number + 1, owners });
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.dial.target.shape == Shape::Cluster
    }

    /// The node at a place; the same one each time.
    pub(super) fn node(&self, place: &Place) -> Arc<Node> {
        let mut nodes = lock(&self.nodes);
        let node = nodes.entry(place.clone()).or_insert_with(|| Arc::new(Node::new(place.clone())));
        Arc::clone(node)
    }

    /// The nodes that own buckets, each once.
    pub(super) fn primaries(&self) -> Vec<Arc<Node>> {
        let map = self.map();
        let nodes: BTreeMap<_, _> = map.owners.iter().map(|node| (&node.place, node)).collect();
        nodes.into_values().cloned().collect()
    }

    /// Who owns a bucket, as far as was found.
    pub(super) fn owner(&self, bucket: usize) -> Option<Place> {
        self.map().owners.get(bucket).map(|node| node.place.clone())
    }

    /// A connection to the owner of a bucket. Where the known owner cannot be reached, asks once
    /// who it is now.
    pub(super) async fn link(&self, bucket: usize, lane: Lane) -> Result<Arc<Link>, StoreError> {
        let map = self.map();
        let failed = match map.owners.get(bucket) {
            Some(owner) => match owner.link(lane, &self.dial).await {
                Ok(link) => return Ok(link),
                Err(error) => Some(error),
            },
            None => None,
        };
        if let (Shape::Single, Some(error)) = (&self.dial.target.shape, &failed) {
            return Err(error.clone());
        }
        self.find(map.number).await.map_err(|error| failed.unwrap_or(error))?;
        let map = self.map();
        map.owners[bucket].link(lane, &self.dial).await
    }

    /// Asks who owns what, unless somebody did since the map of that number.
    pub(super) async fn find(&self, known: u64) -> Result<(), StoreError> {
        let mut last = self.finding.lock().await;
        if self.map().number != known {
            return Ok(());
        }
        if let Some(since) = last.map(|last| last.elapsed())
            && since < FIND_PAUSE
        {
            tokio::time::sleep(FIND_PAUSE - since).await;
        }
        *last = Some(Instant::now());
        let owners = match &self.dial.target.shape {
            Shape::Single => vec![self.dial.target.seeds[0].clone(); BUCKETS],
            Shape::Sentinel { master } => vec![self.ask_sentinels(master).await?; BUCKETS],
            Shape::Cluster => self.ask_cluster().await?,
        };
        self.set(owners.iter().map(|place| self.node(place)).collect());
        Ok(())
    }

    /// Who owns what now; whoever holds connections to others will see.
    pub(super) async fn find_again(&self) -> Result<(), StoreError> {
        self.find(self.map().number).await
    }

    /// The primary that most sentinels name.
    pub(super) async fn ask_sentinels(&self, master: &str) -> Result<Place, StoreError> {
        let seeds = &self.dial.target.seeds;
        let asked = seeds.iter().map(|place| self.dial.ask_sentinel(place, master));
        let mut votes: BTreeMap<Place, usize> = BTreeMap::new();
        for named in join_all(asked).await.into_iter().flatten() {
            *votes.entry(named).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        most.map(|(place, _)| place).ok_or_else(|| StoreError::Unavailable {
            detail: format!("{}: no sentinel knows {master}", self.dial.target),
        })
    }

    async fn ask_cluster(&self) -> Result<Vec<Place>, StoreError> {
        let mut places: Vec<Place> = self.primaries().iter().map(|n| n.place.clone()).collect();
        places.extend(lock(&self.nodes).keys().cloned());
        places.extend(self.dial.target.seeds.iter().cloned());
        places.sort();
        places.dedup();
        let asked = places.iter().map(|place| cluster::ask(&self.dial, place));
        let (mut newest, mut failed): (Option<cluster::View>, Option<StoreError>) = (None, None);
        for answer in join_all(asked).await {
            match answer {
                Ok(view) if newest.as_ref().is_none_or(|best| best.rank() < view.rank()) => {
                    newest = Some(view);
                }
                Ok(_) => {}
                // What will not mend itself is worth more to the reader than what may.
                Err(error @ StoreError::Unfit { .. }) => failed = Some(error),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        let view = newest.ok_or_else(|| {
            failed.unwrap_or_else(|| StoreError::Unavailable { detail: "no node".to_owned() })
        })?;
        if !view.serves {
            let detail = format!("{}: the cluster does not serve", self.dial.target);
            return Err(StoreError::Unavailable { detail });
        }
        view.owners().ok_or_else(|| StoreError::Unavailable {
            detail: format!("{}: some slots have no node", self.dial.target),
        })
    }

    /// A node said that another one has the bucket.
    pub(super) fn patch(&self, bucket: usize, place: &Place) {
        let mut owners = self.map().owners.clone();
        if let Some(owner) = owners.get_mut(bucket) {
            *owner = self.node(place);
            self.set(owners);
        }
    }

    /// Whether the owner of a bucket is one that may take keys away.
    pub(super) fn evicts(&self, bucket: usize) -> bool {
        self.map().owners.get(bucket).is_some_and(|node| node.evicts())
    }

    /// The bucket is on its way to another node: its keys are on two.
    pub(super) fn moves(&self, bucket: usize) {
        *lock(&self.moving[bucket]) = Some(Instant::now());
    }

    /// When the bucket was last seen on its way, since it was last found to have arrived.
    pub(super) fn moving(&self, bucket: usize) -> Option<Instant> {
        *lock(&self.moving[bucket])
    }

    pub(super) fn arrived(&self, bucket: usize) {
        *lock(&self.moving[bucket]) = None;
    }

    /// A node's incarnation was seen. Says whether another one was seen before.
    pub(super) fn saw(&self, place: &Place, incarnation: &str) -> bool {
        let before = lock(&self.incarnations).insert(place.clone(), incarnation.to_owned());
        before.is_some_and(|before| before != incarnation)
    }

    /// The incarnations of all primaries as far as seen, as a stand holds them.
    pub(super) fn incarnations(&self) -> String {
        lock(&self.incarnations).values().map(String::as_str).collect()
    }
}
