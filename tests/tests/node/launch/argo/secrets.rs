//! Steps that run with the Secrets of Argo's three multi-cluster designs, without ServiceAccountImports.

use base64::prelude::{BASE64_STANDARD, Engine};
use k8s_openapi::api::core::v1::{Node, Secret};
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::CLUSTER_NAME;
use mcsa_tests::wait_for_default_service_account;

use super::*;

/// The names of the source in the Secrets of the designs. No import has them.
const CLUSTERS: [&str; 3] = ["generation-1", "generation-2", "generation-3"];

/// A namespace with workflows and without Argo.
const LOCAL: &str = "local";

/// The only namespace of the source for the second design.
const REMOTE: &str = "remote";

/// The workflow that runs when the source has the kind Workflow.
const STUBBED: &str = "stubbed";

/// The service account of the example.
const ACCOUNT: &str = "argo-secrets";

const TARGET_EXAMPLE: &str = include_str!("../../../../../examples/argo/secrets/target.yaml");
const SOURCE_EXAMPLE: &str = include_str!("../../../../../examples/argo/secrets/source.yaml");
const STUB_EXAMPLE: &str = include_str!("../../../../../examples/argo/secrets/stub.yaml");
const WORKFLOW_EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/argo/secrets/workflow.yaml");

pub(super) async fn steps_run_by_argos_secrets(launched: &mut Launched) -> anyhow::Result<()> {
    prepare(launched).await?;
    launched.use_argo_secrets(NAMESPACE, &format!("{NAMESPACE},{LOCAL}")).await?;
    create_clusters(launched).await?;
    let users = create_kubeconfig(launched).await?;
    create_profile(launched).await?;
    let [first, second, third] = CLUSTERS;
    tokio::try_join!(
        steps_run(launched, first, first, None, NAMESPACE),
        steps_run(launched, second, second, Some(REMOTE), REMOTE),
        steps_run(launched, third, third, Some(NAMESPACE), NAMESPACE),
        another_namespace_needs_a_kubeconfig_of_its_own(launched, second, &users),
    )?;
    let imports = Api::<ServiceAccountImport>::all(launched.home.client());
    for import in imports.list(&ListParams::default()).await? {
        ensure!(!CLUSTERS.contains(&&*import.spec.cluster_name), "{}", import.name_any());
    }
    Ok(())
}

/// Garbage collection in a source with the kind Workflow would delete the outputs otherwise.
pub(super) async fn the_stub_keeps_outputs(launched: &Launched) -> anyhow::Result<()> {
    apply(&launched.source, &STUB_EXAMPLE.replace(REMOTE, NAMESPACE)).await?;
    steps_run(launched, STUBBED, CLUSTERS[0], None, NAMESPACE).await
}

/// Applies the examples, for Argo in the namespace of these tests.
async fn prepare(launched: &Launched) -> anyhow::Result<()> {
    let (home, source) = (&launched.home, &launched.source);
    home.kubectl(["create", "namespace", LOCAL]).await?;
    home.kubectl(["label", "namespace", LOCAL, "multicluster-service-account=enabled"]).await?;
    wait_for_default_service_account(home, LOCAL).await;
    source.kubectl(["create", "namespace", REMOTE]).await?;
    wait_for_default_service_account(source, REMOTE).await;
    let argo = format!("namespace: {NAMESPACE}");
    apply(home, &TARGET_EXAMPLE.replace("namespace: argo", &argo)).await?;
    // Fails if the kind lacks a field.
    home.kubectl(["create", "--dry-run=server", "--validate=strict", "-f", WORKFLOW_EXAMPLE]).await?;
    apply(source, SOURCE_EXAMPLE).await?;
    apply(source, &SOURCE_EXAMPLE.replace(REMOTE, NAMESPACE)).await
}

/// The first design: a rest config of client-go for each cluster, with all fields of the design's example.
async fn create_clusters(launched: &Launched) -> anyhow::Result<()> {
    let source = &launched.source;
    let token = token(source, NAMESPACE).await?;
    let config = json!({
        "Host": source.server(),
        "APIPath": "",
        "Username": "",
        "Password": "",
        "BearerToken": token,
        "TLSClientConfig": {
            "Insecure": false,
            "ServerName": "",
            "CertFile": "",
            "KeyFile": "",
            "CAFile": "",
            "CertData": null,
            "KeyData": null,
            "CAData": BASE64_STANDARD.encode(source.ca_pem()),
            "NextProtos": null,
        },
        "UserAgent": "",
        "DisableCompression": false,
        "QPS": 0,
        "Burst": 0,
        "Timeout": 0,
    });
    create_secret(launched, NAMESPACE, "clusters", CLUSTERS[0], &config).await
}

