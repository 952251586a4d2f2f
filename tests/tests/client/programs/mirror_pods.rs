//! `mirror_pods` with rights in one namespace of each source, one of which leaves while it is silent.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_tests::{
    Cluster, Fault, Imports, Proxy, eventually, pod_lister_import, shared_clusters,
    wait_for_default_service_account,
};
use serde_json::json;

use super::super::identity::{Identity, write_secret};
use super::{lines, prints, run};

const CRD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/crd.yaml");

/// An import of a service account that may only run pods, in its own namespace only, and pods that use it.
struct Mirror {
    imports: Imports,
    local: Api<Pod>,
    remote: Api<Pod>,
    source: &'static Cluster,
    identity: Identity,
}

impl Mirror {
    /// The namespaces are named `mirror-<name>` in the target, and `mirrored-<name>` in the source.
    async fn new(name: &str, target: &Cluster, source: &'static Cluster) -> anyhow::Result<Self> {
        let (home, away) = (format!("mirror-{name}"), format!("mirrored-{name}"));
        let identity = Identity::new(source, &away).await?;
        target.kubectl(["create", "namespace", &home]).await?;
        wait_for_default_service_account(target, &home).await;
        wait_for_default_service_account(source, &away).await;
        let subject = format!("--serviceaccount={away}:pod-lister");
        for object in [
            &["role", "runner", "--verb=get,list,watch,create,delete", "--resource=pods"][..],
            &["rolebinding", "runner", "--role=runner", &subject],
        ] {
            source.kubectl(["-n", &away, "create"].iter().chain(object)).await?;
        }
        Ok(Self {
            imports: Imports::of(target.client(), &home),
            local: Api::namespaced(target.client(), &home),
            remote: Api::namespaced(source.client(), &away),
            source,
            identity,
        })
    }

    /// Creates the import `runner`. Its Secret leads to `server`.
    async fn import(&self, server: &str) -> anyhow::Result<()> {
        let token = self.identity.token(self.source, "bound").await?;
        let values = self.identity.with_server(server).values(&token)?;
        write_secret(&self.imports.secrets, "runner-token", &values, Some("u-2")).await?;
        let namespace = self.remote.namespace().context("there is a namespace")?;
        let mut import = pod_lister_import("runner", "c2", namespace);
        import.metadata.labels = Some([("mirror".to_owned(), "pods".to_owned())].into());
        self.imports.create(&import).await.map(drop)
    }

    async fn run(&self, name: &str) -> anyhow::Result<()> {
        let pod = json!({
            "metadata": { "name": name, "labels": { "mirror": "runner" } },
            "spec": { "schedulerName": "mirror-pods", "containers": [{ "name": "main", "image": "none" }] },
        });
        self.local.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        Ok(())
    }

    async fn has_remote(&self, name: &str) -> Pod {
        eventually(format!("{name} has a remote pod"), async || self.remote.get(name).await).await
    }

    async fn is_deleted(&self, name: &str) {
        eventually(format!("the remote pod of {name} is gone"), async || {
            ensure!(self.remote.get_opt(name).await?.is_none(), "it exists");
            Ok(())
        })
        .await;
    }

    /// Reports the status of the remote pod, as a kubelet does, and waits until the local one has it.
    async fn status_is_copied(&self, name: &str) -> anyhow::Result<()> {
        let status = json!({ "status": { "phase": "Running", "message": format!("{name} runs") } });
        self.remote.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        eventually(format!("{name} has the status of the remote pod"), async || {
            let status = self.local.get(name).await?.status.unwrap_or_default();
            ensure!(status.message == Some(format!("{name} runs")), "{status:?}");
            Ok(())
        })
        .await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_mirrored_with_rights_in_one_namespace_of_each_source() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    c1.kubectl(["apply", "--server-side", "-f", CRD]).await?;
    c1.kubectl(["wait", "--for=condition=Established", "-f", CRD]).await?;
    let (a, b) = (Mirror::new("a", c1, c2).await?, Mirror::new("b", c1, c2).await?);
    let proxy = Proxy::start(([127, 0, 0, 1], c2.port()).into()).await?;
    a.import(&c2.server()).await?;
    b.import(&proxy.url()).await?;
    let rights = json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"] },
        { "apiGroups": ["multicluster.admiralty.io"], "resources": ["serviceaccountimports"],
          "verbs": ["list", "watch"] },
    ]);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "mirror-pods" }, "rules": rights,
    });
    Api::all(c1.client())
        .create(&PostParams::default(), &serde_json::from_value::<ClusterRole>(role)?)
        .await?;
    let bind =
        "create clusterrolebinding mirror-pods --clusterrole=mirror-pods --serviceaccount=mirror-a:default";
    c1.kubectl(bind.split(' ')).await?;
    let kubeconfig = c1.kubeconfig_of("mirror-a", "default").await?;
    let folder = tempfile::tempdir()?;
    let process = run("mirror_pods", &["c1"], &kubeconfig, folder.path())?;

    a.run("one").await?;
    b.run("two").await?;
    b.has_remote("two").await;
    let first = a.has_remote("one").await;
    a.status_is_copied("one").await?;
    b.status_is_copied("two").await?;
    a.remote.delete("one", &Default::default()).await?;
    eventually("the remote pod is created again", async || {
        let second = a.remote.get("one").await?;
        ensure!(second.uid() != first.uid(), "it is the first one");
        Ok(())
    })
    .await;
    ensure!(!process.log().contains("forbidden"), "{}", process.log());

    // A source becomes silent, and its import is deleted.
    proxy.set(Fault::Hang);
    let before = lines(&process);
    b.run("three").await?;
    prints(&process, before, &["reconciling local/mirror-b/three", "unresponsive"]).await;
    b.imports.api.delete("runner", &Default::default()).await?;
    prints(&process, before, &["reconciling local/mirror-b/three", "mirror-b.runner is not a member"]).await;
    a.run("four").await?;
    a.has_remote("four").await;
    a.status_is_copied("four").await?;
    a.local.delete("one", &Default::default()).await?;
    b.local.delete("two", &Default::default()).await?;
    a.is_deleted("one").await;
    b.remote.get("two").await.context("a pod of a source that is not a member was deleted")?;
    ensure!(process.terminate().await?.success(), "{}", process.log());
    Ok(())
}
