//! What most end-to-end tests begin with: a service account in the source, an import of it in the
//! target, and the mount that a kubelet would make of its Secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::merged_kubeconfig::merged_kubeconfig;
use crate::programs::program;

/// A run of `kubemcsa` that has ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// The kubeconfig that it used.
    kubeconfig: PathBuf,
    /// Its arguments, joined by spaces.
    pub args: String,
    /// What it wrote to stdout and stderr; of an export only stderr, as its stdout is a credential.
    pub said: String,
}

static RUNS: Mutex<Vec<Run>> = Mutex::new(Vec::new());

/// Runs `kubemcsa` with `KUBECONFIG` set, and gives all that it said.
pub fn kubemcsa<'a>(kubeconfig: &Path, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Output> {
    let args: Vec<_> = args.into_iter().collect();
    let mut command = Command::new(program("kubemcsa")?);
    let output = command.env("KUBECONFIG", kubeconfig).env("RUST_LOG", "trace").args(&args).output()?;
    let stdout = if args.first() == Some(&"export") { &[] } else { &output.stdout[..] };
    let said = String::from_utf8_lossy(&[stdout, &output.stderr].concat()).into_owned();
    RUNS.lock().unwrap_or_else(PoisonError::into_inner).push(Run {
        kubeconfig: kubeconfig.to_owned(),
        args: args.join(" "),
        said,
    });
    Ok(output)
}

/// The runs of [`kubemcsa`] with this kubeconfig so far.
pub fn kubemcsa_runs(kubeconfig: &Path) -> Vec<Run> {
    let runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    runs.iter().filter(|run| run.kubeconfig == kubeconfig).cloned().collect()
}

/// Runs `kubemcsa`, which has to succeed, and gives its stdout.
pub fn kubemcsa_ok<'a>(kubeconfig: &Path, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
    let output = kubemcsa(kubeconfig, args)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubemcsa ended with {}:\n{stderr}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Installs into `target`, and links it to `source`. Returns a kubeconfig with both, which goes with
/// the target.
pub fn install_and_link(target: &Cluster, source: &Cluster) -> anyhow::Result<PathBuf> {
    let kubeconfig = target.dir().join("kubeconfig-of-both");
    merged_kubeconfig(&[target, source], &kubeconfig)?;
    kubemcsa_ok(&kubeconfig, ["install", "--context", target.name(), "--no-wait"])?;
    bootstrap(&kubeconfig, target, source)?;
    Ok(kubeconfig)
}

/// Links `target` to `source`, or mends the link.
pub fn bootstrap(kubeconfig: &Path, target: &Cluster, source: &Cluster) -> anyhow::Result<()> {
    let args = ["bootstrap", "--target-context", target.name(), "--source-context", source.name()];
    kubemcsa_ok(kubeconfig, args).map(drop)
}

/// Makes, in `source`, the namespace and in it the service account `pod-lister`, which may list pods
/// there and do nothing else.
pub async fn pod_lister(source: &Cluster, namespace: &str) -> anyhow::Result<()> {
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

/// An import of the service account `pod-lister` of a namespace of `cluster`.
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

/// Waits until a namespace takes pods, which its default service account is needed for.
pub async fn takes_pods(cluster: &Cluster, namespace: &str) {
    eventually(format!("{namespace} takes pods"), async || {
        cluster.kubectl(["-n", namespace, "get", "serviceaccount", "default"]).await
    })
    .await;
}

/// The imports of one namespace of the target, and their Secrets.
#[derive(Clone)]
pub struct Imports {
    /// The imports.
    pub api: Api<ServiceAccountImport>,
    /// The Secrets.
    pub secrets: Api<Secret>,
}

impl Imports {
    /// Those of `namespace`.
    pub fn of(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), secrets: Api::namespaced(client, namespace) }
    }

    /// Declares an import.
    pub async fn create(&self, import: &ServiceAccountImport) -> anyhow::Result<ServiceAccountImport> {
        Ok(self.api.create(&PostParams::default(), import).await?)
    }

    /// The import, if the condition has that status (and reason, where one is given), about the
    /// generation that the import now has; otherwise how it is.
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

/// Mounts values the way a kubelet does: files that are links into a folder `..data`, which is itself
/// a link, swapped at once when the values change. Returns the mount.
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
