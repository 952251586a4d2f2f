//! An importer that is confined to some namespaces: it has a Role in each. Of the cluster, it reads only the policies.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{
    AuditEvent, Cluster, Imports, Process, apply_policy, bootstrap, create_pod_lister, eventually,
    eventually_within, kubemcsa_ok, pod_lister_import, program, tokens_minted_in, write_merged_kubeconfig,
};
use serde_json::json;

/// The importer retries a namespace that it can't list after 30 s to 60 s.
const DEADLINE: Duration = Duration::from_secs(90);

/// Starts an importer with the rights of the installation, confined to two namespaces in which it has a Role and one in
/// which it has none.
async fn importer(target: &Cluster, name: &str) -> anyhow::Result<Process> {
    let kubeconfig = target.kubeconfig_of(SYSTEM_NAMESPACE, "importer").await?;
    let mut command = Command::new(program("mcsa-importer")?);
    command.arg("--kubeconfig").arg(kubeconfig).args(["--namespaces", "a,b", "--namespaces", "late,a"]);
    command.args(["--probe-address", "127.0.0.1:0", "--lease-duration", "3"]);
    let process = Process::spawn(name, &command, target.dir().join(format!("{name}.log")))?;
    eventually("the importer leads", async || {
        process.check()?;
        ensure!(process.log().contains(" leading"), "{}", process.log());
        anyhow::Ok(())
    })
    .await;
    Ok(process)
}

/// Waits until the metric has this value for a namespace.
async fn wait_for_served(importer: &Process, namespace: &str, served: u8) {
    let sample = format!("mcsa_importer_namespace_served{{import_namespace=\"{namespace}\"}} {served}");
    eventually_within(DEADLINE, &sample, async || {
        let metrics = importer.get("/metrics").await?;
        ensure!(metrics.lines().any(|line| line == sample), "{metrics}");
        anyhow::Ok(())
    })
    .await;
}

