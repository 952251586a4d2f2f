//! The config in an import's Secret, by the API.

use k8s_openapi::api::core::v1::Secret;
use kube::Config;

use crate::contract::key;
use crate::kubeconfig;
use crate::system::credential::{Credential, Endpoint, pem_bundle};

/// What is wrong with a Secret. No value is in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(
        "it has neither the key {} nor {} and {}; change spec.secret.items of its import",
        key::KUBECONFIG,
        key::SERVER,
        key::TOKEN
    )]
    Missing,
    #[error("key {0}: it is not UTF-8")]
    NotText(&'static str),
    #[error("key {0}: it is no PEM bundle of certificates")]
    NotPem(&'static str),
    #[error("key {0}: {1}")]
    Kubeconfig(&'static str, kubeconfig::Problem),
}

/// The config in a Secret with the usual keys: its kubeconfig, or, where the import chose other items, what
/// one is made of.
pub(crate) fn read_secret(secret: &Secret) -> Result<Config, Problem> {
    let text = |key: &'static str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value.map(|value| std::str::from_utf8(&value.0).map_err(|_| Problem::NotText(key))).transpose()
    };
    if let Some(text) = text(key::KUBECONFIG)? {
        return of_kubeconfig(key::KUBECONFIG, text);
    }
    let (Some(server), Some(token)) = (text(key::SERVER)?, text(key::TOKEN)?) else {
        return Err(Problem::Missing);
    };
    let ca = text(key::CA)?.filter(|pem| !pem.is_empty());
    let ca_bundle =
        ca.map(|pem| pem_bundle(pem.as_bytes().to_vec()).ok_or(Problem::NotPem(key::CA))).transpose()?;
    let credential = Credential {
        name: "import".into(),
        cluster_name: String::new(),
        endpoint: Endpoint {
            server: server.trim().into(),
            ca_bundle,
            tls_server_name: None,
            proxy_url: None,
        },
        namespace: text(key::NAMESPACE)?.unwrap_or("default").trim().into(),
        token: token.trim().to_owned().into(),
    };
    // By way of a kubeconfig, so that there is one reading of all of it.
    let kubeconfig = credential.kubeconfig().map_err(|_| Problem::Missing)?;
    of_kubeconfig(key::SERVER, &kubeconfig)
}

fn of_kubeconfig(key: &'static str, text: &str) -> Result<Config, Problem> {
    kubeconfig::read(text, None)
        .map(|(_, config)| config)
        .map_err(|problem| Problem::Kubeconfig(key, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ItemValue, SecretItem};
    use crate::system::credential::tests::credential;
    use k8s_openapi::ByteString;
    use rstest::rstest;
    use secrecy::ExposeSecret;

    const USUAL: &[SecretItem] = &[];

    #[rstest]
    #[case::the_usual_keys(USUAL.to_vec())]
    #[case::what_one_is_made_of(
        [("server", ItemValue::Server), ("ca.crt", ItemValue::CABundle), ("token", ItemValue::Token),
         ("namespace", ItemValue::Namespace)].map(|(key, value)| SecretItem { key: key.into(), value }).to_vec()
    )]
    fn secrets(#[case] items: Vec<SecretItem>) {
        let secret = Secret { data: Some(credential().data(&items).unwrap()), ..Default::default() };
        let config = read_secret(&secret).unwrap();
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
    #[case(&[("server", "https://c2"), ("token", "t0ken"), ("ca.crt", "t0ken")], "key ca.crt: it is no PEM")]
    fn no_secrets(#[case] values: &[(&str, &str)], #[case] said: &str) {
        let value = |(key, value): &(&str, &str)| (key.to_string(), ByteString(value.as_bytes().to_vec()));
        let secret = Secret { data: Some(values.iter().map(value).collect()), ..Default::default() };
        let error = read_secret(&secret).unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("t0ken"), "{error}");
    }
}
