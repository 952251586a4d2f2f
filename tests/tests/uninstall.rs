//! Uninstalling: no pod is refused at any time, and what is kept still works.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use mcsa_client::contract::{IMPORT_NAME, SYSTEM_NAMESPACE};
use mcsa_tests::{
    Cluster, Daemons, Imports, Process, create_pod_lister, eventually, install_and_link, kubemcsa,
    pod_lister_import, program, tokens_minted_in, wait_for_default_service_account,
};
use serde_json::{Value, json};

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");
const WITH_CERT_MANAGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/cert-manager");

/// The kinds of objects that install creates, or that importer, webhook and Kubernetes create later.
const KINDS: &str = "mutatingwebhookconfiguration,deployment,replicaset,pod,service,poddisruptionbudget,\
                     resourcequota,serviceaccount,clusterrole,clusterrolebinding,role,rolebinding,lease,\
                     validatingadmissionpolicy,validatingadmissionpolicybinding";

/// Creates a pod with an import, in a namespace in which the webhook is enabled.
async fn create_pod(target: &Cluster, import: &str) -> anyhow::Result<()> {
    let pod = json!({
        "metadata": { "generateName": "p-", "annotations": { IMPORT_NAME: import } },
        "spec": { "containers": [{ "name": "one", "image": "i" }] },
    });
    let pods = Api::<Pod>::namespaced(target.client(), "life");
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?)
        .await
        .map(drop)
        .context("creating a pod")
}

/// Uninstalls; returns whether that succeeded, and stderr.
fn uninstall(kubeconfig: &Path, args: &[&str]) -> anyhow::Result<(bool, String)> {
    let output = kubemcsa(kubeconfig, [&["uninstall", "--context", "c1"], args].concat())?;
    ensure!(output.stdout.is_empty(), "uninstall printed to stdout");
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(
        stderr.lines().all(|line| line.starts_with("c1") || line.starts_with("kubemcsa: c1")),
        "{stderr}"
    );
    Ok((output.status.success(), stderr))
}

/// The objects that were deleted, or would be.
fn deleted(stderr: &str) -> Vec<String> {
    let lines = stderr.lines().map(|line| line.trim_end_matches(" (dry run)"));
    lines.filter_map(|line| line.strip_suffix(" deleted")).map(str::to_owned).collect()
}

/// What is left of the installation, except for what is kept.
async fn left(target: &Cluster) -> anyhow::Result<Vec<String>> {
    let ours = format!("app.kubernetes.io/part-of={SYSTEM_NAMESPACE}");
    let labelled = target.kubectl(["get", KINDS, "-A", "-l", &ours, "-o", "name"]).await?;
    let later = ["-n", SYSTEM_NAMESPACE, "get", "secret/webhook-tls", "lease/importer", "--ignore-not-found"];
    let later = target.kubectl([&later[..], &["-o", "name"]].concat()).await?;
    Ok(labelled.lines().chain(later.lines()).map(str::to_owned).collect())
}

/// [`left`] without pods and ReplicaSets, which Kubernetes creates and deletes with a delay.
async fn installed(target: &Cluster) -> anyhow::Result<Vec<String>> {
    let is_delayed = |line: &String| ["pod/", "replicaset.apps/"].iter().any(|kind| line.starts_with(kind));
    Ok(left(target).await?.into_iter().filter(|line| !is_delayed(line)).collect())
}

/// What is left if imports, links and the namespace are deleted, too.
async fn left_of_all(target: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut left = left(target).await?;
    for kind in ["namespace", "customresourcedefinition", "secret"] {
        let listed = target.kubectl(["get", kind, "-A", "-o", "name"]).await?;
        let ours = |line: &&str| ["multicluster", "-token"].iter().any(|name| line.contains(name));
        left.extend(listed.lines().filter(ours).map(str::to_owned));
    }
    Ok(left)
}

