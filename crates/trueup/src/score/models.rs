//! The folder of models: `NAME.onnx` is the model NAME. It is looked at again and again; a file
//! that has changed is loaded and checked beside what is in service, and then takes its place.
//!
//! Whoever replaces a model renames a whole file over the old one. A file that is read while it is
//! written is most likely none, is refused as such, and looked at again when it has changed.

use super::bind::Bound;
use super::model::{Model, Score, ScoreError};
use super::run::Runtime;
use crate::catalog::Catalog;
use crate::serve::Answered;
use crate::settings::{ModelSettings, ModelsSettings};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Instant, SystemTime};
use tokio::sync::Semaphore;

/// Bytes of the largest file: forests of thousands of trees take a tenth of it.
const MAX_MODEL_BYTES: u64 = 512 << 20;

/// Models that are loaded: each is held in memory several times.
const MAX_MODELS: usize = 100;

/// Runs at one time, at most, of all models together: each model has as many sessions, so this
/// bounds how often it is held in memory.
const MAX_AT_ONCE: usize = 8;

/// What tells that a file is another: its size, its time of change, its number in the file system.
type Stamp = (u64, Option<SystemTime>, u64);

/// All models of a process.
#[derive(Debug)]
pub struct Models {
    settings: ModelsSettings,
    runtime: Runtime,
    at_once: usize,
    turns: Arc<Semaphore>,
    table: RwLock<BTreeMap<String, Place>>,
    /// Whether the folder could not be read when it was last looked at.
    is_away: AtomicBool,
}

/// A name in the folder.
#[derive(Clone, Debug, Default)]
struct Place {
    /// The file and the definitions that it was last held against.
    seen: Option<(Stamp, String)>,
    model: Option<Arc<Model>>,
    trouble: Option<String>,
    failed: u64,
}

/// What there is of a name.
#[derive(Clone, Debug)]
pub enum Found {
    /// A model.
    Model(Arc<Model>),
    /// A file, of which no version could be loaded; why.
    Refused(String),
    /// Nothing; the names that there are.
    Nothing(String),
}

/// How a model is, for those who run the server.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its name.
    pub name: String,
    /// The model in service, if there is one.
    pub model: Option<Arc<Model>>,
    /// Why the newest file, or the model as the definitions are now, is not.
    pub trouble: Option<String>,
    /// Files that could not be used so far.
    pub failed: u64,
}

impl Models {
    /// Opens the runtime. Nothing is loaded before somebody looks.
    ///
    /// # Errors
    /// The library or the folder cannot be used, with the remedy.
    pub fn open(settings: &ModelsSettings) -> Result<Models, String> {
        let runtime = Runtime::open(&settings.runtime).map_err(|why| {
            format!(
                "setting models.runtime: the library of ONNX Runtime cannot be used: {why}; name \
                 the libonnxruntime.so of version 1.17 or later, out of a release or of Python's \
                 package onnxruntime (`pip install onnxruntime`, folder onnxruntime/capi)"
            )
        })?;
        std::fs::read_dir(&settings.folder).map_err(|error| {
            let folder = settings.folder.display();
            format!("setting models.folder: {folder}: {error}; make it, it may be empty")
        })?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = (cores / settings.threads).clamp(1, MAX_AT_ONCE);
        let (settings, turns) = (settings.clone(), Arc::new(Semaphore::new(at_once)));
        Ok(Models {
            settings,
            runtime,
            at_once,
            turns,
            table: RwLock::default(),
            is_away: AtomicBool::new(false),
        })
    }

    /// Looks at the folder: loads what has changed, forgets what is gone. Blocks; one at a time.
    pub fn look(&self, catalog: &Catalog) {
        let files = match files(&self.settings.folder) {
            Ok(files) => files,
            Err(error) => {
                // What is loaded stays: a folder that is away for a moment is no wish to stop.
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    let folder = self.settings.folder.display();
                    tracing::warn!(%folder, %error, "the models' folder cannot be read");
                }
                return;
            }
        };
        self.is_away.store(false, Ordering::Relaxed);
        let definitions = catalog.definitions().digest().to_string();
        for (name, (path, stamp)) in &files {
            let seen = (*stamp, definitions.clone());
            let before = self.places().get(name).cloned().unwrap_or_default();
            if before.seen.as_ref() == Some(&seen) {
                continue;
            }
            let place = self.held_against(catalog, name, path, seen, before);
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            table.insert(name.clone(), place);
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.retain(|name, _| {
            let stays = files.contains_key(name);
            if !stays {
                tracing::warn!(model = name, "the model's file is gone, and so is the model");
            }
            stays
        });
    }

