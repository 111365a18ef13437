//! `trueup status`: how far everything is, for the one who is paged. It asks store and sources by
//! the settings, so no server need run; where one process has the state for itself, it asks that.

use super::Failure;
use super::common::{self, Output, TalkArgs};
use super::run::told_to_stop;
use crate::client::Client;
use crate::clock::Clock;
use crate::node;
use crate::place::Place;
use crate::settings::Settings;
use crate::status::{Looker, Status, why};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use screen::Screen;
use std::io::IsTerminal;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup_sql::decode::print::Timestamp;
use trueup_store::{EmbeddedStore, Log, Options, Store, StoreError};

mod screen;
mod text;

/// How long a server may take: it waits for the answers of store and brokers.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is looked with `--watch`.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Look every second, with rates: live in a terminal until q or Ctrl-C, else block after block
    #[arg(long)]
    watch: bool,
    /// Print JSON: the same as --output json
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    talk: TalkArgs,
}

impl Args {
    fn print(&self, status: &Status) -> String {
        match (self.json || self.talk.output == Output::Json, self.watch) {
            (false, _) => text::text(status),
            (true, false) => format!("{:#}\n", serde_json::json!(status)),
            (true, true) => format!("{}\n", serde_json::json!(status)),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // A picture would be drawn over by what is logged; what matters of it is told anyway.
    if !args.watch || !std::io::stdout().is_terminal() {
        super::run::log_to_stderr();
    }
    let settings = args.talk.settings.load()?;
    let client = args.talk.server.client(&settings, 1, TIMEOUT)?;
    let runtime = common::runtime()?;
    let done = runtime.block_on(async {
        let mut asker = Asker::new(args, settings, client);
        match args.watch {
            true => watch(args, &mut asker).await,
            false => {
                let status = asker.ask().await;
                common::print(&args.print(&status))?;
                Ok(code(&status))
            }
        }
    });
    // A client of a broker that does not answer is not waited for.
    runtime.shutdown_background();
    done
}

/// Success if everything could be asked. What could not is said again where errors are read.
fn code(status: &Status) -> ExitCode {
    for trouble in &status.troubles {
        eprintln!("error: {trouble}");
    }
    if status.troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn watch(args: &Args, asker: &mut Asker) -> Result<ExitCode, Failure> {
    let mut screen = Screen::open(args.json || args.talk.output == Output::Json);
    let mut stop = pin!(told_to_stop()?);
    let mut before: Option<(Instant, Status)> = None;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = screen.quit() => break,
            _ = ticks.tick() => {}
        }
        let status = tokio::select! {
            () = &mut stop => break,
            () = screen.quit() => break,
            status = asker.ask() => status,
        };
        let now = Instant::now();
        let shown = match &before {
            Some((then, earlier)) => {
                status.clone().since(earlier, now.duration_since(*then).as_secs_f64())
            }
            None => status.clone(),
        };
        screen.show(&args.print(&shown))?;
        before = Some((now, status));
    }
    drop(screen);
    Ok(before.map_or(ExitCode::SUCCESS, |(_, status)| code(&status)))
}

/// Who is asked, and what was opened for it.
struct Asker {
    settings: Settings,
    client: Client,
    /// A server is named, or asked again and again while one process has the state for itself.
    by_server: bool,
    looker: Looker,
    definitions: Option<String>,
    store: Option<Arc<dyn Store>>,
    watch: bool,
}

impl Asker {
    fn new(args: &Args, settings: Settings, client: Client) -> Asker {
        let (own, definitions) = match common::catalog(&settings) {
            Ok(catalog) => (Some(catalog), None),
            Err(why) => (None, Some(why.to_string())),
        };
        let staleness = settings.max_staleness;
        let looker = Looker::new(own, &settings.sources, node::looker, staleness, Clock::system());
        let by_server = args.talk.server.is_named() || settings.store == Place::Memory;
        let (store, watch) = (None, args.watch);
        Asker { settings, client, by_server, looker, definitions, store, watch }
    }

