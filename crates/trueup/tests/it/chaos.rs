//! All faults mixed, on each shape of Redis, while payments come and readers ask. In the end every
//! key holds what a plain count says, and no plain answer was wrong on the way.
//!
//! A run is repeated by its seed, as far as processes and clocks let it. In `./test` each shape has
//! one short run; `TRUEUP_CHAOS_MINUTES` says how long all of them take together instead, and
//! `TRUEUP_CHAOS_SEED` picks one seed.

use crate::failover::{self, Failover, Lost};
use crate::pipeline::Pipeline;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use trueup_core::testing::Dice;
use trueup_store::RedisStore;
use trueup_store::testing::servers::{Cluster, Mode, Proxy, RedisServer, Sentinels, Setup};

/// The seeds of each shape, in this order, until the time is over.
const SEEDS: [u64; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// Shapes of Redis that share the time.
const SHAPES: u32 = 3;

/// Faults of a seed: enough that each kind has its turn.
const FAULTS: usize = 24;

/// Faults of the short run.
const FEW: usize = 6;

/// Faults after which all is let settle and every key is compared.
const SETTLE_AFTER: usize = 4;

/// Workers at the start; one more comes and goes.
const WORKERS: usize = 2;

/// How long a worker sleeps: past the session after which others take its partitions.
const SLEEP: Duration = Duration::from_secs(8);

/// How long what is slow, silent or frozen stays so.
const A_WHILE: Duration = Duration::from_millis(1_500);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// SIGKILL for a worker.
    KillWorker,
    /// A worker sleeps until its partitions are others', and goes on writing.
    SleepWorker,
    /// A worker comes, or goes.
    Share,
    /// FLUSHALL, on every primary.
    Flush,
    /// The broker answers nothing for a while.
    SilentBroker,
    /// The server is started again with a dump from before.
    OlderDump,
    /// The server answers nothing for a while.
    Freeze,
    /// Connections are cut in the middle of replies, again and again.
    Cut,
    /// Every answer is late.
    Slow,
    /// Nothing comes through, and nobody says so.
    HalfOpen,
    /// A replica takes the primary's place, without the last writes.
    FailOver(Failover),
    /// Buckets move to another node.
    Move,
}

/// Faults of every shape.
const ANYWHERE: [Fault; 5] =
    [Fault::KillWorker, Fault::SleepWorker, Fault::Share, Fault::Flush, Fault::SilentBroker];

/// A shape of Redis.
enum Shape {
    /// A server behind a proxy.
    One(RedisServer, Proxy),
    Sentinels(Sentinels),
    Cluster(Cluster),
}

impl Shape {
    fn url(&self) -> String {
        match self {
            Shape::One(_, proxy) => format!("redis://127.0.0.1:{}", proxy.port()),
            Shape::Sentinels(all) => all.url(),
            Shape::Cluster(all) => all.url(),
        }
    }

    fn faults(&self) -> Vec<Fault> {
        let own: &[Fault] = match self {
            Shape::One(..) => {
                &[Fault::OlderDump, Fault::Freeze, Fault::Cut, Fault::Slow, Fault::HalfOpen]
            }
            Shape::Sentinels(_) => {
                &[Fault::FailOver(Failover::Kill), Fault::FailOver(Failover::Freeze)]
            }
            Shape::Cluster(_) => &[
                Fault::FailOver(Failover::Kill),
                Fault::FailOver(Failover::Freeze),
                Fault::FailOver(Failover::Force),
                Fault::FailOver(Failover::Takeover),
                Fault::Move,
            ],
        };
        [&ANYWHERE, own].concat()
    }

    fn flush(&self) {
        let primaries: Vec<&RedisServer> = match self {
            Shape::One(server, _) => vec![server],
            Shape::Sentinels(all) => vec![&all.servers[all.primary()]],
            Shape::Cluster(all) => all.nodes.iter().collect(),
        };
        for server in primaries {
            // A replica refuses it, and is emptied by its primary.
            let _ = server.try_command("FLUSHALL");
        }
    }

