//! A service account of a source with revocable tokens.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mcsa_client::contract::CLUSTER_UID;
use mcsa_credentials::SecretString;
use mcsa_credentials::credential::{Credential, Endpoint};
use mcsa_credentials::token;
use mcsa_tests::{Cluster, create_pod_lister, eventually};

/// The service account `pod-lister` of a namespace.
#[derive(Clone)]
pub struct Identity {
    source: Client,
    namespace: String,
    endpoint: Endpoint,
}

impl Identity {
    pub async fn new(source: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        create_pod_lister(source, namespace).await?;
        let endpoint = Endpoint {
            server: source.server(),
            ca_bundle: Some(source.ca_pem().into()),
            tls_server_name: None,
            proxy_url: None,
        };
        Ok(Self { source: source.client(), namespace: namespace.into(), endpoint })
    }

    /// The same service account with another server address.
    pub fn with_server(&self, server: &str) -> Self {
        let endpoint = Endpoint { server: server.into(), ..self.endpoint.clone() };
        Self { endpoint, ..self.clone() }
    }

    /// The same service account with another CA bundle.
    pub fn with_ca_bundle(&self, ca_bundle: &str) -> Self {
        let endpoint = Endpoint { ca_bundle: Some(ca_bundle.into()), ..self.endpoint.clone() };
        Self { endpoint, ..self.clone() }
    }

    /// Mints a token that is bound to a new Secret of this name.
    pub async fn token(&self, cluster: &Cluster, bound_to: &str) -> anyhow::Result<SecretString> {
        cluster.kubectl(["-n", &self.namespace, "create", "secret", "generic", bound_to]).await?;
        let accounts = Api::<ServiceAccount>::namespaced(self.source.clone(), &self.namespace);
        let request = token::request(3600, &[], Some(bound_to));
        let response = accounts.create_token_request("pod-lister", &PostParams::default(), &request).await?;
        Ok(response.status.context("the response has no token")?.token.into())
    }

    pub fn credential(&self, token: &SecretString) -> Credential {
        Credential {
            name: "c2-pod-lister".into(),
            cluster_name: "c2".into(),
            endpoint: self.endpoint.clone(),
            namespace: self.namespace.clone(),
            token: token.clone(),
        }
    }

    /// The values of an import's Secret.
    pub fn values(&self, token: &SecretString) -> anyhow::Result<BTreeMap<String, String>> {
        let data = self.credential(token).data(&[])?;
        data.into_iter().map(|(key, value)| Ok((key, String::from_utf8(value.0)?))).collect()
    }

    /// Revokes the token that is bound to this Secret, and waits until it is rejected.
    pub async fn revoke(
        &self,
        cluster: &Cluster,
        bound_to: &str,
        token: &SecretString,
    ) -> anyhow::Result<()> {
        cluster.kubectl(["-n", &self.namespace, "delete", "secret", bound_to]).await?;
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&self.credential(token).kubeconfig()?)?;
        let client = mcsa_tests::client(kubeconfig)?;
        eventually("the token is rejected", async || match client.apiserver_version().await {
            Err(kube::Error::Api(status)) if status.code == 401 => Ok(()),
            Err(error) => bail!("{error}"),
            Ok(_) => bail!("the token is still accepted"),
        })
        .await;
        Ok(())
    }
}

/// Writes a Secret like the importer, with the UID of its source.
pub async fn write_secret(
    secrets: &Api<Secret>,
    name: &str,
    values: &BTreeMap<String, String>,
    cluster_uid: Option<&str>,
) -> anyhow::Result<()> {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.into());
    secret.metadata.annotations = cluster_uid.map(|uid| [(CLUSTER_UID.to_owned(), uid.to_owned())].into());
    let value = |(key, value): (&String, &String)| (key.clone(), ByteString(value.clone().into_bytes()));
    secret.data = Some(values.iter().map(value).collect());
    secrets.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(secret)).await?;
    Ok(())
}
