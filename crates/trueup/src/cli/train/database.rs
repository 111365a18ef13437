//! The history of a stream from its table in the settings' database, as it is at one moment.

use crate::cli::Failure;
use crate::cli::common::{self, failed};
use crate::settings::Settings;
use crate::spool::{Origin, decoded};
use std::sync::Arc;
use trueup_offline::History;
use trueup_sql::Stream;
use trueup_sql::decode::Decoder;

pub(super) fn history(settings: &Settings, stream: &Arc<Stream>) -> Result<History, Failure> {
    let away = |error| failed(format!("setting database: {error}"));
    let origin = Origin::new(settings.database.as_ref(), stream).map_err(away)?;
    let (name, decoder) = (origin.name(), Decoder::new(Arc::clone(stream)));
    let mut history = History::new(Arc::clone(stream));
    let mut before = 0;
    common::runtime()?.block_on(async {
        let mut snapshot = origin.snapshot().await.map_err(away)?;
        loop {
            let rows = snapshot.next().await.map_err(away)?;
            if rows.is_empty() {
                return Ok(history);
            }
            let decoded = decoded(&decoder, &rows).map_err(failed)?;
            history.push(&name, before, decoded, None).map_err(failed)?;
            before += rows.len() as u64;
        }
    })
}
