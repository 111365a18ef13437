//! Commands to the servers that have their buckets, and replies back, wherever a bucket moves
//! meanwhile.
//!
//! Commands of one bucket go in their order on one connection. A command that a server does not
//! take, because it no longer has the bucket (`MOVED`), gives it away at the moment (`ASK`), has
//! half of its keys (`TRYAGAIN`) or has forgotten a script (`NOSCRIPT`), has done nothing; it is
//! sent again where it belongs, in a bounded number of rounds and within the deadline.
//!
//! A command is moved into the bytes that go out and copied back only when it must be sent again.
//! Many commands for one connection go in several parts, one behind the other, so that the server
//! works on the first while the next is being packed.

use std::collections::BTreeMap;
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
/// Commands that are packed in one go: enough that a system call costs little beside them, few
/// enough that the server waits little for the first.
const PART: usize = 256;
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

    /// Has the command again, after it was sent in vain; as a whole text, if the server has
    /// forgotten the script.
    fn take_back(&mut self, sent: &Cmd, forgotten: bool) {
        self.cmd = match self.script {
            Some(script) if forgotten => {
                self.script = None;
                script.whole(sent)
            }
            _ => sent.clone(),
        };
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

/// Commands that go out on one connection in one go, by their numbers.
struct Share {
    link: Arc<Link>,
    orders: Vec<usize>,
    asking: bool,
}

impl Share {
    /// Commands on the wire for each order: `ASKING` goes before each.
    fn step(&self) -> usize {
        if self.asking { 2 } else { 1 }
    }

    /// Moves the commands into what is sent.
    fn pack(&self, orders: &mut [Order]) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(self.orders.len() * self.step());
        for &nth in &self.orders {
            if self.asking {
                pipeline.add_command(cmd("ASKING"));
            }
            pipeline.add_command(std::mem::take(&mut orders[nth].cmd));
        }
        pipeline
    }
}

/// The parts that go out in a round, in the order of their sending.
#[derive(Default)]
struct Shares {
    all: Vec<Share>,
}

impl Shares {
    /// The part for this connection that is not full yet.
    fn open(&mut self, link: &Arc<Link>, asking: bool) -> usize {
        let same =
            |share: &Share| share.link.generation == link.generation && share.asking == asking;
        let last = self.all.iter().rposition(same);
        last.filter(|&share| self.all[share].orders.len() < PART).unwrap_or_else(|| {
            self.all.push(Share { link: Arc::clone(link), orders: Vec::new(), asking });
            self.all.len() - 1
        })
    }

    fn add(&mut self, share: usize, order: usize) {
        self.all[share].orders.push(order);
    }

    fn is_full(&self, share: usize) -> bool {
        self.all[share].orders.len() >= PART
    }
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
        mut orders: Vec<Order>,
        plan: &Plan<'_>,
    ) -> Result<Vec<Reply>, StoreError> {
        let mut replies: Vec<Option<Reply>> = orders.iter().map(|_| None).collect();
        let mut left = Left { pending: (0..orders.len()).collect(), ..Left::default() };
        for _ in 0..ROUNDS {
            let shares = timeout_at(plan.until.into(), self.shares(&orders, &left, plan)).await;
            let shares = shares.unwrap_or_else(|_| Err(self.late("no connection in time")))?;
            if shares.is_empty() {
                return Ok(replies.into_iter().flatten().collect());
            }
            if left.again {
                tokio::time::sleep(AGAIN_PAUSE).await;
            }
            let Some(rest) = plan.until.checked_duration_since(Instant::now()) else { break };
            let within = plan.within.min(rest);
            let packs: Vec<Pipeline> = shares.iter().map(|share| share.pack(&mut orders)).collect();
            let counts = &self.dial.counts;
            let answers = match (&shares[..], &packs[..]) {
                ([share], [pack]) => vec![share.link.send(pack, within, counts).await],
                _ => {
                    let both = shares.iter().zip(&packs);
                    join_all(both.map(|(share, pack)| share.link.send(pack, within, counts))).await
                }
            };
            left = Left::default();
            for ((share, pack), answer) in shares.iter().zip(&packs).zip(answers) {
                match answer {
                    Ok(values) => {
                        let round = (share, pack, values);
                        self.settle_all(round, &mut orders, plan.follow, &mut replies, &mut left);
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
        // By bucket, of which a request asks one or two.
        let mut links: BTreeMap<usize, (Arc<Link>, usize)> = BTreeMap::new();
        let mut shares = Shares::default();
        for &nth in &left.pending {
            let bucket = orders[nth].bucket;
            let share = match links.get_mut(&bucket) {
                Some((link, share)) => {
                    if shares.is_full(*share) {
                        *share = shares.open(link, false);
                    }
                    *share
                }
                None => {
                    let link = self.link(bucket, plan.lane).await?;
                    if let Some(gate) = plan.gate {
                        gate.pass(bucket, &link).await?;
                    }
                    let share = shares.open(&link, false);
                    links.insert(bucket, (link, share));
                    share
                }
            };
            shares.add(share, nth);
        }
        for (nth, place) in &left.asks {
            let link = self.node(place).link(plan.lane, &self.dial).await?;
            let share = shares.open(&link, true);
            shares.add(share, *nth);
        }
        Ok(shares.all)
    }

    /// Does what the replies to a part ask for.
    fn settle_all(
        &self,
        (share, pack, values): (&Share, &Pipeline, Vec<Value>),
        orders: &mut [Order],
        follow: bool,
        replies: &mut [Option<Reply>],
        left: &mut Left,
    ) {
        let step = share.step();
        // What answers an `ASKING` says nothing.
        let answered = pack.cmd_iter().zip(values).skip(step - 1).step_by(step);
        for (&nth, (sent, value)) in share.orders.iter().zip(answered) {
            let verdict = judge(value, share.link.place());
            if !matches!(verdict, Verdict::Done(_)) {
                orders[nth].take_back(sent, matches!(verdict, Verdict::Forgotten));
            }
            let bucket = orders[nth].bucket;
            replies[nth] = self.settle((nth, bucket), verdict, share, follow, left);
        }
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
