//! The live set of clusters: members join, change and leave, and report their health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure};
use futures::StreamExt;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::config::Kubeconfig;
use mcsa_client::clusters::{Change, Clusters, Health, Imports as Watched};
use mcsa_client::config::{Contexts, Mounts};
use mcsa_client::live::LiveConfig;
use mcsa_tests::{
    Cluster, Fault, Importer, Imports, Proxy, apply_link, create_pod_lister, eventually,
    kubeconfig_with_server, linked_clusters, mount, pod_lister_import, shared_clusters,
    write_merged_kubeconfig,
};
use rstest::rstest;
use serde_json::json;
use tokio::time::timeout;

use super::identity::{Identity, write_secret};

fn names(clusters: &Clusters) -> Vec<String> {
    clusters.members().iter().map(|member| member.name().to_string()).collect()
}

async fn next(changes: &mut (impl futures::Stream<Item = Change> + Unpin)) -> anyhow::Result<String> {
    let change = timeout(Duration::from_secs(60), changes.next()).await?;
    Ok(match change {
        Some(Change::Joined(member)) => format!("{} joined", member.name()),
        Some(Change::Updated(member)) => format!("{} changed", member.name()),
        Some(Change::Left(member)) => format!("{} left", member.name()),
        None => "the end".into(),
    })
}

async fn wait_for_health(clusters: &Clusters, name: &str, expected: impl Fn(&Health) -> bool) {
    eventually(format!("{name} has the expected health"), async || match clusters.get(name) {
        Some(member) if expected(&member.health()) => Ok(()),
        member => Err(format!("{member:?}")),
    })
    .await;
}

fn at(cluster: &Cluster, server: &str) -> anyhow::Result<LiveConfig> {
    let mut config = kube::Config::try_from(kubeconfig_with_server(cluster.kubeconfig_value(), server))?;
    config.proxy_url = None;
    Ok(LiveConfig::fixed(config)?)
}

