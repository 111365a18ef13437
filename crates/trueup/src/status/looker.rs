//! Asks store and logs, each as far as it answers.

use super::tell::{Found, Set, tell};
use super::{Offsets, Role, Status};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::ingest::source::{LogEdges, LogLook, LogSource, SourceError};
use crate::place::{SourcePlace, Sources, by_stream, named};
use crate::release::{self, Hydration, Kept, Note, Release, Told};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use trueup_store::{Log, Space, Store, StoreError};

/// Opens the log at a place for one who only looks. Blocks.
pub type OpenLog = fn(&SourcePlace) -> Result<LogLook, SourceError>;

/// Looks again and again, and keeps what it opened for that.
pub struct Looker {
    clock: Clock,
    max_staleness: Duration,
    /// The definitions of the settings' files, where they can be used.
    own: Option<Arc<Catalog>>,
    sources: Sources,
    open: OpenLog,
    /// By stream, where its log is, and it opened.
    logs: BTreeMap<String, (SourcePlace, LogLook)>,
    /// Noted definitions, by digest.
    compiled: BTreeMap<String, Result<Arc<Catalog>, String>>,
}

impl fmt::Debug for Looker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logs: Vec<&String> = self.logs.keys().collect();
        f.debug_struct("Looker").field("sources", &self.sources).field("logs", &logs).finish()
    }
}

impl Looker {
    /// One that has opened nothing yet.
    pub fn new(
        own: Option<Arc<Catalog>>,
        sources: &Sources,
        open: OpenLog,
        max_staleness: Duration,
        clock: Clock,
    ) -> Looker {
        let is_log = |(_, place): &&(Option<String>, SourcePlace)| {
            // A file is taken into the local log, which is looked at.
            !matches!(place, SourcePlace::File(_))
        };
        let sources = sources.iter().filter(is_log).cloned().collect();
        let (logs, compiled) = (BTreeMap::new(), BTreeMap::new());
        Looker { clock, max_staleness, own, sources, open, logs, compiled }
    }

    /// How things are now. `url` is the store's, without secrets; what this process does not have
    /// is an error that says why.
    pub async fn look(
        &mut self,
        url: String,
        store: Result<&dyn Store, String>,
        local: Result<&Arc<Log>, String>,
    ) -> Status {
        let mut troubles = Vec::new();
        let mut found = Found::new(url, self.max_staleness);
        let (mut note, mut hydration) = (None, None);
        match &store {
            Ok(store) => match notes(*store).await {
                Ok(noted) => (note, hydration) = noted,
                Err(error) => troubles.push(error),
            },
            Err(why) => troubles.push(why.clone()),
        }
        found.sets = self.sets(note.as_ref(), hydration.as_ref());
        found.retired = note.iter().flat_map(|note| &note.retired).cloned().collect();
        if let Ok(store) = store {
            found.spaces = spaces(&found.sets);
            match store.survey(&found.spaces).await {
                Ok(survey) => found.survey = Some(survey),
                Err(error) => troubles.push(why(&error)),
            }
        }
        let names = names(&found.sets);
        match self.places(&names) {
            Ok(places) => {
                let unheard = self.logs(&names, places, &local, &mut found).await;
                troubles.extend(unheard);
            }
            Err(error) => troubles.push(error),
        }
        found.now_us = self.clock.now().0;
        let mut status = tell(&found);
        // Several questions may have met the same.
        troubles.append(&mut status.troubles);
        troubles.dedup();
        Status { troubles, ..status }
    }

    /// All definitions there are to tell of.
    fn sets(&mut self, note: Option<&Note>, hydration: Option<&Hydration>) -> Vec<Set> {
        let mut sets = Vec::new();
        if let Some(note) = note {
            let noted = |role, release: Option<&Release>| release.map(|it| (role, it.clone()));
            let all = [
                noted(Role::Current, Some(&note.current)),
                noted(Role::Candidate, note.candidate.as_ref()),
                noted(Role::Previous, note.previous.as_ref()),
            ];
            for (role, release) in all.into_iter().flatten() {
                let catalog = self.catalog(&release);
                let told = (role == Role::Candidate).then(|| {
                    let catalog = catalog.as_ref().ok().map(|it| &**it);
                    Told::of(&note.current.digest, Some(note), catalog, hydration).candidate
                });
                let since_us = Some(release.since_us);
                let (digest, groups) = (release.digest, release.groups);
                sets.push(Set { role, digest, since_us, groups, catalog, told: told.flatten() });
            }
            let digests: Vec<&str> = note.releases().map(|it| it.digest.as_str()).collect();
            self.compiled.retain(|digest, _| digests.contains(&digest.as_str()));
        }
        if let Some(own) = &self.own {
            let release = Release::of(own.definitions(), 0);
            if !sets.iter().any(|set| set.digest == release.digest) {
                let (role, catalog) = (Role::Files, Ok(Arc::clone(own)));
                let (digest, groups) = (release.digest, release.groups);
                sets.push(Set { role, digest, since_us: None, groups, catalog, told: None });
            }
        }
        sets
    }

