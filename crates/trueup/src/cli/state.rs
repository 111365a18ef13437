//! `trueup state show`: what the store holds of one key, group by group, for a person who wants to
//! know why an answer is what it is. Reads the store itself, not a server, and changes nothing.

use super::Failure;
use super::common::{self, Output, SettingsArgs};
use super::get::keys;
use crate::catalog::{Catalog, StreamPart, stored};
use crate::node;
use crate::place::Place;
use clap::Subcommand;
use serde_json::{Map, Value};
use show::Shown;
use trueup_core::{Key, inspect};
use trueup_sql::value_at;
use trueup_store::{At, Read};

mod show;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Decode what is stored of a key: base, records behind it, checkpoints and marker
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The key, such as user_id=42: all columns by which some group is partitioned; NULL is no
    /// value, and a value in single quotes the text between them, as in SQL
    #[arg(value_name = "KEY=VALUE", required = true)]
    keys: Vec<String>,
    /// Only groups of this stream
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Show the events themselves
    #[arg(long)]
    events: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Command::Show(args) = &args.command;
    super::log::to_stderr();
    let settings = args.settings.load()?;
    let catalog = common::catalog(&settings)?;
    let wanted = wanted(args, &catalog)?;
    there(&settings.store)?;
    let reads = common::runtime()?.block_on(read(&settings.store, &catalog, &wanted))?;
    let mut shown = Vec::with_capacity(wanted.len());
    for ((group, key), read) in wanted.iter().zip(&reads) {
        let value = read.value.as_ref().map(stored).unwrap_or_default();
        let inspected = inspect(catalog.plan(*group), key.bytes(), value);
        shown.push(Shown { group: catalog.group(*group), read, inspected, events: args.events });
    }
    common::print(&match args.output {
        Output::Text => shown.iter().map(Shown::text).collect(),
        Output::Json => {
            let all: Vec<Value> = shown.iter().map(Shown::json).collect();
            format!("{:#}\n", Value::from(all))
        }
    })
}

/// Refuses a folder without a store, rather than make one to look at.
fn there(place: &Place) -> Result<(), Failure> {
    match place {
        Place::Embedded(dir) if !dir.join("state.redb").exists() => {
            let dir = dir.display();
            Err(format!("error: there is no state in {dir} yet; name the --store to look at")
                .into())
        }
        Place::Memory => Err("error: the store memory: is the server's alone; ask it by `trueup \
                              get --explain`"
            .into()),
        _ => Ok(()),
    }
}

async fn read(
    place: &Place,
    catalog: &Catalog,
    wanted: &[(usize, Key)],
) -> Result<Vec<Read>, Failure> {
    let failed = |error: trueup_store::StoreError| format!("error: {error}");
    let (store, _) = node::open_at_start(place, false).await.map_err(failed)?;
    let at = |(group, key): &(usize, Key)| (catalog.space(*group), key.bytes().to_vec());
    let ats: Vec<_> = wanted.iter().map(at).collect();
    let ats: Vec<At<'_>> = ats.iter().map(|(space, key)| At { space: *space, key }).collect();
    Ok(store.get(&ats).await.map_err(failed)?)
}

/// The groups that the named columns are the key of, each with the key.
fn wanted(args: &ShowArgs, catalog: &Catalog) -> Result<Vec<(usize, Key)>, Failure> {
    let keys = keys(&args.keys)?;
    let mut wanted = Vec::new();
    for part in catalog.streams() {
        if args.stream.as_ref().is_some_and(|name| *name != part.stream.name) {
            continue;
        }
        let columns = |group: &usize| columns(part, &catalog.group(*group).keys);
        let matching = part.groups.iter().filter(|group| {
            let columns = columns(group);
            columns.len() == keys.len() && columns.iter().all(|name| keys.contains_key(*name))
        });
        let matching: Vec<usize> = matching.copied().collect();
        if !matching.is_empty() {
            let row = row(part, &keys)?;
            for group in matching {
                let columns = catalog.group(group).keys.iter();
                let values: Vec<_> = columns.map(|&it| value_at(row.column(it), 0)).collect();
                wanted.push((group, Key::of(&values)));
            }
        }
    }
    if wanted.is_empty() {
        let said: Vec<&str> = keys.keys().map(String::as_str).collect();
        return Err(format!(
            "error: no group has the key {}; there are: {}",
            said.join(", "),
            known(catalog)
        )
        .into());
    }
    Ok(wanted)
}

fn columns<'a>(part: &'a StreamPart, columns: &[usize]) -> Vec<&'a str> {
    columns.iter().map(|&column| part.stream.columns[column].name.as_str()).collect()
}

/// The keys that groups have, for a message.
fn known(catalog: &Catalog) -> String {
    let of = |part: &StreamPart| {
        let name = &part.stream.name;
        let keys = part.groups.iter().map(|&group| columns(part, &catalog.group(group).keys));
        let mut keys: Vec<String> = keys.map(|keys| keys.join(", ")).collect();
        keys.sort_unstable();
        keys.dedup();
        format!("{} (stream {name})", keys.join("; "))
    };
    catalog.streams().iter().map(of).collect::<Vec<_>>().join(", ")
}

/// The key's columns as a row of their stream, decoded by the one table.
fn row(part: &StreamPart, keys: &Map<String, Value>) -> Result<arrow::array::RecordBatch, Failure> {
    let decoded = part.key_decoder.json_rows(&[Value::from(keys.clone()).to_string()])?;
    match decoded.bad.first() {
        Some(bad) => {
            let column = bad.column.as_deref().unwrap_or("the key");
            Err(format!("error: {column}: {}", bad.reason).into())
        }
        None => Ok(decoded.batch),
    }
}
