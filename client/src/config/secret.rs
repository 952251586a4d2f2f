//! Reads the config in an import's Secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::Config;
use kube::config::{AuthInfo, Cluster};

use crate::contract::key;
use crate::kubeconfig::{self, Chosen, Verification, pem_bundle};

/// What is wrong with a Secret. It contains no value of the Secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(
        "it has neither the key {} nor {} and {}: change spec.secret.items of its import",
        key::KUBECONFIG,
        key::SERVER,
        key::TOKEN
    )]
    MissingKeys,
    #[error("key {0}: its value is not UTF-8")]
    NotText(&'static str),
    #[error("key {0}: its value is not a PEM bundle of certificates")]
    NotPem(&'static str),
    #[error("key {0}: {1}")]
    Kubeconfig(&'static str, kubeconfig::Problem),
}

/// Reads the key `kubeconfig`, or, if the import chose other items, `server`, `token`, `ca.crt` and `namespace`.
pub(crate) fn read_secret(secret: &Secret) -> Result<Config, Problem> {
    let text = |key: &'static str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value.map(|value| std::str::from_utf8(&value.0).map_err(|_| Problem::NotText(key))).transpose()
    };
    let problem = |key| move |problem| Problem::Kubeconfig(key, problem);
    if let Some(text) = text(key::KUBECONFIG)? {
        return kubeconfig::read(text, None).map(|(_, config)| config).map_err(problem(key::KUBECONFIG));
    }
    let (Some(server), Some(token)) = (text(key::SERVER)?, text(key::TOKEN)?) else {
        return Err(Problem::MissingKeys);
    };
    let ca = text(key::CA)?.filter(|pem| !pem.is_empty());
    let ca = ca.map(|pem| pem_bundle(pem.as_bytes().to_vec()).ok_or(Problem::NotPem(key::CA))).transpose()?;
    // Build a kubeconfig, so that the same checks apply.
    let cluster = Cluster {
        server: Some(server.trim().to_owned()),
        certificate_authority_data: ca.map(|pem| STANDARD.encode(pem)),
        ..Default::default()
    };
    let user = AuthInfo { token: Some(token.trim().to_owned().into()), ..Default::default() };
    let namespace = text(key::NAMESPACE)?.map(str::trim).filter(|namespace| !namespace.is_empty());
    let chosen = Chosen { cluster: &cluster, user: Some(&user), namespace };
    chosen.read(Verification::Certificate).map(|(_, config)| config).map_err(problem(key::SERVER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeconfig::tests::KUBECONFIG;
    use k8s_openapi::ByteString;
    use rstest::rstest;
    use secrecy::ExposeSecret;

    fn secret(values: &[(&str, &str)]) -> Secret {
        let value = |(key, value): &(&str, &str)| (key.to_string(), ByteString(value.as_bytes().to_vec()));
        Secret { data: Some(values.iter().map(value).collect()), ..Default::default() }
    }

    #[rstest]
    #[case::kubeconfig(&[("kubeconfig", KUBECONFIG)])]
    #[case::separate_keys(&[
        ("server", "https://c2.example:6443"),
        ("ca.crt", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
        ("token", "t0ken"),
        ("namespace", "default"),
    ])]
    fn usable_secrets(#[case] values: &[(&str, &str)]) {
        let config = read_secret(&secret(values)).unwrap();
        assert_eq!(config.cluster_url, "https://c2.example:6443/");
        assert_eq!(config.default_namespace, "default");
        assert_eq!(config.root_cert.unwrap().len(), 1);
        assert_eq!(config.auth_info.token.unwrap().expose_secret(), "t0ken");
    }

    #[rstest]
    #[case(&[], "neither the key kubeconfig nor server and token")]
    #[case(&[("token", "t0ken")], "neither")]
    #[case(&[("kubeconfig", "t0ken: [")], "key kubeconfig: it is not a kubeconfig")]
    #[case(&[("server", "http://c2"), ("token", "t0ken")], "key server: its server does not begin with https://")]
    #[case(&[("server", "https://c2"), ("token", "t0ken"), ("ca.crt", "t0ken")], "key ca.crt: its value is not a PEM")]
    fn unusable_secrets(#[case] values: &[(&str, &str)], #[case] expected: &str) {
        let error = read_secret(&secret(values)).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("t0ken"), "{error}");
    }
}