    fn catalog(&mut self, release: &Release) -> Result<Arc<Catalog>, String> {
        let compile = || release.catalog().map(Arc::new);
        self.compiled.entry(release.digest.clone()).or_insert_with(compile).clone()
    }

    /// Where streams come from that have not the local log.
    fn places(&self, names: &[String]) -> Result<BTreeMap<String, SourcePlace>, String> {
        let own = self.own.iter().flat_map(|own| own.streams());
        let own: Vec<String> = own.map(|part| part.stream.name.clone()).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let places = by_stream(&named(&self.sources, &own), &all)?;
        Ok(places.into_iter().map(|(stream, place)| (names[stream].clone(), place)).collect())
    }

    /// Asks the logs of all streams, those elsewhere at the same time. Returns what could not be
    /// asked because this process has no local log.
    async fn logs(
        &mut self,
        names: &[String],
        mut places: BTreeMap<String, SourcePlace>,
        local: &Result<&Arc<Log>, String>,
        found: &mut Found,
    ) -> Option<String> {
        let (mut asked, mut unheard) = (Vec::new(), Vec::new());
        for name in names {
            let place = places.remove(name);
            let (offsets, source) = match &place {
                None | Some(SourcePlace::File(_)) => (Offsets::Records, "local log".to_owned()),
                Some(place @ SourcePlace::Kafka(_)) => (Offsets::Records, place.to_string()),
                Some(place @ SourcePlace::Nats(_)) => (Offsets::Messages, place.to_string()),
                Some(place @ SourcePlace::RedisStream(_)) => (Offsets::Times, place.to_string()),
            };
            let dead = local.as_ref().ok().and_then(|log| log.dead_count(name).ok());
            let edges = match (place, local) {
                (Some(place), _) => {
                    let kept = self.logs.remove(name).filter(|(known, _)| *known == place);
                    asked.push((name, ask(self.open, place, kept.map(|(_, look)| look))));
                    None
                }
                (None, Ok(log)) => {
                    Some(LogSource::look(log, name).map_err(|error| error.to_string()))
                }
                (None, Err(_)) => {
                    unheard.push(name.as_str());
                    None
                }
            };
            found.log(name, source, offsets, dead.map(|dead| dead.kept));
            found.edges.extend(edges.map(|edges| (name.clone(), edges)));
        }
        for (name, asked) in asked {
            let (place, look, edges) = match asked.await {
                Ok(answer) => answer,
                Err(error) => {
                    let why = format!("the question to the log of stream {name} ended: {error}");
                    found.edges.insert(name.clone(), Err(why));
                    continue;
                }
            };
            self.logs.extend(look.map(|look| (name.clone(), (place, look))));
            found.edges.insert(name.clone(), edges.map_err(|error| error.to_string()));
        }
        let why = local.as_ref().err()?;
        if unheard.is_empty() {
            found.remarks.push(format!("dead letters are not known: {why}"));
            return None;
        }
        Some(format!("the local log of {}: {why}", unheard.join(", ")))
    }
}

type Answer = (SourcePlace, Option<LogLook>, Result<LogEdges, SourceError>);

/// Asks one log, away from the threads that must not wait.
fn ask(
    open: OpenLog,
    place: SourcePlace,
    kept: Option<LogLook>,
) -> tokio::task::JoinHandle<Answer> {
    tokio::task::spawn_blocking(move || {
        let mut look = match kept.map_or_else(|| open(&place), Ok) {
            Ok(look) => look,
            Err(error) => return (place, None, Err(error)),
        };
        let edges = look();
        (place, Some(look), edges)
    })
}

/// The definitions in service, and how far those on their way are.
async fn notes(store: &dyn Store) -> Result<(Option<Note>, Option<Hydration>), String> {
    let why = |error| match error {
        release::ReleaseError::Store(error) => why(&error),
        error => error.to_string(),
    };
    let seen = release::read(store).await.map_err(why)?;
    Ok((seen.map(|seen| seen.note), Hydration::read(store).await.map_err(why)?))
}

/// What a store says of its failure, to one who sent nothing that he could send again.
pub(crate) fn why(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable { detail } => format!("the store did not answer: {detail}"),
        error => error.to_string(),
    }
}

/// Where the state of all these definitions is kept, each place once.
fn spaces(sets: &[Set]) -> Vec<Space> {
    let mut spaces: Vec<Space> =
        sets.iter().flat_map(|set| &set.groups).filter_map(Kept::space).collect();
    spaces.sort_unstable();
    spaces.dedup();
    spaces
}

/// The streams of all these definitions, each once, those in service first.
fn names(sets: &[Set]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for part in sets.iter().filter_map(|set| set.catalog.as_ref().ok()).flat_map(|it| it.streams())
    {
        if !names.contains(&part.stream.name) {
            names.push(part.stream.name.clone());
        }
    }
    names
}
