//! Kubeconfigs of clusters.

use std::fs;
use std::path::Path;

use anyhow::Context;
use base64::prelude::{BASE64_STANDARD, Engine};
use kube::config::{AuthInfo, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use crate::pki::Identity;

/// A kubeconfig whose context, cluster and user are named after the cluster.
pub(crate) fn kubeconfig(
    name: &str,
    server: &str,
    authority: &str,
    user: &Identity,
) -> anyhow::Result<Kubeconfig> {
    let encode = |pem: &str| BASE64_STANDARD.encode(pem);
    let value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {
            "server": server,
            "certificate-authority-data": encode(authority),
        }}],
        "users": [{"name": name, "user": {
            "client-certificate-data": encode(&user.certificate),
            "client-key-data": encode(&user.key),
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    });
    serde_json::from_value(value).with_context(|| format!("composing the kubeconfig of {name}"))
}

/// The same kubeconfig with a token as the credential.
pub(crate) fn with_token(mut kubeconfig: Kubeconfig, token: &str) -> Kubeconfig {
    for user in &mut kubeconfig.auth_infos {
        let token = Some(token.to_owned().into());
        user.auth_info = Some(AuthInfo { token, ..Default::default() });
    }
    kubeconfig
}

/// The same kubeconfig with another server address.
pub fn kubeconfig_with_server(mut kubeconfig: Kubeconfig, server: &str) -> Kubeconfig {
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
        cluster.server = Some(server.to_owned());
    }
    kubeconfig
}

/// A client for the current context.
pub fn client(kubeconfig: Kubeconfig) -> anyhow::Result<Client> {
    crate::init();
    let mut config = Config::try_from(kubeconfig)?;
    // A proxy from the environment does not reach loopback addresses.
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

pub(crate) fn write(kubeconfig: &Kubeconfig, path: &Path) -> anyhow::Result<()> {
    let yaml = serde_saphyr::to_string(kubeconfig).context("writing a kubeconfig as YAML")?;
    fs::write(path, yaml).with_context(|| format!("writing {}", path.display()))
}
