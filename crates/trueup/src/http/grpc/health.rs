//! Health as gRPC's clients and supervisors ask for it (`grpc.health.v1`): what `/readyz` says,
//! looked at once a second, however many ask or watch.

use super::super::App;
use super::super::health::is_ready;
use super::FEATURES;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// How often it is looked at: sooner than any supervisor asks twice.
const LOOK: Duration = Duration::from_secs(1);

/// What is asked for: the server itself, and its service.
const NAMES: [&str; 2] = ["", FEATURES];

/// Looks again and again; ends with this.
pub(super) struct Keeper {
    reporter: HealthReporter,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Looks for the first time, then on a task.
    pub(super) async fn start(reporter: HealthReporter, app: Arc<App>) -> Keeper {
        let mut told = is_ready(&app).await;
        tell(&reporter, told).await;
        let teller = reporter.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let ready = is_ready(&app).await;
                // Who watches hears of changes alone.
                if ready != told {
                    tell(&teller, ready).await;
                    told = ready;
                }
            }
        });
        Keeper { reporter, task }
    }

    /// Says that nothing is served any more, and lets those go who watch.
    pub(super) async fn stop(&self) {
        self.task.abort();
        tell(&self.reporter, false).await;
        let mut reporter = self.reporter.clone();
        for name in NAMES {
            reporter.clear_service_status(name).await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tell(reporter: &HealthReporter, ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in NAMES {
        reporter.set_service_status(name, status).await;
    }
}
