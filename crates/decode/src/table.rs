//! The table that the docs print: what each type of column takes, with examples that a test runs.

use crate::schema::ColumnType;
use std::fmt::Write as _;

/// What columns of one SQL type take, and what they make of it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The type; where it has parameters, one that the examples fit.
    pub ty: ColumnType,
    /// The type's name, as a heading.
    pub name: &'static str,
    /// What a JSON number means.
    pub number: &'static str,
    /// What a JSON string or a CSV field means.
    pub text: &'static str,
    /// What JSON `true` and `false` mean.
    pub truth: &'static str,
    /// The Arrow types it takes; a database's typed values are the same.
    pub arrow: &'static str,
    /// What decides, and what is refused.
    pub rule: &'static str,
    /// JSON values that are taken, and how the value prints afterwards.
    pub takes: &'static [(&'static str, &'static str)],
    /// JSON values that make a bad event.
    pub refuses: &'static [&'static str],
}

const INT_ARROW: &str = "integers of any width; decimals and floats that are whole; text";

/// The decoding table, type by type.
pub const TABLE: &[Row] = &[
    Row {
        ty: ColumnType::Boolean,
        name: "BOOLEAN",
        number: "1 and 0",
        text: "true, false, t, f, 1, 0 in any letter case",
        truth: "itself",
        arrow: "Boolean; integers 1 and 0; text",
        rule: "Nothing else is a truth value.",
        takes: &[
            ("true", "true"),
            ("false", "false"),
            ("1", "true"),
            ("0", "false"),
            ("\"TRUE\"", "true"),
            ("\"f\"", "false"),
            ("\"1\"", "true"),
        ],
        refuses: &["2", "1.0", "-1", "\"yes\"", "\"\"", "\" true\"", "[]", "{}"],
    },
    Row {
        ty: ColumnType::SmallInt,
        name: "SMALLINT",
        number: "a whole value within 16 bits",
        text: "the same",
        truth: "bad",
        arrow: INT_ARROW,
        rule: "As BIGINT, within -32768 to 32767.",
        takes: &[("32767", "32767"), ("-32768", "-32768"), ("\"7\"", "7"), ("1e2", "100")],
        refuses: &["32768", "-32769", "\"32768\"", "0.5", "true", "\"\""],
    },
    Row {
        ty: ColumnType::Integer,
        name: "INTEGER",
        number: "a whole value within 32 bits",
        text: "the same",
        truth: "bad",
        arrow: INT_ARROW,
        rule: "As BIGINT, within -2147483648 to 2147483647.",
        takes: &[("2147483647", "2147483647"), ("-2147483648", "-2147483648"), ("\"-1\"", "-1")],
        refuses: &["2147483648", "-2147483649", "1e10", "false", "\"x\""],
    },
    Row {
        ty: ColumnType::BigInt,
        name: "BIGINT",
        number: "a whole value within 64 bits, from its text",
        text: "the same",
        truth: "bad",
        arrow: INT_ARROW,
        rule: "Integers above 2^53 stay whole. The value decides, not how it is written: `1.0` and \
               `1e3` are whole, `1.5` is not and is never rounded.",
        takes: &[
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9007199254740993", "9007199254740993"),
            ("\"9007199254740993\"", "9007199254740993"),
            ("12.00", "12"),
            ("1e3", "1000"),
            ("-0", "0"),
            ("\"+007\"", "7"),
        ],
        refuses: &[
            "9223372036854775808",
            "-9223372036854775809",
            "1e19",
            "1.5",
            "1e-1",
            "true",
            "\"\"",
            "\" 1\"",
            "\"1,000\"",
            "\"0x10\"",
            "\"NaN\"",
            "[1]",
            "{}",
        ],
    },
    Row {
        ty: ColumnType::Decimal { precision: 12, scale: 2 },
        name: "DECIMAL(p,s)",
        number: "an exact value of at most s digits after the point, from its text",
        text: "the same",
        truth: "bad",
        arrow: "decimals of up to 128 bits and any scale; integers; floats; text",
        rule: "Digits past the scale are bad, and zeros at the end are no digits: in DECIMAL(12,2) \
               `1.500` is taken and `1.505` is not. A float of a typed column is rounded to the \
               scale, half away from zero, by its exact binary value (2.675 is a little less, so \
               2.67).",
        takes: &[
            ("12.5", "12.50"),
            ("-0.01", "-0.01"),
            ("12.3400", "12.34"),
            ("1234e-2", "12.34"),
            ("9999999999.99", "9999999999.99"),
            ("\"12.34\"", "12.34"),
            ("\".5\"", "0.50"),
            ("\"5.\"", "5.00"),
            ("-0.0", "0.00"),
        ],
        refuses: &[
            "12.345",
            "1e-3",
            "10000000000",
            "1e400",
            "true",
            "\"12.345\"",
            "\"12,34\"",
            "\"\"",
            "\"NaN\"",
            "\"Infinity\"",
            "\"-\"",
            "[12]",
        ],
    },
    Row {
        ty: ColumnType::Double,
        name: "DOUBLE",
        number: "the nearest double",
        text: "the same",
        truth: "bad",
        arrow: "floats, integers and decimals of up to 128 bits; text",
        rule: "Finite only: NaN, infinities and what rounds to one are bad. -0.0 enters as 0.0. A \
               32-bit float keeps its exact value, 0.1 as 0.10000000149011612.",
        takes: &[
            ("0.1", "0.1"),
            ("-0.0", "0.0"),
            ("1e308", "1e308"),
            ("5e-324", "5e-324"),
            ("1e-400", "0.0"),
            ("9007199254740993", "9007199254740992.0"),
            ("\"3.5e2\"", "350.0"),
            ("\"-0\"", "0.0"),
        ],
        refuses: &[
            "1e309",
            "-1e309",
            "\"1e309\"",
            "\"NaN\"",
            "\"inf\"",
            "\"-Infinity\"",
            "true",
            "\"\"",
            "\"1,5\"",
            "\"0x1p3\"",
            "{}",
        ],
    },
    Row {
        ty: ColumnType::Varchar,
        name: "VARCHAR, TEXT",
        number: "bad: write it in quotes",
        text: "itself",
        truth: "bad",
        arrow: "Utf8, LargeUtf8, Utf8View",
        rule: "Kept byte for byte: no trimming, no change of letter case or Unicode form. Bytes \
               that are not UTF-8, lone surrogates and U+0000 are bad.",
        takes: &[
            ("\"\"", ""),
            ("\" a \"", " a "),
            ("\"null\"", "null"),
            ("\"\\u00e9\\n\\\"\"", "\u{e9}\n\""),
            ("\"\\ud83d\\ude00\"", "\u{1f600}"),
        ],
        refuses: &["7", "true", "\"a\\u0000\"", "\"\\ud83d\"", "[]", "{\"a\":\"b\"}"],
    },
    Row {
        ty: ColumnType::Timestamp,
        name: "TIMESTAMP",
        number: "an instant, if the stream declares `epoch_unit`; else bad",
        text: "RFC 3339; digits alone as a number",
        truth: "bad",
        arrow: "Timestamp of any unit, with a zone or without (then UTC); integers, decimals and \
                whole floats as numbers; text",
        rule: "UTC microseconds of the years 1 to 9999. A space may stand for the `T`, `+01` for \
               `+01:00`, and a time without an offset is UTC. Finer than a microsecond, second 60, \
               hour 24, and a date alone are bad.",
        takes: &[
            ("\"2026-11-24T10:00:00Z\"", "2026-11-24T10:00:00.000000Z"),
            ("\"2026-11-24 10:00:00\"", "2026-11-24T10:00:00.000000Z"),
            ("\"2026-11-24T10:00:00.123456+01:30\"", "2026-11-24T08:30:00.123456Z"),
            ("\"2026-11-24 10:00:00.5-05\"", "2026-11-24T15:00:00.500000Z"),
            ("\"2026-11-24T10:00:00.123456000Z\"", "2026-11-24T10:00:00.123456Z"),
            ("\"0001-01-01T00:00:00Z\"", "0001-01-01T00:00:00.000000Z"),
            ("\"9999-12-31T23:59:59.999999Z\"", "9999-12-31T23:59:59.999999Z"),
        ],
        refuses: &[
            "1795514400",
            "\"1795514400\"",
            "\"2026-11-24\"",
            "\"2026-11-24T10:00Z\"",
            "\"2026-11-24T10:00:00.0000001Z\"",
            "\"2026-11-24T23:59:60Z\"",
            "\"2026-11-24T24:00:00Z\"",
            "\"2026-02-29T00:00:00Z\"",
            "\"0000-12-31T23:59:59Z\"",
            "\"10000-01-01T00:00:00Z\"",
            "\"infinity\"",
            "\"\"",
            "true",
        ],
    },
    Row {
        ty: ColumnType::Date,
        name: "DATE",
        number: "bad",
        text: "YYYY-MM-DD",
        truth: "bad",
        arrow: "Date32; Date64 on whole days; text",
        rule: "Days of the years 1 to 9999. A time of day is bad, never cut.",
        takes: &[
            ("\"2026-11-24\"", "2026-11-24"),
            ("\"0001-01-01\"", "0001-01-01"),
            ("\"9999-12-31\"", "9999-12-31"),
        ],
        refuses: &[
            "20551",
            "\"20551\"",
            "\"2026-11-24T00:00:00Z\"",
            "\"2026-2-9\"",
            "\"2026-02-29\"",
            "\"0000-01-01\"",
            "\"10000-01-01\"",
            "\"\"",
            "true",
        ],
    },
];

