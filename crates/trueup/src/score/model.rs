//! One loaded model: a file's bytes in as many sessions as can be at work at once, since a session
//! of the runtime does one thing at a time, and what it was found to take and give.

use super::bind::{Bound, Declared, Output, bind, output};
use super::feed::{Fed, Tensor, feed};
use super::run::{Runtime, Session, Stop};
use crate::catalog::Catalog;
use crate::serve::Answered;
use crate::settings::ModelSettings;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use trueup_sql::View;
use trueup_sql::decode::print::Hex;

/// Keys of a model's `metadata_props`.
const VIEW: &str = "trueup_view";
const COLUMNS: &str = "trueup_columns";
const DIGEST: &str = "trueup_digest";

/// A row's score, or why it has none.
pub type Score = Result<f64, String>;

/// A model, ready.
pub struct Model {
    /// The file's name without its ending.
    pub name: String,
    /// The first 16 hex digits of the file's SHA-256.
    pub version: String,
    /// The view whose rows it scores.
    pub view: String,
    /// The digest of the view that it was trained on, where it says.
    digest: Option<String>,
    /// The columns in the order of its only input, where somebody says.
    columns: Option<Vec<String>>,
    inputs: Vec<Declared>,
    output: Output,
    bound: Mutex<Option<Arc<Bound>>>,
    idle: Mutex<Vec<Session>>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Model");
        shown.field("name", &self.name).field("version", &self.version).field("view", &self.view);
        shown.finish_non_exhaustive()
    }
}

/// Why there are no scores.
#[derive(Debug)]
pub enum ScoreError {
    /// The deadline has passed.
    Late,
    /// The model failed on these rows.
    Failed(String),
}

/// Stops a run that nobody waits for any more.
struct Waiting(Arc<Stop>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Model {
    /// Loads a file's bytes and holds them against the definitions.
    pub(super) fn load(
        runtime: &Runtime,
        name: &str,
        bytes: &[u8],
        said: &ModelSettings,
        (threads, at_once): (usize, usize),
        catalog: &Catalog,
    ) -> Result<Model, String> {
        let session = runtime.session(bytes, threads)?;
        let view = said.view.clone().or_else(|| session.metadata(VIEW)).ok_or_else(|| {
            format!(
                "nothing says of which view it scores rows; write view = \"NAME\" under \
                 [models.{name}], or put the key {VIEW} into the model's metadata_props; there \
                 are: {}",
                catalog.view_names()
            )
        })?;
        let named = |text: String| text.split(',').map(|it| it.trim().to_owned()).collect();
        let columns = said.columns.clone().or_else(|| session.metadata(COLUMNS).map(named));
        let model = Model {
            name: name.to_owned(),
            version: version(bytes),
            view,
            digest: session.metadata(DIGEST),
            columns,
            inputs: session.inputs(),
            output: output(&session.outputs(), said.output.as_deref())?,
            bound: Mutex::default(),
            idle: Mutex::default(),
        };
        model.fit(catalog)?;
        let others = (1..at_once).map(|_| runtime.session(bytes, threads));
        let all = std::iter::once(Ok(session)).chain(others).collect::<Result<Vec<_>, _>>()?;
        Ok(Model { idle: Mutex::new(all), ..model })
    }

    /// Holds it against definitions.
    pub(super) fn fit(&self, catalog: &Catalog) -> Result<(), String> {
        let view = catalog.view(&self.view).ok_or_else(|| {
            format!("there is no view {}; there are: {}", self.view, catalog.view_names())
        })?;
        self.bound(view).map(drop)
    }

    /// Its inputs by the columns of its view as it is defined now.
    ///
    /// # Errors
    /// It was trained on another definition, or the view's columns do not fit.
    pub fn bound(&self, view: &View) -> Result<Arc<Bound>, String> {
        let mut held = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bound) = held.as_ref().filter(|bound| bound.digest == view.digest) {
            return Ok(Arc::clone(bound));
        }
        let served = view.digest.to_string();
        if let Some(digest) = self.digest.as_ref().filter(|digest| **digest != served) {
            return Err(format!(
                "it was trained on a view of the digest {digest} ({DIGEST}), and view {} has \
                 {served}: train it on the definitions that are served, or serve those",
                view.name
            ));
        }
        let bound = Arc::new(bind(view, &self.inputs, self.columns.as_deref())?);
        *held = Some(Arc::clone(&bound));
        Ok(bound)
    }

    /// Scores all rows of an answer, in their order, when a turn is free.
    pub(super) async fn score(
        self: &Arc<Model>,
        turns: &Arc<Semaphore>,
        bound: &Bound,
        answered: &Answered,
        deadline: Instant,
    ) -> Result<Vec<Score>, ScoreError> {
        let Fed { rows, left_out, tensors } = feed(bound, answered);
        let mut scores: Vec<Score> = vec![Ok(f64::NAN); answered.rows.len()];
        if !rows.is_empty() {
            let turn = timeout_at(deadline.into(), Arc::clone(turns).acquire_owned()).await;
            // Nobody closes it, so there is always a turn in the end.
            let turn = turn.map_err(|_| ScoreError::Late)?.map_err(|_| ScoreError::Late)?;
            let waiting = Waiting(Arc::new(Stop::new().map_err(ScoreError::Failed)?));
            let (model, stop, count) = (Arc::clone(self), Arc::clone(&waiting.0), rows.len());
            let run = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                model.run(tensors, count, &stop)
            });
            let ran = timeout_at(deadline.into(), run).await.map_err(|_| ScoreError::Late)?;
            let ran = ran.map_err(|error| ScoreError::Failed(error.to_string()))?;
            let values = ran.map_err(ScoreError::Failed)?;
            rows.into_iter().zip(values).for_each(|(row, value)| scores[row] = number(value));
        }
        left_out.into_iter().for_each(|(row, why)| scores[row] = Err(why));
        Ok(scores)
    }

    /// Runs it on tensors of so many rows. Blocks.
    fn run(&self, tensors: Vec<Tensor>, rows: usize, stop: &Stop) -> Result<Vec<f64>, String> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // There are as many as turns.
        let session = idle().pop();
        let mut session = session.ok_or("all of its sessions are at work")?;
        let run = AssertUnwindSafe(|| session.run(tensors, &self.output, rows, stop));
        let ran = catch_unwind(run).unwrap_or_else(|_| Err("the runtime panicked".to_owned()));
        idle().push(session);
        ran
    }
}

/// What a model gave for a row, if it is a number.
fn number(value: f64) -> Score {
    match value.is_finite() {
        true => Ok(value),
        false => Err(format!("the model gave {value}, which is no score")),
    }
}

fn version(bytes: &[u8]) -> String {
    Hex(&Sha256::digest(bytes)[..8]).to_string()
}