/// The second design: a kubeconfig with all clusters. Returns it without clusters, for other namespaces with workflows.
async fn create_kubeconfig(launched: &Launched) -> anyhow::Result<Value> {
    let (source, cluster) = (&launched.source, CLUSTERS[1]);
    let token = token(source, REMOTE).await?;
    let context = json!({ "cluster": cluster, "namespace": REMOTE, "user": cluster });
    let users = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": cluster,
        "contexts": [{ "name": cluster, "context": context }],
        "users": [{ "name": cluster, "user": { "token": token } }],
    });
    let authority = BASE64_STANDARD.encode(source.ca_pem());
    let endpoint = json!({ "server": source.server(), "certificate-authority-data": authority });
    let mut kubeconfig = users.clone();
    kubeconfig["clusters"] = json!([{ "name": cluster, "cluster": endpoint }]);
    create_secret(launched, NAMESPACE, "kubeconfig", "value", &kubeconfig).await?;
    Ok(users)
}

/// The third design: a profile for a workflow namespace and a namespace of the cluster.
async fn create_profile(launched: &Launched) -> anyhow::Result<()> {
    let account = ["export", ACCOUNT, "-n", NAMESPACE, "--context", "c2"];
    let document = ["--format", "argo-profile", "--cluster-name", CLUSTERS[2]];
    let scope = ["--secret-namespace", NAMESPACE, "--workflow-namespace", NAMESPACE];
    let args = account.into_iter().chain(document).chain(scope);
    apply(&launched.home, &kubemcsa_ok(&launched.kubeconfig, args)?).await
}

/// Runs a workflow whose templates name a cluster and perhaps a namespace in their fields. Its steps run in namespace
/// `remote` of the source.
async fn steps_run(
    launched: &Launched,
    name: &str,
    cluster: &str,
    namespace: Option<&str>,
    remote: &str,
) -> anyhow::Result<()> {
    let [main, compute, check] = compute_and_check();
    let [compute, check] = [compute, check].map(|mut template| {
        template["cluster"] = json!(cluster);
        if let Some(namespace) = namespace {
            template["namespace"] = json!(namespace);
        }
        template
    });
    let workflow = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "entrypoint": "main", "templates": [main, compute, check] },
    });
    create_workflow(launched, workflow).await?;
    ended(launched, name, "Succeeded").await?;
    let here = pods_of(&launched.home, NAMESPACE, name).await?;
    let there = pods_of(&launched.source, remote, name).await?;
    let runs_there = |pod: &Pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        node == Some(cluster) && there.iter().any(|remote| remote.name_any() == pod.name_any())
    };
    ensure!(here.len() == 2 && there.len() == 2 && here.iter().all(runs_there), "{here:#?} {there:#?}");
    let line = format!("msg=cluster cluster={cluster} managedNamespace={remote}");
    ensure!(launched.launcher().log().contains(&line), "the launcher has not logged {line}");
    Ok(())
}

/// The second design: the Secret of Argo's namespace gives no other namespace access.
async fn another_namespace_needs_a_kubeconfig_of_its_own(
    launched: &Launched,
    cluster: &str,
    users: &Value,
) -> anyhow::Result<()> {
    create(launched.home.client(), LOCAL, &placed("plain", cluster)).await?;
    event(launched, LOCAL, "plain", "NoLaunchImport").await;
    create_secret(launched, LOCAL, "kubeconfig", "value", users).await?;
    phase(launched, LOCAL, "plain", "Succeeded").await;
    Api::<Pod>::namespaced(launched.source.client(), REMOTE).get("plain").await?;
    Ok(())
}

