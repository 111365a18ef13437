//! What a server says of itself when a connection opens, and whether it is fit to hold state.

use redis::{Value, from_redis_value};

use super::link::down;
use super::options::RedisOptions;
use super::url::{Place, Shape};
use crate::StoreError;

/// The oldest version that is tested.
const OLDEST: (u32, u32) = (6, 2);
pub(super) const POLICY: &str = "maxmemory_policy";

/// Looks at the replies to `INFO`, `CLUSTER MYID` and the loading of scripts. Says whether the
/// server may evict keys.
///
/// # Errors
/// [`StoreError::Unfit`] with the remedy, or [`StoreError::Unavailable`] if it may pass.
pub(super) fn check(
    replies: &[Value],
    place: &Place,
    shape: &Shape,
    options: &RedisOptions,
) -> Result<bool, StoreError> {
    for (nth, reply) in replies.iter().enumerate() {
        // Without a cluster there is no id; that is seen below.
        if let (Value::ServerError(error), false) = (reply, nth == 1) {
            return Err(match error.code() {
                "NOPERM" => denied(place),
                "NOAUTH" => locked(place),
                code => down(place, format!("it answers {code} to a greeting")),
            });
        }
    }
    let info: String = from_redis_value(replies[0].clone()).map_err(|error| down(place, error))?;
    if field(&info, "loading") == Some("1") {
        return Err(down(place, "it is loading its data"));
    }
    if field(&info, "role") != Some("master") {
        return Err(down(place, "it is a replica"));
    }
    check_version(&info, place)?;
    check_shape(&info, place, shape)?;
    let evicts = evicts(&info);
    if evicts && !options.allow_eviction {
        let policy = field(&info, POLICY).unwrap_or_default();
        let what = format!("its maxmemory-policy is {policy}, so it may take state away unasked");
        return Err(unfit(place, &what, "Run CONFIG SET maxmemory-policy noeviction there."));
    }
    Ok(evicts)
}

/// Whether a server may take keys away, by its `INFO`.
pub(super) fn evicts(info: &str) -> bool {
    field(info, POLICY).is_some_and(|policy| policy != "noeviction")
}

fn check_version(info: &str, place: &Place) -> Result<(), StoreError> {
    let version = field(info, "redis_version").unwrap_or("0.0");
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < OLDEST {
        let what = format!("it is Redis {version}");
        return Err(unfit(place, &what, "Use Redis 6.2 or later."));
    }
    Ok(())
}

fn check_shape(info: &str, place: &Place, shape: &Shape) -> Result<(), StoreError> {
    let clustered = field(info, "cluster_enabled") == Some("1");
    match (shape, clustered) {
        (Shape::Cluster, false) => {
            Err(unfit(place, "it is not part of a cluster", "Write redis:// there."))
        }
        (Shape::Single | Shape::Sentinel { .. }, true) => {
            Err(unfit(place, "it is part of a cluster", "Write redis-cluster:// there."))
        }
        _ => Ok(()),
    }
}

pub(super) fn denied(place: &Place) -> StoreError {
    unfit(
        place,
        "the user may not run what is needed",
        "Give the user ~PREFIX:* and +@read +@write +@scripting +info +cluster +time +ping.",
    )
}

/// The error of a server that does not know our user and password.
pub(super) fn locked(place: &Place) -> StoreError {
    unfit(
        place,
        "it does not let us in",
        "Check user and password; without a user the server's default one is meant.",
    )
}

pub(super) fn unfit(place: &Place, detail: &str, remedy: &'static str) -> StoreError {
    StoreError::Unfit { place: place.to_string(), detail: detail.to_owned(), remedy }
}

/// A field of the server's `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
