//! `trueup check`: what the definitions say, or the first thing in them that cannot be kept.

use super::{Failure, definitions};
use std::path::Path;
use trueup_core::{Frame, Keep};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let definitions = definitions::load(path)?;
    for stream in &definitions.streams {
        println!("stream {}", stream.name);
        for column in &stream.columns {
            println!("  {} {}", column.name, column.ty);
        }
    }
    for group in &definitions.groups {
        let keep = match group.core.keep {
            Keep::Exact => "every event of the horizon".to_string(),
            Keep::Binned { width_us, .. } => format!("bins of {}", seconds(width_us)),
            Keep::Lifetime => "one partial for ever".to_string(),
        };
        println!("group {}  keeps {keep}  digest {}", group.name, group.digest);
        for aggregate in &group.core.aggregates {
            let frame = match aggregate.frame {
                Frame::Range { far_us: Some(far), near_us } => {
                    format!("{} to {} before", seconds(far), seconds(near_us))
                }
                Frame::Range { far_us: None, near_us } => {
                    format!("ever to {} before", seconds(near_us))
                }
                Frame::Rows { far, near } => format!("{far} to {near} rows before"),
            };
            println!("  {:?} over {frame}", aggregate.func);
        }
    }
    for view in &definitions.views {
        println!("view {}  digest {}", view.name, view.digest);
        for output in &view.outputs {
            println!("  {} {}", output.name, output.ty);
        }
    }
    Ok(())
}

fn seconds(us: i64) -> String {
    format!("{} s", us as f64 / 1e6)
}
