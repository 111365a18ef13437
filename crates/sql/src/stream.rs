//! `CREATE TABLE`: an event stream, its identity, its time, its promises.

use crate::digest::Canon;
use crate::error::{Checked, Refusal, refuse};
use crate::names::{check_name, checked, fold, single, suggest};
use crate::parse::{Parsed, Words};
use crate::schema::{Column, ColumnType, EpochUnit, Stream};
use crate::time::{place, text_us};
use datafusion_sql::sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable, CreateTableOptions, DataType, ExactNumberInfo, Expr,
    Ident, IndexColumn, PrimaryKeyConstraint, Spanned, SqlOption, TableConstraint, Value,
};
use datafusion_sql::sqlparser::tokenizer::Span;

/// How far an event time may be ahead of its log's time unless declared: clocks of a fleet differ
/// by less. Microseconds.
pub(crate) const DEFAULT_FUTURE_US: i64 = 300_000_000;
/// How long events stay raw in binned and unbounded windows unless declared: requests and events of
/// a hot key overtake each other by less. Microseconds.
pub(crate) const DEFAULT_REORDER_US: i64 = 10_000_000;

/// Most columns of a stream: a wider event is not one event.
const MAX_COLUMNS: usize = 1_000;
/// Most digits of a decimal: what 128 bits hold.
const MAX_PRECISION: u64 = 38;
/// The options of WITH.
const OPTIONS: [&str; 6] =
    ["event_time", "lateness", "known_at", "future", "reorder", "epoch_unit"];

/// Compiles a stream's declaration.
pub(crate) fn compile(create: &CreateTable, parsed: &Parsed) -> Checked<Stream> {
    let words = &parsed.words;
    let at = words.find(parsed.at, "TABLE");
    let Some(ident) = single(&create.name) else {
        return refuse(create.name.span(), "streams are not in schemas", "write the name alone");
    };
    let name = check_name(ident)?;
    check_plain(create, at)?;
    let mut columns = columns(&create.columns, words, ident.span)?;
    let id = identity(create, &columns, ident.span)?;
    let options = Options::of(create, &columns, ident.span)?;
    for column in [id, options.event_time] {
        columns[column].not_null = true;
    }
    let schema = Stream::schema_of(&columns);
    let Options { event_time, known_at, lateness_us, future_us, reorder_us, epoch_unit } = options;
    Ok(Stream {
        name,
        columns,
        id,
        event_time,
        known_at,
        lateness_us,
        future_us,
        reorder_us,
        epoch_unit,
        schema,
    })
}

/// Adds all that decides what an event of this stream is.
pub(crate) fn describe(stream: &Stream, canon: &mut Canon) {
    canon.line(format_args!("stream {:?}", stream.name));
    for Column { name, ty, not_null } in &stream.columns {
        let not_null = if *not_null { " not null" } else { "" };
        canon.line(format_args!("column {name:?} {ty}{not_null}"));
    }
    canon.line(format_args!(
        "id {} time {} known {:?}",
        stream.id, stream.event_time, stream.known_at
    ));
    canon.line(format_args!(
        "lateness {} future {} reorder {} epoch {:?}",
        stream.lateness_us, stream.future_us, stream.reorder_us, stream.epoch_unit
    ));
}

fn check_plain(create: &CreateTable, at: Span) -> Checked<()> {
    let plain = !create.or_replace
        && !create.temporary
        && !create.external
        && create.query.is_none()
        && create.like.is_none()
        && create.clone.is_none()
        && create.inherits.is_none()
        && create.partition_of.is_none()
        && create.partition_by.is_none()
        && create.on_commit.is_none();
    match plain {
        true => Ok(()),
        false => refuse(
            at,
            "a stream is declared by a plain CREATE TABLE with a list of columns",
            "write CREATE TABLE name (column type, ...) WITH (event_time = '...')",
        ),
    }
}

fn columns(defs: &[ColumnDef], words: &Words, at: Span) -> Checked<Vec<Column>> {
    if defs.len() > MAX_COLUMNS {
        let what = format!("the stream has more than {MAX_COLUMNS} columns");
        return refuse(defs[MAX_COLUMNS].name.span, what, "declare those that features use");
    }
    let mut columns: Vec<Column> = Vec::new();
    for def in defs {
        let name = checked(&def.name)?;
        if columns.iter().any(|column| column.name == name) {
            let what = format!("there are two columns called {name}");
            return refuse(def.name.span, what, "rename one of them");
        }
        let ty = column_type(&def.data_type, words.next(def.name.span))?;
        let mut not_null = false;
        for option in &def.options {
            match &option.option {
                ColumnOption::NotNull | ColumnOption::PrimaryKey(_) => not_null = true,
                ColumnOption::Null | ColumnOption::Comment(_) => {}
                other => {
                    let shown: String = other.to_string().chars().take(40).collect();
                    return refuse(
                        def.name.span,
                        format!("the column option {shown} is not supported"),
                        "columns may be NOT NULL and PRIMARY KEY; events carry all their values",
                    );
                }
            }
        }
        columns.push(Column { name, ty, not_null });
    }
    match columns.is_empty() {
        false => Ok(columns),
        true => refuse(at, "the stream has no columns", "declare an id and an event time at least"),
    }
}

