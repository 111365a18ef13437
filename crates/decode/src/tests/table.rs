//! Every example of the table, by every way in that can say it; and the docs against the code.

use super::*;
use crate::{TABLE, markdown};
use ::arrow::array::{ArrayRef, LargeStringArray, RecordBatch, StringArray, StringViewArray};
use std::path::Path;

/// What `json` becomes in a column of type `ty`, pushed as a field of an event.
fn by_json(ty: ColumnType, json: &str) -> Result<String, Fault> {
    let row = format!("{{\"x\":{json}}}");
    let decoded = single(ty, None).json_rows(&[row.as_bytes()]).unwrap();
    outcome(ty, &decoded)
}

/// The same for a JSON string, as a quoted CSV field.
fn by_csv(ty: ColumnType, text: &str) -> Result<String, Fault> {
    let file = format!("x\n\"{}\"\n", text.replace('"', "\"\""));
    outcome(ty, &single(ty, None).csv(file.as_bytes()).unwrap())
}

/// The same, as each of Arrow's kinds of text.
fn by_arrow(ty: ColumnType, text: &str) -> Vec<Result<String, Fault>> {
    let arrays: [ArrayRef; 3] = [
        Arc::new(StringArray::from(vec![text])),
        Arc::new(LargeStringArray::from(vec![text])),
        Arc::new(StringViewArray::from(vec![text])),
    ];
    let decode = |array: ArrayRef| {
        let batch = RecordBatch::try_from_iter([("x", array)]).unwrap();
        outcome(ty, &single(ty, None).arrow(&batch).unwrap())
    };
    arrays.into_iter().map(decode).collect()
}

fn outcome(ty: ColumnType, decoded: &Decoded) -> Result<String, Fault> {
    match (&values(decoded, 0)[..], &decoded.bad[..]) {
        ([value], []) => Ok(printed(ty, value)),
        ([], [bad]) => {
            assert_eq!(bad.column.as_deref().unwrap_or("x"), "x");
            assert!(bad.reason.len() > 10, "{bad}");
            Err(bad.fault)
        }
        other => panic!("{other:?}"),
    }
}

fn unquoted(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

#[test]
fn what_the_table_says_is_taken_becomes_what_it_says() {
    let mut examples = 0;
    for row in TABLE {
        for (json, want) in row.takes {
            let want = Ok((*want).to_owned());
            assert_eq!(by_json(row.ty, json), want, "{} from {json}", row.name);
            if let Some(text) = unquoted(json) {
                assert_eq!(by_csv(row.ty, &text), want, "{} from CSV {text:?}", row.name);
                assert_eq!(by_arrow(row.ty, &text), vec![want; 3], "{} from {text:?}", row.name);
            }
            examples += 1;
        }
    }
    assert!(examples > 40);
}

#[test]
fn what_the_table_says_is_bad_is_bad_by_every_way_in() {
    for row in TABLE {
        for json in row.refuses {
            let fault = by_json(row.ty, json);
            assert!(fault.is_err(), "{} took {json} as {fault:?}", row.name);
            if let Some(text) = unquoted(json) {
                assert_eq!(by_csv(row.ty, &text), fault, "{} from CSV {text:?}", row.name);
                assert_eq!(by_arrow(row.ty, &text), vec![fault; 3], "{} from {text:?}", row.name);
            }
        }
    }
}

#[test]
fn what_a_column_prints_it_takes_again_as_json_text_and_csv() {
    for row in TABLE {
        for (_, printed) in row.takes {
            let quoted = serde_json::to_string(printed).unwrap();
            assert_eq!(by_json(row.ty, &quoted), Ok((*printed).to_owned()), "{}", row.name);
            assert_eq!(by_csv(row.ty, printed), Ok((*printed).to_owned()), "{}", row.name);
        }
    }
}

#[test]
fn every_type_has_its_row() {
    let types = TABLE.iter().map(|row| std::mem::discriminant(&row.ty));
    assert_eq!(types.collect::<std::collections::HashSet<_>>().len(), 9);
}

#[test]
fn the_docs_print_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/decoding.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written == markdown(), "docs/decoding.md is stale; rerun with UPDATE_DOCS=1");
}
