//! The state of a stream's groups from its history, up to a place in its log; from there a worker
//! takes over, with no gap and no overlap.
//!
//! ```text
//! look: nothing there, or a broken-off backfill of the same history
//!   └▶ the plan is written down ─▶ fence ─▶ look: it stands, and nobody else has come
//!        └▶ a worker reads the history: rewinds, checkpoints, compaction as from a log
//!             └▶ all rows are in: the log's checkpoints, the marker and "done" in one call
//! ```
//!
//! What must hold:
//!
//! - *Nothing vouches before the end.* There is no marker, and the history's checkpoint is never
//!   fresh. In a store of several buckets each gets its marker together with the log's checkpoints;
//!   a bucket that has them is whole, and while others have not, every look says "under way".
//! - *Nothing is lost or counted twice.* Rows have positions; what is in stands in the checkpoints
//!   under them. One that was killed goes on from there, after a flush from the beginning, and in
//!   the last step as well: it finds all rows in and says the last word again.
//! - *A worker that starts meanwhile refuses.* The plan is written down, then the fence makes all
//!   writers look again, then the look that follows must find no log's checkpoints. So of a worker
//!   and a backfill that begin together one sees the other. Records that a worker had sent before
//!   it was refused are behind its checkpoints and mean nothing, with one exception: one that was
//!   frozen in the middle of a call while its groups were dropped under it may send the rest of
//!   that call to them. So whoever drops looks first whether somebody is at work, and workers are
//!   to be stopped before, not frozen.

mod history;
mod overlap;
mod plan;

pub use history::{Files, History, file_and_row};
pub(super) use history::{Next, Read};
pub use overlap::{Overlap, Reading};
pub(super) use plan::PARTITION;
pub use plan::{Plan, is_under_way, rows_in};

use super::IngestError;
use super::source::{FIRST_LOG, PartitionInfo, Source, SourceError};
use crate::catalog::Catalog;
use plan::{Found, condemned};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use trueup_core::Micros;
use trueup_offline::OfflineError;
use trueup_sql::decode::print::Timestamp;
use trueup_store::{Batch, Checkpoint, Durability, Look, Marker, Meta, Space, Store, StoreError};

/// How long checkpoints are watched for somebody at work, who writes some every half second.
const WATCHED: Duration = Duration::from_millis(1_500);

/// How often the plan is written down before the store is given up: a bucket on its way to another
/// node takes no checkpoints, for some seconds at the most.
const STANDS: usize = 20;

/// Pause between the last word and the look that finds it: no busy loop while a bucket moves.
const SETTLES: Duration = Duration::from_millis(10);

/// Pause between two tries to write down what every bucket must have.
const PAUSE: Duration = Duration::from_millis(500);

/// Up to where of the log the history reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpTo {
    /// It holds what was before the first record that the log has.
    First,
    /// It holds all that the log has when the backfill is begun.
    End,
    /// By partition, the first offset that it has not.
    Places(BTreeMap<u32, u64>),
}

impl std::str::FromStr for UpTo {
    type Err = String;

    fn from_str(said: &str) -> Result<UpTo, String> {
        let place = |one: &str| {
            let (partition, offset) = one.split_once(':')?;
            Some((partition.trim().parse().ok()?, offset.trim().parse().ok()?))
        };
        match said {
            "first" => Ok(UpTo::First),
            "end" => Ok(UpTo::End),
            said => {
                let places: Option<Vec<(u32, u64)>> = said.split(',').map(place).collect();
                let places = places.ok_or_else(|| {
                    format!("{said:?}: write first, end, or PARTITION:OFFSET,PARTITION:OFFSET")
                })?;
                let by_partition: BTreeMap<u32, u64> = places.iter().copied().collect();
                if by_partition.len() < places.len() {
                    return Err(format!("{said:?} names a partition twice"));
                }
                Ok(UpTo::Places(by_partition))
            }
        }
    }
}

