//! Pods keep working while the token, the address and the certificate authority of their source change.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use kube::api::{Patch, PatchParams};
use mcsa_tests::{
    Imports, Installation, ListerLog, Node, Proxy, READY_TIMEOUT, eventually, eventually_within,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn pods_keep_listing_while_credentials_change() -> anyhow::Result<()> {
    let Some(installed) = Installation::start_clusters(Node::builder("c1").sync_frequency("10s")).await?
    else {
        return Ok(());
    };
    let (node, source) = (&installed.node, &installed.source);
    let api_server = SocketAddr::from((node.host_address(), source.port()));
    let old = Proxy::start_at(node.host_address(), api_server).await?;
    installed.install()?;
    installed.bootstrap(&["--source-server", &old.url()])?;
    let imports = installed.create_namespace("shop").await?;
    installed.create_import(&imports, "shop").await?;
    installed.deploy_listers("shop").await?;
    installed.wait_for_rollout("shop", "lister").await?;
    keep_listing(&installed, &old.url()).await?;

    // A changed lifetime causes a refresh.
    let patch = Patch::Merge(json!({ "spec": { "expirationSeconds": 3700 } }));
    wait_for_change(&installed, &imports, "token", async || {
        imports.api.patch("c2-pod-lister", &PatchParams::default(), &patch).await?;
        Ok(())
    })
    .await?;
    keep_listing(&installed, &old.url()).await?;

    let new = Proxy::start_at(node.host_address(), api_server).await?;
    wait_for_change(&installed, &imports, "server", async || {
        installed.bootstrap(&["--source-server", &new.url()])
    })
    .await?;
    drop(old);
    keep_listing(&installed, &new.url()).await?;

    // The usual rotation: first clients trust both authorities, then the next one signs.
    let next = source.next_authority()?;
    let bundle = source.dir().join("bundle.crt");
    std::fs::write(&bundle, source.ca_pem().to_owned() + &next.ca_pem())?;
    let bundle = bundle.display().to_string();
    let flags = ["--source-server", &new.url(), "--source-ca-file", &bundle];
    wait_for_change(&installed, &imports, "ca.crt", async || installed.bootstrap(&flags)).await?;
    next.activate().await?;
    keep_listing(&installed, &new.url()).await?;
    let errors: Vec<_> =
        installed.lister_logs("shop")?.into_iter().flat_map(|lister| lister.errors).collect();
    ensure!(errors.is_empty(), "{errors:?}");

    // A change without warning: when a service account is deleted, its tokens are invalid.
    wait_for_change(&installed, &imports, "token", async || {
        next.kubectl(["-n", "shop", "delete", "serviceaccount", "pod-lister"]).await?;
        next.kubectl(["-n", "shop", "create", "serviceaccount", "pod-lister"]).await.map(drop)
    })
    .await?;
    // A request with the old token may be in flight.
    let counts =
        |listers: &[ListerLog]| listers.iter().map(|lister| lister.servers.len()).collect::<Vec<_>>();
    let before = counts(&installed.lister_logs("shop")?);
    eventually("both pods have listed once more", async || {
        let now = counts(&installed.lister_logs("shop")?);
        ensure!(now.iter().zip(&before).all(|(now, before)| now > before), "{before:?}, {now:?}");
        Ok(())
    })
    .await;
    let error_count = |listers: &[ListerLog]| listers.iter().map(|lister| lister.errors.len()).sum::<usize>();
    let before = error_count(&installed.lister_logs("shop")?);
    keep_listing(&installed, &new.url()).await?;
    let after = installed.lister_logs("shop")?;
    ensure!(error_count(&after) == before, "{after:?}");
    let restarts = installed
        .node
        .kubectl([
            "-n",
            "shop",
            "get",
            "pods",
            "-o",
            "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
        ])
        .await?;
    ensure!(restarts == "0 0", "{restarts}");
    Ok(())
}

/// Changes a value of the Secret, and waits until the kubelet has mounted it in both pods.
async fn wait_for_change(
    installed: &Installation,
    imports: &Imports,
    key: &str,
    change: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let value =
        async || imports.values("c2-pod-lister-token").await?.remove(key).context("the key is missing");
    let before = value().await?;
    change().await?;
    let after = eventually(format!("{key} changes"), async || {
        let after = value().await?;
        ensure!(after != before, "{key} has not changed");
        Ok::<_, anyhow::Error>(after)
    })
    .await;
    eventually_within(READY_TIMEOUT, format!("the new {key} is mounted"), async || {
        let mounted = installed.node.mounted_values(key)?;
        ensure!(
            mounted.len() == 2 && mounted.iter().all(|value| *value == after),
            "not all of {} mounts have the new value",
            mounted.len()
        );
        Ok(())
    })
    .await;
    Ok(())
}

/// Waits until both pods have listed pods five more times at this address.
async fn keep_listing(installed: &Installation, server: &str) -> anyhow::Result<()> {
    let server = format!("{server}/");
    let count = || -> anyhow::Result<Vec<usize>> {
        let listers = installed.lister_logs("shop")?;
        ensure!(listers.len() == 2, "{listers:?}");
        Ok(listers
            .iter()
            .map(|lister| lister.servers.iter().filter(|from| **from == server).count())
            .collect())
    };
    let before = count().unwrap_or_else(|_| vec![0, 0]);
    eventually(format!("both pods list from {server}"), async || {
        let now = count()?;
        ensure!(
            now.iter().zip(&before).all(|(now, before)| *now >= before + 5),
            "{before:?}, then {now:?}: {:?}",
            installed.lister_logs("shop")
        );
        Ok(())
    })
    .await;
    Ok(())
}
