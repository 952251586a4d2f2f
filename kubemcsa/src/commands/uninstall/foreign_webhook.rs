//! Second step: ensures that no other configuration calls our webhook. Otherwise, pods would be refused once it is
//! gone.

use anyhow::bail;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};

use super::command_line;
use crate::cluster::kubeconfig::ChosenContext;
use crate::cluster::{Cluster, object};

/// Fails if a webhook configuration that is not in `ours` calls our webhook.
pub(crate) async fn ensure_none(
    cluster: &Cluster,
    ours: &[DynamicObject],
    chosen: &ChosenContext,
    delete_imports: bool,
) -> anyhow::Result<()> {
    let all: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let all = cluster.call("list webhook configurations", all.list(&ListParams::default())).await?;
    let is_ours = |name: &str| {
        ours.iter().any(|it| object::kind(it) == "MutatingWebhookConfiguration" && it.name_any() == name)
    };
    let foreign =
        all.into_iter().filter(calls_our_webhook).map(|it| it.name_any()).find(|name| !is_ours(name));
    let Some(name) = foreign else { return Ok(()) };
    let uninstall = command_line(chosen, delete_imports);
    bail!(
        "{}: nothing was deleted: MutatingWebhookConfiguration {name} calls our webhook, but doesn't belong to \
         multicluster-service-account; without the webhook, pods would be refused; if nobody needs it: {} delete \
         mutatingwebhookconfiguration {name} && {uninstall}",
        cluster.name,
        chosen.kubectl(),
    )
}

fn calls_our_webhook(configuration: &MutatingWebhookConfiguration) -> bool {
    let entries = configuration.webhooks.iter().flatten();
    let mut services = entries.filter_map(|entry| entry.client_config.service.as_ref());
    services.any(|it| it.namespace == SYSTEM_NAMESPACE && it.name == webhook::SERVICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests;

    #[test]
    fn only_configurations_that_call_our_webhook_matter() {
        let objects = manifests::objects().unwrap();
        let is_configuration = |it: &&DynamicObject| object::kind(it) == "MutatingWebhookConfiguration";
        let ours = objects.iter().find(is_configuration).unwrap();
        let mut configuration: MutatingWebhookConfiguration = ours.clone().try_parse().unwrap();
        assert!(calls_our_webhook(&configuration));
        for entry in configuration.webhooks.iter_mut().flatten() {
            entry.client_config.service.as_mut().unwrap().name = "theirs".into();
        }
        assert!(!calls_our_webhook(&configuration));
    }
}