/// An installed and linked target with the namespace `life`, its source, and a kubeconfig with both.
async fn fixture() -> anyhow::Result<(Cluster, Cluster, std::path::PathBuf)> {
    let source = Cluster::builder("c2").audit_log().start();
    let (target, source) = tokio::try_join!(Cluster::start("c1"), source)?;
    let kubeconfig = install_and_link(&target, &source)?;
    create_pod_lister(&source, "lister").await?;
    target.kubectl(["create", "namespace", "life"]).await?;
    target.kubectl(["label", "namespace", "life", "multicluster-service-account=enabled"]).await?;
    wait_for_default_service_account(&target, "life").await;
    // Otherwise, its garbage collector discovers imports only after 30 s.
    target.restart_controller_manager()?;
    Ok((target, source, kubeconfig))
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_keeps_working_credentials_until_imports_are_deleted() -> anyhow::Result<()> {
    let (target, source, kubeconfig) = fixture().await?;
    let imports = Imports::of(target.client(), "life");
    let daemons = Daemons::start(&target, target.dir(), "info").await?;
    imports.create(&pod_lister_import("i", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("i").await).await;
    create_pod(&target, "i").await?;
    let before = (imports.values("i-token").await?, installed(&target).await?);
    eventually("the webhook is called", async || match create_pod(&target, "absent").await {
        Ok(()) => Err("a pod with an absent import is admitted"),
        Err(_) => Ok(()),
    })
    .await;

    let (ok, all) = uninstall(&kubeconfig, &["--dry-run", "--delete-imports"])?;
    ensure!(ok && all.contains("secret/i-token -n life deleted (dry run)"), "{all}");
    let (ok, dry_run) = uninstall(&kubeconfig, &["--dry-run"])?;
    ensure!(ok && deleted(&dry_run).len() > 15 && !dry_run.contains("life"), "{dry_run}");
    ensure!(installed(&target).await? == before.1, "a dry run deleted something");

    // Pods are created throughout. The webhook's process ends when its pods are deleted, as on a node.
    let run = tokio::task::spawn_blocking({
        let kubeconfig = kubeconfig.clone();
        move || uninstall(&kubeconfig, &[])
    });
    let creating = async {
        let mut created = 0;
        while !run.is_finished() {
            create_pod(&target, "i").await?;
            created += 1;
        }
        anyhow::Ok(created)
    };
    let end_webhook = async {
        eventually("the webhook's pods are gone", async || {
            let webhook = "app.kubernetes.io/name=webhook";
            let pods = ["-n", SYSTEM_NAMESPACE, "get", "deployment,pod", "-l", webhook, "-o", "name"];
            let pods = target.kubectl(pods).await?;
            ensure!(pods.is_empty(), "{pods}");
            anyhow::Ok(())
        })
        .await;
        daemons.webhook.kill();
    };
    let (created, ()) = tokio::join!(creating, end_webhook);
    let created = created?;
    let (ok, stderr) = run.await??;
    ensure!(ok && created > 0 && deleted(&stderr) == deleted(&dry_run), "{created} pods: {stderr}");
    ensure!(
        stderr.contains("--delete-imports")
            && stderr.contains("kubemcsa unlink --source-only --target-name c1"),
        "{stderr}"
    );
    ensure!(left(&target).await?.is_empty(), "{:?}", left(&target).await?);
    daemons.importer.kill();
    create_pod(&target, "absent").await.context("the webhook is still called")?;
    ensure!(imports.values("i-token").await? == before.0, "the credential changed");
    let (ok, stderr) = uninstall(&kubeconfig, &[])?;
    ensure!(ok && stderr.contains("nothing to delete") && stderr.contains("kept: 1 import"), "{stderr}");

    // A new installation continues with the existing imports.
    let minted = tokens_minted_in(&source, "lister")?;
    let args = ["install", "--context", "c1", "--no-wait"];
    ensure!(kubemcsa(&kubeconfig, args)?.status.success());
    let daemons = Daemons::start(&target, target.dir(), "info").await?;
    imports.create(&pod_lister_import("next", "c2", "lister")).await?;
    eventually("the next import is ready", async || imports.ready("next").await).await;
    imports.ready("i").await?;
    ensure!(imports.values("i-token").await? == before.0, "a token that was not due was minted");
    ensure!(tokens_minted_in(&source, "lister")? == minted + 1, "more than one token for one import");
    drop(daemons);

    let (ok, stderr) = uninstall(&kubeconfig, &["--delete-imports"])?;
    ensure!(ok, "{stderr}");
    for gone in [
        "import.multicluster.admiralty.io/i -n life",
        "import.multicluster.admiralty.io/next -n life",
        "secret/i-token -n life",
        "/c2 -n multicluster-service-account",
        "namespace/multicluster-service-account",
    ] {
        ensure!(
            deleted(&stderr).iter().any(|line| line.ends_with(gone)),
            "{gone:?} is not reported: {stderr}"
        );
    }
    ensure!(left_of_all(&target).await?.is_empty(), "{:?}", left_of_all(&target).await?);
    let (ok, stderr) = uninstall(&kubeconfig, &["--delete-imports"])?;
    ensure!(ok && stderr.contains("nothing to delete") && stderr.lines().count() == 1, "{stderr}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_uninstall_is_completed_by_the_next_run() -> anyhow::Result<()> {
    let (target, _source, kubeconfig) = fixture().await?;
    let imports = Imports::of(target.client(), "life");
    let daemons = Daemons::start(&target, target.dir(), "info").await?;
    for name in ["i", "j", "k"] {
        imports.create(&pod_lister_import(name, "c2", "lister")).await?;
        eventually(format!("{name} is ready"), async || imports.ready(name).await).await;
    }
    drop(daemons);
    let mut logs = String::new();
    for lines in [1, 2, 5, 13, 21, 24] {
        let mut command = Command::new(program("kubemcsa")?);
        command.env("KUBECONFIG", &kubeconfig).args(["uninstall", "--context", "c1", "--delete-imports"]);
        let log = target.dir().join(format!("uninstall-{lines}.log"));
        let run = Process::spawn(format!("uninstall-{lines}"), &command, log)?;
        let has_progressed = || {
            let count = run.log().lines().count();
            ensure!(count >= lines || !run.is_running(), "{count} lines");
            anyhow::Ok(())
        };
        eventually("the run has printed some lines", async || has_progressed()).await;
        run.kill();
        logs += &run.log();
        create_pod(&target, "i").await?;
    }
    let (ok, stderr) = uninstall(&kubeconfig, &["--delete-imports"])?;
    ensure!(
        (logs + &stderr).contains("c2 still trusts this cluster"),
        "no run reported that c2 still trusts the target: {stderr}"
    );
    ensure!(ok && left_of_all(&target).await?.is_empty(), "{:?}: {stderr}", left_of_all(&target).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_deleted_without_the_garbage_collector() -> anyhow::Result<()> {
    let (target, _source, kubeconfig) = fixture().await?;
    let imports = Imports::of(target.client(), "life");
    let daemons = Daemons::start(&target, target.dir(), "info").await?;
    imports.create(&pod_lister_import("i", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("i").await).await;
    drop(daemons);
    let theirs = json!({ "metadata": { "name": "theirs", "labels": { IMPORT_NAME: "i" } } });
    imports.secrets.create(&PostParams::default(), &serde_json::from_value(theirs)?).await?;
    target.controller_manager().kill();

    // Without the controller manager, the namespace is not emptied, which is reported.
    let (ok, stderr) = uninstall(&kubeconfig, &["--delete-imports", "--timeout", "2s"])?;
    ensure!(
        !ok && stderr.contains("namespace/multicluster-service-account still exists after 2s"),
        "{stderr}"
    );
    let secrets = imports.secrets.list(&Default::default()).await?.items;
    let names: Vec<_> = secrets.iter().filter_map(|secret| secret.metadata.name.as_deref()).collect();
    ensure!(names == ["theirs"], "{names:?}");
    ensure!(target.kubectl(["get", "customresourcedefinitions", "-o", "name"]).await?.is_empty());
    target.restart_controller_manager()?;
    let (ok, stderr) = uninstall(&kubeconfig, &["--delete-imports"])?;
    ensure!(ok, "{stderr}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_others_are_kept() -> anyhow::Result<()> {
    let target = Cluster::start("c1").await?;
    let (ok, stderr) = uninstall(target.kubeconfig(), &["--delete-imports"])?;
    ensure!(ok && stderr.lines().count() == 1 && stderr.contains("nothing to delete"), "{stderr}");

    // A partial installation, with another user's Service of the same name.
    let manifest = |name: &str| format!("{MANIFESTS}/{name}.yaml");
    target.kubectl(["apply", "-f", &manifest("namespace")]).await?;
    target.kubectl(["apply", "-f", &manifest("importer")]).await?;
    let system = ["-n", SYSTEM_NAMESPACE];
    target
        .kubectl([&system[..], &["create", "service", "clusterip", "webhook", "--tcp=80"]].concat())
        .await?;
    target.kubectl([&system[..], &["create", "secret", "generic", "webhook-tls"]].concat()).await?;
    let (ok, stderr) = uninstall(target.kubeconfig(), &["--delete-imports"])?;
    ensure!(ok && deleted(&stderr).iter().any(|line| line.contains("deployment")), "{stderr}");
    for kept in [
        "service/webhook -n multicluster-service-account",
        "secret/webhook-tls -n multicluster-service-account",
    ] {
        ensure!(stderr.contains(&format!("{kept} not deleted")), "{kept}: {stderr}");
    }
    ensure!(stderr.contains("namespace/multicluster-service-account not deleted"), "{stderr}");
    ensure!(left(&target).await? == ["secret/webhook-tls"], "{:?}", left(&target).await?);
    for theirs in ["service/webhook", "secret/webhook-tls"] {
        target.kubectl([&system[..], &["delete", theirs]].concat()).await?;
    }

    // Another configuration calls our webhook: if the webhook were removed, pods would be refused.
    target.kubectl(["apply", "-k", MANIFESTS]).await?;
    let label = ["mutatingwebhookconfiguration", "multicluster-service-account-webhook"];
    target.kubectl([&["label"], &label[..], &["app.kubernetes.io/part-of-"]].concat()).await?;
    let all = installed(&target).await?;
    let (ok, stderr) = uninstall(target.kubeconfig(), &[])?;
    ensure!(!ok && stderr.contains("delete mutatingwebhookconfiguration"), "{stderr}");
    ensure!(installed(&target).await? == all, "something was removed");
    // The same with another name.
    let mut copy: Value =
        serde_json::from_str(&target.kubectl([&["get", "-o", "json"], &label[..]].concat()).await?)?;
    copy["metadata"] = json!({ "name": "their-own" });
    let file = target.dir().join("their-own.json");
    std::fs::write(&file, copy.to_string())?;
    target.kubectl(["create", "-f", &file.display().to_string()]).await?;
    target.kubectl([&["delete"], &label[..]].concat()).await?;
    let (ok, stderr) = uninstall(target.kubeconfig(), &[])?;
    ensure!(!ok && stderr.contains("delete mutatingwebhookconfiguration their-own"), "{stderr}");
    target.kubectl(["delete", label[0], "their-own"]).await?;

    // If the CRD belongs to another program, the imports may belong to it, too.
    let definition = ["customresourcedefinition", "serviceaccountimports.multicluster.admiralty.io"];
    target.kubectl([&["label"], &definition[..], &["app.kubernetes.io/part-of=shop"]].concat()).await?;
    let (ok, stderr) = uninstall(target.kubeconfig(), &["--delete-imports"])?;
    ensure!(ok && stderr.contains("imports not deleted"), "{stderr}");
    target.kubectl(["get", "namespace", SYSTEM_NAMESPACE]).await?;
    target.kubectl([&["label"], &definition[..], &["app.kubernetes.io/part-of-"]].concat()).await?;

    // If the cluster is also a source, its targets need the namespace.
    target.kubectl([&system[..], &["create", "serviceaccount", "c9"]].concat()).await?;
    let annotate = ["annotate", "serviceaccount", "c9", "multicluster.admiralty.io/target-uid=u"];
    target.kubectl([&system[..], &annotate].concat()).await?;
    let (ok, stderr) = uninstall(target.kubeconfig(), &["--delete-imports"])?;
    ensure!(ok && stderr.contains("the identities of c9"), "{stderr}");
    target.kubectl([&system[..], &["delete", "serviceaccount", "c9"]].concat()).await?;

    // Any other object keeps the namespace.
    let held = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "namespace": SYSTEM_NAMESPACE, "name": "held", "finalizers": ["example.com/held"] },
    });
    let file = target.dir().join("held.json");
    std::fs::write(&file, held.to_string())?;
    target.kubectl(["create", "-f", &file.display().to_string()]).await?;
    for dry_run in [&["--delete-imports", "--dry-run"][..], &["--delete-imports"]] {
        let (ok, stderr) = uninstall(target.kubeconfig(), dry_run)?;
        let kept = "not deleted: it contains configmap/held -n multicluster-service-account,";
        ensure!(ok && stderr.contains(kept), "{stderr}");
    }
    // Once it is being deleted, its finalizer is reported, and the next run continues.
    target.kubectl([&system[..], &["delete", "configmap", "held", "--wait=false"]].concat()).await?;
    let (ok, stderr) = uninstall(target.kubeconfig(), &["--delete-imports", "--timeout", "15s"])?;
    ensure!(!ok && stderr.contains("example.com/held"), "{stderr}");
    let free = ["patch", "configmap", "held", "--type=merge", "-p", "{\"metadata\":{\"finalizers\":null}}"];
    target.kubectl([&system[..], &free].concat()).await?;
    let (ok, stderr) = uninstall(target.kubeconfig(), &["--delete-imports", "--timeout", "60s"])?;
    ensure!(ok && left_of_all(&target).await?.is_empty(), "{stderr}");
    Ok(())
}

/// Creates CRDs of other programs, without a schema.
async fn define(target: &Cluster, group: &str, version: &str, kinds: &[&str]) -> anyhow::Result<()> {
    for kind in kinds {
        let (singular, plural) = (kind.to_lowercase(), format!("{}s", kind.to_lowercase()));
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": { "kind": kind, "singular": singular, "plural": plural },
                "versions": [{
                    "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
                }],
            },
        });
        let file = target.dir().join(format!("{plural}.json"));
        std::fs::write(&file, definition.to_string())?;
        target.kubectl(["create", "-f", &file.display().to_string()]).await?;
        let name = format!("customresourcedefinition/{plural}.{group}");
        target.kubectl(["wait", "--for=condition=Established", &name]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn optional_objects_are_removed_too() -> anyhow::Result<()> {
    let target = Cluster::start("c1").await?;
    define(&target, "cert-manager.io", "v1", &["Certificate", "Issuer"]).await?;
    define(&target, "monitoring.coreos.com", "v1", &["PodMonitor", "PrometheusRule"]).await?;
    target.kubectl(["apply", "-k", WITH_CERT_MANAGER]).await?;
    target.kubectl(["apply", "-k", &format!("{MANIFESTS}/monitoring")]).await?;
    let system = ["-n", SYSTEM_NAMESPACE];
    for (secret, certificate) in [("webhook-tls", "webhook"), ("webhook-ca", "webhook-ca")] {
        target.kubectl([&system[..], &["create", "secret", "generic", secret]].concat()).await?;
        let annotation = format!("cert-manager.io/certificate-name={certificate}");
        target.kubectl([&system[..], &["annotate", "secret", secret, &annotation]].concat()).await?;
    }
    // Confined to a namespace later.
    target.kubectl(["create", "namespace", "team"]).await?;
    let args = ["install", "--context", "c1", "--no-wait", "--namespaces", "team"];
    ensure!(kubemcsa(target.kubeconfig(), args)?.status.success());

    let (ok, stderr) = uninstall(target.kubeconfig(), &[])?;
    ensure!(ok && !stderr.contains("not deleted"), "{stderr}");
    ensure!(
        stderr
            .contains("role.rbac.authorization.k8s.io/multicluster-service-account-importer -n team deleted"),
        "{stderr}"
    );
    ensure!(left(&target).await?.is_empty(), "{:?}", left(&target).await?);
    let added = "certificates,issuers,podmonitors,prometheusrules,secrets";
    let added = target.kubectl([&system[..], &["get", added, "-o", "name"]].concat()).await?;
    ensure!(added.is_empty(), "{added}");
    let maps = target.kubectl([&system[..], &["get", "configmaps", "-o", "name"]].concat()).await?;
    ensure!(maps == "configmap/kube-root-ca.crt\n", "{maps}");
    Ok(())
}
