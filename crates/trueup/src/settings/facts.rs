//! What the page of settings says of each key that the structs do not: type, default, range, and
//! settings that are refused for it.

use super::database::{MAX_CONNECTIONS, MAX_ROWS};
use super::models::{DEFAULT_FOLDER, MAX_THREADS};
use super::reference::{code, loaded, span};
use crate::serve::MILLION;
use std::fmt;
use std::path::Path;
use trueup_store::RedisOptions;

/// What the structs do not say of a key.
pub(super) struct Fact {
    /// Its name, with that of its table before a dot.
    pub(super) key: &'static str,
    /// Type, unit and range.
    pub(super) kind: String,
    /// What holds where it is not set.
    pub(super) default: String,
    /// Settings that are refused for it.
    pub(super) wrong: &'static [&'static str],
    /// What becomes of wrong values that only show later.
    pub(super) later: &'static str,
}

/// What becomes of a password that is not the server's.
const OTHER_PASSWORD: &str =
    "Another password than the server's ends the start, with what the server said.";

/// Of all keys, in no order.
pub(super) fn facts() -> Vec<Fact> {
    let all =
        [store(), events(), bad(), server(), database(), bounds(), behind(), views(), models()];
    all.into_iter().flatten().collect()
}

fn fact(
    key: &'static str,
    kind: impl Into<String>,
    default: impl Into<String>,
    wrong: &'static [&'static str],
    later: &'static str,
) -> Fact {
    Fact { key, kind: kind.into(), default: default.into(), wrong, later }
}

/// Of the definitions and the store.
fn store() -> Vec<Fact> {
    let redis = loaded("store = \"redis://HOST\"").store;
    let data = redis.data().unwrap_or(Path::new("")).display().to_string();
    vec![
        fact(
            "definitions",
            "path",
            "none: it must be set",
            &["store = \"memory:\""],
            "A path with nothing in it, or SQL that does not compile, ends the start with \
             file, line and column.",
        ),
        fact(
            "store",
            "URL",
            code(loaded("").store),
            &["store = \"disk:x\"", "[env.production]", "[env.production]\nstore = \"memory:\""],
            "A URL that cannot be, and a server that is away or evicts, end the start; \
             `embedded:` that another process has, too.",
        ),
        fact(
            "store_prefix",
            "text",
            code(RedisOptions::default().prefix),
            &[],
            "Any text is taken; with another one the store is an empty one.",
        ),
        fact(
            "store_password_file",
            "path",
            "no password",
            &["store = \"redis://HOST\"\nstore_password_file = \"away\""],
            OTHER_PASSWORD,
        ),
        fact(
            "store_ca_file",
            "path",
            "the system's certificates",
            &[],
            "A file that is not there, or holds no certificate, ends the start.",
        ),
        fact(
            "data",
            "path",
            code(data),
            &[],
            "A folder that cannot be written, or that \
             another process has, ends the start.",
        ),
    ]
}

/// Of where events come from.
fn events() -> Vec<Fact> {
    vec![
        fact(
            "source",
            "URL, list or table of URLs",
            "none: the log that HTTP push writes",
            &["source = \"amqp://HOST\""],
            "The rest of the URL is looked at when the process starts: what is missing in it \
             ends the start; a server that is away is waited for.",
        ),
        fact(
            "source_password_file",
            "path",
            "no password",
            &["source = \"nats://HOST/PAY?stream=PAY\"\nsource_password_file = \"away\""],
            OTHER_PASSWORD,
        ),
        fact(
            "kafka",
            "table of texts",
            "empty",
            &[
                "kafka = { \"sasl.password_file\" = \
                 \"away\" }\nsource = \"kafka://HOST:9092/T?group=G\"",
                "TRUEUP_KAFKA=sasl.password",
            ],
            "Properties that Trueup depends on and ones that librdkafka does not know end the \
             start, with its words.",
        ),
        fact(
            "avro",
            "tables, see below",
            "none: records are JSON",
            &[],
            "A stream that no \
             `source` brings ends the start.",
        ),
        fact(
            "avro.STREAM.schema",
            "path, or list of paths",
            "none: all records have ids",
            &["[avro.pay]\nschema = \"away.avsc\"", "[avro.pay]"],
            "A schema that lacks a NOT NULL column of the stream, or has another type for one, \
             ends the start.",
        ),
        fact(
            "avro.STREAM.ids",
            "table of paths, by whole numbers",
            "none: no record has an id",
            &["[avro.pay]\nids = { first = \"pay.avsc\" }"],
            "A record with another id is a \
             dead letter that says which.",
        ),
    ]
}

