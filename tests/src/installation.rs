//! An installation like a user's: importer and webhook run as pods of a node, from their images, and are linked to a
//! source that pods can reach.

use std::path::PathBuf;

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::PostParams;
use mcsa_client::contract::{IMPORT_NAME, NAMESPACE_LABEL, SYSTEM_NAMESPACE};
use mcsa_release::{Arch, Images, NONROOT, Profile};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::fixtures::{
    Imports, create_pod_lister, kubemcsa_ok, pod_lister_import, wait_for_default_service_account,
};
use crate::merged_kubeconfig::write_merged_kubeconfig;
use crate::node::{Node, NodeBuilder, READY_TIMEOUT};
use crate::{print_uncaptured, programs};

/// A node with our images, and a source that its pods can reach. Both write audit logs.
#[derive(Debug)]
pub struct Installation {
    /// The target `c1`.
    pub node: Node,
    /// The source `c2`.
    pub source: Cluster,
    /// A kubeconfig with both.
    pub kubeconfig: PathBuf,
}

impl Installation {
    /// Starts the clusters, installs and links. `None` if this machine can't run a node; the reason was printed.
    pub async fn start(node: NodeBuilder) -> anyhow::Result<Option<Self>> {
        let Some(installation) = Self::start_clusters(node).await? else { return Ok(None) };
        installation.install()?;
        let source = installation.source.server();
        installation.bootstrap(&["--source-server", &source])?;
        Ok(Some(installation))
    }

    /// Starts the clusters and loads the images, without installing anything.
    pub async fn start_clusters(node: NodeBuilder) -> anyhow::Result<Option<Self>> {
        // Images are built before the node starts: a compiler would use the cores that the node needs to become ready.
        if Node::is_possible() {
            images().await?;
        }
        let Some(node) = node.audit_log().start().await? else { return Ok(None) };
        let source = Cluster::builder("c2").address(node.host_address()).audit_log().start().await?;
        for image in images().await?.all() {
            node.load_image(&image.archive)?;
        }
        let kubeconfig = node.dir().join("kubeconfig-of-both");
        write_merged_kubeconfig(&[&node, &source], &kubeconfig)?;
        Ok(Some(Self { node, source, kubeconfig }))
    }

    /// Runs `kubemcsa install`, which waits until the pods are available.
    pub fn install(&self) -> anyhow::Result<()> {
        kubemcsa_ok(&self.kubeconfig, ["install", "--context", self.node.name()]).map(drop)
    }

    /// Runs `kubemcsa bootstrap` with additional flags.
    pub fn bootstrap(&self, flags: &[&str]) -> anyhow::Result<()> {
        let contexts = ["--target-context", self.node.name(), "--source-context", self.source.name()];
        let args = ["bootstrap"].into_iter().chain(contexts).chain(flags.iter().copied());
        kubemcsa_ok(&self.kubeconfig, args).map(drop)
    }

    /// Creates a namespace in both clusters. In the source, it has the service account `pod-lister` and a pod `nginx`;
    /// in the target, the webhook is enabled in it, and it enforces the restricted pod security standard. Returns the
    /// target's imports.
    pub async fn create_namespace(&self, name: &str) -> anyhow::Result<Imports> {
        create_pod_lister(&self.source, name).await?;
        wait_for_default_service_account(&self.source, name).await;
        self.source.kubectl(["-n", name, "run", "nginx", "--image=nginx"]).await?;
        self.node.kubectl(["create", "namespace", name]).await?;
        let labels = [&format!("{NAMESPACE_LABEL}=enabled"), "pod-security.kubernetes.io/enforce=restricted"];
        self.node.kubectl(["label", "namespace", name].into_iter().chain(labels)).await?;
        wait_for_default_service_account(&self.node, name).await;
        Ok(Imports::of(self.node.client(), name))
    }

    /// Creates the import `c2-pod-lister` of the service account of [`Installation::create_namespace`], and waits until
    /// it is ready.
    pub async fn create_import(&self, imports: &Imports, namespace: &str) -> anyhow::Result<()> {
        imports.create(&pod_lister_import("c2-pod-lister", self.source.name(), namespace)).await?;
        eventually(format!("the import in {namespace} is ready"), async || {
            imports.ready("c2-pod-lister").await
        })
        .await;
        Ok(())
    }