fn column_type(ty: &DataType, at: Span) -> Checked<ColumnType> {
    let help = match ty {
        DataType::Boolean | DataType::Bool => return Ok(ColumnType::Boolean),
        DataType::SmallInt(None) | DataType::Int2(None) => return Ok(ColumnType::SmallInt),
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => {
            return Ok(ColumnType::Integer);
        }
        DataType::BigInt(None) | DataType::Int8(None) => return Ok(ColumnType::BigInt),
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 => {
            return Ok(ColumnType::Double);
        }
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::Text => {
            return Ok(ColumnType::Varchar);
        }
        DataType::Timestamp(None | Some(6), _) => return Ok(ColumnType::Timestamp),
        DataType::Date => return Ok(ColumnType::Date),
        DataType::Decimal(size) | DataType::Numeric(size) | DataType::Dec(size) => {
            return decimal(size, at);
        }
        DataType::Real | DataType::Float4 | DataType::Float(_) => {
            "write DOUBLE: sums of 32-bit floats are not what people expect"
        }
        DataType::Timestamp(..) => "write TIMESTAMP: times are whole microseconds",
        DataType::Char(_) | DataType::Character(_) | DataType::Uuid => "write VARCHAR",
        DataType::JSON | DataType::JSONB => "declare the fields that features use as columns",
        DataType::Time(..) => "write TIMESTAMP",
        DataType::TinyInt(_) => "write SMALLINT",
        _ => {
            "write BOOLEAN, SMALLINT, INTEGER, BIGINT, DECIMAL(p,s), DOUBLE, VARCHAR, TIMESTAMP \
              or DATE"
        }
    };
    let shown: String = ty.to_string().chars().take(40).collect();
    refuse(at, format!("a stream has no columns of type {shown}"), help)
}