fn install(kubeconfig: &Path, namespaces: &str) -> anyhow::Result<()> {
    let args = ["install", "--context", "c1", "--no-wait", "--namespaces", namespaces];
    kubemcsa_ok(kubeconfig, args).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn confined_importer_makes_no_calls_in_other_namespaces() -> anyhow::Result<()> {
    let cluster = |name| Cluster::builder(name).audit_log().start();
    let (target, source) = tokio::try_join!(cluster("c1"), cluster("c2"))?;
    for namespace in ["a", "b", "other"] {
        target.kubectl(["create", "namespace", namespace]).await?;
    }
    let kubeconfig = target.dir().join("kubeconfig-of-both");
    write_merged_kubeconfig(&[&target, &source], &kubeconfig)?;
    install(&kubeconfig, "a,b")?;
    bootstrap(&kubeconfig, &target, &source)?;
    create_pod_lister(&source, "lister").await?;
    let imports = |namespace| Imports::of(target.client(), namespace);
    imports("other").create(&pod_lister_import("ignored", "c2", "lister")).await?;

    // A namespace without a Role does not affect others, and the metric reports it.
    let first = importer(&target, "first").await?;
    for namespace in ["a", "b"] {
        imports(namespace).create(&pod_lister_import("i", "c2", "lister")).await?;
        eventually(format!("{namespace} is served"), async || imports(namespace).ready("i").await).await;
    }
    ensure!(first.get("/readyz").await? == "ok\n");
    wait_for_served(&first, "late", 0).await;
    wait_for_served(&first, "a", 1).await;
    wait_for_served(&first, SYSTEM_NAMESPACE, 1).await;

    // The missing namespace and its Role are created.
    target.kubectl(["create", "namespace", "late"]).await?;
    imports("late").create(&pod_lister_import("i", "c2", "lister")).await?;
    install(&kubeconfig, "a,b,late")?;
    eventually_within(DEADLINE, "late is served", async || imports("late").ready("i").await).await;
    wait_for_served(&first, "late", 1).await;
    let log = first.log();
    let count = |text: &str| log.lines().filter(|line| line.contains(text) && line.contains("late")).count();
    ensure!(count("can't be listed") == 1 && count("can be listed now") == 1, "{log}");
    // The link is refreshed like other imports.
    let links = imports(SYSTEM_NAMESPACE);
    eventually("the link is ready", async || links.ready("c2").await).await;
    ensure!(first.terminate().await?.success(), "{}", first.log_tail(5));

    // A Role that was missing for a while costs no token, because imports are listed after their Secrets.
    let minted = tokens_minted_in(&source, "lister")?;
    ensure!(minted == 3, "{minted} tokens for three imports");
    install(&kubeconfig, "a,late")?;
    let second = importer(&target, "second").await?;
    wait_for_served(&second, "b", 0).await;
    install(&kubeconfig, "a,b,late")?;
    wait_for_served(&second, "b", 1).await;
    imports("b").create(&pod_lister_import("next", "c2", "lister")).await?;
    eventually("b is served again", async || imports("b").ready("next").await).await;
    let minted = tokens_minted_in(&source, "lister")?;
    ensure!(minted == 4, "{minted} tokens for four imports");

    // It obeys the policies of the cluster, and reads the labels of its namespaces. Links need no policy.
    let selects = json!({
        "clusterName": "c2", "namespaceSelector": { "matchLabels": { "team": "a" } },
        "serviceAccounts": [{ "namespace": "lister" }],
    });
    apply_policy(&target, "team-a", &selects).await?;
    let refused = async |imports: Imports, name: &str| {
        eventually(format!("{name} is not permitted"), async || {
            imports.condition(name, "Refreshed", "False", Some("NotPermitted")).await
        })
        .await
    };
    refused(imports("a"), "i").await;
    for namespace in ["a", "b"] {
        imports(namespace).create(&pod_lister_import("policed", "c2", "lister")).await?;
        refused(imports(namespace), "policed").await;
    }
    let minted = tokens_minted_in(&source, "lister")?;
    ensure!(minted == 4, "{minted} tokens for four permitted imports");
    target.kubectl(["label", "namespace", "a", "team=a"]).await?;
    eventually("the label permits the import", async || imports("a").ready("policed").await).await;
    imports("b").condition("policed", "Refreshed", "False", Some("NotPermitted")).await?;
    links.condition("c2", "Refreshed", "True", None).await?;

    let ignored = imports("other").api.get("ignored").await?;
    ensure!(ignored.status.is_none(), "{:?}", ignored.status);
    let secrets = imports("other").secrets.list(&Default::default()).await?.items;
    ensure!(secrets.is_empty(), "a namespace that is not served has {} Secrets", secrets.len());
    ensure_calls_are_granted(&target.audit_events()?)
}

/// Fails if a request is for another namespace, or cluster-wide and not for import policies, or if one is refused for
/// another reason than a missing Role.
fn ensure_calls_are_granted(events: &[AuditEvent]) -> anyhow::Result<()> {
    let importer = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:importer");
    let calls: Vec<_> = events.iter().filter(|event| event.user.username == importer).collect();
    ensure!(calls.len() > 20, "{} calls", calls.len());
    for call in calls {
        let object = call.object_ref.clone().unwrap_or_default();
        let is_read = ["list", "watch"].contains(&call.verb.as_str());
        // A field selector names the Namespace.
        let namespace = if object.resource == "namespaces" { &object.name } else { &object.namespace };
        let is_policy = is_read && object.resource == "importpolicies";
        ensure!(is_policy || ["a", "b", "late", SYSTEM_NAMESPACE].contains(&namespace.as_str()), "{call:?}");
        let is_refused = call.response_status.as_ref().is_some_and(|status| status.code == 403);
        let is_missing = is_read && ["b", "late"].contains(&namespace.as_str());
        ensure!(!is_refused || is_missing, "{call:?}");
    }
    Ok(())
}
