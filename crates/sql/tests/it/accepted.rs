//! Every form of the definition language, and what it compiles to.

use crate::{compile_select, compile_view, file};
use trueup_core::{Aggregate, Frame, Func, IdKind, Keep, Kind};
use trueup_sql::{Definitions, GroupDef, compile, sql_type};

const HOUR: i64 = 3_600_000_000;

#[track_caller]
fn accepted(list: &str) -> Definitions {
    compile_select(list).unwrap_or_else(|errors| panic!("{list}\n{errors}"))
}

#[track_caller]
fn accepted_view(text: &str) -> Definitions {
    compile_view(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

/// The only aggregate of a select list, and its group.
#[track_caller]
fn only(list: &str) -> (Aggregate, GroupDef) {
    let definitions = accepted(list);
    assert_eq!(definitions.groups.len(), 1, "{list}");
    assert_eq!(definitions.groups[0].core.aggregates.len(), 1, "{list}");
    (definitions.groups[0].core.aggregates[0].clone(), definitions.groups[0].clone())
}

/// A training set whose columns change type with the aggregate breaks the model that reads it.
#[test]
fn an_aggregate_that_gives_back_a_value_of_its_argument_has_the_type_of_its_argument() {
    for (feature, ty) in [
        ("max(amount) OVER hour", "DECIMAL(12,2)"),
        ("min(amount) OVER bins", "DECIMAL(12,2)"),
        ("first_value(amount) OVER hour", "DECIMAL(12,2)"),
        ("last_value(amount) OVER ever", "DECIMAL(12,2)"),
        ("lag(amount) OVER (PARTITION BY user_id ORDER BY event_time)", "DECIMAL(12,2)"),
        ("array_agg(amount) OVER last5", "DECIMAL(12,2)[]"),
        ("sum(amount) OVER hour", "DECIMAL(38,2)"),
        ("max(amount) OVER hour + amount", "DECIMAL(13,2)"),
    ] {
        let definitions = accepted(&format!("{feature} AS f"));
        assert_eq!(sql_type(&definitions.views[0].outputs[0].ty), ty, "{feature}");
    }
}

#[test]
fn the_design_example_compiles() {
    let definitions = accepted_view(
        "CREATE VIEW fraud AS
         SELECT transaction_id, amount,
           count(*)    OVER user_hour AS user_transaction_count_last_hour,
           sum(amount) OVER user_day AS user_amount_last_day,
           count(*) FILTER (WHERE status = 'declined') OVER user_day AS user_declines_last_day,
           count(DISTINCT merchant_id) OVER user_day AS user_merchants_last_day,
           amount / nullif(avg(amount) OVER user_month, 0) AS amount_vs_usual,
           count(*) OVER merchant_hour AS merchant_transactions_last_hour,
           (SELECT count(*) FROM logins WHERE logins.user_id = transactions.user_id
              AND logins.at BETWEEN transactions.event_time - INTERVAL '1 hour'
                                AND transactions.event_time) AS logins_last_hour
         FROM transactions
         WINDOW
           user_hour AS (PARTITION BY user_id ORDER BY event_time
                         RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
           user_day AS (PARTITION BY user_id ORDER BY event_time
                        RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW),
           user_month AS (PARTITION BY user_id ORDER BY event_time
                          RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW),
           merchant_hour AS (PARTITION BY merchant_id
                             ORDER BY date_bin(INTERVAL '1 minute', event_time)
                             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)",
    );
    let names: Vec<&str> = definitions.groups.iter().map(|group| &*group.name).collect();
    assert_eq!(
        names,
        ["logins/user_id", "transactions/merchant_id/bin=1m", "transactions/user_id"]
    );
    let users = &definitions.groups[2];
    assert_eq!(users.core.aggregates.len(), 5);
    let slots: Vec<&str> = users.slots.iter().map(|slot| slot.text()).collect();
    assert_eq!(slots, ["amount", "merchant_id", "status = 'declined'"]);
    assert_eq!(users.core.slots, [Kind::Decimal { scale: 2 }, Kind::Int, Kind::Bool]);
    assert_eq!(users.core.lateness_us, HOUR);

    let view = definitions.view("fraud").unwrap();
    assert_eq!(view.outputs.len(), 9);
    assert_eq!(view.feature_count(), 7);
    assert_eq!(view.row_schema.fields().len(), 10 + 7);
    let vs_usual = &view.outputs[6];
    assert_eq!((vs_usual.row_columns.len(), vs_usual.features.len()), (1, 1));
    let (lookup, place) = view.feature(vs_usual.features[0]).unwrap();
    let lookup = &view.lookups[lookup];
    let aggregate = &definitions.groups[lookup.group].core.aggregates[lookup.aggregates[place]];
    assert_eq!(aggregate.func, Func::Avg);
    assert!(view.feature(view.feature_count()).is_none());
    let logins = view.lookups.iter().find(|lookup| !lookup.null_matches).unwrap();
    assert_eq!((logins.group, &*logins.keys), (0, &[2][..]));
}

/// An ORDER BY, a frame clause, and what they compile to.
type FrameCase = (&'static str, &'static str, Keep, Frame);

#[track_caller]
fn check_frames(cases: &[FrameCase]) {
    for (order, frame, keep, expected) in cases {
        let list = format!("max(amount) OVER (PARTITION BY user_id ORDER BY {order} {frame}) AS f");
        let (aggregate, group) = only(&list);
        assert_eq!((group.core.keep, aggregate.frame), (*keep, *expected), "{list}");
    }
}

fn range(far_us: Option<i64>, near_us: i64) -> Frame {
    Frame::Range { far_us, near_us }
}

#[test]
fn frames_by_time_mean_what_sql_says() {
    let (exact, ever) = (Keep::Exact, Keep::Lifetime);
    let hour = "INTERVAL '1 hour' PRECEDING";
    let tick = "INTERVAL '0.000001 seconds' PRECEDING";
    let texts = [
        format!("RANGE BETWEEN {hour} AND CURRENT ROW"),
        format!("RANGE {hour}"),
        "RANGE INTERVAL '1' HOUR PRECEDING".into(),
        format!("RANGE BETWEEN INTERVAL '2 hours' PRECEDING AND {hour}"),
        format!("RANGE BETWEEN {hour} AND {tick}"),
        "RANGE BETWEEN CURRENT ROW AND CURRENT ROW".into(),
        "RANGE UNBOUNDED PRECEDING".into(),
        "".into(),
        format!("RANGE BETWEEN UNBOUNDED PRECEDING AND {hour}"),
    ];
    let expected = [
        (exact, range(Some(HOUR), 0)),
        (exact, range(Some(HOUR), 0)),
        (exact, range(Some(HOUR), 0)),
        (exact, range(Some(2 * HOUR), HOUR)),
        (exact, range(Some(HOUR), 1)),
        (exact, range(Some(0), 0)),
        (ever, range(None, 0)),
        (ever, range(None, 0)),
        (ever, range(None, HOUR)),
    ];
    for (text, (keep, frame)) in texts.iter().zip(expected) {
        for order in ["event_time", "event_time ASC"] {
            let list =
                format!("max(amount) OVER (PARTITION BY user_id ORDER BY {order} {text}) AS f");
            let (aggregate, group) = only(&list);
            assert_eq!((group.core.keep, aggregate.frame), (keep, frame), "{list}");
        }
    }
}

#[test]
fn frames_by_rows_go_by_time_and_id() {
    let rows = |far, near| Frame::Rows { far, near };
    check_frames(&[
        ("event_time", "ROWS BETWEEN 9 PRECEDING AND CURRENT ROW", Keep::Exact, rows(9, 0)),
        ("event_time", "ROWS 9 PRECEDING", Keep::Exact, rows(9, 0)),
        ("event_time", "ROWS BETWEEN CURRENT ROW AND CURRENT ROW", Keep::Exact, rows(0, 0)),
        (
            "event_time, transaction_id",
            "ROWS BETWEEN 9 PRECEDING AND 1 PRECEDING",
            Keep::Exact,
            rows(9, 1),
        ),
    ]);
}

#[test]
fn bins_start_at_their_origin() {
    let minute = 60_000_000;
    let bins = |origin_us| Keep::Binned { width_us: minute, origin_us };
    let ever = "RANGE UNBOUNDED PRECEDING";
    let closed = "RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '1 minute' PRECEDING";
    check_frames(&[
        ("date_bin(INTERVAL '1 minute', event_time)", ever, bins(0), range(None, 0)),
        ("date_bin('1 minute'::interval, event_time)", ever, bins(0), range(None, 0)),
        (
            "date_bin(INTERVAL '1 minute', event_time, TIMESTAMP '2000-01-01 00:00:30')",
            ever,
            bins(minute / 2),
            range(None, 0),
        ),
        (
            "date_bin(INTERVAL '1 minute', event_time, TIMESTAMP '1900-01-01')",
            closed,
            bins(0),
            range(Some(HOUR), minute),
        ),
    ]);
}

#[test]
fn every_aggregate_is_kept_with_its_kind() {
    let decimal = Kind::Decimal { scale: 2 };
    let cases: [(&str, Func, Kind); 24] = [
        ("count(*) OVER hour", Func::Count, Kind::Int),
        ("count(1) OVER hour", Func::Count, Kind::Int),
        ("count(status) OVER hour", Func::Count, Kind::Int),
        ("count(DISTINCT status) OVER hour", Func::CountDistinct, Kind::Int),
        ("sum(amount) OVER hour", Func::Sum, decimal.clone()),
        ("sum(user_id) OVER hour", Func::Sum, Kind::Int),
        ("sum(fee) OVER bins", Func::Sum, Kind::Float),
        ("avg(amount) OVER hour", Func::Avg, Kind::Float),
        ("mean(fee) OVER ever", Func::Avg, Kind::Float),
        ("min(status) OVER hour", Func::Min, Kind::Text),
        ("max(opened) OVER ever", Func::Max, Kind::Date),
        ("min(event_time) OVER ever", Func::Min, Kind::Time),
        ("variance(fee) OVER hour", Func::VarSamp, Kind::Float),
        ("var_pop(fee) OVER hour", Func::VarPop, Kind::Float),
        ("stddev(amount) OVER hour", Func::StddevSamp, Kind::Float),
        ("stddev_pop(fee) OVER hour", Func::StddevPop, Kind::Float),
        ("first_value(status) OVER ever", Func::First, Kind::Text),
        ("last_value(amount) OVER hour", Func::Last, decimal.clone()),
        ("bool_and(online) OVER hour", Func::BoolAnd, Kind::Bool),
        ("bool_or(status = 'declined') OVER hour", Func::BoolOr, Kind::Bool),
        ("approx_distinct(merchant_id) OVER ever", Func::ApproxDistinct, Kind::Int),
        ("approx_percentile_cont(amount, 0.95) OVER bins", Func::Percentile(0.95), Kind::Float),
        (
            "approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY fee) OVER hour",
            Func::Percentile(0.5),
            Kind::Float,
        ),
        ("array_agg(status) OVER last5", Func::ArrayAgg, Kind::List(Box::new(Kind::Text))),
    ];
    for (call, func, kind) in cases {
        let (aggregate, group) = only(&format!("{call} AS f"));
        assert_eq!((&aggregate.func, group.core.kind_of(&aggregate)), (&func, kind), "{call}");
    }
}

#[test]
fn lag_goes_by_rows_whatever_the_frame() {
    for list in ["lag(amount) OVER hour AS f", "lag(amount, 1) OVER ever AS f"] {
        let (aggregate, group) = only(list);
        assert_eq!(aggregate.frame, Frame::Rows { far: 1, near: 1 });
        assert_eq!(group.core.keep, Keep::Exact);
    }
    assert_eq!(only("lag(amount, 3) OVER hour AS f").0.frame, Frame::Rows { far: 3, near: 3 });
}

#[test]
fn windows_can_be_written_inline_named_or_built_upon() {
    let definitions = accepted_view(
        "CREATE VIEW v AS SELECT
           count(*) OVER (PARTITION BY user_id ORDER BY event_time
                          RANGE INTERVAL '1 hour' PRECEDING) AS a,
           count(*) OVER w AS b,
           count(*) OVER (base ORDER BY event_time RANGE INTERVAL '1 hour' PRECEDING) AS c,
           count(*) OVER (ordered RANGE INTERVAL '1 hour' PRECEDING) AS d
         FROM transactions
         WINDOW base AS (PARTITION BY user_id), ordered AS (base ORDER BY event_time),
                w AS (ordered RANGE INTERVAL '1 hour' PRECEDING)",
    );
    assert_eq!(definitions.views[0].feature_count(), 1, "all four are one feature");
}

#[test]
fn equal_arguments_and_aggregates_are_kept_once() {
    let definitions = accepted(
        "sum(amount) OVER hour AS a, avg(transactions.amount) OVER hour AS b,
         sum( amount ) OVER hour + 1 AS c, sum(amount) FILTER (WHERE status='x') OVER hour AS d,
         count(*) FILTER (WHERE (status = 'x')) OVER hour AS e",
    );
    let group = &definitions.groups[0];
    let slots: Vec<&str> = group.slots.iter().map(|slot| slot.text()).collect();
    assert_eq!(slots, ["amount", "status = 'x'"]);
    assert_eq!(group.core.aggregates.len(), 4);
}

#[test]
fn the_rows_of_a_view_are_chosen_by_where_or_by_a_subselect() {
    let texts: Vec<Definitions> = [
        "SELECT count(*) OVER w AS n FROM transactions WHERE status = 'ok' AND amount > 5",
        "SELECT count(*) OVER w AS n FROM (SELECT * FROM transactions WHERE status='ok') t
         WHERE t.amount > 5",
        "SELECT count(*) OVER w AS n
         FROM (SELECT user_id, event_time, amount AS a FROM transactions
               WHERE status = 'ok' AND transactions.amount > 5) x",
    ]
    .iter()
    .map(|select| {
        accepted_view(&format!(
            "CREATE VIEW v AS {select} WINDOW w AS (PARTITION BY user_id ORDER BY event_time
             RANGE INTERVAL '1 hour' PRECEDING)"
        ))
    })
    .collect();
    for definitions in &texts {
        let filter = definitions.groups[0].filter.as_ref().unwrap();
        assert_eq!(filter.text(), "status = 'ok' AND amount > 5");
        assert_eq!(definitions.groups[0].digest, texts[0].groups[0].digest);
        assert_eq!(definitions.views[0].digest, texts[0].views[0].digest);
    }
}

#[test]
fn views_share_groups_and_wildcards_are_written_out() {
    let definitions = accepted_view(
        "CREATE VIEW a AS SELECT *, count(*) OVER w AS n FROM transactions
         WINDOW w AS (PARTITION BY user_id ORDER BY event_time RANGE INTERVAL '1 day' PRECEDING);
         CREATE VIEW b AS SELECT t.*, sum(t.amount) OVER (PARTITION BY t.user_id
           ORDER BY t.event_time RANGE INTERVAL '1 hour' PRECEDING) AS s FROM transactions AS t;",
    );
    assert_eq!(definitions.groups.len(), 1);
    assert_eq!(definitions.views[0].outputs.len(), 11);
    assert_eq!(definitions.views[1].outputs.len(), 11);
    assert_eq!(definitions.views[0].outputs[4].name, "amount");
}

#[test]
fn text_ids_are_kept_whole_only_where_order_matters() {
    let id_of = |aggregate: &str| {
        accepted_view(&format!(
            "CREATE VIEW v AS SELECT {aggregate} OVER (PARTITION BY user_id ORDER BY at
             RANGE INTERVAL '1 hour' PRECEDING) AS f FROM logins"
        ))
        .groups[0]
            .core
            .id
    };
    assert_eq!(id_of("count(*)"), IdKind::Hash);
    assert_eq!(id_of("last_value(device)"), IdKind::Text);
    assert_eq!(id_of("lag(device)"), IdKind::Text);
}

#[test]
fn subqueries_are_windows_over_the_other_stream() {
    let cases = [
        ("l.at BETWEEN t.event_time - INTERVAL '1 hour' AND t.event_time", range(Some(HOUR), 0)),
        ("l.at <= t.event_time AND l.at >= t.event_time - INTERVAL '1 hour'", range(Some(HOUR), 0)),
        (
            "t.event_time > l.at AND t.event_time - INTERVAL '1 hour' < l.at",
            range(Some(HOUR - 1), 1),
        ),
        ("at <= event_time", range(None, 0)),
        ("l.at <= t.event_time - INTERVAL '7 days'", range(None, 7 * 24 * HOUR)),
        ("l.at + INTERVAL '1 hour' >= t.event_time AND l.at <= t.event_time", range(Some(HOUR), 0)),
    ];
    for (condition, frame) in cases {
        let definitions = accepted_view(&format!(
            "CREATE VIEW v AS SELECT (SELECT count(*) FROM logins l
               WHERE l.user_id = t.user_id AND {condition} AND NOT failed) AS f
             FROM transactions t"
        ));
        let core = &definitions.groups[0].core;
        assert_eq!(core.aggregates[0].frame, frame, "{condition}");
        assert_eq!(definitions.groups[0].slots[0].text(), "NOT failed");
        let exact = matches!(frame, Frame::Range { far_us: Some(_), .. });
        assert_eq!(core.keep, if exact { Keep::Exact } else { Keep::Lifetime });
    }
}

