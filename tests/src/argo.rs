//! Argo Workflows: the controller, the kinds and the executor that it needs, and the command line.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use mcsa_release::{Arch, Image};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::go_tools::{Addition, GoTools};
use crate::kubectl::stdout;
use crate::node::Node;
use crate::process::Process;

const MODULE: &str = "github.com/argoproj/argo-workflows/v4";

/// The image of argoexec, which runs beside each step.
const EXECUTOR_IMAGE: &str = "docker.io/mcsa-tests/argoexec:1";

/// The kinds that the test waits for.
const KINDS: [&str; 2] = ["workflows.argoproj.io", "workflowtaskresults.argoproj.io"];

/// A workflow controller, unmodified. It processes the workflows of one namespace.
#[derive(Debug)]
pub struct Argo {
    _controller: Process,
}

impl Argo {
    /// Installs Argo's kinds, as its release has them, and starts the controller.
    pub async fn start(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let kinds = tokio::task::spawn_blocking(|| tools().module_folder()).await??;
        let kinds = kinds.join("manifests/base/crds/full");
        // Client-side apply stores a copy in an annotation, for which these are too large.
        let kinds = kinds.display().to_string();
        cluster.kubectl(["apply", "--server-side", "-k", &kinds]).await?;
        let served = Api::<CustomResourceDefinition>::all(cluster.client());
        for kind in KINDS {
            eventually(format!("{kind} is served"), async || {
                let status = served.get(kind).await?.status.unwrap_or_default();
                let conditions = status.conditions.unwrap_or_default();
                let is_served = |name| conditions.iter().any(|it| it.type_ == name && it.status == "True");
                anyhow::ensure!(is_served("Established"), "{conditions:?}");
                Ok(())
            })
            .await;
        }
        // Two controllers on a machine would have the same port for metrics.
        let config = ["--from-literal", r#"config={"metricsConfig":{"enabled":false}}"#];
        let create = ["-n", namespace, "create", "configmap", "workflow-controller-configmap"];
        cluster.kubectl([&create[..], &config].concat()).await?;
        let mut command = Command::new(programs().await?.join("workflow-controller"));
        command.arg("--kubeconfig").arg(cluster.kubeconfig()).args(["--namespaced", "-n", namespace]);
        command.args(["--executor-image", EXECUTOR_IMAGE, "--executor-image-pull-policy", "IfNotPresent"]);
        command.env("LEADER_ELECTION_DISABLE", "true").env("DEFAULT_REQUEUE_TIME", "1s");
        let log = cluster.dir().join("workflow-controller.log");
        Ok(Self { _controller: Process::spawn("workflow-controller", &command, log)? })
    }

    /// Loads the image of argoexec into a node.
    pub async fn load_executor(node: &Node) -> anyhow::Result<()> {
        let argoexec = programs().await?.join("argoexec");
        let image = Image::new(EXECUTOR_IMAGE, Arch::host()?).file("/bin/argoexec", &argoexec, 0o755);
        // For resource templates.
        let image = image.directory("/tmp", 0o1777);
        let archive = image.env("PATH", "/bin").write(&node.dir().join("argoexec.tar"))?.archive;
        node.load_image(&archive)
    }
}

/// Installs a kind of Argo without Argo, with this schema, or replaces its schema as an upgrade does. `None`: any fields.
pub async fn install_argo_kind(cluster: &Cluster, kind: &str, schema: Option<Value>) -> anyhow::Result<()> {
    let any = || json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let name = format!("{plural}.argoproj.io");
    let schema = json!({ "openAPIV3Schema": schema.unwrap_or_else(any) });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": name },
        "spec": {
            "group": "argoproj.io",
            "scope": if kind.starts_with("Cluster") { "Cluster" } else { "Namespaced" },
            "names": { "kind": kind, "plural": plural, "singular": singular },
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": schema }],
        },
    });
    let file = cluster.dir().join("kind.json");
    std::fs::write(&file, definition.to_string())?;
    let file = file.display().to_string();
    // As Argo's documentation says.
    cluster.kubectl(["apply", "--server-side", "--force-conflicts", "-f", &file]).await?;
    cluster.kubectl(["wait", "--for", "condition=Established", "crd", &name]).await.map(drop)
}

/// Runs the command line `argo` as the admin, without an Argo server, and returns its stdout. If it fails, the error
/// has its stderr.
pub async fn argo<A: AsRef<OsStr>>(
    cluster: &Cluster,
    namespace: &str,
    args: impl IntoIterator<Item = A>,
) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::new(programs().await?.join("argo"));
    // Variables like ARGO_SERVER change what it does. On a dumb terminal, there are no colors.
    command.env_clear().env("TERM", "dumb");
    command.arg("--kubeconfig").arg(cluster.kubeconfig()).args(["-n", namespace]);
    stdout(command.args(args), "argo").await
}

/// The folder of workflow-controller, argoexec and argo. Builds them if necessary.
pub(crate) async fn programs() -> anyhow::Result<&'static PathBuf> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT.get_or_try_init(async || tokio::task::spawn_blocking(|| tools().build()).await?).await
}

fn tools() -> GoTools {
    GoTools {
        name: "Argo Workflows",
        folder: "argo",
        go_mod: concat!(include_str!("../argo/go.mod"), include_str!("../argo/signal_linux.go")),
        module: MODULE,
        flags: ["-ldflags", "-s -w"].map(str::to_owned).into(),
        packages: "tool",
        duration: "ten minutes",
        alternative: "",
        renamed: &[],
        additions: &[
            Addition {
                path: "workflow/executor/osspecific/signal_linux.go",
                text: include_str!("../argo/signal_linux.go"),
            },
            // argo can serve the user interface, which has to be built first. The tests don't need it.
            Addition { path: "ui/dist/app/index.html", text: "" },
        ],
    }
}