    async fn ask(&mut self) -> Status {
        if self.by_server {
            return self.server(None).await;
        }
        let mut status = match self.settings.store.clone() {
            Place::Redis(redis) => {
                let local = self.local(&redis.data);
                self.here(local).await
            }
            // Whoever holds it would keep the process from starting that it belongs to.
            Place::Embedded(_) if self.watch => return self.server(None).await,
            Place::Embedded(dir) if !dir.join("state.redb").exists() => {
                self.nowhere(&dir, format!("there is no state in {} yet", dir.display())).await
            }
            Place::Embedded(dir) => match EmbeddedStore::open(&dir, Options::STATE) {
                Ok(store) => {
                    self.store = Some(Arc::new(store));
                    let local = self.local(&dir);
                    self.here(local).await
                }
                Err(error @ StoreError::InUse { .. }) => return self.server(Some(&error)).await,
                Err(error) => self.nowhere(&dir, why(&error)).await,
            },
            Place::Memory => return self.server(None).await,
        };
        status.remarks.extend(self.definitions.clone());
        status
    }

    /// The local log, where there is one that nobody has.
    fn local(&self, dir: &Path) -> Result<Arc<Log>, String> {
        if self.watch {
            let dir = dir.display();
            return Err(format!("--watch leaves {dir} to its process; ask that with --url"));
        }
        if !Log::is_in(dir) {
            return Err(format!("there is no log in {}", dir.display()));
        }
        Log::open(dir, Options::LOG).map(Arc::new).map_err(|error| match error {
            error @ StoreError::InUse { .. } => {
                let said = error.to_string();
                let said = said.strip_suffix(error.advice().remedy).unwrap_or(&said).trim_end();
                format!("{said} Ask that process with --url")
            }
            error => error.to_string(),
        })
    }

    /// Asks store and sources from this process.
    async fn here(&mut self, local: Result<Arc<Log>, String>) -> Status {
        let url = self.settings.store.to_string();
        let store = match &self.store {
            Some(store) => Ok(Arc::clone(store)),
            None => node::open(&self.settings.store, false).await.map(|(store, _)| store),
        };
        let local = local.as_ref().map_err(Clone::clone);
        match store {
            Ok(store) => {
                let status = self.looker.look(url, Ok(&*store), local).await;
                self.store = Some(store);
                status
            }
            Err(error) => self.looker.look(url, Err(why(&error)), local).await,
        }
    }

    /// The same without a state.
    async fn nowhere(&mut self, dir: &Path, why: String) -> Status {
        let (url, local) = (self.settings.store.to_string(), self.local(dir));
        self.looker.look(url, Err(why), local.as_ref().map_err(Clone::clone)).await
    }

    /// Asks a server; `held` is why this process cannot look itself.
    async fn server(&mut self, held: Option<&StoreError>) -> Status {
        let reply =
            self.client.request(Method::GET, "/v1/status?verbose", None, Bytes::new()).await;
        let told: Result<Status, String> = match reply {
            Ok(reply) if reply.status == StatusCode::OK => serde_json::from_slice(&reply.body)
                .map_err(|_| "the server's status is not understood; is it as old?".to_owned()),
            Ok(reply) => Err(common::problem(reply.status, &reply.body)),
            Err(error) => Err(error.to_string()),
        };
        let asked = Some(self.client.server());
        match told {
            Ok(status) => Status { asked, ..status },
            Err(why) => {
                let held = held.map(|held| match held {
                    StoreError::InUse { path, pid: Some(pid) } => {
                        format!("{path} is in use by process {pid}; ")
                    }
                    _ => String::new(),
                });
                let mut status = Status { asked, ..Status::default() };
                status.at = Timestamp(Clock::system().now().0).to_string();
                status.store.url = self.settings.store.to_string();
                status.troubles.push(format!(
                    "{}{why}; name a server that listens with --url",
                    held.unwrap_or_default()
                ));
                status
            }
        }
    }
}
