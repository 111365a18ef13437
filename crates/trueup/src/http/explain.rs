//! What `"explain": true` adds to a row: for each look-up the group, the frames asked for, and the
//! position in each partition of the log that the key's answer stands at.

use super::reply::{Reply, object};
use crate::ingest::source::FIRST_LOG;
use crate::json;
use std::io::Write;
use trueup_core::Frame;
use trueup_sql::decode::print::Timestamp;
use trueup_store::Meta;

pub(super) fn write(out: &mut Vec<u8>, reply: &Reply<'_>, row: usize) {
    out.extend_from_slice(b",\"explain\":[");
    for (number, (lookup, meta)) in reply.answered.rows[row].lookups.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let lookup = &reply.view.lookups[*lookup];
        let group = reply.catalog.group(lookup.group);
        out.extend_from_slice(b"{\"group\":");
        json::text(out, &group.name);
        // Writing to memory does not fail, here and below.
        let _ = write!(out, ",\"digest\":\"{}\"", group.digest);
        let mut frames: Vec<Frame> = Vec::new();
        for &aggregate in &lookup.aggregates {
            let frame = group.core.aggregates[aggregate].frame;
            if !frames.contains(&frame) {
                frames.push(frame);
            }
        }
        out.extend_from_slice(b",\"frames\":[");
        for (number, frame) in frames.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            write_frame(out, *frame, reply.asked.at[row]);
        }
        out.push(b']');
        if let Some(meta) = meta {
            write_meta(out, meta);
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// A frame at an instant; in a binned group its ends move out to those of the bins.
fn write_frame(out: &mut Vec<u8>, frame: Frame, at_us: i64) {
    let _ = match frame {
        Frame::Range { far_us, near_us } => {
            let to = Timestamp(at_us.saturating_sub(near_us));
            match far_us {
                Some(far_us) => {
                    let from = Timestamp(at_us.saturating_sub(far_us));
                    write!(out, "{{\"from\":\"{from}\",\"to\":\"{to}\"}}")
                }
                None => write!(out, "{{\"from\":null,\"to\":\"{to}\"}}"),
            }
        }
        Frame::Rows { far, near } => {
            write!(out, "{{\"rows_from\":{far},\"rows_to\":{near}}}")
        }
    };
}

fn write_meta(out: &mut Vec<u8>, meta: &Meta) {
    out.extend_from_slice(b",\"positions\":[");
    // What a backfill wrote down is no position in the log.
    let of_logs = meta.checkpoints.iter().filter(|checkpoint| checkpoint.source >= FIRST_LOG);
    for (number, checkpoint) in of_logs.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        object(out, [checkpoint].into_iter(), |out, checkpoint| {
            let _ = write!(
                out,
                "\"source\":{},\"partition\":{},\"offset\":{}",
                checkpoint.source, checkpoint.partition, checkpoint.offset
            );
        });
    }
    out.push(b']');
}
