//! The gRPC mirror: what `/v1` answers over HTTP, by the same code, in the messages of
//! `proto/trueup/v1/trueup.proto`; with reflection, and with health as `/readyz` says it.
//!
//! ```text
//! token ─▶ body within its bounds ─▶ message ─▶ the JSON that HTTP would have had
//!     ─▶ place, turn ─▶ features, score or events ─▶ what HTTP writes as JSON, as a message
//! ```
//!
//! A request becomes JSON because that is where values are decoded, by one table for every way in.
//! There is no arithmetic, no bound and no policy here that HTTP has not; only the names of things
//! differ. Connections are taken in by `server`, as those of HTTP/1 are.

mod answer;
mod ask;
mod calls;
mod health;
mod messages;
mod wire;

use super::server::{self, Wire};
use super::{App, auth, caller};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::post;
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::Status;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::Builder;

/// What `protoc` makes of the proto, for those who ask by reflection; a test holds it to that.
const DESCRIPTORS: &[u8] = include_bytes!("../../../proto/trueup/v1/trueup.binpb");

/// The service, as its proto names it.
const FEATURES: &str = "trueup.v1.Features";

/// What the paths of health begin with, and those of reflection.
const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION: &str = "/grpc.reflection.";

/// Bytes of the largest message to health and reflection: they hold a name.
const MAX_NAME_BYTES: usize = 4 << 10;

/// Serves until `stop` is done, and lets calls under way end, as [`server::serve`] does.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let keeper = health::Keeper::start(reporter, Arc::clone(&app)).await;
    let stop = async {
        stop.await;
        keeper.stop().await;
    };
    let router = router(Arc::clone(&app), health);
    server::serve(listener, router, &app, Wire::Http2, stop).await;
}

fn router(app: Arc<App>, health: HealthServer<impl Health>) -> Router {
    let told = || {
        let builder = Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
        builder.register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let fits = "the descriptors are constants, and tests read them";
    let (v1, v1alpha) = (told().build_v1().expect(fits), told().build_v1alpha().expect(fits));
    let v1 = v1.max_decoding_message_size(MAX_NAME_BYTES);
    let v1alpha = v1alpha.max_decoding_message_size(MAX_NAME_BYTES);
    let health = health.max_decoding_message_size(MAX_NAME_BYTES);
    Router::new()
        .route("/trueup.v1.Features/GetFeatures", post(calls::get_features))
        .route("/trueup.v1.Features/Score", post(calls::score))
        .route("/trueup.v1.Features/PushEvents", post(calls::push_events))
        .route("/trueup.v1.Features/ListViews", post(calls::list_views))
        .route_service("/grpc.health.v1.Health/{*method}", health)
        .route_service("/grpc.reflection.v1.ServerReflection/{*method}", v1)
        // Older clients know no other, Python's among them.
        .route_service("/grpc.reflection.v1alpha.ServerReflection/{*method}", v1alpha)
        .fallback(no_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

/// Around every method: which call it is, and who asks. There is no work before a message has come,
/// so who sends none takes no place.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let admitting = Arc::clone(&app);
    caller::known(&app, request, |request| admitted(admitting, request, next)).await
}

async fn admitted(app: Arc<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // Supervisors bear none, as at `/readyz`.
    if let Some(token) = app.token.as_ref().filter(|_| !path.starts_with(HEALTH))
        && let Err(problem) = auth::check(request.headers(), token)
    {
        return wire::status(problem).into_http();
    }
    if path.strip_prefix(HEALTH) == Some("Watch") || path.starts_with(REFLECTION) {
        server::may_last();
    }
    next.run(request).await
}

async fn no_method(uri: Uri) -> Response {
    let says = "ask for the services and their methods by reflection";
    Status::unimplemented(format!("there is no {}; {says}", uri.path())).into_http()
}