#[rstest]
#[case::connection_refused(Fault::Refuse, false)]
#[case::no_response(Fault::Hang, true)]
#[tokio::test(flavor = "multi_thread")]
async fn requests_to_an_unreachable_member_fail_fast_until_it_is_back(
    #[case] fault: Fault,
    #[case] is_unresponsive: bool,
) -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let proxy = Proxy::start(([127, 0, 0, 1], c2.port()).into()).await?;
    let clusters =
        Clusters::builder().local("home", c1.client()).member("c2", at(c2, &proxy.url())?).start()?;
    wait_for_health(&clusters, "c2", Health::is_ready).await;
    assert_eq!(names(&clusters), ["c2", "home"]);
    assert_eq!(clusters.local().map(|member| member.name().to_string()).as_deref(), Some("home"));

    let member = clusters.get("c2").expect("c2 is a member");
    let waiting = async {
        // A request is in flight when the cluster stops responding.
        loop {
            if let Err(error) = member.client().apiserver_version().await {
                return error.to_string();
            }
        }
    };
    let (error, ()) = tokio::join!(waiting, async { proxy.set(fault) });
    assert!(!error.is_empty());
    wait_for_health(
        &clusters,
        "c2",
        |health| matches!(health, Health::Unavailable { is_unresponsive: is, .. } if *is == is_unresponsive),
    )
    .await;
    if is_unresponsive {
        // Health checks connect, too, so a single attempt may count a connection of theirs.
        eventually("a request fails without a connection", async || {
            let before = proxy.connections();
            let error = member.client().apiserver_version().await.expect_err("the member is unreachable");
            let error = error.to_string();
            ensure!(error.contains("unresponsive: no response within"), "{error}");
            ensure!(proxy.connections() == before, "{} connections instead of {before}", proxy.connections());
            Ok(())
        })
        .await;
    }
    wait_for_health(&clusters, "home", Health::is_ready).await;

    proxy.set(Fault::Pass);
    timeout(Duration::from_secs(30), member.wait_until_available()).await?;
    member.client().apiserver_version().await?;
    wait_for_health(&clusters, "c2", Health::is_ready).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn member_with_a_revoked_credential_is_unauthorized() -> anyhow::Result<()> {
    let (_, c2) = shared_clusters().await;
    let identity = Identity::new(c2, "revoked").await?;
    let token = identity.token(c2, "bound").await?;
    let kubeconfig = Kubeconfig::from_yaml(&identity.credential(&token).kubeconfig()?)?;
    let live = LiveConfig::fixed(kube::Config::try_from(kubeconfig)?)?;
    let clusters = Clusters::builder().member("c2", live).start()?;
    wait_for_health(&clusters, "c2", Health::is_ready).await;
    identity.revoke(c2, "bound", &token).await?;
    wait_for_health(&clusters, "c2", |health| *health == Health::Unauthorized).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_and_mounts_join_change_and_leave() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    let (kubeconfig, mounts) = (folder.path().join("kubeconfig"), folder.path().join("mounts"));
    write_merged_kubeconfig(&[c1], &kubeconfig)?;
    let identity = Identity::new(c2, "mounted").await?;
    let token = identity.token(c2, "bound").await?;

    let contexts = Contexts::from_file(&kubeconfig);
    let error = Clusters::builder()
        .contexts(contexts.clone(), ["c1", "c3"])
        .start()
        .expect_err("there is no context c3");
    assert!(error.to_string().contains("c3"), "{error}");

    let clusters = Clusters::builder().all_contexts(contexts).mounted_in(Mounts::in_dir(&mounts)).start()?;
    assert_eq!(names(&clusters), ["c1"]);
    let mut changes = clusters.watch();
    assert_eq!(next(&mut changes).await?, "c1 joined");
    write_merged_kubeconfig(&[c1, c2], &kubeconfig)?;
    assert_eq!(next(&mut changes).await?, "c2 joined");
    mount(&mounts, "c2-pod-lister", &identity.values(&token)?)?;
    assert_eq!(next(&mut changes).await?, "c2-pod-lister joined");
    assert_eq!(clusters.get("c2-pod-lister").expect("the member joined").default_namespace(), "mounted");

    let moved = Proxy::start(([127, 0, 0, 1], c2.port()).into()).await?;
    mount(&mounts, "c2-pod-lister", &identity.with_server(&moved.url()).values(&token)?)?;
    assert_eq!(next(&mut changes).await?, "c2-pod-lister changed");
    std::fs::remove_dir_all(mounts.join("c2-pod-lister"))?;
    assert_eq!(next(&mut changes).await?, "c2-pod-lister left");
    write_merged_kubeconfig(&[c2], &kubeconfig)?;
    assert_eq!(next(&mut changes).await?, "c1 left");
    drop(clusters);
    assert_eq!(next(&mut changes).await?, "the end");
    Ok(())
}

