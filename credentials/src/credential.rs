//! A credential, and its forms as the values of a Secret.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::ByteString;
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use mcsa_client::api::{ItemValue, SecretItem};
pub use mcsa_client::kubeconfig::{CaBundle, Endpoint};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::contract::key;

/// What a consumer needs to authenticate as a service account of a source.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The import's name, which the context, cluster and user in the kubeconfigs have, too.
    pub name: String,
    /// The source's name.
    pub cluster_name: String,
    /// How to reach the source's API server.
    pub endpoint: Endpoint,
    /// The service account's namespace.
    pub namespace: String,
    /// The bearer token. `Debug` does not show it.
    pub token: SecretString,
}

/// A kubeconfig could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("can't write the kubeconfig of {name}: {source}")]
pub struct FormatError {
    name: String,
    source: serde_saphyr::ser::Error,
}

/// The items of a Secret: those that the import selects, or the default ones, with the CA bundle if the source has one.
pub fn items(selected: &[SecretItem], with_ca: bool) -> Vec<SecretItem> {
    if !selected.is_empty() {
        return selected.to_vec();
    }
    let ca = with_ca.then_some((key::CA, ItemValue::CABundle));
    [
        (key::SERVER, ItemValue::Server),
        (key::NAMESPACE, ItemValue::Namespace),
        (key::TOKEN, ItemValue::Token),
        (key::CONFIG, ItemValue::KubeconfigFiles),
        (key::KUBECONFIG, ItemValue::Kubeconfig),
    ]
    .into_iter()
    .chain(ca)
    .map(|(key, value)| SecretItem { key: key.to_owned(), value })
    .collect()
}

impl Credential {
    /// The data of the Secret, with the keys of [`items`].
    ///
    /// # Errors
    /// If a kubeconfig can't be written.
    pub fn data(&self, selected: &[SecretItem]) -> Result<BTreeMap<String, ByteString>, FormatError> {
        items(selected, self.endpoint.ca_bundle.is_some())
            .into_iter()
            .map(|item| Ok((item.key, ByteString(self.value(item.value)?.into_bytes()))))
            .collect()
    }

    /// A self-contained kubeconfig.
    ///
    /// # Errors
    /// If it can't be written as YAML.
    pub fn kubeconfig(&self) -> Result<String, FormatError> {
        self.yaml(
            AuthInfo { token: Some(self.token.clone()), ..Default::default() },
            Cluster {
                certificate_authority_data: self.endpoint.ca_bundle.as_ref().map(|ca| STANDARD.encode(ca)),
                ..Default::default()
            },
        )
    }

    /// A kubeconfig that refers to the files `token` and `ca.crt` beside it, so that clients observe each refresh of
    /// the mount. kubectl and client-go resolve relative paths from the kubeconfig's folder.
    ///
    /// # Errors
    /// If it can't be written as YAML.
    pub fn kubeconfig_files(&self) -> Result<String, FormatError> {
        self.yaml(
            AuthInfo { token_file: Some(key::TOKEN.into()), ..Default::default() },
            Cluster {
                certificate_authority: self.endpoint.ca_bundle.as_ref().map(|_| key::CA.into()),
                ..Default::default()
            },
        )
    }

    fn yaml(&self, user: AuthInfo, cluster: Cluster) -> Result<String, FormatError> {
        let cluster = Cluster {
            server: Some(self.endpoint.server.clone()),
            tls_server_name: self.endpoint.tls_server_name.clone(),
            proxy_url: self.endpoint.proxy_url.clone(),
            ..cluster
        };
        let name = &self.name;
        self.write(&kubeconfig(&Names { context: name, cluster: name, user: name }, self, user, cluster))
    }

    /// A kubeconfig as YAML.
    pub(crate) fn write(&self, kubeconfig: &Kubeconfig) -> Result<String, FormatError> {
        serde_saphyr::to_string(kubeconfig).map_err(|source| FormatError { name: self.name.clone(), source })
    }

    fn value(&self, value: ItemValue) -> Result<String, FormatError> {
        let ca = self.endpoint.ca_bundle.as_deref().unwrap_or_default();
        Ok(match value {
            ItemValue::Server => self.endpoint.server.clone(),
            ItemValue::CABundle => ca.to_owned(),
            ItemValue::Namespace => self.namespace.clone(),
            ItemValue::Token => self.token.expose_secret().to_owned(),
            ItemValue::Kubeconfig => self.kubeconfig()?,
            ItemValue::KubeconfigFiles => self.kubeconfig_files()?,
            ItemValue::ClusterName => self.cluster_name.clone(),
            ItemValue::ArgoCDConfig => self.argo_cd_config().to_string(),
            ItemValue::RestConfig => self.rest_config().to_string(),
        })
    }

    /// <https://argo-cd.readthedocs.io/en/stable/operator-manual/declarative-setup/#clusters>
    pub(crate) fn argo_cd_config(&self) -> Value {
        let mut tls = json!({ "insecure": false });
        if let Some(ca) = &self.endpoint.ca_bundle {
            tls["caData"] = STANDARD.encode(ca).into();
        }
        if let Some(name) = &self.endpoint.tls_server_name {
            tls["serverName"] = name.as_str().into();
        }
        let mut config = json!({ "bearerToken": self.token.expose_secret(), "tlsClientConfig": tls });
        if let Some(proxy) = &self.endpoint.proxy_url {
            config["proxyUrl"] = proxy.as_str().into();
        }
        config
    }

