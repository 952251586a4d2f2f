//! The webhook with a real API server: which pods it reviews, and what it adds to them.

mod any_pod;
mod clusters;
mod controllers;
mod debugging;
mod injected;
mod policies;
mod unreachable_webhook;
mod unreviewed;
mod workflows;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::Api;
use kube::api::PostParams;
use mcsa_client::api::{ItemValue, SecretItem, SecretTemplate};
use mcsa_client::contract::{IMPORT_NAME, KUBECONFIG_ENV, MOUNT_ROOT};
use mcsa_tests::{
    Cluster, Daemons, Imports, eventually, kubemcsa_ok, pod_lister_import, wait_for_default_service_account,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// A cluster with webhook and importer, without a link: mounts do not depend on the contents of Secrets.
struct Fixture {
    cluster: Cluster,
    daemons: Daemons,
}

/// The fixture that all tests of this module share. Each test has its own namespaces.
async fn fixture() -> &'static Fixture {
    static FIXTURE: OnceCell<Fixture> = OnceCell::const_new();
    let fixture = FIXTURE.get_or_try_init(async || {
        let cluster = Cluster::start("c1").await?;
        kubemcsa_ok(cluster.kubeconfig(), ["install", "--context", "c1", "--no-wait"])?;
        let daemons = Daemons::start(&cluster, cluster.dir(), "info,mcsa_webhook=debug").await?;
        anyhow::Ok(Fixture { cluster, daemons })
    });
    fixture.await.unwrap_or_else(|error| panic!("set-up failed: {error:#}"))
}

/// Creates a namespace with the webhook enabled.
async fn enabled_namespace(cluster: &Cluster, name: &str) -> anyhow::Result<Api<Pod>> {
    cluster.kubectl(["create", "namespace", name]).await.ok();
    cluster.kubectl(["label", "namespace", name, "multicluster-service-account=enabled"]).await?;
    wait_for_default_service_account(cluster, name).await;
    Ok(Api::namespaced(cluster.client(), name))
}

/// Creates three imports: `a`; `b.c`, whose Secret has the kubeconfig under another key; and `bare`, whose Secret has
/// none.
async fn imports(cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
    let imports = Imports::of(cluster.client(), namespace);
    imports.create(&pod_lister_import("a", "c2", namespace)).await?;
    for (name, value) in [("b.c", ItemValue::Kubeconfig), ("bare", ItemValue::Token)] {
        let mut import = pod_lister_import(name, "c2", namespace);
        let items = vec![SecretItem { key: "value".into(), value }];
        import.spec.secret = Some(SecretTemplate { items, ..Default::default() });
        imports.create(&import).await?;
    }
    Ok(())
}

/// Annotations that request all of [`imports`].
fn annotations() -> Value {
    json!({ IMPORT_NAME: "b.c,bare,a", KUBECONFIG_ENV: "true" })
}

/// A pod template with containers of each kind.
fn template(annotations: Value) -> Value {
    json!({
        "metadata": { "annotations": annotations },
        "spec": {
            "initContainers": [
                { "name": "init", "image": "i" },
                { "name": "sidecar", "image": "i", "restartPolicy": "Always" },
            ],
            "containers": [
                { "name": "main", "image": "i" },
                { "name": "own", "image": "i", "env": [{ "name": "KUBECONFIG", "value": "/mine" }] },
            ],
        },
    })
}

fn pod(name: &str, annotations: Value) -> anyhow::Result<Pod> {
    let mut pod = template(annotations);
    pod["metadata"]["name"] = name.into();
    Ok(serde_json::from_value(pod)?)
}

fn spec(pod: &Pod) -> anyhow::Result<&PodSpec> {
    pod.spec.as_ref().context("a pod without a spec")
}

/// Whether a container mounts the import, from a volume with the import's Secret.
fn mounts_import(spec: &PodSpec, container: &Container, import: &str) -> bool {
    let path = format!("{MOUNT_ROOT}/{import}");
    let mount = container.volume_mounts.iter().flatten().find(|mount| mount.mount_path == path);
    mount.is_some_and(|mount| {
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        let secret = volume.and_then(|volume| volume.secret.as_ref()?.secret_name.as_deref());
        mount.read_only == Some(true) && secret == Some(&format!("{import}-token"))
    })
}

fn variable<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    container.env.iter().flatten().find(|env| env.name == name)?.value.as_deref()
}

/// Checks that each container has what [`annotations`] request.
fn check(pod: &Pod) -> anyhow::Result<()> {
    let spec = spec(pod)?;
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        for import in ["a", "b.c", "bare"] {
            ensure!(
                mounts_import(spec, container, import),
                "{} lacks {import}: {container:?}",
                container.name
            );
        }
        let kubeconfigs = format!("{MOUNT_ROOT}/b.c/value:{MOUNT_ROOT}/a/config");
        let expected = if container.name == "own" { "/mine" } else { &kubeconfigs };
        ensure!(variable(container, "KUBECONFIG") == Some(expected), "{:?}", container.env);
    }
    ensure!(spec.containers.len() + spec.init_containers.iter().flatten().count() == 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_are_mounted_with_name_generate_name_and_dry_run() -> anyhow::Result<()> {
    let Fixture { cluster, .. } = fixture().await;
    let pods = enabled_namespace(cluster, "sent").await?;
    imports(cluster, "sent").await?;
    check(&pods.create(&PostParams::default(), &pod("named", annotations())?).await?)?;

    let mut generated = pod("", annotations())?;
    generated.metadata.generate_name = Some("generated-".into());
    let generated = pods.create(&PostParams::default(), &generated).await?;
    ensure!(generated.metadata.name.as_deref().is_some_and(|name| name.starts_with("generated-")));
    check(&generated)?;

    let dry_run = PostParams { dry_run: true, ..Default::default() };
    check(&pods.create(&dry_run, &pod("tried", annotations())?).await?)?;
    ensure!(pods.get_opt("tried").await?.is_none(), "a dry run has left a pod");
    // A dry run is denied, too.
    let error = pods.create(&dry_run, &pod("tried", json!({ IMPORT_NAME: "gone" }))?).await.unwrap_err();
    ensure!(error.to_string().contains("sent/gone"), "{error}");
    let invalid = json!({ IMPORT_NAME: "a", KUBECONFIG_ENV: "yes" });
    let error = pods.create(&PostParams::default(), &pod("refused", invalid)?).await.unwrap_err().to_string();
    ensure!(error.contains(KUBECONFIG_ENV) && error.contains(r#""yes""#), "{error}");
    Ok(())
}
