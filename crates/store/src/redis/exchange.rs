//! Commands to the servers that have their buckets, and replies back, wherever a bucket moves
//! meanwhile.
//!
//! Commands of one bucket go in their order on one connection. A command that a server does not
//! take, because it no longer has the bucket (`MOVED`), gives it away at the moment (`ASK`), has
//! half of its keys (`TRYAGAIN`) or has forgotten a script (`NOSCRIPT`), has done nothing; it is
//! sent again where it belongs, in a bounded number of rounds and within the deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, ServerError, Value, cmd};
use tokio::time::timeout_at;

use super::cluster::redirect;
use super::futures::join_all;
use super::greeting::denied;
use super::link::{Link, down};
use super::node::Lane;
use super::router::Router;
use super::script::Script;
use super::url::Place;
use crate::StoreError;
use crate::store::Answer;

/// Rounds after which commands that nobody takes are given up.
const ROUNDS: usize = 32;
/// Pause before a bucket with keys on two nodes is tried again: a key is moved in less.
const AGAIN_PAUSE: Duration = Duration::from_millis(3);

/// A command for a bucket.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) bucket: usize,
    cmd: Cmd,
    script: Option<Script>,
}

impl Order {
    pub(super) fn new(bucket: usize, cmd: Cmd) -> Self {
        Self { bucket, cmd, script: None }
    }

    pub(super) fn script(bucket: usize, script: Script, cmd: Cmd) -> Self {
        Self { bucket, cmd, script: Some(script) }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) value: Value,
    /// Of the connection that it came on.
    pub(super) generation: u64,
    /// The bucket is on its way: the node that is to get it answered, or, unless the plan follows
    /// there, nobody did and nothing was done.
    pub(super) asked: bool,
}

/// Looks at a connection before anything of a bucket is sent on it.
pub(super) trait Gate: Sync {
    fn pass<'a>(&'a self, bucket: usize, link: &'a Link) -> Answer<'a, ()>;
}

/// How to exchange.
pub(super) struct Plan<'a> {
    pub(super) lane: Lane,
    /// Bound on each round trip.
    pub(super) within: Duration,
    /// Bound on all of them.
    pub(super) until: Instant,
    /// Whether to go after a bucket that is on its way.
    pub(super) follow: bool,
    pub(super) gate: Option<&'a dyn Gate>,
}

/// What a reply means.
enum Verdict {
    Done(Value),
    Moved(Place),
    Ask(Place),
    Again,
    Forgotten,
    Demoted,
    Failed(StoreError),
}

/// Commands that go out on one connection, by their numbers.
struct Share {
    link: Arc<Link>,
    orders: Vec<usize>,
    asking: bool,
}

/// What is left to do after a round.
#[derive(Default)]
struct Left {
    pending: Vec<usize>,
    asks: Vec<(usize, Place)>,
    again: bool,
    failed: Option<StoreError>,
}

impl Router {
    /// Sends all and waits for all replies, which come in the order of the commands.
    ///
    /// # Errors
    /// The first failure, after all replies of its round are in: what else was sent may be done.
    pub(super) async fn exchange(
        &self,
        orders: &[Order],
        plan: &Plan<'_>,
    ) -> Result<Vec<Reply>, StoreError> {
        let mut replies: Vec<Option<Reply>> = orders.iter().map(|_| None).collect();
        let mut whole = vec![false; orders.len()];
        let mut left = Left { pending: (0..orders.len()).collect(), ..Left::default() };
        for _ in 0..ROUNDS {
            let shares = timeout_at(plan.until.into(), self.shares(orders, &left, plan)).await;
            let shares = shares.unwrap_or_else(|_| Err(self.late("no connection in time")))?;
            if shares.is_empty() {
                return Ok(replies.into_iter().flatten().collect());
            }
            if left.again {
                tokio::time::sleep(AGAIN_PAUSE).await;
            }
            let Some(rest) = plan.until.checked_duration_since(Instant::now()) else { break };
            let within = plan.within.min(rest);
            let sent = shares.iter().map(|share| self.send(share, orders, &whole, within));
            let answers = join_all(sent).await;
            left = Left::default();
            for (share, answer) in shares.iter().zip(answers) {
                match answer {
                    Ok(values) => {
                        for (&nth, value) in share.orders.iter().zip(values) {
                            let verdict = judge(value, share.link.place());
                            if matches!(verdict, Verdict::Forgotten) {
                                whole[nth] = true;
                            }
                            let bucket = orders[nth].bucket;
                            let follow = plan.follow;
                            replies[nth] =
                                self.settle((nth, bucket), verdict, share, follow, &mut left);
                        }
                    }
                    Err(error) => left.failed = Some(error),
                }
            }
            if let Some(error) = left.failed {
                return Err(error);
            }
            left.pending.sort_unstable();
        }
        Err(self.late("a bucket is on its way for too long"))
    }