    /// What happens to Redis alone; the losses of a failover.
    fn strike(&mut self, fault: Fault, dice: &mut Dice) -> Lost {
        match (self, fault) {
            (Shape::One(server, _), Fault::OlderDump) => {
                server.command("SAVE");
                std::thread::sleep(A_WHILE);
                server.kill();
                server.restart();
            }
            (Shape::One(server, _), Fault::Freeze) => {
                server.freeze();
                std::thread::sleep(A_WHILE);
                server.thaw();
            }
            (Shape::One(_, proxy), Fault::Cut) => {
                for _ in 0..10 {
                    proxy.set(Mode::CutAfter(dice.below(20_000) as usize));
                    std::thread::sleep(A_WHILE / 10);
                }
                proxy.set(Mode::Pass);
            }
            (Shape::One(_, proxy), Fault::Slow) => {
                for _ in 0..10 {
                    proxy.set(Mode::Delay(Duration::from_millis(dice.below(100))));
                    std::thread::sleep(A_WHILE / 10);
                }
                proxy.set(Mode::Pass);
            }
            (Shape::One(_, proxy), Fault::HalfOpen) => {
                proxy.set(Mode::Swallow);
                std::thread::sleep(A_WHILE);
                proxy.set(Mode::Pass);
            }
            (Shape::Sentinels(all), Fault::FailOver(how)) => {
                return failover::of_sentinels(all, how);
            }
            (Shape::Cluster(all), Fault::FailOver(how)) => {
                return failover::of_cluster(all, how, dice.below(64) as usize);
            }
            (Shape::Cluster(all), Fault::Move) => move_buckets(all, dice),
            (_, other) => panic!("{other:?} is not of this shape"),
        }
        Lost::default()
    }
}

/// Moves a few buckets to other primaries.
fn move_buckets(all: &Cluster, dice: &mut Dice) {
    all.wait_until_whole();
    for _ in 0..3 {
        let slot = RedisStore::slot(dice.below(64) as usize);
        let from = all.owner(slot);
        let owners = (0..64).map(|bucket| all.owner(RedisStore::slot(bucket)));
        let Some(to) = owners.into_iter().find(|&owner| owner != from) else { continue };
        all.move_slot(slot, from, to);
        // A move is seen within a second; the next one comes after that.
        std::thread::sleep(Duration::from_millis(1_200));
    }
}

/// What a shape went through.
#[derive(Default)]
struct Tally {
    faults: BTreeMap<Fault, usize>,
    lost: Lost,
    payments: i64,
    rewinds: usize,
    seeds: Vec<u64>,
    readers: Vec<String>,
}

impl Tally {
    fn print(&self, shape: &str) {
        let Tally { faults, lost, payments, rewinds, seeds, readers } = self;
        let all: usize = faults.values().sum();
        println!("{shape}: seeds {seeds:?}, {all} faults, {payments} payments, all keys right");
        let each: Vec<String> = faults.iter().map(|(fault, n)| format!("{fault:?} {n}")).collect();
        println!("  {}", each.join(", "));
        println!("  {lost}; workers went back to their checkpoints {rewinds} times");
        for (seed, said) in seeds.iter().zip(readers) {
            println!("  readers of seed {seed}: {said}");
        }
    }
}

