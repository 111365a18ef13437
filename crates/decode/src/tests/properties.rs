//! Any bytes decode without a panic, every row is accounted for, and what is printed reads back.

use super::*;
use crate::TABLE;
use proptest::prelude::*;

fn every_type() -> Decoder {
    const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let columns: Vec<_> = NAMES.into_iter().zip(TABLE.iter().map(|row| row.ty)).collect();
    Decoder::new(stream(&columns, Some(EpochUnit::Millis)))
}

/// Text that is often nearly JSON or CSV.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("{\"a\":".to_owned()),
        Just("\"".to_owned()),
        Just("\"\"".to_owned()),
        Just(",".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("}".to_owned()),
        Just("\\u00".to_owned()),
        "[a-i]".prop_map(|name| format!("\"{name}\":")),
        "[-+0-9.eE]{1,12}",
        "[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-9:.]{8}",
        "\\PC{0,4}",
    ];
    let bytes = piece.prop_map(String::into_bytes);
    let any = prop_oneof![8 => bytes, 1 => prop::collection::vec(any::<u8>(), 0..4)];
    prop::collection::vec(any, 0..24).prop_map(|pieces| pieces.concat())
}

fn check(decoded: &Decoded) {
    assert_eq!(decoded.kept.len(), decoded.batch.num_rows());
    assert!(decoded.kept.is_sorted() && decoded.bad.is_sorted_by_key(|bad| bad.index));
    assert!(decoded.bad.iter().all(|bad| !decoded.kept.contains(&bad.index)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_bytes_as_json_are_good_or_bad_rows(rows in prop::collection::vec(pieces(), 0..4)) {
        let decoder = every_type();
        let decoded = decoder.json_rows(&rows).unwrap();
        check(&decoded);
        prop_assert_eq!(decoded.kept.len() + decoded.bad.len(), rows.len());
        check(&decoder.json_lines(&rows.concat()).unwrap());
    }

    #[test]
    fn any_bytes_as_csv_are_rows_or_an_error(mut file in pieces(), header in any::<bool>()) {
        let decoder = every_type();
        if header {
            file.splice(..0, b"a,i,g\n".iter().copied());
        }
        let whole = decoder.csv(&file);
        let reader = decoder.csv_reader(&file[..]);
        let parts: Result<Vec<_>, _> = reader.and_then(|parts| parts.collect());
        prop_assert_eq!(whole.is_ok(), parts.is_ok());
        if let (Ok(whole), Ok(parts)) = (whole, parts) {
            check(&whole);
            let bad: Vec<_> = parts.into_iter().flat_map(|part| part.bad).collect();
            prop_assert_eq!(whole.bad, bad);
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_json_and_as_csv(
        truth in any::<bool>(),
        int in any::<i64>(),
        units in -999_999_999_999i128..=999_999_999_999,
        double in any::<f64>().prop_filter("finite", |value| value.is_finite()),
        text in "[^\0]{0,20}",
        us in -62_135_596_800_000_000..=253_402_300_799_999_999i64,
        days in -719_162..=2_932_896i32,
    ) {
        let small = int % 32_768;
        let originals = [
            Value::Bool(truth), Value::Int(small), Value::Int(int % (1 << 31)), Value::Int(int),
            Value::Decimal(units), Value::Float(double + 0.0), Value::Text(text.as_str().into()),
            Value::Time(us), Value::Date(days),
        ];
        let decoder = every_type();
        let (mut json, mut header, mut csv) = (Vec::new(), Vec::new(), Vec::new());
        for (column, value) in decoder.stream().columns.iter().zip(&originals) {
            let shown = printed(column.ty, value);
            let bare = !matches!(value, Value::Text(_) | Value::Time(_) | Value::Date(_));
            let field = if bare { shown.clone() } else { serde_json::to_string(&shown).unwrap() };
            json.push(format!("\"{}\":{field}", column.name));
            header.push(column.name.clone());
            csv.push(format!("\"{}\"", shown.replace('"', "\"\"")));
        }
        let json = decoder.json_rows(&[format!("{{{}}}", json.join(","))]).unwrap();
        let csv = format!("{}\n{}\n", header.join(","), csv.join(","));
        let csv = decoder.csv(csv.as_bytes()).unwrap();
        for decoded in [json, csv] {
            prop_assert_eq!(&decoded.bad, &[]);
            for (index, original) in originals.iter().enumerate() {
                prop_assert_eq!(&values(&decoded, index)[0], original);
            }
            let again = decoder.arrow(&decoded.batch).unwrap();
            prop_assert_eq!(again.batch, decoded.batch);
        }
    }
}