/// What a stream's log has.
#[derive(Clone, Debug)]
pub struct LogState {
    number: u32,
    roster: Vec<PartitionInfo>,
}

impl LogState {
    /// A log with this number, and all its partitions.
    pub fn new(number: u32, roster: Vec<PartitionInfo>) -> LogState {
        LogState { number, roster }
    }

    /// The log's number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Asks a log. Blocks.
    ///
    /// # Errors
    /// What the log says.
    pub fn of(log: &mut dyn Source) -> Result<LogState, SourceError> {
        let roster = log.roster()?;
        Ok(LogState { number: log.number(), roster })
    }
}

/// What is asked of a backfill.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The history.
    pub files: Files,
    /// Up to where it reaches; `First` unless said, or what was said when it was begun.
    pub up_to: Option<UpTo>,
    /// Since when it is complete; for ever unless said, or what was said when it was begun.
    pub since_us: Option<i64>,
    /// Drop what is there.
    pub again: bool,
}

/// Why a backfill does not begin or end.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackfillError {
    /// The store, the log or the worker.
    Ingest(IngestError),
    /// The history.
    History(OfflineError),
    /// What is asked does not fit what is there.
    Refused {
        /// The stream.
        stream: String,
        /// What does not fit, and the remedy.
        why: String,
    },
}

impl fmt::Display for BackfillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackfillError::Ingest(error) => error.fmt(f),
            BackfillError::History(error) => error.fmt(f),
            BackfillError::Refused { stream, why } => write!(f, "stream {stream}: {why}"),
        }
    }
}

impl std::error::Error for BackfillError {}

impl From<IngestError> for BackfillError {
    fn from(error: IngestError) -> BackfillError {
        BackfillError::Ingest(error)
    }
}

impl From<StoreError> for BackfillError {
    fn from(error: StoreError) -> BackfillError {
        BackfillError::Ingest(error.into())
    }
}

/// What a backfill does, and how far it is.
#[derive(Clone, Debug)]
pub struct Begun {
    /// What it does.
    pub plan: Plan,
    /// Where it goes on, if one was broken off before.
    pub from: Option<u64>,
    /// Whether all of it was done before, and there is nothing to do.
    pub is_done: bool,
}

/// How a backfill stands after its worker has come to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The log may take over.
    Done,
    /// The store has lost some of it since; the worker must read on.
    Behind,
}

/// The groups of one stream in a store, for one who fills them.
#[derive(Clone, Debug)]
pub struct Target {
    catalog: Arc<Catalog>,
    stream: usize,
    store: Arc<dyn Store>,
    spaces: Vec<Space>,
}

impl Target {
    /// The groups of the stream with this number.
    pub fn new(catalog: Arc<Catalog>, stream: usize, store: Arc<dyn Store>) -> Target {
        let spaces = catalog.spaces(stream);
        Target { catalog, stream, store, spaces }
    }

    /// Finds out what is there, and writes down what is to be done.
    ///
    /// # Errors
    /// [`BackfillError`]: among others for groups that have a state, for another history or another
    /// log than it was begun with, and for places that the log does not have.
    pub async fn begin(
        &self,
        log: &LogState,
        asked: &Asked,
        now: Micros,
    ) -> Result<Begun, BackfillError> {
        let look = self.store.look(&self.spaces).await?;
        if let Some(plan) = self.done(&look, asked) {
            return Ok(Begun { plan, from: None, is_done: true });
        }
        let mut found = self.found(&look).await?;
        if asked.again && found.iter().any(|found| *found != Found::Nothing) {
            self.drop_all().await?;
            found.fill(Found::Nothing);
        }
        let resumed = self.resumed(&found)?;
        let goes_on = resumed.is_some();
        let plan = match resumed {
            Some(plan) => self.same(plan, log, asked)?,
            None => Plan {
                files: asked.files.hash(),
                log: log.number,
                up_to: self.places(log, asked.up_to.as_ref().unwrap_or(&UpTo::First))?,
                since_us: asked.since_us.unwrap_or(i64::MIN),
                begun_us: now.0,
            },
        };
        self.same_log(&plan, log)?;
        self.covers(&plan.up_to, log)?;
        let look = stand(&*self.store, self.stream_name(), &self.spaces, &plan).await?;
        crate::fault::point("backfill-begun");
        let from = look.metas.iter().map(|meta| rows_in(meta).unwrap_or(0)).min();
        Ok(Begun { plan, from: from.filter(|_| goes_on), is_done: false })
    }

