//! What most end-to-end tests begin with: a service account in the source, an import of it in the
//! target, and the mount that a kubelet would make of its Secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

use crate::cluster::Cluster;
use crate::programs::program;

/// Runs `kubemcsa` with `KUBECONFIG` set, and gives all that it said.
pub fn kubemcsa<'a>(kubeconfig: &Path, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Output> {
    let mut command = Command::new(program("kubemcsa")?);
    Ok(command.env("KUBECONFIG", kubeconfig).env("RUST_LOG", "trace").args(args).output()?)
}

/// Runs `kubemcsa`, which has to succeed, and gives its stdout.
pub fn kubemcsa_ok<'a>(kubeconfig: &Path, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
    let output = kubemcsa(kubeconfig, args)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubemcsa ended with {}:\n{stderr}", output.status);
    Ok(String::from_utf8(output.stdout)?)
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
