//! The HTTP interface: routes, bodies within bounds, problem documents. It sees both sides: pushing
//! is `ingest`'s, answering `serve`'s.

mod admission;
mod auth;
mod body;
mod caller;
mod coding;
mod dead_letters;
mod definitions;
mod events;
mod explain;
mod feast;
mod features;
#[cfg(feature = "grpc")]
pub(crate) mod grpc;
mod health;
mod metrics;
mod openapi;
mod problem;
mod record;
mod replay;
mod reply;
mod request_schemas;
mod score;
pub(crate) mod server;
#[cfg(feature = "otel")]
mod spans;
mod stages;
mod traffic;
mod views;

pub use dead_letters::{listed, replayed};
pub use events::{MAX_EVENTS, MAX_EVENTS_BYTES};
pub use features::{MAX_FEATURES_BYTES, MAX_ROWS};
pub use health::{Health, WorkerHealth};
pub use metrics::Metrics;
pub use openapi::document as openapi;
pub use problem::Problem;
#[cfg(feature = "otel")]
pub use spans::Spans;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::ingest::Pusher;
use crate::release::Told;
use crate::score::Models;
use crate::serve::Serving;
use crate::status::Looker;
use admission::{Admission, Kind};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Router, extract::DefaultBodyLimit};
use coding::Coding;
use server::Doors;
use std::sync::{Arc, PoisonError, RwLock};
use trueup_store::Store;

/// What follows from the definitions that are served. A request takes it once and works with it to
/// its end, so that no answer is by two of them.
#[derive(Debug)]
pub struct Live {
    /// Answers requests.
    pub serving: Serving,
    /// Takes events.
    pub pusher: Pusher,
}

impl Live {
    /// The definitions.
    pub fn catalog(&self) -> &Catalog {
        &self.serving.catalog
    }
}

/// What all handlers share.
#[derive(Debug)]
pub struct App {
    live: RwLock<Arc<Live>>,
    told: RwLock<Arc<Told>>,
    /// Where the state is.
    pub store: Arc<dyn Store>,
    /// Wall-clock time.
    pub clock: Clock,
    /// How far behind the pipeline may be, microseconds, before values are STALE.
    pub max_staleness_us: i64,
    /// Tells whether the parts work.
    pub health: Health,
    /// Counts and measures.
    pub metrics: Metrics,
    /// The bearer token that callers must have, if any.
    pub token: Option<String>,
    /// The models that score rows, if there are any.
    pub models: Option<Arc<Models>>,
    /// Looks at everything for those who ask how it is, one after the other; `None` where nobody
    /// gave one.
    looker: tokio::sync::Mutex<Option<Looker>>,
    /// Where the state is, without secrets.
    place: String,
    admission: Admission,
    doors: Arc<Doors>,
    /// Where spans of requests go, if anywhere.
    #[cfg(feature = "otel")]
    pub(crate) spans: std::sync::OnceLock<Spans>,
}

impl App {
    /// An application over its parts.
    pub fn new(
        serving: Serving,
        pusher: Pusher,
        health: Health,
        metrics: Metrics,
        token: Option<String>,
    ) -> App {
        let served = serving.catalog.definitions().digest().to_string();
        App {
            told: RwLock::new(Arc::new(Told { served, ..Told::default() })),
            store: Arc::clone(&serving.store),
            clock: serving.clock.clone(),
            max_staleness_us: serving.max_staleness_us,
            live: RwLock::new(Arc::new(Live { serving, pusher })),
            health,
            metrics,
            token,
            models: None,
            looker: tokio::sync::Mutex::default(),
            place: String::new(),
            admission: Admission::new(),
            doors: Doors::new(),
            #[cfg(feature = "otel")]
            spans: Default::default(),
        }
    }

    /// With one who looks at store and sources for `/v1/status?verbose`.
    #[must_use]
    pub fn looked_at_by(mut self, looker: Looker, place: String) -> App {
        (self.looker, self.place) = (tokio::sync::Mutex::new(Some(looker)), place);
        self
    }

    /// With models that score rows.
    #[must_use]
    pub fn scoring_by(mut self, models: Option<Models>) -> App {
        self.models = models.map(Arc::new);
        self
    }

    /// What is served now.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves something else from the next request on.
    pub fn go_live(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }

    /// Which definitions are served, and which are on their way.
    pub fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says which they are.
    pub fn tell(&self, told: Told) {
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(told);
    }
}

