//! Second step: refuses what would leave pods refused.

use anyhow::bail;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};

use crate::cluster::{Cluster, object};

/// Refuses, or doesn't.
///
/// # Errors
/// When a webhook configuration that is not among ours calls the webhook that would be removed.
pub async fn refuse(cluster: &Cluster, ours: &[DynamicObject], kubectl: &str) -> anyhow::Result<()> {
    let all: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let all = cluster.call("list webhook configurations", all.list(&ListParams::default())).await?;
    let is_ours = |name: &str| {
        ours.iter().any(|it| object::kind(it) == "MutatingWebhookConfiguration" && it.name_any() == name)
    };
    let theirs = all.into_iter().filter(calls_us).map(|it| it.name_any()).find(|name| !is_ours(name));
    let Some(name) = theirs else { return Ok(()) };
    bail!(
        "{}: mutating webhook configuration {name} calls our webhook, and is not ours to remove; without the \
         webhook, pods would be refused; so nothing was removed; if nobody needs it, delete it and run this \
         again: {kubectl} delete mutatingwebhookconfiguration {name}",
        cluster.name,
    )
}

fn calls_us(configuration: &MutatingWebhookConfiguration) -> bool {
    let entries = configuration.webhooks.iter().flatten();
    let mut services = entries.filter_map(|entry| entry.client_config.service.as_ref());
    services.any(|it| it.namespace == SYSTEM_NAMESPACE && it.name == webhook::SERVICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests;

    #[test]
    fn only_a_configuration_that_calls_us_is_in_the_way() {
        let objects = manifests::objects().unwrap();
        let is_it = |it: &&DynamicObject| object::kind(it) == "MutatingWebhookConfiguration";
        let ours = objects.iter().find(is_it).unwrap();
        let mut configuration: MutatingWebhookConfiguration = ours.clone().try_parse().unwrap();
        assert!(calls_us(&configuration));
        for entry in configuration.webhooks.iter_mut().flatten() {
            entry.client_config.service.as_mut().unwrap().name = "theirs".into();
        }
        assert!(!calls_us(&configuration));
    }
}
