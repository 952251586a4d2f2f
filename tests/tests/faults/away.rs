//! The source does not respond.

use anyhow::ensure;
use jiff::SignedDuration;
use mcsa_tests::{
    Fault, Importer, Imports, LinkedTarget, Proxy, apply_link, eventually, kubeconfig_with_server,
    pod_lister_import,
};

use super::{Subject, for_a_day};

#[tokio::test(flavor = "multi_thread")]
async fn import_recovers_when_an_unreachable_source_is_back() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    apply_link(target, "c2", &kubeconfig_with_server(source.kubeconfig_value(), &proxy.url())).await?;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    imports.create(&for_a_day("a", "c2", namespace)).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    a.ready().await;

    proxy.set(Fault::Refuse);
    let failed = a.refresh_fails("SourceUnreachable").await?;
    ensure!(failed.message.contains(&proxy.url()), "{}", failed.message);
    proxy.set(Fault::Pass);
    a.recovers(&failed).await;

    // A call that hangs has a deadline.
    proxy.set(Fault::Hang);
    let failed = a.refresh_fails("SourceUnreachable").await?;
    ensure!(failed.message.contains(&proxy.url()), "{}", failed.message);
    proxy.set(Fault::Cut);
    a.recovers(&failed).await;

    // The connection is cut between two calls: the next call opens another one.
    let (before, connections) = (a.values().await?, proxy.connections());
    proxy.set(Fault::Cut);
    importer.advance_to_refresh(&imports, "a").await?;
    a.has_another(&before).await;
    ensure!(proxy.connections() > connections, "no connection was cut");
    importer.stop().await?;
    linked.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nineteen_hanging_sources_do_not_delay_the_twentieth() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    proxy.set(Fault::Hang);
    let hanging = kubeconfig_with_server(source.kubeconfig_value(), &proxy.url());
    let imports = Imports::of(target.client(), namespace);
    let mut stuck = Vec::new();
    for link in 1..20 {
        let cluster = format!("hangs-{link}");
        apply_link(target, &cluster, &hanging).await?;
        // Each call takes a slot for ten seconds. If all sources shared a few slots, this many imports would delay the
        // refresh of `a` past the deadline of this test.
        for import in 0..4 {
            let name = format!("{cluster}-{import}");
            imports.create(&pod_lister_import(&name, &cluster, namespace)).await?;
            stuck.push(name);
        }
    }
    let importer = Importer::of(target).await?;
    eventually("the importer calls all nineteen", async || {
        ensure!(proxy.connections() >= 19, "{} connections", proxy.connections());
        anyhow::Ok(())
    })
    .await;
    imports.create(&pod_lister_import("a", "c2", namespace)).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    a.ready().await;
    let first = a.values().await?;
    importer.advance_to_refresh(&imports, "a").await?;
    a.has_another(&first).await;
    for name in &stuck {
        ensure!(imports.ready(name).await.is_err(), "{name} is ready");
    }

    proxy.set(Fault::Pass);
    importer.clock.advance(SignedDuration::from_mins(5));
    for name in &stuck {
        eventually(format!("{name} is ready"), async || imports.ready(name).await).await;
    }
    importer.stop().await?;
    linked.release().await
}
