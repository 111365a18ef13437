//! Digests: unchanged by what does not matter, changed by what does.

use crate::{STREAMS, compile_view, file};
use trueup_sql::{Definitions, compile};

const VIEW: &str = "CREATE VIEW v AS SELECT amount,
      sum(amount) FILTER (WHERE status = 'ok') OVER w AS s FROM transactions
    WINDOW w AS (PARTITION BY user_id ORDER BY event_time
                 RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);";

fn digests(definitions: &Definitions) -> (String, String) {
    (definitions.views[0].digest.to_string(), definitions.groups[0].digest.to_string())
}

#[track_caller]
fn of(view: &str) -> (String, String) {
    digests(&compile_view(view).unwrap_or_else(|errors| panic!("{errors}")))
}

#[test]
fn layout_comments_case_aliases_and_names_of_windows_do_not_matter() {
    let same = "create view other as -- a comment
      select T.Amount, SUM( t.amount )filter(where((t.status) = 'ok')) over (
          partition by T.USER_ID order by t.event_time asc range interval '60 minutes' preceding
        ) as S /* another */ from TRANSACTIONS as T";
    assert_eq!(of(VIEW).1, of(&same.replace("((t.status) = 'ok')", "(t.status = 'ok')")).1);
    assert_eq!(of(VIEW).0, of(&same.replace("((t.status) = 'ok')", "(t.status = 'ok')")).0);
}

#[test]
fn the_order_of_files_and_views_does_not_matter() {
    let (a, b) = (VIEW, VIEW.replace("VIEW v", "VIEW x").replace("sum(", "avg("));
    let one = compile(&[file("s", STREAMS), file("a", a), file("b", &b)]).unwrap();
    let two = compile(&[file("b", &b), file("a", a), file("s", STREAMS)]).unwrap();
    let view = |definitions: &Definitions| definitions.view("v").unwrap().digest;
    assert_eq!(view(&one), view(&two));
    assert_eq!(one.groups[0].digest, two.groups[0].digest);
    assert_eq!(one.groups[0].core, two.groups[0].core);
}

#[test]
fn another_view_changes_the_shared_group_but_not_this_view() {
    let more = format!("{VIEW} {}", VIEW.replace("VIEW v", "VIEW x").replace("1 hour", "2 hours"));
    let (alone, both) = (of(VIEW), of(&more));
    assert_eq!(alone.0, both.0, "the view's values are the same");
    assert_ne!(alone.1, both.1, "the group must keep events for longer");
}

#[test]
fn whatever_changes_a_value_changes_the_digest() {
    let changes = [
        ("amount,", "amount + 0 AS amount,"),
        ("amount,", "amount AS a,"),
        ("sum(amount)", "avg(amount)"),
        ("sum(amount)", "sum(fee)"),
        ("'ok'", "'OK'"),
        ("user_id", "merchant_id"),
        ("1 hour", "2 hours"),
        ("CURRENT ROW", "INTERVAL '1 second' PRECEDING"),
        ("ORDER BY event_time", "ORDER BY date_bin(INTERVAL '1 minute', event_time)"),
        ("FROM transactions", "FROM transactions WHERE online"),
    ];
    for (from, to) in changes {
        assert!(VIEW.contains(from), "{from}");
        assert_ne!(of(VIEW).0, of(&VIEW.replace(from, to)).0, "{from} to {to}");
    }
    let streams = [
        ("DECIMAL(12,2)", "DECIMAL(12,3)"),
        ("lateness = '1 hour'", "lateness = '2 hours'"),
        ("user_id        BIGINT", "user_id        BIGINT NOT NULL"),
        ("BIGINT PRIMARY KEY", "VARCHAR PRIMARY KEY"),
    ];
    for (from, to) in streams {
        assert!(STREAMS.contains(from), "{from}");
        let changed = STREAMS.replace(from, to);
        let changed = digests(&compile(&[file("s", &changed), file("v", VIEW)]).unwrap());
        assert_ne!(of(VIEW).0, changed.0, "{from} to {to}");
        assert_ne!(of(VIEW).1, changed.1, "{from} to {to}");
    }
}

/// A digest names stored state and trained models: when this test fails, every user must rebuild
/// both, so the arithmetic version must have been raised on purpose.
#[test]
fn digests_are_stable_between_versions() {
    let (view, group) = of(VIEW);
    assert_eq!((&view[..16], &group[..16]), ("4cc5a18c31cf6611", "e1937580d4637d69"));
}
