//! What a model takes and gives, against the columns of a view. What does not fit is refused here,
//! by name, before any row comes.
//!
//! | input of the model | column of the view |
//! |---|---|
//! | float, double | BIGINT, DOUBLE, DECIMAL, BOOLEAN (0 and 1) |
//! | int64 | BIGINT |
//! | string | VARCHAR |
//! | bool | BOOLEAN |

use arrow::datatypes::DataType;
use trueup_sql::{Digest, View, sql_type};

/// The elements of a tensor that rows can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Float,
    Double,
    Int,
    Text,
    Bool,
}

impl Element {
    /// Whether a column's values can be such elements.
    fn takes(self, ty: &DataType) -> bool {
        match self {
            Element::Float | Element::Double => matches!(
                ty,
                DataType::Int64 | DataType::Float64 | DataType::Decimal128(..) | DataType::Boolean
            ),
            Element::Int => *ty == DataType::Int64,
            Element::Text => *ty == DataType::Utf8,
            Element::Bool => *ty == DataType::Boolean,
        }
    }

    /// Whether there is an element that says that there is no value.
    pub(super) fn has_null(self) -> bool {
        matches!(self, Element::Float | Element::Double)
    }

    fn columns(self) -> &'static str {
        match self {
            Element::Float | Element::Double => "BIGINT, DOUBLE, DECIMAL or BOOLEAN",
            Element::Int => "BIGINT",
            Element::Text => "VARCHAR",
            Element::Bool => "BOOLEAN",
        }
    }
}

/// The keys of ZipMap's maps: the classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Classes {
    Numbers,
    Names,
}

/// The form of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With its dimensions; -1 where they are free.
    Tensor(Element, Vec<i64>),
    /// For each row the probabilities of the classes, as ZipMap gives them.
    Maps(Classes),
    /// None that rows can fill or scores be read from.
    Other,
}

/// An input or output as a model declares it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) form: Form,
    /// The same in the runtime's words.
    pub(super) told: String,
}

/// A model's inputs by the columns of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The view's.
    pub(super) digest: Digest,
    /// Places in [`View::outputs`] of the columns that the model needs, each once.
    pub columns: Vec<usize>,
    pub(super) feeds: Vec<Feed>,
}

/// What fills an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Feed {
    pub(super) input: String,
    pub(super) element: Element,
    /// Places in [`Bound::columns`], in the order of the tensor's second dimension.
    pub(super) places: Vec<usize>,
    /// Whether the tensor has a second dimension.
    pub(super) is_wide: bool,
}

/// Binds a model's inputs to a view's columns: several by their names, one of two dimensions by the
/// order of `ordered`.
///
/// # Errors
/// What does not fit, by its name, with the remedy.
pub(super) fn bind(
    view: &View,
    inputs: &[Declared],
    ordered: Option<&[String]>,
) -> Result<Bound, String> {
    let mut bound = Bound { digest: view.digest, columns: Vec::new(), feeds: Vec::new() };
    for input in inputs {
        let Form::Tensor(element, shape) = &input.form else {
            return Err(format!(
                "input {} is {}, which no column fills; tensors of float, double, int64, string \
                 and bool are filled: convert within the model",
                input.name, input.told
            ));
        };
        let names = match (&shape[..], ordered) {
            ([-1], _) | ([-1, 1], None) => vec![input.name.as_str()],
            ([-1, width], Some(names)) if inputs.len() == 1 => in_order(input, *width, names)?,
            ([-1, 1], _) => vec![input.name.as_str()],
            ([-1, _], None) if inputs.len() == 1 => {
                return Err(format!(
                    "nothing says which columns fill the input {}, {}; there are three ways: \
                     columns = [...] under [models.NAME], the key trueup_columns (separated by \
                     commas) in the model's metadata_props, or one input for each column, by its \
                     name",
                    input.name, input.told
                ));
            }
            _ => {
                return Err(format!(
                    "input {} is {}; inputs are [N, 1] or [N], or there is only one, [N, F], with \
                     N free: export the model with a free first dimension",
                    input.name, input.told
                ));
            }
        };
        let is_wide = shape.len() == 2;
        let places = names.into_iter().map(|name| place(view, input, *element, name, &mut bound));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let feed = Feed { input: input.name.clone(), element: *element, places, is_wide };
        bound.feeds.push(feed);
    }
    match bound.feeds.is_empty() {
        true => Err("it has no inputs, so no row decides what it gives".to_owned()),
        false => Ok(bound),
    }
}

