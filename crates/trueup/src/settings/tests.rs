//! Settings as people write them, and what is said of those that cannot be.

use super::*;
use crate::place::SourcePlace;
use crate::serve::{Policy, Status};

/// Settings of a file's text, variables and flags.
fn load(
    text: &str,
    variables: &[(&str, &str)],
    environment: Option<&str>,
    layer: Layer,
) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, text).unwrap();
    let flags = Flags { settings: Some(path), environment: environment.map(String::from), layer };
    let variable = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
    };
    Settings::load(&flags, variable).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str, environment: &str, part: &str) {
    let said = load(text, &[], Some(environment), Layer::default()).unwrap_err();
    assert!(said.contains(part), "{said}");
}

#[test]
fn flags_go_before_variables_before_environments_before_the_file() {
    let text = "definitions = 'a.sql'\nlisten = '127.0.0.1:1'\n[env.dev]\nlisten = '127.0.0.1:2'";
    let port = |variables: &[(&str, &str)], layer: Layer| {
        load(text, variables, None, layer).unwrap().listen.port()
    };
    let flag = Layer { listen: Some("127.0.0.1:4".into()), ..Layer::default() };
    assert_eq!(port(&[], Layer::default()), 2);
    assert_eq!(port(&[("TRUEUP_LISTEN", "127.0.0.1:3")], Layer::default()), 3);
    assert_eq!(port(&[("TRUEUP_LISTEN", "127.0.0.1:3")], flag), 4);
}

#[test]
fn production_does_not_start_without_a_named_store() {
    refused("definitions = 'a.sql'\n[env.production]", "production", "without an online store");
    let memory = "definitions = 'a.sql'\n[env.production]\nstore = 'memory:'";
    refused(memory, "production", "forgets");
    let named = "definitions = 'a.sql'\n[env.production]\nstore = 'embedded:state'";
    let settings = load(named, &[], Some("production"), Layer::default()).unwrap();
    let Place::Embedded(path) = settings.store else { panic!("not embedded") };
    assert!(path.ends_with("state"));
}

#[test]
fn other_machines_need_a_token_or_a_word() {
    let open = "definitions = 'a.sql'\nlisten = '0.0.0.0:8080'";
    refused(open, "dev", "TRUEUP_TOKEN");
    let token = [("TRUEUP_TOKEN", "0123456789abcdef")];
    assert!(load(open, &token, None, Layer::default()).is_ok());
    assert!(load(&format!("{open}\ninsecure = true"), &[], None, Layer::default()).is_ok());
    let short = [("TRUEUP_TOKEN", "short")];
    assert!(load(open, &short, None, Layer::default()).unwrap_err().contains("16"));
}

/// Processes of one file would take each other's port.
#[test]
fn a_process_that_only_applies_listens_where_it_is_told_and_not_where_the_server_does() {
    let server = "definitions = 'a.sql'\nlisten = '127.0.0.1:1'";
    let address = |text: &str, variables: &[(&str, &str)]| {
        load(text, variables, None, Layer::default()).map(|settings| settings.ingest_listen)
    };
    assert_eq!(address(server, &[("TRUEUP_LISTEN", "127.0.0.1:2")]), Ok(None));
    let own = format!("{server}\ningest_listen = '127.0.0.1:3'");
    assert_eq!(address(&own, &[]), Ok(Some(SocketAddr::from(([127, 0, 0, 1], 3)))));
    let open = [("TRUEUP_INGEST_LISTEN", "0.0.0.0:4")];
    assert!(address(server, &open).unwrap_err().contains("setting ingest_listen (no token)"));
}

#[cfg(feature = "grpc")]
#[test]
fn grpc_listens_nowhere_unless_told_and_by_the_same_rules() {
    let address = |said: &str| {
        let text = format!("definitions = 'a.sql'\n{said}");
        load(&text, &[], None, Layer::default()).map(|settings| settings.grpc_listen)
    };
    assert_eq!(address(""), Ok(None));
    let here = SocketAddr::from(([127, 0, 0, 1], 8002));
    assert_eq!(address("grpc_listen = '127.0.0.1:8002'"), Ok(Some(here)));
    let open = address("grpc_listen = '0.0.0.0:8002'").unwrap_err();
    assert!(open.contains("setting grpc_listen (no token)"), "{open}");
}