#[test]
fn a_subquery_may_compute_with_several_aggregates_and_with_the_row() {
    let definitions = accepted_view(
        "CREATE VIEW v AS SELECT amount, 1 +
           (SELECT coalesce(sum(u.amount) / nullif(count(*), 0), t.amount)
           FROM transactions u WHERE t.merchant_id = u.merchant_id AND t.user_id = u.user_id
           AND u.event_time < t.event_time) AS f
         FROM transactions t",
    );
    let view = &definitions.views[0];
    assert_eq!(view.feature_count(), 2);
    assert_eq!(view.lookups[0].keys, [2, 3]);
    assert_eq!(definitions.groups[0].name, "transactions/user_id+merchant_id/lifetime");
    assert_eq!(view.outputs[1].row_columns, [4]);
}

#[test]
fn binned_subqueries_cut_both_times_alike() {
    let definitions = accepted_view(
        "CREATE VIEW v AS SELECT (SELECT count(*) FROM logins l WHERE l.user_id = t.user_id
           AND date_bin(INTERVAL '1 minute', l.at) BETWEEN
             date_bin(INTERVAL '1 minute', t.event_time) - INTERVAL '1 hour'
             AND date_bin(INTERVAL '1 minute', t.event_time)) AS f FROM transactions t",
    );
    let keep = Keep::Binned { width_us: 60_000_000, origin_us: 0 };
    assert_eq!(definitions.groups[0].core.keep, keep);
}

