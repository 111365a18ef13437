//! An Avro schema out of its JSON: nodes that name one another by their places, so that a type may
//! hold itself.
//!
//! A logical type that does not fit what it stands on is passed over, as the specification says.

use arrow::datatypes::TimeUnit;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Digits behind the point of a decimal, at most: more than any column has.
const MAX_SCALE: u64 = 127;

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<Member>),
    /// An int, days since 1970.
    Date,
    /// An int, milliseconds of a day.
    TimeMillis,
    /// A long, microseconds of a day.
    TimeMicros,
    /// A long since 1970.
    Instant(TimeUnit),
    /// Bytes, or as many as `size` says.
    Decimal {
        scale: i8,
        size: Option<usize>,
    },
    /// Sixteen bytes.
    Uuid,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    /// Its type.
    pub(super) node: usize,
}

impl Node {
    /// What it is, if no column takes it.
    pub(super) fn refused(&self) -> Option<&'static str> {
        match self {
            Node::Bytes => Some("bytes without the logical type decimal"),
            Node::Fixed(_) => Some("fixed bytes without the logical type decimal or uuid"),
            Node::Array(_) => Some("an array"),
            Node::Map(_) => Some("a map"),
            Node::Record(_) => Some("a nested record"),
            Node::TimeMillis | Node::TimeMicros => Some("a time of day"),
            _ => None,
        }
    }
}

/// What a field of this type is, if no column takes any of it but NULL.
pub(super) fn refused(nodes: &[Node], node: usize) -> Option<&'static str> {
    let Node::Union(branches) = &nodes[node] else { return nodes[node].refused() };
    let mut of = branches.iter().map(|branch| &nodes[*branch]).filter(|node| **node != Node::Null);
    let first = of.next()?.refused()?;
    of.all(|other| other.refused().is_some()).then_some(first)
}

/// The types that a schema names, and the fields of the record that it is.
pub(super) fn parse(json: &Value) -> Result<(Vec<Node>, Vec<Member>), String> {
    let mut parser = Parser { nodes: Vec::new(), names: HashMap::new() };
    let root = parser.node(json, "")?;
    let Node::Record(fields) = &parser.nodes[root] else {
        return Err("it is not the schema of a record; events are records".into());
    };
    let fields = fields.clone();
    Ok((parser.nodes, fields))
}

struct Parser {
    nodes: Vec<Node>,
    /// By full name.
    names: HashMap<String, usize>,
}

