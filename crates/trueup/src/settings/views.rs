//! The settings of views: what they return for values of each status.

use super::raw::{Origin, Raw};
use super::{SettingsError, value};
use crate::serve::{Policies, Policy, Status, ViewPolicy};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A view as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewSaid {
    /// For values that cannot be vouched for: `null`, `default` or `refuse`.
    pub unknown: Option<String>,
    /// For values that are older than `max_staleness`: `value`, `null`, `default` or `refuse`.
    pub stale: Option<String>,
    /// For values over frames without events: as `stale`.
    pub not_found: Option<String>,
    /// For values that are NULL: as `stale`.
    pub null_value: Option<String>,
    /// Defaults by column: numbers, text, true or false. A column without one stays NULL.
    #[serde(default)]
    pub defaults: BTreeMap<String, toml::Value>,
}

pub(super) fn views(raw: &Raw) -> Result<Policies, SettingsError> {
    let Some((origin, said)) = raw.find(|layer| layer.views.as_ref()) else {
        return Ok(Policies::new());
    };
    let read = |(name, said): (&String, &ViewSaid)| Ok((name.clone(), view(name, said, &origin)?));
    said.iter().map(read).collect()
}

fn view(name: &str, said: &ViewSaid, origin: &Origin) -> Result<ViewPolicy, SettingsError> {
    let wrong = |reason: String| value("views", origin.to_string(), format!("{name}: {reason}"));
    let of_status = [
        ("unknown", Status::Unknown, &said.unknown),
        ("stale", Status::Stale, &said.stale),
        ("not_found", Status::NotFound, &said.not_found),
        ("null_value", Status::NullValue, &said.null_value),
    ];
    let mut policies = Vec::new();
    for (setting, status, said) in of_status {
        let Some(word) = said else { continue };
        let policy = match word.as_str() {
            "value" if status == Status::Unknown => {
                return Err(wrong(
                    "unknown = \"value\": there is no value that can be vouched for; \
                                  write null, default or refuse"
                        .into(),
                ));
            }
            "value" => Policy::Value,
            "null" => Policy::Null,
            "default" => Policy::Default,
            "refuse" => Policy::Refuse,
            other => {
                return Err(wrong(format!(
                    "{setting} = {other:?}: write value, null, default or refuse"
                )));
            }
        };
        policies.push((status, policy));
    }
    if policies.iter().any(|(_, policy)| *policy == Policy::Default) == said.defaults.is_empty() {
        return Err(wrong(match said.defaults.is_empty() {
            true => format!("no defaults are given; write them under [views.{name}.defaults]"),
            false => "defaults are given that no status has; write unknown = \"default\"".into(),
        }));
    }
    let text = |(column, said): (&String, &toml::Value)| match said {
        toml::Value::String(text) => Ok((column.clone(), text.clone())),
        toml::Value::Integer(number) => Ok((column.clone(), number.to_string())),
        toml::Value::Float(number) => Ok((column.clone(), number.to_string())),
        toml::Value::Boolean(truth) => Ok((column.clone(), truth.to_string())),
        _ => Err(wrong(format!("the default of {column} is no number, text, true or false"))),
    };
    let defaults = said.defaults.iter().map(text).collect::<Result<_, _>>()?;
    Ok(ViewPolicy { policies, defaults })
}
