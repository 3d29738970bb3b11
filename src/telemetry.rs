//! The metrics registry: what the server counts, rendered in Prometheus' text format.

pub mod logging;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;

/// Upper bounds of the latency buckets, in seconds.
const LATENCIES: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    resource: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
    resource: String,
}

/// Counters and histograms. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<Request, Counter>,
    latencies: Family<Verb, Histogram, fn() -> Histogram>,
    commits: Counter,
    writes: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(LATENCIES);
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::default())),
            requests: Family::default(),
            latencies: Family::new_with_constructor(histogram),
            commits: Counter::default(),
            writes: Counter::default(),
        };
        metrics.register("apiserver_request", "API requests by verb, resource and code", metrics.requests.clone());
        let help = "Seconds from request to response head, by verb and resource";
        metrics.register("apiserver_request_duration_seconds", help, metrics.latencies.clone());
        metrics.register("selkie_store_commits", "Transactions committed to the store", metrics.commits.clone());
        metrics.register("selkie_store_writes", "Objects written or removed by transactions", metrics.writes.clone());
        metrics
    }
}

impl Metrics {
    /// Adds a metric of another part of the program.
    pub fn register(&self, name: &str, help: &str, metric: impl prometheus_client::registry::Metric) {
        self.registry.lock().register(name, help, metric);
    }

    /// A request was answered; `resource` is empty for requests that name none.
    pub fn request(&self, verb: &'static str, resource: &str, code: u16, took: Duration) {
        self.requests.get_or_create(&Request { verb, resource: resource.into(), code }).inc();
        self.latencies.get_or_create(&Verb { verb, resource: resource.into() }).observe(took.as_secs_f64());
    }

    /// A transaction of `writes` writes was committed.
    pub fn committed(&self, writes: usize) {
        self.commits.inc();
        self.writes.inc_by(writes as u64);
    }

    /// Prometheus' text format.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = text::encode(&mut out, &self.registry.lock());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_was_counted() {
        let metrics = Metrics::default();
        metrics.request("get", "pods", 200, Duration::from_millis(2));
        metrics.committed(3);
        let text = metrics.render();
        assert!(text.contains("apiserver_request_total{verb=\"get\",resource=\"pods\",code=\"200\"} 1"), "{text}");
        assert!(text.contains("selkie_store_writes_total 3"), "{text}");
    }
}
