//! The way of the files: statements, streams, views, groups.

use crate::definition::{Definitions, View};
use crate::error::{Checked, Refusal, SourceFile, SqlError, SqlErrors, refuse};
use crate::group::{Finished, Groups};
use crate::parse::{MAX_TEXT_BYTES, Parsed, statements};
use crate::plan::Planner;
use crate::schema::Stream;
use crate::scope::Context;
use crate::{stream, view};
use datafusion_sql::sqlparser::ast::{Spanned, Statement};
use datafusion_sql::sqlparser::tokenizer::Span;
use std::collections::HashSet;
use std::sync::Arc;

/// Stack of the compiling thread, bytes: parser and planner recurse over trees whose depth the
/// parser bounds; this holds the deepest with room to spare, whatever the caller's stack is.
const STACK_BYTES: usize = 256 << 20;
/// Most streams of a set of files.
const MAX_STREAMS: usize = 1_000;
/// Most views of a set of files.
const MAX_VIEWS: usize = 1_000;

/// Compiles definitions, all files together: a view may use a stream that another file declares.
///
/// On any text this either gives definitions or says what is wrong with it. If a stream is wrong,
/// the views are not looked at, so that one mistake gives one message.
///
/// ```
/// let file = trueup_sql::SourceFile { name: "a.sql".into(), text: "SELECT 1".into() };
/// let message = trueup_sql::compile(&[file]).expect_err("no definition").to_string();
/// assert!(message.starts_with("error: a definition is a CREATE TABLE"));
/// assert!(message.contains("--> a.sql:1:1"));
/// ```
pub fn compile(files: &[SourceFile]) -> Result<Definitions, SqlErrors> {
    let broken = |what: String| {
        let help = "this is a mistake in Trueup, not in the definition; please report the text";
        let refusal = Refusal { what, at: Span::empty(), help: help.into() };
        let none = SourceFile { name: "definitions".into(), text: String::new() };
        SqlErrors(vec![SqlError::new(files.first().unwrap_or(&none), refusal)])
    };
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("compile".into()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, || compile_here(files)) {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(broken("the compiler failed on these definitions".into()))),
            Err(error) => Err(broken(format!("the compiler's thread did not start: {error}"))),
        }
    })
}

fn compile_here(files: &[SourceFile]) -> Result<Definitions, SqlErrors> {
    let mut errors = Errors { files, found: Vec::new() };
    let parsed = parse_all(files, &mut errors);
    let streams = streams_of(&parsed, &mut errors);
    errors.none_yet()?;
    let mut groups = Groups::default();
    let views = views_of(&parsed, &streams, &mut groups, &mut errors);
    errors.none_yet()?;
    if let Err(refusal) = check_complete(files, &parsed, &streams, &views) {
        errors.add(0, refusal);
    }
    errors.none_yet()?;
    Ok(finish(files, streams, groups, views))
}

/// The refusals so far.
struct Errors<'a> {
    files: &'a [SourceFile],
    found: Vec<SqlError>,
}

impl Errors<'_> {
    fn add(&mut self, file: usize, refusal: Refusal) {
        let none = SourceFile { name: "definitions".into(), text: String::new() };
        self.found.push(SqlError::new(self.files.get(file).unwrap_or(&none), refusal));
    }

    fn none_yet(&mut self) -> Result<(), SqlErrors> {
        match self.found.is_empty() {
            true => Ok(()),
            false => Err(SqlErrors(std::mem::take(&mut self.found))),
        }
    }
}

fn parse_all(files: &[SourceFile], errors: &mut Errors<'_>) -> Vec<Parsed> {
    let mut parsed = Vec::new();
    let mut bytes = 0;
    for (index, file) in files.iter().enumerate() {
        bytes += file.text.len();
        if bytes > MAX_TEXT_BYTES {
            let what = format!("the definitions are longer than {MAX_TEXT_BYTES} bytes");
            let help = "split them into projects of their own".into();
            errors.add(index, Refusal { what, at: Span::empty(), help });
            break;
        }
        for statement in statements(index, file) {
            match statement {
                Ok(statement) => parsed.push(statement),
                Err(refusal) => errors.add(index, refusal),
            }
        }
    }
    parsed
}

