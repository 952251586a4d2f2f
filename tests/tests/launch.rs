//! `kubemcsa launch`: what it grants in both clusters, and that it takes all of it back. No launcher runs: the tests
//! create the virtual node, and finish pods.

mod argo;

use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context, ensure};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::launch::{
    CAPACITY, FIELD_MANAGER, LABEL, LAUNCHER, NODE_LABEL, NODE_MANAGED_BY, NODE_TAINT, STOPPING,
};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, key};
use mcsa_tests::{
    Cluster, Daemons, Imports, client, eventually, kubemcsa, kubemcsa_ok, wait_for_default_service_account,
    write_merged_kubeconfig,
};
use serde_json::{Value, json};

/// The flags that name both clusters.
const BOTH: [&str; 4] = ["--target-context", "c1", "--source-context", "c2"];

/// A target `c1` with an installation, and a source `c2`.
struct Pair {
    target: Cluster,
    source: Cluster,
    kubeconfig: PathBuf,
}

impl Pair {
    async fn start() -> anyhow::Result<Self> {
        let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
        let kubeconfig = target.dir().join("kubeconfig-of-both");
        write_merged_kubeconfig(&[&target, &source], &kubeconfig)?;
        kubemcsa_ok(&kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
        Ok(Self { target, source, kubeconfig })
    }

    /// Runs a command about the two clusters. `command` is split at spaces.
    fn attempt(&self, command: &str) -> anyhow::Result<Output> {
        kubemcsa(&self.kubeconfig, command.split(' ').chain(BOTH))
    }

    /// Runs a command that must succeed; returns its stderr.
    fn run(&self, command: &str) -> anyhow::Result<String> {
        let output = self.attempt(command)?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "{command} ended with {}:\n{stderr}", output.status);
        Ok(stderr)
    }

    /// Runs a command that must fail; returns its stderr.
    fn refused(&self, command: &str) -> anyhow::Result<String> {
        let output = self.attempt(command)?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{command} ended with {}:\n{stderr}", output.status);
        Ok(stderr)
    }

    /// Whether the launcher's service account in this namespace of the source may do this there.
    async fn may_in_source(&self, namespace: &str, verb: &str, resource: &str) -> anyhow::Result<bool> {
        may(&self.source, (namespace, "launcher-c1"), (verb, resource, None), namespace).await
    }

    /// Whether the launcher may read this Secret of the target.
    async fn launcher_may_read(&self, namespace: &str, secret: &str) -> anyhow::Result<bool> {
        may(&self.target, (SYSTEM_NAMESPACE, LAUNCHER), ("get", "secrets", Some(secret)), namespace).await
    }

    /// The objects that launch has created, apart from namespaces and what all launches of a link share.
    async fn created(&self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for (cluster, kinds) in [
            (&self.target, "serviceaccountimports,roles,rolebindings"),
            (&self.source, "serviceaccounts,roles,rolebindings"),
        ] {
            let columns = "custom-columns=K:.kind,N:.metadata.namespace,A:.metadata.name";
            let found = cluster.kubectl(["get", kinds, "-A", "--no-headers", "-o", columns]).await?;
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            let is_launch = |line: &String| line.contains("launch-") || line.contains("launcher-");
            let is_grant = |line: &String| line.contains("team-") && line.contains("-link-c1");
            lines.extend(found.lines().map(words).filter(|line| is_launch(line) || is_grant(line)));
        }
        Ok(lines)
    }

    /// What launch has created in a namespace of the source that has Argo's kinds.
    async fn launched_in_source(&self, namespace: &str) -> anyhow::Result<String> {
        let label = "app.kubernetes.io/part-of=multicluster-service-account";
        let kinds = "serviceaccounts,roles,rolebindings,workflows";
        self.source.kubectl(["-n", namespace, "get", kinds, "-l", label, "-o", "name"]).await
    }

