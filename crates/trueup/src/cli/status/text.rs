//! A status for people: the worst first to be seen, in columns that hold still.

use crate::cli::table::Table;
use crate::ingest::source::entry_id;
use crate::status::{
    BucketsStatus, DefinitionsStatus, GroupStatus, Offsets, PartitionStatus, Role, ServerStatus,
    Status, StreamStatus,
};

/// Digits of a digest that are shown to people.
const SHORT_HEX: usize = 16;

/// Characters of an instant up to its seconds.
const TO_SECONDS: usize = 19;

/// What is not known.
const UNKNOWN: &str = "?";

pub(super) fn text(status: &Status) -> String {
    let mut lines = vec![match &status.asked {
        Some(server) => format!("{}  asked of {server}", instant(&status.at)),
        None => instant(&status.at),
    }];
    lines.extend(status.troubles.iter().map(|trouble| format!("NOT ASKED  {trouble}")));
    store(status, &mut lines);
    status.streams.iter().for_each(|it| stream(it, &mut lines));
    status.definitions.iter().for_each(|it| definitions(it, status, &mut lines));
    if !status.retired.is_empty() {
        lines.push(format!("to be dropped  {}", status.retired.join(", ")));
    }
    if !status.remarks.is_empty() {
        lines.push(String::new());
        lines.extend(status.remarks.iter().map(|remark| format!("note: {remark}")));
    }
    lines.join("\n") + "\n"
}

fn store(status: &Status, lines: &mut Vec<String>) {
    let store = &status.store;
    lines.push(String::new());
    match &store.shape {
        None => lines.push(format!("store {}", store.url)),
        Some(shape) => {
            lines.push(format!("store {}  {shape}, {}", store.url, buckets(&store.buckets)));
        }
    }
    let mut table = Table::new(&["<server", "<software", ">buckets", ">used", ">limit"]);
    for ServerStatus { place, software, buckets, used_bytes, limit_bytes } in &store.servers {
        let bytes = |bytes: &Option<u64>, none: &str| bytes.map_or(none.to_owned(), self::bytes);
        let (used, limit) = (bytes(used_bytes, UNKNOWN), bytes(limit_bytes, "none"));
        table.row([place.clone(), software.clone(), buckets.to_string(), used, limit]);
    }
    lines.extend(table.lines());
}

/// How buckets stand; what is well is said in a word.
fn buckets(buckets: &BucketsStatus) -> String {
    let BucketsStatus { total, sound, empty, unseen, moving } = *buckets;
    if sound == total {
        return match total {
            1 => "1 bucket, sound".to_owned(),
            _ => format!("{total} buckets, all sound"),
        };
    }
    let states = [
        (sound, "sound"),
        (empty, "EMPTY"),
        (unseen, "UNSEEN since their server began another life"),
        (moving, "moving"),
    ];
    let said = states.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    format!("{total} buckets: {}", said.collect::<Vec<_>>().join(", "))
}

fn definitions(told: &DefinitionsStatus, status: &Status, lines: &mut Vec<String>) {
    let role = match told.role {
        Role::Current => "in service",
        Role::Candidate => "being hydrated",
        Role::Previous => "previous",
        Role::Files if status.store.shape.is_none() => "of the files",
        Role::Files => "of the files, entered by no worker yet",
    };
    let since = told.since.as_ref().map(|since| format!(" since {}", instant(since)));
    let digest = told.digest.get(..SHORT_HEX).unwrap_or(&told.digest);
    lines.push(String::new());
    lines.push(format!("definitions {digest}  {role}{}", since.unwrap_or_default()));
    let reasons = told.trouble.iter().chain(&told.stuck).chain(&told.waits);
    lines.extend(reasons.map(|why| format!("  ! {why}")));
    if status.store.shape.is_none() {
        return;
    }
    let total = status.store.buckets.total;
    let mut table = Table::new(&["<group", "<complete since", ">vouched", ">behind", ">fresh"]);
    for group in &told.groups {
        let of = |n: Option<usize>| n.map_or(UNKNOWN.to_owned(), |n| format!("{n}/{total}"));
        let name = match (group.backfill, group.percent) {
            (true, _) => format!("{} (backfill)", group.group),
            (false, Some(percent)) => format!("{} ({percent} %)", group.group),
            (false, None) => group.group.clone(),
        };
        table.row([name, since_of(group), of(group.vouched), of(group.behind), fresh(group)]);
    }
    lines.extend(table.lines());
}

