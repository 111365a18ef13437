//! `POST /v1/score/{model}`: rows, or keys at an instant, to the scores of a model. Features are
//! retrieved just as `POST /v1/features/{view}` does it; the model runs behind that, on threads of
//! its own, and its time stands apart.

mod metrics;

pub(super) use metrics::ScoreMetrics;

use super::features::{Ask, Columns, from_caller, retrieve};
use super::problem::Problem;
use super::reply::{Reply, Scored, write_reply};
use super::stages::Stages;
use super::{App, Name};
use crate::score::{Found, Model, Models, ScoreError};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Instant;

pub(super) async fn score(
    State(app): State<Arc<App>>,
    Name(name): Name,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (models, model) = find(&app, &name)?;
    let bytes = from_caller(&app, request).await?;
    let scored = scored(&app, models, &model, &Ask::of(&bytes), write_reply).await;
    scored.map(|(text, stages)| (stages.headers(), text).into_response())
}

/// Scores when its turn comes; `write` makes the reply.
pub(super) async fn scored<T>(
    app: &App,
    models: &Models,
    model: &Arc<Model>,
    ask: &Ask<'_>,
    write: impl FnOnce(&Reply<'_>) -> (T, Stages),
) -> Result<(T, Stages), Problem> {
    let scored = match app.admission.answer().await {
        Ok(admitted) => admitted.work(answer(app, models, model, ask, write)).await,
        Err(problem) => Err(problem),
    };
    app.metrics.scores.request(&model.name, scored.as_ref().err().map(Problem::status));
    scored
}

/// The model of a name.
pub(super) fn find<'a>(app: &'a App, name: &str) -> Result<(&'a Models, Arc<Model>), Problem> {
    let unknown = |remedy: String| {
        Problem::new(StatusCode::NOT_FOUND, "unknown-name", "No such model")
            .detail(format!("there is no model {name}"))
            .at("path")
            .remedy(remedy)
    };
    let Some(models) = app.models.as_deref() else {
        let remedy = "this server has no models: its settings have no [models] (docs/scoring.md)";
        return Err(unknown(remedy.to_owned()));
    };
    match models.find(name) {
        Found::Model(model) => Ok((models, model)),
        Found::Refused(why) => Err(unfit(name, &why)),
        Found::Nothing(names) if names.is_empty() => {
            Err(unknown(format!("put a file {name}.onnx into the folder of models, it is empty")))
        }
        Found::Nothing(names) => Err(unknown(format!("the models are: {names}"))),
    }
}

/// The problem of a model that cannot be used as things are.
fn unfit(name: &str, why: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "model-unfit", "The model cannot be used")
        .detail(format!("model {name}: {why}"))
        .at("path")
        .remedy("mend what it says; a file that is put in its place is loaded within seconds")
}

async fn answer<T>(
    app: &App,
    models: &Models,
    model: &Arc<Model>,
    ask: &Ask<'_>,
    write: impl FnOnce(&Reply<'_>) -> (T, Stages),
) -> Result<(T, Stages), Problem> {
    let live = app.live();
    let catalog = live.catalog();
    let unfit = |why: &str| unfit(&model.name, why);
    let view = catalog.view(&model.view).ok_or_else(|| {
        unfit(&format!("there is no view {}; there are: {}", model.view, catalog.view_names()))
    })?;
    let bound = model.bound(view).map_err(|why| unfit(&why))?;
    let columns = Columns::OfModel(&bound.columns);
    let got = retrieve(app, &live, view, ask, columns).await?;
    let began = Instant::now();
    let scores = models.score(model, &bound, &got.answered, got.deadline).await;
    let scores = scores.map_err(|error| got.problem(problem(model, error)))?;
    let inference = began.elapsed();
    let (name, version) = (&*model.name, &*model.version);
    let scored = Scored { model: name, version, scores: &scores, inference };
    let (reply, stages) = write(&Reply { catalog, view, got: &got, scored: Some(scored) });
    app.metrics.answered(&view.name, &Stages { inference: None, ..stages }, &got.answered);
    app.metrics.scores.scored(name, inference, &scores);
    Ok((reply, stages))
}

fn problem(model: &Model, error: ScoreError) -> Problem {
    match error {
        ScoreError::Late => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "late", "The deadline has passed")
                .detail(format!("model {} had no scores before the deadline", model.name))
                .at("body, deadline_ms")
                .remedy("ask for fewer rows at one time, or give it longer by deadline_ms")
                .retry_after_s(1)
        }
        ScoreError::Failed(why) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Problem::new(status, "not-scored", "The model fails on these rows")
                .detail(format!("model {}: {why}", model.name))
                .at("body")
                .remedy("ask for each row alone to see which one it is; mend the model or the row")
        }
    }
}
