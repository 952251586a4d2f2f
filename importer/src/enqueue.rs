//! Enqueues imports for immediate reconciliation: those that changed, and those whose source responds again.

use crate::cache::Cache;
use crate::model::key::ObjectKey;
use crate::queue::{Place, Queue};

/// Enqueues imports; returns those that no longer exist. Imports of sources without a link share one lane.
pub fn enqueue(queue: &Queue, cache: &Cache, keys: Vec<ObjectKey>) -> Vec<ObjectKey> {
    let (mut known, mut deleted) = (Vec::new(), Vec::new());
    for key in keys {
        match cache.import(&key) {
            Some(import) => known.push((import.refresh_at(), import.import)),
            None => deleted.push(key),
        }
    }
    // Those that are not due yet all have the deadline now. A link with another CA makes each of them mint a token.
    known.sort_by_key(|(refresh_at, _)| *refresh_at);
    for (refresh_at, import) in known {
        let lane = cache.source_or_unlinked(&import.spec.cluster_name).to_owned();
        queue.enqueue(import.key.clone(), Place { lane, is_link: import.is_link }, refresh_at);
    }
    deleted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{LinkEntry, ObservedImport};
    use crate::clock::Clock;
    use crate::model::scope::Scope;
    use crate::queue::LANE_LIMIT;
    use futures::FutureExt;
    use jiff::Timestamp;
    use kube::runtime::watcher::Event;
    use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
    use rstest::rstest;
    use serde_json::{Value, json};

    fn observe(cache: &Cache, import: Value) -> ObjectKey {
        let observed = ObservedImport::of(serde_json::from_value(import).unwrap());
        let key = observed.import.key.clone();
        cache.observe_import(&Scope::All, Event::Apply((key.clone(), Ok(observed))));
        key
    }

    /// An import whose token is due at this second, and which has failed for this reason.
    fn import(name: &str, cluster: &str, due: i64, failure: Option<&str>) -> Value {
        let refreshed = json!({
            "type": "Refreshed", "status": if failure.is_some() { "False" } else { "True" },
            "reason": failure.unwrap_or("Refreshed"), "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        json!({
            "metadata": { "namespace": "default", "name": name, "uid": name },
            "spec": { "clusterName": cluster, "namespace": "default", "name": "pod-lister" },
            "status": {
                "conditions": [refreshed],
                "refreshTime": Timestamp::from_second(due).unwrap().to_string(),
            },
        })
    }

    fn link() -> Value {
        json!({
            "metadata": { "namespace": SYSTEM_NAMESPACE, "name": "c2", "uid": "c2",
                          "labels": { LINK_LABEL: "true" } },
            "spec": { "clusterName": "c2", "namespace": SYSTEM_NAMESPACE, "name": "c1" },
        })
    }

    fn taken(queue: &Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.next().now_or_never()).map(|key| key.name().to_owned()).collect()
    }

    fn linked() -> Cache {
        let cache = Cache::default();
        let entry =
            LinkEntry { cluster_name: "c2".into(), version: "1".into(), source: Err("problem".into()) };
        cache.observe_link(Event::Apply(("c2-token".into(), entry)));
        cache
    }

    #[rstest]
    #[case::after_an_outage(Some("SourceUnreachable"), ["c2", "most-overdue", "overdue", "later"])]
    // An import that can't be refreshed must not overtake others at each edit.
    #[case::owner_has_to_fix_it(Some("Forbidden"), ["c2", "overdue", "later", "most-overdue"])]
    fn overdue_imports_are_enqueued_by_refresh_time(
        #[case] failure: Option<&str>,
        #[case] expected: [&str; 4],
    ) {
        let (cache, queue) = (linked(), Queue::new(Clock::system()));
        let keys = [
            observe(&cache, import("later", "c2", 30_000_000_000, None)),
            observe(&cache, import("overdue", "c2", 2000, None)),
            observe(&cache, link()),
            observe(&cache, import("most-overdue", "c2", 1000, failure)),
        ];
        let (first, last) = keys.split_at(3);
        assert_eq!(enqueue(&queue, &cache, first.to_vec()), []);
        assert_eq!(enqueue(&queue, &cache, last.to_vec()), []);
        assert_eq!(taken(&queue), expected);
    }

    #[test]
    fn imports_of_a_changed_link_are_enqueued_by_refresh_time() {
        let (cache, queue) = (linked(), Queue::new(Clock::system()));
        let keys =
            [3_i64, 1, 2].map(|i| observe(&cache, import(&i.to_string(), "c2", 30_000_000_000 + i, None)));
        assert_eq!(enqueue(&queue, &cache, keys.to_vec()), []);
        assert_eq!(taken(&queue), ["1", "2", "3"]);
    }

    #[test]
    fn sources_without_a_link_share_one_lane() {
        let (cache, queue) = (linked(), Queue::new(Clock::system()));
        let due = 1000;
        let keys = (0..2 * LANE_LIMIT)
            .map(|i| observe(&cache, import(&format!("import-{i}"), &format!("made-up-{i}"), due, None)));
        enqueue(&queue, &cache, keys.collect());
        assert_eq!(taken(&queue).len(), LANE_LIMIT);
    }

    #[test]
    fn deleted_import_is_returned() {
        let (cache, queue) = (linked(), Queue::new(Clock::system()));
        let key = ObjectKey::new("default", "deleted");
        assert_eq!(enqueue(&queue, &cache, vec![key.clone()]), [key]);
        assert!(taken(&queue).is_empty());
    }
}