    /// Creates a pod of the target on the virtual node.
    async fn create_pod(&self, namespace: &str, name: &str) -> anyhow::Result<Api<Pod>> {
        wait_for_default_service_account(&self.target, namespace).await;
        let spec = json!({ "nodeName": "c2", "containers": [{ "name": "one", "image": "i" }] });
        let pod = serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec }))?;
        let pods = Api::<Pod>::namespaced(self.target.client(), namespace);
        pods.create(&PostParams::default(), &pod).await?;
        Ok(pods)
    }

    /// Creates the virtual node, as the launcher does.
    async fn create_node(&self) -> anyhow::Result<()> {
        let taint = json!({ "key": NODE_TAINT, "value": "c2", "effect": "NoSchedule" });
        let node = json!({ "metadata": {
            "name": "c2", "labels": { NODE_LABEL: "c2" }, "annotations": { NODE_MANAGED_BY: FIELD_MANAGER } }, "spec": { "taints": [taint] } });
        let nodes = Api::<Node>::all(self.target.client());
        nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
        Ok(())
    }

    /// The reasons that `kubemcsa check` finds.
    fn findings(&self) -> anyhow::Result<Vec<String>> {
        let output = kubemcsa(&self.kubeconfig, ["check", "--context", "c1", "-o", "json"])?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let findings = report["findings"].as_array().context("no findings")?;
        Ok(findings.iter().filter_map(|it| it["reason"].as_str().map(str::to_owned)).collect())
    }
}

/// Whether a service account may do this: `(verb, resource, name)`.
async fn may(
    cluster: &Cluster,
    (account_namespace, account): (&str, &str),
    (verb, resource, name): (&str, &str, Option<&str>),
    namespace: &str,
) -> anyhow::Result<bool> {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{account_namespace}:{account}")),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.into()),
                verb: Some(verb.into()),
                resource: Some(resource.into()),
                subresource,
                name: name.map(str::to_owned),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let reviews = Api::<SubjectAccessReview>::all(cluster.client());
    let review = reviews.create(&PostParams::default(), &review).await?;
    Ok(review.status.context("the review has no status")?.allowed)
}

#[tokio::test(flavor = "multi_thread")]
async fn launch_grants_and_stop_takes_back() -> anyhow::Result<()> {
    let pair = Pair::start().await?;
    pair.create_node().await?;
    launch_grants_one_namespace_until_it_is_stopped(&pair).await?;
    // The next link has no list of what it may import.
    pair.run("unlink")?;
    namespaces_share_an_account_until_the_last_is_stopped(&pair).await
}

