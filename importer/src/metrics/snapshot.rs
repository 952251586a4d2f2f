//! Gauges, computed at each scrape.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use mcsa_runtime::metrics::{self, gauge};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::PREFIX;
use crate::model::failure::Reason;
use crate::model::status::SUCCEEDED;

/// The values of all gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether this replica leads. A follower exposes no other gauge.
    pub leads: bool,
    /// The sources that have a link, and one for the imports without a link.
    pub sources: BTreeMap<String, SourceSnapshot>,
    /// The namespaces that the importer is confined to, and whether each is served.
    pub namespaces: BTreeMap<String, bool>,
}

/// The gauges of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSnapshot {
    /// Whether its link works; `None` without a link.
    pub link_up: Option<bool>,
    /// Number of imports by state.
    pub imports: BTreeMap<ImportState, u64>,
    /// Earliest expiration time of its imports' tokens; may be in the past.
    pub soonest_expiry: Option<Timestamp>,
    /// Number of imports whose refresh is overdue.
    pub overdue: u64,
}

/// An import's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImportState {
    /// Whether the condition `Ready` is true.
    pub ready: bool,
    /// The reason of the condition `Refreshed`, or [`ImportState::PENDING`]. Only known reasons: a client that
    /// may write statuses could otherwise create any number of series.
    pub reason: &'static str,
}

impl ImportState {
    /// The reason of an import that has no conditions yet.
    pub const PENDING: &str = "Pending";

    fn is_failure(&self) -> bool {
        self.reason != Self::PENDING && self.reason != SUCCEEDED
    }
}

impl SourceSnapshot {
    /// Adds an import. `due_at` is its refresh time or, without a token, its creation time.
    ///
    /// An import that its owners have to fix counts only by its state: an operator who is paged for an
    /// expiring token could do nothing about it.
    pub fn count(
        &mut self,
        state: ImportState,
        expires_at: Option<Timestamp>,
        due_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        *self.imports.entry(state).or_default() += 1;
        if Reason::FIXED_BY_OWNERS.iter().any(|reason| reason.as_str() == state.reason) {
            return;
        }
        self.soonest_expiry = self.soonest_expiry.into_iter().chain(expires_at).min();
        let is_late = due_at.is_some_and(|due| now.duration_since(due) > GRACE);
        self.overdue += u64::from(state.is_failure() || is_late);
    }
}

/// A due import is overdue after this time. With many imports, a few are always due.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// Registers the gauges; each scrape calls `snapshot`.
pub fn expose(registry: &mut Registry, snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) {
    let registry = registry.sub_registry_with_prefix(PREFIX);
    metrics::register(registry, move |encoder| snapshot().encode(encoder));
}

impl Snapshot {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Self { leads, sources, namespaces } = self;
        encoder
            .encode_descriptor("leader", "Whether this replica is the leader.", None, MetricType::Gauge)?
            .encode_gauge(&u64::from(*leads))?;
        if !*leads {
            return Ok(());
        }
        let help = "Whether the imports of a configured namespace are served.";
        // Not `namespace`: Prometheus sets that to the importer's own.
        let served = namespaces
            .iter()
            .map(|(name, is_served)| ([("import_namespace", name.as_str())], u64::from(*is_served)));
        gauge(encoder, "namespace_served", help, None, served)?;
        let of_each = |value: fn(&SourceSnapshot) -> Option<i64>| {
            let value = move |(name, source)| Some(([("source", name)], value(source)?));
            sources.iter().filter_map(value)
        };
        let help = "Whether the link to a source works.";
        gauge(encoder, "link_up", help, None, of_each(|source| source.link_up.map(i64::from)))?;
        let help = "Expiration time of the source's token that expires first.";
        let expiry = of_each(|source| Some(source.soonest_expiry?.as_second()));
        gauge(encoder, "soonest_expiry_timestamp", help, Some(&Unit::Seconds), expiry)?;
        let help = "Imports whose refresh is overdue.";
        let overdue = of_each(|source| Some(i64::try_from(source.overdue).unwrap_or(i64::MAX)));
        gauge(encoder, "overdue_imports", help, None, overdue)?;
        let imports = sources.iter().flat_map(|(name, source)| {
            source.imports.iter().map(move |(state, count)| {
                let ready = if state.ready { "true" } else { "false" };
                ([("source", name.as_str()), ("ready", ready), ("reason", state.reason)], *count)
            })
        });
        gauge(encoder, "imports", "Imports, by source and condition.", None, imports)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rstest::rstest;

    use super::*;
    use crate::metrics::samples;

    fn exposed(snapshot: Snapshot) -> Vec<String> {
        let mut registry = Registry::default();
        expose(&mut registry, move || snapshot.clone());
        samples(&registry)
    }

