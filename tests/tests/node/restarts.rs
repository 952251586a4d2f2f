//! Importer and webhook are rolled out and killed while pods and imports are created.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Config};
use mcsa_client::contract::{IMPORT_NAME, SYSTEM_NAMESPACE};
use mcsa_importer::LANE_LIMIT;
use mcsa_tests::{
    Imports, Installation, Node, ensure_no_tokens_in, eventually, images, pod_lister_import, restricted_pod,
    stored_tokens, tokens_minted_in,
};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[tokio::test(flavor = "multi_thread")]
async fn pods_and_imports_succeed_during_rollouts_and_kills() -> anyhow::Result<()> {
    let Some(installed) = Installation::start(Node::builder("c1")).await? else { return Ok(()) };
    let imports = installed.create_namespace("shop").await?;
    installed.create_import(&imports, "shop").await?;
    let before = stored_tokens(&installed.node).await?;
    let refused = Refusals::default();
    let pods = Repeated::start(create_pods(&installed, refused.clone())?);
    let created_imports = Repeated::start(create_imports(imports.clone()));

    roll_out(&installed).await?;
    let errors = refused.all();
    ensure!(errors.is_empty(), "pods were refused during a rollout: {errors:#?}");
    for program in ["importer", "webhook"] {
        for _ in 0..KILLS {
            kill_one(&installed, program).await?;
            installed.wait_until_available().await?;
        }
    }
    let (created, failed) = pods.stop().await?;
    ensure!(failed.is_empty(), "{} pods were created, others failed: {failed:?}", created.len());
    let (names, failed) = created_imports.stop().await?;
    ensure!(failed.is_empty(), "{failed:?}");
    for name in &names {
        eventually(format!("import {name} is ready"), async || imports.ready(name).await).await;
    }
    // One token for each import, including the first one. A killed importer loses only tokens that it has not written
    // yet.
    let minted = tokens_minted_in(&installed.source, "shop")?;
    let needed = names.len() + 1;
    let at_most = needed + KILLS * LANE_LIMIT;
    ensure!((needed..=at_most).contains(&minted), "{minted} tokens for {needed} imports");
    no_token_is_logged(&installed, &before).await
}

/// Checks the logs of importer and webhook, with those from before they were killed.
async fn no_token_is_logged(installed: &Installation, before: &BTreeSet<String>) -> anyhow::Result<()> {
    let tokens = before | &stored_tokens(&installed.node).await?;
    let logs = installed.node.pod_logs()?;
    let ours = logs.into_iter().map(|(path, log)| (path.display().to_string(), log));
    let ours: Vec<_> = ours.filter(|(path, _)| path.contains(SYSTEM_NAMESPACE)).collect();
    for program in ["importer", "webhook"] {
        let is_traced = |(path, log): &&(String, String)| path.contains(program) && log.contains("TRACE");
        let count = ours.iter().filter(is_traced).count();
        ensure!(count > 2, "only {count} logs of the {program} at trace level");
    }
    ensure_no_tokens_in(&tokens, ours)
}

/// How often each program is killed.
const KILLS: usize = 2;

/// The pause between two creations, and between two attempts.
const TICK: Duration = Duration::from_millis(100);

/// With this many refusals, the webhook counts as down.
const MAX_REFUSALS: usize = 300;

/// The API server's errors for refused pods.
#[derive(Clone, Debug, Default)]
struct Refusals(Arc<Mutex<Vec<String>>>);

impl Refusals {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Adds an error with the time, and returns the number of errors.
    fn add(&self, pod: &str, error: &kube::Error) -> usize {
        let mut errors = self.0.lock().unwrap();
        errors.push(format!("{} {pod}: {error}", Timestamp::now()));
        errors.len()
    }
}

/// A task that repeats an action, even if it fails.
struct Repeated {
    stop: watch::Sender<bool>,
    task: JoinHandle<(Vec<String>, Vec<String>)>,
}

impl Repeated {
    /// `action` gets a number, and returns the name of the object that it created.
    fn start<F: Future<Output = anyhow::Result<String>> + Send>(
        action: impl Fn(usize) -> F + Send + 'static,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let (mut done, mut failed) = (Vec::new(), Vec::new());
            let mut ticks = tokio::time::interval(TICK);
            for number in 0.. {
                ticks.tick().await;
                if *stopped.borrow() {
                    break;
                }
                match action(number).await {
                    Ok(name) => done.push(name),
                    Err(error) => failed.push(format!("{error:#}")),
                }
            }
            (done, failed)
        });
        Self { stop, task }
    }

    /// Returns the names of created objects, and the errors.
    async fn stop(self) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        self.stop.send(true)?;
        Ok(self.task.await?)
    }
}

