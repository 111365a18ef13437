//! Avro records, written here byte by byte as the specification says; that another implementation
//! writes them so is tested where records come from a log.

use super::*;
use crate::{AvroSchema, AvroSchemas, Cell, MAX_ROW_BYTES};
use serde_json::{Value as Json, json};

/// Bytes of a long: zigzag, then seven bits a byte.
fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut out = Vec::new();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

/// Bytes behind their length.
fn block(bytes: &[u8]) -> Vec<u8> {
    [long(bytes.len() as i64), bytes.to_vec()].concat()
}

fn schema(json: &Json) -> AvroSchema {
    AvroSchema::parse("t.avsc", &json.to_string()).unwrap()
}

/// A schema of one field `x`.
fn of_x(ty: &Json) -> Json {
    json!({ "type": "record", "name": "t", "fields": [{ "name": "x", "type": ty }] })
}

/// The schema of bare records.
fn bare(json: &Json) -> AvroSchemas {
    AvroSchemas::new("avro.t", vec![schema(json)], Vec::new())
}

/// What `datum` of Avro type `avro` becomes in a column of type `ty`, or the fault and the reason.
fn taken(avro: &Json, ty: ColumnType, datum: &[u8]) -> Result<String, (Fault, String)> {
    let decoded = single(ty, None).avro_rows(&bare(&of_x(avro)), &[datum]).unwrap();
    match (&values(&decoded, 0)[..], &decoded.bad[..]) {
        ([value], []) => Ok(printed(ty, value)),
        ([], [bad]) => {
            assert_eq!(bad.row, datum);
            let place = bad.column.as_ref().map_or("", |_| "column x: ");
            Err((bad.fault, format!("{place}{}", bad.reason)))
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_bad(avro: &Json, ty: ColumnType, datum: &[u8], fault: Fault, part: &str) {
    let (found, reason) = taken(avro, ty, datum).unwrap_err();
    assert!(found == fault && reason.contains(part), "{found:?}: {reason}");
}

const AMOUNT: ColumnType = ColumnType::Decimal { precision: 12, scale: 2 };

#[test]
fn each_type_becomes_what_the_docs_say() {
    let decimal = json!({ "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 });
    let fixed = json!({ "type": "fixed", "name": "d", "size": 20, "logicalType": "decimal",
                        "precision": 30, "scale": 2 });
    let id = json!({ "type": "fixed", "name": "u", "size": 16, "logicalType": "uuid" });
    let status = json!({ "type": "enum", "name": "s", "symbols": ["approved", "declined"] });
    let on = |under: &str, logical: &str| json!({ "type": under, "logicalType": logical });
    let minus = [&[0xFF; 19][..], &[0x85]].concat();
    let uuid: Vec<u8> = (0..16).collect();
    let noon = 1_795_608_000_123_456i64;
    let cases: Vec<(Json, ColumnType, Vec<u8>, &str)> = vec![
        (json!("null"), AMOUNT, vec![], "NULL"),
        (json!("boolean"), ColumnType::Boolean, vec![1], "true"),
        (json!("int"), ColumnType::Integer, long(-7), "-7"),
        (json!("int"), AMOUNT, long(i64::from(i32::MIN)), "-2147483648.00"),
        (json!("long"), ColumnType::BigInt, long(i64::MIN), "-9223372036854775808"),
        (json!("long"), ColumnType::BigInt, long(i64::MAX), "9223372036854775807"),
        (json!("float"), ColumnType::Double, 0.1f32.to_le_bytes().into(), "0.10000000149011612"),
        (json!("double"), ColumnType::Double, 0.1f64.to_le_bytes().into(), "0.1"),
        (json!("double"), AMOUNT, 2.675f64.to_le_bytes().into(), "2.67"),
        (json!("string"), ColumnType::Varchar, block("é".as_bytes()), "é"),
        (json!("string"), AMOUNT, block(b"12.34"), "12.34"),
        (on("string", "uuid"), ColumnType::Varchar, block(b"any"), "any"),
        (id, ColumnType::Varchar, uuid, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (status, ColumnType::Varchar, long(1), "declined"),
        (decimal.clone(), AMOUNT, block(&[0x04, 0xD2]), "12.34"),
        (decimal.clone(), AMOUNT, block(&[0xFF]), "-0.01"),
        (decimal, AMOUNT, block(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]), "1.28"),
        (fixed, AMOUNT, minus, "-1.23"),
        (on("int", "date"), ColumnType::Date, long(20_551), "2026-04-08"),
        (
            on("long", "timestamp-millis"),
            ColumnType::Timestamp,
            long(noon / 1_000),
            "2026-11-25T12:00:00.123000Z",
        ),
        (
            on("long", "timestamp-micros"),
            ColumnType::Timestamp,
            long(noon),
            "2026-11-25T12:00:00.123456Z",
        ),
        (
            on("long", "timestamp-nanos"),
            ColumnType::Timestamp,
            long(noon * 1_000),
            "2026-11-25T12:00:00.123456Z",
        ),
        (
            on("long", "local-timestamp-micros"),
            ColumnType::Timestamp,
            long(noon),
            "2026-11-25T12:00:00.123456Z",
        ),
        (json!(["null", "long"]), ColumnType::BigInt, long(0), "NULL"),
        (json!(["null", "long"]), ColumnType::BigInt, [long(1), long(5)].concat(), "5"),
        (json!([on("long", "timestamp-micros"), "null"]), ColumnType::Timestamp, long(1), "NULL"),
        // A logical type that does not fit is none.
        (on("long", "date"), ColumnType::BigInt, long(3), "3"),
        (on("int", "timestamp-micros"), ColumnType::BigInt, long(3), "3"),
        (on("string", "made-up"), ColumnType::Varchar, block(b"x"), "x"),
    ];
    for (avro, ty, datum, wanted) in cases {
        assert_eq!(taken(&avro, ty, &datum), Ok(wanted.to_owned()), "{avro} in {ty}");
    }
}

#[test]
fn what_no_column_takes_is_bad_in_a_column_with_its_reason() {
    let bytes = || ColumnType::Varchar;
    let list = json!({ "type": "array", "items": "int" });
    let map = json!({ "type": "map", "values": "int" });
    let inner = json!({ "type": "record", "name": "i", "fields": [] });
    let daytime = json!({ "type": "int", "logicalType": "time-millis" });
    let wide = json!({ "type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 0 });
    let items = [long(1), long(5), long(0)].concat();
    let pairs = [long(1), block(b"k"), long(5), long(0)].concat();
    let huge = block(&[&[1][..], &[0; 16]].concat());
    let (ty, range) = (Fault::Type, Fault::Range);
    assert_bad(&list, bytes(), &items, ty, "column x: VARCHAR does not take an array");
    assert_bad(&map, bytes(), &pairs, ty, "column x: VARCHAR does not take a map");
    assert_bad(&inner, bytes(), &[], ty, "column x: VARCHAR does not take a nested record");
    assert_bad(&json!("bytes"), bytes(), &block(b"x"), ty, "without the logical type decimal");
    assert_bad(&daytime, ColumnType::BigInt, &long(5), ty, "a time of day");
    assert_bad(&wide, AMOUNT, &huge, range, "more than 38 digits");
    assert_bad(&wide, AMOUNT, &block(&[]), range, "a decimal of no bytes");
    assert_bad(&json!("string"), bytes(), &block(&[0xFF]), Fault::Text, "not UTF-8");
    assert_bad(&json!("string"), bytes(), &block(b"a\0"), Fault::Text, "U+0000");
    let nan = f64::NAN.to_le_bytes();
    assert_bad(&json!("double"), ColumnType::Double, &nan, Fault::NotFinite, "");
    assert_bad(&json!("long"), ColumnType::Timestamp, &long(5), Fault::Time, "epoch_unit");
    let nanos = json!({ "type": "long", "logicalType": "timestamp-nanos" });
    assert_bad(&nanos, ColumnType::Timestamp, &long(1), Fault::Time, "finer");
    let some = json!({ "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3 });
    assert_bad(&some, AMOUNT, &block(&[1]), Fault::Precision, "");
}

/// A record that is cut, or that a wrong schema happens to fit, would count with values that nobody
/// sent.
#[test]
fn a_record_that_is_not_one_whole_datum_is_bad() {
    let big = ColumnType::BigInt;
    let whole = [long(1), long(300)].concat();
    let optional = json!(["null", "long"]);
    for end in 0..whole.len() {
        assert_bad(&optional, big, &whole[..end], Fault::Syntax, "field x: the record ends inside");
    }
    let more = [whole, vec![0]].concat();
    assert_bad(&optional, big, &more, Fault::Syntax, "1 bytes follow its last field");
    assert_bad(&optional, big, &long(2), Fault::Syntax, "no branch");
    assert_bad(&optional, big, &long(-1), Fault::Syntax, "negative");
    assert_bad(&json!("boolean"), ColumnType::Boolean, &[2], Fault::Syntax, "neither 0 nor 1");
    assert_bad(&json!("int"), big, &long(1 << 31), Fault::Syntax, "more than 32 bits");
    assert_bad(&json!("long"), big, &[0xFF; 10], Fault::Syntax, "more than 64 bits");
    assert_bad(&json!("long"), big, &[0xFF; 9], Fault::Syntax, "ends inside");
    assert_bad(&json!("string"), big, &long(-1), Fault::Syntax, "a length is negative");
    let long_row = vec![0; MAX_ROW_BYTES + 1];
    let decoded = single(big, None).avro_rows(&bare(&of_x(&optional)), &[long_row]).unwrap();
    assert_eq!(decoded.bad[0].fault, Fault::Size);
}

/// Ten bytes that claim gigabytes, or for ever, end the process or hold a stream up.
#[test]
fn lengths_and_counts_that_claim_more_than_there_is_cost_nothing() {
    let small_stack = std::thread::Builder::new().stack_size(256 << 10);
    let job = small_stack.spawn(|| {
        for (avro, datum) in [
            (json!("string"), long(1 << 40)),
            (json!("bytes"), long(i64::MAX)),
            (json!({ "type": "array", "items": "long" }), long(i64::MAX)),
            (json!({ "type": "array", "items": "null" }), long(i64::MAX)),
            (json!({ "type": "array", "items": "null" }), long(i64::MIN)),
            (json!({ "type": "map", "values": "null" }), [long(-5), long(1 << 50)].concat()),
            (json!({ "type": "fixed", "name": "f", "size": 1u64 << 40 }), vec![]),
        ] {
            let decoded = single(ColumnType::Varchar, None);
            let decoded = decoded.avro_rows(&bare(&of_x(&avro)), &[datum]).unwrap();
            assert_eq!(only_bad(&decoded).2, Fault::Syntax, "{avro}");
        }
        let twice = |nth: usize| {
            let inner = if nth == 0 { json!("null") } else { json!(format!("r{}", nth - 1)) };
            let [a, b] = ["a", "b"].map(|name| json!({ "name": name, "type": inner }));
            json!({ "type": "record", "name": format!("r{nth}"), "fields": [a, b] })
        };
        let fields = (0..40).map(|nth| json!({ "name": format!("f{nth}"), "type": twice(nth) }));
        let fields: Vec<Json> = fields.collect();
        let doubling = json!({ "type": "record", "name": "t", "fields": fields });
        let decoded = single(ColumnType::Varchar, None).avro_rows(&bare(&doubling), &[b""]);
        assert!(decoded.unwrap().bad[0].reason.contains("more values"));
    });
    job.unwrap().join().unwrap();
}

/// A type that holds itself lets a record choose how deep the reader recurses.
#[test]
fn a_record_may_nest_as_deep_as_it_likes_without_overflowing_the_stack() {
    let list = json!({ "type": "record", "name": "n", "fields": [
        { "name": "next", "type": ["null", "n"] } ] });
    let itself = json!({ "type": "record", "name": "n", "fields": [
        { "name": "x", "type": "n" } ] });
    let small_stack = std::thread::Builder::new().stack_size(256 << 10);
    let job = small_stack.spawn(move || {
        let decoder = single(ColumnType::BigInt, None);
        let deep = vec![2; MAX_ROW_BYTES];
        let some = [vec![2; 20], vec![0]].concat();
        let decoded = decoder.avro_rows(&bare(&list), &[deep, some]).unwrap();
        assert_eq!(only_bad(&decoded), (0, None, Fault::Syntax));
        assert_eq!(decoded.kept, [1]);
        let decoded = decoder.avro_rows(&bare(&itself), &[b""]).unwrap();
        assert_eq!(only_bad(&decoded).2, Fault::Syntax);
    });
    job.unwrap().join().unwrap();
}

fn payment() -> Json {
    json!({ "type": "record", "name": "Payment", "namespace": "org.acme", "fields": [
        { "name": "id", "type": "long" },
        { "name": "tags", "type": { "type": "array", "items": "string" } },
        { "name": "at", "type": { "type": "long", "logicalType": "timestamp-micros" } },
        { "name": "user", "type": ["null", "long"], "default": null } ] })
}

/// That schema's fingerprint, as `fastavro.schema.fingerprint(form, "CRC-64-AVRO")` has it.
const MARK: [u8; 8] = [0xC2, 0x57, 0xB6, 0xBF, 0xC8, 0x3E, 0x37, 0x80];

/// The payment of a number, in the bytes of that schema.
fn paid(id: i64) -> Vec<u8> {
    let tags = [long(2), block(b"a"), block(b"b"), long(-1), block(&block(b"c")), long(0)].concat();
    [long(id), tags, long(1_000_000 * id), long(1), long(7)].concat()
}

#[test]
fn fields_match_columns_by_name_others_are_passed_over_and_missing_ones_are_null() {
    let decoded = transactions().avro_rows(&bare(&payment()), &[paid(1), paid(2)]).unwrap();
    assert_eq!(decoded.bad, []);
    assert_eq!(values(&decoded, 0), [Value::Int(1), Value::Int(2)]);
    assert_eq!(values(&decoded, 1), [Value::Time(1_000_000), Value::Time(2_000_000)]);
    assert_eq!(values(&decoded, 2), [Value::Int(7), Value::Int(7)]);
    assert_eq!(values(&decoded, 3), [Value::Null, Value::Null]);
    assert_eq!(decoded.unknown_fields, 2);
    assert_eq!(decoded.unknown_names.iter().collect::<Vec<_>>(), ["tags"]);
}

/// The records' faults, in their order, where none is good.
fn reasons(avro: &AvroSchemas, rows: &[Vec<u8>]) -> Vec<String> {
    let decoded = transactions().avro_rows(avro, rows).unwrap();
    assert_eq!(decoded.kept, [] as [usize; 0]);
    decoded.bad.into_iter().map(|bad| bad.reason).collect()
}

fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], datum].concat()
}

#[test]
fn confluents_ids_choose_the_schema_and_one_that_is_not_named_is_told() {
    let mut older = payment();
    older["fields"].as_array_mut().unwrap().remove(1);
    let old = [long(9), long(9_000_000), long(0)].concat();
    let avro = AvroSchemas::new(
        "avro.payments",
        Vec::new(),
        vec![(7, schema(&older)), (300, schema(&payment()))],
    );
    let rows = [framed(7, &old), framed(300, &paid(2))];
    let decoded = transactions().avro_rows(&avro, &rows).unwrap();
    assert_eq!(decoded.bad, []);
    assert_eq!(values(&decoded, 0), [Value::Int(9), Value::Int(2)]);
    let said = reasons(&avro, &[framed(8, &old), paid(2), vec![0, 0, 0], vec![]]);
    assert!(said[0].contains("the id 8, which [avro.payments] does not name"), "{}", said[0]);
    assert!(said[0].contains("\"8\" = \"FILE\""), "{}", said[0]);
    assert!(said[1].contains("leave `ids` out of [avro.payments]"), "{}", said[1]);
    assert!(said[2].contains("ends inside the id"), "{}", said[2]);
    let bare = bare(&payment());
    let said = reasons(&bare, &[framed(7, &paid(2))]);
    assert!(said[0].contains("its schema has the id 7: name it in `ids` of [avro.t]"), "{said:?}");
}

#[test]
fn single_object_encoding_is_known_by_the_fingerprint_of_the_schema() {
    let single = |mark: &[u8], datum: &[u8]| [&[0xC3, 0x01], mark, datum].concat();
    let avro = bare(&payment());
    let rows = [single(&MARK, &paid(3)), paid(4)];
    let decoded = transactions().avro_rows(&avro, &rows).unwrap();
    assert_eq!(decoded.bad, []);
    assert_eq!(values(&decoded, 0), [Value::Int(3), Value::Int(4)]);
    let said = reasons(&avro, &[single(&[1; 8], &paid(3)), single(&MARK[..3], &[])]);
    assert!(said[0].contains("fingerprint 0101010101010101, which none of [avro.t]"), "{said:?}");
    assert!(said[1].contains("ends inside the fingerprint"), "{said:?}");
}

/// Two schemas that differ in a scale alone have one fingerprint: an amount would be off by ten.
#[test]
fn a_fingerprint_of_two_meanings_is_never_guessed() {
    let mut other = payment();
    other["fields"][2]["type"]["logicalType"] = json!("timestamp-millis");
    let avro = AvroSchemas::new("avro.t", vec![schema(&payment()), schema(&other)], Vec::new());
    let row = [&[0xC3, 0x01], &MARK[..], &paid(3)].concat();
    assert!(
        reasons(&avro, std::slice::from_ref(&row))[0].contains("differ in their logical types")
    );
    let twice = AvroSchemas::new("avro.t", vec![schema(&payment())], vec![(1, schema(&payment()))]);
    assert_eq!(transactions().avro_rows(&twice, &[row]).unwrap().kept, [0]);
}

#[test]
fn a_schema_that_is_none_is_refused_with_its_file_and_place() {
    for (text, part) in [
        ("{", "schema t.avsc: it is not JSON"),
        ("\"long\"", "not the schema of a record"),
        ("[\"null\", \"long\"]", "not the schema of a record"),
        (r#"{"type":"record","fields":[]}"#, "has no `name`"),
        (r#"{"type":"record","name":"t"}"#, "type t has no list of `fields`"),
        (r#"{"type":"record","name":"t","fields":[{"name":"x","type":"strin"}]}"#, "field x"),
        (r#"{"type":"record","name":"t","fields":[{"name":"x","type":7}]}"#, "7 is no type"),
        (r#"{"type":"record","name":"t","fields":[{"type":"int"}]}"#, "a field of t has no `name`"),
        (
            r#"{"type":"record","name":"t","fields":[{"name":"x","type":"int"},
                {"name":"x","type":"int"}]}"#,
            "two fields x",
        ),
        (
            r#"{"type":"record","name":"t","fields":[{"name":"x","type":
                {"type":"record","name":"t","fields":[]}}]}"#,
            "type t is defined twice",
        ),
    ] {
        let said = AvroSchema::parse("t.avsc", text).unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    }
    let deep = format!("{}\"int\"{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(AvroSchema::parse("t.avsc", &deep).is_err());
}

/// Every record would be a dead letter: better said before the first.
#[test]
fn a_schema_that_cannot_give_the_columns_is_refused_before_the_first_record() {
    let mut without = payment();
    without["fields"].as_array_mut().unwrap().remove(0);
    let said = bare(&without).fit(&transactions()).unwrap_err().to_string();
    assert!(said.contains("schema t.avsc: it has no field id"), "{said}");
    assert!(said.contains("take the file out of [avro.t]"), "{said}");
    let mut listed = payment();
    listed["fields"][3]["type"] = json!(["null", { "type": "array", "items": "long" }]);
    let said = bare(&listed).fit(&transactions()).unwrap_err().to_string();
    assert!(said.contains("field user is an array, which column user BIGINT"), "{said}");
    let mut either = payment();
    either["fields"][3]["type"] = json!(["null", "bytes", "long"]);
    assert_eq!(bare(&either).fit(&transactions()), Ok(()));
    assert_eq!(bare(&payment()).fit(&transactions()), Ok(()));
}

#[test]
fn a_name_in_a_namespace_is_found_from_within_it() {
    let status = json!({ "type": "enum", "name": "Status", "symbols": ["new", "old"] });
    let within = |reference: &str| {
        json!({ "type": "record", "name": "org.acme.T", "fields": [
            { "name": "y", "type": status }, { "name": "x", "type": ["null", reference] } ] })
    };
    let row = [long(0), long(1), long(1)].concat();
    for reference in ["Status", "org.acme.Status"] {
        let decoded = single(ColumnType::Varchar, None);
        let decoded = decoded.avro_rows(&bare(&within(reference)), &[&row]).unwrap();
        assert_eq!(values(&decoded, 0), [Value::Text("old".into())], "{reference}");
    }
    let other = AvroSchema::parse("t.avsc", &within("org.other.Status").to_string());
    assert!(other.unwrap_err().to_string().contains("no type org.other.Status"));
}

#[test]
fn a_cell_and_a_datum_of_one_value_are_one_value() {
    let decoder = single(AMOUNT, None);
    let cell = decoder.value(0, Cell::Decimal { value: -5, scale: 2 }).unwrap();
    let avro = json!({ "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 });
    let decoded = decoder.avro_rows(&bare(&of_x(&avro)), &[block(&[0xFB])]).unwrap();
    assert_eq!(values(&decoded, 0), [cell]);
}
