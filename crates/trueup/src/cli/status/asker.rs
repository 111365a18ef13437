//! Who is asked how things are: store and sources by the settings, or a server, where one process
//! has the state for itself.

use crate::cli::common;
use crate::client::Client;
use crate::clock::Clock;
use crate::node;
use crate::place::Place;
use crate::settings::Settings;
use crate::status::{Looker, Status, why};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use std::path::Path;
use std::sync::Arc;
use trueup_sql::decode::print::Timestamp;
use trueup_store::{EmbeddedStore, Log, Options, Store, StoreError};

/// Who is asked, and what was opened for it.
pub(in crate::cli) struct Asker {
    settings: Settings,
    client: Client,
    /// A server is named, or asked again and again while one process has the state for itself.
    by_server: bool,
    looker: Looker,
    definitions: Option<String>,
    store: Option<Arc<dyn Store>>,
    watch: bool,
}

/// Why this process has not the local log.
struct NoLog {
    why: String,
    is_in_use: bool,
}

impl Asker {
    /// One that has opened nothing yet. With `watch` it is asked again and again.
    pub(in crate::cli) fn new(
        settings: Settings,
        client: Client,
        by_server: bool,
        watch: bool,
    ) -> Asker {
        let (own, definitions) = match common::catalog(&settings) {
            Ok(catalog) => (Some(catalog), None),
            Err(why) => (None, Some(why.to_string())),
        };
        let staleness = settings.max_staleness;
        let looker = Looker::new(own, &settings.sources, node::looker, staleness, Clock::system());
        let by_server = by_server || settings.store == Place::Memory;
        Asker { settings, client, by_server, looker, definitions, store: None, watch }
    }

    /// The same with a store that is open already.
    pub(in crate::cli) fn on(self, store: Arc<dyn Store>) -> Asker {
        Asker { store: Some(store), ..self }
    }

    /// The store, once it was asked in this process.
    pub(in crate::cli) fn store(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref()
    }

    pub(in crate::cli) async fn ask(&mut self) -> Status {
        if self.by_server {
            return self.server(None).await;
        }
        let mut status = match self.settings.store.clone() {
            Place::Embedded(dir) if self.store.is_some() => {
                let local = self.local(&dir);
                self.here(local).await
            }
            Place::Redis(redis) => {
                let local = self.local(&redis.data);
                // Who has the local log knows all that can be asked from here, and the log too.
                if let Err(NoLog { is_in_use: true, .. }) = &local {
                    let status = self.server(None).await;
                    let is_of_ours = status.store.url == self.settings.store.to_string();
                    if status.troubles.is_empty() && is_of_ours {
                        return status;
                    }
                }
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
    fn local(&self, dir: &Path) -> Result<Arc<Log>, NoLog> {
        let no_log = |why| Err(NoLog { why, is_in_use: false });
        if self.watch {
            let dir = dir.display();
            return no_log(format!("--watch leaves {dir} to its process; ask that with --url"));
        }
        if !Log::is_in(dir) {
            return no_log(format!("there is no log in {}", dir.display()));
        }
        match Log::open(dir, Options::LOG) {
            Ok(log) => Ok(Arc::new(log)),
            Err(error @ StoreError::InUse { .. }) => {
                let said = error.to_string();
                let said = said.strip_suffix(error.advice().remedy).unwrap_or(&said).trim_end();
                let why = format!("{said} Ask that process with --url");
                Err(NoLog { why, is_in_use: true })
            }
            Err(error) => no_log(error.to_string()),
        }
    }

    /// Asks store and sources from this process.
    async fn here(&mut self, local: Result<Arc<Log>, NoLog>) -> Status {
        let url = self.settings.store.to_string();
        let store = match &self.store {
            Some(store) => Ok(Arc::clone(store)),
            None => node::open(&self.settings.store, false).await.map(|(store, _)| store),
        };
        let local = local.as_ref().map_err(|no_log| no_log.why.clone());
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
        let local = local.as_ref().map_err(|no_log| no_log.why.clone());
        self.looker.look(url, Err(why), local).await
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
