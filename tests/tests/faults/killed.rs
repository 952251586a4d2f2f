//! The importer is killed between two steps, and started again.

use anyhow::{Context, ensure};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{
    Cluster, Fault, Importer, Imports, LinkedTarget, Proxy, apply_link, client, create_pod_lister,
    eventually, kubeconfig_with_server, pod_lister_import, tokens_minted_in,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn importer_killed_around_a_token_request_loses_at_most_that_token() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let to_source = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    let to_target = Proxy::start(([127, 0, 0, 1], target.port()).into()).await?;
    apply_link(target, "c2", &kubeconfig_with_server(source.kubeconfig_value(), &to_source.url())).await?;
    let start = || {
        let kubeconfig = kubeconfig_with_server(target.kubeconfig_value(), &to_target.url());
        anyhow::Ok(Importer::start(client(kubeconfig)?))
    };
    let imports = Imports::of(target.client(), namespace);
    // The importer's watch reports imports in order: once the importer knows this one, it knows all earlier ones.
    let observed = async |barrier: &str| {
        imports.create(&pod_lister_import(barrier, "unlinked", namespace)).await?;
        eventually("the importer knows the imports", async || {
            imports.condition(barrier, "Ready", "False", Some("ClusterNotLinked")).await
        })
        .await;
        anyhow::Ok(())
    };

    // Killed while it requests a token.
    let before = format!("{namespace}-before");
    create_pod_lister(source, &before).await?;
    to_source.set(Fault::Hang);
    let importer = start()?;
    imports.create(&pod_lister_import("before", "c2", &before)).await?;
    observed("first-barrier").await?;
    eventually("it calls the source", async || {
        ensure!(to_source.connections() > 0, "no connection");
        anyhow::Ok(())
    })
    .await;
    importer.kill().await;
    to_source.set(Fault::Pass);
    let importer = start()?;
    eventually("the import is ready", async || imports.ready("before").await).await;
    ensure!(tokens_minted_in(source, &before)? == 1, "more than one token");

    // Killed after it received a token, before it wrote the Secret.
    let after = format!("{namespace}-after");
    create_pod_lister(source, &after).await?;
    to_source.set(Fault::Hang);
    imports.create(&pod_lister_import("after", "c2", &after)).await?;
    observed("second-barrier").await?;
    to_target.set(Fault::Hang);
    to_source.set(Fault::Pass);
    eventually("the source mints", async || {
        ensure!(tokens_minted_in(source, &after)? == 1, "no token");
        anyhow::Ok(())
    })
    .await;
    importer.kill().await;
    // The killed importer's pending requests are lost.
    to_target.set(Fault::Cut);
    ensure!(imports.secrets.get_opt("after-token").await?.is_none(), "the Secret was written");
    let importer = start()?;
    eventually("the import is ready", async || imports.ready("after").await).await;
    ensure!(tokens_minted_in(source, &after)? == 2, "not one more token for the one that was lost");
    ensure!(tokens_minted_in(source, &before)? == 1, "another token for an import that was ready");
    importer.stop().await?;
    linked.release().await
}

/// Replaces the importer's verbs on the status of imports.
async fn allow_status(target: &Cluster, verbs: Value) -> anyhow::Result<()> {
    let roles = Api::<ClusterRole>::all(target.client());
    let mut role = roles.get("multicluster-service-account-importer").await?;
    let mut rules = role.rules.take().context("no rules")?;
    let named = |rule: &&mut k8s_openapi::api::rbac::v1::PolicyRule| {
        rule.resources.iter().flatten().any(|resource| resource == "serviceaccountimports/status")
    };
    let rule = rules.iter_mut().find(named).context("the role does not name the status")?;
    rule.verbs = serde_json::from_value(verbs)?;
    let patch = Patch::Merge(json!({ "rules": rules }));
    roles.patch("multicluster-service-account-importer", &PatchParams::default(), &patch).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn importer_killed_before_it_wrote_the_status_requests_no_other_token() -> anyhow::Result<()> {
    let LinkedTarget { target, source, namespace } = LinkedTarget::acquire().await?;
    let review = ["auth", "can-i", "update", "serviceaccountimports", "--subresource=status"];
    let user = format!("--as=system:serviceaccount:{SYSTEM_NAMESPACE}:importer");
    let may_update = async || target.kubectl(review.iter().copied().chain([user.as_str()])).await.is_ok();

    allow_status(&target, json!(["deletecollection"])).await?;
    eventually(
        "it cannot write the status",
        async || if may_update().await { Err("it can") } else { Ok(()) },
    )
    .await;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), &namespace);
    imports.create(&pod_lister_import("a", "c2", &namespace)).await?;
    let published = eventually("the Secret is written", async || imports.values("a-token").await).await;
    importer.kill().await;
    ensure!(imports.api.get("a").await?.status.is_none(), "the status was written");

    allow_status(&target, json!(["update"])).await?;
    eventually(
        "it can write the status",
        async || if may_update().await { Ok(()) } else { Err("it cannot") },
    )
    .await;
    let importer = Importer::of(&target).await?;
    let import = eventually("the import is ready", async || imports.ready("a").await).await;
    ensure!(import.status.context("status")?.secrets.iter().map(|secret| &secret.name).eq(["a-token"]));
    ensure!(imports.values("a-token").await? == published, "written again");
    ensure!(tokens_minted_in(&source, &namespace)? == 1, "another token");
    importer.stop().await
}
