//! Counts imports and links for the gauges, at each scrape.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cache::{Cache, LinkEntry, UNLINKED};
use crate::metrics::{ImportState, Metrics, Snapshot, SourceSnapshot};
use crate::model::failure::Reason;
use crate::model::import::Import;
use crate::model::status::StatusSummary;
use crate::model::unreadable::UnreadableImport;

/// Computes the gauges from the cached imports and links, and drops the counters of sources without a link.
pub fn snapshot(cache: &Cache, leads: bool, now: Timestamp, metrics: &Metrics) -> Snapshot {
    let mut sources: BTreeMap<String, SourceSnapshot> = BTreeMap::new();
    let links = cache.visit_imports(|name, import, summary| {
        if !sources.contains_key(name) {
            sources.insert(name.to_owned(), SourceSnapshot::default());
        }
        if let Some(source) = sources.get_mut(name) {
            add(source, import, summary, now);
        }
    });
    cache.visit_unreadable(|name, import| {
        let state = ImportState { ready: import.is_ready(now), reason: Reason::InvalidSpec.as_str() };
        sources.entry(name.to_owned()).or_default().count(state, None, None, now);
    });
    for (name, is_up) in links {
        sources.entry(name).or_default().link_up = Some(is_up);
    }
    metrics.retain_sources(|source| sources.contains_key(source));
    Snapshot { leads, sources, namespaces: cache.namespaces() }
}

fn add(source: &mut SourceSnapshot, import: &Import, summary: &StatusSummary, now: Timestamp) {
    let state = ImportState {
        ready: summary.ready.is_some_and(|ready| ready.status),
        reason: summary.refreshed.map_or(ImportState::PENDING, |refreshed| refreshed.reason),
    };
    source.count(state, summary.expires_at, summary.refresh_at.or(import.created_at), now);
}

impl Cache {
    /// Visits all imports, with the names of their sources or [`UNLINKED`]; returns the linked sources, and whether
    /// each link is up.
    fn visit_imports(&self, mut visit: impl FnMut(&str, &Import, &StatusSummary)) -> BTreeMap<String, bool> {
        let state = self.state();
        let is_up = |link: &LinkEntry| link.source.as_ref().is_ok_and(|source| source.is_up());
        let links: BTreeMap<_, _> =
            state.links.iter().map(|(_, link)| (link.cluster_name.clone(), is_up(link))).collect();
        for (_, known) in state.imports.iter() {
            let name = known.import.spec.cluster_name.as_str();
            let source = if links.contains_key(name) { name } else { UNLINKED };
            visit(source, &known.import, &known.summary);
        }
        links
    }

    /// Visits all imports that can't be read, with the names of their sources or [`UNLINKED`].
    fn visit_unreadable(&self, mut visit: impl FnMut(&str, &UnreadableImport)) {
        let state = self.state();
        for (_, import) in state.unreadable.iter() {
            let name = import.cluster_name.as_str();
            visit(if state.link(name).is_some() { name } else { UNLINKED }, import);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ObservedImport;
    use crate::model::scope::Scope;
    use kube::api::ObjectMeta;
    use kube::runtime::watcher::Event;
    use mcsa_client::ServiceAccountImport;
    use prometheus_client::registry::Registry;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn observe(cache: &Cache, name: &str, cluster: &str, status: serde_json::Value) {
        let import = json!({
            "metadata": { "namespace": "default", "name": name, "uid": name, "creationTimestamp": at(0).to_string() },
            "spec": { "clusterName": cluster, "namespace": "default", "name": "pod-lister" },
            "status": status,
        });
        let import: ServiceAccountImport = serde_json::from_value(import).unwrap();
        let observed = ObservedImport::of(import);
        let Import { key, .. } = &observed.import;
        cache.observe_import(&Scope::All, Event::Apply((key.clone(), Ok(observed))));
    }

    #[test]
    fn imports_are_counted_by_source_and_state() {
        let (cache, metrics) = (Cache::default(), Metrics::new(&mut Registry::default()));
        let ready = |expires: i64| {
            let condition = |type_: &str, reason: &str| {
                json!({ "type": type_, "status": "True", "reason": reason, "message": "",
                        "lastTransitionTime": at(0).to_string() })
            };
            json!({
                "conditions": [condition("Ready", "TokenValid"), condition("Refreshed", "Refreshed")],
                "expirationTime": at(expires).to_string(), "refreshTime": at(expires - 300).to_string(),
            })
        };
        let link =
            LinkEntry { cluster_name: "c2".into(), version: "1".into(), source: Err("problem".into()) };
        cache.observe_link(Event::Apply(("c2-token".into(), link)));
        observe(&cache, "a", "c2", ready(2000));
        observe(&cache, "b", "c2", ready(1200));
        observe(&cache, "c", "c3", json!(null));
        observe(&cache, "d", "made-up", json!(null));
        let unreadable = UnreadableImport::new(ObjectMeta::default(), "c3", "spec.name is missing", None);
        let unreadable = (unreadable.key.clone(), Err(Box::new(unreadable)));
        cache.observe_import(&Scope::All, Event::Apply(unreadable));
        let Snapshot { sources, .. } = snapshot(&cache, true, at(1000), &metrics);
        let state = |ready, reason| ImportState { ready, reason };
        let c2 = SourceSnapshot {
            link_up: Some(false),
            imports: [(state(true, "Refreshed"), 2)].into(),
            soonest_expiry: Some(at(1200)),
            overdue: 1,
        };
        let not_ready = [(state(false, ImportState::PENDING), 2), (state(false, "InvalidSpec"), 1)].into();
        let unlinked = SourceSnapshot { imports: not_ready, overdue: 2, ..Default::default() };
        assert_eq!(sources, [("c2".to_owned(), c2), (UNLINKED.to_owned(), unlinked)].into());
    }
}
