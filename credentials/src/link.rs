//! Links: the importer's credentials for sources.
//!
//! A link is a Secret in the system namespace with the label [`contract::LINK_LABEL`] and the key `kubeconfig`. An
//! import or a person created it. Kubeconfigs that would run a command or read a file of the importer are rejected.

use k8s_openapi::api::core::v1::Secret;
use kube::{Config, ResourceExt};
use mcsa_client::kubeconfig::{self, Context, Kubeconfig, Policy};

use crate::contract::{self, key};
use crate::credential::Endpoint;

/// The importer's credential for a source.
#[derive(Clone, Debug)]
pub struct Link {
    /// The source's name, as in `spec.clusterName` of imports.
    pub cluster_name: String,
    /// UID of the source. `None`: the link does not pin it.
    pub cluster_uid: Option<String>,
    /// How to reach the source, also for consumers.
    pub endpoint: Endpoint,
    /// The importer's config.
    pub config: Config,
}

/// A Secret with the link label is not a valid link.
#[derive(Debug, thiserror::Error)]
#[error("Secret {namespace}/{name} is not a valid link: {problem}")]
pub struct LinkError {
    namespace: String,
    name: String,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("it has no key {}: add a kubeconfig, or run kubemcsa bootstrap again", key::KUBECONFIG)]
    MissingKey,
    #[error(
        "the value of its key {} is not UTF-8: correct it, or run kubemcsa bootstrap again",
        key::KUBECONFIG
    )]
    NotText,
    #[error("the kubeconfig in its key {key}: {0}; correct it, or run kubemcsa bootstrap again", key = key::KUBECONFIG)]
    Kubeconfig(kubeconfig::Problem),
}

/// The name of a link's source: the Secret's annotation, or else the Secret's name.
pub fn cluster_name(secret: &Secret) -> String {
    secret.annotations().get(contract::CLUSTER_NAME).cloned().unwrap_or_else(|| secret.name_any())
}

impl Link {
    /// Reads the link in `secret`.
    ///
    /// # Errors
    /// If the Secret has no kubeconfig, or one that is not self-contained. The error names the Secret and the field,
    /// and never quotes a value.
    pub fn read(secret: &Secret) -> Result<Self, LinkError> {
        read(secret).map_err(|problem| LinkError {
            namespace: secret.namespace().unwrap_or_default(),
            name: secret.name_any(),
            problem,
        })
    }
}

fn read(secret: &Secret) -> Result<Link, Problem> {
    let value = secret.data.as_ref().and_then(|data| data.get(key::KUBECONFIG)).ok_or(Problem::MissingKey)?;
    let text = std::str::from_utf8(&value.0).map_err(|_| Problem::NotText)?;
    let context = Kubeconfig::from_data(text, None).and_then(|read| read.context(None, Policy::Data));
    let Context { endpoint, config, .. } = context.map_err(Problem::Kubeconfig)?;
    Ok(Link {
        cluster_name: cluster_name(secret),
        cluster_uid: secret.annotations().get(contract::CLUSTER_UID).cloned(),
        endpoint,
        config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::tests::credential;
    use k8s_openapi::ByteString;
    use rstest::rstest;

    fn secret(kubeconfig: &str) -> Secret {
        let mut secret = Secret {
            data: Some([(key::KUBECONFIG.to_owned(), ByteString(kubeconfig.as_bytes().to_vec()))].into()),
            ..Default::default()
        };
        secret.metadata.name = Some("c2".into());
        secret.metadata.namespace = Some(contract::SYSTEM_NAMESPACE.into());
        secret
    }

    #[test]
    fn the_kubeconfig_of_a_credential_is_a_valid_link() {
        let credential = credential();
        let mut secret = secret(&credential.kubeconfig().unwrap());
        let link = Link::read(&secret).unwrap();
        assert_eq!((link.cluster_name.as_str(), link.cluster_uid), ("c2", None));
        assert_eq!(link.endpoint, credential.endpoint);

        let annotations = [(contract::CLUSTER_NAME, "prod"), (contract::CLUSTER_UID, "u-1")];
        secret.annotations_mut().extend(annotations.map(|(key, value)| (key.into(), value.into())));
        let link = Link::read(&secret).unwrap();
        assert_eq!((link.cluster_name.as_str(), link.cluster_uid.as_deref()), ("prod", Some("u-1")));
    }

    #[rstest]
    #[case("token: t0ken", "tokenFile: /etc/shadow", "tokenFile")]
    #[case("token: t0ken", "exec: {command: sh, args: [-c, id]}", "exec")]
    #[case("server: ", "insecure-skip-tls-verify: true\n    server: ", "insecure-skip-tls-verify")]
    #[case("server: ", "certificate-authority: /etc/passwd\n    server: ", "certificate-authority")]
    #[case("current-context: c2-pod-lister", "current-context: other", "has no context")]
    #[case("https://c2", "http://c2", "https://")]
    #[case("clusters:", "clusters: t0ken", "not a kubeconfig")]
    #[case("https://c2", "https://c 2", "server is not a URL")]
    fn invalid_links_are_rejected_without_quoting_them(
        #[case] from: &str,
        #[case] to: &str,
        #[case] expected: &str,
    ) {
        let valid = credential().kubeconfig().unwrap();
        let invalid = valid.replacen(from, to, 1);
        assert_ne!(valid, invalid, "the case replaces nothing in:\n{valid}");
        let error = Link::read(&secret(&invalid)).unwrap_err().to_string();
        assert!(error.contains("multicluster-service-account/c2") && error.contains(expected), "{error}");
        assert!(!error.contains("t0ken"), "{error}");
    }
}
