//! Fixtures of end-to-end tests: runs of `kubemcsa`, a service account to import, imports, and mounts of Secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::merged_kubeconfig::write_merged_kubeconfig;
use crate::programs::program;

/// A completed run of `kubemcsa`.
#[derive(Clone, Debug)]
pub struct KubemcsaRun {
    /// The kubeconfig of the run.
    kubeconfig: PathBuf,
    /// The arguments, joined by spaces.
    pub args: String,
    /// Stdout and stderr. Without the stdout of an export, which is a credential.
    pub output: String,
}

static RUNS: Mutex<Vec<KubemcsaRun>> = Mutex::new(Vec::new());

/// Runs `kubemcsa` with `KUBECONFIG` set, and returns its output.
pub fn kubemcsa<'a>(kubeconfig: &Path, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Output> {
    let args: Vec<_> = args.into_iter().collect();
    let mut command = Command::new(program("kubemcsa")?);
    let output = command.env("KUBECONFIG", kubeconfig).env("RUST_LOG", "trace").args(&args).output()?;
    let stdout = if args.first() == Some(&"export") { &[] } else { &output.stdout[..] };
    let text = String::from_utf8_lossy(&[stdout, &output.stderr].concat()).into_owned();
    RUNS.lock().unwrap_or_else(PoisonError::into_inner).push(KubemcsaRun {
        kubeconfig: kubeconfig.to_owned(),
        args: args.join(" "),
        output: text,
    });
    Ok(output)
}

/// The runs of [`kubemcsa`] with this kubeconfig.
pub fn kubemcsa_runs(kubeconfig: &Path) -> Vec<KubemcsaRun> {
    let runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    runs.iter().filter(|run| run.kubeconfig == kubeconfig).cloned().collect()
}

/// Runs `kubemcsa`, and returns its stdout. Fails if the exit code is not 0.
pub fn kubemcsa_ok<'a>(kubeconfig: &Path, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
    let output = kubemcsa(kubeconfig, args)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubemcsa ended with {}:\n{stderr}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Installs into `target`, and links it to `source`. Returns a kubeconfig with both, which is removed with the target.
pub fn install_and_link(target: &Cluster, source: &Cluster) -> anyhow::Result<PathBuf> {
    let kubeconfig = target.dir().join("kubeconfig-of-both");
    write_merged_kubeconfig(&[target, source], &kubeconfig)?;
    kubemcsa_ok(&kubeconfig, ["install", "--context", target.name(), "--no-wait"])?;
    bootstrap(&kubeconfig, target, source)?;
    Ok(kubeconfig)
}

/// Links `target` to `source`, or repairs the link.
pub fn bootstrap(kubeconfig: &Path, target: &Cluster, source: &Cluster) -> anyhow::Result<()> {
    let args = ["bootstrap", "--target-context", target.name(), "--source-context", source.name()];
    kubemcsa_ok(kubeconfig, args).map(drop)
}

/// Creates the namespace in `source`, with the service account `pod-lister`, which may only list pods in it.
pub async fn create_pod_lister(source: &Cluster, namespace: &str) -> anyhow::Result<()> {
    source.kubectl(["create", "namespace", namespace]).await?;
    let common = ["-n", namespace, "create"];
    for object in [
        &["serviceaccount", "pod-lister"][..],
        &["role", "pod-lister", "--verb=list", "--resource=pods"],
        &[
            "rolebinding",
            "pod-lister",
            "--role=pod-lister",
            &format!("--serviceaccount={namespace}:pod-lister"),
        ],
    ] {
        source.kubectl(common.iter().chain(object)).await?;
    }
    Ok(())
}

/// An import of the service account `pod-lister` in a namespace of `cluster`.
pub fn pod_lister_import(name: &str, cluster: &str, namespace: &str) -> ServiceAccountImport {
    let spec = ServiceAccountImportSpec {
        cluster_name: cluster.into(),
        namespace: namespace.into(),
        name: "pod-lister".into(),
        expiration_seconds: 3600,
        ..Default::default()
    };
    ServiceAccountImport::new(name, spec)
}

/// Creates or updates an ImportPolicy.
pub async fn apply_policy(target: &Cluster, name: &str, spec: &Value) -> anyhow::Result<()> {
    let policy = json!({
        "apiVersion": "multicluster.admiralty.io/v1alpha1",
        "kind": "ImportPolicy",
        "metadata": { "name": name },
        "spec": spec,
    });
    let file = target.dir().join("policy.json");
    std::fs::write(&file, policy.to_string())?;
    target.kubectl(["apply", "-f", &file.display().to_string()]).await.map(drop)
}

/// Waits until pods can be created in a namespace, which needs the default service account.
pub async fn wait_for_default_service_account(cluster: &Cluster, namespace: &str) {
    eventually(format!("the default service account of {namespace} exists"), async || {
        cluster.kubectl(["-n", namespace, "get", "serviceaccount", "default"]).await
    })
    .await;
}

/// The imports of a namespace of the target, and their Secrets.
#[derive(Clone)]
pub struct Imports {
    /// The imports.
    pub api: Api<ServiceAccountImport>,
    /// The Secrets.
    pub secrets: Api<Secret>,
}

impl Imports {
    /// The imports of `namespace`.
    pub fn of(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), secrets: Api::namespaced(client, namespace) }
    }

    /// Creates an import.
    pub async fn create(&self, import: &ServiceAccountImport) -> anyhow::Result<ServiceAccountImport> {
        Ok(self.api.create(&PostParams::default(), import).await?)
    }

    /// The import, if the condition has this status (and reason, if one is given) for the current generation. The error
    /// has the actual conditions.
    pub async fn condition(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: Option<&str>,
    ) -> anyhow::Result<ServiceAccountImport> {
        let import = self.api.get(name).await?;
        let conditions: Vec<_> = import.status.iter().flat_map(|status| &status.conditions).collect();
        let found = conditions.iter().any(|condition| {
            condition.type_ == type_
                && condition.status == status
                && reason.is_none_or(|reason| condition.reason == reason)
                && condition.observed_generation == import.metadata.generation
        });
        ensure!(
            found,
            "import {name} is not {type_}={status} {}: {conditions:#?}",
            reason.unwrap_or_default()
        );
        Ok(import)
    }

    /// The import, if it is ready.
    pub async fn ready(&self, name: &str) -> anyhow::Result<ServiceAccountImport> {
        self.condition(name, "Ready", "True", None).await
    }

    /// The values of a Secret.
    pub async fn values(&self, secret: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let data = self.secrets.get(secret).await?.data.unwrap_or_default();
        data.into_iter().map(|(key, value)| Ok((key, String::from_utf8(value.0)?))).collect()
    }
}

/// Mounts values as a kubelet does: files are links into `..data`, a link that is replaced atomically when the values
/// change. Returns the mount's folder.
pub fn mount(root: &Path, import: &str, values: &BTreeMap<String, String>) -> anyhow::Result<PathBuf> {
    let folder = root.join(import);
    std::fs::create_dir_all(&folder)?;
    let version = tempfile::Builder::new().prefix("..version-").tempdir_in(&folder)?.keep();
    for (key, value) in values {
        std::fs::write(version.join(key), value)?;
        let link = folder.join(key);
        if !link.is_symlink() {
            std::os::unix::fs::symlink(Path::new("..data").join(key), link)?;
        }
    }
    let next = folder.join("..data_tmp");
    std::os::unix::fs::symlink(version.file_name().context("a folder has a name")?, &next)?;
    std::fs::rename(next, folder.join("..data"))?;
    Ok(folder)
}