async fn launch_grants_one_namespace_until_it_is_stopped(pair: &Pair) -> anyhow::Result<()> {
    let stderr = pair.refused("launch team-a")?;
    ensure!(
        stderr.contains("not linked to c2")
            && stderr.contains("link it first: kubemcsa bootstrap --target-context c1 --source-context c2"),
        "{stderr}"
    );
    pair.source.kubectl(["create", "namespace", "allowed"]).await?;
    pair.run("bootstrap --allow allowed")?;
    let stderr = pair.refused("launch team-a")?;
    ensure!(stderr.contains("kubectl --context c1 create namespace team-a"), "{stderr}");
    pair.target.kubectl(["create", "namespace", "team-a"]).await?;

    pair.run("launch team-a --dry-run")?;
    ensure!(pair.created().await?.is_empty(), "a dry run has created {:?}", pair.created().await?);
    ensure!(pair.source.kubectl(["get", "namespace", "team-a"]).await.is_err(), "a dry run created it");

    // What it grants, and nothing else.
    let stderr = pair.run("launch team-a --capacity cpu=4,pods=10 --no-wait")?;
    ensure!(stderr.contains("c2  namespace/team-a created"), "{stderr}");
    ensure!(stderr.contains("may act as any service account of team-a"), "{stderr}");
    for (verb, resource, expected) in [
        ("create", "pods", true),
        ("watch", "pods", true),
        ("get", "pods/log", true),
        ("create", "pods/exec", true),
        ("list", "events", true),
        ("create", "configmaps", false),
        ("get", "configmaps", false),
        ("create", "secrets", false),
        ("get", "secrets", false),
        ("update", "pods", false),
        ("create", "serviceaccounts/token", false),
    ] {
        let allowed = pair.may_in_source("team-a", verb, resource).await?;
        ensure!(allowed == expected, "the launcher may {verb} {resource} in the source: {allowed}");
    }
    let elsewhere = may(&pair.source, ("team-a", "launcher-c1"), ("create", "pods", None), "allowed").await?;
    ensure!(!elsewhere, "the launcher may create pods in another namespace");
    ensure!(pair.launcher_may_read("team-a", "launch-c2-token").await?);
    ensure!(!pair.launcher_may_read("team-a", "other").await?);
    let mint = ("create", "serviceaccounts/token", Some("default"));
    let other = may(&pair.source, (SYSTEM_NAMESPACE, "c1"), mint, "team-a").await?;
    ensure!(!other, "the link may mint tokens of other service accounts");

    // The second run waits for the importer, and keeps what the first one was told.
    let daemons = Daemons::start(&pair.target, pair.target.dir(), "info").await?;
    let stderr = pair.run("launch team-a")?;
    ensure!(stderr.contains("import team-a/launch-c2 is ready"), "{stderr}");
    ensure!(!stderr.contains("created") && !stderr.contains("configured"), "{stderr}");
    let imports = Imports::of(pair.target.client(), "team-a");
    let import = imports.ready("launch-c2").await?;
    ensure!(import.annotations()[CAPACITY] == "cpu=4,pods=10");

    // The import's token has the rights.
    let values = imports.values("launch-c2-token").await?;
    let remote = client(Kubeconfig::from_yaml(values.get(key::KUBECONFIG).context("no kubeconfig")?)?)?;
    wait_for_default_service_account(&pair.source, "team-a").await;
    let pods = Api::<Pod>::namespaced(remote, "team-a");
    let pod =
        |spec: Value| serde_json::from_value::<Pod>(json!({ "metadata": { "name": "one" }, "spec": spec }));
    let containers = json!([{ "name": "one", "image": "i" }]);
    let on_node = pod(json!({ "hostNetwork": true, "containers": containers }))?;
    let error = pods.create(&PostParams::default(), &on_node).await.err().context("it may use the node")?;
    ensure!(error.to_string().contains("PodSecurity"), "{error}");
    pods.create(&PostParams::default(), &pod(json!({ "containers": containers }))?).await?;

    // check finds a missing Role, and launch repairs it.
    ensure!(!pair.findings()?.contains(&"LauncherForbidden".to_owned()));
    pair.target.kubectl(["-n", "team-a", "delete", "role", "launch-c2"]).await?;
    ensure!(pair.findings()?.contains(&"LauncherForbidden".to_owned()), "{:?}", pair.findings()?);
    pair.run("launch team-a")?;
    ensure!(!pair.findings()?.contains(&"LauncherForbidden".to_owned()));
    ensure!(!pair.run("launch team-a --capacity none")?.contains("warning: namespace"));

    stop_waits_for_pods(pair).await?;
    drop(daemons);
    Ok(())
}