const HEAD: &str = "\
<!-- UPDATE_DOCS=1 cargo test --release --workspace --all-features decode rewrites this. -->

# Decoding

One table says what a value becomes, whichever way it comes: pushed events, files, request rows and
rows of a database. A row is good or bad as a whole. A bad one goes to the dead letters with its
column and a reason, and the rest goes on. Nothing is guessed, cut or wrapped to make a value fit.

";

const TAIL: &str = "\
## Common to all

- **NULL** is JSON `null` or a field that is not there, an empty CSV field without quotes (`\"\"` in
  quotes is empty text), a NULL in a typed column. In a NOT NULL column it makes a bad event; the
  id and the event time are always NOT NULL.
- **Numbers in text** are a sign, digits with or without a point, and an exponent. Spaces around
  them, separators of thousands and a comma for the point are bad.
- **`epoch_unit`** is an option of the stream, `seconds`, `millis` or `micros`, and says
  what a bare number means in its TIMESTAMP columns. Fractions count down to the microsecond, and a
  number that falls outside the years 1 to 9999 is bad: so are milliseconds sent as seconds.

## JSON

One object a row; in JSON lines one a line, blank lines skipped. Names match exactly, letter case
included. Fields that the stream does not declare are ignored and counted. A declared field given
twice, an object or an array as a value, and anything that is not one whole object are bad. Nesting
in ignored fields may be of any depth: it is skipped without recursion.

