//! Scores of rows by ONNX models in this process: a folder of models, what each takes and gives,
//! and the running of them by a library of ONNX Runtime that is opened at run time
//! (`docs/decisions/0017-onnx-runtime.md`).
//!
//! ```text
//! folder ─▶ look: bytes ─▶ session ─▶ inputs against a view's columns ─▶ model, beside the old one
//! answer of the view ─▶ tensors ─▶ a session in its turn, until the deadline ─▶ score of each row
//! ```
//!
//! A model is swapped whole: a request takes the one that is there and works with it to its end. A
//! file that cannot be used leaves what was loaded before. What a row's score cannot be vouched for
//! is no number, with the reason. Retrieving features is `serve`'s; HTTP is `http`'s; training is
//! nobody's here.

mod bind;
mod feed;
mod model;
mod models;
mod run;

pub use bind::Bound;
pub use model::{Model, Score, ScoreError};
pub use models::{Found, Models, Told};
