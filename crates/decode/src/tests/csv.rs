//! CSV, its quotes and its header.

use super::*;
use crate::{DecodeError, MAX_ROW_BYTES};

fn texts(file: &str) -> Decoded {
    let columns = [("a", ColumnType::Varchar), ("b", ColumnType::Varchar)];
    Decoder::new(stream(&columns, None)).csv(file.as_bytes()).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn an_empty_field_is_null_and_an_empty_quoted_one_is_empty_text() {
    let decoded = texts("a,b\n,\"\"\n\"\",\n");
    assert_eq!(values(&decoded, 0), [Value::Null, text("")]);
    assert_eq!(values(&decoded, 1), [text(""), Value::Null]);
}

#[test]
fn quotes_hold_commas_line_ends_and_quotes() {
    let decoded = texts("a,b\r\n\"x,\"\"y\"\"\",\"1\r\n2\n\"\r\n\"\"\"\",z\r\n");
    assert_eq!(values(&decoded, 0), [text("x,\"y\""), text("\"")]);
    assert_eq!(values(&decoded, 1), [text("1\r\n2\n"), text("z")]);
    assert_eq!(decoded.kept, [1, 4]);
}

#[test]
fn bare_fields_keep_their_spaces_and_a_lone_carriage_return() {
    let decoded = texts("a,b\n x ,y\rz\n1,2");
    assert_eq!(values(&decoded, 0), [text(" x "), text("1")]);
    assert_eq!(values(&decoded, 1), [text("y\rz"), text("2")]);
}

#[test]
fn columns_stand_in_any_order_and_unknown_ones_are_counted() {
    let decoded = texts("\u{feff}z,\"b\",a,B\n1,2,3,4\n\n5,6,7,8\n");
    assert_eq!(values(&decoded, 0), [text("3"), text("7")]);
    assert_eq!(values(&decoded, 1), [text("2"), text("6")]);
    assert_eq!((decoded.unknown_fields, decoded.kept), (4, vec![1, 3]));
}

#[test]
fn a_column_that_the_header_lacks_is_null_unless_it_must_not_be() {
    let decoded = texts("b\nx\n");
    assert_eq!(values(&decoded, 0), [Value::Null]);
    let error = transactions().csv(b"id,user\n1,2\n").unwrap_err();
    assert!(matches!(&error, DecodeError::MissingColumn { column } if column == "at"), "{error}");
    let free = transactions().allow_null([1]);
    assert_eq!(free.csv(b"id,user\n1,2\n").unwrap().kept, [1]);
}

#[test]
fn a_header_is_one_line_of_names_each_once() {
    let decode = |file: &[u8]| single(ColumnType::Varchar, None).csv(file);
    let refused = |file: &[u8]| decode(file).unwrap_err();
    assert!(matches!(refused(b""), DecodeError::Framing { line: 1, .. }));
    assert!(matches!(refused(b"\"x\n1"), DecodeError::Framing { line: 1, .. }));
    assert!(matches!(refused(b"x,\xff\n"), DecodeError::Framing { line: 1, .. }));
    assert!(matches!(refused(b"x,y,x\n"), DecodeError::RepeatedColumn { .. }));
    assert_eq!(decode(b"x,y,y").unwrap().kept.len(), 0);
}

#[test]
fn a_broken_row_is_bad_and_the_next_one_is_read() {
    for row in ["1", "1,2,3", "1,2\"", "1,\"2\"x", "\"1\" ,2", "1,"] {
        let decoded = texts(&format!("a,b\n{row}\nx,y\n"));
        if row == "1," {
            assert_eq!(decoded.kept, [1, 2]);
            continue;
        }
        assert_eq!(only_bad(&decoded), (1, None, Fault::Syntax), "{row}");
        assert_eq!(decoded.bad[0].row, row.as_bytes());
        assert_eq!(values(&decoded, 0), [text("x")], "{row}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_make_a_bad_row() {
    let decoder = single(ColumnType::Varchar, None);
    let decoded = decoder.csv(b"x\na\n\xff\n\xc3\xa9\n").unwrap();
    assert_eq!(only_bad(&decoded), (2, None, Fault::Text));
    assert_eq!(values(&decoded, 0), [text("a"), text("\u{e9}")]);
}

#[test]
fn a_quote_that_never_closes_ends_the_input_and_the_rows_before_it_are_given() {
    let file = "x\n1\n\"2\n3\n";
    let decoder = single(ColumnType::Varchar, None);
    let error = decoder.csv(file.as_bytes()).unwrap_err();
    assert!(matches!(error, DecodeError::Framing { line: 3, .. }), "{error}");
    let mut reader = decoder.csv_reader(file.as_bytes()).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().kept, [1]);
    assert!(matches!(reader.next(), Some(Err(DecodeError::Framing { line: 3, .. }))));
    assert!(reader.next().is_none());
}

#[test]
fn a_reader_gives_what_the_whole_text_gives_wherever_its_chunks_end() {
    let mut file = String::from("b,a\n");
    for row in 0..120_000 {
        let pad = "\"\"".repeat(row % 61);
        match row {
            77 => file.push_str("\"x\" y,1\n"),
            90_000 => file.push_str(&format!("{},1\n", "w".repeat(MAX_ROW_BYTES))),
            _ => file.push_str(&format!("\"{row}\n{pad}\",{row}\r\n")),
        }
    }
    let columns = [("a", ColumnType::BigInt), ("b", ColumnType::Varchar)];
    let decoder = Decoder::new(stream(&columns, None));
    let whole = decoder.csv(file.as_bytes()).unwrap();
    let parts: Vec<_> = decoder.csv_reader(file.as_bytes()).unwrap().map(Result::unwrap).collect();
    assert!(parts.len() > 1);
    assert_eq!(whole.kept.len(), 119_998);
    let faults: Vec<_> = whole.bad.iter().map(|bad| bad.fault).collect();
    assert_eq!(faults, [Fault::Syntax, Fault::Size]);
    assert_eq!(parts.iter().flat_map(|part| part.kept.clone()).collect::<Vec<_>>(), whole.kept);
    assert_eq!(parts.iter().flat_map(|part| part.bad.clone()).collect::<Vec<_>>(), whole.bad);
    for column in 0..2 {
        let joined: Vec<_> = parts.iter().flat_map(|part| values(part, column)).collect();
        assert!(joined == values(&whole, column));
    }
}
