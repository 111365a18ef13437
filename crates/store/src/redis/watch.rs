//! Looks at the servers every second, so that a failover that no connection notices is noticed, the
//! incarnations of all primaries are on record, and buckets on their way are known to be.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{Pipeline, Value, from_redis_value};

use super::Inner;
use super::cluster::moving;
use super::greeting::{evicts, field};
use super::node::{Lane, Node};
use super::script::sha1_hex;
use super::url::Shape;
use crate::StoreError;

/// Between two looks. The model of the writing rules assumes that no bucket moves while a failover
/// of its node is unseen.
const EVERY: Duration = Duration::from_secs(1);
/// Hex digits of an incarnation, as the scripts cut it.
const INCARNATION_HEX: usize = 16;

/// Looks until the store is gone.
pub(super) async fn watch(inner: Weak<Inner>) {
    let mut evicted = BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.observe(&mut evicted).await;
    }
}

impl Inner {
    /// Looks at all primaries once. What cannot be seen stays as it was.
    pub(super) async fn observe(&self, evicted: &mut BTreeMap<super::url::Place, u64>) {
        if let Shape::Sentinel { master } = &self.router.dial.target.shape
            && let Ok(named) = self.router.ask_sentinels(master).await
            && self.router.primaries().iter().all(|node| node.place != named)
        {
            // Failing is no harm: whoever writes next asks as well.
            drop(self.router.find_again().await);
        }
        let looks = self.router.primaries().into_iter().map(|node| async move {
            let seen = self.look_at_server(&node).await;
            (node, seen)
        });
        for (node, seen) in super::futures::join_all(looks).await {
            let Ok((info, nodes)) = seen else { continue };
            for bucket in moving(&nodes) {
                self.router.moves(bucket);
            }
            if field(&info, "role") != Some("master") {
                node.retire();
                drop(self.router.find_again().await);
                continue;
            }
            node.set_evicts(evicts(&info));
            let now = field(&info, "evicted_keys").and_then(|n| n.parse().ok()).unwrap_or(0);
            let before = evicted.insert(node.place.clone(), now).unwrap_or(now);
            self.counts().evicted.add(now.saturating_sub(before));
            let Some(incarnation) = incarnation(&info) else { continue };
            if self.router.saw(&node.place, &incarnation) {
                // Nobody may go on as if it were the same: new connections are looked at.
                node.retire();
            }
        }
    }

    pub(super) async fn look_at_server(
        &self,
        node: &Arc<Node>,
    ) -> Result<(String, String), StoreError> {
        let link = node.link(Lane::Writes, &self.router.dial).await?;
        let mut questions = Pipeline::with_capacity(2);
        questions.cmd("INFO");
        if self.router.is_cluster() {
            questions.cmd("CLUSTER").arg("NODES");
        }
        let within = self.options().write_timeout;
        let mut answers = link.send(&questions, within, self.counts()).await?.into_iter();
        let mut text = || -> String {
            answers
                .next()
                .and_then(|answer: Value| from_redis_value(answer).ok())
                .unwrap_or_default()
        };
        let info = text();
        Ok((info, text()))
    }
}

/// The incarnation of a server by its `INFO`, as its scripts compute it.
pub(super) fn incarnation(info: &str) -> Option<String> {
    let life = format!("{}{}", field(info, "run_id")?, field(info, "master_replid")?);
    let mut incarnation = sha1_hex(life.as_bytes());
    incarnation.truncate(INCARNATION_HEX);
    Some(incarnation)
}
