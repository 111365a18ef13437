//! `trueup get`: one row of a view from a server, with statuses, sources, freshness and stage
//! times.

use super::Failure;
use super::common::{self, Output, TalkArgs};
use crate::client::Client;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use trueup_sql::suggest;

/// How long to wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The view
    view: String,
    /// The keys to look up, such as user_id=42; NULL is no value, and a value in single quotes the
    /// text between them, as in SQL: "name='NULL'", "name='O''Brien'"
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
    /// Show for each value what its frame held, and the positions in the log
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    talk: TalkArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.talk.settings.load()?;
    let client = args.talk.server.client(&settings, 1, TIMEOUT)?;
    let body = Bytes::from(body(args)?);
    let path = format!("/v1/features/{}", args.view);
    let runtime = common::runtime()?;
    if let Some(row) = &args.row {
        runtime.block_on(known(&client, &args.view, row))?;
    }
    let sent = client.request(Method::POST, &path, Some("application/json"), body);
    let reply = runtime.block_on(sent).map_err(common::failed)?;
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

/// What is asked. A row goes as it was written: the server reads numbers from their digits.
#[derive(Serialize)]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<[&'a RawValue; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<[Map<String, Value>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    columns: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    explain: bool,
}

fn body(args: &Args) -> Result<Vec<u8>, Failure> {
    let row = args.row.as_deref().map(serde_json::from_str::<&RawValue>).transpose();
    let row = row.map_err(|error| format!("error: --row is not JSON: {error}"))?;
    let asked = Asked {
        rows: row.map(|row| [row]),
        keys: if row.is_none() { Some([keys(&args.keys)?]) } else { None },
        at: args.at.as_deref(),
        columns: &args.columns,
        explain: args.explain,
    };
    Ok(serde_json::to_vec(&asked)?)
}

/// Refuses a row with a field that the view's stream has no column for. A server passes over these,
/// since producers add fields of their own; in a row by hand it is a slip, and the answer would be
/// that of another row.
async fn known(client: &Client, view: &str, row: &str) -> Result<(), Failure> {
    let sent = client.request(Method::GET, "/v1/views", None, Bytes::new());
    let reply = sent.await.map_err(common::failed)?;
    // What is wrong with server, view or row as such, the question itself is told.
    let views: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    misspelt(&views, view, row).map_or(Ok(()), |what| Err(format!("error: --row: {what}").into()))
}

/// The first field of a row that the view's stream has no column for, in words.
fn misspelt(views: &Value, view: &str, row: &str) -> Option<String> {
    let fields: BTreeMap<String, IgnoredAny> = serde_json::from_str(row).ok()?;
    let view = views["views"].as_array()?.iter().find(|about| about["view"] == view)?;
    let columns = view["row"].as_array()?.iter().filter_map(|column| column["name"].as_str());
    let name = fields.keys().find(|name| columns.clone().all(|column| column != *name))?;
    let stream = view["stream"].as_str()?;
    let instead = suggest(name, "column", columns);
    Some(format!("stream {stream} has no column {name}; {instead}"))
}

/// The members of a look-up.
pub(super) fn keys(said: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut keys = Map::new();
    for said in said {
        let (key, value) = said
            .split_once('=')
            .ok_or_else(|| format!("error: {said}: write keys as KEY=VALUE, such as user_id=42"))?;
        let quoted = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let value = match (quoted, value) {
            (Some(text), _) => text.replace("''", "'").into(),
            (None, "NULL") => Value::Null,
            (None, text) => text.into(),
        };
        if keys.insert(key.to_string(), value).is_some() {
            return Err(format!("error: the key {key} is given twice; name each once").into());
        }
    }
    Ok(keys)
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
        explained(look_up).into_iter().for_each(&mut line);
    }
    let stages = answer["timing_us"].as_object().unwrap_or(&nothing);
    let stages: Vec<String> = stages.iter().map(|(stage, us)| format!("{stage} {us} us")).collect();
    line(stages.join(", "));
    out
}

/// A look-up with what its frames held: a line a frame, then its events.
fn explained(look_up: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("unbounded").to_string();
    let mut lines = vec![
        format!("group {}", text(&look_up["group"])),
        format!("  digest    {}", text(&look_up["digest"])),
    ];
    for position in look_up["positions"].as_array().into_iter().flatten() {
        lines.push(format!("  position  {position}"));
    }
    for frame in look_up["frames"].as_array().into_iter().flatten() {
        let columns = frame["columns"].as_array().into_iter().flatten().map(text);
        let in_bins = frame["in_bins"].as_u64().map(|events| format!(" and {events} in bins"));
        lines.push(format!(
            "  {}: from {} to {}: {} events{}",
            columns.collect::<Vec<_>>().join(", "),
            text(&frame["from"]),
            text(&frame["to"]),
            frame["counted"],
            in_bins.unwrap_or_default()
        ));
        let events: Vec<&Value> = frame["events"].as_array().into_iter().flatten().collect();
        for event in &events {
            lines.push(format!("    {}  id {}", text(&event["at"]), event["id"]));
        }
        let more = frame["counted"].as_u64().unwrap_or(0).saturating_sub(events.len() as u64);
        if more > 0 {
            lines.push(format!("    and {more} older ones"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(said: &[&str]) -> Result<String, String> {
        let said: Vec<String> = said.iter().map(|said| said.to_string()).collect();
        let keys = keys(&said).map_err(|error| error.to_string())?;
        Ok(Value::Object(keys).to_string())
    }

    #[test]
    fn null_is_no_value_and_quotes_make_it_text() {
        assert_eq!(asked(&["a=1", "b=NULL"]).unwrap(), r#"{"a":"1","b":null}"#);
        assert_eq!(asked(&["a='NULL'"]).unwrap(), r#"{"a":"NULL"}"#);
        assert_eq!(
            asked(&["a='O''Brien'", "b='", "c=''"]).unwrap(),
            r#"{"a":"O'Brien","b":"'","c":""}"#
        );
    }

    /// The last of two would win in silence, and the answer would be another user's.
    #[test]
    fn a_key_that_is_given_twice_is_refused() {
        assert!(asked(&["user_id=1", "user_id=2"]).unwrap_err().contains("user_id is given twice"));
        assert!(asked(&["user_id"]).unwrap_err().contains("KEY=VALUE"));
    }
}
