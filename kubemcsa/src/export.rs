//! `kubemcsa export`: a Secret with a token of a service account, for a consumer that no importer
//! serves.

use std::path::PathBuf;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use mcsa_client::api::MIN_EXPIRATION_SECONDS;
use mcsa_client::contract;
use mcsa_client::credential::{Credential, Endpoint};
use mcsa_client::names::is_dns_subdomain;
use mcsa_client::token::{self, Claims};

use crate::cluster::Cluster;
use crate::kubeconfig::Chosen;
use crate::output;
use crate::reach::{self, Reach};
use crate::times::{in_words, to_the_second};

/// Which service account, and how its Secret is called.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The service account
    name: String,

    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the source [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Namespace of the service account [default: the context's]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// Name of the Secret [default: the service account's, with -token at the end]
    #[arg(long = "as", value_name = "NAME", value_parser = secret_name)]
    secret: Option<String>,

    /// How long the token lives, at least 10m; the source may grant less
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    duration: SignedDuration,
}

/// Mints, and prints the Secret.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let chosen = Chosen::load(args.kubeconfig.as_deref(), args.context.as_deref(), "--")?;
    let endpoint = endpoint(&chosen)?;
    let cluster = chosen.connect().await?;
    let namespace =
        args.namespace.clone().or(chosen.namespace.clone()).unwrap_or_else(|| "default".to_owned());

    let (token, granted) = mint(&cluster, &namespace, &args).await?;
    let secret = secret(&args, &cluster.name, namespace, endpoint, token.into(), granted)?;
    output::yaml(&secret)?;

    let left = granted.duration_since(Timestamp::now());
    output::say(
        &cluster.name,
        &format!(
            "the token expires in {}, at {}; nothing refreshes it",
            in_words(left),
            to_the_second(granted)
        ),
    );
    Ok(())
}

async fn mint(cluster: &Cluster, namespace: &str, args: &Args) -> anyhow::Result<(String, Timestamp)> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), namespace);
    let request = token::request(args.duration.as_secs(), &[], None);
    let doing = format!("mint a token of service account {namespace}/{}", args.name);
    let params = PostParams::default();
    let call = accounts.create_token_request(&args.name, &params, &request);
    let status = cluster.call(&doing, call).await?.status;
    let status =
        status.with_context(|| format!("{}: can't {doing}: the answer has no token", cluster.name))?;
    Ok((status.token, status.expiration_timestamp.0))
}

fn secret(
    args: &Args,
    cluster_name: &str,
    namespace: String,
    endpoint: Endpoint,
    token: mcsa_client::SecretString,
    expires_at: Timestamp,
) -> anyhow::Result<Secret> {
    let name = args.secret.clone().unwrap_or_else(|| format!("{}-token", args.name));
    let mut annotations = vec![
        (contract::CLUSTER_NAME, cluster_name.to_owned()),
        (contract::EXPIRATION_TIME, to_the_second(expires_at)),
    ];
    if let Ok(claims) = Claims::of(&token) {
        annotations.push((contract::SERVICE_ACCOUNT_UID, claims.service_account_uid));
    }
    let credential = Credential {
        // As an import's Secret is named after it: <import>-token.
        name: name.strip_suffix("-token").unwrap_or(&name).to_owned(),
        cluster_name: cluster_name.to_owned(),
        endpoint,
        namespace,
        token,
    };
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: Some(annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ..Default::default()
        },
        type_: Some("Opaque".into()),
        data: Some(credential.data(&[])?),
        ..Default::default()
    })
}

/// The address as the kubeconfig has it: there is nobody to ask for another.
fn endpoint(chosen: &Chosen) -> anyhow::Result<Endpoint> {
    let name = &chosen.cluster_name;
    if chosen.insecure && chosen.ca_bundle.is_none() {
        anyhow::bail!(
            "{name}: context {} has insecure-skip-tls-verify, which a credential must not have: put the cluster's \
             certificate-authority-data in its place",
            chosen.context
        );
    }
    match reach::of(&chosen.server) {
        Err(problem) => anyhow::bail!("{name}: the server of context {} {problem}", chosen.context),
        Ok(Reach::Anywhere) => {}
        Ok(Reach::Loopback | Reach::Unspecified) => {
            output::warn(name, &format!("{} is an address that only this machine has", chosen.server));
        }
    }
    Ok(Endpoint {
        server: chosen.server.clone(),
        ca_bundle: chosen.ca_bundle.clone(),
        tls_server_name: chosen.tls_server_name.clone(),
        proxy_url: chosen.proxy_url.clone(),
    })
}

fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "a duration such as 90m or 24h".to_owned())?;
    if duration.as_secs() < MIN_EXPIRATION_SECONDS {
        return Err("an API server mints for 10m at least".into());
    }
    Ok(duration)
}

fn secret_name(text: &str) -> Result<String, String> {
    if is_dns_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("a Secret's name is a DNS-1123 subdomain, such as c2-pod-lister-token".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1h", Ok(3600))]
    #[case("10m", Ok(600))]
    #[case("9m", Err("10m at least"))]
    #[case("soon", Err("such as 90m"))]
    fn lifetimes(#[case] text: &str, #[case] expected: Result<i64, &str>) {
        match (lifetime(text), expected) {
            (Ok(duration), Ok(seconds)) => assert_eq!(duration.as_secs(), seconds),
            (Err(error), Err(said)) => assert!(error.contains(said), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }
}