    /// <https://pkg.go.dev/k8s.io/client-go/rest#Config>, whose `CAData` is base64 in JSON.
    pub(crate) fn rest_config(&self) -> Value {
        let mut tls = json!({ "Insecure": false });
        if let Some(ca) = &self.endpoint.ca_bundle {
            tls["CAData"] = STANDARD.encode(ca).into();
        }
        if let Some(name) = &self.endpoint.tls_server_name {
            tls["ServerName"] = name.as_str().into();
        }
        json!({
            "Host": self.endpoint.server,
            "BearerToken": self.token.expose_secret(),
            "TLSClientConfig": tls,
        })
    }
}

/// The names of the context, cluster and user in a kubeconfig.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) context: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) user: &'a str,
}

/// A kubeconfig with one context, in the service account's namespace.
pub(crate) fn kubeconfig(
    names: &Names<'_>,
    credential: &Credential,
    user: AuthInfo,
    cluster: Cluster,
) -> Kubeconfig {
    let [context, cluster_name, user_name] = [names.context, names.cluster, names.user].map(str::to_owned);
    Kubeconfig {
        api_version: Some("v1".into()),
        kind: Some("Config".into()),
        current_context: Some(context.clone()),
        clusters: vec![NamedCluster {
            name: cluster_name.clone(),
            cluster: Some(cluster),
            ..Default::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: user_name.clone(),
            auth_info: Some(user),
            ..Default::default()
        }],
        contexts: vec![NamedContext {
            name: context,
            context: Some(Context {
                cluster: cluster_name,
                user: Some(user_name),
                namespace: Some(credential.namespace.clone()),
                ..Default::default()
            }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use mcsa_client::config::Mounts;
    use std::sync::LazyLock;

    /// A certificate in PEM, as [`CaBundle::pem`] writes it.
    static CA: LazyLock<String> = LazyLock::new(|| {
        let generated = rcgen::generate_simple_self_signed(["c2".to_owned()]).unwrap().cert.pem();
        CaBundle::parse("CA", generated.as_bytes()).unwrap().pem()
    });

    pub(crate) fn credential() -> Credential {
        Credential {
            name: "c2-pod-lister".into(),
            cluster_name: "c2".into(),
            endpoint: Endpoint {
                server: "https://c2.example:6443".into(),
                ca_bundle: Some(CA.clone()),
                tls_server_name: None,
                proxy_url: None,
            },
            namespace: "default".into(),
            token: "t0ken".to_owned().into(),
        }
    }

    fn keys(data: &BTreeMap<String, ByteString>) -> Vec<&str> {
        data.keys().map(String::as_str).collect()
    }

    #[test]
    fn credential_has_the_default_keys() {
        let data = credential().data(&[]).unwrap();
        assert_eq!(keys(&data), ["ca.crt", "config", "kubeconfig", "namespace", "server", "token"]);
        assert_eq!(data["token"].0, b"t0ken");
    }

    #[test]
    fn missing_ca_bundle_is_omitted() {
        let mut credential = credential();
        credential.endpoint.ca_bundle = None;
        let data = credential.data(&[]).unwrap();
        assert!(!data.contains_key("ca.crt"));
        assert!(!credential.kubeconfig_files().unwrap().contains("certificate-authority"));
    }

    #[test]
    fn kubeconfigs_can_be_read_back() {
        let mut credential = credential();
        // Names that are not strings in YAML unless they are quoted.
        for (name, namespace) in
            [("c2-pod-lister", "default"), ("1.0", "true"), ("0x10", "null"), ("1e3", "on")]
        {
            credential.name = name.into();
            credential.namespace = namespace.into();
            let inline = Kubeconfig::from_yaml(&credential.kubeconfig().unwrap()).unwrap();
            assert_eq!(inline.current_context.as_deref(), Some(name));
            let context = inline.contexts[0].context.as_ref().unwrap();
            assert_eq!(context.namespace.as_deref(), Some(namespace));
            let user = inline.auth_infos[0].auth_info.as_ref().unwrap();
            assert_eq!(user.token.as_ref().unwrap().expose_secret(), "t0ken");

            let files = Kubeconfig::from_yaml(&credential.kubeconfig_files().unwrap()).unwrap();
            let user = files.auth_infos[0].auth_info.as_ref().unwrap();
            assert_eq!((user.token_file.as_deref(), user.token.is_some()), (Some("token"), false));
            let cluster = files.clusters[0].cluster.as_ref().unwrap();
            assert_eq!(cluster.certificate_authority.as_deref(), Some("ca.crt"));
        }
    }

    #[test]
    fn the_client_reads_a_mounted_credential() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("c2-pod-lister");
        std::fs::create_dir(&folder).unwrap();
        let mut credential = credential();
        credential.endpoint.ca_bundle = Some(rcgen::generate_simple_self_signed([]).unwrap().cert.pem());
        for (key, value) in credential.data(&[]).unwrap() {
            std::fs::write(folder.join(key), value.0).unwrap();
        }
        let config = Mounts::in_dir(root.path()).import("c2-pod-lister").unwrap().config();
        assert_eq!(config.cluster_url, "https://c2.example:6443/");
        assert_eq!(config.default_namespace, "default");
        assert_eq!(config.root_cert.unwrap().len(), 1);
        assert_eq!(config.auth_info.token.unwrap().expose_secret(), "t0ken");
    }

    #[test]
    fn selected_items_replace_the_default_ones() {
        let items = [
            SecretItem { key: "name".into(), value: ItemValue::ClusterName },
            SecretItem { key: "config".into(), value: ItemValue::ArgoCDConfig },
        ];
        let data = credential().data(&items).unwrap();
        assert_eq!(keys(&data), ["config", "name"]);
        let config: serde_json::Value = serde_json::from_slice(&data["config"].0).unwrap();
        assert_eq!(config["bearerToken"], "t0ken");
        assert_eq!(config["tlsClientConfig"]["insecure"], false);
    }

    #[test]
    fn debug_output_does_not_show_the_token() {
        assert!(!format!("{:?}", credential()).contains("t0ken"));
    }
}