    /// Refuses a history that has to be copied first if no backfill could begin with the copy.
    /// Gives, by partition of the log, the first offset that the history has not.
    ///
    /// # Errors
    /// [`BackfillError`], as [`Target::begin`] has them.
    pub async fn may_begin(
        &self,
        log: &LogState,
        up_to: &UpTo,
        again: bool,
    ) -> Result<BTreeMap<u32, u64>, BackfillError> {
        let look = self.store.look(&self.spaces).await?;
        if !again && let Some(plan) = self.resumed(&self.found(&look).await?)? {
            return Err(self.refused(&format!(
                "a backfill that was begun at {} was of another history, or its copy is gone; \
                 --again begins anew, --abandon drops what it has built",
                Timestamp(plan.begun_us)
            )));
        }
        let up_to = self.places(log, up_to)?;
        self.covers(&up_to, log)?;
        Ok(up_to)
    }

    /// Whether some of the groups were left half built.
    ///
    /// # Errors
    /// What the store says.
    pub async fn is_under_way(&self) -> Result<bool, BackfillError> {
        let look = self.store.look(&self.spaces).await?;
        Ok(look.metas.iter().any(is_under_way))
    }

    /// Drops what the stream's groups hold, if nobody is at work on it.
    ///
    /// # Errors
    /// [`BackfillError`].
    pub async fn drop_all(&self) -> Result<(), BackfillError> {
        let before = self.store.look(&self.spaces).await?;
        let checkpoints = |meta: &Meta| meta.checkpoints.clone();
        if before.metas.iter().any(|meta| !meta.checkpoints.is_empty()) {
            tokio::time::sleep(WATCHED).await;
        }
        let look = self.store.look(&self.spaces).await?;
        if !look.metas.iter().map(checkpoints).eq(before.metas.iter().map(checkpoints)) {
            let why = "somebody is at work on its groups: their checkpoints move; stop all workers \
                       and backfills of it first";
            return Err(self.refused(why));
        }
        let marks = |(&space, meta)| condemned(meta).map(|mark| (space, mark));
        let marks: Vec<(Space, Checkpoint)> =
            self.spaces.iter().zip(&look.metas).flat_map(marks).collect();
        let markers: Vec<_> = self.spaces.iter().map(|&it| (it, Marker::Withdraw)).collect();
        let durability = Durability::Synced;
        let said = Batch { checkpoints: &marks, markers: &markers, ..Batch::under(&look.stands) };
        self.store.append(&Batch { durability, ..said }).await?;
        self.store.fence().await?;
        crate::fault::point("backfill-dropping");
        for &space in &self.spaces {
            self.store.drop_space(space).await?;
        }
        Ok(())
    }