    fn state(ready: bool, reason: &'static str) -> ImportState {
        ImportState { ready, reason }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sources() -> BTreeMap<String, SourceSnapshot> {
        let linked = SourceSnapshot {
            link_up: Some(true),
            imports: [
                (state(true, "Refreshed"), 7),
                (state(true, "Forbidden"), 1),
                (state(false, ImportState::PENDING), 2),
            ]
            .into(),
            soonest_expiry: Some(Timestamp::from_millisecond(1_800_000_000_700).unwrap()),
            overdue: 3,
        };
        let unlinked =
            SourceSnapshot { imports: [(state(false, "ClusterNotLinked"), 1)].into(), ..Default::default() };
        [("c2".to_owned(), linked), ("c3".to_owned(), unlinked)].into()
    }

    #[test]
    fn leader_exposes_all_gauges() {
        let namespaces = [("a".to_owned(), true), ("b".to_owned(), false)].into();
        let samples = exposed(Snapshot { leads: true, sources: sources(), namespaces });
        let expected = [
            r#"mcsa_importer_leader 1"#,
            r#"mcsa_importer_namespace_served{import_namespace="a"} 1"#,
            r#"mcsa_importer_namespace_served{import_namespace="b"} 0"#,
            r#"mcsa_importer_link_up{source="c2"} 1"#,
            r#"mcsa_importer_soonest_expiry_timestamp_seconds{source="c2"} 1800000000"#,
            r#"mcsa_importer_overdue_imports{source="c2"} 3"#,
            r#"mcsa_importer_overdue_imports{source="c3"} 0"#,
            r#"mcsa_importer_imports{source="c2",ready="false",reason="Pending"} 2"#,
            r#"mcsa_importer_imports{source="c2",ready="true",reason="Forbidden"} 1"#,
            r#"mcsa_importer_imports{source="c2",ready="true",reason="Refreshed"} 7"#,
            r#"mcsa_importer_imports{source="c3",ready="false",reason="ClusterNotLinked"} 1"#,
        ];
        assert_eq!(samples, expected);
    }

    #[test]
    fn follower_exposes_only_leader_gauge() {
        let follows = Snapshot { leads: false, sources: sources(), ..Default::default() };
        assert_eq!(exposed(follows), ["mcsa_importer_leader 0"]);
        assert_eq!(exposed(Snapshot { leads: true, ..Default::default() }), ["mcsa_importer_leader 1"]);
    }

    #[test]
    fn removed_source_has_no_gauges() {
        let now = Arc::new(Mutex::new(Snapshot { leads: true, sources: sources(), ..Default::default() }));
        let mut registry = Registry::default();
        let current = now.clone();
        expose(&mut registry, move || current.lock().unwrap().clone());
        assert!(samples(&registry).concat().contains("c2"));
        now.lock().unwrap().sources.clear();
        assert_eq!(samples(&registry), ["mcsa_importer_leader 1"]);
    }

    #[rstest]
    #[case::not_due("Refreshed", Some(1), 0)]
    #[case::just_due("Refreshed", Some(-60), 0)]
    #[case::overdue("Refreshed", Some(-61), 1)]
    #[case::new_import("Pending", Some(-5), 0)]
    #[case::new_and_overdue("Pending", Some(-61), 1)]
    #[case::failing("SourceUnreachable", Some(1), 1)]
    #[case::link_forbidden("LinkForbidden", Some(1), 1)]
    #[case::token_request_timed_out("TokenRequestTimedOut", Some(1), 1)]
    #[case::owner_must_fix_it("ServiceAccountNotFound", Some(-99), 0)]
    #[case::never_due("Refreshed", None, 0)]
    fn import_is_overdue_a_minute_after_its_due_time(
        #[case] reason: &'static str,
        #[case] due: Option<i64>,
        #[case] overdue: u64,
    ) {
        let mut source = SourceSnapshot::default();
        source.count(state(true, reason), Some(at(9)), due.map(at), at(0));
        assert_eq!(source.overdue, overdue);
    }

    #[test]
    fn soonest_expiry_ignores_imports_that_owners_have_to_fix() {
        let mut source = SourceSnapshot::default();
        source.count(state(false, "Forbidden"), Some(at(-9)), None, at(0));
        assert_eq!(source.soonest_expiry, None);
        source.count(state(true, "Refreshed"), Some(at(7)), None, at(0));
        source.count(state(false, "Pending"), None, None, at(0));
        source.count(state(true, "Refreshed"), Some(at(5)), None, at(0));
        assert_eq!(source.soonest_expiry, Some(at(5)));
        assert_eq!(source.imports[&state(true, "Refreshed")], 2);
    }
}
