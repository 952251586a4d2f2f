//! What the ResourceQuotas of a remote namespace allow.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec};
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use mcsa_client::clusters::Member;

use super::member_watch::{Forbidden, MemberWatch};
use super::resources::{Resources, of_quota};
use crate::quantity::Amount;

/// Watches the quotas of a remote namespace.
pub(super) struct QuotaWatch {
    watch: MemberWatch<ResourceQuota>,
    /// `None`: not listed yet.
    quotas: Option<Quotas>,
    /// The list that is being read. What was known before counts until it is complete.
    listing: Quotas,
}

/// The specs of quotas, by name.
type Quotas = BTreeMap<String, ResourceQuotaSpec>;

impl QuotaWatch {
    pub(super) fn new(member: Member) -> Self {
        let watch = MemberWatch::new(member, watcher::Config::default());
        Self { watch, quotas: None, listing: Quotas::new() }
    }

    /// Waits until it is known what the quotas allow, or until that changes. May be cancelled.
    pub(super) async fn changed(&mut self) -> Resources {
        loop {
            let event = self.watch.next().await;
            if let Some(quotas) = self.observe(event) {
                return hard(quotas.values());
            }
        }
    }

    /// Returns the quotas if they may have changed.
    fn observe(&mut self, event: Result<Event<ResourceQuota>, Forbidden>) -> Option<&Quotas> {
        let spec = |quota: ResourceQuota| (quota.name_any(), quota.spec.unwrap_or_default());
        match event {
            Ok(Event::Init) => {
                self.listing.clear();
                return None;
            }
            Ok(Event::InitApply(quota)) => {
                self.listing.extend([spec(quota)]);
                return None;
            }
            Ok(Event::InitDone) => self.quotas = Some(std::mem::take(&mut self.listing)),
            Ok(Event::Apply(quota)) => self.quotas.get_or_insert_default().extend([spec(quota)]),
            Ok(Event::Delete(quota)) => drop(self.quotas.get_or_insert_default().remove(&quota.name_any())),
            // Without the right to list quotas, none are known. What was known before stays.
            Err(Forbidden) => {
                self.quotas.get_or_insert_default();
            }
        }
        self.quotas.as_ref()
    }
}

/// What all pods of the namespace may request. The smallest of several quotas counts. A quota with scopes limits only
/// some pods, and is ignored.
fn hard<'a>(quotas: impl IntoIterator<Item = &'a ResourceQuotaSpec>) -> Resources {
    let mut hard = Resources::new();
    for spec in quotas {
        if spec.scope_selector.is_some() || spec.scopes.as_ref().is_some_and(|scopes| !scopes.is_empty()) {
            continue;
        }
        for (entry, quantity) in spec.hard.iter().flatten() {
            // The API server accepts no other quantities.
            let (Some(name), Ok(amount)) = (of_quota(entry), quantity.0.parse::<Amount>()) else { continue };
            match hard.entry(name.to_owned()) {
                Entry::Vacant(entry) => drop(entry.insert(amount)),
                Entry::Occupied(mut entry) => *entry.get_mut() = amount.min(*entry.get()),
            }
        }
    }
    hard
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::fake_source::FakeSource;
    use crate::node::resources::quantities;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case::none(&[], "")]
    #[case::requests_and_pods(
        &[json!({ "hard": {
            "requests.cpu": "8", "limits.cpu": "16", "memory": "16Gi", "pods": "50", "services": "3",
            "requests.nvidia.com/gpu": "2", "requests.storage": "1Ti",
        }})],
        "cpu=8 memory=16Gi nvidia.com/gpu=2 pods=50"
    )]
    #[case::two_names_of_one_resource(&[json!({ "hard": { "cpu": "8", "requests.cpu": "6" } })], "cpu=6")]
    #[case::smallest_of_several(
        &[json!({ "hard": { "cpu": "8" } }), json!({ "hard": { "cpu": "9", "pods": "3" } })],
        "cpu=8 pods=3"
    )]
    #[case::scopes(&[json!({ "hard": { "pods": "1" }, "scopes": ["Terminating"] })], "")]
    #[case::scope_selector(
        &[json!({ "hard": { "pods": "1" }, "scopeSelector": { "matchExpressions": [] } })],
        ""
    )]
    #[case::no_hard_limits(&[json!({})], "")]
    fn quota_limits_what_pods_request(#[case] specs: &[Value], #[case] expected: &str) {
        let specs: Vec<ResourceQuotaSpec> =
            specs.iter().map(|spec| serde_json::from_value(spec.clone()).unwrap()).collect();
        let printed = quantities(&hard(&specs));
        let printed: Vec<_> = printed.iter().map(|(name, text)| format!("{name}={}", text.0)).collect();
        assert_eq!(printed.join(" "), expected);
    }

    fn quota(cpu: &str) -> ResourceQuota {
        let value = json!({ "metadata": { "name": "a" }, "spec": { "hard": { "cpu": cpu } } });
        serde_json::from_value(value).unwrap()
    }

    #[tokio::test]
    async fn known_quotas_stay_until_a_new_list_is_complete() {
        let mut watch = QuotaWatch::new(FakeSource::with_quotas(&[]).member());
        let mut observe = |event| watch.observe(event).map(|quotas| hard(quotas.values()));
        let cpu = |cpu: &str| Some(Resources::from([("cpu".into(), cpu.parse().unwrap())]));
        assert_eq!(observe(Err(Forbidden)), Some(Resources::new()), "none are known");
        for event in [Event::Init, Event::InitApply(quota("7"))] {
            assert_eq!(observe(Ok(event)), None);
        }
        assert_eq!(observe(Ok(Event::InitDone)), cpu("7"));
        assert_eq!(observe(Ok(Event::Init)), None);
        assert_eq!(observe(Err(Forbidden)), cpu("7"), "the right was taken back");
        assert_eq!(observe(Ok(Event::Apply(quota("5")))), cpu("5"));
        assert_eq!(observe(Ok(Event::Delete(quota("5")))), Some(Resources::new()));
    }
}
