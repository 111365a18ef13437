//! Early copies: the read of a key and the append to it in one transaction, of which there is one
//! at a time.

use std::collections::BTreeMap;

use super::EmbeddedStore;
use super::overlay::filed_row;
use super::tables::{BASES, METAS, TAILS, filed, in_order, row};
use crate::StoreError;
use crate::store::{At, Durability, Early, Recorded, Space, check_appends};

impl EmbeddedStore {
    pub(super) fn record_all(
        &self,
        keys: &[At<'_>],
        early: &Early<'_>,
    ) -> Result<Recorded, StoreError> {
        check_appends(early.appends)?;
        self.change(Durability::Buffered, |txn, stand, overlay, pending| {
            let (metas, tails) = (txn.open_table(METAS)?, txn.open_table(TAILS)?);
            let bases = txn.open_table(BASES)?;
            let reads = self.reads_in(&metas, &tails, &bases, (stand, overlay), keys)?;
            let mut numbers: BTreeMap<Space, u32> = BTreeMap::new();
            for append in early.appends {
                let space = append.at.space;
                if !numbers.contains_key(&space)
                    && let Some(filed) = filed(&metas, space)?.filter(|filed| filed.meta.is_begun())
                {
                    numbers.insert(space, filed.number);
                }
            }
            let mut appended = vec![false; early.appends.len()];
            let order = in_order(early.appends, &numbers);
            for run in order.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
                let row = row(run[0].0, run[0].1);
                let loaded = match overlay.get(&row) {
                    Some(_) => None,
                    None => Some(filed_row(&tails, &row, &|what| self.corrupt(what))?),
                };
                let state = overlay.get(&row).or(loaded.as_ref());
                let mut len = state.map_or(0, |state| state.base_len + state.tail.len());
                let mut fitting = Vec::with_capacity(run.len());
                for &(_, _, nth) in run {
                    let record = early.appends[nth].record;
                    if len + record.len() <= early.room {
                        len += record.len();
                        fitting.push(record);
                        appended[nth] = true;
                    }
                }
                if !fitting.is_empty() {
                    pending.entry.append(&row, fitting.into_iter());
                    pending.loaded.extend(loaded.map(|state| (row, state)));
                }
            }
            Ok(Recorded { reads, appended })
        })
    }
}
