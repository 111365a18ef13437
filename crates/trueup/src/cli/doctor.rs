//! `trueup doctor`: whether environments are fit, and alike where they must be. It asks as `status`
//! does, and makes look-ups; it writes nothing.

use super::Failure;
use super::common::{self, Output, ServerArgs};
use super::status::{Asker, TIMEOUT};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::doctor::{Examined, Facts, Severity, examine, findings};
use crate::node;
use crate::place::Place;
use crate::settings::{DEFAULT_ENVIRONMENT, Flags, Layer, Settings};
use crate::status::Status;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use trueup_store::{MemoryStore, Store};

mod text;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An environment of the settings; given again, each other is compared with the first
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
    /// The settings file [default: trueup.toml]
    #[arg(long, value_name = "PATH")]
    settings: Option<PathBuf>,
    /// Print JSON: the same as --output json
    #[arg(long)]
    json: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Variables that are read where several environments are compared: where the settings are, and
/// secrets. Any other would be said of all of them, and hide where they differ.
const OF_ALL: &[&str] = &[
    "TRUEUP_SETTINGS",
    "TRUEUP_TOKEN",
    "TRUEUP_STORE_PASSWORD",
    "TRUEUP_SOURCE_PASSWORD",
    "TRUEUP_DATABASE_PASSWORD",
];

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    super::log::to_stderr();
    let clock = Clock::system();
    let runtime = common::runtime()?;
    let all = runtime.block_on(async {
        let named: Vec<Option<&str>> = match &args.env[..] {
            [] => vec![None],
            named => named.iter().map(|name| Some(name.as_str())).collect(),
        };
        let mut all = Vec::with_capacity(named.len());
        // One after the other: none is to be slow because another one is asked.
        for name in named {
            all.push(facts(args, name, &clock).await?);
        }
        Ok::<_, Failure>(all)
    });
    // A client of a broker that does not answer is not waited for.
    runtime.shutdown_background();
    let all = all?;
    let found = findings(&all);
    let errors = found.iter().filter(|finding| finding.severity == Severity::Error).count();
    common::print(&match args.json || args.output == Output::Json {
        false => text::text(&all, &found),
        true => {
            let program = env!("CARGO_PKG_VERSION");
            let told = json!({ "program": program, "environments": all, "findings": found });
            format!("{told:#}\n")
        }
    })?;
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn facts(args: &Args, name: Option<&str>, clock: &Clock) -> Result<Facts, Failure> {
    let environment = name.map(str::to_owned);
    let layer = Layer::default();
    let flags = Flags { settings: args.settings.clone(), environment, layer };
    let variable = |variable: &str| {
        let is_of_all = args.env.len() < 2 || OF_ALL.contains(&variable);
        std::env::var(variable).ok().filter(|_| is_of_all)
    };
    let error = match Settings::load(&flags, variable) {
        Ok(settings) => return of_settings(settings, clock).await,
        Err(error) => error,
    };
    let named = name.map(str::to_owned).or_else(|| variable("TRUEUP_ENV"));
    let rest = error.is_of_store().then(|| Settings::without_store(&flags, variable));
    match rest {
        Some(Ok(settings)) => Ok(without_store(settings, error.to_string(), clock).await),
        _ => {
            let named = named.unwrap_or_else(|| DEFAULT_ENVIRONMENT.into());
            Ok(Facts::refused(named, error.to_string(), error.is_of_store()))
        }
    }
}

/// What is so of an environment that no process starts by, for want of a store.
async fn without_store(settings: Settings, why: String, clock: &Clock) -> Facts {
    let examined = Examined {
        environment: settings.environment.clone(),
        settings: &settings,
        refused: Some(why),
        own: own(&settings),
        status: Status::default(),
        store: None,
    };
    examine(examined, clock).await
}

async fn of_settings(settings: Settings, clock: &Clock) -> Result<Facts, Failure> {
    let client = ServerArgs::default().client(&settings, 1, TIMEOUT)?;
    let mut asker = Asker::new(settings.clone(), client, false, false);
    match &settings.store {
        // One that does not open is opened again below, which tells why.
        Place::Redis(redis) => {
            if let Ok(store) = node::open_to_examine(redis).await {
                asker = asker.on(store);
            }
        }
        // What a process that is started would find.
        Place::Embedded(dir) if !dir.join("state.redb").exists() => {
            asker = asker.on(Arc::new(MemoryStore::new()));
        }
        Place::Embedded(_) | Place::Memory => {}
    }
    let status = asker.ask().await;
    let store: Option<Arc<dyn Store>> = asker.store().cloned();
    let examined = Examined {
        environment: settings.environment.clone(),
        settings: &settings,
        refused: None,
        own: own(&settings),
        status,
        store,
    };
    Ok(examine(examined, clock).await)
}

fn own(settings: &Settings) -> Result<Arc<Catalog>, String> {
    common::catalog(settings).map_err(|error| error.to_string())
}
