//! `trueup get`: one row of a view from a server, with statuses, sources, freshness and stage
//! times.

use super::Failure;
use super::common::{self, Output, TalkArgs};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long to wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The view
    view: String,
    /// The keys to look up, such as user_id=42
    #[arg(value_name = "KEY=VALUE", required_unless_present = "row")]
    keys: Vec<String>,
    /// When to look [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// A whole row as JSON, instead of keys: answered as if it were appended to the stream
    #[arg(long, value_name = "JSON", conflicts_with_all = ["keys", "at"])]
    row: Option<String>,
    /// Only these columns
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    columns: Vec<String>,
    /// Show groups, frames and positions
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    talk: TalkArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.talk.settings.load()?;
    let client = args.talk.server.client(&settings, 1, TIMEOUT)?;
    let body = Bytes::from(body(args)?.to_string());
    let path = format!("/v1/features/{}", args.view);
    let sent = client.request(Method::POST, &path, Some("application/json"), body);
    let reply = common::runtime()?.block_on(sent).map_err(|error| format!("error: {error}"))?;
    if reply.status != StatusCode::OK {
        return Err(format!("error: {}", common::problem(reply.status, &reply.body)).into());
    }
    if args.talk.output == Output::Json {
        return common::print(&format!("{}\n", String::from_utf8_lossy(&reply.body)));
    }
    let answer: Value = serde_json::from_slice(&reply.body)
        .map_err(|error| format!("error: the server's reply is not understood: {error}"))?;
    common::print(&text(&answer))
}

fn body(args: &Args) -> Result<Value, Failure> {
    let mut body = match &args.row {
        Some(row) => {
            let row: Value = serde_json::from_str(row)
                .map_err(|error| format!("error: --row is not JSON: {error}"))?;
            json!({ "rows": [row] })
        }
        None => {
            let mut keys = Map::new();
            for said in &args.keys {
                let (key, value) = said.split_once('=').ok_or_else(|| {
                    format!("error: {said}: write keys as KEY=VALUE, such as user_id=42")
                })?;
                let value = if value == "NULL" { Value::Null } else { value.into() };
                keys.insert(key.to_string(), value);
            }
            json!({ "keys": [keys] })
        }
    };
    if let Some(at) = &args.at {
        body["at"] = at.as_str().into();
    }
    if !args.columns.is_empty() {
        body["columns"] = args.columns.clone().into();
    }
    if args.explain {
        body["explain"] = true.into();
    }
    Ok(body)
}

/// The answer for a person: a line a feature, then where it came from and what it cost.
fn text(answer: &Value) -> String {
    let mut out = String::new();
    let mut line = |text: String| out.extend([text.as_str(), "\n"]);
    let row = &answer["rows"][0];
    let nothing = Map::new();
    let features = row["features"].as_object().unwrap_or(&nothing);
    let width = features.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, value) in features {
        let value = match value {
            Value::Null => "NULL".to_string(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let status = row["statuses"][name].as_str().unwrap_or("PRESENT");
        let reason = row["reasons"][name].as_str().map(|why| format!("  ({why})"));
        line(format!("{name:width$}  {value:>16}  {status}{}", reason.unwrap_or_default()));
    }
    for (key, source) in row["sources"].as_object().unwrap_or(&nothing) {
        let fresh = row["as_of"][key].as_str().map(|at| format!(", as of {at}"));
        let source = source.as_str().unwrap_or_default();
        line(format!("{key}: from the {source}{}", fresh.unwrap_or_default()));
    }
    for look_up in row["explain"].as_array().into_iter().flatten() {
        line(format!("group {}", look_up["group"].as_str().unwrap_or_default()));
        line(format!("  digest    {}", look_up["digest"].as_str().unwrap_or_default()));
        for frame in look_up["frames"].as_array().into_iter().flatten() {
            line(format!("  frame     {frame}"));
        }
        for position in look_up["positions"].as_array().into_iter().flatten() {
            line(format!("  position  {position}"));
        }
    }
    let stages = answer["timing_us"].as_object().unwrap_or(&nothing);
    let stages: Vec<String> = stages.iter().map(|(stage, us)| format!("{stage} {us} us")).collect();
    line(stages.join(", "));
    out
}
