//! The source grants another lifetime than was asked for, or the service account is another by now.

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::config::Kubeconfig;
use mcsa_client::ServiceAccountImport;
use mcsa_tests::{
    Cluster, Importer, Imports, client, create_pod_lister, eventually, linked_clusters,
    linked_clusters_with_source, pod_lister_import, tokens_minted_in,
};

use super::{Subject, for_a_day};

/// Expiry and refresh, as the status says.
fn times(import: &ServiceAccountImport) -> anyhow::Result<(Timestamp, Timestamp)> {
    let status = import.status.as_ref().context("no status")?;
    let expiry = status.expiration_time.as_ref().context("no expiry")?.0;
    Ok((expiry, status.refresh_time.as_ref().context("no refresh")?.0))
}

/// Makes sure that a token minted since `start` expires after `lifetime`; a status has whole seconds.
fn expires_after(expiry: Timestamp, lifetime: i64, start: Timestamp) -> anyhow::Result<()> {
    let lifetime = SignedDuration::from_secs(lifetime);
    let (first, last) = (start + lifetime - SignedDuration::from_secs(1), Timestamp::now() + lifetime);
    ensure!((first..=last).contains(&expiry), "it expires at {expiry}, not between {first} and {last}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_source_shortens_is_used_as_granted() -> anyhow::Result<()> {
    let stingy = Cluster::builder("c2").api_server_arg("--service-account-max-token-expiration=1h");
    let (target, source) = linked_clusters_with_source(stingy).await?;
    create_pod_lister(&source, "lister").await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "default");
    let start = Timestamp::now();
    imports.create(&for_a_day("a", "c2")).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    let (expiry, refresh) = times(&a.ready().await)?;
    expires_after(expiry, 3600, start)?;
    let rest = expiry.duration_since(refresh).as_secs();
    ensure!((359..=721).contains(&rest), "of an hour, {rest} s are left at the refresh");

    // Right until then that is the only one. By the time that another import is ready, the importer has
    // had its chance.
    let first = a.values().await?;
    importer.advance_to(refresh - SignedDuration::from_secs(30));
    imports.create(&for_a_day("later", "c2")).await?;
    let later = Subject { name: "later", ..a };
    later.ready().await;
    ensure!(a.values().await? == first, "refreshed before its time");
    ensure!(tokens_minted_in(&source, "lister")? == 2, "more than one token each");
    importer.advance_to_refresh(&imports, "a").await?;
    a.has_another(&first).await;
    ensure!(tokens_minted_in(&source, "lister")? == 3, "more than one token for a refresh");
    let told = Api::<Event>::namespaced(target.client(), "default").list(&Default::default()).await?;
    let told = told.items.into_iter().filter(|event| event.reason.as_deref() == Some("ShortLived"));
    let told: Vec<_> = told
        .filter(|event| event.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some("a")))
        .collect();
    ensure!(told.len() == 1 && told[0].series.is_none(), "not told once: {told:?}");

    // A clock that is set back does not keep a token for longer than it lives.
    let second = a.values().await?;
    importer.clock.turn(SignedDuration::from_hours(-2));
    a.has_another(&second).await;
    importer.stop().await
}

/// The lifetime at which API servers take a token for one that a kubelet mounts, and may extend it to a
/// year (`--service-account-extend-token-expiration`).
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_kubelets_lifetime_is_no_exception() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    create_pod_lister(&source, "lister").await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "default");
    let mut import = pod_lister_import("a", "c2", "lister");
    import.spec.expiration_seconds = 3607;
    let start = Timestamp::now();
    imports.create(&import).await?;
    let (expiry, refresh) =
        times(&Subject { importer: &importer, imports: &imports, name: "a" }.ready().await)?;
    expires_after(expiry, 3607, start)?;
    ensure!(refresh < expiry, "it is refreshed at {refresh}, and expires at {expiry}");
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_was_recreated_is_noticed() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    create_pod_lister(&source, "lister").await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "default");
    imports.create(&for_a_day("a", "c2")).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    let uid = |import: ServiceAccountImport| import.status?.service_account_uid;
    let first = uid(a.ready().await).context("no UID")?;

    source.kubectl(["-n", "lister", "delete", "serviceaccount", "pod-lister"]).await?;
    source.kubectl(["-n", "lister", "create", "serviceaccount", "pod-lister"]).await?;
    eventually("the status names the new account", async || {
        let uid = uid(imports.api.get("a").await?).context("no UID")?;
        ensure!(uid != first, "still {first}");
        anyhow::Ok(())
    })
    .await;
    let kubeconfig = Kubeconfig::from_yaml(&a.values().await?["kubeconfig"])?;
    let pods = Api::<Pod>::namespaced(client(kubeconfig)?, "lister");
    pods.list(&Default::default()).await.context("with the new token")?;
    ensure!(tokens_minted_in(&source, "lister")? == 2, "more than one token for the new account");
    importer.stop().await
}
