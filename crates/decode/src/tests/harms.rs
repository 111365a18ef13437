//! The harms that decoding prevents, each by name.

use super::*;

fn rows_of(ty: ColumnType, unit: Option<EpochUnit>, values: &[&str]) -> Decoded {
    let rows: Vec<String> = values.iter().map(|value| format!("{{\"x\":{value}}}")).collect();
    single(ty, unit).json_rows(&rows).unwrap()
}

/// A time in seconds taken for milliseconds lands in 1970 and drops out of every window; one in
/// milliseconds taken for seconds lies ages ahead and trims a key's whole state.
#[test]
fn a_time_in_the_wrong_unit_never_empties_a_window() {
    let values = ["1795514400", "1795514400000", "1795514400000000", "-1", "9e99"];
    let undeclared = rows_of(ColumnType::Timestamp, None, &values);
    assert_eq!(undeclared.bad.len(), values.len());
    assert!(undeclared.bad.iter().all(|bad| bad.fault.name() == "bad_time"));
    let seconds = rows_of(ColumnType::Timestamp, Some(EpochUnit::Seconds), &values);
    assert_eq!(seconds.kept, [0, 3], "milliseconds as seconds are past the year 9999");
    assert!(seconds.bad.iter().all(|bad| bad.fault == Fault::Time));
}

/// Times near the ends of 64 bits overflow when a frame is subtracted from them.
#[test]
fn a_time_outside_the_years_1_to_9999_never_overflows() {
    for unit in [EpochUnit::Seconds, EpochUnit::Millis, EpochUnit::Micros] {
        let values = ["9223372036854775807", "-9223372036854775808", "1e18", "-1e18"];
        let decoded = rows_of(ColumnType::Timestamp, Some(unit), &values);
        assert_eq!(decoded.bad.len(), values.len(), "{unit:?}");
    }
    let texts = ["\"1969-12-31T23:59:59.999999Z\"", "\"0000-01-01T00:00:00Z\""];
    let decoded = rows_of(ColumnType::Timestamp, None, &texts);
    assert_eq!(values(&decoded, 0), [Value::Time(-1)], "before 1970 is a time like others");
}

/// One NaN in a running sum makes it NaN for as long as the window lasts.
#[test]
fn nan_and_infinity_never_reach_a_sum() {
    let values = ["\"NaN\"", "\"inf\"", "\"-Infinity\"", "1e309", "-1e309", "NaN", "Infinity"];
    for ty in [ColumnType::Double, ColumnType::Decimal { precision: 12, scale: 2 }] {
        assert_eq!(rows_of(ty, None, &values).bad.len(), values.len(), "{ty}");
        let csv = "x\nNaN\ninf\n-inf\nINFINITY\n1e309\n";
        assert_eq!(single(ty, None).csv(csv.as_bytes()).unwrap().bad.len(), 5, "{ty}");
    }
}

/// Two zeros with different bits are two keys and two distinct values.
#[test]
fn minus_zero_is_the_same_zero() {
    let decoded = rows_of(ColumnType::Double, None, &["-0.0", "0", "\"-0e5\"", "-1e-400"]);
    for value in values(&decoded, 0) {
        let Value::Float(value) = value else { panic!("{value:?}") };
        assert_eq!(value.to_bits(), 0);
    }
}

#[test]
fn the_largest_and_the_smallest_doubles_stay_themselves() {
    let decoded = rows_of(ColumnType::Double, None, &["1e308", "5e-324", "-2.5e-310"]);
    let wanted = [1e308, 5e-324, -2.5e-310].map(Value::Float);
    assert_eq!(values(&decoded, 0), wanted);
}

/// A parser that recurses into nested arrays ends the process on a crafted body.
#[test]
fn deep_json_does_not_overflow_the_stack() {
    const DEPTH: usize = 400_000;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
    let arrays = deep("[", "]");
    let small_stack = std::thread::Builder::new().stack_size(64 << 10);
    let job = small_stack.spawn(move || {
        let unknown = format!("{{\"y\":{arrays},\"x\":1}}");
        let known = format!("{{\"x\":{arrays}}}");
        let objects = format!("{{\"y\":{}}}", "{\"y\":".repeat(100_000));
        let decoder = single(ColumnType::BigInt, None);
        decoder.json_rows(&[unknown, known, arrays, "{".repeat(DEPTH), objects]).unwrap()
    });
    let decoded = job.unwrap().join().unwrap();
    assert_eq!(values(&decoded, 0), [Value::Int(1)], "what is ignored may be deep");
    assert_eq!(decoded.kept, [0]);
    assert_eq!(decoded.bad[0].fault, Fault::Type);
    assert!(decoded.bad[1..].iter().all(|bad| bad.fault == Fault::Syntax));
}

/// A number read through a double loses the ids above 2^53: two customers become one.
#[test]
fn two_ids_above_two_to_the_53_stay_two() {
    let decoded = rows_of(ColumnType::BigInt, None, &["9007199254740992", "9007199254740993"]);
    assert_ne!(values(&decoded, 0)[0], values(&decoded, 0)[1]);
}