    /// What becomes of a place whose file, or what it is held against, has changed.
    fn held_against(
        &self,
        catalog: &Catalog,
        name: &str,
        path: &Path,
        seen: (Stamp, String),
        before: Place,
    ) -> Place {
        let is_new = before.seen.as_ref().is_none_or(|(stamp, _)| *stamp != seen.0);
        if !is_new
            && before.trouble.is_none()
            && let Some(model) = &before.model
        {
            let trouble = model.fit(catalog).err();
            if let Some(why) = &trouble {
                tracing::warn!(model = name, "does not fit the definitions any more: {why}");
            }
            return Place { seen: Some(seen), trouble, ..before };
        }
        let load = AssertUnwindSafe(|| self.load(catalog, name, path));
        let loaded = catch_unwind(load).unwrap_or_else(|_| Err("the runtime panicked".to_owned()));
        match loaded {
            Ok(model) => {
                let (version, view) = (&model.version, &model.view);
                tracing::info!(model = name, version, view, "in service");
                let model = Some(Arc::new(model));
                Place { seen: Some(seen), model, trouble: None, failed: before.failed }
            }
            Err(why) => {
                let stays = before.model.as_ref().map_or("none", |model| model.version.as_str());
                tracing::warn!(model = name, stays, "{} is not used: {why}", path.display());
                Place {
                    seen: Some(seen),
                    trouble: Some(why),
                    failed: before.failed + 1,
                    model: before.model,
                }
            }
        }
    }

    fn load(&self, catalog: &Catalog, name: &str, path: &Path) -> Result<Model, String> {
        let is_other = |(known, place): (&String, &Place)| known != name && place.model.is_some();
        if self.places().iter().filter(|place| is_other(*place)).count() >= MAX_MODELS {
            return Err(format!("{MAX_MODELS} other models are loaded, the most there may be"));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| error.to_string())?;
        let read = file.take(MAX_MODEL_BYTES + 1).read_to_end(&mut bytes);
        if read.map_err(|error| error.to_string())? as u64 > MAX_MODEL_BYTES {
            return Err(format!("it has more than {MAX_MODEL_BYTES} bytes, the most of a model"));
        }
        let nothing = ModelSettings::default();
        let said = self.settings.each.get(name).unwrap_or(&nothing);
        let threads = (self.settings.threads, self.at_once);
        Model::load(&self.runtime, name, &bytes, said, threads, catalog)
    }

    /// What there is of a name. A model that is in service stays so to the end of who has it.
    pub fn find(&self, name: &str) -> Found {
        let table = self.places();
        match table.get(name) {
            Some(Place { model: Some(model), .. }) => Found::Model(Arc::clone(model)),
            Some(Place { trouble, .. }) => Found::Refused(trouble.clone().unwrap_or_default()),
            None => Found::Nothing(table.keys().cloned().collect::<Vec<_>>().join(", ")),
        }
    }

    /// How they all are.
    pub fn told(&self) -> Vec<Told> {
        let told = |(name, place): (&String, &Place)| {
            let Place { model, trouble, failed, .. } = place.clone();
            Told { name: name.clone(), model, trouble, failed }
        };
        self.places().iter().map(told).collect()
    }

    /// Scores all rows of an answer, in their order. The answer has just the columns that are
    /// bound.
    ///
    /// # Errors
    /// The deadline has passed, or the model failed.
    pub async fn score(
        &self,
        model: &Arc<Model>,
        bound: &Bound,
        answered: &Answered,
        deadline: Instant,
    ) -> Result<Vec<Score>, ScoreError> {
        model.score(&self.turns, bound, answered, deadline).await
    }

    fn places(&self) -> RwLockReadGuard<'_, BTreeMap<String, Place>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The models' files by their names, in order; what else is in the folder is left alone.
fn files(folder: &Path) -> std::io::Result<BTreeMap<String, (PathBuf, Stamp)>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| !name.starts_with('.')) else { continue };
        // A file may go between the listing and this.
        let Ok(about) = path.metadata() else { continue };
        if about.is_file() && path.extension().is_some_and(|ending| ending == "onnx") {
            let stamp = (about.len(), about.modified().ok(), about.ino());
            files.insert(name.to_owned(), (path, stamp));
        }
    }
    Ok(files)
}
