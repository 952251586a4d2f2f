//! The main use case with the real binaries: kubemcsa links two clusters, importer and webhook run as processes, and
//! pods and clients use the Secrets. Everything logs at trace level, for the test that no token is printed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mcsa_client::config::Mounts;
use mcsa_client::contract::{IMPORT_NAME, LINK_LABEL, MOUNT_ROOT, SYSTEM_NAMESPACE};
use mcsa_tests::{
    Cluster, Daemons, Imports, binaries, create_pod_lister, ensure_no_tokens_in, eventually,
    install_and_link, kubectl, kubemcsa_ok, kubemcsa_runs, mount, pod_lister_import, stored_tokens,
};
use serde_json::json;
use tokio::sync::OnceCell;

/// Two linked clusters with importer and webhook.
struct Fixture {
    target: Cluster,
    source: Cluster,
    daemons: Daemons,
    kubeconfig: PathBuf,
    /// The first token, which bootstrap minted. The importer replaces it at once.
    first_token: BTreeSet<String>,
}

/// The tests of this file share a fixture, and use separate namespaces.
async fn fixture() -> &'static Fixture {
    static FIXTURE: OnceCell<Fixture> = OnceCell::const_new();
    let fixture = FIXTURE.get_or_try_init(async || {
        let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
        let kubeconfig = install_and_link(&target, &source)?;
        let first_token = stored_tokens(&target).await?;
        let daemons = Daemons::start(&target, target.dir(), "trace").await?;
        anyhow::Ok(Fixture { target, source, daemons, kubeconfig, first_token })
    });
    fixture.await.unwrap_or_else(|error| panic!("starting the fixture: {error:#}"))
}

impl Fixture {
    /// Creates a namespace in both clusters: in the source with the service account `pod-lister`, in the target with
    /// the webhook enabled. Returns the target's imports.
    async fn create_namespace(&self, name: &str) -> anyhow::Result<Imports> {
        create_pod_lister(&self.source, name).await?;
        self.target.kubectl(["create", "namespace", name]).await?;
        self.target.kubectl(["label", "namespace", name, "multicluster-service-account=enabled"]).await?;
        Ok(Imports::of(self.target.client(), name))
    }

    /// Creates an import of a namespace's `pod-lister`, and waits until it is ready.
    async fn create_import(&self, imports: &Imports, name: &str, namespace: &str) -> anyhow::Result<()> {
        imports.create(&pod_lister_import(name, "c2", namespace)).await?;
        eventually(format!("import {namespace}/{name} is ready"), async || imports.ready(name).await).await;
        Ok(())
    }

    async fn create_pod(&self, namespace: &str, pod: serde_json::Value) -> anyhow::Result<Pod> {
        let pods = Api::<Pod>::namespaced(self.target.client(), namespace);
        Ok(pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?)
    }
}

fn pod(name: &str, imports: Option<&str>) -> serde_json::Value {
    let annotations = imports.map(|imports| json!({ IMPORT_NAME: imports }));
    json!({
        "metadata": { "name": name, "annotations": annotations },
        "spec": {
            "initContainers": [
                { "name": "init", "image": "i" },
                { "name": "sidecar", "image": "i", "restartPolicy": "Always" },
            ],
            "containers": [
                { "name": "one", "image": "i", "volumeMounts": [{ "name": "own", "mountPath": "/own" }] },
                { "name": "two", "image": "i" },
            ],
            "volumes": [{ "name": "own", "emptyDir": {} }],
        },
    })
}

/// The mount of an import in a container, as (volume, read-only).
fn mounted(container: &Container, import: &str) -> Option<(String, bool)> {
    let path = format!("{MOUNT_ROOT}/{import}");
    let mount = container.volume_mounts.iter().flatten().find(|mount| mount.mount_path == path)?;
    Some((mount.name.clone(), mount.read_only == Some(true)))
}

/// The Secret behind a volume.
fn secret_of(pod: &Pod, volume: &str) -> Option<String> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    volumes.iter().find(|found| found.name == volume)?.secret.as_ref()?.secret_name.clone()
}

async fn is_allowed(client: &Client, namespace: &str, verb: &str, resource: &str) -> anyhow::Result<bool> {
    let review = json!({ "spec": { "resourceAttributes": { "namespace": namespace, "verb": verb, "resource": resource } } });
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let review = reviews.create(&PostParams::default(), &serde_json::from_value(review)?).await?;
    Ok(review.status.context("the review has no status")?.allowed)
}