async fn stop_waits_for_pods(pair: &Pair) -> anyhow::Result<()> {
    let pods = pair.create_pod("team-a", "busy").await?;
    let stderr = pair.refused("launch team-a --stop --timeout 1s")?;
    ensure!(stderr.contains("1 pod of namespace team-a still on node c2: busy"), "{stderr}");
    // The webhook places no new pods, until launch is run again.
    let imports = Imports::of(pair.target.client(), "team-a");
    let label = async || anyhow::Ok(imports.api.get("launch-c2").await?.labels().get(LABEL).cloned());
    ensure!(label().await?.as_deref() == Some(STOPPING));
    ensure!(pair.findings()?.contains(&"LaunchStopping".to_owned()), "{:?}", pair.findings()?);
    pair.run("launch team-a")?;
    ensure!(label().await?.as_deref() == Some("true"));
    pair.refused("launch team-a --stop --timeout 1s")?;
    ensure!(!pair.created().await?.is_empty(), "stop has deleted something before the pod has ended");

    // Wrong names delete nothing.
    let before = pair.created().await?;
    let stderr = pair.refused("launch team-a --stop --source-name prod")?;
    ensure!(stderr.contains("linked as c2, not as prod"), "{stderr}");
    let stderr = pair.refused("launch team-a --stop --target-name west")?;
    ensure!(stderr.contains("knows this target as c1, not as west"), "{stderr}");
    ensure!(pair.created().await? == before, "a wrong name has deleted something");

    let stderr = pair.run("launch team-a --stop --now --dry-run")?;
    ensure!(stderr.contains("pod/busy -n team-a deleted (dry run)"), "{stderr}");
    ensure!(
        stderr
            .contains("serviceaccountimport.multicluster.admiralty.io/launch-c2 -n team-a deleted (dry run)")
    );
    ensure!(stderr.contains("serviceaccount/launcher-c1 -n team-a deleted (dry run)"), "{stderr}");
    ensure!(pair.created().await? == before, "a dry run has deleted something");

    // --now deletes the pod, which the launcher finishes.
    let finish = async || {
        let pod = pods.get("busy").await?;
        ensure!(pod.metadata.deletion_timestamp.is_some(), "the pod is not deleted");
        pods.delete("busy", &DeleteParams::default().grace_period(0)).await?;
        anyhow::Ok(())
    };
    let kubeconfig = pair.kubeconfig.clone();
    let stop =
        move || kubemcsa_ok(&kubeconfig, ["launch", "team-a", "--stop", "--now"].into_iter().chain(BOTH));
    let stop = tokio::task::spawn_blocking(stop);
    eventually("the pod is deleted", finish).await;
    stop.await??;
    ensure!(pair.created().await?.is_empty(), "left: {:?}", pair.created().await?);
    pair.source.kubectl(["get", "namespace", "team-a"]).await?;
    let stderr = pair.run("launch team-a --stop")?;
    ensure!(stderr.contains("nothing to delete"), "{stderr}");
    Ok(())
}

