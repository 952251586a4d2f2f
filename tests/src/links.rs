//! Manual links, and the tokens that are minted.

use anyhow::Context;
use futures::try_join;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::config::Kubeconfig;
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
use serde_json::json;

use crate::cluster::Cluster;
use crate::fixtures::kubemcsa_ok;

/// A target `c1` with an installation, a source `c2`, and a manual link. Both write audit logs.
pub async fn linked_clusters() -> anyhow::Result<(Cluster, Cluster)> {
    let start = |name| Cluster::builder(name).audit_log().start();
    let (target, source) = try_join!(start("c1"), start("c2"))?;
    kubemcsa_ok(target.kubeconfig(), ["install", "--no-wait"])?;
    create_manual_link(&target, &source).await?;
    Ok((target, source))
}

/// Creates a link without kubemcsa, as an administrator can: a labelled Secret with a kubeconfig.
pub async fn create_manual_link(target: &Cluster, source: &Cluster) -> anyhow::Result<()> {
    apply_link(target, source.name(), &source.kubeconfig_value()).await
}

/// Creates or updates a manual link of this name.
pub async fn apply_link(target: &Cluster, name: &str, kubeconfig: &Kubeconfig) -> anyhow::Result<()> {
    let yaml = serde_saphyr::to_string(kubeconfig).context("writing a kubeconfig as YAML")?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "labels": { LINK_LABEL: "true" } },
        "stringData": { "kubeconfig": yaml },
    });
    let links = Api::<Secret>::namespaced(target.client(), SYSTEM_NAMESPACE);
    links.patch(name, &PatchParams::apply("administrator").force(), &Patch::Apply(secret)).await?;
    Ok(())
}

/// The number of tokens that a source has minted for service accounts of a namespace.
pub fn tokens_minted_in(source: &Cluster, namespace: &str) -> anyhow::Result<usize> {
    let minted = source.audit_events()?.into_iter().filter(|event| {
        let object = event.object_ref.as_ref().filter(|object| object.subresource == "token");
        event.stage == "ResponseComplete"
            && event.response_status.as_ref().is_some_and(|status| status.code == 201)
            && object.is_some_and(|object| object.resource == "serviceaccounts" && object.namespace == namespace)
            // The controller manager's controllers request tokens, too.
            && !event.user.username.starts_with("system:kube-controller")
    });
    Ok(minted.count())
}
