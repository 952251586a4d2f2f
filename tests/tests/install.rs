//! Installing with kubemcsa and kubectl.

use std::path::Path;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mcsa_credentials::contract::webhook::CONFIGURATION;
use mcsa_tests::{Cluster, kubemcsa, kubemcsa_ok};
use serde_json::json;

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_and_kubemcsa_install_the_same_objects() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    // Printing YAML needs neither a cluster nor a kubeconfig.
    let yaml = kubemcsa_ok(Path::new("/nonexistent"), ["install", "-o", "yaml"])?;
    let file = cluster.dir().join("install.yaml");
    std::fs::write(&file, &yaml)?;
    let file = file.display().to_string();

    let manager = "--field-manager=kubemcsa";
    cluster.kubectl(["apply", "--server-side", manager, "-k", MANIFESTS]).await?;
    let again = cluster.kubectl(["apply", "--server-side", manager, "-f", &file]).await?;
    ensure!(again.lines().all(|line| line.ends_with("serverside-applied")), "{again}");
    let output = kubemcsa(cluster.kubeconfig(), ["install", "--no-wait"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{stderr}");
    let objects = yaml.lines().filter(|line| line.starts_with("kind: ")).count();
    let unchanged = stderr.lines().filter(|line| line.ends_with("unchanged")).count();
    ensure!(
        objects > 10 && unchanged == objects,
        "{unchanged} of {objects} objects are unchanged:\n{stderr}"
    );

    // Without nodes, waiting for the rollout fails with the reason.
    let output = kubemcsa(cluster.kubeconfig(), ["install", "--timeout", "1s"])?;
    let stderr = String::from_utf8(output.stderr)?;
    let last = stderr.lines().last().context("stderr is empty")?;
    ensure!(output.status.code() == Some(1) && last.contains("importer"), "{stderr}");

    // Installing again repairs edits.
    cluster.kubectl(["delete", "clusterrole", "multicluster-service-account-importer"]).await?;
    let output = kubemcsa(cluster.kubeconfig(), ["install", "--no-wait"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(stderr.lines().filter(|line| line.ends_with("created")).count() == 1, "{stderr}");

    // Installing again keeps the URL of a webhook outside the cluster, and repairs other fields.
    let configurations = Api::<MutatingWebhookConfiguration>::all(cluster.client());
    let by_url = json!({
        "url": "https://127.0.0.1:9443/mutate-pods",
        "caBundle": BASE64_STANDARD.encode(cluster.ca_pem()),
    });
    let patch = json!([
        { "op": "replace", "path": "/webhooks/0/clientConfig", "value": by_url },
        { "op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 30 },
    ]);
    let patch = Patch::<()>::Json(serde_json::from_value(patch)?);
    configurations.patch(CONFIGURATION, &PatchParams::default(), &patch).await?;
    for outcome in ["configured", "unchanged"] {
        let output = kubemcsa(cluster.kubeconfig(), ["install", "--no-wait"])?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "{stderr}");
        let lines: Vec<_> = stderr.lines().filter(|line| line.contains(CONFIGURATION)).collect();
        ensure!(lines.iter().any(|line| line.contains("https://127.0.0.1:9443/mutate-pods")), "{stderr}");
        ensure!(lines.iter().any(|line| line.ends_with(&format!(" {outcome}"))), "{stderr}");
        let entry = configurations.get(CONFIGURATION).await?.webhooks.unwrap_or_default().remove(0);
        ensure!(json!(entry.client_config) == by_url && entry.timeout_seconds == Some(5), "{entry:?}");
    }
    Ok(())
}

/// The importer's roles and bindings.
async fn importer_roles(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut rights = Vec::new();
    for kind in ["clusterrole", "clusterrolebinding", "role", "rolebinding"] {
        let rows = "jsonpath={range .items[*]}{.metadata.namespace}{\"\\n\"}{end}";
        let name = "--field-selector=metadata.name=multicluster-service-account-importer";
        let listed = cluster.kubectl(["get", kind, "-A", name, "-o", rows]).await?;
        rights.extend(listed.lines().map(|namespace| format!("{kind} {namespace}").trim().to_owned()));
    }
    Ok(rights)
}

#[tokio::test(flavor = "multi_thread")]
async fn importer_has_rights_only_in_its_namespaces() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    let install = |namespaces: &[&str]| -> anyhow::Result<(bool, String)> {
        let args = [&["install", "--no-wait"], namespaces].concat();
        let output = kubemcsa(cluster.kubeconfig(), args)?;
        Ok((output.status.success(), String::from_utf8(output.stderr)?))
    };
    let deleted = |stderr: &str| {
        stderr.lines().filter(|line| line.ends_with(" deleted")).map(str::to_owned).collect::<Vec<_>>()
    };

    // A missing namespace is reported before anything is changed.
    cluster.kubectl(["create", "namespace", "a"]).await?;
    let (ok, stderr) = install(&["--namespaces", "a,b"])?;
    ensure!(!ok && stderr.contains("no namespace b") && stderr.contains("create namespace b"), "{stderr}");
    ensure!(cluster.kubectl(["get", "namespace", "-o", "name"]).await?.find("multicluster").is_none());
    ensure!(kubemcsa(cluster.kubeconfig(), ["install", "--namespaces="])?.status.code() == Some(2));

    // From all namespaces to two, to one, and back to all.
    cluster.kubectl(["create", "namespace", "b"]).await?;
    ensure!(install(&[])?.0);
    ensure!(importer_roles(&cluster).await? == ["clusterrole", "clusterrolebinding"]);
    let (ok, stderr) = install(&["--namespaces", "a,b"])?;
    ensure!(ok && deleted(&stderr).len() == 2 && deleted(&stderr)[0].contains("clusterrole."), "{stderr}");
    let system = "multicluster-service-account";
    let each = |namespaces: &[&str]| {
        let of = |kind: &str| namespaces.iter().map(move |ns| format!("{kind} {ns}")).collect::<Vec<_>>();
        [of("role"), of("rolebinding")].concat()
    };
    ensure!(importer_roles(&cluster).await? == each(&["a", "b", system]));
    let args = "jsonpath={.spec.template.spec.containers[0].args[*]}";
    let args = cluster.kubectl(["-n", system, "get", "deployment", "importer", "-o", args]).await?;
    ensure!(args.ends_with(" --namespaces=a,b"), "{args}");

    // Installing again changes nothing, and the printed YAML matches.
    let (ok, stderr) = install(&["--namespaces", "a,b"])?;
    ensure!(ok && stderr.lines().all(|line| line.ends_with("unchanged")), "{stderr}");
    let yaml = kubemcsa_ok(Path::new("/nonexistent"), ["install", "-o", "yaml", "--namespaces", "a,b"])?;
    let file = cluster.dir().join("confined.yaml");
    std::fs::write(&file, &yaml)?;
    let objects = yaml.lines().filter(|line| line.starts_with("kind: ")).count();
    let diff = ["diff", "--server-side", "--field-manager=kubemcsa", "-f", &file.display().to_string()];
    ensure!(cluster.kubectl(diff).await?.is_empty() && objects == stderr.lines().count(), "{yaml}");

    let (ok, stderr) = install(&["--namespaces", "a"])?;
    ensure!(
        ok && deleted(&stderr).len() == 2
            && deleted(&stderr)[0]
                .contains("role.rbac.authorization.k8s.io/multicluster-service-account-importer -n b "),
        "{stderr}"
    );
    ensure!(importer_roles(&cluster).await? == each(&["a", system]));
    // Another user's role of the same name.
    cluster
        .kubectl([
            "-n",
            "b",
            "create",
            "role",
            &format!("{system}-importer"),
            "--verb=get",
            "--resource=pods",
        ])
        .await?;
    // An upgrade without flags does not extend the rights to all namespaces.
    let (ok, stderr) = install(&[])?;
    ensure!(!ok && stderr.contains("--namespaces a") && stderr.contains("--all-namespaces"), "{stderr}");
    ensure!(!importer_roles(&cluster).await?.contains(&"clusterrole".to_owned()));
    let (ok, stderr) = install(&["--all-namespaces"])?;
    ensure!(ok && deleted(&stderr).len() == 4, "{stderr}");
    ensure!(importer_roles(&cluster).await? == ["clusterrole", "clusterrolebinding", "role b"]);
    let args =
        cluster.kubectl(["-n", system, "get", "deployment", "importer", "-o", "jsonpath={.spec}"]).await?;
    ensure!(!args.contains("--namespaces"), "{args}");
    Ok(())
}
