//! The settings of models: their folder, the library that runs them, and what a model does not say
//! of itself.

use super::raw::{Raw, in_our_words};
use super::{SettingsError, value};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The folder of models where none is named.
pub(super) const DEFAULT_FOLDER: &str = "models";

/// The most threads of one run: a score of some rows is over before more of them have begun.
pub(super) const MAX_THREADS: usize = 64;

/// Models as they are written.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ModelsSaid {
    /// The folder: `NAME.onnx` in it is the model NAME.
    pub folder: Option<String>,
    /// The library of ONNX Runtime, 1.17 or later (docs/scoring.md).
    pub runtime: Option<String>,
    /// Threads of one run; there are as many runs at a time as cores, divided by this, at most 8.
    pub threads: Option<usize>,
    /// Models by name, and what is misspelt.
    #[serde(flatten)]
    pub each: BTreeMap<String, toml::Value>,
}

/// Where models are, what runs them, and what is said of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelsSettings {
    /// The folder; `NAME.onnx` in it is the model NAME.
    pub folder: PathBuf,
    /// The library of ONNX Runtime.
    pub runtime: PathBuf,
    /// Threads of one run.
    pub threads: usize,
    /// By the models' names.
    pub each: BTreeMap<String, ModelSettings>,
}

/// What settings say of a model; they go before what it says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// The view whose rows it scores; goes before what the model says, as the others do.
    pub view: Option<String>,
    /// The view's columns in the order of its only input.
    pub columns: Option<Vec<String>>,
    /// The output that has the score, where several could have it.
    pub output: Option<String>,
}

pub(super) fn models(raw: &Raw) -> Result<Option<ModelsSettings>, SettingsError> {
    let Some((origin, said)) = raw.find(|layer| layer.models.as_ref()) else {
        return Ok(None);
    };
    let wrong = |reason: String| value("models", origin.to_string(), reason);
    let base = raw.base(&origin);
    let runtime = said.runtime.as_ref().ok_or_else(|| {
        wrong(
            "no runtime is named; write runtime = \"PATH/libonnxruntime.so\" under [models], out \
             of a release of ONNX Runtime or of Python's package onnxruntime (folder \
             onnxruntime/capi)"
                .into(),
        )
    })?;
    let threads = said.threads.unwrap_or(1);
    if !(1..=MAX_THREADS).contains(&threads) {
        return Err(wrong(format!("threads = {threads}: write 1 to {MAX_THREADS}")));
    }
    let each = said.each.iter().map(|(name, said)| Ok((name.clone(), model(name, said)?)));
    let each = each.collect::<Result<_, String>>().map_err(wrong)?;
    let folder = said.folder.as_deref().unwrap_or(DEFAULT_FOLDER);
    Ok(Some(ModelsSettings {
        folder: base.join(folder),
        runtime: base.join(runtime),
        threads,
        each,
    }))
}

fn model(name: &str, said: &toml::Value) -> Result<ModelSettings, String> {
    if !said.is_table() {
        return Err(format!(
            "{name} is no setting of models: they are folder, runtime and threads, and a table \
             [models.NAME] for what a model does not say of itself"
        ));
    }
    let model = ModelSettings::deserialize(said.clone());
    let model = model.map_err(|error| format!("{name}: {}", in_our_words(error.message())))?;
    match model.columns.as_deref() {
        Some([]) => Err(format!("{name}: columns is empty; name them, or leave it out")),
        _ => Ok(model),
    }
}
