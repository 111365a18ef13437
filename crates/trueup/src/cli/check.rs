//! `trueup check`: what the definitions say, or the first thing in them that cannot be kept;
//! whether what settings say of views fits them, and the tables of the database, where settings
//! name one.

use super::Failure;
use super::common::{self, Output, SettingsArgs, failed};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::node::{self, NodeError};
use crate::settings::DatabaseSettings;
use serde_json::{Value, json};
use trueup_core::{Frame, Func, Keep};
use trueup_sql::{Definitions, GroupDef, sql_type};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print what was compiled
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.settings.load()?;
    let definitions = common::compiled(&settings)?;
    let catalog = Catalog::new(definitions.clone());
    node::views_fit(&settings.views, &catalog).map_err(failed)?;
    if let Some(database) = &settings.database {
        look(database, &catalog)?;
    }
    common::print(&match args.output {
        Output::Json => format!("{}\n", document(&definitions)),
        Output::Text => text(&definitions),
    })
}

/// Looks at the tables of a database that settings name; an index that is missing is a warning.
fn look(database: &DatabaseSettings, catalog: &Catalog) -> Result<(), Failure> {
    let look = async {
        let tables = node::tables(database, catalog, Clock::system())?;
        tables.look(catalog).await.map_err(NodeError::Database)
    };
    let warnings = common::runtime()?.block_on(look).map_err(failed)?;
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    Ok(())
}

fn text(definitions: &Definitions) -> String {
    let mut out = String::new();
    let mut line = |text: String| out.extend([text.as_str(), "\n"]);
    for stream in &definitions.streams {
        let columns: Vec<String> =
            stream.columns.iter().map(|column| format!("{} {}", column.name, column.ty)).collect();
        line(format!("stream {} ({})", stream.name, columns.join(", ")));
        line(format!(
            "  lateness {}, {} ahead of its log at most",
            span(stream.lateness_us),
            span(stream.future_us)
        ));
    }
    for group in &definitions.groups {
        line(format!("group {}  {}", group.name, group.digest.short()));
        line(format!("  keeps {}, {}", keeps(group), bytes(group)));
        for frame in frames(group) {
            line(format!("  {} over {}", names(group, frame), written(frame)));
        }
    }
    for view in &definitions.views {
        let stream = &definitions.streams[view.stream].name;
        line(format!("view {} of {stream}  {}", view.name, view.digest.short()));
        for output in &view.outputs {
            line(format!("  {} {}", output.name, sql_type(&output.ty)));
        }
    }
    out
}

/// The distinct frames of a group, in their order.
fn frames(group: &GroupDef) -> Vec<Frame> {
    let mut frames = Vec::new();
    for aggregate in &group.core.aggregates {
        if !frames.contains(&aggregate.frame) {
            frames.push(aggregate.frame);
        }
    }
    frames
}

/// The aggregates of a group over one frame.
fn names(group: &GroupDef, frame: Frame) -> String {
    let over = group.core.aggregates.iter().filter(|aggregate| aggregate.frame == frame);
    let name = |aggregate: &trueup_core::Aggregate| {
        let func = match &aggregate.func {
            Func::Percentile(p) => format!("Percentile({p})"),
            func => format!("{func:?}"),
        };
        let arg = aggregate.arg.map_or("*".to_string(), |slot| group.slots[slot].text().into());
        let filter = match aggregate.filter {
            Some(slot) => format!(" where {}", group.slots[slot].text()),
            None => String::new(),
        };
        format!("{}({arg}){filter}", func.to_lowercase())
    };
    over.map(name).collect::<Vec<_>>().join(", ")
}

fn keeps(group: &GroupDef) -> String {
    let core = &group.core;
    match core.keep {
        Keep::Exact => match core.horizon_us() {
            Some(us) => format!("every event of {}", span(us)),
            None => "every event".to_string(),
        },
        Keep::Binned { width_us, .. } => {
            format!("bins of {} and the last {} raw", span(width_us), span(core.reorder_us))
        }
        Keep::Lifetime => format!("one sum for ever and the last {} raw", span(core.reorder_us)),
    }
}

/// What an event, or a bin, takes in a folded value: time and id as differences, each slot as the
/// codec writes it. An estimate for sizing; the codec's bench measures.
fn bytes(group: &GroupDef) -> String {
    use trueup_core::{IdKind, Kind};
    let id = match group.core.id {
        IdKind::Int => 3,
        IdKind::Hash => 16,
        IdKind::Text => 24,
    };
    let slot = |kind: &Kind| match kind {
        Kind::Bool => 1,
        Kind::Float => 8,
        Kind::Text | Kind::List(_) => 10,
        Kind::Int | Kind::Decimal { .. } | Kind::Time | Kind::Date => 3,
    };
    let event = 4 + id + group.core.slots.iter().map(slot).sum::<usize>();
    match group.core.keep {
        Keep::Exact => format!("some {event} bytes an event and key"),
        Keep::Binned { .. } | Keep::Lifetime => {
            let partial = 6 + 8 * group.core.aggregates.len();
            format!("some {partial} bytes a bin and {event} a raw event")
        }
    }
}

fn written(frame: Frame) -> String {
    match frame {
        Frame::Range { far_us: Some(far), near_us: 0 } => format!("the last {}", span(far)),
        Frame::Range { far_us: Some(far), near_us } => {
            format!("{} to {} before", span(far), span(near_us))
        }
        Frame::Range { far_us: None, near_us: 0 } => "all time".to_string(),
        Frame::Range { far_us: None, near_us } => format!("all time to {} before", span(near_us)),
        Frame::Rows { far, near: 0 } => format!("{far} rows before and the row"),
        Frame::Rows { far, near } => format!("{far} to {near} rows before"),
    }
}

/// A span of time as its two largest parts: `91 days 5 min`; the rest is left out.
fn span(us: i64) -> String {
    const UNITS: [(&str, i64); 6] = [
        ("days", 86_400_000_000),
        ("h", 3_600_000_000),
        ("min", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
    ];
    let mut rest = us;
    let mut parts = Vec::new();
    for (name, length) in UNITS {
        let count = rest / length;
        rest %= length;
        if count > 0 && parts.len() < 2 {
            let name = if count == 1 && name == "days" { "day" } else { name };
            parts.push(format!("{count} {name}"));
        }
    }
    if parts.is_empty() { "0 s".to_string() } else { parts.join(" ") }
}

fn document(definitions: &Definitions) -> Value {
    let streams = definitions.streams.iter().map(|stream| {
        let columns = stream.columns.iter().map(|column| {
            let ty = column.ty.to_string();
            json!({ "name": column.name, "type": ty, "not_null": column.not_null })
        });
        json!({ "stream": stream.name, "columns": columns.collect::<Vec<_>>() })
    });
    let groups = definitions.groups.iter().map(|group| {
        let frames = frames(group)
            .into_iter()
            .map(|frame| json!({ "frame": written(frame), "aggregates": names(group, frame) }));
        json!({
            "group": group.name,
            "digest": group.digest.to_string(),
            "keeps": keeps(group),
            "size": bytes(group),
            "frames": frames.collect::<Vec<_>>(),
        })
    });
    let views = definitions.views.iter().map(|view| {
        let columns = view
            .outputs
            .iter()
            .map(|output| json!({ "name": output.name, "type": sql_type(&output.ty) }));
        json!({
            "view": view.name,
            "digest": view.digest.to_string(),
            "columns": columns.collect::<Vec<_>>(),
        })
    });
    json!({
        "streams": streams.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "views": views.collect::<Vec<_>>(),
    })
}