/// One seed's run.
async fn run(mut shape: Shape, seed: u64, faults: usize, until: Instant, tally: &mut Tally) {
    let mut dice = Dice::new(seed);
    let mut pipeline = Pipeline::watched(&shape.url(), WORKERS, seed);
    pipeline.begin().await;
    let mut kinds = Vec::new();
    for number in 0..faults {
        if number > 0 && Instant::now() > until {
            break;
        }
        // Each kind has its turn before one comes again.
        if kinds.is_empty() {
            kinds = shape.faults();
        }
        let kind = kinds.swap_remove(dice.below(kinds.len() as u64) as usize);
        println!("seed {seed}, fault {number}: {kind:?}");
        let strike = |pipeline: &mut Pipeline| strike(pipeline, &mut shape, kind, &mut dice);
        tally.lost.add(pipeline.under_load(strike).await);
        *tally.faults.entry(kind).or_default() += 1;
        if number % SETTLE_AFTER == SETTLE_AFTER - 1 {
            pipeline.assert_whole().await;
        }
    }
    pipeline.assert_whole().await;
    tally.readers.push(pipeline.assert_reader_saw_no_hole().await);
    tally.payments += pipeline.pushed;
    tally.rewinds += pipeline.rewinds();
    tally.seeds.push(seed);
}

fn strike(pipeline: &mut Pipeline, shape: &mut Shape, fault: Fault, dice: &mut Dice) -> Lost {
    std::thread::sleep(Duration::from_millis(dice.below(1_000)));
    let victim = dice.below(pipeline.workers.len() as u64) as usize;
    match fault {
        Fault::KillWorker => pipeline.replace_and_wait(victim),
        Fault::SleepWorker => {
            pipeline.workers[victim].signal("-STOP");
            std::thread::sleep(SLEEP);
            pipeline.workers[victim].signal("-CONT");
        }
        Fault::Share if pipeline.workers.len() > WORKERS => pipeline.dismiss(),
        Fault::Share => pipeline.hire(),
        Fault::Flush => shape.flush(),
        Fault::SilentBroker => {
            pipeline.broker().pause();
            std::thread::sleep(A_WHILE);
            pipeline.broker().resume();
        }
        of_redis => return shape.strike(of_redis, dice),
    }
    Lost::default()
}

fn said<T: std::str::FromStr>(name: &str) -> Option<T> {
    let said = std::env::var(name).ok()?;
    Some(said.parse().unwrap_or_else(|_| panic!("{name} is a number, not {said}")))
}

/// The seeds of a shape, in its share of the time.
async fn everything_fails(name: &str, shape: impl Fn() -> Shape) {
    let minutes: Option<u32> = said("TRUEUP_CHAOS_MINUTES");
    let only: Option<u64> = said("TRUEUP_CHAOS_SEED");
    let share = minutes.map(|minutes| Duration::from_secs(60) * minutes / SHAPES);
    let seeds: Vec<u64> = match (only, share) {
        (Some(seed), _) => vec![seed],
        (None, Some(_)) => SEEDS.to_vec(),
        (None, None) => SEEDS[..1].to_vec(),
    };
    let faults = if share.or(only.map(|_| A_WHILE)).is_some() { FAULTS } else { FEW };
    let until = Instant::now() + share.unwrap_or(Duration::from_secs(3_600));
    let mut tally = Tally::default();
    for seed in seeds {
        if Instant::now() > until {
            break;
        }
        println!(
            "{name}, seed {seed}; again with TRUEUP_CHAOS_SEED={seed} cargo nextest run --release \
             --workspace --all-features -E 'test({name})' --no-capture"
        );
        run(shape(), seed, faults, until, &mut tally).await;
    }
    tally.print(name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_fails_on_one_redis_and_nothing_is_lost_or_doubled_or_wrongly_answered() {
    let name = "everything_fails_on_one_redis";
    let one = || {
        let server = RedisServer::plain();
        let proxy = Proxy::before(server.port());
        Shape::One(server, proxy)
    };
    everything_fails(name, one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_fails_behind_sentinels_and_nothing_is_lost_or_doubled_or_wrongly_answered() {
    let name = "everything_fails_behind_sentinels";
    everything_fails(name, || Shape::Sentinels(Sentinels::start(&Setup::default(), 2))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_fails_on_a_cluster_and_nothing_is_lost_or_doubled_or_wrongly_answered() {
    let name = "everything_fails_on_a_cluster";
    everything_fails(name, || Shape::Cluster(Cluster::start(&Setup::default()))).await;
}