/// Creates a namespace, and a client that can only watch imports and get Secrets in it.
async fn create_watcher(cluster: &Cluster, namespace: &str) -> anyhow::Result<kube::Client> {
    let crd = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/crd.yaml");
    cluster.kubectl(["apply", "--server-side", "-f", crd]).await?;
    cluster.kubectl(["wait", "--for=condition=Established", "-f", crd]).await?;
    cluster.kubectl(["create", "namespace", namespace]).await?;
    for object in [
        &["serviceaccount", "watcher"][..],
        &[
            "role",
            "watches",
            "--verb=list,watch",
            "--resource=serviceaccountimports.multicluster.admiralty.io",
        ],
        &["role", "gets", "--verb=get", "--resource=secrets"],
        &["rolebinding", "watches", "--role=watches", &format!("--serviceaccount={namespace}:watcher")],
        &["rolebinding", "gets", "--role=gets", &format!("--serviceaccount={namespace}:watcher")],
    ] {
        cluster.kubectl(["-n", namespace, "create"].iter().chain(object)).await?;
    }
    cluster.client_of(namespace, "watcher").await
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_join_with_a_credential_and_leave_when_deleted() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let client = create_watcher(c1, "team").await?;
    let imports = Imports::of(c1.client(), "team");
    let secrets = Api::namespaced(c1.client(), "team");
    let identity = Identity::new(c2, "imported").await?;
    let (first, second) = (identity.token(c2, "first").await?, identity.token(c2, "second").await?);
    let of_team = |name: &str| {
        let mut import = pod_lister_import(name, "c2", "imported");
        import.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
        import
    };
    // Like the importer, the test writes the Secret first, then the status.
    let write_status = async |name: &str, expires: &str| {
        let status = json!({ "status": { "expirationTime": expires } });
        imports.api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await
    };
    imports.create(&pod_lister_import("unlabelled", "c2", "imported")).await?;
    imports.create(&of_team("a")).await?;
    write_secret(&secrets, "a-token", &identity.values(&first)?, Some("u-1")).await?;
    write_secret(&secrets, "unlabelled-token", &identity.values(&first)?, Some("u-1")).await?;

    let watched = Watched::in_namespace(&client, "team").labels("team=a");
    let clusters = Clusters::builder().local("home", c1.client()).imports(watched).start()?;
    clusters.wait_until_synced().await;
    assert_eq!(names(&clusters), ["a", "home"]);
    let mut changes = clusters.watch();
    assert_eq!(next(&mut changes).await?, "a joined");
    assert_eq!(next(&mut changes).await?, "home joined");
    let a = clusters.get("a").expect("the member joined");
    assert_eq!((a.cluster_uid().await?, a.fetch_cluster_uid().await?.as_str()), ("u-1", "u-1"));

    // An import without a credential joins when it has one.
    imports.create(&of_team("b")).await?;
    write_secret(&secrets, "b-token", &identity.values(&first)?, Some("u-1")).await?;
    write_status("b", "2030-01-01T00:00:00Z").await?;
    assert_eq!(next(&mut changes).await?, "b joined");

    // A new token causes no change, and is used.
    write_secret(&secrets, "a-token", &identity.values(&second)?, Some("u-1")).await?;
    write_status("a", "2030-01-01T00:00:00Z").await?;
    identity.revoke(c2, "first", &first).await?;
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::default_namespaced(a.client());
    pods.list(&Default::default()).await?;

    // An invalid Secret changes neither its member nor others.
    let invalid = identity.values(&"no\ntoken".to_owned().into())?;
    write_secret(&secrets, "b-token", &invalid, Some("u-1")).await?;
    write_status("b", "2030-01-02T00:00:00Z").await?;

    // Another address changes the member, another cluster replaces it, and deleting the import removes it.
    let moved = Proxy::start(([127, 0, 0, 1], c2.port()).into()).await?;
    write_secret(&secrets, "a-token", &identity.with_server(&moved.url()).values(&second)?, Some("u-1"))
        .await?;
    write_status("a", "2030-01-02T00:00:00Z").await?;
    assert_eq!(next(&mut changes).await?, "a changed");
    write_secret(&secrets, "a-token", &identity.values(&second)?, Some("u-2")).await?;
    write_status("a", "2030-01-03T00:00:00Z").await?;
    let both = [next(&mut changes).await?, next(&mut changes).await?];
    ensure!(both == ["a left", "a joined"], "{both:?}");
    ensure!(clusters.get("a").expect("the member joined") != a, "the member was not replaced");
    imports.api.delete("b", &DeleteParams::default()).await?;
    assert_eq!(next(&mut changes).await?, "b left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn first_member_with_a_name_keeps_it() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let twice = Clusters::builder().local("c", c1.client()).member("c", c2.client()).start();
    match twice {
        Err(error) => assert!(error.to_string().contains("two clusters are named c"), "{error}"),
        Ok(clusters) => bail!("{clusters:?}"),
    }
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    write_merged_kubeconfig(&[c1, c2], &kubeconfig)?;
    let clusters = Clusters::builder()
        .local("c1", c1.client())
        .all_contexts(Contexts::from_file(&kubeconfig))
        .start()?;
    assert_eq!(names(&clusters), ["c1", "c2"]);
    ensure!(
        clusters.get("c1").expect("c1 is a member").is_local(),
        "the context has replaced the local cluster"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_follow_imports_of_a_real_importer() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    let importer = Importer::of(&target).await?;
    let client = create_watcher(&target, "team").await?;
    let watched = Watched::in_namespace(&client, "team").named(|import| import.spec.cluster_name.clone());
    let clusters = Clusters::builder().imports(watched).start()?;
    clusters.wait_until_synced().await;
    let mut changes = clusters.watch();

    create_pod_lister(&source, "lister").await?;
    let imports = Imports::of(target.client(), "team");
    imports.create(&pod_lister_import("any-name", "c2", "lister")).await?;
    assert_eq!(next(&mut changes).await?, "c2 joined");
    let member = clusters.get("c2").expect("the member joined");
    let uid = source.kubectl(["get", "namespace", "kube-system", "-o=jsonpath={.metadata.uid}"]).await?;
    // The UID comes from the Secret: the service account cannot get namespaces.
    assert_eq!(member.cluster_uid().await?, uid.trim());
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::default_namespaced(member.client());
    pods.list(&Default::default()).await?;

    // The source gets another address.
    let moved = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    apply_link(&target, "c2", &kubeconfig_with_server(source.kubeconfig_value(), &moved.url())).await?;
    assert_eq!(next(&mut changes).await?, "c2 changed");
    pods.list(&Default::default()).await?;
    ensure!(moved.connections() > 0, "nothing used the new address");

    imports.api.delete("any-name", &DeleteParams::default()).await?;
    assert_eq!(next(&mut changes).await?, "c2 left");
    importer.stop().await
}

/// A client that never gets a response to its first request for a path.
fn client_without_response(cluster: &Cluster, path: &'static str) -> kube::Client {
    let (inner, hung) = (cluster.client(), Arc::new(AtomicBool::new(false)));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (inner, hung) = (inner.clone(), hung.clone());
        async move {
            if request.uri().path().ends_with(path) && !hung.swap(true, Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            inner.send(request).await
        }
    });
    kube::Client::new(service, "default")
}

#[tokio::test(flavor = "multi_thread")]
async fn import_whose_secret_request_hangs_does_not_delay_others() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    create_watcher(c1, "hanging").await?;
    let imports = Imports::of(c1.client(), "hanging");
    let identity = Identity::new(c2, "hanging").await?;
    let token = identity.token(c2, "bound").await?;
    for name in ["a", "b"] {
        imports.create(&pod_lister_import(name, "c2", "hanging")).await?;
        write_secret(&imports.secrets, &format!("{name}-token"), &identity.values(&token)?, None).await?;
    }
    let watched = Watched::in_namespace(&client_without_response(c1, "/secrets/a-token"), "hanging");
    let clusters = Clusters::builder().imports(watched).start()?;
    timeout(Duration::from_secs(30), clusters.wait_until_synced()).await?;
    assert_eq!(names(&clusters), ["b"]);
    timeout(Duration::from_secs(60), async {
        let mut changes = clusters.watch();
        while let Some(change) = changes.next().await {
            if matches!(change, Change::Joined(member) if &**member.name() == "a") {
                return;
            }
        }
    })
    .await?;
    Ok(())
}

