//! Findings of facts that are made up: each harm is found, and what is well is not.

use super::*;
use crate::doctor::facts::{
    DatabaseFacts, DefinitionsFacts, IndexFacts, Lack, ServerFacts, StoreFacts, StreamFacts,
};
use crate::outgrown::Outgrown;

fn probe(p50_ms: f64) -> Probe {
    let (p50_ms, p99_ms) = (Some(p50_ms), Some(p50_ms * 2.0));
    Probe { asks: 200, lacking: 0, reason: None, timed: 200, p50_ms, p99_ms }
}

/// An environment that is well.
fn well(name: &str) -> Facts {
    let digest = Some("d1".to_owned());
    let server = ServerFacts {
        place: format!("{name}:6379"),
        life: name.to_owned(),
        eviction: "noeviction".to_owned(),
        persistence: Some("append-only file".to_owned()),
        replicas: Some(1),
        min_replicas: Some(0),
        clock_ms: Some(0.4),
    };
    let store = StoreFacts {
        place: format!("redis://{name}:6379"),
        kind: "redis".to_owned(),
        shape: Some("one server".to_owned()),
        software: vec!["Redis 7.0.15".to_owned()],
        servers: vec![server],
        identity: vec![format!("{name}/0/trueup")],
        retrieval: Some(probe(0.3)),
        ..StoreFacts::default()
    };
    let stream = StreamFacts {
        stream: "payments".to_owned(),
        source: format!("kafka://{name}:9092/payments?group=fraud"),
        shared: true,
        ..StreamFacts::default()
    };
    Facts {
        environment: name.to_owned(),
        definitions: DefinitionsFacts {
            files: digest.clone(),
            served: digest,
            views: [("risk".to_owned(), "v1".to_owned())].into(),
            ..DefinitionsFacts::default()
        },
        store: Some(store),
        fresh_seconds: Some(0.2),
        streams: vec![stream],
        max_staleness_seconds: 10.0,
        listen: "127.0.0.1:8080".to_owned(),
        ..Facts::default()
    }
}

fn database(name: &str) -> DatabaseFacts {
    let (place, bounds) = (format!("postgres://{name}/payments"), "4 at once".to_owned());
    DatabaseFacts { place, bounds, miss: Some(probe(437.0)), ..DatabaseFacts::default() }
}

fn store(facts: &mut Facts) -> &mut StoreFacts {
    facts.store.as_mut().unwrap()
}

fn server(facts: &mut Facts) -> &mut ServerFacts {
    &mut store(facts).servers[0]
}

/// What is found when production is so, without notes, as `severity name`.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut production = well("production");
    change(&mut production);
    let all = findings(&[well("dev"), production]);
    all.into_iter().filter(|finding| finding.severity != Severity::Note).collect()
}

#[track_caller]
fn check(change: impl FnOnce(&mut Facts), expected: &[(Severity, &str)]) -> Vec<Finding> {
    let found = found(change);
    let names: Vec<(Severity, &str)> = found.iter().map(|it| (it.severity, it.name)).collect();
    assert_eq!(names, expected, "{found:#?}");
    found
}

const ERROR: Severity = Severity::Error;
const WARNING: Severity = Severity::Warning;

#[test]
fn environments_that_are_alike_have_notes_of_their_places_alone() {
    check(|_| {}, &[]);
    let all = findings(&[well("dev"), well("production")]);
    assert_eq!(all.iter().map(|it| it.name).collect::<Vec<_>>(), ["stores-differ"]);
    assert_eq!(findings(&[well("dev")]), []);
}

/// The story: production had no store, the database was asked, and nobody was told.
#[test]
fn production_without_a_store_is_found_with_what_it_would_cost() {
    let found = check(
        |it| {
            (it.refused, it.without_store) = (Some("setting store (not set)".into()), true);
            (it.store, it.fresh_seconds) = (None, None);
            it.database = Some(database("production"));
        },
        &[(ERROR, "no-online-store")],
    );
    let consequence = "no process starts by these settings; if one did, every feature would be a \
                       query on postgres://production/payments: 437 ms (p50), 874 ms (p99) of 200 \
                       asked now; the store of dev takes 0.30 ms (p50)";
    assert_eq!(found[0].consequence, consequence);
    let found = check(
        |it| (it.refused, it.without_store, it.store) = (Some("not set".into()), true, None),
        &[(ERROR, "no-online-store")],
    );
    assert!(found[0].consequence.ends_with("no feature is served"), "{found:?}");
}