## CSV

RFC 4180 in UTF-8, lines ended by LF or CR LF, a byte order mark ignored. The first line names the
columns, in any order; unknown ones are ignored and counted. Blank lines are skipped. A quote inside
a bare field, text behind a closing quote and a wrong number of fields make a bad row. A quote that
never closes ends the input with an error, and so does a header that lacks a NOT NULL column or
names one twice.

## Avro

Records of a log of which settings say so (`docs/operations.md`). A record is decoded by the schema
that its writer had: names match exactly; a field that the stream does not declare is ignored and
counted, a declared one that the schema lacks is NULL, and aliases and defaults are not looked at.

| Avro | taken as |
|---|---|
| null | NULL |
| boolean | `true` or `false` |
| int, long | an integer of a typed column |
| float | its exact value, 0.1 as 0.10000000149011612, as a 32-bit float of Parquet; write \
  double, decimal or string to keep 0.1 |
| double | a double of a typed column |
| string, with `uuid` or without | text |
| enum | its symbol, as text |
| bytes or fixed with `decimal` | a decimal of the schema's scale and of up to 128 bits; more is \
  bad, and so is one of no bytes |
| fixed of 16 with `uuid` | text such as `018f6b5e-0000-7000-8000-000000000001` |
| int with `date` | a date |
| long with `timestamp-millis`, `-micros`, `-nanos` | an instant |
| long with `local-timestamp-millis`, `-micros`, `-nanos` | the same: a time without an offset is \
  UTC |
| union | the branch that was written |
| array, map, record, bytes and fixed without `decimal`, `time-millis`, `time-micros` | bad in a \
  column |

Other logical types, and those that do not fit what they stand on, change nothing. A schema that
lacks a NOT NULL column, or that has for a column only what is bad there, is refused at the start.
Truncated records, bytes behind the last field, numbers, lengths and branches that cannot be, and
values nested deeper than 64 levels are bad; no length or count makes anything be allocated. Ignored
fields are passed over, but must be whole.

## Arrow and Parquet

Columns match by exact name; dictionaries count as their values. A column whose Arrow type is not in
the table is an error of the whole input, not of each row. A column that has its type already, and
nothing bad in it, is not copied: BOOLEAN as Boolean, integers as Int64, DECIMAL(p,s) as Decimal128
of scale s, DOUBLE as Float64, VARCHAR as Utf8, TIMESTAMP as microseconds, DATE as Date32.

## Bounds

";

/// `docs/decoding.md`.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    out.push_str("| Column | JSON number | JSON string, CSV field | JSON true, false | Arrow |\n");
    out.push_str("|---|---|---|---|---|\n");
    for row in TABLE {
        let Row { name, number, text, truth, arrow, .. } = row;
        let _ = writeln!(out, "| {name} | {number} | {text} | {truth} | {arrow} |");
    }
    for row in TABLE {
        let _ = writeln!(out, "\n## {}\n\n{}\n", row.name, row.rule);
        if row.ty.to_string() != row.name {
            let _ = writeln!(out, "Examples for {}:\n", row.ty);
        }
        out.push_str("| JSON | becomes |\n|---|---|\n");
        for (json, printed) in row.takes {
            let _ = writeln!(out, "| `{json}` | `{}` |", visible(printed));
        }
        let refused: Vec<String> = row.refuses.iter().map(|json| format!("`{json}`")).collect();
        let _ = writeln!(out, "\nBad: {}", refused.join(", "));
    }
    out.push('\n');
    out.push_str(TAIL);
    let kib = |bytes: usize| bytes >> 10;
    let _ = writeln!(
        out,
        "A value has at most {} KiB, a row of text {} KiB; more is bad. A dead letter keeps the \
         first {} KiB of a bad row.",
        kib(super::MAX_TEXT_BYTES),
        kib(super::MAX_ROW_BYTES),
        kib(super::MAX_BAD_ROW_BYTES),
    );
    out
}

/// `text` on one line of a table, in code marks that cannot hold nothing.
fn visible(text: &str) -> String {
    if text.is_empty() { "(empty text)".to_owned() } else { text.replace('\n', "\\n") }
}
