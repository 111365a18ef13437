//! What a simulation promises: the same events for a seed, in order, with everything that a fraud
//! model looks for.

use super::*;
use std::collections::HashMap;

const DAY_US: i64 = 86_400_000_000;

fn simulate(options: &SimulateOptions) -> Vec<Transaction> {
    Simulation::new(options.clone()).unwrap().collect()
}

/// Enough events for every scenario to occur many times.
fn large() -> SimulateOptions {
    SimulateOptions { events: 300_000, ..SimulateOptions::default() }
}

/// FNV-1a, 64 bits, of the events as JSON lines.
fn fingerprint(events: impl Iterator<Item = impl Record>) -> u64 {
    let mut text = Vec::new();
    events.for_each(|event| to_json(&event, &mut text));
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn check_refused(options: SimulateOptions, option: &str) {
    let error = Simulation::new(options).unwrap_err().to_string();
    assert!(error.contains(&format!("`{option}`")) && error.contains("give "), "{error}");
}

#[test]
fn a_seed_gives_the_same_events_on_every_machine() {
    let options = SimulateOptions { seed: 42, events: 50_000, ..SimulateOptions::default() };
    let events = Simulation::new(options.clone()).unwrap();
    assert_eq!(fingerprint(events), 2_116_767_054_859_606_953);
    assert_eq!(fingerprint(FraudReports::new(options).unwrap()), 17_590_246_963_771_851_100);
}

#[test]
fn another_seed_gives_other_events() {
    let events = |seed| simulate(&SimulateOptions { seed, events: 100, ..Default::default() });
    assert_ne!(events(1), events(2));
}

#[test]
fn event_times_ascend_and_ids_rise_by_one() {
    let options = SimulateOptions { first_id: 1_000, ..large() };
    let events = simulate(&options);
    assert_eq!(events.len(), 300_000);
    assert!(events.windows(2).all(|pair| pair[0].event_time <= pair[1].event_time));
    assert!(events.iter().zip(1_000..).all(|(event, id)| event.transaction_id == id));
    assert!(events[0].event_time >= options.start);
}

#[test]
fn the_events_spread_over_the_days_asked_for() {
    for days in [1.0, 60.0, 400.0] {
        let options = SimulateOptions { days, ..large() };
        let events = simulate(&options);
        let span_us = events[events.len() - 1].event_time.0 - options.start.0;
        let ratio = span_us as f64 / (days * DAY_US as f64);
        let slack = if days < 7.0 { 0.4 } else { 0.05 };
        assert!((ratio - 1.0).abs() < slack, "{days} days: {ratio}");
    }
}

#[test]
fn nights_are_quiet_and_weekends_differ() {
    let genuine = simulate(&SimulateOptions { fraud: false, days: 56.0, ..large() });
    let hour = |event: &Transaction| event.event_time.0.rem_euclid(DAY_US) / 3_600_000_000;
    let share = |test: &dyn Fn(&Transaction) -> bool| {
        genuine.iter().filter(|event| test(event)).count() as f64 / genuine.len() as f64
    };
    let night = share(&|event| hour(event) < 6);
    assert!((0.02..0.04).contains(&night), "6 of 24 hours hold {night}");
    let evening = share(&|event| (17..20).contains(&hour(event)));
    assert!((0.18..0.26).contains(&evening), "3 of 24 hours hold {evening}");
    // 1970-01-01 was a Thursday, so days 2 and 3 of each week of the epoch are Saturday and Sunday.
    let weekend =
        |event: &Transaction| (2..4).contains(&event.event_time.0.div_euclid(DAY_US).rem_euclid(7));
    let early = |e: &Transaction| hour(e) == 7;
    let saturday_share = share(&|e| weekend(e) && early(e)) / share(&|e| !weekend(e) && early(e));
    assert!((0.15..0.25).contains(&saturday_share), "{saturday_share}");
}

#[test]
fn some_users_are_heavy_and_most_are_not() {
    let mut counts: HashMap<i64, u32> = HashMap::new();
    let events = simulate(&SimulateOptions { fraud: false, ..large() });
    events.iter().for_each(|event| *counts.entry(event.user_id).or_default() += 1);
    let mean = events.len() as f64 / 5_000.0;
    let heaviest = f64::from(counts[&1]) / mean;
    assert!((60.0..80.0).contains(&heaviest), "user 1 has {heaviest} times the mean");
    let below = counts.values().filter(|count| f64::from(**count) < mean).count();
    assert!(below * 10 > counts.len() * 6, "{below} of {} users are below the mean", counts.len());
    assert!(counts.len() > 4_900, "{} of 5,000 users pay at all", counts.len());
}

#[test]
fn popular_merchants_take_most_purchases() {
    let events = simulate(&large());
    let top = events.iter().filter(|event| event.merchant_id <= 20).count() as f64;
    let share = top / events.len() as f64;
    assert!((0.3..0.5).contains(&share), "20 of 2,000 merchants have {share}");
    assert!(events.iter().all(|event| (1..=2_000).contains(&event.merchant_id)));
}

#[test]
fn some_genuine_purchases_are_declined_and_amounts_are_plausible() {
    let genuine = simulate(&SimulateOptions { fraud: false, ..large() });
    let declined = genuine.iter().filter(|event| event.status == Status::Declined).count();
    let share = declined as f64 / genuine.len() as f64;
    assert!((0.025..0.06).contains(&share), "{share}");
    let mut cents: Vec<i64> = genuine.iter().map(|event| event.amount_cents).collect();
    cents.sort_unstable();
    assert!(cents[0] >= 50 && cents[cents.len() - 1] <= 2_000_000);
    assert!((1_800..3_500).contains(&cents[cents.len() / 2]), "{}", cents[cents.len() / 2]);
}

#[test]
fn frauds_are_rare_and_each_scenario_occurs() {
    let events = simulate(&large());
    let mut counts: HashMap<Scenario, u32> = HashMap::new();
    events.iter().for_each(|event| *counts.entry(event.scenario).or_default() += 1);
    for scenario in [Scenario::CardTesting, Scenario::StolenCard, Scenario::CompromisedMerchant] {
        assert!(
            counts.get(&scenario).is_some_and(|count| *count >= 100),
            "{scenario:?}: {counts:?}"
        );
    }
    let share = 1.0 - f64::from(counts[&Scenario::Genuine]) / events.len() as f64;
    assert!((0.003..0.012).contains(&share), "{share}");
}

#[test]
fn a_card_is_tested_with_many_small_amounts_within_minutes() {
    let mut bursts: HashMap<i64, Vec<Transaction>> = HashMap::new();
    let tests = simulate(&large()).into_iter().filter(|e| e.scenario == Scenario::CardTesting);
    tests.for_each(|event| bursts.entry(event.device_id).or_default().push(event));
    let whole: Vec<_> = bursts.values().filter(|burst| burst.len() >= 15).collect();
    assert!(whole.len() + 2 >= bursts.len(), "only the last bursts may be cut off");
    for burst in whole {
        let span_us = burst[burst.len() - 1].event_time.0 - burst[0].event_time.0;
        assert!(span_us < 30 * 60_000_000, "{span_us}");
        assert!(
            burst.iter().all(|e| e.amount_cents <= 300 && e.merchant_id == burst[0].merchant_id)
        );
    }
}

#[test]
fn a_stolen_card_pays_much_from_a_new_device_abroad() {
    let events = simulate(&large());
    for fraud in events.iter().filter(|event| event.scenario == Scenario::StolenCard) {
        let person = people::Person::new(1, fraud.user_id);
        assert!(fraud.country != person.home() && fraud.device_id >= 1 << 60);
        assert!(fraud.amount_cents as f64 >= (3.9 * person.usual_cents).clamp(50.0, 1_999_000.0));
        assert_eq!(fraud.card_id / 10, fraud.user_id, "the card is the victim's own");
    }
}

#[test]
fn cards_of_a_compromised_merchant_were_used_at_one_place_before() {
    let events = simulate(&large());
    let mut visitors: HashMap<i64, Vec<i64>> = HashMap::new();
    for event in events.iter().filter(|event| !event.is_fraud()) {
        visitors.entry(event.merchant_id).or_default().push(event.card_id);
    }
    let mut stolen: Vec<i64> = events
        .iter()
        .filter(|event| event.scenario == Scenario::CompromisedMerchant)
        .map(|event| event.card_id)
        .collect();
    stolen.sort_unstable();
    stolen.dedup();
    let shared = visitors.values().map(|cards| stolen.iter().filter(|c| cards.contains(c)).count());
    assert!(stolen.len() > 25 && shared.max() >= Some(15), "{} cards", stolen.len());
}

#[test]
fn without_fraud_the_genuine_transactions_stay_the_same() {
    let anonymous = |mut event: Transaction| {
        event.transaction_id = 0;
        event
    };
    let mut with = simulate(&large());
    with.retain(|event| !event.is_fraud());
    let without = simulate(&SimulateOptions { fraud: false, ..large() });
    assert!(without.iter().all(|event| !event.is_fraud()));
    let as_many = without.into_iter().take(with.len());
    assert!(as_many.map(anonymous).eq(with.into_iter().map(anonymous)));
}

#[test]
fn reports_come_in_order_days_after_paid_frauds_and_once_each() {
    let frauds: HashMap<i64, Transaction> = simulate(&large())
        .into_iter()
        .filter(|event| event.is_fraud() && event.status == Status::Approved)
        .map(|event| (event.transaction_id, event))
        .collect();
    let reports: Vec<FraudReport> = FraudReports::new(large()).unwrap().collect();
    assert!(reports.windows(2).all(|pair| pair[0].event_time <= pair[1].event_time));
    let mut delays: Vec<i64> = reports
        .iter()
        .map(|report| report.event_time.0 - frauds[&report.transaction_id].event_time.0)
        .collect();
    delays.sort_unstable();
    assert!(delays[0] >= DAY_US / 20 && delays[delays.len() - 1] <= 30 * DAY_US);
    assert!((2 * DAY_US..4 * DAY_US).contains(&delays[delays.len() / 2]));
    let noticed = reports.len() as f64 / frauds.len() as f64;
    assert!((0.9..1.0).contains(&noticed), "{noticed}");
    let mut ids: Vec<i64> = reports.iter().map(|report| report.transaction_id).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let base = SimulateOptions::default();
    check_refused(SimulateOptions { users: 0, ..base.clone() }, "users");
    check_refused(SimulateOptions { merchants: MAX_PEOPLE + 1, ..base.clone() }, "merchants");
    check_refused(SimulateOptions { days: f64::NAN, ..base.clone() }, "days");
    check_refused(SimulateOptions { days: 0.0, ..base.clone() }, "days");
    check_refused(SimulateOptions { start: Micros::LATEST, ..base.clone() }, "start");
    check_refused(SimulateOptions { first_id: i64::MAX, events: 1, ..base.clone() }, "events");
}

#[test]
fn extremes_do_not_panic() {
    let base = SimulateOptions { events: 2_000, ..SimulateOptions::default() };
    simulate(&SimulateOptions { users: 1, merchants: 1, ..base.clone() });
    simulate(&SimulateOptions { users: MAX_PEOPLE, merchants: MAX_PEOPLE, ..base.clone() });
    simulate(&SimulateOptions { days: f64::MIN_POSITIVE, ..base.clone() });
    simulate(&SimulateOptions { days: MAX_DAYS, ..base.clone() });
    simulate(&SimulateOptions { start: Micros::EARLIEST, seed: u64::MAX, ..base.clone() });
    assert!(simulate(&SimulateOptions { events: 0, ..base }).is_empty());
}

#[test]
fn json_lines_and_csv_say_the_same() {
    let one = Transaction {
        transaction_id: 7,
        event_time: Micros(1_795_737_600_000_001),
        user_id: 42,
        card_id: 420,
        device_id: 421,
        merchant_id: 9,
        country: "DE",
        amount_cents: 1_205,
        status: Status::Declined,
        scenario: Scenario::Genuine,
    };
    let text = |format| {
        let mut out = Vec::new();
        assert_eq!(write(format, [one.clone()].into_iter(), &mut out).unwrap(), 1);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        text(FileFormat::JsonLines),
        "{\"transaction_id\":7,\"event_time\":\"2026-11-27T00:00:00.000001Z\",\"user_id\":42,\
         \"card_id\":420,\"device_id\":421,\"merchant_id\":9,\"country\":\"DE\",\
         \"amount\":\"12.05\",\"status\":\"declined\"}\n"
    );
    assert_eq!(
        text(FileFormat::Csv),
        "transaction_id,event_time,user_id,card_id,device_id,merchant_id,country,amount,status\n\
         7,2026-11-27T00:00:00.000001Z,42,420,421,9,DE,12.05,declined\n"
    );
}

#[test]
fn parquet_reads_back_as_it_was_made() {
    use arrow::array::AsArray;
    use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
    let events = simulate(&SimulateOptions { events: 20_000, ..Default::default() });
    let mut file = Vec::new();
    assert_eq!(write(FileFormat::Parquet, events.iter().cloned(), &mut file).unwrap(), 20_000);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(
        bytes::Bytes::from(file),
        1_000,
    );
    let mut expected = events.iter();
    for batch in reader.unwrap() {
        let batch = batch.unwrap();
        for row in 0..batch.num_rows() {
            let event = expected.next().unwrap();
            let ids = batch.column(0).as_primitive::<Int64Type>();
            let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
            let amounts = batch.column(7).as_primitive::<Decimal128Type>();
            assert_eq!(ids.value(row), event.transaction_id);
            assert_eq!(times.value(row), event.event_time.0);
            assert_eq!(amounts.value(row), i128::from(event.amount_cents));
            assert_eq!(batch.column(6).as_string::<i32>().value(row), event.country);
        }
    }
    assert!(expected.next().is_none());
}

#[test]
fn a_full_disk_is_an_error_that_names_the_format() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no space"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for format in [FileFormat::JsonLines, FileFormat::Csv, FileFormat::Parquet] {
        let events = Simulation::new(SimulateOptions { events: 10, ..Default::default() }).unwrap();
        let error = write(format, events, Full).unwrap_err().to_string();
        assert!(error.contains(&format.to_string()) && error.contains("no space"), "{error}");
    }
}

#[test]
fn the_definitions_declare_the_columns_that_are_made() {
    for (stream, columns) in
        [(Transaction::STREAM, Transaction::COLUMNS), (FraudReport::STREAM, FraudReport::COLUMNS)]
    {
        let start = SIMULATED_SQL.find(&format!("CREATE TABLE {stream} (")).unwrap();
        let declared = SIMULATED_SQL[start..].lines().skip(1);
        for (line, column) in declared.zip(columns) {
            assert!(line.trim_start().starts_with(column.name), "{line} is not {}", column.name);
        }
    }
}
