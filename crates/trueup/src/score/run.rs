//! The library of ONNX Runtime, by the crate `ort`: opened once in a process, sessions, and their
//! running. The only file that names its types.

use super::bind::{Classes, Declared, Element, Form, Output, Read};
use super::feed::{Elements, Tensor};
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::{RunOptions, SessionInputValue, builder::SessionBuilder};
use ort::value::{self, DynValue, DynValueTypeMarker, Outlet, TensorElementType, ValueType};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The library that this process has opened: there can be no second one, and it stays.
static OPENED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// An opened library.
#[derive(Debug)]
pub(super) struct Runtime(Environment);

impl Runtime {
    /// Opens the library.
    ///
    /// # Errors
    /// It is not there, is too old or is none, or another one is open.
    pub(super) fn open(path: &Path) -> Result<Runtime, String> {
        let shown = path.display();
        let path = path.canonicalize().map_err(|error| format!("{shown}: {error}"))?;
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some((open, environment)) if *open == path => {
                return Ok(Runtime(environment.clone()));
            }
            Some((open, _)) => {
                return Err(format!("{shown}: this process has opened {}", open.display()));
            }
            None => {}
        }
        let library = ort::init_from(&path).map_err(|error| error.to_string())?;
        let environment = library.with_name("trueup").with_telemetry(false).build();
        let environment = environment.map_err(|error| error.to_string())?;
        // It returns its errors too, and we say each once.
        environment.set_log_level(LogLevel::Fatal);
        *opened = Some((path, environment.clone()));
        Ok(Runtime(environment))
    }

    /// Loads a model. What the runtime cannot run is refused by it here, by name.
    pub(super) fn session(&self, bytes: &[u8], threads: usize) -> Result<Session, String> {
        let builder = ort::session::Session::builder(&self.0).map_err(|error| error.to_string())?;
        let mut builder = configured(builder, threads).map_err(|error| error.to_string())?;
        let session = builder.commit_from_memory(bytes);
        session.map(Session).map_err(|error| error.to_string())
    }
}

fn configured(builder: SessionBuilder, threads: usize) -> ort::Result<SessionBuilder> {
    // Threads that spin while they wait would take the cores of those who retrieve.
    Ok(builder.with_intra_threads(threads)?.with_intra_op_spinning(false)?)
}

/// Stops a run from outside.
pub(super) struct Stop(RunOptions);

impl Stop {
    pub(super) fn new() -> Result<Stop, String> {
        RunOptions::new().map(Stop).map_err(|error| error.to_string())
    }

    /// The run ends at its next operator.
    pub(super) fn stop(&self) {
        // It does not fail: a flag is set.
        let _ = self.0.terminate();
    }
}

/// A loaded model; does one thing at a time.
#[derive(Debug)]
pub(super) struct Session(ort::session::Session);

impl Session {
    pub(super) fn inputs(&self) -> Vec<Declared> {
        self.0.inputs().iter().map(declared).collect()
    }

    pub(super) fn outputs(&self) -> Vec<Declared> {
        self.0.outputs().iter().map(declared).collect()
    }

    /// A value of the model's `metadata_props`.
    pub(super) fn metadata(&self, key: &str) -> Option<String> {
        self.0.metadata().ok()?.custom(key)
    }

    /// Runs it, and reads a number for each row.
    pub(super) fn run(
        &mut self,
        tensors: Vec<Tensor>,
        output: &Output,
        rows: usize,
        stop: &Stop,
    ) -> Result<Vec<f64>, String> {
        let input = |tensor: Tensor| {
            let name = tensor.input.clone();
            Ok((name, value(tensor).map_err(|error| error.to_string())?))
        };
        let inputs = tensors.into_iter().map(input).collect::<Result<Vec<_>, String>>()?;
        let ran = self.0.run_with_options(inputs, &stop.0).map_err(|error| error.to_string())?;
        let given = ran.get(&output.name).ok_or("the output did not come")?;
        let values = read(given, output.read, rows).map_err(|error| error.to_string())?;
        match values.len() == rows {
            true => Ok(values),
            false => Err(format!("output {} has {} for {rows} rows", output.name, given.dtype())),
        }
    }
}

