//! Reads the config in an import's Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::Config;

use crate::contract::key;
use crate::kubeconfig::{self, FieldProblem, Kubeconfig, Policy, config_of_values};

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
    #[error("key {0}: {1}")]
    Kubeconfig(&'static str, kubeconfig::Problem),
    #[error(transparent)]
    Value(FieldProblem),
}

/// Reads the key `kubeconfig`, or, if the import chose other items, `server`, `token`, `ca.crt` and `namespace`.
pub(crate) fn read_secret(secret: &Secret) -> Result<Config, Problem> {
    let value = |key: &str| secret.data.as_ref()?.get(key).map(|value| value.0.as_slice());
    let text = |key: &'static str| {
        value(key).map(|value| std::str::from_utf8(value).map_err(|_| Problem::NotText(key))).transpose()
    };
    if let Some(text) = text(key::KUBECONFIG)? {
        let context = Kubeconfig::from_data(text, None).and_then(|read| read.context(None, Policy::Data));
        return context
            .map(|context| context.config)
            .map_err(|problem| Problem::Kubeconfig(key::KUBECONFIG, problem));
    }
    let (Some(server), Some(token)) = (text(key::SERVER)?, text(key::TOKEN)?) else {
        return Err(Problem::MissingKeys);
    };
    let ca = value(key::CA).filter(|pem| !pem.is_empty()).map(|pem| (key::CA, pem));
    let namespace = text(key::NAMESPACE)?.map(str::trim).filter(|namespace| !namespace.is_empty());
    config_of_values(server, ca, token, namespace).map_err(Problem::Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeconfig::tests::{CA, KUBECONFIG};
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
        ("ca.crt", CA),
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
    #[case(&[("kubeconfig", "t0ken: [")], "key kubeconfig: line 1, column 8: it is not a kubeconfig")]
    #[case(&[("server", "http://c2"), ("token", "t0ken")], "server does not begin with https://")]
    #[case(&[("server", "https://c2"), ("token", "t0ken"), ("ca.crt", "t0ken")], "ca.crt has no readable certificate")]
    fn unusable_secrets(#[case] values: &[(&str, &str)], #[case] expected: &str) {
        let error = read_secret(&secret(values)).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("t0ken"), "{error}");
    }
}
