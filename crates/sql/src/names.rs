//! Names: how identifiers fold, how they print, and which known name a mistyped one is nearest to.

use crate::error::{Checked, refuse};
use datafusion_sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

/// Longest name in bytes: beyond any that databases accept, short enough to keep as a key's part.
pub(crate) const MAX_NAME_BYTES: usize = 128;

/// The name that an identifier means: lower case unless quoted.
pub(crate) fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The name of something that is being declared: a column or an output.
pub(crate) fn checked(ident: &Ident) -> Checked<String> {
    let name = fold(ident);
    let (what, help) = match () {
        () if name.is_empty() => ("a name cannot be empty", "write a name"),
        () if name.len() > MAX_NAME_BYTES => ("the name is longer than 128 bytes", "shorten it"),
        () if name.chars().any(char::is_control) => {
            ("the name has a control character in it", "write letters, digits and _")
        }
        () if name.starts_with(['$', '@']) => {
            ("names that begin with $ or @ are reserved", "begin it with a letter")
        }
        () => return Ok(name),
    };
    refuse(ident.span, what, help)
}

/// The name of a stream or a view that is being declared: it becomes a part of URLs, keys and file
/// names.
pub(crate) fn check_name(ident: &Ident) -> Checked<String> {
    let name = checked(ident)?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    match name.chars().all(plain) {
        true => Ok(name),
        false => refuse(
            ident.span,
            "names of streams and views are parts of URLs",
            "write letters, digits, _ and - only",
        ),
    }
}

/// The single identifier of an unqualified object name.
pub(crate) fn single(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(ident),
        _ => None,
    }
}

/// The identifier that prints as `name` does in canonical text: quoted only where it must be.
pub(crate) fn canonical(name: &str, original: &Ident) -> Ident {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let bare = name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
    let quote_style = if bare { None } else { Some('"') };
    Ident { value: name.to_string(), quote_style, span: original.span }
}

/// The candidate nearest to `name`, if one is near enough to be what was meant.
pub(crate) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = name.chars().count() / 3 + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A sentence that offers the nearest candidate, or else lists them all.
pub fn suggest<'a>(
    name: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    /// More names than this are not listed: a message is to be read.
    const LISTED: usize = 20;
    if let Some(near) = closest(name, candidates.clone()) {
        return format!("did you mean {near}?");
    }
    let mut all: Vec<&str> = candidates.into_iter().collect();
    if all.is_empty() {
        return format!("there is no {what} here");
    }
    let more = if all.len() > LISTED { ", ..." } else { "" };
    all.truncate(LISTED);
    format!("the {what}s here are {}{more}", all.join(", "))
}

/// Edits (insert, delete, replace) from one name to the other; Levenshtein 1965.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(MAX_NAME_BYTES).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(MAX_NAME_BYTES).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let known = ["amount", "merchant_id", "user_id"];
        assert_eq!(closest("amuont", known), Some("amount"));
        assert_eq!(closest("usr_id", known), Some("user_id"));
        assert_eq!(closest("latitude", known), None);
        assert_eq!(
            suggest("x", "column", known),
            "the columns here are amount, merchant_id, user_id"
        );
        assert_eq!(suggest("x", "column", []), "there is no column here");
    }

    #[test]
    fn only_names_that_need_quotes_print_with_them() {
        let print = |name: &str| canonical(name, &Ident::new("x")).to_string();
        assert_eq!(print("user_id2"), "user_id2");
        assert_eq!(print("User"), "\"User\"");
        assert_eq!(print("2nd"), "\"2nd\"");
    }
}