#[cfg(not(feature = "grpc"))]
#[test]
fn a_program_without_grpc_says_how_to_build_one_with_it() {
    let text = "definitions = 'a.sql'\ngrpc_listen = '127.0.0.1:8002'";
    refused(text, "dev", "cargo build --release --features grpc");
}

#[test]
fn a_token_is_never_printed() {
    let token = [("TRUEUP_TOKEN", "canary-0123456789")];
    let settings = load("definitions = 'a.sql'", &token, None, Layer::default()).unwrap();
    assert!(!format!("{settings:?}").contains("canary"));
}

#[test]
fn what_is_not_understood_is_named_with_its_place() {
    refused("defintions = 'a.sql'", "dev", "defintions");
    refused("[env.dev]\nstor = 'x'", "dev", "stor");
    refused("definitions = 'a.sql'\nstore = 'disk:x'", "dev", "embedded:PATH");
    refused("definitions = 'a.sql'\nlisten = 'here'", "dev", "127.0.0.1:8080");
    refused("definitions = 'a.sql'\n[env.dev]\n", "prod", "there are: dev");
    refused("", "dev", "--definitions");
    refused("definitions = 'a.sql'\nmax_staleness = '5'", "dev", "500ms");
}

#[test]
fn streams_of_redis_are_a_source_and_their_password_is_not_shown() {
    let text = "definitions = 'a.sql'\nsource = 'redis-stream://me@a:1/pay?partitions=2'";
    let password = [("TRUEUP_SOURCE_PASSWORD", "hunter2")];
    let settings = load(text, &password, None, Layer::default()).unwrap();
    let (None, SourcePlace::RedisStream(place)) = &settings.sources[0] else { panic!("not one") };
    assert_eq!(place.url, "redis-stream://me@a:1/pay?partitions=2");
    assert_eq!(place.password.as_deref(), Some("hunter2"));
    let said = format!("{settings:?} {}", settings.sources[0].1);
    assert!(!said.contains("hunter2") && !said.contains("me@"), "{said}");
}

