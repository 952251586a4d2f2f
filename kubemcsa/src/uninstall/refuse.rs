//! Second step: refuses what would leave pods refused.

use anyhow::bail;
use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_client::contract::{SYSTEM_NAMESPACE, webhook};

use crate::cluster::Cluster;
use crate::object::{self, PART_OF};

/// Refuses, or doesn't.
///
/// # Errors
/// When a webhook configuration that is not ours to remove calls the webhook that would be removed.
pub fn refuse(cluster: &Cluster, others: &[DynamicObject], kubectl: &str) -> anyhow::Result<()> {
    let Some(configuration) = others.iter().find(|object| calls_us(object)) else { return Ok(()) };
    let (title, name) = (object::title(configuration), configuration.name_any());
    bail!(
        "{}: {title} calls our webhook, and lacks the label {PART_OF}={SYSTEM_NAMESPACE} by which it would be \
         ours to remove; without the webhook, pods would be refused; so nothing was removed; if nobody needs it, \
         delete it and run this again: {kubectl} delete mutatingwebhookconfiguration {name}",
        cluster.name,
    )
}

fn calls_us(object: &DynamicObject) -> bool {
    let entries = object.data["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut services = entries.iter().map(|entry| &entry["clientConfig"]["service"]);
    object::kind(object) == "MutatingWebhookConfiguration"
        && services.any(|it| it["namespace"] == SYSTEM_NAMESPACE && it["name"] == webhook::SERVICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests;

    #[test]
    fn only_a_configuration_that_calls_us_is_in_the_way() {
        let objects = manifests::objects().unwrap();
        let ours: Vec<_> = objects.iter().filter(|object| calls_us(object)).map(object::kind).collect();
        assert_eq!(ours, ["MutatingWebhookConfiguration"]);
        let mut theirs = objects.into_iter().find(calls_us).unwrap();
        for entry in theirs.data["webhooks"].as_array_mut().unwrap() {
            entry["clientConfig"]["service"]["name"] = "theirs".into();
        }
        assert!(!calls_us(&theirs));
    }
}