/// Every route with its method, as OpenAPI spells paths: the router and its tests read this table.
pub const ROUTES: [(&str, &str); 15] = [
    ("POST", "/v1/features/{view}"),
    ("POST", "/v1/score/{model}"),
    ("POST", "/get-online-features"),
    ("POST", "/v1/events/{stream}"),
    ("GET", "/v1/events/{stream}"),
    ("GET", "/v1/dead-letters/{stream}"),
    ("POST", "/v1/dead-letters/{stream}/replay"),
    ("GET", "/v1/views"),
    ("POST", "/v1/definitions/{change}"),
    ("GET", "/v1/status"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/health"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
];

/// Those of a process that only applies events: how it is, and what it could not use.
const OPERATIONS: [&str; 6] = [
    "/v1/dead-letters/{stream}",
    "/v1/dead-letters/{stream}/replay",
    "/v1/status",
    "/livez",
    "/readyz",
    "/metrics",
];

/// The routes of the server.
pub fn router(app: Arc<App>) -> Router {
    routes(app, |_| true)
}

/// The routes of a process that only applies events.
pub fn operations(app: Arc<App>) -> Router {
    routes(app, |path| OPERATIONS.contains(&path))
}

fn routes(app: Arc<App>, has: impl Fn(&str) -> bool) -> Router {
    let mut router = Router::new();
    let mut added = Vec::new();
    let here: Vec<_> = ROUTES.into_iter().filter(|(_, path)| has(path)).collect();
    for &(_, path) in &here {
        if !added.contains(&path) {
            added.push(path);
            router = router.route(path, method_router(path).fallback(method_not_allowed));
        }
    }
    let here: Vec<String> = here.iter().map(|(verb, path)| format!("{verb} {path}")).collect();
    let here: Arc<str> = here.join(", ").into();
    router
        .fallback(move |uri: Uri| std::future::ready(no_route(&uri, &here)))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard))
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

fn method_router(path: &str) -> MethodRouter<Arc<App>> {
    match path {
        "/v1/features/{view}" => post(features::features),
        "/v1/score/{model}" => post(score::score),
        "/get-online-features" => post(feast::online_features),
        "/v1/events/{stream}" => post(events::push).get(replay::replay),
        "/v1/dead-letters/{stream}" => get(dead_letters::list),
        "/v1/dead-letters/{stream}/replay" => post(dead_letters::again),
        "/v1/views" => get(views::views),
        "/v1/definitions/{change}" => post(definitions::change),
        "/v1/status" => get(health::status),
        "/livez" => get(health::livez),
        // Feast's clients ask by its name.
        "/readyz" | "/health" => get(health::readyz),
        "/metrics" => get(metrics_text),
        _ => get(openapi::serve),
    }
}

/// Around every handler: which request it is, who asks, and whether there is room.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let admitting = Arc::clone(&app);
    caller::known(&app, request, |request| admitted(admitting, request, next)).await
}

async fn admitted(app: Arc<App>, request: Request, next: Next) -> Response {
    let accepted = Coding::accepted(request.headers());
    let path = request.uri().path();
    if let Some(token) = &app.token
        && !matches!(path, "/livez" | "/readyz" | "/health")
        && let Err(problem) = auth::check(request.headers(), token)
    {
        return problem.into_response();
    }
    let kind = Kind::at_the_door(request.method(), path);
    match kind.map(|kind| app.admission.place(kind)).transpose() {
        Ok(_place) => {
            let response = next.run(request).await;
            coding::shrunk(response, accepted, app.admission.waiting() > 0).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn no_route(uri: &Uri, routes: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-route", "No such path")
        .detail(format!("there is no {}", uri.path()))
        .at("path")
        .remedy(format!("the routes are: {routes}"))
}

async fn method_not_allowed(request: Request) -> Problem {
    let path = request.extensions().get::<axum::extract::MatchedPath>();
    let path = path.map_or_else(|| request.uri().path(), |path| path.as_str());
    let takes = ROUTES.iter().filter(|(_, route)| *route == path).map(|(verb, _)| *verb);
    let takes = takes.collect::<Vec<_>>().join(" or ");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "Another method is needed")
        .detail(format!("{path} does not take {}", request.method()))
        .at("method")
        .remedy(format!("use {takes}"))
}

/// The name in a path: of a view, a stream or a model.
struct Name(String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Name, Problem> {
        let name: Result<Path<String>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        name.map(|Path(name)| Name(name)).map_err(|rejection| {
            Problem::bad_request(rejection.body_text())
                .at("path")
                .remedy("write the name in UTF-8, percent-encoded where it must be")
        })
    }
}

/// The problem of a view or stream that is not defined.
fn unknown(what: &'static str, name: &str, names: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-name", "No such name in the definitions")
        .detail(format!("there is no {what} {name}"))
        .at("path")
        .remedy(format!("the definitions have: {names}"))
}

async fn metrics_text(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.text(&app);
    #[cfg(feature = "otel")]
    let text = match app.spans.get() {
        Some(spans) => text + &spans.metrics(),
        None => text,
    };
    ([(axum::http::header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
