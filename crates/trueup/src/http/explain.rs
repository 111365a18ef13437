//! What `"explain": true` adds to a row: for each look-up the group with its digest, where the
//! state came from, what each frame held, and the position in each partition of the log that the
//! answer stands at.
//!
//! ```text
//! "explain": [{"group", "digest", "source"?, "as_of"?, "positions"?: [{…}], "frames": [
//!     {"columns": […], "from", "to", "counted", "in_bins"?, "events": [{"at", "id"}, …]}, …]}, …]
//! ```

use super::reply::{Reply, array, object};
use crate::ingest::source::FIRST_LOG;
use crate::json;
use crate::serve::LookupAnswer;
use std::io::Write;
use trueup_core::{Id, Micros, Receipt};
use trueup_sql::decode::print::Timestamp;
use trueup_store::Meta;

pub(super) fn write(out: &mut Vec<u8>, reply: &Reply<'_>, row: usize) {
    out.extend_from_slice(b",\"explain\":");
    write_lookups(out, reply, row);
}

/// The same list by itself.
#[cfg(feature = "grpc")]
pub(super) fn text(reply: &Reply<'_>, row: usize) -> String {
    let mut out = Vec::new();
    write_lookups(&mut out, reply, row);
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn write_lookups(out: &mut Vec<u8>, reply: &Reply<'_>, row: usize) {
    array(out, reply.got.answered.rows[row].lookups.iter(), |out, answer| {
        write_lookup(out, reply, answer);
    });
}

fn write_lookup(out: &mut Vec<u8>, reply: &Reply<'_>, answer: &LookupAnswer) {
    let group = reply.catalog.group(reply.view.lookups[answer.lookup].group);
    out.extend_from_slice(b"{\"group\":");
    json::text(out, &group.name);
    // Writing to memory does not fail, here and below.
    let _ = write!(out, ",\"digest\":\"{}\"", group.digest);
    if let Some(source) = answer.source {
        let _ = write!(out, ",\"source\":\"{}\"", source.name());
    }
    if let Some(fresh_us) = answer.fresh_us {
        let _ = write!(out, ",\"as_of\":\"{}\"", Timestamp(fresh_us));
    }
    if let Some(meta) = &answer.meta {
        write_positions(out, meta);
    }
    out.extend_from_slice(b",\"frames\":");
    array(out, answer.receipts.iter(), |out, (aggregate, receipt)| {
        out.extend_from_slice(b"{\"columns\":");
        array(out, columns(reply, answer.lookup, *aggregate), json::text);
        write_receipt(out, receipt);
        out.push(b'}');
    });
    out.push(b'}');
}

/// The columns of the answer that use an aggregate of a look-up.
fn columns<'a>(
    reply: &'a Reply<'_>,
    lookup: usize,
    aggregate: usize,
) -> impl Iterator<Item = &'a str> {
    let outputs = reply.got.answered.columns.iter().map(|(output, _)| &reply.view.outputs[*output]);
    let uses = move |feature: &usize| reply.view.feature(*feature) == Some((lookup, aggregate));
    outputs.filter(move |output| output.features.iter().any(uses)).map(|it| it.name.as_str())
}

fn write_receipt(out: &mut Vec<u8>, receipt: &Receipt) {
    let bound = |out: &mut Vec<u8>, name: &str, at: Option<Micros>| {
        let _ = match at {
            Some(Micros(us)) => write!(out, ",\"{name}\":\"{}\"", Timestamp(us)),
            None => write!(out, ",\"{name}\":null"),
        };
    };
    bound(out, "from", receipt.from);
    bound(out, "to", receipt.to);
    let _ = write!(out, ",\"counted\":{}", receipt.counted);
    if receipt.in_partials > 0 {
        let _ = write!(out, ",\"in_bins\":{}", receipt.in_partials);
    }
    out.extend_from_slice(b",\"events\":");
    array(out, receipt.events.iter(), |out, (Micros(us), id): &(Micros, Id)| {
        let _ = write!(out, "{{\"at\":\"{}\",\"id\":{}}}", Timestamp(*us), json::id(id));
    });
}

fn write_positions(out: &mut Vec<u8>, meta: &Meta) {
    out.extend_from_slice(b",\"positions\":");
    // What a backfill wrote down is no position in the log.
    let of_logs = meta.checkpoints.iter().filter(|checkpoint| checkpoint.source >= FIRST_LOG);
    array(out, of_logs, |out, checkpoint| {
        object(out, [checkpoint].into_iter(), |out, checkpoint| {
            let _ = write!(
                out,
                "\"source\":{},\"partition\":{},\"offset\":{}",
                checkpoint.source, checkpoint.partition, checkpoint.offset
            );
        });
    });
}