fn since_of(group: &GroupStatus) -> String {
    match (group.vouched, group.complete, &group.complete_since) {
        (None, ..) => UNKNOWN.to_owned(),
        (_, false, _) => "NOT VOUCHED FOR".to_owned(),
        (_, true, None) => "for ever".to_owned(),
        (_, true, Some(since)) => instant(since),
    }
}

fn fresh(group: &GroupStatus) -> String {
    match (group.vouched, group.fresh_seconds) {
        (None, _) => UNKNOWN.to_owned(),
        (_, None) => "never".to_owned(),
        (_, Some(seconds)) => format!("{} ago", span(seconds)),
    }
}

fn stream(told: &StreamStatus, lines: &mut Vec<String>) {
    lines.push(String::new());
    lines.push(format!("stream {}  {}", told.stream, told.source));
    let mut said = Vec::new();
    if !told.partitions.is_empty() || told.lag_events.is_some() {
        said.push(match (told.lag_events, told.offsets) {
            (Some(lag), Offsets::Messages) if lag > 0 => format!("lag at most {lag} events"),
            (Some(lag), _) => format!("lag {lag} events"),
            (None, Offsets::Times) => "lag in events not told by this source".to_owned(),
            (None, _) => "lag unknown".to_owned(),
        });
        said.extend(told.lag_seconds.map(|seconds| format!("fresh {} ago", span(seconds))));
    }
    if told.stale {
        said.push("STALE".to_owned());
    }
    if let Some(rate) = told.came_per_second {
        said.push(format!("{rate:.0} events/s come"));
    }
    if let Some(rate) = told.applied_per_second {
        said.push(format!("{rate:.0} events/s applied"));
    }
    said.extend(told.dead_letters.map(|n| format!("{n} dead letters")));
    if !said.is_empty() {
        lines.push(format!("  {}", said.join(", ")));
    }
    lines.extend(told.gaps.iter().map(|gap| format!("  GAP  {gap}")));
    let heads = [">partition", ">first", ">applied", ">end", ">lag", ">behind", "<watermark"];
    let mut table = Table::new(&heads);
    for it in &told.partitions {
        table.row(partition(it, told.offsets));
    }
    lines.extend(table.lines());
}

fn partition(told: &PartitionStatus, offsets: Offsets) -> [String; 7] {
    let PartitionStatus { partition, first, end, applied, lag_events, lag_seconds, watermark } =
        told;
    let place = |offset: u64| match (offsets, offset) {
        // Written as the server does.
        (Offsets::Times, 1..) => entry_id(offset),
        _ => offset.to_string(),
    };
    let known = |text: Option<String>, none: &str| text.unwrap_or(none.to_owned());
    // What was never begun has no time; what nobody could ask has no offset either.
    let never = if applied.is_some() { "never" } else { UNKNOWN };
    [
        partition.to_string(),
        place(*first),
        known(applied.map(place), UNKNOWN),
        place(*end),
        known(lag_events.map(|lag| lag.to_string()), UNKNOWN),
        known(lag_seconds.map(span), never),
        known(watermark.as_deref().map(instant), never),
    ]
}

/// An instant to its seconds.
fn instant(said: &str) -> String {
    said.get(..TO_SECONDS).map_or(said.to_owned(), |seconds| format!("{seconds}Z"))
}

/// So long, in the largest two units.
fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1_024.0, unit + 1);
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_told_in_units_that_a_person_reads() {
        let spans = [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.9, "59 s"), (61.0, "1 min 1 s")];
        let more = [(7_300.0, "2 h 1 min"), (90_000.0, "1 d 1 h")];
        for (seconds, said) in spans.into_iter().chain(more) {
            assert_eq!(span(seconds), said);
        }
        let sizes = [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (3 << 30, "3.0 GiB")];
        for (size, said) in sizes {
            assert_eq!(bytes(size), said);
        }
    }
}
