//! How things are, asked for at each scrape.
//!
//! Asked for, because a gauge that has to be kept right is wrong some day, and one of a source that is
//! gone would stay for ever.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::PREFIX;
use crate::model::failure::Reason;
use crate::model::status::SUCCEEDED;

/// How things are, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether this replica leads. One that does not knows nothing that counts, and says nothing else.
    pub leads: bool,
    /// The sources that have a link, or imports.
    pub sources: BTreeMap<String, SourceSnapshot>,
    /// The namespaces that it is confined to, and whether it knows what is in them.
    pub namespaces: BTreeMap<String, bool>,
}

/// How things are with one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSnapshot {
    /// Whether its link works; none when it has no link.
    pub link_up: Option<bool>,
    /// How many of its imports are in which state.
    pub imports: BTreeMap<ImportState, u64>,
    /// When the first of the tokens in its imports' Secrets expires, or did.
    pub soonest_expiry: Option<Timestamp>,
    /// How many of its imports should have a new token by now, and have none.
    pub overdue: u64,
}

/// What an import's conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImportState {
    /// Whether the condition `Ready` is true.
    pub ready: bool,
    /// The reason of the condition `Refreshed`, or [`ImportState::PENDING`]. One of our own: anyone who
    /// may write a status could else make up series without end.
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
    /// Counts one import in, with when its token expires, and when it should be, or should have been,
    /// replaced: of an import that has none, since it was declared.
    ///
    /// One that its owners have to mend is counted by its state alone. Whoever is called at night
    /// because a token expires can do nothing about it.
    pub fn count(
        &mut self,
        state: ImportState,
        expires_at: Option<Timestamp>,
        due_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        *self.imports.entry(state).or_default() += 1;
        if Reason::OWNERS_TO_MEND.iter().any(|reason| reason.as_str() == state.reason) {
            return;
        }
        self.soonest_expiry = self.soonest_expiry.into_iter().chain(expires_at).min();
        let is_late = due_at.is_some_and(|due| now.duration_since(due) > GRACE);
        self.overdue += u64::from(state.is_failure() || is_late);
    }
}

/// What is due is not done at once. Where imports are many, a few are always due.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// Has each scrape of `registry` ask how things are.
pub fn expose(registry: &mut Registry, snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) {
    let registry = registry.sub_registry_with_prefix(PREFIX);
    registry.register_collector(Box::new(Gauges { snapshot: Box::new(snapshot) }));
}

/// Encodes a [`Snapshot`] at each scrape.
struct Gauges {
    snapshot: Box<dyn Fn() -> Snapshot + Send + Sync>,
}

impl fmt::Debug for Gauges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gauges").finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot { leads, sources, namespaces } = (self.snapshot)();
        encoder
            .encode_descriptor("leader", "Whether this replica leads.", None, MetricType::Gauge)?
            .encode_gauge(&u64::from(leads))?;
        if !leads {
            return Ok(());
        }
        let help = "Whether the imports of a namespace that the importer is confined to are served.";
        // Not just `namespace`: by that, Prometheus means the importer's own.
        let served = namespaces
            .iter()
            .map(|(name, is_served)| ([("import_namespace", name.as_str())], u64::from(*is_served)));
        gauge(&mut encoder, "namespace_served", help, None, served)?;
        let of_each = |value: fn(&SourceSnapshot) -> Option<i64>| {
            let value = move |(name, source)| Some(([("source", name)], value(source)?));
            sources.iter().filter_map(value)
        };
        let help = "Whether the link to a source works.";
        gauge(&mut encoder, "link_up", help, None, of_each(|source| source.link_up.map(i64::from)))?;
        let help = "When the first of the tokens of a source expires.";
        let expiry = of_each(|source| Some(source.soonest_expiry?.as_second()));
        gauge(&mut encoder, "soonest_expiry_timestamp", help, Some(&Unit::Seconds), expiry)?;
        let help = "Imports that should have a new token by now.";
        let overdue = of_each(|source| Some(i64::try_from(source.overdue).unwrap_or(i64::MAX)));
        gauge(&mut encoder, "overdue_imports", help, None, overdue)?;
        let imports = sources.iter().flat_map(|(name, source)| {
            source.imports.iter().map(move |(state, count)| {
                let ready = if state.ready { "true" } else { "false" };
                ([("source", name.as_str()), ("ready", ready), ("reason", state.reason)], *count)
            })
        });
        gauge(&mut encoder, "imports", "Imports, by what their conditions say.", None, imports)
    }
}

/// Encodes one gauge of each set of labels; not even its name, when there is none.
fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    values: impl IntoIterator<Item = (L, V)>,
) -> fmt::Result {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
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
    fn the_leader_says_how_things_are() {
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
    fn what_two_replicas_would_count_double_only_the_leader_says() {
        let follows = Snapshot { leads: false, sources: sources(), ..Default::default() };
        assert_eq!(exposed(follows), ["mcsa_importer_leader 0"]);
        assert_eq!(exposed(Snapshot { leads: true, ..Default::default() }), ["mcsa_importer_leader 1"]);
    }

    #[test]
    fn a_source_that_is_gone_leaves_no_gauge_behind() {
        let now = Arc::new(Mutex::new(Snapshot { leads: true, sources: sources(), ..Default::default() }));
        let mut registry = Registry::default();
        let asked = now.clone();
        expose(&mut registry, move || asked.lock().unwrap().clone());
        assert!(samples(&registry).concat().contains("c2"));
        now.lock().unwrap().sources.clear();
        assert_eq!(samples(&registry), ["mcsa_importer_leader 1"]);
    }

    #[rstest]
    #[case::not_due("Refreshed", Some(1), 0)]
    #[case::due_a_moment_ago("Refreshed", Some(-60), 0)]
    #[case::late("Refreshed", Some(-61), 1)]
    #[case::new("Pending", Some(-5), 0)]
    #[case::new_and_late("Pending", Some(-61), 1)]
    #[case::failing("SourceUnreachable", Some(1), 1)]
    #[case::for_its_owner_to_mend("ServiceAccountNotFound", Some(-99), 0)]
    #[case::never_due("Refreshed", None, 0)]
    fn what_is_late(#[case] reason: &'static str, #[case] due: Option<i64>, #[case] overdue: u64) {
        let mut source = SourceSnapshot::default();
        source.count(state(true, reason), Some(at(9)), due.map(at), at(0));
        assert_eq!(source.overdue, overdue);
    }

    #[test]
    fn the_first_token_to_expire_counts_and_not_one_that_waits_for_its_owner() {
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