    /// Says that the log takes over, once all rows below `rows` are in.
    ///
    /// # Errors
    /// [`BackfillError`]: also if the log no longer has what comes after the history.
    pub async fn finish(
        &self,
        log: &LogState,
        plan: &Plan,
        rows: u64,
    ) -> Result<Finish, BackfillError> {
        self.same_log(plan, log)?;
        self.covers(&plan.up_to, log)?;
        crate::fault::point("backfill-ending");
        loop {
            match self.say_done(plan, rows).await {
                Ok(Some(Finish::Done)) => break,
                Ok(Some(Finish::Behind)) | Err(StoreError::Rewound { .. }) => {
                    return Ok(Finish::Behind);
                }
                // Every bucket must be found so, those too that took nothing on their way.
                Ok(None) => tokio::time::sleep(SETTLES).await,
                Err(error) if error.advice().retry => {
                    tracing::warn!(%error, "the end of the backfill is said again");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        crate::fault::point("backfill-ended");
        self.store.sync().await?;
        Ok(Finish::Done)
    }

    /// Says that it is done, unless it was said already or rows are missing; `None` if it was said
    /// now.
    async fn say_done(&self, plan: &Plan, rows: u64) -> Result<Option<Finish>, StoreError> {
        let look = self.store.look(&self.spaces).await?;
        if look.metas.iter().all(|meta| plan.is_done(meta)) {
            return Ok(Some(Finish::Done));
        }
        if look.metas.iter().any(|meta| rows_in(meta) < Some(rows)) {
            return Ok(Some(Finish::Behind));
        }
        let of = |&space: &Space| plan.done(rows).into_iter().map(move |said| (space, said));
        let checkpoints: Vec<(Space, Checkpoint)> = self.spaces.iter().flat_map(of).collect();
        let marker = |&space: &Space| (space, Marker::Set(plan.since_us));
        let markers: Vec<(Space, Marker)> = self.spaces.iter().map(marker).collect();
        let batch = Batch {
            checkpoints: &checkpoints,
            markers: &markers,
            durability: Durability::Synced,
            ..Batch::under(&look.stands)
        };
        self.store.append(&batch).await?;
        Ok(None)
    }

    /// The plan, if this history is in already: one that was killed after its last word, or was
    /// told to do it twice.
    fn done(&self, look: &Look, asked: &Asked) -> Option<Plan> {
        let plan = Plan::of(look.metas.first()?)?;
        let same = !asked.again && plan.files == asked.files.hash();
        (same && look.metas.iter().all(|meta| plan.is_done(meta))).then_some(plan)
    }

    /// What there is of each group. Values without checkpoints are a state too: that of one that
    /// was dropped by half.
    async fn found(&self, look: &Look) -> Result<Vec<Found>, StoreError> {
        let mut all = Vec::with_capacity(self.spaces.len());
        for (&space, meta) in self.spaces.iter().zip(&look.metas) {
            let found = Found::in_meta(meta);
            let has_values =
                found == Found::Nothing && !self.store.keys(space, None, 1).await?.is_empty();
            all.push(if has_values { Found::State } else { found });
        }
        Ok(all)
    }

    /// The plan that was broken off, if there is one.
    fn resumed(&self, found: &[Found]) -> Result<Option<Plan>, BackfillError> {
        let mut plan = None;
        let groups = &self.catalog.streams()[self.stream].groups;
        for (found, &group) in found.iter().zip(groups) {
            match found {
                Found::Nothing => {}
                Found::UnderWay(held) if plan.as_ref().is_none_or(|plan| plan == held) => {
                    plan = Some(held.clone());
                }
                _ => {
                    let name = &self.catalog.group(group).name;
                    return Err(self.refused(&format!(
                        "group {name} has a state already; --again drops the state of all groups \
                         of this stream and builds it from the history"
                    )));
                }
            }
        }
        Ok(plan)
    }

    /// The plan that was broken off, if it is what is asked.
    fn same(&self, plan: Plan, log: &LogState, asked: &Asked) -> Result<Plan, BackfillError> {
        let again = "; give what it was begun with, or --again to begin anew";
        let begun = format!("a backfill that was begun at {}", Timestamp(plan.begun_us));
        if plan.files != asked.files.hash() {
            return Err(self.refused(&format!(
                "{begun} was of another history: names or lengths of the files differ{again}"
            )));
        }
        if plan.log != log.number {
            return Err(self.refused(&format!(
                "the log is another one than when {begun} was broken off; --again begins anew"
            )));
        }
        if asked.since_us.is_some_and(|since_us| since_us != plan.since_us) {
            return Err(self.refused(&format!("{begun} has another --since{again}")));
        }
        if let Some(UpTo::Places(places)) = &asked.up_to
            && *places != plan.up_to
        {
            return Err(self.refused(&format!("{begun} has another --up-to{again}")));
        }
        Ok(plan)
    }

    /// By partition of the log, the first offset that the history has not.
    fn places(&self, log: &LogState, up_to: &UpTo) -> Result<BTreeMap<u32, u64>, BackfillError> {
        let all = log.roster.iter();
        match up_to {
            UpTo::First => Ok(all.map(|info| (info.partition, info.first)).collect()),
            UpTo::End => Ok(all.map(|info| (info.partition, info.end)).collect()),
            UpTo::Places(places) => {
                let there: Vec<u32> = all.map(|info| info.partition).collect();
                if !places.keys().eq(&there) {
                    let said: Vec<u32> = places.keys().copied().collect();
                    return Err(self.refused(&format!(
                        "--up-to names partitions {said:?}, and the log has {there:?}; name each"
                    )));
                }
                Ok(places.clone())
            }
        }
    }

    fn same_log(&self, plan: &Plan, log: &LogState) -> Result<(), BackfillError> {
        match plan.log == log.number {
            true => Ok(()),
            false => Err(self.refused("the log was made anew meanwhile; begin with --again")),
        }
    }

    /// Refuses places after which the log lacks something.
    fn covers(&self, up_to: &BTreeMap<u32, u64>, log: &LogState) -> Result<(), BackfillError> {
        for (&partition, &offset) in up_to {
            let info = log.roster.iter().find(|info| info.partition == partition);
            let has = match info {
                Some(info) if info.first <= offset && offset <= info.end => continue,
                Some(info) => format!("has {} to {}", info.first, info.end),
                None => "is gone".to_owned(),
            };
            return Err(self.refused(&format!(
                "the log is to take over at {offset} of partition {partition}, which {has}; give \
                 a history that reaches to what the log has, with its --up-to"
            )));
        }
        Ok(())
    }

    fn stream_name(&self) -> &str {
        &self.catalog.streams()[self.stream].stream.name
    }

    fn refused(&self, why: &str) -> BackfillError {
        let stream = self.stream_name().to_owned();
        BackfillError::Refused { stream, why: why.to_owned() }
    }
}

/// Sees to it that the plan stands in all groups and buckets, and that nobody else is there; gives
/// the look that found it so. After a flush this is where the plan is written down again.
pub(super) async fn stand(
    store: &dyn Store,
    stream: &str,
    spaces: &[Space],
    plan: &Plan,
) -> Result<Look, IngestError> {
    for _ in 0..STANDS {
        let look = store.look(spaces).await?;
        let is_mine = |meta: &Meta| Found::in_meta(meta) == Found::UnderWay(plan.clone());
        let of_a_log = |meta: &Meta| meta.checkpoints.iter().any(|it| it.source >= FIRST_LOG);
        let is_free = |meta: &Meta| is_mine(meta) || Found::in_meta(meta) == Found::Nothing;
        if look.metas.iter().any(|meta| !is_free(meta) || of_a_log(meta)) {
            return Err(IngestError::TakenOver { stream: stream.to_owned() });
        }
        if look.metas.iter().all(is_mine) {
            return Ok(look);
        }
        let of = |&space: &Space| plan.begun().into_iter().map(move |said| (space, said));
        let checkpoints: Vec<(Space, Checkpoint)> = spaces.iter().flat_map(of).collect();
        let markers: Vec<_> = spaces.iter().map(|&space| (space, Marker::Withdraw)).collect();
        // On disk before the first row: what is left of a broken-off one must be known for it.
        let durability = Durability::Synced;
        let said =
            Batch { checkpoints: &checkpoints, markers: &markers, ..Batch::under(&look.stands) };
        store.append(&Batch { durability, ..said }).await?;
        store.fence().await?;
        let again = store.look(spaces).await?;
        if !again.metas.iter().all(is_mine) {
            tokio::time::sleep(PAUSE).await;
        }
    }
    let detail = "a backfill's plan could not be written down in every bucket".to_owned();
    Err(StoreError::Unavailable { detail }.into())
}
