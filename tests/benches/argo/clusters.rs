//! Two linked clusters with a node each. Argo Workflows runs in the first one only, and its steps may run in both.

use anyhow::Context;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{
    Argo, Daemons, Launcher, Node, install_and_link, kubemcsa_ok, wait_for_default_service_account,
};

/// The namespace in both clusters.
pub const NAMESPACE: &str = "bench";

/// The clusters, and the programs of the target. Everything is stopped when this value is dropped.
pub struct Clusters {
    // Fields are dropped in this order: processes first, then what they use.
    _argo: Argo,
    _launcher: Launcher,
    _daemons: Daemons,
    /// The target `c1`.
    pub home: Node,
    /// The source `c2`.
    pub source: Node,
}

/// Starts both clusters, and launches the namespace. The virtual node has the capacity of the source's node.
pub async fn start() -> anyhow::Result<Clusters> {
    let (home, source) = (start_node("c1").await?, start_node("c2").await?);
    let kubeconfig = install_and_link(&home, &source)?;
    // Processes of this machine take the place of the pods, whose images the node can't pull.
    home.kubectl(["-n", SYSTEM_NAMESPACE, "scale", "deployment", "--all", "--replicas=0"]).await?;
    let address = home.host_address();
    let daemons = Daemons::start_on(address, &home, home.dir(), "info").await?;
    let launcher = Launcher::start(&home, address, "mcsa-launcher.log").await?;
    home.kubectl(["create", "namespace", NAMESPACE]).await?;
    wait_for_default_service_account(&home, NAMESPACE).await;
    let argo = Argo::start(&home, NAMESPACE).await?;
    Argo::load_executor(&home).await?;
    Argo::load_executor(&source).await?;
    allow_reports(&home).await?;
    let capacity = format!("cpu={}m", millicores(&source).await?);
    let contexts = ["--target-context", home.name(), "--source-context", source.name()];
    let launch = ["launch", NAMESPACE, "--argo", "--capacity", &capacity];
    kubemcsa_ok(&kubeconfig, launch.into_iter().chain(contexts))?;
    let node = format!("node/{}", source.name());
    home.kubectl(["wait", "--for=condition=Ready", "--timeout=2m", &node]).await?;
    Ok(Clusters { _argo: argo, _launcher: launcher, _daemons: daemons, home, source })
}

async fn start_node(cluster: &str) -> anyhow::Result<Node> {
    Node::builder(cluster).start().await?.context("this machine cannot run a node")
}

/// Allows steps that run in home to report their outputs. In the source, `kubemcsa launch --argo` does.
async fn allow_reports(home: &Node) -> anyhow::Result<()> {
    let create = ["-n", NAMESPACE, "create"];
    let role = ["role", "argo-step", "--verb=create,patch", "--resource=workflowtaskresults.argoproj.io"];
    home.kubectl(create.iter().chain(&role)).await?;
    let account = format!("--serviceaccount={NAMESPACE}:default");
    let binding = ["rolebinding", "argo-step", "--role=argo-step", &account];
    home.kubectl(create.iter().chain(&binding)).await.map(drop)
}

/// What pods may request of a cluster's node, in thousandths of a core.
pub async fn millicores(cluster: &Node) -> anyhow::Result<u32> {
    let name = format!("{}-node", cluster.name());
    let node = Api::<NodeObject>::all(cluster.client()).get(&name).await?;
    let allocatable = node.status.unwrap_or_default().allocatable.unwrap_or_default();
    let cpu = &allocatable.get("cpu").with_context(|| format!("node {name} has no allocatable cpu"))?.0;
    let number = |text: &str| {
        text.parse::<u32>().with_context(|| format!("node {name} has {cpu:?} as its allocatable cpu"))
    };
    match cpu.strip_suffix('m') {
        Some(thousandths) => number(thousandths),
        None => Ok(1000 * number(cpu)?),
    }
}
