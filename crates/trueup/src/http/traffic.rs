//! Metrics of the server itself: who is connected, what waits, what was refused and why. How long
//! answers waited for their turn is the stage `queue` of `trueup_stage_seconds`.

use super::App;
use prometheus::core::Collector;
use prometheus::{Error, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

#[derive(Debug)]
pub(super) struct Traffic {
    admitted: IntCounter,
    refused: IntCounterVec,
    under_way: IntGaugeVec,
    waiting: IntGauge,
    body_bytes: IntGauge,
    connections: IntGauge,
    connections_met: IntCounterVec,
}

impl Traffic {
    pub(super) fn new() -> Result<Traffic, Error> {
        Ok(Traffic {
            admitted: IntCounter::new(
                "trueup_answers_admitted_total",
                "Requests for features that had their turn.",
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "trueup_refused_total",
                    "Requests refused with 503: they would have waited too long (queue) or had \
                     (late), all places of their kind were taken, or bodies took all the room.",
                ),
                &["why"],
            )?,
            under_way: IntGaugeVec::new(
                Opts::new("trueup_under_way", "Requests under way, by kind, bodies read."),
                &["kind"],
            )?,
            waiting: IntGauge::new(
                "trueup_answers_waiting",
                "Requests for features that wait for their turn.",
            )?,
            body_bytes: IntGauge::new(
                "trueup_body_bytes",
                "Bytes of bodies that are here, whole or in part.",
            )?,
            connections: IntGauge::new("trueup_connections", "Connections that are open.")?,
            connections_met: IntCounterVec::new(
                Opts::new(
                    "trueup_connections_total",
                    "Connections accepted, refused for want of room, evicted to make room, closed \
                     because they asked nothing (silent), and failures to accept any.",
                ),
                &["what"],
            )?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), Error> {
        let all: [Box<dyn Collector>; 7] = [
            Box::new(self.admitted.clone()),
            Box::new(self.refused.clone()),
            Box::new(self.under_way.clone()),
            Box::new(self.waiting.clone()),
            Box::new(self.body_bytes.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.connections_met.clone()),
        ];
        all.into_iter().try_for_each(|one| registry.register(one))
    }

    /// Sets them to what is so now.
    pub(super) fn set(&self, app: &App) {
        let (admission, doors) = (&app.admission, &app.doors);
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.admitted.reset();
        self.admitted.inc_by(admission.admitted());
        self.refused.reset();
        for (why, count) in admission.refused() {
            self.refused.with_label_values(&[why]).inc_by(count);
        }
        for (kind, count) in admission.under_way() {
            self.under_way.with_label_values(&[kind]).set(gauge(count));
        }
        self.waiting.set(gauge(admission.waiting()));
        self.body_bytes.set(gauge(admission.body_bytes()));
        self.connections.set(gauge(doors.open()));
        self.connections_met.reset();
        for (what, count) in doors.counts() {
            self.connections_met.with_label_values(&[what]).inc_by(count);
        }
    }
}