/// Creates pods with an import. A scheduling gate keeps them pending.
///
/// If a webhook is killed during a request, the API server doesn't retry, but refuses the pod. Refusals are recorded,
/// and retried, as controllers do.
fn create_pods(
    installed: &Installation,
    refused: Refusals,
) -> anyhow::Result<impl Fn(usize) -> BoxFuture<'static, anyhow::Result<String>> + Send + 'static> {
    let mut config = Config::try_from(installed.node.kubeconfig_value())?;
    config.default_retry = false;
    config.proxy_url = None;
    let pods = Api::<Pod>::namespaced(Client::try_from(config)?, "shop");
    Ok(move |number| {
        let (pods, refused) = (pods.clone(), refused.clone());
        async move {
            let name = format!("pod-{number}");
            let mut pod = restricted_pod("none", json!({ IMPORT_NAME: "c2-pod-lister" }), &[]);
            pod["metadata"]["name"] = name.clone().into();
            pod["spec"]["schedulingGates"] = json!([{ "name": "example.com/never" }]);
            let pod = serde_json::from_value(pod)?;
            let pod = loop {
                match pods.create(&PostParams::default(), &pod).await {
                    Ok(pod) => break pod,
                    Err(error) => {
                        let count = refused.add(&name, &error);
                        ensure!(
                            count < MAX_REFUSALS,
                            "too many pods are refused, the last is {name}: {error}"
                        );
                        tokio::time::sleep(TICK).await;
                    }
                }
            };
            let volumes = pod.spec.context("no spec")?.volumes.unwrap_or_default();
            let mut secrets =
                volumes.iter().filter_map(|volume| volume.secret.as_ref()?.secret_name.as_deref());
            ensure!(
                secrets.any(|name| name == "c2-pod-lister-token"),
                "{name} was admitted without its import"
            );
            Ok(name)
        }
        .boxed()
    })
}

/// Creates imports.
fn create_imports(
    imports: Imports,
) -> impl Fn(usize) -> BoxFuture<'static, anyhow::Result<String>> + Send + 'static {
    move |number| {
        let imports = imports.clone();
        async move {
            let name = format!("import-{number}");
            imports.create(&pod_lister_import(&name, "c2", "shop")).await?;
            Ok(name)
        }
        .boxed()
    }
}

/// Rolls out other images of both, which log at trace level.
async fn roll_out(installed: &Installation) -> anyhow::Result<()> {
    let images = images().await?;
    for (name, image) in [("importer", &images.importer.name), ("webhook", &images.webhook.name)] {
        let next = format!("{}-next", image);
        installed.node.tag_image(image, &next)?;
        let patch = json!({ "spec": { "template": { "spec": { "containers": [
            { "name": name, "image": next, "env": [{ "name": "RUST_LOG", "value": "trace" }] },
        ] } } } });
        let patch = patch.to_string();
        installed
            .node
            .kubectl(["-n", SYSTEM_NAMESPACE, "patch", "deployment", name, "--patch", &patch])
            .await?;
    }
    installed.wait_until_available().await
}

/// Kills the process of one pod, as the kernel does when memory runs out, and waits until the kubelet has restarted it.
async fn kill_one(installed: &Installation, program: &str) -> anyhow::Result<()> {
    // The kubelet doesn't restart a container of the previous ReplicaSet, which may still be stopping.
    let victim = eventually(format!("only two replicas of the {program} run"), async || {
        let pids = installed.node.pids_of(program)?;
        ensure!(pids.len() == 2, "processes: {pids:?}");
        Ok(pids[0].clone())
    })
    .await;
    let restarts = async || restarts(installed, program).await;
    let before = restarts().await?;
    installed.node.run("sh", &["-c", "kill -KILL $0", &victim])?;
    eventually(format!("the killed {program} is restarted"), async || {
        let now = restarts().await?;
        ensure!(now > before, "there are still {now} restarts");
        Ok(())
    })
    .await;
    Ok(())
}

async fn restarts(installed: &Installation, program: &str) -> anyhow::Result<i32> {
    let pods = Api::<Pod>::namespaced(installed.node.client(), SYSTEM_NAMESPACE);
    let pods = pods.list(&ListParams::default().labels(&format!("app.kubernetes.io/name={program}"))).await?;
    let statuses = pods.into_iter().filter_map(|pod| pod.status?.container_statuses).flatten();
    Ok(statuses.map(|status| status.restart_count).sum())
}
