//! A survey for people: stands and metas of all buckets as they are, and what their servers say of
//! themselves. Unlike a look it gives no bucket a stand and adopts none.

use super::Inner;
use super::cluster::moving;
use super::futures::join_all;
use super::greeting::field;
use super::url::Shape;
use super::watch::incarnation;
use super::words::{BUCKETS, Record, hex};
use crate::StoreError;
use crate::store::{Space, Stand};
use crate::survey::{Bucket, BucketState, Server, Survey};

impl Inner {
    pub(super) async fn survey(&self, spaces: &[Space]) -> Result<Survey, StoreError> {
        let records = self.records().await?;
        let metas = self.view_spaces(&records, spaces).await?;
        // Whoever has moved was found by the questions above.
        let nodes = self.router.primaries();
        let asked = join_all(nodes.iter().map(|node| self.look_at_server(node))).await;
        let told = asked.into_iter().collect::<Result<Vec<(String, String)>, _>>()?;
        let lives: Vec<Option<String>> = told.iter().map(|(info, _)| incarnation(info)).collect();
        let on_their_way: Vec<usize> = told.iter().flat_map(|(_, nodes)| moving(nodes)).collect();
        let bucket = |(number, (record, metas)): (usize, (&Option<Record>, _))| {
            let owner = self.router.owner(number);
            let server = nodes.iter().position(|node| Some(&node.place) == owner.as_ref());
            let server = server.unwrap_or_default();
            let life = lives.get(server).and_then(Option::as_ref);
            let state = match record {
                None => BucketState::Empty,
                Some(_) if on_their_way.contains(&number) => BucketState::Moving,
                Some(record) if life != Some(&hex(record.incarnation)) => BucketState::Unseen,
                Some(_) => BucketState::Sound,
            };
            let nowhere = Stand { epoch: 0, incarnation: 0 };
            let stand = record.as_ref().map_or(nowhere, Record::stand);
            Bucket { server, stand, state, metas }
        };
        let buckets = (0..BUCKETS).zip(records.iter().zip(metas)).map(bucket).collect();
        let server =
            |(node, (info, _)): (&std::sync::Arc<super::node::Node>, &(String, String))| {
                server(node.place.to_string(), info)
            };
        Ok(Survey {
            shape: match self.router.dial.target.shape {
                Shape::Single => "one server",
                Shape::Sentinel { .. } => "primary behind Sentinel",
                Shape::Cluster => "cluster",
            },
            servers: nodes.iter().zip(&told).map(server).collect(),
            buckets,
        })
    }
}

/// What a server's `INFO` says.
fn server(place: String, info: &str) -> Server {
    let software = match field(info, "valkey_version") {
        Some(version) => format!("Valkey {version}"),
        None => format!("Redis {}", field(info, "redis_version").unwrap_or("of no version")),
    };
    let bytes = |name| field(info, name).and_then(|bytes| bytes.parse().ok());
    Server {
        place,
        software,
        used_bytes: bytes("used_memory"),
        // 0 is Redis' word for no bound.
        limit_bytes: bytes("maxmemory").filter(|&bytes| bytes > 0),
    }
}