/// The same under another name: a store is there, and every answer comes from elsewhere.
#[test]
fn a_store_that_vouches_for_nothing_is_the_same_mistake() {
    let lack = || Lack { of: "200 of 200 look-ups".into(), reason: "nothing was applied".into() };
    check(|it| store(it).lack = Some(lack()), &[(ERROR, "not-vouched-for")]);
    let direct = |it: &mut Facts| {
        store(it).lack = Some(lack());
        it.database = Some(database("production"));
    };
    let expected = [(ERROR, "database-asked-directly"), (WARNING, "databases-differ")];
    let found = check(direct, &expected);
    assert!(found[0].consequence.contains("437 ms (p50)"), "{found:?}");
}

#[test]
fn settings_and_definitions_that_cannot_be_used_are_errors() {
    let unread = |it: &mut Facts| *it = Facts::refused("production".into(), "no".into(), false);
    check(unread, &[(ERROR, "settings-refused")]);
    let unusable = |it: &mut Facts| {
        (it.definitions.files, it.definitions.trouble) = (None, Some("line 1".into()));
    };
    check(unusable, &[(ERROR, "definitions-unusable")]);
    let other = |it: &mut Facts| it.definitions.served_trouble = Some("read as d2".into());
    check(other, &[(ERROR, "another-version")]);
    check(|it| it.definitions.files = Some("d2".into()), &[(WARNING, "files-not-served")]);
}

/// A model that was trained in one got other numbers in the other.
#[test]
fn other_definitions_are_an_error_that_names_the_views() {
    let found = check(
        |it| {
            (it.definitions.files, it.definitions.served) = (Some("d2".into()), Some("d2".into()));
            it.definitions.views = [("risk".to_owned(), "v2".to_owned())].into();
            it.definitions.views.insert("more".to_owned(), "v3".to_owned());
        },
        &[(ERROR, "definitions-differ")],
    );
    assert!(found[0].what.ends_with("views more (only in production), risk"), "{found:?}");
}

#[test]
fn what_a_stores_servers_are_set_up_to_do_is_compared() {
    check(|it| server(it).eviction = "allkeys-lru".into(), &[(ERROR, "evicts")]);
    let kept = |it: &mut Facts| server(it).persistence = Some("nothing".into());
    check(kept, &[(WARNING, "persistence-differs")]);
    check(|it| server(it).persistence = None, &[]);
    check(|it| server(it).replicas = Some(0), &[(WARNING, "replicas-differ")]);
    check(|it| server(it).min_replicas = Some(1), &[(WARNING, "min-replicas-differ")]);
    let valkey = |it: &mut Facts| store(it).software = vec!["Valkey 8.1".into()];
    check(valkey, &[(WARNING, "software-differs")]);
    let embedded = |it: &mut Facts| {
        let told = store(it);
        (told.kind, told.servers, told.identity) = ("embedded".into(), vec![], vec![]);
    };
    check(embedded, &[(WARNING, "store-kinds-differ")]);
}

/// An evicting server vouches for nothing: that is one fault, told once.
#[test]
fn what_follows_from_another_finding_is_not_told_as_well() {
    let evicting = |it: &mut Facts| {
        server(it).eviction = "allkeys-lru".into();
        store(it).lack = Some(Lack { of: "all".into(), reason: "it evicts".into() });
        it.fresh_seconds = Some(99.0);
    };
    check(evicting, &[(ERROR, "evicts")]);
}

/// Of a window that no key can hold, one key is named and not each of them.
#[test]
fn keys_at_their_bound_are_told_by_group_with_the_worst_of_them() {
    let key = |group: &str, key: &str, keeps_seconds| Outgrown {
        group: group.to_owned(),
        key: key.to_owned(),
        bytes: 1 << 20,
        keeps_seconds,
        wants_seconds: Some(2.0 * 86_400.0),
    };
    let outgrown = [
        key("payments/card", "card=7", 5_400.0),
        key("payments/card", "card=1", 9_000.0),
        key("payments/merchant", "merchant=\"m\"", 30.0),
    ];
    let both = [(WARNING, "keys-outgrown"), (WARNING, "keys-outgrown")];
    let found = check(|it| store(it).outgrown = outgrown.to_vec(), &both);
    let what = &found[0].what;
    assert!(
        what.starts_with("keys of group payments/card are at their bound, 2 of those"),
        "{what}"
    );
    assert!(what.contains("card=7 (1024 KiB) keeps the newest 1.5 hours"), "{what}");
    assert!(what.ends_with("reach back 2.0 days"), "{what}");
}

