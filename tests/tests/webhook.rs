//! The webhook's life, as an API server has it: replicas that come and go, and an API server that is
//! lost.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client, Config};
use mcsa_client::contract::{IMPORT_NAME, SYSTEM_NAMESPACE, webhook};
use mcsa_tests::{
    Cluster, Fault, Imports, Process, Proxy, eventually, kubeconfig_at, kubemcsa_ok, pod_lister_import,
    program,
};
use serde_json::json;

/// A cluster in which the webhook is installed, a namespace that has turned it on, and a Service's
/// stand-in by which the API server calls it.
struct Scene {
    cluster: Cluster,
    service: Proxy,
    imports: Imports,
    pods: Api<Pod>,
}

impl Scene {
    async fn set() -> anyhow::Result<Self> {
        let cluster = Cluster::start("c1").await?;
        kubemcsa_ok(cluster.kubeconfig(), ["install", "--no-wait"])?;
        cluster.kubectl(["create", "namespace", "pods"]).await?;
        cluster.kubectl(["label", "namespace", "pods", "multicluster-service-account=enabled"]).await?;
        eventually("pods have a service account", async || {
            cluster.kubectl(["-n", "pods", "get", "serviceaccount", "default"]).await
        })
        .await;
        // Nobody there yet.
        let service = Proxy::start(([127, 0, 0, 1], 9).into()).await?;
        let imports = Imports::of(cluster.client(), "pods");
        let mut config = Config::try_from(cluster.kubeconfig_value())?;
        // Else a client makes up for what was refused.
        config.default_retry = false;
        let pods = Api::namespaced(Client::try_from(config)?, "pods");
        Ok(Self { cluster, service, imports, pods })
    }

    /// An import as the importer would leave it.
    async fn import(&self, name: &str) -> anyhow::Result<()> {
        self.imports.create(&pod_lister_import(name, "c2", "lister")).await?;
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Valid", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = json!({ "status": {
            "secrets": [{ "name": format!("{name}-token") }], "conditions": [ready],
        } });
        let status = Patch::Merge(status);
        self.imports.api.patch_status(name, &PatchParams::default(), &status).await?;
        Ok(())
    }

    /// A replica, with this way to its API server.
    async fn replica(&self, name: &str, kubeconfig: &Path) -> anyhow::Result<Process> {
        let mut command = Command::new(program("mcsa-webhook")?);
        command.arg("--kubeconfig").arg(kubeconfig).arg("--url").arg(self.service.url() + webhook::PATH);
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--probe-address",
            "127.0.0.1:0",
            "--shutdown-delay",
            "600",
        ]);
        let replica = Process::spawn(name, &command, self.cluster.dir().join(format!("{name}.log")))?;
        eventually(format!("{name} is ready"), async || replica.get("/readyz").await).await;
        Ok(replica)
    }

    async fn kubeconfig(&self) -> anyhow::Result<std::path::PathBuf> {
        self.cluster.kubeconfig_of(SYSTEM_NAMESPACE, "webhook").await
    }
}

/// How many mounts a pod gets that names an import; the pod is not kept.
async fn mounts(pods: &Api<Pod>, import: &str) -> kube::Result<usize> {
    let pod = json!({
        "metadata": { "generateName": "pod-", "annotations": { IMPORT_NAME: import } },
        "spec": { "containers": [{ "name": "one", "image": "i" }] },
    });
    let pod = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
    let dry = PostParams { dry_run: true, ..Default::default() };
    let spec = pods.create(&dry, &pod).await?.spec.unwrap_or_default();
    let mounts =
        spec.containers.into_iter().flat_map(|container| container.volume_mounts.unwrap_or_default());
    Ok(mounts.filter(|mount| mount.name.starts_with("sai-")).count())
}

/// Creates pods without a break.
struct Writers {
    created: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Writers {
    fn start(pods: &Api<Pod>, count: usize) -> Self {
        let (created, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let writer = || {
            let pods = pods.clone();
            let (created, is_over) = (created.clone(), is_over.clone());
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    ensure!(
                        mounts(&pods, "a").await.context("creating a pod")? == 1,
                        "a pod without its mount"
                    );
                    created.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            })
        };
        let tasks = (0..count).map(|_| writer()).collect();
        Self { created, is_over, tasks }
    }