#[test]
fn subjects_of_nats_are_a_source_and_their_password_is_not_shown() {
    let text = "definitions = 'a.sql'\nsource = 'nats://me@a:1,b:2/pay?stream=PAY'";
    let password = [("TRUEUP_SOURCE_PASSWORD", "hunter2")];
    let settings = load(text, &password, None, Layer::default()).unwrap();
    let (None, SourcePlace::Nats(place)) = &settings.sources[0] else { panic!("not one") };
    assert_eq!(place.password.as_deref(), Some("hunter2"));
    let said = format!("{settings:?} {}", settings.sources[0].1);
    assert!(said.contains("nats://a:1,b:2/pay?stream=PAY"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("me@"), "{said}");
}

#[test]
fn what_a_view_returns_is_read_by_status_with_its_defaults() {
    let text = "definitions = 'a.sql'\n[views.risk]\nunknown = 'default'\nstale = 'refuse'\n\
                [views.risk.defaults]\nn = 3\nmean = 0.5\ncity = 'none'";
    let settings = load(text, &[], None, Layer::default()).unwrap();
    let risk = &settings.views["risk"];
    assert_eq!(
        risk.policies,
        [(Status::Unknown, Policy::Default), (Status::Stale, Policy::Refuse)]
    );
    assert_eq!(risk.defaults["n"], "3");
    assert_eq!(risk.defaults["mean"], "0.5");
    assert_eq!(risk.defaults["city"], "none");
    let views = "definitions = 'a.sql'\n[views.risk]\n";
    refused(&format!("{views}unknown = 'value'"), "dev", "no value that can be vouched for");
    refused(&format!("{views}stale = 'old'"), "dev", "value, null, default or refuse");
    refused(&format!("{views}stale = 'default'"), "dev", "[views.risk.defaults]");
    refused(&format!("{views}[views.risk.defaults]\nn = 1"), "dev", "that no status has");
    refused(&format!("{views}fresh = 'null'"), "dev", "fresh");
}

/// A schema that cannot be read, or a table with a word misspelt, would file every record away.
#[test]
fn schemas_of_avro_are_read_beside_the_file_and_refused_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let schema = r#"{"type": "record", "name": "t", "fields": [{"name": "id", "type": "long"}]}"#;
    std::fs::write(dir.path().join("t.avsc"), schema).unwrap();
    std::fs::write(dir.path().join("long.avsc"), "\"long\"").unwrap();
    std::fs::write(dir.path().join("big.avsc"), " ".repeat((1 << 20) + 1)).unwrap();
    let path = dir.path().join(FILE_NAME);
    let read = |table: &str| {
        std::fs::write(&path, format!("definitions = 'a.sql'\n[avro.pay]\n{table}")).unwrap();
        let flags = Flags { settings: Some(path.clone()), ..Flags::default() };
        Settings::load(&flags, |_| None).map_err(|error| error.to_string())
    };
    for table in [
        "schema = 't.avsc'",
        "schema = ['t.avsc', 't.avsc']",
        "ids = { '7' = 't.avsc', 8 = 't.avsc' }",
        "schema = 't.avsc'\nids = { '4294967295' = 't.avsc' }",
    ] {
        let avro = read(table).unwrap().avro;
        assert_eq!(avro.keys().collect::<Vec<_>>(), ["pay"], "{table}");
    }
    for (table, part) in [
        ("", "it names no schema"),
        ("schemas = 't.avsc'", "schemas"),
        ("schema = 'away.avsc'", "[avro.pay]): schema away.avsc: No such file"),
        ("schema = 'big.avsc'", "more than 1048576 bytes"),
        ("schema = 'long.avsc'", "schema long.avsc: it is not the schema of a record"),
        ("ids = { 'x' = 't.avsc' }", "\"x\" is no id of a schema"),
        ("ids = { '4294967296' = 't.avsc' }", "is no id of a schema"),
    ] {
        let said = read(table).unwrap_err();
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn models_need_a_runtime_and_their_paths_start_from_the_file() {
    let file = |models: &str| format!("definitions = 'a.sql'\n{models}");
    let said = "[models]\nruntime = 'lib/libonnxruntime.so.1'\n[models.fraud]\nview = 'risk'\n\
                columns = ['a', 'b']";
    let models = load(&file(said), &[], None, Layer::default()).unwrap().models.unwrap();
    assert!(models.runtime.is_absolute() && models.runtime.ends_with("lib/libonnxruntime.so.1"));
    assert!(models.folder.ends_with("models"));
    assert_eq!((models.threads, models.each["fraud"].view.as_deref()), (1, Some("risk")));
    assert!(load(&file(""), &[], None, Layer::default()).unwrap().models.is_none());
    for (said, part) in [
        ("[models]", "runtime = \"PATH/libonnxruntime.so\""),
        ("[models]\nruntime = 'x'\nthreads = 0", "write 1 to 64"),
        ("[models]\nruntime = 'x'\n[models.m]\ncolumns = []", "m: columns is empty"),
        (
            "[models]\nruntime = 'x'\n[models.m]\ncolumn = ['a']",
            "m: there is no setting column here; did you mean columns?",
        ),
        ("[models]\nruntime = 'x'\nfolders = 'y'", "folders is no setting of models"),
    ] {
        refused(&file(said), "dev", part);
    }
}

/// Thirty names and no line: the slip had to be looked for.
#[test]
fn a_key_that_is_not_known_is_told_with_its_line_and_the_nearest_name() {
    for (text, part) in [
        (
            "# 1\ndefinitions = 'a.sql'\n\nlistne = 'x'",
            "line 4, column 1: there is no setting \
          listne here; did you mean listen?",
        ),
        (
            "[env.dev]\n  defintions = 'a.sql'",
            "line 2, column 3: there is no setting defintions \
          here; did you mean definitions?",
        ),
        (
            "[views.v]\nwhatever = 1",
            "line 2, column 1: there is no setting whatever here; the \
          settings here are unknown, stale, not_found, null_value, defaults",
        ),
        ("definitions = 'a.sql'\ninsecure = 'yes'", "line 2, column 12: invalid type"),
    ] {
        refused(text, "dev", part);
    }
}