#[test]
fn clocks_that_are_apart_are_found() {
    check(|it| server(it).clock_ms = Some(-400.0), &[]);
    check(|it| server(it).clock_ms = Some(-700.0), &[(WARNING, "clocks-differ")]);
    check(|it| server(it).clock_ms = Some(11_000.0), &[(ERROR, "clocks-differ")]);
}

#[test]
fn what_is_behind_or_cannot_go_on_is_an_error() {
    check(|it| it.fresh_seconds = Some(10.1), &[(ERROR, "stale")]);
    check(|it| it.streams[0].gaps = vec!["gone".into()], &[(ERROR, "gap")]);
    check(|it| store(it).buckets.unseen = 64, &[(WARNING, "store-restarted")]);
    check(|it| it.max_staleness_seconds = 60.0, &[(WARNING, "max-staleness-differs")]);
}

#[test]
fn what_could_not_be_asked_is_worse_where_it_is_the_store() {
    check(|it| it.troubles = vec!["the broker is away".into()], &[(WARNING, "not-asked")]);
    let away = |it: &mut Facts| {
        (it.troubles, it.fresh_seconds) = (vec!["the store is away".into()], None);
        let (place, kind) = (store(it).place.clone(), "redis".to_owned());
        it.store = Some(StoreFacts { place, kind, ..StoreFacts::default() });
    };
    check(away, &[(ERROR, "not-asked")]);
}

/// What was tried in one was written into the other.
#[test]
fn what_should_be_two_and_is_one_is_found() {
    check(|it| store(it).identity = vec!["dev/0/trueup".into()], &[(ERROR, "one-store")]);
    check(|it| server(it).life = "dev".into(), &[(WARNING, "one-server")]);
    let source = well("dev").streams[0].source.clone();
    check(|it| it.streams[0].source = source, &[(ERROR, "one-source")]);
    let with_database = |name: &str| Facts { database: Some(database("one")), ..well(name) };
    let all = findings(&[with_database("dev"), with_database("production")]);
    assert_eq!((all[0].severity, all[0].name), (WARNING, "one-database"));
}

#[test]
fn latency_that_does_not_carry_over_is_found() {
    let slow = [(ERROR, "slower"), (WARNING, "slow-retrieval")];
    check(|it| store(it).retrieval = Some(probe(50.0)), &slow);
    check(|it| store(it).retrieval = Some(probe(4.0)), &[]);
    check(|it| store(it).retrieval = Some(probe(0.01)), &[]);
}

/// A miss that takes 450 ms, found before the first one.
#[test]
fn databases_that_cannot_answer_in_time_are_errors() {
    let check = |change: fn(&mut DatabaseFacts), name: &str| {
        let mut it = Facts { database: Some(database("production")), ..well("production") };
        assert_eq!(findings(std::slice::from_ref(&it)), []);
        change(it.database.as_mut().unwrap());
        let found = findings(&[it]);
        assert_eq!(found.iter().map(|it| it.name).collect::<Vec<_>>(), [name], "{found:#?}");
        found
    };
    let index = |it: &mut DatabaseFacts| {
        let (key, statement) = ("payments (card)".into(), "CREATE INDEX ON …".into());
        it.missing_indexes = vec![IndexFacts { key, statement }];
    };
    let found = check(index, "missing-index");
    assert!(found[0].consequence.ends_with("(a miss takes 437 ms now)"), "{found:?}");
    check(|it| (it.trouble, it.miss) = (Some("no table".into()), None), "database-unusable");
    check(|it| it.miss.as_mut().unwrap().lacking = 3, "database-fails");
}

#[test]
fn listening_to_the_world_is_named() {
    check(|it| it.insecure = true, &[(WARNING, "insecure")]);
}
