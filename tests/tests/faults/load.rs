//! The importer is terminated under load.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::api::ListParams;
use mcsa_importer::LANE_LIMIT;
use mcsa_tests::{
    Daemons, Fault, Imports, LinkedTarget, Proxy, apply_link, eventually, eventually_within,
    kubeconfig_with_server, pod_lister_import, tokens_minted_in,
};

const IMPORTS: usize = 300;

/// How many imports are ready.
async fn ready(imports: &Imports) -> anyhow::Result<usize> {
    let all = imports.api.list(&ListParams::default()).await?;
    let ready =
        all.iter().filter(|import| import.condition("Ready").is_some_and(|ready| ready.status == "True"));
    Ok(ready.count())
}

#[tokio::test(flavor = "multi_thread")]
async fn importer_terminated_amid_three_hundred_imports_leaves_no_half_written_secret() -> anyhow::Result<()>
{
    let LinkedTarget { target, source, namespace } = LinkedTarget::acquire().await?;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    apply_link(&target, "c2", &kubeconfig_with_server(source.kubeconfig_value(), &proxy.url())).await?;
    let imports = Imports::of(target.client(), &namespace);
    stream::iter(0..IMPORTS)
        .map(|i| pod_lister_import(&format!("import-{i}"), "c2", &namespace))
        .map(|import| {
            let imports = &imports;
            async move { imports.create(&import).await.map(drop) }
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await?;

    // So slow that it is not done before this test checks.
    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let daemons = Daemons::start(&target, target.dir(), "info").await?;
    eventually("it requests tokens", async || {
        let minted = tokens_minted_in(&source, &namespace)?;
        ensure!(minted > LANE_LIMIT, "{minted} tokens");
        anyhow::Ok(())
    })
    .await;
    let status = daemons.importer.terminate().await?;
    ensure!(status.success(), "it ended with {status}: {}", daemons.importer.log_tail(5));
    let done = ready(&imports).await?;
    ensure!((1..IMPORTS).contains(&done), "{done} imports are ready: not some of them");

    proxy.set(Fault::Pass);
    drop(daemons);
    let _servants = Daemons::start(&target, target.dir(), "info").await?;
    eventually_within(Duration::from_secs(60), "all are ready", async || {
        let ready = ready(&imports).await?;
        ensure!(ready == IMPORTS, "{ready} are");
        anyhow::Ok(())
    })
    .await;
    let minted = tokens_minted_in(&source, &namespace)?;
    ensure!((IMPORTS..=IMPORTS + LANE_LIMIT).contains(&minted), "{minted} tokens for {IMPORTS} imports");
    for i in 0..IMPORTS {
        let name = format!("import-{i}-token");
        let values = imports.values(&name).await?;
        let whole = ["ca.crt", "config", "kubeconfig", "namespace", "server", "token"];
        ensure!(values.keys().eq(whole), "{name} has only {:?}", values.keys());
        let token = values.get("token").filter(|token| !token.is_empty()).context("an empty token")?;
        ensure!(values["kubeconfig"].contains(token), "{name} holds two tokens");
    }
    Ok(())
}
