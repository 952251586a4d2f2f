//! Problems of namespaces and pods, and of an installation as a whole.

use anyhow::ensure;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::PostParams;
use mcsa_client::contract::IMPORT_NAME;
use mcsa_tests::{
    Cluster, ensure_no_tokens_in, eventually, kubemcsa, kubemcsa_ok, pod_lister_import, stored_tokens,
};
use serde_json::json;

use super::{Fixture, check, run_fix, run_in_shell};

fn deployment(name: &str, import: &str) -> anyhow::Result<Deployment> {
    let labels = json!({ "app": name });
    let template = json!({
        "metadata": { "labels": labels, "annotations": { IMPORT_NAME: import } },
        "spec": { "containers": [{ "name": "main", "image": "none" }] },
    });
    let spec = json!({ "replicas": 3, "selector": { "matchLabels": labels }, "template": template });
    Ok(serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec }))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_of_pods_have_fixes_that_work() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    let (target, source) = (&fixture.target, &fixture.source);
    let imports = fixture.namespace("team").await?;
    imports.create(&pod_lister_import("a", "c2", "team")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    let checked = eventually("there are no findings", async || {
        let checked = fixture.check()?;
        checked.no_findings().map(|()| checked)
    })
    .await;
    ensure!(checked.stderr.contains("1 link, 1 import, 0 pods"), "{}", checked.stderr);
    fixture.check()?.no_findings()?;
    check(&fixture.kubeconfig, &["-n", "team", "--context", "c1"])?.no_findings()?;
    let nowhere = kubemcsa(&fixture.kubeconfig, ["check", "-n", "tema"])?;
    let stderr = String::from_utf8(nowhere.stderr)?;
    ensure!(nowhere.status.code() == Some(1), "{stderr}");
    ensure!(stderr.contains("namespace tema does not exist in c1"), "{stderr}");
    ensure!(stderr.lines().count() == 1 && nowhere.stdout.is_empty(), "{stderr}");

    // This user can read everything, but not request checks.
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"] }]);
    let reader = serde_json::from_value(json!({ "metadata": { "name": "reader" }, "rules": rules }))?;
    Api::<ClusterRole>::all(target.client()).create(&PostParams::default(), &reader).await?;
    target.kubectl(["create", "serviceaccount", "reader"]).await?;
    let bound = ["clusterrolebinding", "reader", "--clusterrole=reader", "--serviceaccount=default:reader"];
    target.kubectl(["create"].iter().chain(&bound)).await?;
    let checked = check(&target.kubeconfig_of("default", "reader").await?, &[])?;
    ensure!(checked.code == Some(0) && checked.report["warnings"] == 1, "{:#}", checked.report);
    checked.finding("CheckNotRequested", "*")?;

    // The webhook is not enabled in the namespace.
    let deployments = Api::<Deployment>::namespaced(target.client(), "team");
    deployments.create(&PostParams::default(), &deployment("lister", "a")?).await?;
    deployments.create(&PostParams::default(), &deployment("lost", "b")?).await?;
    let annotation = format!("--annotations={IMPORT_NAME}=a");
    target.kubectl(["-n", "team", "run", "bare", "--image=none", &annotation]).await?;
    let fix = eventually("the namespace is not enabled", async || {
        let checked = fixture.check()?;
        let message = &checked.finding("NamespaceNotEnabled", "team")?["message"];
        ensure!(message.as_str().is_some_and(|message| message.contains("7 pods")), "{message}");
        checked.problem("NamespaceNotEnabled", "team")
    })
    .await;
    run_fix(&fix, target, source).await?;

    // The webhook is enabled now, but does not change existing pods. Nothing would create a bare pod again.
    let fix = fixture.check()?.problem("PodWithoutMount", "bare")?;
    run_in_shell(&fix, target).await?;
    let bare = target.kubectl(["-n", "team", "get", "pod", "bare", "-o", "yaml"]).await?;
    ensure!(bare.contains("secretName: a-token"), "the new pod does not mount the import: {bare}");
    let checked = fixture.check()?;
    checked.problem("ImportNotFound", "lost")?;
    let fix = checked.problem("PodWithoutMount", "lister")?;
    ensure!(fix == "kubectl --context c1 -n team rollout restart deployment lister", "{fix}");
    ensure!(checked.report["problems"] == 2, "one finding for each controller: {:#}", checked.report);
    run_fix(&fix, target, source).await?;
    // New pods never become ready without nodes, so the rollout keeps the old ones.
    target.kubectl(["-n", "team", "delete", "pods", "--all", "--force", "--grace-period=0"]).await?;
    let fix =
        eventually("new pods are refused", async || fixture.check()?.problem("PodsRefused", "lost")).await;
    ensure!(fix == "kubectl --context c1 -n team get serviceaccountimports", "{fix}");
    deployments.delete("lost", &Default::default()).await?;
    eventually("there are no findings again", async || fixture.check()?.no_findings()).await;

    // A pod that waits for a Secret.
    imports.create(&pod_lister_import("away", "c2", "nowhere")).await?;
    let lacks = eventually("the service account is missing", async || {
        fixture.check()?.problem("ServiceAccountNotFound", "away")
    })
    .await;
    ensure!(
        lacks == "kubectl --context SOURCE_CONTEXT -n nowhere create serviceaccount pod-lister",
        "{lacks}"
    );
    deployments.create(&PostParams::default(), &deployment("waits", "away")?).await?;
    eventually("pods wait", async || {
        let checked = fixture.check()?;
        let finding = checked.finding("PodWaitsForSecret", "waits")?;
        ensure!(finding["severity"] == "Warning", "{finding}");
        Ok(())
    })
    .await;
    source.kubectl(["create", "namespace", "nowhere"]).await?;
    run_fix(&lacks, target, source).await?;
    eventually("there are no findings once more", async || fixture.check()?.no_findings()).await;

    // No grant allows this lifetime, so the fix changes the import.
    imports.create(&pod_lister_import("long", "c2", "team")).await?;
    let patch = ["patch", "serviceaccountimport", "long", "--type=merge", "-p"];
    let spec = r#"{"spec":{"expirationSeconds":90000}}"#;
    target.kubectl(["-n", "team"].iter().chain(&patch).chain(&[spec])).await?;
    let fix =
        eventually("the lifetime is forbidden", async || fixture.check()?.problem("Forbidden", "long")).await;
    ensure!(fix.contains("expirationSeconds"), "{fix}");
    run_fix(&fix.replace('\'', ""), target, source).await?;
    eventually("the lifetime is reduced", async || fixture.check()?.no_findings()).await;
    target.kubectl(["-n", "team", "delete", "serviceaccountimport", "long"]).await?;

    // Text and tables.
    imports.create(&pod_lister_import("b", "c3", "team")).await?;
    eventually("there is no link", async || fixture.check()?.problem("ClusterNotLinked", "b")).await;
    let output = kubemcsa(&fixture.kubeconfig, ["check"])?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    let fix = "\n    kubemcsa bootstrap --target-context c1 --source-name c3 --allow team/pod-lister --source-context \
                SOURCE_CONTEXT\n";
    ensure!(stdout.starts_with("problem  service account import team/b: ClusterNotLinked\n"), "{stdout}");
    ensure!(stdout.contains(fix) && stderr.contains("1 problem, 0 warnings"), "{stdout} {stderr}");
    let table = kubemcsa_ok(&fixture.kubeconfig, ["imports", "--cluster", "c2", "-o", "wide"])?;
    ensure!(table.lines().count() == 3 && table.contains("team/pod-lister"), "{table}");
    let table = kubemcsa_ok(&fixture.kubeconfig, ["imports", "-n", "team"])?;
    ensure!(table.contains("ClusterNotLinked") && !table.contains("multicluster-service-account"), "{table}");
    let listed: serde_json::Value =
        serde_json::from_str(&kubemcsa_ok(&fixture.kubeconfig, ["imports", "-o", "json"])?)?;
    ensure!(listed.as_array().is_some_and(|all| all.len() == 3), "{listed}");

    let runs =
        mcsa_tests::kubemcsa_runs(&fixture.kubeconfig).into_iter().filter(|run| !run.output.is_empty());
    let printed =
        runs.map(|run| (run.args, run.output)).chain([("log".into(), fixture.daemons.importer.log())]);
    ensure_no_tokens_in(&stored_tokens(target).await?, printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_installation_and_missing_rights_are_problems() -> anyhow::Result<()> {
    let target = Cluster::start("c1").await?;
    let checked = check(target.kubeconfig(), &[])?;
    let fix = checked.problem("NotInstalled", "importer")?;
    ensure!(fix.starts_with("kubemcsa install --context c1"), "{fix}");
    ensure!(checked.report["problems"] == 1, "{:#}", checked.report);

    kubemcsa_ok(target.kubeconfig(), ["install", "--no-wait"])?;
    let checked = check(target.kubeconfig(), &[])?;
    checked.problem("ImporterNotRunning", "importer")?;
    checked.problem("WebhookNotRunning", "webhook")?;
    ensure!(checked.report["problems"] == 2, "{:#}", checked.report);

    target.kubectl(["create", "serviceaccount", "nobody"]).await?;
    let nobody = target.kubeconfig_of("default", "nobody").await?;
    let checked = check(&nobody, &[])?;
    // It is a problem if imports can't be listed, and a warning if something else can't be read.
    checked.problem("NotChecked", "*")?;
    ensure!(checked.code == Some(1), "{:#}", checked.report);
    ensure!(checked.report["warnings"].as_u64() > Some(5), "{:#}", checked.report);

    // It is an error if the API server does not respond.
    target.stop_api_server();
    let output = kubemcsa(target.kubeconfig(), ["check", "-o", "json"])?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
    let output = kubemcsa(target.kubeconfig(), ["check", "--timeout", "soon"])?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    Ok(())
}
