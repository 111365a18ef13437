//! `trueup run` and `trueup serve`: a server, with or without ingest, until it is told to stop.

use super::Failure;
use super::common::{self, SettingsArgs};
use super::log;
use crate::clock::Clock;
#[cfg(feature = "otel")]
use crate::http::Spans;
use crate::ingest::NewBeginning;
use crate::node::{Node, NodeOptions};
use crate::settings::Settings;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Where the log does not hold what comes after the state: drop that state and begin anew
    #[arg(long)]
    new_beginning: bool,
}

/// Keeps ONNX Runtime, as its makers build it, from reporting to them. It reads that when it is
/// opened, before it could be told by a call (its Privacy.md).
const NO_REPORTS: &str = "ORT_DISABLE_TELEMETRY";

/// Which part of a node this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Both,
    Serving,
}

pub(super) fn run(args: &Args, part: Part) -> Result<(), Failure> {
    log::to_stderr();
    let settings = args.settings.load()?;
    if settings.models.is_some() && std::env::var_os(NO_REPORTS).is_none() {
        return Err(begun_anew());
    }
    let catalog = common::catalog(&settings)?;
    let options = NodeOptions {
        catalog,
        place: settings.store.clone(),
        sources: settings.sources.clone(),
        avro: settings.avro.clone(),
        bad: settings.bad.clone(),
        database: settings.database.clone(),
        views: settings.views.clone(),
        record_to_log: settings.record_to_log,
        models: settings.models.clone(),
        max_staleness: settings.max_staleness,
        token: settings.token.clone(),
        ingest: part == Part::Both,
        policy: match args.new_beginning {
            true => NewBeginning::Declared,
            false => NewBeginning::Refuse,
        },
        clock: Clock::system(),
    };
    common::runtime()?.block_on(serve(options, &settings))
}

/// Begins this process anew with [`NO_REPORTS`]: a program that may have threads cannot change its
/// own variables. Returns only if that fails.
fn begun_anew() -> Failure {
    let anew = |program| {
        Command::new(program).args(std::env::args_os().skip(1)).env(NO_REPORTS, "1").exec()
    };
    let error = std::env::current_exe().map_or_else(|error| error, anew);
    format!("error: cannot begin anew with {NO_REPORTS}=1: {error}; set that variable").into()
}

async fn serve(options: NodeOptions, settings: &Settings) -> Result<(), Failure> {
    // The socket first: a port that is taken should not cost the opening of the store.
    let (listener, address) = listen(settings.listen, settings).await?;
    #[cfg(feature = "grpc")]
    let mirror = match settings.grpc_listen {
        Some(on) => Some(listen(on, settings).await?),
        None => None,
    };
    let stop = stop_signal()?;
    let node = Node::start(options).map_err(|error| format!("error: {error}"))?;
    eprintln!("environment {}, state in {}", settings.environment, settings.store);
    eprintln!("listening on http://{address}");
    #[cfg(feature = "grpc")]
    let node = match mirror {
        Some((listener, address)) => {
            eprintln!("gRPC on {address}");
            node.with_grpc(listener)
        }
        None => node,
    };
    let node = traced(node)?;
    let router = node.router();
    node.serve(listener, router, stop).await.map_err(|error| format!("error: {error}").into())
}

/// With spans on their way to the collector that the variables of OpenTelemetry name.
#[cfg(feature = "otel")]
fn traced(node: Node) -> Result<Node, Failure> {
    let spans =
        Spans::by(|name| std::env::var(name).ok()).map_err(|why| format!("error: {why}"))?;
    Ok(match spans {
        Some(spans) => node.with_spans(spans),
        None => node,
    })
}

/// Says so if spans are wanted. They are no reason not to start: that variable is often there for
/// all.
#[cfg(not(feature = "otel"))]
fn traced(node: Node) -> Result<Node, Failure> {
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
        tracing::warn!(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and this program was built without spans; build \
             it with the feature `otel`: cargo build --release --features otel"
        );
    }
    Ok(node)
}

/// Listens on an address, and says so if everybody there may do everything.
pub(super) async fn listen(
    on: SocketAddr,
    settings: &Settings,
) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(on).await.map_err(|error| {
        format!("error: cannot listen on {on}: {error}; choose another --listen")
    })?;
    let address = listener.local_addr()?;
    if settings.insecure && !address.ip().is_loopback() {
        tracing::warn!(%address, "insecure = true: everybody who reaches this may read and write");
    }
    Ok((listener, address))
}

/// Returns when the process is told to stop, and says so.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let told = told_to_stop()?;
    Ok(async move {
        told.await;
        eprintln!("stopping");
    })
}

/// Returns when the process is told to stop.
pub(super) fn told_to_stop() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            // Without a handler for Ctrl-C, SIGTERM still stops it.
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    })
}