impl Parser {
    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The type that `json` says, in the namespace `space`.
    fn node(&mut self, json: &Value, space: &str) -> Result<usize, String> {
        match json {
            Value::String(name) => match primitive(name) {
                Some(node) => Ok(self.add(node)),
                None => {
                    let full = full_name(name, space);
                    let known = self.names.get(&full).copied();
                    known.ok_or_else(|| format!("there is no type {full}; define it before"))
                }
            },
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.node(branch, space));
                let branches = branches.collect::<Result<_, _>>()?;
                Ok(self.add(Node::Union(branches)))
            }
            Value::Object(object) => self.object(object, space),
            other => Err(format!("{other} is no type")),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, space: &str) -> Result<usize, String> {
        let ty = object.get("type").ok_or("an object without `type` is no type")?;
        match ty.as_str() {
            Some("array") => {
                let items = object.get("items").ok_or("an array has no `items`")?;
                let item = self.node(items, space)?;
                Ok(self.add(Node::Array(item)))
            }
            Some("map") => {
                let values = object.get("values").ok_or("a map has no `values`")?;
                let item = self.node(values, space)?;
                Ok(self.add(Node::Map(item)))
            }
            Some(ty @ ("record" | "error" | "enum" | "fixed")) => self.named(ty, object, space),
            Some(name) => match primitive(name) {
                Some(node) => Ok(self.add(logical(node, object))),
                None => self.node(ty, space),
            },
            None => self.node(ty, space),
        }
    }

    /// A type with a name, under which it may stand within itself.
    fn named(
        &mut self,
        ty: &str,
        object: &Map<String, Value>,
        space: &str,
    ) -> Result<usize, String> {
        let (full, space) = name_of(object, space).ok_or("a type has no `name`")?;
        let node = self.add(Node::Null);
        if self.names.insert(full.clone(), node).is_some() {
            return Err(format!("type {full} is defined twice"));
        }
        let list = |what: &str| {
            let list = object.get(what).and_then(Value::as_array);
            list.ok_or_else(|| format!("type {full} has no list of `{what}`"))
        };
        self.nodes[node] = match ty {
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| format!("type {full} has no `size` in bytes"))?;
                logical(Node::Fixed(size), object)
            }
            "enum" => {
                let symbols = list("symbols")?.iter().map(|text| text.as_str().map(str::to_owned));
                let symbols = symbols.collect::<Option<Vec<String>>>();
                Node::Enum(symbols.ok_or_else(|| format!("a symbol of type {full} is no text"))?)
            }
            _ => self.record(&full, list("fields")?, space)?,
        };
        Ok(node)
    }

    fn record(&mut self, full: &str, fields: &[Value], space: &str) -> Result<Node, String> {
        let mut members = Vec::with_capacity(fields.len());
        let mut names = HashSet::new();
        for field in fields {
            let name = field.get("name").and_then(Value::as_str);
            let name = name.ok_or_else(|| format!("a field of {full} has no `name`"))?;
            if !names.insert(name) {
                return Err(format!("record {full} has two fields {name}"));
            }
            let ty = field.get("type").ok_or_else(|| format!("field {name} has no `type`"))?;
            let node = self.node(ty, space).map_err(|why| format!("field {name}: {why}"))?;
            members.push(Member { name: name.to_owned(), node });
        }
        Ok(Node::Record(members))
    }
}

pub(super) fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" => Node::Int,
        "long" => Node::Long,
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" => Node::Bytes,
        "string" => Node::String,
        _ => return None,
    })
}

/// `node` with the logical type that `object` gives it, if it fits.
fn logical(node: Node, object: &Map<String, Value>) -> Node {
    let Some(logical) = object.get("logicalType").and_then(Value::as_str) else { return node };
    let size = if let Node::Fixed(size) = node { Some(size) } else { None };
    match (logical, &node) {
        ("date", Node::Int) => Node::Date,
        ("time-millis", Node::Int) => Node::TimeMillis,
        ("time-micros", Node::Long) => Node::TimeMicros,
        ("timestamp-millis" | "local-timestamp-millis", Node::Long) => {
            Node::Instant(TimeUnit::Millisecond)
        }
        ("timestamp-micros" | "local-timestamp-micros", Node::Long) => {
            Node::Instant(TimeUnit::Microsecond)
        }
        ("timestamp-nanos" | "local-timestamp-nanos", Node::Long) => {
            Node::Instant(TimeUnit::Nanosecond)
        }
        ("uuid", Node::Fixed(16)) => Node::Uuid,
        ("decimal", Node::Bytes | Node::Fixed(_)) => {
            let number = |name: &str, otherwise| match object.get(name) {
                None => otherwise,
                Some(said) => said.as_u64(),
            };
            match (number("precision", None), number("scale", Some(0))) {
                (Some(precision @ 1..), Some(scale @ ..=MAX_SCALE)) if scale <= precision => {
                    Node::Decimal { scale: scale as i8, size }
                }
                _ => node,
            }
        }
        _ => node,
    }
}

/// A type's name with its namespace before it.
pub(super) fn full_name(name: &str, space: &str) -> String {
    match space {
        "" => name.to_owned(),
        _ if name.contains('.') => name.to_owned(),
        _ => format!("{space}.{name}"),
    }
}

/// The full name of a type, and the namespace of those within it.
pub(super) fn name_of<'a>(
    object: &'a Map<String, Value>,
    space: &'a str,
) -> Option<(String, &'a str)> {
    let name = object.get("name")?.as_str()?;
    if let Some((space, _)) = name.rsplit_once('.') {
        return Some((name.to_owned(), space));
    }
    let space = object.get("namespace").and_then(Value::as_str).unwrap_or(space);
    Some((full_name(name, space), space))
}