async fn namespaces_share_an_account_until_the_last_is_stopped(pair: &Pair) -> anyhow::Result<()> {
    pair.run("bootstrap")?;
    for namespace in ["team-b", "team-c"] {
        pair.target.kubectl(["create", "namespace", namespace]).await?;
    }
    pair.source.kubectl(["create", "namespace", "team-b"]).await?;
    let stderr = pair.run("launch team-b --no-wait")?;
    let label = "kubectl --context c2 label namespace team-b pod-security.kubernetes.io/enforce=baseline";
    ensure!(stderr.contains("enforces no Pod Security level") && stderr.contains(label), "{stderr}");
    // A link that may import everything needs no other right.
    ensure!(!pair.created().await?.iter().any(|line| line.contains("-link-")), "{:?}", pair.created().await?);

    // The manifests can be applied by hand.
    for (side, cluster) in [("source", &pair.source), ("target", &pair.target)] {
        let command = format!("launch team-c --remote-namespace team-b -o yaml --side {side}");
        let yaml = kubemcsa_ok(&pair.kubeconfig, command.split(' ').chain(BOTH))?;
        let file = cluster.dir().join("launch.yaml");
        std::fs::write(&file, yaml)?;
        cluster.kubectl(["apply", "--server-side", "-f", &file.display().to_string()]).await?;
    }
    ensure!(pair.launcher_may_read("team-c", "launch-c2-team-b-token").await?);

    // A finished pod delays nothing.
    let pods = pair.create_pod("team-b", "done").await?;
    let finished = Patch::Merge(json!({ "status": { "phase": "Succeeded" } }));
    pods.patch_status("done", &PatchParams::default(), &finished).await?;
    let stderr = pair.run("launch team-b --stop")?;
    ensure!(stderr.contains("kept service account team-b/launcher-c1: team-c of c1 use"), "{stderr}");
    ensure!(pair.may_in_source("team-b", "create", "pods").await?);
    // As after an interruption: the next run finishes.
    pair.target.kubectl(["-n", "team-c", "delete", "serviceaccountimport", "launch-c2-team-b"]).await?;
    pair.source.kubectl(["-n", "team-b", "delete", "rolebinding", "launcher-c1"]).await?;
    pair.run("launch team-c --stop --remote-namespace team-b")?;
    ensure!(pair.created().await?.is_empty(), "left: {:?}", pair.created().await?);

    // Without the source, the target is cleaned up.
    pair.run("launch team-b --no-wait")?;
    let local = "launch team-b --stop --local-only --target-context c1 --source-name c2";
    kubemcsa_ok(&pair.kubeconfig, local.split(' '))?;
    ensure!(
        !pair.created().await?.iter().any(|line| line.contains("launch-")),
        "{:?}",
        pair.created().await?
    );
    ensure!(pair.may_in_source("team-b", "create", "pods").await?);

    stop_without_argo_needs_no_rights_on_its_kinds(pair).await?;
    argo::needs_its_kinds_and_an_owner_of_outputs(pair).await?;

    // Unlink and uninstall refuse to abandon pods.
    pair.run("launch team-b --argo --no-wait")?;
    pair.create_pod("team-b", "busy").await?;
    let stderr = pair.refused("unlink")?;
    let stop = "kubemcsa launch team-b --stop --target-context c1 --source-context c2";
    ensure!(stderr.contains(stop) && stderr.contains("in c2: 1 of team-b"), "{stderr}");
    let uninstall = ["uninstall", "--context", "c1", "--delete-imports"];
    let output = kubemcsa(&pair.kubeconfig, uninstall)?;
    let stderr = String::from_utf8(output.stderr)?;
    let stop =
        "launch team-b --stop --target-context c1 --target-name c1 --source-context c2 --source-name c2";
    ensure!(output.status.code() == Some(1) && stderr.contains(stop), "{stderr}");
    ensure!(pair.may_in_source("team-b", "create", "pods").await?, "a refused command has deleted rights");

    // They leave nothing of a launch that was not stopped.
    let stderr = pair.run("unlink --abandon-pods")?;
    ensure!(stderr.contains("abandoned: in c2: 1 of team-b"), "{stderr}");
    ensure!(!pair.may_in_source("team-b", "create", "pods").await?, "unlink has left the launcher's rights");
    let left = pair.launched_in_source("team-b").await?;
    ensure!(left.is_empty(), "unlink has left {left}");
    kubemcsa_ok(&pair.kubeconfig, uninstall.into_iter().chain(["--abandon-pods"]))?;
    ensure!(pair.created().await.is_err(), "the CRD is still there");
    let left = pair.target.kubectl(["get", "roles,rolebindings", "-n", "team-b", "-o", "name"]).await?;
    ensure!(left.is_empty(), "left: {left}");
    let nodes = Api::<Node>::all(pair.target.client());
    ensure!(nodes.get_opt("c2").await?.is_none(), "the virtual node is left");
    Ok(())
}

/// The user may do everything in the source but read Workflows.
async fn stop_without_argo_needs_no_rights_on_its_kinds(pair: &Pair) -> anyhow::Result<()> {
    pair.run("launch team-b --no-wait")?;
    let groups = ["", "rbac.authorization.k8s.io", "apiextensions.k8s.io"];
    let rules = json!([{ "apiGroups": groups, "resources": ["*"], "verbs": ["*"] }]);
    let role = serde_json::from_value(json!({ "metadata": { "name": "no-argo" }, "rules": rules }))?;
    Api::<ClusterRole>::all(pair.source.client()).create(&PostParams::default(), &role).await?;
    let bind = ["create", "clusterrolebinding", "no-argo", "--clusterrole=no-argo", "--user=no-argo"];
    pair.source.kubectl(bind).await?;
    let mut config = Kubeconfig::read_from(&pair.kubeconfig)?;
    let users = config.auth_infos.iter_mut().filter(|user| user.name.contains("c2"));
    for user in users {
        user.auth_info.as_mut().context("no user")?.impersonate = Some("no-argo".into());
    }
    let kubeconfig = pair.target.dir().join("kubeconfig-without-argo");
    std::fs::write(&kubeconfig, serde_json::to_vec(&config)?)?;
    kubemcsa_ok(&kubeconfig, "launch team-b --stop".split(' ').chain(BOTH))?;
    ensure!(pair.created().await?.is_empty(), "left: {:?}", pair.created().await?);
    Ok(())
}
