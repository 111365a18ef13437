//! `trueup dead-letters`: events that could not be used, listed, shown and pushed again. It asks
//! the process that has them, or opens the data directory of one that does not run.

use super::Failure;
use super::common::{self, Output, SOME_REFUSED, TalkArgs};
use crate::client::{Client, escaped};
use crate::clock::Clock;
use crate::http::{listed, replayed};
use crate::ingest::Pusher;
use crate::ingest::dead_letters::{MAX_PAGE, Which, page, replay};
use crate::node;
use crate::place::SourcePlace;
use crate::settings::Settings;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use trueup_store::{Log, Options, StoreError};

/// How long a process may take to push a page of events again.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List them: time, stream, partition, offset and reason, in the order of their filing
    List {
        /// Letters of each stream, at most
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,
        /// Those behind this id
        #[arg(long, value_name = "ID")]
        after: Option<u64>,
        #[command(flatten)]
        on: On,
    },
    /// Show one with its bytes
    Show {
        /// Its id, as `list` prints it
        id: u64,
        #[command(flatten)]
        on: On,
    },
    /// Push them again: those with these ids, or else all but those that end the process. What is
    /// taken is a dead letter no more
    Replay {
        /// Their ids, as `list` prints them
        ids: Vec<u64>,
        #[command(flatten)]
        on: On,
    },
}