#[tokio::test(flavor = "multi_thread")]
async fn import_has_exactly_the_rights_of_its_service_account() -> anyhow::Result<()> {
    let fixture = fixture().await;
    let imports = fixture.create_namespace("identity").await?;
    fixture.create_import(&imports, "a", "identity").await?;
    let root = tempfile::tempdir()?;
    mount(root.path(), "a", &imports.values("a-token").await?)?;
    let config = Mounts::at(root.path()).import("a")?;
    ensure!(config.default_namespace() == "identity", "{}", config.default_namespace());
    let client = config.client();

    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    ensure!(user.as_deref() == Some("system:serviceaccount:identity:pod-lister"), "{user:?}");
    ensure!(is_allowed(&client, "identity", "list", "pods").await?, "it can't list pods");
    ensure!(!is_allowed(&client, "identity", "list", "secrets").await?, "it can list secrets");
    ensure!(!is_allowed(&client, "default", "list", "pods").await?, "it can list pods elsewhere");
    ensure!(Api::<Pod>::default_namespaced(client).list(&ListParams::default()).await?.items.is_empty());

    let events = fixture.target.kubectl(["-n", "identity", "get", "events", "-o", "name"]).await?;
    ensure!(events.is_empty(), "an ordinary success emits events: {events}");
    let table = fixture.target.kubectl(["-n", "identity", "get", "sai"]).await?;
    let words: Vec<_> = table.lines().last().context("the table is empty")?.split_whitespace().collect();
    ensure!(words[..5] == ["a", "c2", "identity", "pod-lister", "True"], "{table}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works_with_mounted_kubeconfigs() -> anyhow::Result<()> {
    let fixture = fixture().await;
    let imports = fixture.create_namespace("merged").await?;
    fixture.create_namespace("merged-too").await?;
    fixture.source.kubectl(["-n", "merged", "run", "nginx", "--image=nginx"]).await?;
    fixture.create_import(&imports, "a", "merged").await?;
    fixture.create_import(&imports, "b", "merged-too").await?;
    let root = tempfile::tempdir()?;
    let a = mount(root.path(), "a", &imports.values("a-token").await?)?.join("config");
    let b = mount(root.path(), "b", &imports.values("b-token").await?)?.join("config");
    let pods = kubectl(&a, ["get", "pods", "-o", "name"]).await?;
    ensure!(pods.trim() == "pod/nginx", "{pods}");
    let both = std::env::join_paths([&a, &b])?;
    ensure!(kubectl(&both, ["--context", "a", "get", "pods", "-o", "name"]).await?.trim() == "pod/nginx");
    ensure!(kubectl(&both, ["--context", "b", "get", "pods", "-o", "name"]).await?.trim().is_empty());
    let whole = root.path().join("kubeconfig");
    std::fs::write(&whole, &imports.values("a-token").await?["kubeconfig"])?;
    ensure!(kubectl(&whole, ["get", "pods", "-o", "name"]).await?.trim() == "pod/nginx");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn import_is_mounted_in_each_container_of_an_annotated_pod() -> anyhow::Result<()> {
    let fixture = fixture().await;
    let imports = fixture.create_namespace("mounts").await?;
    fixture.create_import(&imports, "a", "mounts").await?;
    fixture.create_import(&imports, "b.c", "mounts").await?;
    let stored = fixture.create_pod("mounts", pod("both", Some("a, b.c"))).await?;
    let spec = stored.spec.as_ref().context("the pod has no spec")?;
    let containers: Vec<_> = spec.init_containers.iter().flatten().chain(&spec.containers).collect();
    ensure!(containers.len() == 4, "{}", containers.len());
    for (import, secret) in [("a", "a-token"), ("b.c", "b.c-token")] {
        for container in &containers {
            let (volume, read_only) =
                mounted(container, import).with_context(|| format!("{} has no mount", container.name))?;
            ensure!(read_only && secret_of(&stored, &volume).as_deref() == Some(secret), "{container:?}");
        }
    }
    ensure!(spec.volumes.iter().flatten().any(|volume| volume.name == "own" && volume.empty_dir.is_some()));

    // Creating the stored pod again adds nothing.
    let mut again = serde_json::to_value(&stored)?;
    again["metadata"] = json!({ "name": "again", "annotations": stored.metadata.annotations });
    let again = fixture.create_pod("mounts", again).await?;
    let count = |pod: &Pod| pod.spec.as_ref().map(|spec| spec.volumes.iter().flatten().count());
    ensure!(count(&again) == count(&stored), "{again:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_work_unchanged() -> anyhow::Result<()> {
    let fixture = fixture().await;
    let imports = fixture.create_namespace("examples").await?;
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let apply = async |file: &str| {
        fixture.target.kubectl(["-n", "examples", "apply", "-f", &format!("{examples}/{file}")]).await
    };
    fixture.source.kubectl(["-n", "default", "create", "serviceaccount", "pod-lister"]).await?;
    apply("import.yaml").await?;
    eventually("the import of the example is ready", async || imports.ready("c2-pod-lister").await).await;
    apply("pod.yaml").await?;
    apply("deployment.yaml").await?;
    let pods = Api::<Pod>::namespaced(fixture.target.client(), "examples");
    eventually("the Deployment's pods have the import", async || {
        let pods = pods.list(&ListParams::default().labels("app=lister")).await?.items;
        ensure!(pods.len() == 2, "{} pods", pods.len());
        for pod in &pods {
            let containers = pod.spec.as_ref().map(|spec| &spec.containers);
            let found = containers
                .into_iter()
                .flatten()
                .all(|container| mounted(container, "c2-pod-lister").is_some());
            ensure!(found, "{pod:?}");
        }
        Ok(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_refused_or_warned_if_their_import_is_unusable() -> anyhow::Result<()> {
    let fixture = fixture().await;
    let imports = fixture.create_namespace("refusals").await?;
    let error = fixture.create_pod("refusals", pod("p", Some("absent"))).await.unwrap_err().to_string();
    ensure!(error.contains("absent") && error.contains("refusals"), "{error}");
    let error = fixture.create_pod("refusals", pod("p", Some("Not_A_Name"))).await.unwrap_err().to_string();
    ensure!(error.contains("Not_A_Name"), "{error}");

    fixture.create_import(&imports, "a", "refusals").await?;
    let mut taken = pod("p", Some("a"));
    taken["spec"]["containers"][1]["volumeMounts"] =
        json!([{ "name": "own", "mountPath": format!("{MOUNT_ROOT}/a/") }]);
    let error = fixture.create_pod("refusals", taken).await.unwrap_err().to_string();
    ensure!(error.contains("two") && error.contains(&format!("{MOUNT_ROOT}/a")), "{error}");

    // If the import has no credential yet, the pod is admitted with a warning, and the kubelet waits for the Secret.
    let mut waiting = pod_lister_import("waiting", "c2", "refusals");
    waiting.spec.cluster_name = "not-linked".into();
    imports.create(&waiting).await?;
    eventually("the import reports that the link is missing", async || {
        imports.condition("waiting", "Ready", "False", Some("ClusterNotLinked")).await
    })
    .await;
    let file = fixture.target.dir().join("waiting.json");
    let mut manifest = pod("waits", Some("waiting"));
    manifest["apiVersion"] = "v1".into();
    manifest["kind"] = "Pod".into();
    std::fs::write(&file, manifest.to_string())?;
    let mut create = Command::new(&binaries().await?.kubectl);
    create
        .arg("--kubeconfig")
        .arg(fixture.target.kubeconfig())
        .args(["-n", "refusals", "create", "-f"])
        .arg(&file);
    let output = create.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{stderr}");
    ensure!(
        stderr.contains("Warning") && stderr.contains("waiting") && stderr.contains("ClusterNotLinked"),
        "{stderr}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_without_annotation_or_label_are_unchanged() -> anyhow::Result<()> {
    let fixture = fixture().await;
    fixture.create_namespace("untouched").await?;
    let stored = fixture.create_pod("untouched", pod("plain", None)).await?;
    let has_import_volume = |pod: &Pod| {
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
        volumes.into_iter().flatten().any(|volume| volume.name.starts_with("sai-"))
    };
    ensure!(!has_import_volume(&stored), "{stored:?}");
    // Without the label, the webhook ignores the annotation, even if the import does not exist.
    fixture.target.kubectl(["create", "namespace", "not-enabled"]).await?;
    fixture.target.kubectl(["-n", "not-enabled", "create", "serviceaccount", "default"]).await.ok();
    let stored = eventually("pods can be created in the namespace", async || {
        fixture.create_pod("not-enabled", pod("annotated", Some("absent"))).await
    })
    .await;
    ensure!(!has_import_volume(&stored), "{stored:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn export_prints_a_secret_that_can_be_applied() -> anyhow::Result<()> {
    let fixture = fixture().await;
    fixture.create_namespace("exported").await?;
    let yaml = kubemcsa_ok(
        &fixture.kubeconfig,
        ["export", "pod-lister", "--context", "c2", "-n", "exported", "--as", "copy"],
    )?;
    let file = fixture.target.dir().join("exported.yaml");
    std::fs::write(&file, yaml)?;
    fixture.target.kubectl(["-n", "exported", "apply", "-f", &file.display().to_string()]).await?;
    let values = Imports::of(fixture.target.client(), "exported").values("copy").await?;
    let root = tempfile::tempdir()?;
    let config = mount(root.path(), "copy", &values)?.join("config");
    kubectl(&config, ["get", "pods"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_printed_logged_or_stored_elsewhere() -> anyhow::Result<()> {
    let fixture = fixture().await;
    let imports = fixture.create_namespace("silent").await?;
    let mut minted = fixture.first_token.clone();
    ensure!(minted.len() == 1, "bootstrap minted {} tokens", minted.len());

    // A token for each reason to mint one.
    fixture.create_import(&imports, "a", "silent").await?;
    minted.extend(stored_tokens(&fixture.target).await?);
    let first = imports.values("a-token").await?["token"].clone();
    let edit = json!({ "stringData": { "token": "edited" } });
    imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(edit)).await?;
    let second = eventually("the edit is repaired", async || {
        let token = imports.values("a-token").await?["token"].clone();
        ensure!(token != "edited" && token != first, "it is not repaired");
        Ok(token)
    })
    .await;
    imports.secrets.delete("a-token", &Default::default()).await?;
    let third = eventually("the Secret is recreated", async || imports.values("a-token").await).await;
    minted.extend([first, second, third["token"].clone()]);
    let export = ["export", "pod-lister", "--context", "c2", "-n", "silent"];
    let exported: Secret = serde_saphyr::from_str(&kubemcsa_ok(&fixture.kubeconfig, export)?)?;
    let exported =
        exported.data.and_then(|mut data| data.remove("token")).context("the export has no token")?;
    minted.insert(String::from_utf8(exported.0)?);

    // An error about a kubeconfig that can't be parsed must not quote it.
    let broken = fixture.source.kubectl(["create", "token", "default"]).await?.trim().to_owned();
    let secret = json!({
        "metadata": { "name": "broken", "labels": { LINK_LABEL: "true" } },
        "stringData": { "kubeconfig": format!("users: [{{name: c2, user: {{token: {broken}\n") },
    });
    let links = Imports::of(fixture.target.client(), SYSTEM_NAMESPACE);
    links.secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    imports.create(&pod_lister_import("broken", "broken", "silent")).await?;
    eventually("the import reports that its link is invalid", async || {
        imports.condition("broken", "Ready", "False", Some("InvalidLink")).await
    })
    .await;
    minted.insert(broken);

    fixture.create_pod("silent", pod("p", Some("a"))).await?;
    let bootstrap = ["bootstrap", "--target-context", "c1", "--source-context", "c2"];
    for more in [&["-o", "yaml"][..], &["--dry-run"], &[]] {
        kubemcsa_ok(&fixture.kubeconfig, bootstrap.into_iter().chain(more.iter().copied()))?;
    }
    minted.extend(stored_tokens(&fixture.target).await?);
    ensure!(minted.len() > 6, "only {} tokens were minted", minted.len());

    let mut texts = vec![
        ("the importer's log".to_owned(), fixture.daemons.importer.log()),
        ("the webhook's log".to_owned(), fixture.daemons.webhook.log()),
    ];
    for (what, log) in &texts {
        ensure!(log.contains("TRACE"), "{what} is not at trace level");
    }
    let runs = kubemcsa_runs(&fixture.kubeconfig);
    for subcommand in ["install", "bootstrap", "export"] {
        ensure!(
            runs.iter().any(|run| run.args.starts_with(subcommand)),
            "{subcommand} is not among {runs:?}"
        );
    }
    texts.extend(runs.into_iter().map(|run| (format!("the output of kubemcsa {}", run.args), run.output)));
    let in_both = "namespaces,serviceaccounts,configmaps,clusterroles,clusterrolebindings,roles,rolebindings";
    let in_target = "events,pods,serviceaccountimports,deployments,services,mutatingwebhookconfigurations";
    // Secrets, too: no token may be stored in a source.
    let in_source = "events,secrets,validatingadmissionpolicies,validatingadmissionpolicybindings";
    for (cluster, kinds) in [(&fixture.target, in_target), (&fixture.source, in_source)] {
        let kinds = format!("{in_both},{kinds}");
        let dump = cluster.kubectl(["get", &kinds, "--all-namespaces", "-o", "yaml"]).await?;
        texts.push((format!("the {kinds} of {}", cluster.name()), dump));
    }
    ensure_no_tokens_in(&minted, texts)
}
