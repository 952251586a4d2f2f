//! Configs for this cluster and others. Each reloads when its source changes (see [`LiveConfig`]).
//!
//! | from | by |
//! | --- | --- |
//! | an import that is mounted in this pod | [`import`]; [`imports`] for all of them |
//! | the Secret of an import, from the API server | [`from_import`] |
//! | a context of the kubeconfig | [`context()`]; [`contexts`] for all of them |
//! | the pod's own service account | [`in_cluster`] |
//! | the first of these that exists | [`load`] |
//!
//! The webhook mounts each import that a pod names into a folder of [`crate::contract::MOUNT_ROOT`].
//! The environment variable [`MOUNT_ROOT_ENV`] names another folder, for use outside a pod. The default namespace of an
//! import's config is that of the service account in the source.

mod contexts;
mod mounts;
mod secret;

use std::collections::BTreeMap;

use kube::{Api, Client, Config};

pub use self::contexts::Contexts;
pub use self::mounts::{MOUNT_ROOT_ENV, Mounts};
pub(crate) use self::secret::read_secret;
use crate::ServiceAccountImport;
pub use crate::error::ConfigError;
use crate::live::LiveConfig;

/// The config of the mounted import `name`.
///
/// # Errors
/// If it is not mounted, or its files are unusable.
pub fn import(name: &str) -> Result<LiveConfig, ConfigError> {
    Mounts::default().import(name)
}

/// The configs of all mounted imports, by name.
///
/// # Errors
/// If one of them is unusable, or the folder can't be listed. A missing folder means that there are no imports.
pub fn imports() -> Result<BTreeMap<String, LiveConfig>, ConfigError> {
    Mounts::default().imports()
}

/// The config of an import that is not mounted, from its Secret.
///
/// `client` is a client of the cluster that has the import. It needs the right to `get` the import and its Secret. If
/// getting the import is forbidden, the Secret is assumed to have its default name.
///
/// # Errors
/// If the import or its Secret does not exist or is unusable. The error includes the importer's failure message.
pub async fn from_import(client: &Client, namespace: &str, name: &str) -> Result<LiveConfig, ConfigError> {
    let imports = Api::<ServiceAccountImport>::namespaced(client.clone(), namespace);
    let import = match imports.get(name).await {
        Ok(import) => import,
        Err(error) if status_code(&error) == Some(403) => ServiceAccountImport::new(name, Default::default()),
        Err(error) => return Err(ConfigError::import(namespace, name, error)),
    };
    match LiveConfig::from_secret(client, namespace, &import.secret_name(), read_secret).await {
        // The import's status says why the Secret does not exist yet.
        Err(error) if import.failure_message().is_some() => Err(error.with_failure_message(&import)),
        result => result,
    }
}

/// The config of a context of the kubeconfig (`KUBECONFIG`, or `~/.kube/config`). `None`: the current context.
///
/// # Errors
/// If the context does not exist or is unusable.
pub fn context(name: Option<&str>) -> Result<LiveConfig, ConfigError> {
    Contexts::from_env().context(name)
}

/// The configs of all contexts of the kubeconfig, by name.
///
/// # Errors
/// If there is no kubeconfig, or one of its contexts is unusable.
pub fn contexts() -> Result<BTreeMap<String, LiveConfig>, ConfigError> {
    Contexts::from_env().contexts()
}

/// The config of the pod's own service account.
///
/// # Errors
/// If the program does not run in a pod, or the service account's token is not mounted.
pub fn in_cluster() -> Result<LiveConfig, ConfigError> {
    LiveConfig::from_files("the pod's service account", || {
        Config::incluster().map_err(|source| ConfigError::InCluster(Box::new(source)))
    })
}

/// A config for a program that runs inside and outside pods, from the first of these that exists:
///
/// 1. the kubeconfig context (from `KUBECONFIG`, or `~/.kube/config`) that the caller names;
/// 2. the mounted import, an error if there are several;
/// 3. in a pod, its own service account; elsewhere, such as on a laptop, the kubeconfig's current context.
///
/// # Errors
/// If the first that exists is unusable, or none exists.
pub fn load(context: Option<&str>) -> Result<LiveConfig, ConfigError> {
    let mounts = Mounts::default();
    let mounted = if context.is_none() { mounts.names()? } else { Vec::new() };
    // Kubernetes sets it in every container.
    let is_in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    match choose(context, &mounted, is_in_pod) {
        Choice::Context(name) => self::context(Some(name)),
        Choice::Import(name) => mounts.import(name),
        Choice::Ambiguous => Err(ConfigError::Ambiguous(mounted)),
        Choice::InCluster => in_cluster().map_err(|source| mounts.not_found(source)),
        Choice::CurrentContext => self::context(None).map_err(|source| mounts.not_found(source)),
    }
}

/// The config that [`load`] loads.
#[derive(Debug, PartialEq, Eq)]
enum Choice<'a> {
    Context(&'a str),
    Import(&'a str),
    Ambiguous,
    InCluster,
    CurrentContext,
}

fn choose<'a>(context: Option<&'a str>, mounted: &'a [String], is_in_pod: bool) -> Choice<'a> {
    match (context, mounted) {
        (Some(name), _) => Choice::Context(name),
        (None, [name]) => Choice::Import(name),
        (None, []) if is_in_pod => Choice::InCluster,
        (None, []) => Choice::CurrentContext,
        (None, _) => Choice::Ambiguous,
    }
}

fn status_code(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error { Some(status.code) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Some("c1"), &[], true, Choice::Context("c1"))]
    #[case(Some("c1"), &["a"], true, Choice::Context("c1"))]
    #[case(Some("c1"), &["a", "b"], false, Choice::Context("c1"))]
    #[case(None, &["a"], true, Choice::Import("a"))]
    #[case(None, &["a"], false, Choice::Import("a"))]
    #[case(None, &["a", "b"], true, Choice::Ambiguous)]
    #[case(None, &[], true, Choice::InCluster)]
    #[case(None, &[], false, Choice::CurrentContext)]
    fn load_uses_the_first_source_that_exists(
        #[case] context: Option<&str>,
        #[case] mounted: &[&str],
        #[case] is_in_pod: bool,
        #[case] expected: Choice<'_>,
    ) {
        let mounted: Vec<_> = mounted.iter().map(ToString::to_string).collect();
        assert_eq!(choose(context, &mounted, is_in_pod), expected);
    }
}