/// Of records that cannot be used.
fn bad() -> Vec<Fact> {
    let usual = loaded("").bad.max_percent;
    let percent = usual.map(|percent| percent.to_string()).unwrap_or_default();
    vec![
        fact(
            "dead_letters",
            "URL",
            "none: the local log alone",
            &["dead_letters = \
               \"s3://HOST\""],
            "A place that is away is waited for, and ingest with it.",
        ),
        fact(
            "max_bad_percent",
            "whole number, percent, 1 to 100",
            code(percent),
            &["max_bad_percent = 0"],
            "",
        ),
        fact(
            "accept_bad",
            "true or false",
            code(usual.is_none()),
            &["accept_bad = \"yes\"", "TRUEUP_ACCEPT_BAD=yes"],
            "",
        ),
    ]
}

/// Of the server.
fn server() -> Vec<Fact> {
    let usual = loaded("");
    vec![
        fact(
            "listen",
            "`ADDRESS:PORT`",
            code(loaded("").listen),
            &["listen = \"here\"", "listen = \"0.0.0.0:8080\""],
            "A port that is taken ends \
             the start.",
        ),
        fact(
            "ingest_listen",
            "`ADDRESS:PORT`",
            "none: it listens nowhere",
            &["ingest_listen = \"9090\""],
            "A port that is taken ends the start.",
        ),
        fact(
            "grpc_listen",
            "`ADDRESS:PORT`",
            "none: no gRPC",
            &["grpc_listen = \"9000\""],
            "A port that is taken ends the start.",
        ),
        fact(
            "token_file",
            "path",
            "none: callers need no token",
            &["token_file = \"away\"", "TRUEUP_TOKEN=short"],
            "",
        ),
        fact("insecure", "true or false", code(usual.insecure), &["insecure = 1"], ""),
        fact(
            "max_staleness",
            "duration",
            span(usual.max_staleness),
            &["max_staleness = \"5\""],
            "",
        ),
        fact(
            "record_to_log",
            "true or false",
            code(usual.record_to_log),
            &["TRUEUP_RECORD_TO_LOG=no"],
            "",
        ),
    ]
}

/// Of the database.
fn database() -> Vec<Fact> {
    let away = "A table that does not fit ends the start; a database that is away is a warning, \
                and is asked again.";
    vec![
        fact(
            "database",
            "URL",
            "none: what the store does not vouch for is `UNKNOWN`",
            &["database = \"oracle://HOST\""],
            "A table that does not fit ends the start, and so does a server that does not prove \
             its name; a database that is away is a warning, and is asked again.",
        ),
        fact(
            "database_password_file",
            "path",
            "no password",
            &["database = \"postgres://USER@HOST/NAME\"\ndatabase_password_file = \"away\""],
            "Another password than the server's counts as a database that is away.",
        ),
        fact(
            "database_tables",
            "tables, see below",
            "none: tables and columns are called as \
             the streams' are",
            &[],
            "A stream that there is not ends the start.",
        ),
        fact(
            "database_tables.STREAM.table",
            "text, perhaps with a schema before a dot",
            "the stream's name",
            &[],
            away,
        ),
        fact("database_tables.STREAM.columns", "table of texts", "the stream's names", &[], away),
        fact(
            "database_tables.STREAM.time_unit",
            "`seconds`, `milliseconds` or `microseconds`",
            "none: times are the database's own",
            &["database = \"sqlite:a\"\n[database_tables.pay]\ntime_unit = \"hours\""],
            "",
        ),
    ]
}

