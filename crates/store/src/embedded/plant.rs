//! A first base for a key that holds nothing.

use std::collections::BTreeMap;

use super::EmbeddedStore;
use super::meta::Filed;
use super::overlay::{Row, filed_row};
use super::tables::{BASES, METAS, TAILS, filed, next_number, row};
use crate::StoreError;
use crate::store::{Durability, Plant, check_plant};

impl EmbeddedStore {
    pub(super) fn plant_one(&self, plant: &Plant<'_>) -> Result<bool, StoreError> {
        check_plant(plant)?;
        self.change(Durability::Buffered, |txn, stand, overlay, pending| {
            if plant.epoch != stand.epoch {
                return Ok(false);
            }
            let mut metas = txn.open_table(METAS)?;
            let space = plant.at.space;
            let number = match filed(&metas, space)? {
                Some(filed) => filed.number,
                None => {
                    let new = Filed::new(next_number(&metas, &BTreeMap::new())?);
                    metas.insert(&space.as_bytes()[..], new.encode(space).as_slice())?;
                    new.number
                }
            };
            let row = row(number, plant.at.key);
            let state = match overlay.get(&row) {
                Some(state) => state.clone(),
                None => {
                    let tails = txn.open_table(TAILS)?;
                    let state = filed_row(&tails, &row, &|what| self.corrupt(what))?;
                    pending.loaded.push((row.clone(), state.clone()));
                    state
                }
            };
            if !state.gone {
                return Ok(false);
            }
            txn.open_table(BASES)?.insert(row.as_slice(), plant.base)?;
            let (base_len, filed) = (plant.base.len(), state.filed);
            pending.entry.set(&row, &Row { base_len, filed, ..Row::default() });
            Ok(true)
        })
    }
}
