//! What a cluster's nodes say of it: who has which slot, and which slots are on their way.

use redis::{Value, from_redis_value};
use tokio::time::timeout;

use super::greeting::{self, field};
use super::link::{Dial, down};
use super::name::slot_of;
use super::url::Place;
use super::words::BUCKETS;
use crate::StoreError;

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Whether it serves: a node cut off from the others says no.
    pub(super) serves: bool,
    /// Rises with each failover.
    epoch: u64,
    /// First slot, last slot, and the primary.
    ranges: Vec<(u16, u16, Place)>,
}

impl View {
    /// Of two views the higher one is to be believed.
    pub(super) fn rank(&self) -> (bool, u64) {
        (self.serves, self.epoch)
    }

    /// The owner of each bucket; `None` when one has none.
    pub(super) fn owners(&self) -> Option<Vec<Place>> {
        (0..BUCKETS).map(|bucket| self.owner(slot_of(bucket))).collect()
    }

    fn owner(&self, slot: u16) -> Option<Place> {
        let range = self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?;
        Some(range.2.clone())
    }
}

/// Asks a node for its view.
pub(super) async fn ask(dial: &Dial, place: &Place) -> Result<View, StoreError> {
    let asked = timeout(dial.options.connect_timeout, dial.ask_cluster(place)).await;
    let (info, slots) = asked.unwrap_or_else(|_| Err(down(place, "no answer in time")))?;
    if matches!(info, Value::ServerError(_)) {
        return Err(greeting::unfit(place, "it is not part of a cluster", "Write redis:// there."));
    }
    let info: String = from_redis_value(info).map_err(|error| down(place, error))?;
    let Value::Array(ranges) = slots else { return Err(down(place, "it tells no slots")) };
    let epoch = field(&info, "cluster_current_epoch").and_then(|epoch| epoch.parse().ok());
    Ok(View {
        serves: field(&info, "cluster_state") == Some("ok"),
        epoch: epoch.unwrap_or(0),
        ranges: ranges.iter().filter_map(|range| parse_range(range, place)).collect(),
    })
}

/// A range of `CLUSTER SLOTS`; a node that does not know its own address leaves it out, and is the
/// one that was asked.
fn parse_range(range: &Value, asked: &Place) -> Option<(u16, u16, Place)> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => String::from_utf8_lossy(host).into_owned(),
        Value::SimpleString(host) => host.clone(),
        _ => String::new(),
    };
    let place = place(&host, u16::try_from(*port).ok()?, asked)?;
    Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, place))
}

fn place(host: &str, port: u16, asked: &Place) -> Option<Place> {
    let host = match (host, asked) {
        ("?", _) => return None,
        ("", Place::Tcp { host, .. }) => host.clone(),
        ("", Place::Unix(_)) => return None,
        (host, _) => host.to_owned(),
    };
    Some(Place::Tcp { host, port })
}

/// Where a node says that a slot is: `SLOT HOST:PORT`.
pub(super) fn redirect(details: &str, asked: &Place) -> Option<Place> {
    let (host, port) = details.split(' ').nth(1)?.rsplit_once(':')?;
    place(host, port.parse().ok()?, asked)
}

/// The buckets that are on their way from or to a node, by its `CLUSTER NODES`: in its own line,
/// as `[SLOT->-NODE]` or `[SLOT-<-NODE]`.
pub(super) fn moving(nodes: &str) -> Vec<usize> {
    let own = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
    let slots: Vec<u16> = own
        .split(' ')
        .filter_map(|word| word.strip_prefix('[')?.split('-').next()?.parse().ok())
        .collect();
    (0..BUCKETS).filter(|bucket| slots.contains(&slot_of(*bucket))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Place {
        Place::Tcp { host: "asked".to_owned(), port: 1 }
    }

    fn tcp(host: &str, port: u16) -> Option<Place> {
        Some(Place::Tcp { host: host.to_owned(), port })
    }

    #[test]
    fn a_redirect_names_a_place() {
        assert_eq!(redirect("3999 10.0.0.1:6381", &asked()), tcp("10.0.0.1", 6381));
        assert_eq!(redirect("3999 ::1:6381", &asked()), tcp("::1", 6381));
        assert_eq!(redirect("3999 :6381", &asked()), tcp("asked", 6381));
        assert_eq!(redirect("3999 ?:6381", &asked()), None);
        assert_eq!(redirect("", &asked()), None);
    }

    #[test]
    fn slots_on_their_way_are_found_in_the_nodes_own_line() {
        let slot = slot_of(7);
        let nodes = format!(
            "aa 1.2.3.4:1@2 master - 0 1 2 connected 0-5 [9-<-bb]\n\
             bb 1.2.3.4:2@3 myself,master - 0 1 2 connected 6-9 [{slot}->-aa] [1-<-aa]\n"
        );
        assert_eq!(moving(&nodes), [7]);
        assert_eq!(moving(""), Vec::<usize>::new());
    }
}
