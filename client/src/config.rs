//! [`kube::Config`]s from the imports that are mounted in this pod.
//!
//! The webhook mounts each import that a pod names into a folder of [`crate::contract::MOUNT_ROOT`].
//! A client made from one of these configs re-reads token and CA from there about once a minute,
//! so it keeps working when the importer refreshes them. The default namespace of each config is
//! that of the service account in the source.
//!
//! Outside a pod, the environment variable [`MOUNT_ROOT_ENV`] names another folder.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use kube::Config;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::contract::{self, key};
use crate::names::is_dns_subdomain;

/// Environment variable that names another folder than [`crate::contract::MOUNT_ROOT`].
pub const MOUNT_ROOT_ENV: &str = "MCSA_MOUNT_ROOT";

/// No config could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The name can't be that of an import, let alone of a folder.
    #[error("{0:?} is no name of an import: a DNS-1123 subdomain, such as c2-pod-lister")]
    InvalidName(String),
    /// Nothing is mounted under this name.
    #[error(
        "import {name} is not mounted in {}: name it in the pod's annotation {}, in a namespace with the label {}={}",
        root.display(), contract::IMPORT_NAME, contract::NAMESPACE_LABEL, contract::ENABLED
    )]
    NotMounted {
        /// The import's name.
        name: String,
        /// The folder where it was looked for.
        root: PathBuf,
    },
    /// More than one import is mounted, and none was named.
    #[error("{} imports are mounted ({}): choose one by config::import, or use config::imports", .0.len(), .0.join(", "))]
    Ambiguous(Vec<String>),
    /// The mount is there and can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The mounted kubeconfig is none.
    #[error("import {name}: its mounted kubeconfig can't be used: {source}")]
    Kubeconfig {
        /// The import's name.
        name: String,
        /// What is wrong with it.
        source: Box<KubeconfigError>,
    },
    /// The context that was asked for can't be loaded.
    #[error("context {context}: {source}")]
    Context {
        /// The context's name.
        context: String,
        /// What is wrong with it.
        source: Box<KubeconfigError>,
    },
    /// There is nothing to make a config from.
    #[error("no context was named, no import is mounted in {}, and this is no pod: {source}", root.display())]
    Nothing {
        /// The folder where imports were looked for.
        root: PathBuf,
        /// Why this is no pod.
        source: Box<InClusterError>,
    },
}

/// The config of the mounted import `name`.
///
/// # Errors
/// When it is not mounted, or what is mounted can't be used.
pub fn import(name: &str) -> Result<Config, ConfigError> {
    Mounts::default().import(name)
}

/// The configs of all mounted imports, by name.
///
/// # Errors
/// When one of them can't be used, or the folder can't be listed. No folder is no import.
pub fn imports() -> Result<BTreeMap<String, Config>, ConfigError> {
    Mounts::default().imports()
}

/// A config for a program that should run anywhere, from the first of these that there is:
///
/// 1. the kubeconfig context that the caller names (from `KUBECONFIG`, or `~/.kube/config`);
/// 2. the one import that is mounted; more than one is an error;
/// 3. the pod's own service account.
///
/// # Errors
/// When what comes first can't be used, or there is none of them.
pub async fn load(context: Option<&str>) -> Result<Config, ConfigError> {
    if let Some(context) = context {
        let options = KubeConfigOptions { context: Some(context.into()), ..Default::default() };
        return Config::from_kubeconfig(&options)
            .await
            .map_err(|source| ConfigError::Context { context: context.into(), source: Box::new(source) });
    }
    Mounts::default().only_or_in_cluster()
}

/// A folder with a folder for each import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounts {
    root: PathBuf,
}

impl Default for Mounts {
    /// The folder that [`MOUNT_ROOT_ENV`] names, or [`crate::contract::MOUNT_ROOT`].
    fn default() -> Self {
        let root = std::env::var_os(MOUNT_ROOT_ENV);
        Self { root: root.map_or_else(|| contract::MOUNT_ROOT.into(), PathBuf::from) }
    }
}

