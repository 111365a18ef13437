//! How servers are set up, for people who compare them: what happens when memory is full, what
//! outlasts a restart, how many replicas follow, and what time it is there.
//!
//! Two of the questions are `CONFIG GET`, which the store itself has no need of. A user who may not
//! ask them is told that nobody said.

use std::collections::BTreeMap;
use std::sync::Arc;

use redis::{FromRedisValue, Pipeline, Value, from_redis_value};

use super::Inner;
use super::futures::join_all;
use super::greeting::{POLICY, field};
use super::node::{Lane, Node};
use crate::StoreError;
use crate::survey::Policies;

/// When the server writes its data to a file; empty for never.
const SAVE: &str = "save";
/// Replicas without which it refuses writes.
const MIN_REPLICAS: &str = "min-replicas-to-write";

impl Inner {
    pub(super) async fn policies(&self) -> Result<Vec<Policies>, StoreError> {
        let nodes = self.router.primaries();
        let asked = join_all(nodes.iter().map(|node| self.ask_policies(node))).await;
        asked.into_iter().collect()
    }

    async fn ask_policies(&self, node: &Arc<Node>) -> Result<Policies, StoreError> {
        let link = node.link(Lane::Writes, &self.router.dial).await?;
        let mut questions = Pipeline::with_capacity(4);
        questions.cmd("INFO").cmd("TIME");
        for name in [SAVE, MIN_REPLICAS] {
            questions.cmd("CONFIG").arg("GET").arg(name);
        }
        let within = self.options().write_timeout;
        let mut answers = link.send(&questions, within, self.counts()).await?.into_iter();
        let info: String = said(answers.next()).unwrap_or_default();
        let time: Option<(i64, i64)> = said(answers.next());
        let save = setting(answers.next(), SAVE);
        let min_replicas = setting(answers.next(), MIN_REPLICAS);
        let number = |text: &str| text.parse().ok();
        Ok(Policies {
            place: node.place.to_string(),
            life: field(&info, "run_id").unwrap_or_default().to_owned(),
            part: format!("{}/{}", self.router.dial.target.db, self.options().prefix),
            eviction: field(&info, POLICY).unwrap_or("unknown").to_owned(),
            persistence: persistence(&info, save.as_deref()).map(str::to_owned),
            replicas: field(&info, "connected_slaves").and_then(number),
            min_replicas: min_replicas.as_deref().and_then(number),
            time_us: time.map(|(seconds, micros)| seconds * 1_000_000 + micros),
        })
    }
}

/// An answer; `None` for a server's error.
fn said<T: FromRedisValue>(answer: Option<Value>) -> Option<T> {
    from_redis_value(answer?).ok()
}

fn setting(answer: Option<Value>, name: &str) -> Option<String> {
    said::<BTreeMap<String, String>>(answer)?.remove(name)
}

fn persistence(info: &str, save: Option<&str>) -> Option<&'static str> {
    let saves = save.map(|when| !when.is_empty());
    match (field(info, "aof_enabled") == Some("1"), saves) {
        (true, Some(true)) => Some("append-only file and snapshots"),
        (true, _) => Some("append-only file"),
        (false, Some(true)) => Some("snapshots"),
        (false, Some(false)) => Some("nothing"),
        (false, None) => None,
    }
}