fn in_order<'n>(input: &Declared, width: i64, names: &'n [String]) -> Result<Vec<&'n str>, String> {
    match width == -1 || usize::try_from(width) == Ok(names.len()) {
        true => Ok(names.iter().map(String::as_str).collect()),
        false => Err(format!(
            "input {} is {} and {} columns are named: {}",
            input.name,
            input.told,
            names.len(),
            names.join(", ")
        )),
    }
}

/// The place of a column in those that are bound, where it now is.
fn place(
    view: &View,
    input: &Declared,
    element: Element,
    name: &str,
    bound: &mut Bound,
) -> Result<usize, String> {
    let Some(column) = view.outputs.iter().position(|output| output.name == name) else {
        let names: Vec<&str> = view.outputs.iter().map(|it| it.name.as_str()).collect();
        return Err(format!(
            "input {} wants a column {name}, which view {} has not; it has: {}",
            input.name,
            view.name,
            names.join(", ")
        ));
    };
    let ty = &view.outputs[column].ty;
    if !element.takes(ty) {
        return Err(format!(
            "input {} is {} and column {name} is {}; such an input takes {}: convert the column \
             in the view",
            input.name,
            input.told,
            sql_type(ty),
            element.columns()
        ));
    }
    let known = bound.columns.iter().position(|it| *it == column);
    Ok(known.unwrap_or_else(|| {
        bound.columns.push(column);
        bound.columns.len() - 1
    }))
}

/// The output that the score is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) read: Read,
}

/// How the score is read: the last class's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Floats,
    Doubles,
    Maps(Classes),
}

/// Chooses the output that has the score: the one that is named, or the only one that can have it.
///
/// # Errors
/// There is none, or there are several, or the named one cannot have it.
pub(super) fn output(outputs: &[Declared], named: Option<&str>) -> Result<Output, String> {
    let listed = || {
        let each = outputs.iter().map(|it| format!("{} ({})", it.name, it.told));
        each.collect::<Vec<_>>().join(", ")
    };
    let can = |it: &&Declared| reads(it).is_some();
    let found: Vec<&Declared> = match named {
        Some(name) => outputs.iter().filter(|it| it.name == name).collect(),
        None => outputs.iter().filter(can).collect(),
    };
    match (&found[..], named) {
        ([one], _) => {
            let read = reads(one).ok_or_else(|| {
                format!(
                    "output {} is {}; a score is read from float or double of one or two \
                     dimensions, or from ZipMap's maps of them: export with zipmap=False",
                    one.name, one.told
                )
            })?;
            Ok(Output { name: one.name.clone(), read })
        }
        ([], Some(name)) => Err(format!("it has no output {name}; it has: {}", listed())),
        ([], None) => Err(format!("no output has numbers for each row; it has: {}", listed())),
        _ => Err(format!(
            "several outputs can have the score; name one by output = \"NAME\" under \
             [models.NAME]; there are: {}",
            listed()
        )),
    }
}

fn reads(output: &Declared) -> Option<Read> {
    match &output.form {
        // A shape that is not declared has no dimensions; what comes of it is judged when it runs.
        Form::Tensor(_, shape) if shape.len() > 2 => None,
        Form::Tensor(Element::Float, _) => Some(Read::Floats),
        Form::Tensor(Element::Double, _) => Some(Read::Doubles),
        Form::Maps(classes) => Some(Read::Maps(*classes)),
        Form::Tensor(..) | Form::Other => None,
    }
}

#[cfg(test)]
mod tests;
