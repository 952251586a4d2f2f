//! The source does not answer.

use anyhow::ensure;
use jiff::SignedDuration;
use mcsa_tests::{
    Fault, Importer, Imports, Proxy, apply_link, create_pod_lister, eventually, kubeconfig_with_server,
    linked_clusters, pod_lister_import,
};

use super::{Subject, for_a_day};

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    create_pod_lister(&source, "lister").await?;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    apply_link(&target, "c2", &kubeconfig_with_server(source.kubeconfig_value(), &proxy.url())).await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "default");
    imports.create(&for_a_day("a", "c2")).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    a.ready().await;

    proxy.set(Fault::Refuse);
    let failed = a.fails_unharmed("SourceUnreachable").await?;
    ensure!(failed.said.contains(&proxy.url()), "{}", failed.said);
    proxy.set(Fault::Pass);
    a.recovers(&failed).await;

    // Whatever hangs is cut off in the end.
    proxy.set(Fault::Hang);
    let failed = a.fails_unharmed("SourceUnreachable").await?;
    ensure!(failed.said.contains(&proxy.url()), "{}", failed.said);
    proxy.set(Fault::Cut);
    a.recovers(&failed).await;

    // Cut between two calls: the next has a connection of its own.
    let (before, connections) = (a.values().await?, proxy.connections());
    proxy.set(Fault::Cut);
    importer.advance_to_refresh(&imports, "a").await?;
    a.has_another(&before).await;
    ensure!(proxy.connections() > connections, "nothing was cut");
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nineteen_sources_that_hang_do_not_delay_the_twentieth() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    create_pod_lister(&source, "lister").await?;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    proxy.set(Fault::Hang);
    let hanging = kubeconfig_with_server(source.kubeconfig_value(), &proxy.url());
    let imports = Imports::of(target.client(), "default");
    let mut stuck = Vec::new();
    for link in 1..20 {
        let cluster = format!("hangs-{link}");
        apply_link(&target, &cluster, &hanging).await?;
        // So many in all that, if they had few places to share, a refresh would come too late for this
        // test: each holds its own for ten seconds.
        for import in 0..4 {
            let name = format!("{cluster}-{import}");
            imports.create(&pod_lister_import(&name, &cluster, "lister")).await?;
            stuck.push(name);
        }
    }
    let importer = Importer::of(&target).await?;
    eventually("all nineteen are called", async || {
        ensure!(proxy.connections() >= 19, "{} connections", proxy.connections());
        anyhow::Ok(())
    })
    .await;
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    a.ready().await;
    let first = a.values().await?;
    importer.advance_to_refresh(&imports, "a").await?;
    a.has_another(&first).await;
    for name in &stuck {
        ensure!(imports.ready(name).await.is_err(), "{name} does not hang");
    }

    proxy.set(Fault::Pass);
    importer.clock.turn(SignedDuration::from_mins(5));
    for name in &stuck {
        eventually(format!("{name} is ready"), async || imports.ready(name).await).await;
    }
    importer.stop().await
}
