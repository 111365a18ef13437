//! Keys that have outgrown the bound of a key, so that their oldest events went: what compaction
//! finds is noted in the store, a few keys a group, for whoever asks which window wants bins.
//!
//! A note holds the bytes of the keys alone. What they hold by now is looked at when it is asked:
//! a key that was cut once may be small again.

use crate::catalog::{Catalog, stored};
use crate::json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use trueup_core::{Key, inspect};
use trueup_sql::array_of;
use trueup_store::{At, Read, Space, Store, StoreError};

/// Keys of a group that are remembered: those found last. One is enough to see what is wrong, some
/// tell whether it is a few keys or the window.
const REMEMBERED: usize = 16;

/// A value of less than this part of the bound, as a divisor, is not at its bound: a base saves no
/// more than that by its deltas.
const LIGHT: usize = 4;

/// Hex digits of a group's digest in a note's name.
const DIGEST_HEX: usize = 32;

/// A key at its bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outgrown {
    /// The group that keeps it.
    pub group: String,
    /// Its columns with their values, as JSON writes them.
    pub key: String,
    /// Bytes of its value.
    pub bytes: usize,
    /// How far behind its newest event it is whole, seconds.
    pub keeps_seconds: f64,
    /// How far the group's frames may reach, lateness included, seconds; none for ever.
    pub wants_seconds: Option<f64>,
}

fn name(space: Space) -> String {
    let digest = format!("{space:?}");
    format!("outgrown-{}", &digest[..DIGEST_HEX])
}

fn parse(note: &[u8]) -> Vec<Vec<u8>> {
    let texts: Vec<String> = serde_json::from_slice(note).unwrap_or_default();
    texts.iter().filter_map(|text| STANDARD.decode(text).ok()).collect()
}

/// Notes keys of a space that were cut just now. That others note theirs at the same moment, or
/// that the note is lost with the rest of a store, costs nothing: keys at their bound are cut again
/// with every compaction.
///
/// # Errors
/// What the store says.
pub async fn note(store: &dyn Store, space: Space, keys: &[&[u8]]) -> Result<(), StoreError> {
    let name = name(space);
    let old = store.note(&name).await?;
    let known = old.as_deref().map(parse).unwrap_or_default();
    if keys.iter().all(|key| known.iter().any(|old| old == key)) {
        return Ok(());
    }
    let others = known.iter().map(Vec::as_slice).filter(|old| !keys.contains(old));
    let all = keys.iter().copied().chain(others).take(REMEMBERED);
    let texts: Vec<String> = all.map(|key| STANDARD.encode(key)).collect();
    let bytes = serde_json::to_vec(&texts).expect("texts are JSON");
    store.set_note(&name, old.as_deref(), &bytes).await?;
    Ok(())
}

/// The noted keys that are at their bound still, the worst of a group first.
///
/// # Errors
/// What the store says.
pub async fn look(store: &dyn Store, catalog: &Catalog) -> Result<Vec<Outgrown>, StoreError> {
    let mut all = Vec::new();
    for group in 0..catalog.definitions().groups.len() {
        let space = catalog.space(group);
        let Some(note) = store.note(&name(space)).await? else { continue };
        let keys = parse(&note);
        let ats: Vec<At<'_>> = keys.iter().map(|key| At { space, key }).collect();
        let reads = store.get(&ats).await?;
        let found = keys.iter().zip(&reads);
        let mut found: Vec<Outgrown> =
            found.filter_map(|(key, read)| outgrown(catalog, group, key, read)).collect();
        found.sort_by(|one, other| one.keeps_seconds.total_cmp(&other.keeps_seconds));
        all.extend(found);
    }
    Ok(all)
}

/// What a key holds, if it is less than its frames may reach for.
fn outgrown(catalog: &Catalog, group: usize, key: &[u8], read: &Read) -> Option<Outgrown> {
    let (plan, value) = (catalog.plan(group), read.value.as_ref()?);
    let base = inspect(plan, key, stored(value)).ok()?.base?;
    let keeps_us = base.newest_us?.saturating_sub(base.whole_from_us?);
    let (wants_us, bytes) = (plan.horizon_us(), value.base().len() + value.tail().len());
    let is_whole = match wants_us {
        Some(wants_us) => keeps_us >= wants_us,
        // What is old goes from such a key as well, and how old that is the base does not say.
        None => bytes < catalog.limits.max_bytes / LIGHT,
    };
    if is_whole {
        return None;
    }
    Some(Outgrown {
        group: catalog.group(group).name.clone(),
        key: written(catalog, group, key)?,
        bytes,
        keeps_seconds: keeps_us as f64 / 1e6,
        wants_seconds: wants_us.map(|us| us as f64 / 1e6),
    })
}

/// A key as `name=value, …`.
fn written(catalog: &Catalog, group: usize, key: &[u8]) -> Option<String> {
    let group = catalog.group(group);
    let columns = group.keys.iter().map(|&column| {
        let stream = &catalog.streams()[group.stream].stream;
        &stream.columns[column]
    });
    let mut texts = Vec::with_capacity(group.keys.len());
    for (column, value) in columns.zip(Key::values(key)?) {
        let mut text = format!("{}=", column.name).into_bytes();
        json::value(&mut text, &*array_of(&column.ty.arrow(), [&value]), 0);
        texts.push(String::from_utf8(text).ok()?);
    }
    Some(texts.join(", "))
}