fn streams_of(parsed: &[Parsed], errors: &mut Errors<'_>) -> Vec<Arc<Stream>> {
    let mut streams = Vec::new();
    for statement in parsed {
        match declared_stream(statement, &streams) {
            Ok(Some(stream)) => streams.push(Arc::new(stream)),
            Ok(None) => {}
            Err(refusal) => errors.add(statement.file, refusal.or_at(statement.at)),
        }
    }
    streams
}

fn views_of(
    parsed: &[Parsed],
    streams: &[Arc<Stream>],
    groups: &mut Groups,
    errors: &mut Errors<'_>,
) -> Vec<View> {
    let planners = streams.iter().map(|stream| Planner::new(Arc::clone(&stream.schema)));
    let planners = match planners.collect::<Checked<Vec<Planner>>>() {
        Ok(planners) => planners,
        Err(refusal) => {
            errors.add(0, refusal);
            return Vec::new();
        }
    };
    let mut views = Vec::new();
    let mut names = HashSet::new();
    for statement in parsed {
        let words = &statement.words;
        let context = Context { streams, planners: &planners, views: &names, words };
        match declared_view(context, groups, statement) {
            Ok(Some(view)) => {
                names.insert(view.name.clone());
                views.push(view);
            }
            Ok(None) => {}
            Err(refusal) => errors.add(statement.file, refusal.or_at(statement.at)),
        }
    }
    views
}

fn declared_stream(parsed: &Parsed, known: &[Arc<Stream>]) -> Checked<Option<Stream>> {
    let Statement::CreateTable(create) = &parsed.statement else { return Ok(None) };
    let stream = stream::compile(create, parsed)?;
    if known.iter().any(|other| other.name == stream.name) {
        let what = format!("the stream {} is declared twice", stream.name);
        return refuse(create.name.span(), what, "leave one of them out, or rename it");
    }
    if known.len() >= MAX_STREAMS {
        let what = format!("there are more than {MAX_STREAMS} streams");
        return refuse(create.name.span(), what, "split them into projects of their own");
    }
    Ok(Some(stream))
}

fn declared_view(
    context: Context<'_>,
    groups: &mut Groups,
    parsed: &Parsed,
) -> Checked<Option<View>> {
    let create = match &parsed.statement {
        Statement::CreateView(create) => create,
        Statement::CreateTable(_) => return Ok(None),
        _ => {
            return refuse(
                context.words.next(Span::new(parsed.at.start, parsed.at.start)),
                "only streams and feature sets are created here",
                "write CREATE TABLE for a stream, CREATE VIEW for a feature set",
            );
        }
    };
    let view = view::compile(context, groups, create, parsed)?;
    let is_stream = context.streams.iter().any(|stream| stream.name == view.name);
    if is_stream || context.views.contains(&view.name) {
        let what = format!("the name {} is taken", view.name);
        return refuse(create.name.span(), what, "streams and views have names of their own");
    }
    if context.views.len() >= MAX_VIEWS {
        let what = format!("there are more than {MAX_VIEWS} views");
        return refuse(create.name.span(), what, "split them into projects of their own");
    }
    Ok(Some(view))
}

/// Refuses files that declare no stream or no view at all.
fn check_complete(
    files: &[SourceFile],
    parsed: &[Parsed],
    streams: &[Arc<Stream>],
    views: &[View],
) -> Checked<()> {
    let at = parsed.first().filter(|first| first.file == 0).map_or(Span::empty(), |first| first.at);
    let (what, help) = match () {
        () if files.is_empty() => ("there are no files of definitions", "name a file or a folder"),
        () if streams.is_empty() => ("no stream is declared", "begin with CREATE TABLE"),
        () if views.is_empty() => {
            ("no feature set is declared", "write CREATE VIEW ... AS SELECT ... FROM the stream")
        }
        () => return Ok(()),
    };
    refuse(at, what, help)
}

fn finish(
    files: &[SourceFile],
    streams: Vec<Arc<Stream>>,
    groups: Groups,
    mut views: Vec<View>,
) -> Definitions {
    let Finished { groups, moved } = groups.finish(&streams);
    for lookup in views.iter_mut().flat_map(|view| &mut view.lookups) {
        let (group, aggregates) = &moved[lookup.group];
        lookup.group = *group;
        lookup.aggregates.iter_mut().for_each(|aggregate| *aggregate = aggregates[*aggregate]);
    }
    Definitions { streams, groups, views, files: files.to_vec() }
}