    /// Deploys two pods that list the source's pods each second, with the import `c2-pod-lister`.
    pub async fn deploy_listers(&self, namespace: &str) -> anyhow::Result<()> {
        let image = &images().await?.list_remote_pods.name;
        let template =
            restricted_pod(image, json!({ IMPORT_NAME: "c2-pod-lister" }), &["c2-pod-lister", "1"]);
        let deployment = json!({
            "metadata": { "name": "lister" },
            "spec": {
                "replicas": 2,
                "selector": { "matchLabels": { "app": "lister" } },
                "template": template,
            },
        });
        let deployments = Api::<Deployment>::namespaced(self.node.client(), namespace);
        deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
        Ok(())
    }

    /// The logs of the pods of [`Installation::deploy_listers`].
    pub fn lister_logs(&self, namespace: &str) -> anyhow::Result<Vec<ListerLog>> {
        let prefix = format!("{namespace}_lister-");
        let logs = self.node.pod_logs()?.into_iter();
        let ours = logs.filter(|(path, _)| {
            path.components().any(|part| part.as_os_str().to_string_lossy().starts_with(&prefix))
        });
        Ok(ours.map(|(_, log)| ListerLog::parse(&log)).collect())
    }

    /// Waits until the rollout of a Deployment is complete.
    pub async fn wait_for_rollout(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        let args = ["-n", namespace, "rollout", "status", "deployment", name, "--timeout"];
        let timeout = format!("{}s", READY_TIMEOUT.as_secs());
        self.node.kubectl(args.into_iter().chain([&*timeout])).await.map(drop)
    }

    /// Waits until the rollouts of importer, webhook and launcher are complete.
    pub async fn wait_until_available(&self) -> anyhow::Result<()> {
        for name in ["importer", "webhook", "launcher"] {
            self.wait_for_rollout(SYSTEM_NAMESPACE, name).await?;
        }
        Ok(())
    }
}

/// The log of one lister.
#[derive(Clone, Debug, Default)]
pub struct ListerLog {
    /// The server of each successful list, in order.
    pub servers: Vec<String>,
    /// The error of each failed list.
    pub errors: Vec<String>,
}

impl ListerLog {
    /// Parses a log in the format of container runtimes: time, stream, F or P, text.
    fn parse(log: &str) -> Self {
        let mut lister = Self::default();
        for line in log.lines() {
            let mut words = line.splitn(4, ' ').skip(1);
            let (Some(stream), _, Some(text)) = (words.next(), words.next(), words.next()) else { continue };
            match text.rsplit_once(" of ") {
                _ if stream == "stderr" => lister.errors.push(text.to_owned()),
                Some((_, server)) => lister.servers.push(server.to_owned()),
                None => {}
            }
        }
        lister
    }
}

/// A pod, or a pod template, that complies with the restricted pod security standard.
pub fn restricted_pod(image: &str, annotations: Value, args: &[&str]) -> Value {
    json!({
        "metadata": { "labels": { "app": "lister" }, "annotations": annotations },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": NONROOT, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "main",
                "image": image,
                "args": args,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] },
                    "readOnlyRootFilesystem": true,
                },
            }],
        },
    })
}

/// Our images, built once per process from statically linked binaries.
pub async fn images() -> anyhow::Result<&'static Images> {
    static IMAGES: OnceCell<Images> = OnceCell::const_new();
    let build = || {
        print_uncaptured(
            "building the images of importer, webhook and list_remote_pods; the first build takes minutes",
        );
        let target = programs::target_folder()?;
        // Tests use dev builds. `cargo test --release` tests the release profile.
        let profile = if programs::is_debug()? { Profile::Dev } else { Profile::Release };
        mcsa_release::images(Arch::host()?, profile, &target.join("images"))
    };
    IMAGES
        .get_or_try_init(async || tokio::task::spawn_blocking(build).await?)
        .await
        .context("building images")
}