/// Of the bounds on asking it.
fn bounds() -> Vec<Fact> {
    let settings = loaded("database = \"sqlite:events.db\"").database;
    let settings = settings.expect("a database was named");
    let bounds = settings.bounds;
    let whole = |most: &dyn fmt::Display| format!("whole number, 1 to {most}");
    vec![
        fact(
            "database_connections",
            whole(&MAX_CONNECTIONS),
            code(bounds.connections),
            &[
                "database = \"sqlite:a\"\ndatabase_connections = 65",
                "TRUEUP_DATABASE_CONNECTIONS=many",
            ],
            "",
        ),
        fact(
            "database_per_second",
            whole(&u32::MAX),
            code(bounds.per_second),
            &["database = \"sqlite:a\"\ndatabase_per_second = 0"],
            "",
        ),
        fact(
            "database_timeout",
            "duration above zero",
            span(bounds.timeout),
            &["database = \"sqlite:a\"\ndatabase_timeout = \"0s\""],
            "",
        ),
        fact(
            "database_max_rows",
            whole(&MAX_ROWS),
            code(bounds.max_rows),
            &["database = \"sqlite:a\"\ndatabase_max_rows = 1000000"],
            "",
        ),
        fact(
            "database_max_failures",
            whole(&u32::MAX),
            code(bounds.max_failures),
            &["database = \"sqlite:a\"\ndatabase_max_failures = 0"],
            "",
        ),
        fact(
            "database_pause",
            "duration above zero",
            span(bounds.pause),
            &["database = \"sqlite:a\"\ndatabase_pause = \"1\""],
            "",
        ),
    ]
}

/// Of what is done with it behind answers.
fn behind() -> Vec<Fact> {
    let settings = loaded("database = \"sqlite:events.db\"").database;
    let settings = settings.expect("a database was named");
    let sample = f64::from(settings.verify_per_million) / f64::from(MILLION);
    vec![
        fact(
            "verify_sample",
            "share, 0 to 1",
            code(sample),
            &["database = \
               \"sqlite:a\"\nverify_sample = 2"],
            "",
        ),
        fact(
            "write_back",
            "true or false",
            code(settings.write_back),
            &["database = \"sqlite:a\"\nwrite_back = \"yes\"", "TRUEUP_WRITE_BACK=yes"],
            "",
        ),
    ]
}

/// Of what views return.
fn views() -> Vec<Fact> {
    let policy = "`value`, `null`, `default` or `refuse`";
    vec![
        fact(
            "views",
            "tables, see below",
            "none: UNKNOWN is NULL, all else its value",
            &[],
            "A view or a column that the definitions do not have ends the start. Of definitions \
             that come later it is a warning, and their view answers without the table.",
        ),
        fact(
            "views.VIEW.unknown",
            "`null`, `default` or `refuse`",
            code("null"),
            &["[views.risk]\nunknown = \"value\""],
            "",
        ),
        fact("views.VIEW.stale", policy, code("value"), &["[views.risk]\nstale = \"old\""], ""),
        fact("views.VIEW.not_found", policy, code("value"), &[], ""),
        fact("views.VIEW.null_value", policy, code("value"), &[], ""),
        fact(
            "views.VIEW.defaults",
            "table of values",
            "empty",
            &["[views.risk]\nunknown = \"default\"", "[views.risk.defaults]\nn = 1"],
            "",
        ),
    ]
}

/// Of models.
fn models() -> Vec<Fact> {
    let own = "what the model says of itself";
    let late = "What does not fit keeps that model out, and shows in `/readyz?verbose`.";
    let threads = loaded("[models]\nruntime = \"x\"").models.map(|models| models.threads);
    vec![
        fact("models", "table, see below", "none: nothing is scored", &["[models]"], ""),
        fact(
            "models.folder",
            "path",
            code(DEFAULT_FOLDER),
            &["[models]\nruntime = \"x\"\nfolders = \"y\""],
            "A folder that cannot be read ends the start.",
        ),
        fact(
            "models.runtime",
            "path",
            "none: it must be set",
            &[],
            "A library that cannot be opened, or is too old, ends the start.",
        ),
        fact(
            "models.threads",
            format!("whole number, 1 to {MAX_THREADS}"),
            code(threads.unwrap_or_default()),
            &["[models]\nruntime = \"x\"\nthreads = 0"],
            "",
        ),
        fact("models.NAME.view", "text", own, &[], late),
        fact(
            "models.NAME.columns",
            "list of texts",
            own,
            &["[models]\nruntime = \"x\"\n[models.fraud]\ncolumns = []"],
            late,
        ),
        fact("models.NAME.output", "text", own, &[], late),
    ]
}
