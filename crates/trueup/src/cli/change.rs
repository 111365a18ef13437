//! `trueup rollback`, `promote` and `forget`: what a person does to the definitions in service, by
//! way of any server.

use super::Failure;
use super::common::{self, Output, TalkArgs};
use crate::client::Client;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::Value;
use std::io::{BufRead, IsTerminal};
use std::time::Duration;

/// How long a server may take: it waits some seconds until the definitions are level.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Digits of a digest that are shown to people.
const SHORT_HEX: usize = 16;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not ask, also on a terminal
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    talk: TalkArgs,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Rollback,
    Promote,
    Forget,
}

impl Change {
    /// The word in the path, and the definitions that it concerns, as `/v1/views` names them.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Change::Rollback => ("rollback", "previous"),
            Change::Promote => ("promote", "candidate"),
            Change::Forget => ("forget", "previous"),
        }
    }

    /// What is about to happen, of what is in service and what it concerns.
    fn question(self, current: &str, other: &str) -> String {
        match self {
            Change::Rollback => format!("serve definitions {other} again instead of {current}?"),
            Change::Promote => format!(
                "serve definitions {other} now instead of {current}, whatever they still lack?"
            ),
            Change::Forget => format!(
                "drop what only definitions {other} need? There is no way back from {current} then"
            ),
        }
    }

    fn done(self, from: &str, to: &str) -> String {
        match self {
            Change::Rollback | Change::Promote => {
                format!("definitions {to} answer, {from} no longer do\n")
            }
            Change::Forget => format!("definitions {from} are forgotten\n"),
        }
    }
}

pub(super) fn run(args: &Args, change: Change) -> Result<(), Failure> {
    let settings = args.talk.settings.load()?;
    let client = args.talk.server.client(&settings, 1, TIMEOUT)?;
    common::runtime()?.block_on(make(args, change, &client))
}

async fn make(args: &Args, change: Change, client: &Client) -> Result<(), Failure> {
    let (word, concerned) = change.words();
    let views = call(client, Method::GET, "/v1/views").await?;
    let digest = |of: &str| views["definitions"][of]["digest"].as_str().map(short);
    if let (Some(current), Some(other)) = (digest("current"), digest(concerned)) {
        let question = change.question(current, other);
        if !args.yes && std::io::stdin().is_terminal() && !is_confirmed(&question)? {
            return Err("nothing was changed".into());
        }
    }
    let done = call(client, Method::POST, &format!("/v1/definitions/{word}")).await?;
    let named = |of: &str| short(done[of].as_str().unwrap_or_default());
    common::print(&match args.talk.output {
        Output::Json => format!("{done}\n"),
        Output::Text => change.done(named("from"), named("to")),
    })
}

async fn call(client: &Client, method: Method, path: &str) -> Result<Value, Failure> {
    let reply = client.request(method, path, None, Bytes::new()).await;
    let reply = reply.map_err(|error| format!("error: {error}"))?;
    if reply.status != StatusCode::OK {
        return Err(format!("error: {}", common::problem(reply.status, &reply.body)).into());
    }
    Ok(serde_json::from_slice(&reply.body)?)
}

fn is_confirmed(question: &str) -> Result<bool, Failure> {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn short(digest: &str) -> &str {
    digest.get(..SHORT_HEX).unwrap_or(digest)
}
