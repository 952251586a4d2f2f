//! Links made by hand, and what flows through them.

use anyhow::Context;
use futures::try_join;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::config::Kubeconfig;
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
use serde_json::json;

use crate::cluster::Cluster;
use crate::scene::kubemcsa_ok;
use crate::start::ClusterBuilder;

/// A target `c1` with an installation, a source `c2`, and a link made by hand; both log their calls.
pub async fn linked() -> anyhow::Result<(Cluster, Cluster)> {
    linked_to(Cluster::builder("c2")).await
}

/// [`linked`], with a source that has something special about it.
pub async fn linked_to(source: ClusterBuilder) -> anyhow::Result<(Cluster, Cluster)> {
    let (target, source) = try_join!(Cluster::builder("c1").audit_log().start(), source.audit_log().start())?;
    kubemcsa_ok(target.kubeconfig(), ["install", "--no-wait"])?;
    link_by_hand(&target, &source).await?;
    Ok((target, source))
}

/// What an administrator can do without kubemcsa: any kubeconfig, under a label.
pub async fn link_by_hand(target: &Cluster, source: &Cluster) -> anyhow::Result<()> {
    link_with(target, source.name(), &source.kubeconfig_value()).await
}

/// Makes a link of this name by hand, or changes it.
pub async fn link_with(target: &Cluster, name: &str, kubeconfig: &Kubeconfig) -> anyhow::Result<()> {
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

/// How many tokens a source has minted, for whomever but its own controllers.
pub fn tokens_minted(source: &Cluster) -> anyhow::Result<usize> {
    tokens(source, |_| true)
}

/// How many tokens a source has minted of the service accounts of a namespace.
pub fn tokens_minted_in(source: &Cluster, namespace: &str) -> anyhow::Result<usize> {
    tokens(source, |seen| seen == namespace)
}

fn tokens(source: &Cluster, of: impl Fn(&str) -> bool) -> anyhow::Result<usize> {
    let minted = source.audit_events()?.into_iter().filter(|event| {
        let object = event.object_ref.as_ref().filter(|object| object.subresource == "token");
        event.stage == "ResponseComplete"
            && event.response_status.as_ref().is_some_and(|status| status.code == 201)
            && object.is_some_and(|object| object.resource == "serviceaccounts" && of(&object.namespace))
            // The controller manager's own controllers request tokens, too.
            && !event.user.username.starts_with("system:kube-controller")
    });
    Ok(minted.count())
}
