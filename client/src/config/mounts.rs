//! Mounted imports.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use kube::Config;

use crate::contract::{self, key};
use crate::error::ConfigError;
use crate::kubeconfig::{FieldProblem, Kubeconfig, Policy};
use crate::live::LiveConfig;
use crate::names::is_dns_subdomain;

/// Environment variable that names another folder than [`crate::contract::MOUNT_ROOT`].
pub const MOUNT_ROOT_ENV: &str = "MCSA_MOUNT_ROOT";

/// The most attempts to read a mount, which may be replaced while it is read.
const MAX_ATTEMPTS: u32 = 5;

/// Why a mount can't be read.
enum ReadError {
    /// The mount was replaced meanwhile: retry.
    Replaced(ConfigError),
    Permanent(ConfigError),
}

/// A folder that contains a folder for each import.
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
    pub fn in_dir(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Like [`super::import`], from this folder.
    ///
    /// # Errors
    /// As for [`super::import`].
    pub fn import(&self, name: &str) -> Result<LiveConfig, ConfigError> {
        let (mounts, name) = (self.clone(), name.to_owned());
        LiveConfig::from_files(format!("mounted import {name}"), move || mounts.read(&name))
    }

    /// Like [`super::imports`], from this folder.
    ///
    /// # Errors
    /// As for [`super::imports`].
    pub fn imports(&self) -> Result<BTreeMap<String, LiveConfig>, ConfigError> {
        self.names()?.into_iter().map(|name| self.import(&name).map(|config| (name, config))).collect()
    }

    pub(super) fn not_found(&self, source: ConfigError) -> ConfigError {
        ConfigError::NotFound { root: self.root.clone(), source: Box::new(source) }
    }

    /// Reads the import `name`. All values come from the same refresh of the mount.
    pub(crate) fn read(&self, name: &str) -> Result<Config, ConfigError> {
        if !is_dns_subdomain(name) {
            return Err(ConfigError::InvalidName(name.into()));
        }
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.read_once(name) {
                Err(ReadError::Replaced(_)) if attempts < MAX_ATTEMPTS => {}
                Err(ReadError::Replaced(error) | ReadError::Permanent(error)) => return Err(error),
                Ok(config) => return Ok(config),
            }
        }
    }

    fn read_once(&self, name: &str) -> Result<Config, ReadError> {
        let path = self.root.join(name).join(key::CONFIG);
        // The kubelet replaces all files at once by changing a symbolic link. Resolve it only once, so that all files
        // come from the same refresh.
        let not_mounted = |_| ConfigError::NotMounted { name: name.into(), root: self.root.clone() };
        let path = path.canonicalize().map_err(not_mounted).map_err(ReadError::Permanent)?;
        let unreadable = |path: PathBuf, source| {
            let error = ConfigError::Unreadable { path, source };
            if self.root.join(name).join(key::CONFIG).canonicalize().is_ok() {
                ReadError::Replaced(error)
            } else {
                ReadError::Permanent(error)
            }
        };
        let text = std::fs::read_to_string(&path).map_err(|source| unreadable(path.clone(), source))?;
        let context =
            Kubeconfig::from_data(&text, Some(&path)).and_then(|read| read.context(None, Policy::Mount));
        context.map(|context| context.config).map_err(|problem| match problem.field() {
            Some(FieldProblem::Unreadable { path, error, .. }) => {
                unreadable(path.clone(), error.clone().into())
            }
            _ => ReadError::Permanent(ConfigError::Kubeconfig {
                name: name.into(),
                problem: problem.to_string(),
            }),
        })
    }

    /// The sorted names of the mounted imports. Skips the kubelet's own symbolic links, which begin with two dots.
    pub(crate) fn names(&self) -> Result<Vec<String>, ConfigError> {
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
    use crate::kubeconfig::tests::KUBECONFIG;
    use secrecy::ExposeSecret;
    use std::path::Path;

    /// Writes an import the way the kubelet mounts it.
    fn mount(root: &Path, name: &str) {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let authority = rcgen::generate_simple_self_signed([]).unwrap().cert.pem();
        let lines = KUBECONFIG.lines().map(|line| match line.trim().split_once(": ") {
            Some(("certificate-authority-data", _)) => "    certificate-authority: ca.crt",
            Some(("token", _)) => "    tokenFile: token",
            _ => line,
        });
        let config = lines.collect::<Vec<_>>().join("\n");
        for (key, value) in [("config", config.as_str()), ("token", "t0ken"), ("ca.crt", &authority)] {
            std::fs::write(folder.join(key), value).unwrap();
        }
    }

    #[test]
    fn a_mounted_import_is_read() {
        let root = tempfile::tempdir().unwrap();
        mount(root.path(), "c2-pod-lister");
        let config = Mounts::in_dir(root.path()).read("c2-pod-lister").unwrap();
        assert_eq!(config.cluster_url, "https://c2.example:6443/");
        assert_eq!(config.default_namespace, "default");
        assert_eq!(config.root_cert.unwrap().len(), 1);
        assert_eq!(config.auth_info.token.unwrap().expose_secret(), "t0ken");
    }

    #[test]
    fn errors_name_the_import_that_is_not_mounted() {
        let root = tempfile::tempdir().unwrap();
        let error = Mounts::in_dir(root.path()).read("absent").unwrap_err().to_string();
        assert!(
            error.contains("import absent is not mounted") && error.contains(contract::IMPORT_NAME),
            "{error}"
        );
        assert!(matches!(Mounts::in_dir(root.path()).read("../x"), Err(ConfigError::InvalidName(_))));
    }

    #[test]
    fn only_folders_of_imports_are_listed() {
        let root = tempfile::tempdir().unwrap();
        mount(root.path(), "b");
        mount(root.path(), "a");
        std::fs::create_dir(root.path().join("..data")).unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        let names: Vec<_> = Mounts::in_dir(root.path()).imports().unwrap().into_keys().collect();
        assert_eq!(names, ["a", "b"]);
        assert!(Mounts::in_dir(root.path().join("absent")).imports().unwrap().is_empty());
    }
}