    /// Waits until many more were created.
    async fn go_on(&self) {
        let wanted = self.created.load(Ordering::SeqCst) + 100;
        eventually("pods are created", async || {
            ensure!(!self.tasks.iter().any(|task| task.is_finished()), "a writer has failed");
            let created = self.created.load(Ordering::SeqCst);
            ensure!(created >= wanted, "{created} so far, not {wanted}");
            Ok(())
        })
        .await;
    }

    /// Ends; an error when a single pod was not created.
    async fn end(self) -> anyhow::Result<()> {
        self.is_over.store(true, Ordering::SeqCst);
        try_join_all(self.tasks).await?.into_iter().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_come_and_go_under_load() -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    scene.import("a").await?;
    let kubeconfig = scene.kubeconfig().await?;
    let mut serving = scene.replica("one", &kubeconfig).await?;
    scene.service.lead_to(serving.address("listening")?);
    let writers = Writers::start(&scene.pods, 4);
    writers.go_on().await;
    for name in ["two", "three"] {
        let next = scene.replica(name, &kubeconfig).await?;
        // As a kubelet ends a pod: it is told, and taken from the Service by others, who may be slow.
        serving.ask_to_end()?;
        eventually("it is not ready any more", async || match serving.get("/readyz").await {
            Ok(_) => Err("it says that it is".to_owned()),
            Err(error) if error.to_string().contains("stopping") => Ok(()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        writers.go_on().await;
        scene.service.lead_to(next.address("listening")?);
        writers.go_on().await;
        // What the kubelet would wait for is over at once by another signal.
        let ended = serving.terminate().await?;
        ensure!(ended.success(), "it ended with {ended}: {}", serving.log_tail(5));
        writers.go_on().await;
        let reviews = next.scrape().await?.value("mcsa_webhook_reviews_total", "patched");
        ensure!(reviews > Some(0.0), "the next replica was not called: {reviews:?}");
        serving = next;
    }
    writers.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_it_decides_from_its_cache_and_says_so() -> anyhow::Result<()> {
    let scene = Scene::set().await?;
    scene.import("a").await?;
    let way = Proxy::start(([127, 0, 0, 1], scene.cluster.port()).into()).await?;
    let kubeconfig = Kubeconfig::read_from(scene.kubeconfig().await?)?;
    let path = scene.cluster.dir().join("webhook-by-proxy.kubeconfig");
    std::fs::write(&path, serde_saphyr::to_string(&kubeconfig_at(kubeconfig, &way.url()))?)?;
    let replica = scene.replica("one", &path).await?;
    scene.service.lead_to(replica.address("listening")?);
    eventually("the API server calls it", async || mounts(&scene.pods, "a").await).await;
    let metric = async |name: &str| {
        let value = replica.scrape().await?.value(&format!("mcsa_webhook_{name}"), "");
        value.with_context(|| format!("no {name}"))
    };
    ensure!(metric("imports").await? == 1.0);

    way.set(Fault::Hang);
    scene.import("b").await?;
    ensure!(mounts(&scene.pods, "a").await? == 1, "the cache is of no use");
    // It can't know of that one, and does not say that it is not there.
    let denied = mounts(&scene.pods, "b").await.err().context("it knows what it can't know")?.to_string();
    ensure!(denied.contains("pods/b could not be looked up"), "{denied}");
    let reviews = replica.scrape().await?.value("mcsa_webhook_reviews_total", "unknown");
    ensure!(reviews == Some(1.0), "{reviews:?} reviews with an unknown import");
    eventually("its cache grows old", async || {
        let age = metric("cache_age_seconds").await?;
        ensure!(age > 3.0, "{age} s old");
        Ok(())
    })
    .await;
    ensure!(replica.get("/readyz").await? == "ok\n", "others would know no more");

    way.set(Fault::Cut);
    eventually("its cache knows of the other import", async || {
        let known = metric("imports").await?;
        ensure!(known == 2.0, "{known} are known");
        Ok(())
    })
    .await;
    ensure!(mounts(&scene.pods, "b").await? == 1 && metric("cache_age_seconds").await? < 100.0);
    Ok(())
}
