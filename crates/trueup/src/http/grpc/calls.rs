//! The methods of `trueup.v1.Features`, each beside the route that it mirrors.

use super::super::admission::Kind;
use super::super::events::{self, MAX_EVENTS_BYTES};
use super::super::features::{self, Ask, MAX_FEATURES_BYTES};
use super::super::problem::Problem;
use super::super::views::keys;
use super::super::{App, Live, score as scoring};
use super::messages::{
    Column, DeadLetter, GetFeaturesRequest, GetFeaturesResponse, ListViewsRequest,
    ListViewsResponse, PushEventsRequest, PushEventsResponse, ScoreRequest, ScoreResponse, View,
};
use super::wire::{Call, unary};
use super::{MAX_NAME_BYTES, answer, ask};
use axum::extract::{Request, State};
use axum::response::Response;
use std::sync::Arc;
use trueup_sql::sql_type;

pub(super) async fn get_features(State(app): State<Arc<App>>, request: Request) -> Response {
    unary(&app, request, MAX_FEATURES_BYTES, |call| features_of(&app, call)).await
}

async fn features_of(
    app: &App,
    call: Call<GetFeaturesRequest>,
) -> Result<GetFeaturesResponse, Problem> {
    let live = app.live();
    let view = features::view(app, &live, &call.message.view)?;
    let json = ask::features(&call.message, call.timeout);
    let ask = Ask::made(&json, call.arrived);
    let (response, _) = features::answered(app, &live, view, &ask, answer::features).await?;
    Ok(response)
}

pub(super) async fn score(State(app): State<Arc<App>>, request: Request) -> Response {
    unary(&app, request, MAX_FEATURES_BYTES, |call| score_of(&app, call)).await
}

async fn score_of(app: &App, call: Call<ScoreRequest>) -> Result<ScoreResponse, Problem> {
    let (models, model) = scoring::find(app, &call.message.model)?;
    let json = ask::score(&call.message, call.timeout);
    let ask = Ask::made(&json, call.arrived);
    let (response, _) = scoring::scored(app, models, &model, &ask, answer::scores).await?;
    Ok(response)
}

pub(super) async fn push_events(State(app): State<Arc<App>>, request: Request) -> Response {
    unary(&app, request, MAX_EVENTS_BYTES, |call| pushed(&app, call)).await
}

async fn pushed(app: &App, call: Call<PushEventsRequest>) -> Result<PushEventsResponse, Problem> {
    let PushEventsRequest { stream, events: rows, wait_applied, wait_ms } = call.message;
    let live = app.live();
    let number = events::number(&live, &stream)?;
    let wait = match wait_ms {
        None => events::DEFAULT_WAIT,
        Some(ms) => events::bound(&ms.to_string(), "wait_ms")?,
    };
    let _place = app.admission.place(Kind::Push)?;
    let rows = ask::events(&rows);
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let reply = events::into_log(&live, number, &rows, wait_applied.then_some(wait)).await?;
    let dead_letters = reply.dead_letters.into_iter().map(|rejected| DeadLetter {
        index: rejected.index as u64,
        column: rejected.column,
        reason: rejected.reason,
    });
    Ok(PushEventsResponse {
        accepted: reply.accepted as u64,
        dead_letters: dead_letters.collect(),
        applied: reply.applied,
    })
}

pub(super) async fn list_views(State(app): State<Arc<App>>, request: Request) -> Response {
    let listed = |_: Call<ListViewsRequest>| std::future::ready(listed(&app));
    unary(&app, request, MAX_NAME_BYTES, listed).await
}

fn listed(app: &App) -> Result<ListViewsResponse, Problem> {
    let _place = app.admission.place(Kind::Other)?;
    let (live, told) = (app.live(), app.told());
    let views = live.catalog().definitions().views.iter().map(|view| about(&live, view));
    let (served, coming) = (told.served.clone(), told.sentence());
    Ok(ListViewsResponse { views: views.collect(), served, coming })
}

fn about(live: &Live, view: &trueup_sql::View) -> View {
    let stream = &live.catalog().streams()[view.stream].stream;
    let columns = view.outputs.iter().map(|output| Column {
        name: output.name.clone(),
        ty: sql_type(&output.ty).to_string(),
        not_null: false,
    });
    let row = stream.columns.iter().map(|column| Column {
        name: column.name.clone(),
        ty: column.ty.to_string(),
        not_null: column.not_null,
    });
    View {
        view: view.name.clone(),
        digest: view.digest.to_string(),
        stream: stream.name.clone(),
        keys: keys(live, view).into_iter().map(str::to_owned).collect(),
        columns: columns.collect(),
        row: row.collect(),
    }
}
