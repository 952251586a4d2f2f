//! Verifies the link by using it, with nothing but the content of its Secret. This happens before the Secret is
//! written, because it may replace one that works.

use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::link::Link;
use mcsa_credentials::secret::Provenance;
use mcsa_credentials::token;
use tokio::time::{Instant, sleep};

use super::authorize::Authorized;
use super::desired::MAX_LIFETIME_SECONDS;
use super::flags::Flags;
use super::grants::{Grants, LINK};
use super::permit::Permitted;
use super::shared::unrestricted_tokens;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, endpoint};

/// API servers apply new rights and policies after a moment.
const TIMEOUT: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_millis(200);

/// A Secret whose link works, or could not be tried from this machine.
pub(crate) struct Verified {
    secret: Secret,
    expires_at: Option<Timestamp>,
    enforces_policy: bool,
}

impl Verified {
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// When the token expires, by the source's clock.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether the source enforces the admission policy on this link, as far as this machine could check.
    pub(crate) fn enforces_policy(&self) -> bool {
        self.enforces_policy
    }
}

pub(crate) async fn verify(
    permitted: &Permitted,
    authorized: &Authorized,
    secret: Secret,
) -> anyhow::Result<Verified> {
    let expires_at = Provenance::read(secret.annotations()).map(|provenance| provenance.expires_at);
    let link = Link::read(&secret)?;
    let name = &permitted.source().name;
    let chosen = permitted.plan().source().chosen();
    let differences = endpoint::differences_from_context(&link.endpoint, chosen);
    let as_link = Cluster::as_link(name, &permitted.target().name, link.config)?;
    match read_uid(&as_link).await {
        // Perhaps only the target can connect in this way.
        Err(error) if error.is_unreachable() && !differences.is_empty() => {
            permitted.progress().warn(name, &not_verified(&differences, &chosen.context, &error));
            return Ok(Verified { secret, expires_at, enforces_policy: authorized.supports_policy() });
        }
        Err(error) if error.is_unauthorized() => {
            let flags = Flags { command: "bootstrap", ..permitted.plan().flags().clone() };
            bail!("{error}: {}", flags.with_flag("--source-server", "https://ADDRESS"));
        }
        Err(error) => return Err(error.into()),
        Ok(uid) if uid != permitted.source_uid() => bail!(
            "{name}: {} is another cluster than context {}: the UID of its kube-system is {uid} instead of {}; correct \
             --source-server or --source-context",
            as_link.address,
            chosen.context,
            permitted.source_uid(),
        ),
        Ok(_) => {}
    }
    wait_for_mint_right(&as_link, authorized.grants(), &permitted.target().name).await?;
    let enforces_policy =
        authorized.supports_policy() && wait_for_policy(&as_link, permitted, authorized.grants()).await?;
    Ok(Verified { secret, expires_at, enforces_policy })
}

fn not_verified(differences: &[&str], context: &str, error: &CallError) -> String {
    format!(
        "the link was not verified, neither that it reaches this cluster nor what it may do there: this machine can't use \
         its connection ({error}), which differs from that of context {context} in: {}; once an importer runs, the \
         command check shows whether the link works",
        differences.join(", ")
    )
}

/// Retries until the new rights apply.
async fn read_uid(as_link: &Cluster) -> Result<String, CallError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match as_link.uid().await {
            Err(error)
                if (error.refusal().is_some() || error.is_unauthorized()) && Instant::now() < deadline =>
            {
                sleep(INTERVAL).await;
            }
            result => return result,
        }
    }
}

/// Waits until the link can mint tokens; every link can at least mint its own.
async fn wait_for_mint_right(as_link: &Cluster, grants: &Grants, target: &str) -> anyhow::Result<()> {
    let own = *grants != Grants::Everything;
    let reviews: Api<SelfSubjectAccessReview> = Api::all(as_link.client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some("create".into()),
                resource: Some("serviceaccounts".into()),
                subresource: Some("token".into()),
                namespace: own.then(|| SYSTEM_NAMESPACE.to_owned()),
                name: own.then(|| target.to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let params = PostParams::default();
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let review = as_link.call("review its own access", reviews.create(&params, &review)).await?;
        if review.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!(
                "{}: {} cannot create serviceaccounts/token {}s after kubemcsa granted it; check whether another \
                 authorizer denies it",
                as_link.name,
                as_link.identity,
                TIMEOUT.as_secs()
            );
        }
        sleep(INTERVAL).await;
    }
}

/// Waits until the policy is enforced, and returns whether it is. Dry-runs a request that only the policy refuses: for
/// the link's own token, with a lifetime that is one second too long.
async fn wait_for_policy(as_link: &Cluster, permitted: &Permitted, grants: &Grants) -> anyhow::Result<bool> {
    let name = &permitted.target().name;
    let accounts: Api<ServiceAccount> = Api::namespaced(as_link.client.clone(), SYSTEM_NAMESPACE);
    let request = token::request(MAX_LIFETIME_SECONDS + 1, &[], Some(name));
    let params = PostParams { dry_run: true, ..Default::default() };
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let call = accounts.create_token_request(name, &params, &request);
        match as_link.call("request a token whose lifetime is too long", call).await {
            Err(error) if error.refusal().is_some_and(|message| message.contains(LINK)) => return Ok(true),
            Err(error) => return Err(error.into()),
            Ok(_) if Instant::now() >= deadline => {
                let text = format!(
                    "the admission policy is not enforced {}s after it was applied: the link can request {}",
                    TIMEOUT.as_secs(),
                    unrestricted_tokens(grants)
                );
                permitted.progress().warn(&as_link.name, &text);
                return Ok(false);
            }
            Ok(_) => sleep(INTERVAL).await,
        }
    }
}
