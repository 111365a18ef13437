//! A view's rows over histories.

use crate::asking::Asking;
use crate::dead::DeadLetters;
use crate::error::OfflineError;
use crate::feature::Answers;
use crate::history::{History, Source};
use crate::lookup::Work;
use crate::past::Past;
use crate::progress::{Meter, Phase, UNWATCHED, Watch};
use crate::request::RequestRows;
use crate::set::TrainingSet;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use trueup_sql::{Definitions, Stream, View};

/// How to train.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The rows that are wanted; without them, the events of the history of the view's own stream,
    /// each id once.
    pub rows: Option<&'a RequestRows>,
    /// How many threads work; what comes out does not depend on it.
    pub threads: NonZeroUsize,
    /// Is told how far the run has come.
    pub watch: Watch<'a>,
}

impl Default for Options<'_> {
    /// Events as rows, as many threads as there are processors, nobody told.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Options { rows: None, threads, watch: UNWATCHED }
    }
}

/// What went into a training set.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Rows of the training set.
    pub rows: u64,
    /// Rows that the view's WHERE left out. One for which it has no value is a row, of unknown
    /// cells.
    pub not_in_view: u64,
    /// Events of the view's own stream beyond the first with their id. Of those with other content
    /// the one that sorts last by event time and columns counts.
    pub repeats: u64,
    /// Events that were left out, of all streams that the view reads.
    pub dead_letters: DeadLetters,
}

/// Builds the training set of a view.
///
/// A row is what a server would have answered for its transaction, had it known the events that the
/// row knows: those with a known time at or before the row's `as_of`, and the row's own once. Rows
/// of the history are as of when their event became known.
///
/// # Errors
/// If the view is not defined, or a stream that it reads has no history.
pub fn train<'a>(
    definitions: &'a Definitions,
    view: &str,
    histories: &[History],
    options: &Options<'a>,
) -> Result<TrainingSet<'a>, OfflineError> {
    let view = definitions.view(view).ok_or_else(|| OfflineError::NoView(view.to_string()))?;
    let stream = &definitions.streams[view.stream];
    let mut counts = Counts::default();
    let (pasts, mut sources) = pasts(definitions, view, histories, options, &mut counts)?;
    let asking = match options.rows {
        Some(rows) => {
            sources.extend(rows.sources.iter().map(|name| ("request rows".into(), name.clone())));
            Asking::request(view, stream, rows)?
        }
        None => {
            let past = pasts.get(&view.stream).ok_or_else(|| missing(stream))?;
            let asking = Asking::history(view, past)?;
            counts.repeats = (past.len() - asking.len() - asking.not_in_view) as u64;
            asking
        }
    };
    (counts.rows, counts.not_in_view) = (asking.len() as u64, asking.not_in_view as u64);
    let total = (asking.len() * view.lookups.len()) as u64;
    let meter = Meter::new(options.watch, Phase::Answer, total);
    let mut answers = Vec::with_capacity(view.lookups.len());
    // One after the other, each by all threads: one look-up's events by key are held at a time.
    for (number, lookup) in view.lookups.iter().enumerate() {
        let group = &definitions.groups[lookup.group];
        let from = &definitions.streams[group.stream];
        let past = pasts.get(&group.stream).ok_or_else(|| missing(from))?;
        let work = Work::new(group, past, lookup, view, &asking, &mut counts.dead_letters);
        answers.push(Answers::of(&work, &view.types_of(number), options.threads, &meter));
    }
    Ok(TrainingSet::new(view, asking, answers, counts, sources, options))
}

/// What a training set was made of: the stream (or `request rows`) and the name of the input.
pub(crate) type Sources = Vec<(String, std::sync::Arc<str>)>;

/// The pasts of the streams that a view reads, by number.
fn pasts(
    definitions: &Definitions,
    view: &View,
    histories: &[History],
    options: &Options<'_>,
    counts: &mut Counts,
) -> Result<(BTreeMap<usize, Past>, Sources), OfflineError> {
    let mut numbers: Vec<usize> =
        view.lookups.iter().map(|lookup| definitions.groups[lookup.group].stream).collect();
    if options.rows.is_none() {
        numbers.push(view.stream);
    }
    numbers.sort_unstable();
    numbers.dedup();
    let (mut pasts, mut sources) = (BTreeMap::new(), Vec::new());
    for number in numbers {
        let stream = &definitions.streams[number];
        let mut of = histories.iter().filter(|history| history.stream().name == stream.name);
        let Some(history) = of.next() else { return Err(missing(stream)) };
        if of.next().is_some() {
            let reason = "it has two histories; put their files into one folder";
            return Err(OfflineError::mismatch(&stream.name, reason));
        }
        counts.dead_letters.append(history.dead_letters());
        let past = Past::of(history)?;
        let named = |source: &Source| (stream.name.clone(), source.name.clone());
        sources.extend(history.sources().iter().map(named));
        pasts.insert(number, past);
    }
    Ok((pasts, sources))
}

fn missing(stream: &Stream) -> OfflineError {
    let reason = "it has no history here, and the view reads it; give one with --history";
    OfflineError::mismatch(&stream.name, reason)
}
