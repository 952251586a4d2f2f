//! The source grants another lifetime than was requested, or the service account was recreated.

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::config::Kubeconfig;
use mcsa_client::ServiceAccountImport;
use mcsa_tests::{
    Cluster, Importer, Imports, LinkedTarget, client, create_manual_link, create_pod_lister, eventually,
    pod_lister_import, tokens_minted_in,
};

use super::{Subject, for_a_day};

/// The expiration and refresh times of the status.
fn times(import: &ServiceAccountImport) -> anyhow::Result<(Timestamp, Timestamp)> {
    let status = import.status.as_ref().context("no status")?;
    let expiry = status.expiration_time.as_ref().context("no expiration time")?.0;
    Ok((expiry, status.refresh_time.as_ref().context("no refresh time")?.0))
}

/// Checks that a token minted since `start` expires after `lifetime`. A status has whole seconds.
fn expires_after(expiry: Timestamp, lifetime: i64, start: Timestamp) -> anyhow::Result<()> {
    let lifetime = SignedDuration::from_secs(lifetime);
    let (first, last) = (start + lifetime - SignedDuration::from_secs(1), Timestamp::now() + lifetime);
    ensure!((first..=last).contains(&expiry), "it expires at {expiry}, not between {first} and {last}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn token_that_the_source_shortens_is_refreshed_in_time() -> anyhow::Result<()> {
    let source =
        Cluster::builder("c2").api_server_arg("--service-account-max-token-expiration=1h").audit_log();
    let (linked, source) = tokio::try_join!(LinkedTarget::acquire(), source.start())?;
    let LinkedTarget { target, namespace, .. } = &linked;
    create_manual_link(target, &source).await?;
    create_pod_lister(&source, "lister").await?;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    let start = Timestamp::now();
    imports.create(&for_a_day("a", "c2", "lister")).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    let (expiry, refresh) = times(&a.ready().await)?;
    expires_after(expiry, 3600, start)?;
    let rest = expiry.duration_since(refresh).as_secs();
    ensure!((359..=721).contains(&rest), "of an hour, {rest} s are left at the refresh");

    // Before the refresh time, the token is kept. When a later import is ready, the importer would have replaced it.
    let first = a.values().await?;
    importer.advance_to(refresh - SignedDuration::from_secs(30));
    imports.create(&for_a_day("later", "c2", "lister")).await?;
    let later = Subject { name: "later", ..a };
    later.ready().await;
    ensure!(a.values().await? == first, "refreshed before its time");
    ensure!(tokens_minted_in(&source, "lister")? == 2, "more than one token each");
    importer.advance_to_refresh(&imports, "a").await?;
    a.has_another(&first).await;
    ensure!(tokens_minted_in(&source, "lister")? == 3, "more than one token for a refresh");
    let events = Api::<Event>::namespaced(target.client(), namespace).list(&Default::default()).await?;
    let events = events.items.into_iter().filter(|event| event.reason.as_deref() == Some("ShortLived"));
    let events: Vec<_> = events
        .filter(|event| event.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some("a")))
        .collect();
    ensure!(events.len() == 1 && events[0].series.is_none(), "not one event: {events:?}");

    // A clock that is set back does not make the importer keep a token past its lifetime.
    let second = a.values().await?;
    importer.clock.advance(SignedDuration::from_hours(-2));
    a.has_another(&second).await;
    importer.stop().await?;
    linked.release().await
}

/// Kubelets request tokens with a lifetime of 3607 s. API servers recognize them by it, and may extend them to a year
/// (`--service-account-extend-token-expiration`).
#[tokio::test(flavor = "multi_thread")]
async fn token_of_the_kubelets_lifetime_is_not_extended() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, namespace, .. } = &linked;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    let mut import = pod_lister_import("a", "c2", namespace);
    import.spec.expiration_seconds = 3607;
    let start = Timestamp::now();
    imports.create(&import).await?;
    let (expiry, refresh) =
        times(&Subject { importer: &importer, imports: &imports, name: "a" }.ready().await)?;
    expires_after(expiry, 3607, start)?;
    ensure!(refresh < expiry, "it is refreshed at {refresh}, and expires at {expiry}");
    importer.stop().await?;
    linked.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn recreated_service_account_gets_another_token() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    imports.create(&for_a_day("a", "c2", namespace)).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    let uid = |import: ServiceAccountImport| import.status?.service_account_uid;
    let first = uid(a.ready().await).context("no UID")?;

    source.kubectl(["-n", namespace, "delete", "serviceaccount", "pod-lister"]).await?;
    source.kubectl(["-n", namespace, "create", "serviceaccount", "pod-lister"]).await?;
    eventually("the status has the new account's UID", async || {
        let uid = uid(imports.api.get("a").await?).context("no UID")?;
        ensure!(uid != first, "still {first}");
        anyhow::Ok(())
    })
    .await;
    let kubeconfig = Kubeconfig::from_yaml(&a.values().await?["kubeconfig"])?;
    let pods = Api::<Pod>::namespaced(client(kubeconfig)?, namespace);
    pods.list(&Default::default()).await.context("with the new token")?;
    ensure!(tokens_minted_in(source, namespace)? == 2, "more than one token for the new account");
    importer.stop().await?;
    linked.release().await
}
