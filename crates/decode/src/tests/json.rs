//! JSON rows and lines.

use super::*;
use crate::{Cell, MAX_ROW_BYTES, MAX_TEXT_BYTES};

const GOOD: &str = r#"{"id":1,"at":"2026-11-24T10:00:00Z","user":2,"amount":3.5,"status":"ok"}"#;

fn rows(rows: &[&str]) -> Decoded {
    transactions().json_rows(rows).unwrap()
}

#[test]
fn good_rows_make_a_batch_of_the_streams_schema_and_bad_ones_stand_apart() {
    let decoded = rows(&[GOOD, r#"{"id":"x"}"#, GOOD, "", "[]", GOOD]);
    assert_eq!(decoded.batch.schema(), transactions().stream().schema);
    assert_eq!(decoded.kept, [0, 2, 5]);
    let bad: Vec<_> = decoded.bad.iter().map(|bad| (bad.index, bad.fault.name())).collect();
    assert_eq!(bad, [(1, "bad_type"), (3, "bad_syntax"), (4, "bad_syntax")]);
    assert_eq!(decoded.bad[0].row, br#"{"id":"x"}"#);
    assert_eq!(decoded.bad[0].column.as_deref(), Some("id"));
    assert_eq!(values(&decoded, 3), vec![Value::Decimal(350); 3]);
    assert_eq!(values(&decoded, 4), vec![Value::Text("ok".into()); 3]);
}

#[test]
fn no_rows_make_an_empty_batch() {
    let decoded = rows(&[]);
    assert_eq!((decoded.batch.num_rows(), decoded.bad.len()), (0, 0));
    assert_eq!(decoded.batch.num_columns(), 5);
}

#[test]
fn a_missing_field_is_null_and_bad_in_a_not_null_column() {
    let decoded = rows(&[
        r#"{"at":"2026-11-24 10:00:00","id":7}"#,
        r#"{"id":7}"#,
        r#"{"id":null,"at":"2026-11-24 10:00:00"}"#,
    ]);
    assert_eq!(values(&decoded, 2), [Value::Null]);
    let bad: Vec<_> = decoded.bad.iter().map(|bad| (bad.column.as_deref(), bad.fault)).collect();
    assert_eq!(bad, [(Some("at"), Fault::Null), (Some("id"), Fault::Null)]);
}

#[test]
fn a_request_row_may_lack_its_event_time_where_the_caller_allows_it() {
    let decoder = transactions().allow_null([1, 99]);
    let decoded = decoder.json_rows(&[r#"{"id":7}"#, r#"{"user":7}"#]).unwrap();
    assert_eq!(values(&decoded, 1), [Value::Null]);
    assert_eq!(only_bad(&decoded), (1, Some("id"), Fault::Null));
    assert!(decoded.batch.schema().field(1).is_nullable());
    assert!(!decoded.batch.schema().field(0).is_nullable());
}

#[test]
fn fields_that_no_column_takes_are_counted_and_names_match_exactly() {
    let row = r#"{"ID":9,"id":7,"at":"2026-11-24 10:00:00","x":{"id":1},"y":[1,[2]],"User":3}"#;
    let decoded = rows(&[row]);
    assert_eq!(decoded.unknown_fields, 4);
    let names: Vec<&str> = decoded.unknown_names.iter().map(String::as_str).collect();
    assert_eq!(names, ["ID", "User", "x", "y"]);
    assert_eq!(values(&decoded, 0), [Value::Int(7)]);
    assert_eq!(values(&decoded, 2), [Value::Null]);
}

/// A producer that makes names up would fill the memory, or the log, with them.
#[test]
fn names_that_no_column_has_are_told_within_bounds() {
    let many: Vec<String> = (0..100).map(|n| format!("{{\"name{n}\":1}}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let decoded = rows(&many);
    assert_eq!((decoded.unknown_fields, decoded.unknown_names.len()), (100, 16));
    let decoded = rows(&[&format!("{{\"{}\":1}}", "x".repeat(129))]);
    assert_eq!((decoded.unknown_fields, decoded.unknown_names.len()), (1, 0));
}

#[test]
fn a_name_may_be_written_with_escapes_and_fields_in_any_order() {
    let row = r#"{"status":"a\tb","\u0061mount":"1","at":"2026-11-24 10:00:00","\u0069d":7}"#;
    let decoded = rows(&[row]);
    assert_eq!(values(&decoded, 0), [Value::Int(7)]);
    assert_eq!(values(&decoded, 3), [Value::Decimal(100)]);
    assert_eq!(values(&decoded, 4), [Value::Text("a\tb".into())]);
}

#[test]
fn a_field_given_twice_is_bad_even_with_one_value() {
    let row = r#"{"id":1,"at":"2026-11-24T10:00:00Z","user":2,"user":2}"#;
    let decoded = rows(&[row, r#"{"id":null,"id":1}"#, r#"{"id":1,"\u0069d":1}"#]);
    assert_eq!(decoded.bad.len(), 3);
    for bad in &decoded.bad {
        assert_eq!(bad.fault, Fault::Syntax);
        assert!(bad.reason.contains("given twice"), "{bad}");
    }
}

#[test]
fn what_is_not_one_whole_object_is_bad() {
    for row in [
        "",
        " ",
        "null",
        "1",
        "[1]",
        "\"a\"",
        "{",
        "}",
        "{\"id\"}",
        "{\"id\":}",
        "{\"id\":1,}",
        "{\"id\":1}{}",
        "{\"id\":1} x",
        "{id:1}",
        "{'id':1}",
        "{\"id\":01}",
        "{\"id\":+1}",
        "{\"id\":.5}",
        "{\"id\":1.}",
        "{\"id\":NaN}",
        "{\"id\":Infinity}",
        "{\"id\":-}",
        "{\"id\":\"a\nb\"}",
        "{\"id\":\"\\x\"}",
        "{\"id\":tru}",
        "\u{feff}{}",
    ] {
        assert_eq!(only_bad(&rows(&[row])), (0, None, Fault::Syntax), "{row:?}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_bad_and_never_replaced() {
    let mut row = GOOD.as_bytes().to_vec();
    let place = GOOD.find("ok").unwrap();
    row[place] = 0xff;
    assert_eq!(transactions().json_rows(&[&row]).unwrap().bad.len(), 1);
    let mut unknown = br#"{"id":1,"at":"2026-11-24 10:00:00","z":""#.to_vec();
    unknown.extend([0xc3, 0x28, b'"', b'}']);
    assert_eq!(transactions().json_rows(&[&unknown]).unwrap().bad.len(), 1);
}

#[test]
fn values_and_rows_above_their_bounds_are_bad() {
    let decoder = single(ColumnType::Varchar, None);
    let row = |length: usize| format!("{{\"x\":\"{}\"}}", "a".repeat(length));
    let decoded = decoder.json_rows(&[row(MAX_TEXT_BYTES), row(MAX_TEXT_BYTES + 1)]).unwrap();
    assert_eq!(decoded.kept, [0]);
    assert_eq!(only_bad(&decoded), (1, Some("x"), Fault::Size));
    assert_eq!(decoded.bad[0].row.len(), crate::MAX_BAD_ROW_BYTES);
    let wide = format!("{{\"y\":\"{}\"}}", "a".repeat(MAX_ROW_BYTES));
    assert_eq!(only_bad(&decoder.json_rows(&[wide]).unwrap()), (0, None, Fault::Size));
    let digits = format!("{{\"x\":{}}}", "1".repeat(MAX_TEXT_BYTES + 1));
    let decoded = single(ColumnType::Double, None).json_rows(&[digits]).unwrap();
    assert_eq!(only_bad(&decoded), (0, Some("x"), Fault::Size));
}

#[test]
fn lines_are_numbered_as_an_editor_does_and_blank_ones_skipped() {
    let text = format!("\u{feff}{GOOD}\n\n  \r\n{GOOD}\r\n{{\"id\":1}}\n{GOOD}");
    let decoded = transactions().json_lines(text.as_bytes()).unwrap();
    assert_eq!(decoded.kept, [0, 3, 5]);
    assert_eq!(only_bad(&decoded), (4, Some("at"), Fault::Null));
    assert_eq!(transactions().json_lines(b"").unwrap().kept.len(), 0);
}

#[test]
fn a_reader_gives_what_the_whole_text_gives_and_outlives_an_endless_line() {
    let mut text = String::new();
    for line in 0..60_000 {
        match line {
            3 => text.push_str("{\n"),
            40_000 => text.push_str(&format!("{{\"z\":\"{}\"}}\n", "z".repeat(9 << 20))),
            _ => text.push_str(&format!("{GOOD}{}\n", " ".repeat(line % 97))),
        }
    }
    let whole = transactions().json_lines(text.as_bytes()).unwrap();
    let parts: Vec<_> =
        transactions().json_reader(text.as_bytes()).unwrap().map(Result::unwrap).collect();
    assert!(parts.len() > 2);
    let kept: Vec<usize> = parts.iter().flat_map(|part| part.kept.clone()).collect();
    assert_eq!(kept, whole.kept);
    let bad = |decoded: &Decoded| {
        decoded.bad.iter().map(|bad| (bad.index, bad.fault)).collect::<Vec<_>>()
    };
    let found: Vec<_> = parts.iter().flat_map(bad).collect();
    assert_eq!(found, [(3, Fault::Syntax), (40_000, Fault::Size)]);
    assert_eq!(found, bad(&whole));
}

#[test]
fn a_bare_number_is_a_time_only_where_the_stream_declares_its_unit() {
    let row = [r#"{"x":1795514400}"#, r#"{"x":"1795514400.25"}"#];
    let decoder = single(ColumnType::Timestamp, Some(EpochUnit::Seconds));
    let decoded = decoder.json_rows(&row).unwrap();
    let wanted = [Value::Time(1_795_514_400_000_000), Value::Time(1_795_514_400_250_000)];
    assert_eq!(values(&decoded, 0), wanted);
    let decoded = single(ColumnType::Timestamp, None).json_rows(&row).unwrap();
    assert!(decoded.bad[0].reason.contains("epoch_unit"), "{}", decoded.bad[0]);
    assert_eq!(decoded.bad[0].fault, Fault::Time);
    assert_eq!(decoded.bad[1].fault, Fault::Time);
}

#[test]
fn one_value_is_decoded_by_the_same_rules() {
    let decoder = transactions();
    assert_eq!(decoder.value(2, Cell::Text("42")), Ok(Value::Int(42)));
    assert_eq!(decoder.value(2, Cell::Null), Ok(Value::Null));
    assert_eq!(decoder.value(0, Cell::Null).unwrap_err().fault, Fault::Null);
    assert_eq!(decoder.value(3, Cell::Double(0.125)), Ok(Value::Decimal(13)));
    assert_eq!(decoder.value(9, Cell::Null).unwrap_err().fault, Fault::Type);
}

#[test]
fn rows_of_a_database_are_decoded_by_the_same_rules() {
    let at = Cell::Text("2026-11-24 10:00:00");
    let good = vec![Cell::Int(1), at, Cell::Null, Cell::Double(12.345), Cell::Text("ok")];
    let long = vec![Cell::Int(1), at, Cell::Int(2), Cell::Int(3), Cell::Null, Cell::Bool(true)];
    let rows = [good, vec![Cell::Int(2)], long];
    let decoded = transactions().rows(&rows).unwrap();
    assert_eq!(values(&decoded, 3), [Value::Decimal(1235), Value::Decimal(300)]);
    assert_eq!(only_bad(&decoded), (1, Some("at"), Fault::Null));
    assert_eq!(decoded.unknown_fields, 1);
}
