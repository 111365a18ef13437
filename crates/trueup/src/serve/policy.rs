//! What a view returns in place of values of some status: what SQL says, NULL, a default that
//! settings give, or nothing for the whole request. The status always tells; a policy changes
//! values, never statuses.

use super::answer::RowAnswer;
use super::status::Status;
use arrow::array::StringArray;
use arrow::compute::{CastOptions, cast_with_options};
use std::collections::BTreeMap;
use trueup_core::Value;
use trueup_sql::{Output, View, raw_value_at, sql_type};

/// What is returned for values of one status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// SQL's value; NULL where there is none.
    #[default]
    Value,
    /// NULL.
    Null,
    /// The column's default.
    Default,
    /// No answer at all.
    Refuse,
}

/// What settings say of one view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewPolicy {
    /// For each status that has one.
    pub policies: Vec<(Status, Policy)>,
    /// Defaults by column, as they are written.
    pub defaults: BTreeMap<String, String>,
}

/// Policies by view.
pub type Policies = BTreeMap<String, ViewPolicy>;

/// A view's policy with the defaults as its columns have them.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    by_status: [Policy; Status::ALL.len()],
    /// For each column of the view.
    defaults: Vec<Option<Value>>,
}

/// A value for which a view's policy refuses the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The row of the request.
    pub row: usize,
    /// The column.
    pub column: String,
    /// What the value is worth.
    pub status: Status,
    /// And why, where there is something to say.
    pub reason: Option<String>,
}

impl Rules {
    /// The rules of a view.
    ///
    /// # Errors
    /// A default is for no column of the view, or is none of its type.
    pub fn of(view: &View, said: &ViewPolicy) -> Result<Rules, String> {
        let mut rules = Rules { defaults: vec![None; view.outputs.len()], ..Rules::default() };
        for &(status, policy) in &said.policies {
            rules.by_status[status as usize] = policy;
        }
        for (name, text) in &said.defaults {
            let place = view.outputs.iter().position(|output| output.name == *name);
            let place = place.ok_or_else(|| {
                let names: Vec<&str> = view.outputs.iter().map(|it| it.name.as_str()).collect();
                format!(
                    "[views.{}.defaults]: the view has no column {name}; it has: {}",
                    view.name,
                    names.join(", ")
                )
            })?;
            rules.defaults[place] = Some(default(view, &view.outputs[place], text)?);
        }
        Ok(rules)
    }

    fn policy(&self, status: Status) -> Policy {
        self.by_status[status as usize]
    }

    /// The value of the column `number` of the view as the policy has it, by the status that the
    /// row was told last; the row is told if it is the default.
    pub(super) fn apply(&self, number: usize, value: Value, row: &mut RowAnswer) -> Value {
        let Some((status, _)) = row.statuses.last() else { return value };
        match (self.policy(*status), self.defaults.get(number)) {
            (Policy::Value | Policy::Refuse, _) => value,
            (Policy::Default, Some(Some(default))) => {
                row.defaulted.push(row.statuses.len() - 1);
                default.clone()
            }
            (Policy::Null | Policy::Default, _) => Value::Null,
        }
    }

    /// The first value for which the request is refused.
    pub(super) fn refused(
        &self,
        view: &View,
        columns: &[usize],
        rows: &[RowAnswer],
    ) -> Option<Refused> {
        if !self.by_status.contains(&Policy::Refuse) {
            return None;
        }
        let statuses = rows.iter().enumerate().flat_map(|(row, answer)| {
            answer.statuses.iter().zip(columns).map(move |(told, &column)| (row, column, told))
        });
        let mut refused =
            statuses.filter(|(_, _, (status, _))| self.policy(*status) == Policy::Refuse);
        refused.next().map(|(row, column, (status, reason))| Refused {
            row,
            column: view.outputs[column].name.clone(),
            status: *status,
            reason: reason.clone(),
        })
    }
}

/// A default as the column's type has it.
fn default(view: &View, output: &Output, text: &str) -> Result<Value, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let text_array = StringArray::from(vec![text]);
    let cast = cast_with_options(&text_array, &output.ty, &options);
    cast.map(|value| raw_value_at(&value, 0)).map_err(|_| {
        format!(
            "[views.{}.defaults] {}: {text:?} is no {}",
            view.name,
            output.name,
            sql_type(&output.ty)
        )
    })
}
