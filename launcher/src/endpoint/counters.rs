//! Counts requests.

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Labels = [(&'static str, String); 2];

/// Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    requests: Family<Labels, Counter>,
    tunnels: Gauge,
}

/// An open tunnel. It is counted until it is dropped.
pub(super) struct OpenTunnel(Gauge);

impl Counters {
    /// Adds them to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("mcsa_launcher_endpoint");
        let help = "Requests to the endpoint, by kind and HTTP status";
        registry.register("requests", help, self.requests.clone());
        let help = "Open connections of exec, attach and port-forward";
        registry.register("tunnels", help, self.tunnels.clone());
    }

    pub(super) fn record(&self, kind: &'static str, code: StatusCode) {
        let labels = [("kind", kind.to_owned()), ("code", code.as_u16().to_string())];
        self.requests.get_or_create(&labels).inc();
    }

    pub(super) fn open_tunnel(&self) -> OpenTunnel {
        self.tunnels.inc();
        OpenTunnel(self.tunnels.clone())
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.dec();
    }
}
