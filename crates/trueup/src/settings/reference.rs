//! `docs/settings.md`: every key with its type, default, range and meaning, and what is said of a
//! value that is not taken. Nothing of it is written twice: meanings are the comments on the
//! structs that are read, defaults are what comes of settings that name nothing else, variables are
//! those that are looked up, flags those of the command, and refusals are provoked here.

use super::facts::{Fact, facts};
use super::raw::Raw;
use super::*;
use crate::cli::Cli;
use clap::CommandFactory;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// A struct's tables in the file, and the source with its comments.
const TABLES: [(&str, &str, &str); 6] = [
    ("", "Layer", include_str!("raw.rs")),
    ("avro.STREAM", "AvroSaid", include_str!("avro.rs")),
    ("database_tables.STREAM", "TableSaid", include_str!("database.rs")),
    ("views.VIEW", "ViewSaid", include_str!("views.rs")),
    ("models", "ModelsSaid", include_str!("models.rs")),
    ("models.NAME", "ModelSettings", include_str!("models.rs")),
];

/// Variables that set no key of the file.
const BESIDE: [(&str, &str); 9] = [
    (
        "TRUEUP_SETTINGS",
        "The settings file, as `--settings`; `trueup.toml` where none is \
         named. One that is named must be there.",
    ),
    ("TRUEUP_ENV", "The environment, as `--env`; `dev` where none is named."),
    ("TRUEUP_TOKEN", "The bearer token that callers must have; goes before `token_file`."),
    ("TRUEUP_STORE_PASSWORD", "The password of Redis; goes before `store_password_file`."),
    ("TRUEUP_SOURCE_PASSWORD", "That of the source; goes before `source_password_file`."),
    ("TRUEUP_DATABASE_PASSWORD", "That of the database; goes before `database_password_file`."),
    (
        "TRUEUP_LOG",
        "How much is logged: `error`, `warn` (unless said), `info`, `debug`, \
         `trace`, or filters of Rust's `tracing`, such as `trueup=info`. One that is not \
         understood counts as `warn`.",
    ),
    ("TRUEUP_URL", "The server that commands talk to, as `--url`."),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "Where spans of requests go, in builds with the feature `otel`; `docs/operations.md` has \
         its kin.",
    ),
];

/// What the page says before the keys.
const HEAD: &str = "\
<!-- Written by the code: TRUEUP_UPDATE=1 cargo nextest run --release --workspace --all-features -->

# Settings

One file, `trueup.toml`, in TOML, in the folder that the command runs in. Keys at its top hold for
all environments, those under `[env.NAME]` for one, which `--env NAME` chooses. A setting is taken
from the first of these that has it: the flag, the variable, `[env.NAME]`, the top of the file;
else the default holds. Tables are taken whole: `[env.NAME.views.risk]` puts all of `[views]`
aside. Paths in the file start from its folder, others from where the command runs. A duration is
a whole number and a unit: `500ms`, `10s`, `5m`, `2h`, `1d`.

A process that finds a setting wrong does not start: the message names the setting, where it was
said and what to write, and the exit code is 1. The same with a key that is not known; a variable
of another name is not looked at.

";

/// Whatever a test says that is not about `definitions`.
const DEFINED: &str = "definitions = \"definitions\"\n";

/// A struct's fields in its source, each with its comment on one line. One that takes all other
/// names is none: those are tables of their own.
fn fields(source: &str, name: &str) -> Vec<(String, String)> {
    let open = format!("pub struct {name} {{\n");
    let (_, body) = source.split_once(&open).expect(name);
    let (body, _) = body.split_once("\n}").expect(name);
    let (mut found, mut comment) = (Vec::new(), Vec::new());
    for line in body.lines().map(str::trim) {
        if line == "#[serde(flatten)]" {
            break;
        }
        if let Some(words) = line.strip_prefix("///") {
            comment.push(words.trim());
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|it| it.split_once(':'))
        {
            found.push((name.to_owned(), std::mem::take(&mut comment).join(" ")));
        }
    }
    found
}

/// What comes of a file with these settings, or the refusal.
fn load(said: &str) -> Result<Settings, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE_NAME);
    let (name, variable) = match said.split_once('=') {
        Some((name, value)) if name.starts_with("TRUEUP_") => (name, Some(value.to_owned())),
        _ => ("", None),
    };
    let in_file = if variable.is_some() { "" } else { said };
    let defined = if said.starts_with("store = \"memory:\"") { "" } else { DEFINED };
    std::fs::write(&path, format!("{defined}{in_file}")).expect("a file");
    let environment = in_file.contains("[env.production]").then(|| "production".to_owned());
    let flags = Flags { settings: Some(path), environment, layer: Layer::default() };
    let said = Settings::load(&flags, |asked| variable.clone().filter(|_| asked == name));
    let folder = format!("{}/", folder.path().display());
    said.map_err(|error| error.to_string().replace(&folder, ""))
}

