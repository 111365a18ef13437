//! A sample of hits compared with the database: silent while both sides agree, and what differs is
//! told, once, by its id.

use super::scene::{PAYMENTS, applied, applied_without, ask, database, payment, wide};
use crate::support::TEN;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trueup::clock::Clock;
use trueup::database::{DatabasePlace, open};
use trueup::serve::{Difference, Fallback, MILLION, Serving, Status, Tables, Verify};
use trueup_core::Micros;
use trueup_sql::decode::print::Timestamp;

/// How far behind the pipeline may be here: a mismatch is looked at twice, so long apart.
const BOUND: Duration = Duration::from_millis(200);

/// How long something may take that takes a second on a machine without other work.
const PATIENCE: Duration = Duration::from_secs(60);

const CARDS: i64 = 7;

/// Every hit compared with this database.
fn verified(serving: Serving, url: String) -> Serving {
    let place = DatabasePlace::Postgres { url, password: None };
    let bounds = wide();
    let database = open(&place, bounds.connections, bounds.timeout).unwrap();
    let clock = Clock::of(|| Micros(TEN));
    let fallback = Fallback::new(database, Default::default(), bounds, clock);
    let fallback = Arc::new(fallback.verifying(MILLION, BOUND));
    let tables = Some(Tables::new(fallback, &serving.catalog));
    Serving { tables, ..serving }
}

fn verify(serving: &Serving) -> &Verify {
    &serving.tables.as_ref().unwrap().fallback().verify
}

fn count(serving: &Serving, what: &str) -> u64 {
    verify(serving).counts().into_iter().find(|(name, _)| *name == what).unwrap().1
}

/// Asks for a new payment of each card, and waits until all that was looked up has been compared.
async fn ask_of_every_card(serving: &Serving) {
    let before = count(serving, "compared");
    for card in 0..CARDS {
        let new = json!({ "id": PAYMENTS + 100 + card, "at": Timestamp(TEN).to_string(),
                          "card": card, "merchant": "m1", "amount": "1.00", "approved": true });
        let answered = ask(serving, "risk", &[new], PATIENCE).await;
        assert!(answered.rows[0].status() < Status::Stale, "{:?}", answered.rows[0]);
    }
    let until = Instant::now() + PATIENCE;
    // Of every row its card, its merchant and its logins at the least.
    while count(serving, "compared") < before + 3 * CARDS as u64 {
        assert!(Instant::now() < until, "{:?}", verify(serving).counts());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(count(serving, "skipped"), 0);
    // What differs is looked at once more before it is told.
    tokio::time::sleep(5 * BOUND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_that_the_database_agrees_with_are_no_mismatches() {
    let postgres = database().await;
    let serving = verified(applied().await, postgres.url());
    ask_of_every_card(&serving).await;
    assert_eq!(verify(&serving).told(), []);
}

/// The harm: a feature that slowly departs from what the model was trained on, and nobody sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_one_side_lacks_are_told_once_each_by_their_ids() {
    let postgres = database().await;
    // Two payments of the last hour, of different cards.
    let age = |id: i64| id * 7_919 % 10_800;
    let mut recent = (0..PAYMENTS).filter(|&id| (10..3_000).contains(&age(id)));
    let gone_from_database = recent.next().unwrap();
    let gone_from_store = recent.find(|id| id % CARDS != gone_from_database % CARDS).unwrap();
    let added = 9_000_000;
    let client = postgres.connect().await;
    client.execute("DELETE FROM payments WHERE id = $1", &[&gone_from_database]).await.unwrap();
    let insert = "INSERT INTO payments SELECT * FROM jsonb_populate_record(null::payments, \
                  $1::text::jsonb)";
    let mut extra: Value = payment(gone_from_store);
    extra["id"] = added.into();
    client.execute(insert, &[&extra.to_string()]).await.unwrap();

    let serving = verified(applied_without(&[gone_from_store]).await, postgres.url());
    ask_of_every_card(&serving).await;
    ask_of_every_card(&serving).await;

    let at = |id: i64| TEN - age(id) * 1_000_000 - id;
    let told = verify(&serving).told();
    let events: BTreeSet<Difference> = told
        .iter()
        .map(|mismatch| mismatch.what.clone())
        .filter(|what| !matches!(what, Difference::Value(_)))
        .collect();
    let expected = BTreeSet::from([
        Difference::OnlyStore(at(gone_from_database), gone_from_database.to_string()),
        Difference::OnlyDatabase(at(gone_from_store), gone_from_store.to_string()),
        Difference::OnlyDatabase(at(gone_from_store), added.to_string()),
    ]);
    assert_eq!(events, expected);
    // Lifetime sums and the merchants' bins have no ids: their values are compared.
    assert!(told.iter().any(|mismatch| matches!(mismatch.what, Difference::Value(_))), "{told:?}");
    assert_eq!(count(&serving, "mismatched"), told.len() as u64, "each is told once");
}