fn value(tensor: Tensor) -> ort::Result<SessionInputValue<'static>> {
    let shape = tensor.shape;
    Ok(match tensor.elements {
        Elements::Floats(values) => value::Tensor::from_array((shape, values))?.into(),
        Elements::Doubles(values) => value::Tensor::from_array((shape, values))?.into(),
        Elements::Ints(values) => value::Tensor::from_array((shape, values))?.into(),
        Elements::Bools(values) => value::Tensor::from_array((shape, values))?.into(),
        Elements::Texts(values) => {
            value::Tensor::from_string_array((shape, values.as_slice()))?.into()
        }
    })
}

/// The last number of each row: the only one, or the last class's.
fn read(given: &DynValue, read: Read, rows: usize) -> ort::Result<Vec<f64>> {
    match read {
        Read::Floats => {
            let (_, values) = given.try_extract_tensor::<f32>()?;
            Ok(last_of_each(values, rows).map(|value| f64::from(*value)).collect())
        }
        Read::Doubles => {
            let (_, values) = given.try_extract_tensor::<f64>()?;
            Ok(last_of_each(values, rows).copied().collect())
        }
        Read::Maps(classes) => {
            let maps = given.try_extract_sequence::<DynValueTypeMarker>()?;
            maps.iter().map(|map| last_class(map, classes)).collect()
        }
    }
}

/// None where the values are no whole rows.
fn last_of_each<T>(values: &[T], rows: usize) -> impl Iterator<Item = &T> {
    let width = values.len() / rows.max(1);
    let whole = if width * rows == values.len() { values } else { &[] };
    whole.chunks_exact(width.max(1)).filter_map(<[T]>::last)
}

/// The greatest key is the last class: exporters sort them, and so does ZipMap.
fn last_class(map: &DynValue, classes: Classes) -> ort::Result<f64> {
    let last = match classes {
        Classes::Numbers => {
            let pairs = map.try_extract_key_values::<i64, f32>()?;
            pairs.into_iter().max_by_key(|(class, _)| *class).map(|(_, value)| value)
        }
        Classes::Names => {
            let pairs = map.try_extract_key_values::<String, f32>()?;
            let last = pairs.into_iter().max_by(|(one, _), (other, _)| one.cmp(other));
            last.map(|(_, value)| value)
        }
    };
    last.map(f64::from).ok_or_else(|| ort::Error::new("a row has no classes"))
}

fn declared(outlet: &Outlet) -> Declared {
    let told = outlet.dtype().to_string();
    Declared { name: outlet.name().to_owned(), form: form(outlet.dtype()), told }
}

fn form(ty: &ValueType) -> Form {
    match ty {
        ValueType::Tensor { ty, shape, .. } => match element(*ty) {
            Some(element) => Form::Tensor(element, shape.to_vec()),
            None => Form::Other,
        },
        ValueType::Sequence(item) => match **item {
            ValueType::Map { key: TensorElementType::Int64, value: TensorElementType::Float32 } => {
                Form::Maps(Classes::Numbers)
            }
            ValueType::Map {
                key: TensorElementType::String,
                value: TensorElementType::Float32,
            } => Form::Maps(Classes::Names),
            _ => Form::Other,
        },
        _ => Form::Other,
    }
}

fn element(ty: TensorElementType) -> Option<Element> {
    Some(match ty {
        TensorElementType::Float32 => Element::Float,
        TensorElementType::Float64 => Element::Double,
        TensorElementType::Int64 => Element::Int,
        TensorElementType::String => Element::Text,
        TensorElementType::Bool => Element::Bool,
        _ => return None,
    })
}
