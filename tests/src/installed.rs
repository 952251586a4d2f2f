//! A target as users have it: a node on which importer and webhook run as pods, from their images, and
//! which is linked to a source that its pods reach.

use std::path::PathBuf;

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::PostParams;
use mcsa_client::contract::{IMPORT_NAME, NAMESPACE_LABEL, SYSTEM_NAMESPACE};
use mcsa_release::{Arch, Images, NOBODY, Profile};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::merged_kubeconfig::merged_kubeconfig;
use crate::node::{Node, NodeBuilder, READY};
use crate::scene::{Imports, kubemcsa_ok, pod_lister, pod_lister_import, takes_pods};
use crate::{note, programs};

/// A node that has our images, and a source that its pods reach; both log their calls.
#[derive(Debug)]
pub struct Installed {
    /// The target `c1`.
    pub node: Node,
    /// The source `c2`.
    pub source: Cluster,
    /// A kubeconfig with both.
    pub kubeconfig: PathBuf,
}

impl Installed {
    /// All of it, installed and linked; none where there can be no node, which has been said.
    pub async fn start(node: NodeBuilder) -> anyhow::Result<Option<Self>> {
        let Some(installed) = Self::bare(node).await? else { return Ok(None) };
        installed.install()?;
        let source = installed.source.server();
        installed.bootstrap(&["--source-server", &source])?;
        Ok(Some(installed))
    }

    /// The two clusters and the images; nothing is installed yet.
    pub async fn bare(node: NodeBuilder) -> anyhow::Result<Option<Self>> {
        // Compiled before the node starts: a compiler would take the cores that the node needs to become ready.
        if Node::is_possible() {
            images().await?;
        }
        let Some(node) = node.audit_log().start().await? else { return Ok(None) };
        let source = Cluster::builder("c2").address(node.host()).audit_log().start().await?;
        for image in images().await?.all() {
            node.load(&image.archive)?;
        }
        let kubeconfig = node.dir().join("kubeconfig-of-both");
        merged_kubeconfig(&[&node, &source], &kubeconfig)?;
        Ok(Some(Self { node, source, kubeconfig }))
    }

    /// `kubemcsa install`, which waits until the pods are available.
    pub fn install(&self) -> anyhow::Result<()> {
        kubemcsa_ok(&self.kubeconfig, ["install", "--context", self.node.name()]).map(drop)
    }

    /// `kubemcsa bootstrap`, with more flags.
    pub fn bootstrap(&self, flags: &[&str]) -> anyhow::Result<()> {
        let contexts = ["--target-context", self.node.name(), "--source-context", self.source.name()];
        let args = ["bootstrap"].into_iter().chain(contexts).chain(flags.iter().copied());
        kubemcsa_ok(&self.kubeconfig, args).map(drop)
    }

    /// A namespace of this name in both clusters: in the source with the service account `pod-lister`
    /// and one pod, `nginx`; in the target with the webhook turned on, and held to the same standard of
    /// pods as our own. Returns the imports there.
    pub async fn namespace(&self, name: &str) -> anyhow::Result<Imports> {
        pod_lister(&self.source, name).await?;
        takes_pods(&self.source, name).await;
        self.source.kubectl(["-n", name, "run", "nginx", "--image=nginx"]).await?;
        self.node.kubectl(["create", "namespace", name]).await?;
        let labels = [&format!("{NAMESPACE_LABEL}=enabled"), "pod-security.kubernetes.io/enforce=restricted"];
        self.node.kubectl(["label", "namespace", name].into_iter().chain(labels)).await?;
        takes_pods(&self.node, name).await;
        Ok(Imports::of(self.node.client(), name))
    }

    /// A ready import `c2-pod-lister` of the service account of [`Installed::namespace`].
    pub async fn import(&self, imports: &Imports, namespace: &str) -> anyhow::Result<()> {
        imports.create(&pod_lister_import("c2-pod-lister", self.source.name(), namespace)).await?;
        eventually(format!("the import in {namespace} is ready"), async || {
            imports.ready("c2-pod-lister").await
        })
        .await;
        Ok(())
    }

    /// Two pods that list the source's pods each second, through the import `c2-pod-lister`.
    pub async fn deploy_listers(&self, namespace: &str) -> anyhow::Result<()> {
        let image = &images().await?.list_remote_pods.name;
        let template = pod(image, json!({ IMPORT_NAME: "c2-pod-lister" }), &["c2-pod-lister", "1"]);
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

    /// What the pods of [`Installed::deploy_listers`] have written so far.
    pub fn listers(&self, namespace: &str) -> anyhow::Result<Vec<Lister>> {
        let prefix = format!("{namespace}_lister-");
        let logs = self.node.pod_logs()?.into_iter();
        let ours = logs.filter(|(path, _)| {
            path.components().any(|part| part.as_os_str().to_string_lossy().starts_with(&prefix))
        });
        Ok(ours.map(|(_, log)| Lister::read(&log)).collect())
    }

    /// Waits until a Deployment has all the pods that it should have, of the newest kind.
    pub async fn available(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        let args = ["-n", namespace, "rollout", "status", "deployment", name, "--timeout"];
        let timeout = format!("{}s", READY.as_secs());
        self.node.kubectl(args.into_iter().chain([&*timeout])).await.map(drop)
    }

    /// Waits until importer and webhook have all their pods.
    pub async fn serves(&self) -> anyhow::Result<()> {
        for name in ["importer", "webhook"] {
            self.available(SYSTEM_NAMESPACE, name).await?;
        }
        Ok(())
    }
}

/// What one lister has written.
#[derive(Clone, Debug, Default)]
pub struct Lister {
    /// The servers that answered, in order, one for each listing.
    pub listed: Vec<String>,
    /// What failed.
    pub failed: Vec<String>,
}

impl Lister {
    /// From a log as container runtimes write it: time, stream, F or P, text.
    fn read(log: &str) -> Self {
        let mut lister = Self::default();
        for line in log.lines() {
            let mut words = line.splitn(4, ' ').skip(1);
            let (Some(stream), _, Some(text)) = (words.next(), words.next(), words.next()) else { continue };
            match text.rsplit_once(" of ") {
                _ if stream == "stderr" => lister.failed.push(text.to_owned()),
                Some((_, server)) => lister.listed.push(server.to_owned()),
                None => {}
            }
        }
        lister
    }
}

/// A pod, or the template of one, as a namespace takes it that enforces the restricted standard.
pub fn pod(image: &str, annotations: Value, args: &[&str]) -> Value {
    json!({
        "metadata": { "labels": { "app": "lister" }, "annotations": annotations },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": NOBODY, "seccompProfile": { "type": "RuntimeDefault" },
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

/// Our images, built once for this process, from static binaries that outlive it.
pub async fn images() -> anyhow::Result<&'static Images> {
    static IMAGES: OnceCell<Images> = OnceCell::const_new();
    let build = || {
        note(
            "building the images of importer, webhook and list_remote_pods; the first time, that takes minutes",
        );
        let target = programs::target_folder()?;
        // A debug build is enough for tests; `cargo test --release` tests what is released.
        let profile = if programs::is_debug()? { Profile::Dev } else { Profile::Release };
        mcsa_release::images(Arch::host()?, profile, &target.join("images"))
    };
    IMAGES.get_or_try_init(async || tokio::task::spawn_blocking(build).await?).await.context("making images")
}