pub(super) async fn nodes_end_with_the_secrets(launched: &Launched) -> anyhow::Result<()> {
    let home = &launched.home;
    let [first, second, third] = CLUSTERS;
    let workflows = [first, second, third, STUBBED];
    home.kubectl(["-n", NAMESPACE, "delete", "workflow"].iter().chain(&workflows)).await?;
    home.kubectl(["-n", LOCAL, "delete", "pod", "plain", "--wait=false"]).await?;
    eventually_within(DEADLINE, "the pods are gone in both clusters", async || {
        let mut left = pods(home.client(), LOCAL).await?;
        left.extend(pods(launched.source.client(), REMOTE).await?);
        for workflow in workflows {
            let here = pods_of(home, NAMESPACE, workflow).await?;
            let there = pods_of(&launched.source, NAMESPACE, workflow).await?;
            left.extend(here.iter().chain(&there).map(ResourceExt::name_any));
        }
        ensure!(left.is_empty(), "{left:?}");
        anyhow::Ok(())
    })
    .await;
    home.kubectl(["-n", NAMESPACE, "delete", "secret", "clusters", "kubeconfig", "argo.generation-3"])
        .await?;
    let nodes = Api::<Node>::all(home.client());
    for cluster in CLUSTERS {
        eventually_within(DEADLINE, format!("node {cluster} is gone"), async || {
            ensure!(nodes.get_opt(cluster).await?.is_none(), "it exists");
            anyhow::Ok(())
        })
        .await;
    }
    Ok(())
}

/// The ConfigMap of Argo's controller has the name. The controller of Argo 4.0 does not know the key, and exits, so it
/// must not run here. The home cluster has no node, so the pod stays pending.
pub(super) async fn the_home_cluster_has_a_name(launched: &Launched) -> anyhow::Result<()> {
    let home = &launched.home;
    let change = r#"{ "data": { "config": null, "cluster": "cluster-0" } }"#;
    let patch = ["patch", "configmap", "workflow-controller-configmap", "--type=merge", "-p", change];
    home.kubectl(["-n", NAMESPACE].iter().chain(&patch)).await?;
    eventually_within(DEADLINE, "the webhook knows the name", async || {
        let log = launched.daemons().webhook.log();
        ensure!(log.contains("msg=cluster cluster=cluster-0 managedNamespace="), "{log}");
        anyhow::Ok(())
    })
    .await;
    let pod = create(home.client(), NAMESPACE, &placed("stays", "cluster-0")).await?;
    let spec = serde_json::to_string(&pod.spec)?;
    // It excludes virtual nodes, and tolerates none.
    ensure!(spec.contains("DoesNotExist") && !spec.contains("cluster-0"), "{spec}");
    home.kubectl(["-n", NAMESPACE, "delete", "pod", "stays"]).await.map(drop)
}

/// A pod that must run in this cluster.
fn placed(name: &str, cluster: &str) -> Value {
    let mut pod = shell(name, "true");
    pod["metadata"]["annotations"] = json!({ CLUSTER_NAME: cluster });
    pod["spec"]["nodeSelector"] = json!({});
    pod
}

async fn apply(cluster: &Cluster, yaml: &str) -> anyhow::Result<()> {
    let file = cluster.dir().join("applied.yaml");
    std::fs::write(&file, yaml)?;
    cluster.kubectl(["apply", "-f", &file.display().to_string()]).await.map(drop)
}

async fn token(source: &Cluster, namespace: &str) -> anyhow::Result<String> {
    let token = source.kubectl(["-n", namespace, "create", "token", ACCOUNT, "--duration=24h"]).await?;
    Ok(token.trim().to_owned())
}

/// Creates a Secret at home.
async fn create_secret(
    launched: &Launched,
    namespace: &str,
    name: &str,
    key: &str,
    value: &Value,
) -> anyhow::Result<()> {
    let secret = json!({ "metadata": { "name": name }, "stringData": { key: value.to_string() } });
    let secrets = Api::<Secret>::namespaced(launched.home.client(), namespace);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    Ok(())
}

/// The pods of a workflow in a namespace of a cluster.
async fn pods_of(cluster: &Cluster, namespace: &str, workflow: &str) -> anyhow::Result<Vec<Pod>> {
    let selected = ListParams::default().labels(&format!("workflows.argoproj.io/workflow={workflow}"));
    Ok(Api::namespaced(cluster.client(), namespace).list(&selected).await?.items)
}