#[derive(Debug, clap::Args)]
struct On {
    /// The stream; needed by `show` and `replay` where the definitions have several
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    #[command(flatten)]
    talk: TalkArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (What::List { on, .. } | What::Show { on, .. } | What::Replay { on, .. }) = &args.what;
    let output = on.talk.output;
    let desk = Desk::open(on)?;
    match &args.what {
        What::List { limit, after, .. } => {
            for stream in desk.streams(on)? {
                print_list(&desk.some(&stream, *after, *limit)?, output)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        What::Show { id, .. } => {
            let stream = desk.stream(on)?;
            let page = desk.page(&stream, id.checked_sub(1), 1)?;
            let letter = &page["letters"][0];
            if letter["id"] != *id {
                return Err(format!("error: stream {stream} has no dead letter {id}").into());
            }
            print_one(letter, output)?;
            Ok(ExitCode::SUCCESS)
        }
        What::Replay { ids, .. } => {
            let done = desk.replay(&desk.stream(on)?, ids)?;
            let refused = done["refused"].as_array().is_some_and(|refused| !refused.is_empty());
            print_replayed(&done, output)?;
            Ok(if refused { ExitCode::from(SOME_REFUSED) } else { ExitCode::SUCCESS })
        }
    }
}

/// Who has the letters.
struct Desk {
    streams: Vec<String>,
    runtime: Runtime,
    who: Who,
}

enum Who {
    Process(Client),
    /// The directory of a process that does not run.
    Directory(Box<Pusher>),
}

impl Desk {
    fn open(on: &On) -> Result<Desk, Failure> {
        let settings = on.talk.settings.load()?;
        let catalog = common::catalog(&settings)?;
        let streams = catalog.streams().iter().map(|part| part.stream.name.clone()).collect();
        let runtime = common::runtime()?;
        let who = match on.talk.server.is_named() {
            true => Who::Process(on.talk.server.client(&settings, 1, TIMEOUT)?),
            false => {
                // Producers want a runtime around them.
                let _entered = runtime.enter();
                Who::Directory(Box::new(directory(&settings, catalog)?))
            }
        };
        Ok(Desk { streams, runtime, who })
    }

    /// The stream that is named, or else all.
    fn streams(&self, on: &On) -> Result<Vec<String>, Failure> {
        match &on.stream {
            Some(_) => Ok(vec![self.stream(on)?]),
            None => Ok(self.streams.clone()),
        }
    }

    fn stream(&self, on: &On) -> Result<String, Failure> {
        let names = || self.streams.join(", ");
        match (&on.stream, &self.streams[..]) {
            (Some(name), all) if all.contains(name) => Ok(name.clone()),
            (Some(name), _) => {
                Err(format!("error: there is no stream {name}; there are: {}", names()).into())
            }
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(format!("error: say which --stream; there are: {}", names()).into()),
        }
    }

    /// So many letters, over several pages.
    fn some(&self, stream: &str, after: Option<u64>, limit: usize) -> Result<Value, Failure> {
        let mut whole = self.page(stream, after, limit.clamp(1, MAX_PAGE))?;
        loop {
            let have = whole["letters"].as_array().map_or(0, Vec::len);
            let (Some(next), true) = (whole["next"].as_u64(), have < limit) else {
                return Ok(whole);
            };
            let mut more = self.page(stream, Some(next), (limit - have).min(MAX_PAGE))?;
            let letters = more["letters"].as_array_mut().map(std::mem::take).unwrap_or_default();
            if let Some(all) = whole["letters"].as_array_mut() {
                all.extend(letters);
            }
            whole["next"] = more["next"].take();
        }
    }

    fn page(&self, stream: &str, after: Option<u64>, limit: usize) -> Result<Value, Failure> {
        match &self.who {
            Who::Process(client) => {
                let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
                let path =
                    format!("/v1/dead-letters/{}?limit={limit}{after}", escaped(stream, false));
                self.ask(client, Method::GET, &path, Bytes::new())
            }
            Who::Directory(pusher) => {
                let Some(log) = &pusher.log else { return Err("error: there is no log".into()) };
                let failed = |error: StoreError| format!("error: {error}");
                let page = page(log, stream, after, limit).map_err(failed)?;
                let kept = log.dead_count(stream).map_err(failed)?.kept;
                Ok(listed(stream, kept, &page))
            }
        }
    }

    /// Pushes letters again, page by page.
    fn replay(&self, stream: &str, ids: &[u64]) -> Result<Value, Failure> {
        let mut whole = json!({ "stream": stream, "taken": 0, "refused": [], "left_out": [] });
        let mut calls = ids.chunks(MAX_PAGE);
        let mut which = match calls.next() {
            Some(first) => Which::These(first.to_vec()),
            None => Which::Page { after: None },
        };
        loop {
            let done = self.again(stream, &which)?;
            let number = |value: &Value| value.as_u64().unwrap_or(0);
            whole["taken"] = json!(number(&whole["taken"]) + number(&done["taken"]));
            for list in ["refused", "left_out"] {
                let more = done[list].as_array().cloned().unwrap_or_default();
                if let Some(all) = whole[list].as_array_mut() {
                    all.extend(more);
                }
            }
            which = match (calls.next(), done["next"].as_u64()) {
                (Some(next), _) => Which::These(next.to_vec()),
                (None, Some(next)) => Which::Page { after: Some(next) },
                (None, None) => return Ok(whole),
            };
        }
    }

    fn again(&self, stream: &str, which: &Which) -> Result<Value, Failure> {
        match &self.who {
            Who::Process(client) => {
                let body = match which {
                    Which::These(ids) => json!({ "ids": ids }),
                    Which::Page { after: Some(after) } => json!({ "after": after }),
                    Which::Page { after: None } => json!({}),
                };
                let path = format!("/v1/dead-letters/{}/replay", escaped(stream, false));
                self.ask(client, Method::POST, &path, body.to_string().into())
            }
            Who::Directory(pusher) => {
                let number = self.streams.iter().position(|name| name == stream).unwrap_or(0);
                let done = self.runtime.block_on(replay(pusher, number, which.clone()));
                Ok(replayed(&done.map_err(|error| format!("error: {error}"))?))
            }
        }
    }

    fn ask(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Value, Failure> {
        let sent = client.request(method, path, Some("application/json"), body);
        let reply = self.runtime.block_on(sent).map_err(|error| format!("error: {error}"))?;
        if reply.status != StatusCode::OK {
            return Err(format!("error: {}", common::problem(reply.status, &reply.body)).into());
        }
        serde_json::from_slice(&reply.body)
            .map_err(|error| format!("error: the reply is not understood: {error}").into())
    }
}

/// Takes the directory that the settings name from the process that does not run.
fn directory(
    settings: &Settings,
    catalog: Arc<crate::catalog::Catalog>,
) -> Result<Pusher, Failure> {
    const ASK: &str = "ask the process that has them with --url";
    let Some(dir) = settings.store.data() else {
        return Err(format!("error: memory: has no dead letters of another process; {ASK}").into());
    };
    if !Log::is_in(dir) {
        let dir = dir.display();
        return Err(format!(
            "error: there is no log in {dir}; name it with --store or --data, or {ASK}"
        )
        .into());
    }
    let log = Log::open(dir, Options::LOG).map_err(|error| match error {
        StoreError::InUse { .. } => format!("error: {error}\n  = help: {ASK}"),
        error => format!("error: {error}"),
    })?;
    let mut sources = settings.sources.clone();
    sources.retain(|(_, place)| !matches!(place, SourcePlace::File(_)));
    let pusher = node::pusher(catalog, log, &sources, &settings.avro, Clock::system());
    pusher.map_err(|error| format!("error: {error}").into())
}

/// What a value says in a line; nothing for what is not known.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.replace(['\n', '\r', '\t'], " "),
        other => other.to_string(),
    }
}

fn print_list(page: &Value, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return common::print(&format!("{page}\n"));
    }
    let letters = page["letters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = String::new();
    for letter in letters {
        let columns = ["id", "time", "stream", "partition", "offset", "reason"];
        let columns: Vec<String> = columns.iter().map(|name| shown(&letter[*name])).collect();
        text += &columns.join("\t");
        text.push('\n');
    }
    common::print(&text)?;
    let more = match page["next"].as_u64() {
        Some(next) => format!("; --after {next} goes on"),
        None => String::new(),
    };
    let (stream, kept) = (shown(&page["stream"]), shown(&page["kept"]));
    eprintln!("{stream}: {} of {kept} dead letters{more}", letters.len());
    Ok(())
}

fn print_one(letter: &Value, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return common::print(&format!("{letter}\n"));
    }
    let mut text = String::new();
    for name in ["id", "time", "stream", "partition", "offset", "reason"] {
        text += &format!("{name:<10}{}\n", shown(&letter[name]));
    }
    let form = if letter["text"].is_string() { "text" } else { "base64" };
    text += &format!("{form}\n{}\n", letter[form].as_str().unwrap_or_default());
    common::print(&text)
}

fn print_replayed(done: &Value, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return common::print(&format!("{done}\n"));
    }
    let empty = Vec::new();
    let refused = done["refused"].as_array().unwrap_or(&empty);
    for letter in refused {
        eprintln!("refused again: {}\t{}", shown(&letter["id"]), shown(&letter["reason"]));
    }
    let left_out = done["left_out"].as_array().unwrap_or(&empty);
    for id in left_out {
        eprintln!("left out: {id}, which ended the process; name it to try it all the same");
    }
    common::print(&format!(
        "{} taken, {} refused again, {} left out\n",
        shown(&done["taken"]),
        refused.len(),
        left_out.len()
    ))
}