fn decimal(size: &ExactNumberInfo, at: Span) -> Checked<ColumnType> {
    let (precision, scale) = match size {
        ExactNumberInfo::None => {
            let help = "say how many digits, and how many behind the point: DECIMAL(12,2)";
            return refuse(at, "the decimal has no size", help);
        }
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let scale = u64::try_from(scale).ok().filter(|scale| *scale <= precision);
    match (u8::try_from(precision), scale.map(u8::try_from)) {
        (Ok(precision), Some(Ok(scale))) if (1..=MAX_PRECISION).contains(&precision.into()) => {
            Ok(ColumnType::Decimal { precision, scale })
        }
        _ => refuse(
            at,
            "a decimal has 1 to 38 digits, and no more of them than all behind the point",
            "write DECIMAL(12,2), for example",
        ),
    }
}

/// The one PRIMARY KEY column.
fn identity(create: &CreateTable, columns: &[Column], at: Span) -> Checked<usize> {
    let mut found: Vec<(usize, Span)> = Vec::new();
    for (place, def) in create.columns.iter().enumerate() {
        let is_key = |option: &ColumnOption| matches!(option, ColumnOption::PrimaryKey(_));
        if def.options.iter().any(|option| is_key(&option.option)) {
            found.push((place, def.name.span));
        }
    }
    for constraint in &create.constraints {
        let TableConstraint::PrimaryKey(PrimaryKeyConstraint { columns: key, .. }) = constraint
        else {
            return refuse(
                constraint.span().union(&Span::empty()),
                "a stream's only constraint is its PRIMARY KEY",
                "leave the others to the database that the events come from",
            )
            .map_err(|refusal: Refusal| refusal.or_at(at));
        };
        for IndexColumn { column, .. } in key {
            let Expr::Identifier(ident) = &column.expr else {
                let help = "write PRIMARY KEY (column)";
                return refuse(place(&column.expr, at), "the PRIMARY KEY is a column", help);
            };
            found.push((named(columns, ident)?, ident.span));
        }
    }
    match found.as_slice() {
        [(column, span)] => match columns[*column].ty {
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => Ok(*column),
            ColumnType::Varchar => Ok(*column),
            ty => refuse(
                *span,
                format!("an event's id cannot be {ty}"),
                "use an integer or a VARCHAR as the PRIMARY KEY",
            ),
        },
        [] => refuse(
            at,
            "the stream has no PRIMARY KEY, so an event sent twice would count twice",
            "mark the column that identifies an event: transaction_id BIGINT PRIMARY KEY",
        ),
        [_, (_, second), ..] => refuse(
            *second,
            "the PRIMARY KEY is more than one column",
            "an event has one id; join the parts into one VARCHAR column",
        ),
    }
}

fn named(columns: &[Column], ident: &Ident) -> Checked<usize> {
    let name = fold(ident);
    match columns.iter().position(|column| column.name == name) {
        Some(place) => Ok(place),
        None => refuse(
            ident.span,
            format!("there is no column {name}"),
            suggest(&name, "column", columns.iter().map(|column| &*column.name)),
        ),
    }
}

/// What WITH says.
struct Options {
    event_time: usize,
    known_at: Option<usize>,
    lateness_us: i64,
    future_us: i64,
    reorder_us: i64,
    epoch_unit: Option<EpochUnit>,
}

impl Options {
    fn of(create: &CreateTable, columns: &[Column], at: Span) -> Checked<Options> {
        let given: &[SqlOption] = match &create.table_options {
            CreateTableOptions::None => &[],
            CreateTableOptions::With(options) => options,
            _ => return refuse(at, "options stand in WITH", "write WITH (event_time = '...')"),
        };
        let (mut time, mut known_at, mut unit) = (None, None, None);
        let (mut lateness, mut future, mut reorder) = (None, None, None);
        for option in given {
            let (key, text, span) = text_of(option, at)?;
            let twice = match &*key {
                "event_time" => time.replace(time_column(columns, &text, span)?).is_some(),
                "known_at" => known_at.replace(time_column(columns, &text, span)?).is_some(),
                "lateness" => lateness.replace(text_us(&text, span)?).is_some(),
                "future" => future.replace(text_us(&text, span)?).is_some(),
                "reorder" => reorder.replace(text_us(&text, span)?).is_some(),
                "epoch_unit" => unit.replace(epoch_unit(&text, span)?).is_some(),
                _ => {
                    let what = format!("a stream has no option {key}");
                    return refuse(option_span(option, at), what, suggest(&key, "option", OPTIONS));
                }
            };
            if twice {
                let what = format!("{key} is given twice");
                return refuse(span, what, "leave one of them out");
            }
        }
        let Some(event_time) = time else {
            return refuse(
                at,
                "the stream does not say which column is its event time",
                "write WITH (event_time = 'column') behind the columns",
            );
        };
        Ok(Options {
            event_time,
            known_at,
            lateness_us: lateness.unwrap_or(0),
            future_us: future.unwrap_or(DEFAULT_FUTURE_US),
            reorder_us: reorder.unwrap_or(DEFAULT_REORDER_US),
            epoch_unit: unit,
        })
    }
}

/// The option's name, its text, and where the text stands.
fn text_of(option: &SqlOption, at: Span) -> Checked<(String, String, Span)> {
    if let SqlOption::KeyValue { key, value } = option
        && let Expr::Value(text) = value
        && let Value::SingleQuotedString(text) = &text.value
    {
        return Ok((fold(key), text.clone(), place(value, key.span)));
    }
    let help = "write name = 'value', the value in single quotes";
    refuse(option_span(option, at), "an option is a name and a text", help)
}

fn option_span(option: &SqlOption, at: Span) -> Span {
    match option {
        SqlOption::KeyValue { key, .. } => key.span,
        SqlOption::Ident(ident) => ident.span,
        _ => at,
    }
}

fn time_column(columns: &[Column], name: &str, at: Span) -> Checked<usize> {
    let found = columns.iter().position(|column| column.name == name);
    match found.map(|place| (place, columns[place].ty)) {
        Some((place, ColumnType::Timestamp)) => Ok(place),
        Some((_, ty)) => refuse(
            at,
            format!("{name} is {ty}, and a time is a TIMESTAMP"),
            "declare the column as TIMESTAMP; epoch_unit = 'seconds' reads numbers into it",
        ),
        None => refuse(
            at,
            format!("there is no column {name}"),
            suggest(name, "column", columns.iter().map(|column| &*column.name)),
        ),
    }
}

fn epoch_unit(text: &str, at: Span) -> Checked<EpochUnit> {
    match text {
        "seconds" => Ok(EpochUnit::Seconds),
        "millis" => Ok(EpochUnit::Millis),
        "micros" => Ok(EpochUnit::Micros),
        _ => refuse(
            at,
            "this is not a unit of epoch numbers",
            "write epoch_unit = 'seconds', 'millis' or 'micros'",
        ),
    }
}