impl Mounts {
    /// The imports in the folder `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Like [`import`], from this folder.
    ///
    /// # Errors
    /// As for [`import`].
    pub fn import(&self, name: &str) -> Result<Config, ConfigError> {
        if !is_dns_subdomain(name) {
            return Err(ConfigError::InvalidName(name.into()));
        }
        let folder = self.root.join(name);
        let path = folder.join(key::CONFIG);
        if !path.exists() {
            return Err(ConfigError::NotMounted { name: name.into(), root: self.root.clone() });
        }
        let unusable = |source| ConfigError::Kubeconfig { name: name.into(), source: Box::new(source) };
        let kubeconfig = Kubeconfig::read_from(&path).map_err(unusable)?;
        let mut config = Config::try_from(kubeconfig).map_err(unusable)?;
        // A kubeconfig alone makes kube read the CA once; this has it re-read like the token.
        let ca = folder.join(key::CA);
        config.root_cert_file = ca.exists().then_some(ca);
        Ok(config)
    }

    /// Like [`imports`], from this folder.
    ///
    /// # Errors
    /// As for [`imports`].
    pub fn imports(&self) -> Result<BTreeMap<String, Config>, ConfigError> {
        self.names()?.into_iter().map(|name| self.import(&name).map(|config| (name, config))).collect()
    }

    /// The config of the one import there is, or where there is none, of the pod itself.
    fn only_or_in_cluster(&self) -> Result<Config, ConfigError> {
        let names = self.names()?;
        match names.as_slice() {
            [] => Config::incluster()
                .map_err(|source| ConfigError::Nothing { root: self.root.clone(), source: Box::new(source) }),
            [name] => self.import(name),
            _ => Err(ConfigError::Ambiguous(names)),
        }
    }

    /// Names of the mounted imports, sorted. The kubelet's own links in a volume begin with two
    /// dots; an import's name can't.
    fn names(&self) -> Result<Vec<String>, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: self.root.clone(), source };
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            if let Some(name) = entry.file_name().to_str().filter(|name| is_dns_subdomain(name))
                && entry.path().is_dir()
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::tests::credential;
    use std::path::Path;

    /// Writes an import the way the kubelet mounts it.
    fn mount(root: &Path, name: &str) {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (key, value) in credential().data(&[]).unwrap() {
            std::fs::write(folder.join(key), value.0).unwrap();
        }
    }

    #[test]
    fn a_mounted_import_gives_a_config_that_re_reads_its_files() {
        let root = tempfile::tempdir().unwrap();
        mount(root.path(), "c2-pod-lister");
        let config = Mounts::at(root.path()).import("c2-pod-lister").unwrap();
        assert_eq!(config.cluster_url, "https://c2.example:6443/");
        assert_eq!(config.default_namespace, "default");
        let folder = root.path().join("c2-pod-lister");
        assert_eq!(config.root_cert_file, Some(folder.join("ca.crt")));
        assert_eq!(config.auth_info.token_file.as_deref(), folder.join("token").to_str());
    }

    #[test]
    fn what_is_not_mounted_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error = Mounts::at(root.path()).import("absent").unwrap_err().to_string();
        assert!(
            error.contains("import absent is not mounted") && error.contains(contract::IMPORT_NAME),
            "{error}"
        );
        assert!(matches!(Mounts::at(root.path()).import("../x"), Err(ConfigError::InvalidName(_))));
    }

    #[test]
    fn without_a_context_the_one_import_counts_and_two_are_ambiguous() {
        let root = tempfile::tempdir().unwrap();
        let mounts = Mounts::at(root.path());
        mount(root.path(), "a");
        assert_eq!(mounts.only_or_in_cluster().unwrap().cluster_url, "https://c2.example:6443/");
        mount(root.path(), "b");
        let error = mounts.only_or_in_cluster().unwrap_err().to_string();
        assert!(error.contains("2 imports are mounted (a, b)"), "{error}");
    }

    #[test]
    fn only_imports_are_listed() {
        let root = tempfile::tempdir().unwrap();
        mount(root.path(), "b");
        mount(root.path(), "a");
        std::fs::create_dir(root.path().join("..data")).unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        let names: Vec<_> = Mounts::at(root.path()).imports().unwrap().into_keys().collect();
        assert_eq!(names, ["a", "b"]);
        assert!(Mounts::at(root.path().join("absent")).imports().unwrap().is_empty());
    }
}