    fn late(&self, what: &str) -> StoreError {
        StoreError::Unavailable { detail: format!("{}: {what}", self.dial.target) }
    }

    /// Who gets what next. Order within a bucket is kept, since its commands share a connection.
    async fn shares(
        &self,
        orders: &[Order],
        left: &Left,
        plan: &Plan<'_>,
    ) -> Result<Vec<Share>, StoreError> {
        let mut links: Vec<Option<Arc<Link>>> = vec![None; super::words::BUCKETS];
        let mut shares: Vec<Share> = Vec::new();
        for &nth in &left.pending {
            let bucket = orders[nth].bucket;
            let link = match &links[bucket] {
                Some(link) => Arc::clone(link),
                None => {
                    let link = self.link(bucket, plan.lane).await?;
                    if let Some(gate) = plan.gate {
                        gate.pass(bucket, &link).await?;
                    }
                    links[bucket] = Some(Arc::clone(&link));
                    link
                }
            };
            assign(&mut shares, link, nth, false);
        }
        for (nth, place) in &left.asks {
            let link = self.node(place).link(plan.lane, &self.dial).await?;
            assign(&mut shares, link, *nth, true);
        }
        Ok(shares)
    }

    async fn send(
        &self,
        share: &Share,
        orders: &[Order],
        whole: &[bool],
        within: Duration,
    ) -> Result<Vec<Value>, StoreError> {
        let mut pipeline = Pipeline::with_capacity(share.orders.len() << usize::from(share.asking));
        for &nth in &share.orders {
            if share.asking {
                pipeline.add_command(cmd("ASKING"));
            }
            let order = &orders[nth];
            pipeline.add_command(match order.script {
                Some(script) if whole[nth] => script.whole(&order.cmd),
                _ => order.cmd.clone(),
            });
        }
        let values = share.link.send(&pipeline, within, &self.dial.counts).await?;
        let step = if share.asking { 2 } else { 1 };
        Ok(values.into_iter().skip(step - 1).step_by(step).collect())
    }

    /// Does what the verdict on a command (its number, its bucket) asks for; a reply, when there is
    /// one.
    fn settle(
        &self,
        (nth, bucket): (usize, usize),
        verdict: Verdict,
        share: &Share,
        follow: bool,
        left: &mut Left,
    ) -> Option<Reply> {
        let counts = &self.dial.counts;
        let reply = |value, asked| {
            Some(Reply { value, generation: share.link.generation, asked: asked || share.asking })
        };
        match verdict {
            Verdict::Done(value) => return reply(value, false),
            Verdict::Moved(place) => {
                counts.moved.add(1);
                self.patch(bucket, &place);
                left.pending.push(nth);
            }
            Verdict::Ask(place) => {
                counts.asked.add(1);
                self.moves(bucket);
                if !follow {
                    return reply(Value::Nil, true);
                }
                left.asks.push((nth, place));
            }
            Verdict::Again => {
                counts.tried_again.add(1);
                self.moves(bucket);
                if !follow {
                    return reply(Value::Nil, true);
                }
                left.again = true;
                left.pending.push(nth);
            }
            Verdict::Forgotten => left.pending.push(nth),
            Verdict::Demoted => {
                // It is not the primary any more: nobody is to use it until asked who is.
                self.node(share.link.place()).retire();
                left.failed.get_or_insert_with(|| down(share.link.place(), "it is a replica"));
            }
            Verdict::Failed(error) => {
                left.failed.get_or_insert(error);
            }
        }
        None
    }
}

fn assign(shares: &mut Vec<Share>, link: Arc<Link>, nth: usize, asking: bool) {
    let same =
        |share: &&mut Share| share.link.generation == link.generation && share.asking == asking;
    match shares.iter_mut().find(same) {
        Some(share) => share.orders.push(nth),
        None => shares.push(Share { link, orders: vec![nth], asking }),
    }
}

fn judge(value: Value, place: &Place) -> Verdict {
    let Value::ServerError(error) = value else { return Verdict::Done(value) };
    match (error.code(), error.details().and_then(|details| redirect(details, place))) {
        ("MOVED", Some(to)) => Verdict::Moved(to),
        ("ASK", Some(to)) => Verdict::Ask(to),
        ("TRYAGAIN", _) => Verdict::Again,
        ("NOSCRIPT", _) => Verdict::Forgotten,
        ("READONLY", _) => Verdict::Demoted,
        _ => Verdict::Failed(failure(&error, place)),
    }
}

/// What a server's error means to a caller. Its text may hold keys, so only its code is kept.
fn failure(error: &ServerError, place: &Place) -> StoreError {
    match error.code() {
        "OOM" => StoreError::Full {
            path: place.to_string(),
            detail: "its memory is full (maxmemory)".to_owned(),
        },
        "NOPERM" => denied(place),
        "WRONGTYPE" => StoreError::Corrupt {
            place: place.to_string(),
            detail: "a key of ours holds something else".to_owned(),
        },
        code => down(place, format!("it answers {code}")),
    }
}
