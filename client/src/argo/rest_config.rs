//! The Secret [`CLUSTERS`](super::CLUSTERS): under each cluster's name, client-go's
//! [`rest.Config`](https://pkg.go.dev/k8s.io/client-go/rest#Config) as JSON. As in client-go, field names are
//! case-insensitive, and unknown fields are ignored.

mod fields;

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::Config;
use kube::config::AuthInfo;
use serde_json::Value;

use self::fields::Fields;
use super::Reader;
use super::error::{ArgoError, Place, Problem, if_encoded, require_credential, text};
use crate::kubeconfig::{CaBundle, FieldProblem, Policy, decode_pem, proxy, server_url};

const CA: &str = "TLSClientConfig.CAData";

const FIX: &str = "add the rest config of the cluster under its name, as kubemcsa export --format \
                   argo-clusters prints it";

impl Reader {
    /// All clusters of the Secret [`CLUSTERS`](super::CLUSTERS), by name.
    ///
    /// # Errors
    /// If one of them cannot be used, or there is none.
    pub fn rest_configs(self, secret: &Secret) -> Result<BTreeMap<String, Config>, ArgoError> {
        let names: Vec<_> = secret.data.iter().flatten().map(|(name, _)| name).collect();
        if names.is_empty() {
            return Err(Place::of(secret, None).error(Problem::Empty(FIX)));
        }
        names.into_iter().map(|name| Ok((name.clone(), self.rest_config(secret, name)?))).collect()
    }

    /// One cluster of the Secret [`CLUSTERS`](super::CLUSTERS). Errors of other clusters are ignored.
    ///
    /// # Errors
    /// If the cluster does not exist, or cannot be used.
    pub fn rest_config(self, secret: &Secret, cluster: &str) -> Result<Config, ArgoError> {
        let read = text(secret, cluster, FIX).and_then(|text| config(text, self.policy()));
        read.map_err(|problem| Place::of(secret, Some(cluster)).error(problem))
    }
}

fn config(text: &str, policy: Policy) -> Result<Config, Problem> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        // Not the error's text, which may quote the value.
        let (line, column) = (error.line(), error.column());
        if_encoded(text, Problem::NotJson { line, column, fix: FIX })
    })?;
    let fields = Fields::of("the value", &value)?;
    let tls = fields.inner("TLSClientConfig")?;
    fields.refuse(&["BearerTokenFile", "ExecProvider", "AuthProvider"])?;
    tls.refuse(&["CertFile", "KeyFile", "CAFile"])?;

    let host = fields.text("Host")?.ok_or(Problem::NoField("Host", FIX))?;
    // client-go would use HTTP without TLS settings.
    let server = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
    let ca = tls.text("CAData")?;
    let ca = ca.map(|data| CaBundle::parse(CA, &decode_pem(CA, data)?)).transpose()?;
    let insecure = tls.flag("Insecure")?;
    if insecure && policy == Policy::Data {
        return Err(Problem::Insecure("TLSClientConfig.Insecure"));
    }
    if insecure && ca.is_some() {
        return Err(Problem::InsecureAuthority("TLSClientConfig.Insecure"));
    }

    let mut config = Config::new(server_url(&server, policy).map_err(|problem| match problem {
        FieldProblem::NotHttps => problem.into(),
        _ => Problem::NotAUrl("Host"),
    })?);
    config.proxy_url = proxy::proxy_for(&config.cluster_url, None).map_err(Problem::Proxy)?;
    config.root_cert = ca.map(|ca| ca.der().to_vec());
    config.accept_invalid_certs = insecure;
    config.tls_server_name = tls.text("ServerName")?.map(str::to_owned);
    config.disable_compression = fields.flag("DisableCompression")?;
    config.auth_info = user(&fields, &tls)?;
    Ok(config)
}

fn user(fields: &Fields<'_>, tls: &Fields<'_>) -> Result<AuthInfo, Problem> {
    let (cert, key) = (tls.text("CertData")?, tls.text("KeyData")?);
    if cert.is_some() != key.is_some() {
        return Err(Problem::HalfACertificate("TLSClientConfig.CertData", "TLSClientConfig.KeyData"));
    }
    let pem = |field, data: &str| decode_pem(field, data).map(|pem| STANDARD.encode(pem));
    let impersonated = fields.inner("Impersonate")?;
    let user = AuthInfo {
        token: fields.text("BearerToken")?.map(|token| token.to_owned().into()),
        username: fields.text("Username")?.map(str::to_owned),
        password: fields.text("Password")?.map(|password| password.to_owned().into()),
        client_certificate_data: cert.map(|data| pem("TLSClientConfig.CertData", data)).transpose()?,
        client_key_data: key.map(|data| pem("TLSClientConfig.KeyData", data)).transpose()?.map(Into::into),
        impersonate: impersonated.text("UserName")?.map(str::to_owned),
        impersonate_uid: impersonated.text("UID")?.map(str::to_owned),
        impersonate_groups: impersonated.read("Groups", "a list of strings")?,
        impersonate_user_extra: impersonated.read("Extra", "a map of string lists")?,
        ..Default::default()
    };
    require_credential(&user)?;
    Ok(user)
}

#[cfg(test)]
mod tests;