pub(super) fn loaded(said: &str) -> Settings {
    load(said).expect("settings that are taken")
}

/// Settings that are refused, and the message, as the command prints them.
fn refusal(said: &str) -> String {
    let message = match load(said) {
        Ok(_) => panic!("this is taken:\n{said}"),
        Err(message) => format!("error: {}", message.trim()),
    };
    let lines = said.lines().chain(message.lines());
    let lines = lines.map(|line| format!("    {line}\n"));
    format!("\n{}", lines.collect::<String>())
}

pub(super) fn code(value: impl fmt::Display) -> String {
    format!("`{value}`")
}

/// A duration as settings spell it.
pub(super) fn span(length: Duration) -> String {
    match length.subsec_millis() {
        0 => code(format_args!("{}s", length.as_secs())),
        _ => code(format_args!("{}ms", length.as_millis())),
    }
}

/// The variables that are looked up.
fn variables() -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    let look_up = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE_NAME);
    std::fs::write(&path, DEFINED).expect("a file");
    // Once without a file, so that the variable which names one is looked up too.
    let named = Flags { settings: Some(path), ..Flags::default() };
    [Flags::default(), named].iter().for_each(|flags| drop(Raw::gather(flags, look_up)));
    asked.into_inner()
}

/// The flags of `trueup run`.
fn flags() -> BTreeSet<String> {
    let mut command = Cli::command();
    command.build();
    let run = command.find_subcommand("run").expect("the command run");
    run.get_arguments().filter_map(|argument| argument.get_long()).map(String::from).collect()
}

fn page() -> String {
    let (variables, flags) = (variables(), flags());
    let mut facts: Vec<Fact> = facts();
    let mut shown: BTreeSet<String> = BESIDE.iter().map(|(name, _)| name.to_string()).collect();
    let mut page = format!("{HEAD}{}", refusal("defintions = \"a.sql\"").trim_start_matches('\n'));
    for (table, name, source) in TABLES {
        if !table.is_empty() {
            write!(page, "\n## [{table}]\n").expect("text");
        }
        for (field, meaning) in fields(source, name) {
            let key = if table.is_empty() { field.clone() } else { format!("{table}.{field}") };
            let place = facts.iter().position(|fact| fact.key == key);
            let place = place.unwrap_or_else(|| panic!("{key}: say its type, default and range"));
            let fact = facts.remove(place);
            let (variable, flag) =
                (format!("TRUEUP_{}", field.to_uppercase()), field.replace('_', "-"));
            let mut line = format!("{}. Default: {}.", fact.kind, fact.default);
            if table.is_empty() && variables.contains(&variable) {
                write!(line, " Variable `{variable}`.").expect("text");
                shown.insert(variable);
            }
            if table.is_empty() && flags.contains(&flag) {
                write!(line, " Flag `--{flag}`.").expect("text");
            }
            let depth = if table.is_empty() { "##" } else { "###" };
            write!(page, "\n{depth} {field}\n\n{meaning}\n\n{line}").expect("text");
            if !fact.later.is_empty() {
                write!(page, " {}", fact.later).expect("text");
            }
            page.push('\n');
            page.extend(fact.wrong.iter().map(|said| refusal(said)));
        }
    }
    let left: Vec<&str> = facts.iter().map(|fact| fact.key).collect();
    assert!(left.is_empty(), "no struct has {left:?}");
    let unsaid: Vec<&String> = variables.difference(&shown).collect();
    assert!(unsaid.is_empty(), "say what {unsaid:?} is");
    page.push_str("\n## Variables that set no key\n\n| variable | meaning |\n|---|---|\n");
    for (name, meaning) in BESIDE {
        writeln!(page, "| `{name}` | {meaning} |").expect("text");
    }
    page
}

#[test]
fn the_page_of_settings_is_what_the_code_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let page = page();
    if std::env::var_os("TRUEUP_UPDATE").is_some() {
        std::fs::write(&file, &page).expect("the page");
    }
    let held = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(held == page, "docs/settings.md is another; run with TRUEUP_UPDATE=1 and look at it");
}

/// A key that the page lacks would be one that nobody finds.
#[test]
fn the_fields_that_are_read_are_those_that_have_comments() {
    for (table, name, source) in TABLES {
        let fields = fields(source, name);
        assert!(!fields.is_empty(), "{table}");
        for (field, comment) in fields {
            assert!(
                comment.ends_with(['.', ';']) && comment.len() > 10,
                "{table}.{field}: \
                 {comment}"
            );
        }
    }
    let keys: Vec<String> = fields(TABLES[0].2, "Layer").into_iter().map(|(key, _)| key).collect();
    // Serde's own words have all keys, ours only a near one.
    let known = toml::from_str::<Layer>("unheard_of = 1").expect_err("a refusal");
    let known = known.message().split_once("expected one of").expect("the keys").1;
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).take(keys.len()).collect();
    assert_eq!(known, keys, "serde reads the fields of Layer");
}