#[test]
fn declarations_take_every_type_and_option() {
    let definitions = compile(&[file(
        "all.sql",
        "CREATE VIEW v AS SELECT count(*) OVER (PARTITION BY \"Key\" ORDER BY t
           RANGE INTERVAL '1 hour' PRECEDING) AS n FROM s;
         CREATE TABLE s (id TEXT, t TIMESTAMPTZ, known TIMESTAMP WITH TIME ZONE, a SMALLINT, b INT,
           c INT8, d NUMERIC(10), e DOUBLE PRECISION, f FLOAT8, g BOOL, h VARCHAR(20), i DATE,
           \"Key\" BIGINT NOT NULL, PRIMARY KEY (id))
         WITH (event_time = 't', known_at = 'known', lateness = '2 days', future = '1 minute',
               reorder = '3 seconds', epoch_unit = 'millis')",
    )])
    .unwrap();
    let stream = definitions.stream("s").unwrap();
    let types: Vec<String> = stream.columns.iter().map(|column| column.ty.to_string()).collect();
    let expected = "VARCHAR TIMESTAMP TIMESTAMP SMALLINT INTEGER BIGINT DECIMAL(10,0) DOUBLE \
                    DOUBLE BOOLEAN VARCHAR DATE BIGINT";
    assert_eq!(types.join(" "), expected);
    assert_eq!((stream.id, stream.event_time, stream.known_at), (0, 1, Some(2)));
    assert_eq!((stream.lateness_us, stream.future_us), (48 * HOUR, 60_000_000));
    assert_eq!(stream.reorder_us, 3_000_000);
    let not_null: Vec<usize> =
        (0..stream.columns.len()).filter(|column| stream.columns[*column].not_null).collect();
    assert_eq!(not_null, [0, 1, 12]);
}