/// A member can be used after a Secret changed, before the feed observes the change.
#[tokio::test(flavor = "multi_thread")]
async fn member_never_switches_to_another_cluster() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    create_watcher(c1, "switched").await?;
    let (one, other) = (Identity::new(c2, "switched-one").await?, Identity::new(c1, "switched-other").await?);
    let (old, new) = (one.token(c2, "bound").await?, other.token(c1, "bound").await?);
    let imports = Imports::of(c1.client(), "switched");
    imports.create(&pod_lister_import("remote", "c2", "switched-one")).await?;
    write_secret(&imports.secrets, "remote-token", &one.values(&old)?, Some("u-2")).await?;
    let clusters = Clusters::builder().imports(Watched::in_namespace(&c1.client(), "switched")).start()?;
    clusters.wait_until_synced().await;
    let member = clusters.get("remote").expect("the member joined");
    wait_for_health(&clusters, "remote", Health::is_ready).await;

    // Without a new status, the feed doesn't observe the change.
    write_secret(&imports.secrets, "remote-token", &other.values(&new)?, Some("u-1")).await?;
    one.revoke(c2, "bound", &old).await?;
    wait_for_health(&clusters, "remote", |health| *health == Health::Unauthorized).await;
    match member.client().apiserver_version().await {
        Err(kube::Error::Api(status)) => ensure!(status.code == 401, "{status:?}"),
        other => bail!("{other:?}"),
    }
    ensure!(member.fetch_cluster_uid().await.is_err(), "the member has another cluster's UID");
    Ok(())
}
