//! Last step: the document for the consumer.

use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use kube::config::Kubeconfig;
use mcsa_credentials::contract;
use mcsa_credentials::credential::{Credential, Endpoint};
use mcsa_credentials::formats::argo_workflows::{self, Scope};
use mcsa_credentials::formats::{Exported, Verification, argo_cd, kubeconfigs};
use mcsa_credentials::token::Claims;

use super::args::{Args, Format};
use super::mint::Minted;
use crate::cli::times::to_the_second;
use crate::cluster::kubeconfig::shell_quote;

/// *Absent:* `Debug`, which would print the values of a Secret.
pub(crate) enum Document {
    /// For `kubectl apply`.
    Secret(Box<Secret>),
    /// For `KUBECONFIG`.
    Kubeconfig(Box<Kubeconfig>),
}

/// Builds the document in the requested format.
pub(crate) fn document(
    args: &Args,
    cluster_name: &str,
    namespace: String,
    endpoint: Endpoint,
    minted: Minted,
) -> anyhow::Result<Document> {
    let verification =
        if args.insecure_skip_tls_verify { Verification::Nothing } else { Verification::Certificate };
    let mut annotations = vec![
        (contract::CLUSTER_NAME, cluster_name.to_owned()),
        (contract::EXPIRATION_TIME, to_the_second(minted.expires_at)),
    ];
    if let Ok(claims) = Claims::parse(&minted.token) {
        annotations.push((contract::SERVICE_ACCOUNT_UID, claims.service_account_uid));
    }
    let name = args.secret.clone().unwrap_or_else(|| format!("{}-token", args.name));
    let credential = Credential {
        // The Secret of an import is named <import>-token.
        name: name.strip_suffix("-token").unwrap_or(&name).to_owned(),
        cluster_name: cluster_name.to_owned(),
        endpoint,
        namespace,
        token: minted.token,
    };
    let exported = Exported { credential: &credential, service_account: &args.name, verification };
    let mut secret = match args.format {
        Format::Kubeconfig => return Ok(Document::Kubeconfig(Box::new(exported.kubeconfig()))),
        Format::Secret => import_secret(name, &credential)?,
        Format::ArgoCd => exported.argo_cd(),
        Format::Flux => exported.flux()?,
        Format::Capi => exported.cluster_api()?,
        Format::MultiKueue => exported.multi_kueue()?,
        Format::ArgoClusters => exported.argo_clusters(),
        Format::ArgoKubeconfig => exported.argo_kubeconfig()?,
        Format::ArgoProfile => exported.argo_profile(scope(args))?,
    };
    if let Some(name) = &args.secret {
        secret.metadata.name = Some(name.clone());
    }
    secret.metadata.namespace =
        args.secret_namespace.clone().or(default_namespace(args.format).map(str::to_owned));
    // The annotations describe one token, but this Secret has one for each cluster.
    if args.format != Format::ArgoClusters {
        let all = secret.metadata.annotations.get_or_insert_default();
        all.extend(annotations.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    Ok(Document::Secret(Box::new(secret)))
}

/// How to use a Secret with several clusters.
pub(crate) fn hint(format: Format, cluster_name: &str) -> Option<String> {
    match format {
        Format::ArgoClusters => Some(format!(
            "to keep other clusters in this Secret, use kubectl --context CONTEXT apply --server-side --field-manager {}",
            shell_quote(&format!("kubemcsa-{cluster_name}"))
        )),
        Format::ArgoKubeconfig => Some(
            "this Secret has one cluster only; for several, merge kubeconfigs whose contexts are named after their \
             clusters, and store the result under the key value"
                .into(),
        ),
        _ => None,
    }
}

/// A Secret with the keys of an import's Secret.
fn import_secret(name: String, credential: &Credential) -> anyhow::Result<Secret> {
    Ok(Secret {
        metadata: ObjectMeta { name: Some(name), ..Default::default() },
        type_: Some("Opaque".into()),
        data: Some(credential.data(&[])?),
        ..Default::default()
    })
}

fn scope(args: &Args) -> Scope<'_> {
    Scope { workflow_namespace: args.workflow_namespace.as_deref(), namespace: args.namespace.as_deref() }
}

/// The namespace in which the consumer of the format usually reads Secrets.
fn default_namespace(format: Format) -> Option<&'static str> {
    match format {
        Format::ArgoCd => Some(argo_cd::NAMESPACE),
        Format::MultiKueue => Some(kubeconfigs::KUEUE_NAMESPACE),
        Format::ArgoClusters | Format::ArgoKubeconfig | Format::ArgoProfile => {
            Some(argo_workflows::NAMESPACE)
        }
        Format::Secret | Format::Kubeconfig | Format::Flux | Format::Capi => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::args;
    use super::*;
    use jiff::Timestamp;
    use rstest::rstest;

    fn document_for(flags: &[&str]) -> Document {
        let endpoint = Endpoint {
            server: "https://c2".into(),
            ca_bundle: Some("PEM".into()),
            tls_server_name: None,
            proxy_url: None,
        };
        let minted = Minted { token: "t0ken".to_owned().into(), expires_at: Timestamp::UNIX_EPOCH };
        document(&args(flags), "c2", "default".into(), endpoint, minted).unwrap()
    }

    #[rstest]
    #[case(&[], None, "pod-lister-token")]
    #[case(&["--format", "argocd"], Some("argocd"), "cluster-c2")]
    #[case(&["--format", "flux"], None, "c2-kubeconfig")]
    #[case(&["--format", "flux", "--secret-namespace", "flux-system"], Some("flux-system"), "c2-kubeconfig")]
    #[case(&["--format", "capi"], None, "c2-kubeconfig")]
    #[case(&["--format", "multikueue"], Some("kueue-system"), "c2-multikueue")]
    #[case(&["--format", "multikueue", "--as", "worker"], Some("kueue-system"), "worker")]
    #[case(&["--format", "argo-clusters"], Some("argo"), "clusters")]
    #[case(&["--format", "argo-kubeconfig"], Some("argo"), "kubeconfig")]
    #[case(&["--format", "argo-profile"], Some("argo"), "argo.c2")]
    fn secrets_have_the_name_and_namespace_that_the_consumer_expects(
        #[case] flags: &[&str],
        #[case] namespace: Option<&str>,
        #[case] name: &str,
    ) {
        let Document::Secret(secret) = document_for(flags) else { panic!("no Secret") };
        assert_eq!(secret.metadata.namespace.as_deref(), namespace);
        assert_eq!(secret.metadata.name.as_deref(), Some(name));
        let annotations = secret.metadata.annotations.unwrap_or_default();
        let expiry = annotations.get(contract::EXPIRATION_TIME).map(String::as_str);
        assert_eq!(expiry, (name != "clusters").then_some("1970-01-01T00:00:00Z"));
    }

    #[test]
    fn kubeconfig_is_printed_without_a_secret() {
        let Document::Kubeconfig(kubeconfig) = document_for(&["--format", "kubeconfig"]) else {
            panic!("a Secret")
        };
        assert_eq!(kubeconfig.current_context.as_deref(), Some("default/pod-lister@c2"));
    }
}
