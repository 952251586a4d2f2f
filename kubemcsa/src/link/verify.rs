//! Checks the link by using it, with nothing but what is in its Secret: before that Secret is
//! written, as it may take the place of one that works.

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

use super::authorize::{Authorized, missing_without_policy};
use super::desired::LONGEST;
use super::grants::{Grants, LINK};
use super::permit::Permitted;
use crate::cluster::Cluster;
use crate::cluster::call::CallError;

/// API servers see new rights and policies a moment after they were written.
const SEEN_WITHIN: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);

/// A Secret whose link works, if this machine could try it.
pub struct Verified {
    secret: Secret,
    expires_at: Option<Timestamp>,
    policy: bool,
}

impl Verified {
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// When the token expires, by the source's clock.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether the source was observed to enforce the policy on this link, or could not be asked.
    pub fn policy(&self) -> bool {
        self.policy
    }
}

pub async fn verify(
    permitted: &Permitted,
    authorized: &Authorized,
    secret: Secret,
) -> anyhow::Result<Verified> {
    let expires_at = Provenance::read(secret.annotations()).map(|provenance| provenance.expires_at);
    let link = Link::read(&secret)?;
    let server = link.endpoint.server.clone();
    let name = &permitted.source().name;
    let chosen = permitted.plan().source().chosen();
    let as_link = Cluster::new(name, &format!("the link of {}", permitted.target().name), link.config)?;
    match retried(&as_link).await {
        // The address may be one that only the target reaches.
        Err(error) if error.is_unreachable() && server != chosen.server => {
            permitted
                .progress()
                .warn(name, &format!("the link was not tried: {server} does not work from here ({error})"));
            return Ok(Verified { secret, expires_at, policy: authorized.policy() });
        }
        Err(error) => return Err(error.into()),
        Ok(uid) if uid != permitted.source_uid() => bail!(
            "{name}: {} leads to another cluster than context {}: the UID of its kube-system is {uid}, not {}; correct \
             --source-server or --source-context",
            as_link.address,
            chosen.context,
            permitted.source_uid(),
        ),
        Ok(_) => {}
    }
    until_it_may_mint(&as_link, authorized.grants(), &permitted.target().name).await?;
    let policy = authorized.policy() && until_it_is_held(&as_link, permitted, authorized.grants()).await?;
    Ok(Verified { secret, expires_at, policy })
}

/// A right that was granted a moment ago may not be seen yet.
async fn retried(as_link: &Cluster) -> Result<String, CallError> {
    let deadline = Instant::now() + SEEN_WITHIN;
    loop {
        match as_link.uid().await {
            Err(error)
                if (error.refusal().is_some() || error.is_unauthorized()) && Instant::now() < deadline =>
            {
                sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// What every link may mint at least is a token of its own.
async fn until_it_may_mint(as_link: &Cluster, grants: &Grants, target: &str) -> anyhow::Result<()> {
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
    let deadline = Instant::now() + SEEN_WITHIN;
    loop {
        let review = as_link.call("ask what it may do", reviews.create(&params, &review)).await?;
        if review.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!(
                "{}: {} may not create serviceaccounts/token {} s after it was granted; is there another authorizer \
                 that denies it?",
                as_link.name,
                as_link.identity,
                SEEN_WITHIN.as_secs()
            );
        }
        sleep(PAUSE).await;
    }
}

/// Asks for what the policy refuses: a token of its own account, for a second too long. It is bound
/// as it should be, so that nothing else is wrong with it. Where the policy isn't seen yet, that
/// token is dropped.
async fn until_it_is_held(as_link: &Cluster, permitted: &Permitted, grants: &Grants) -> anyhow::Result<bool> {
    let name = &permitted.target().name;
    let accounts: Api<ServiceAccount> = Api::namespaced(as_link.client.clone(), SYSTEM_NAMESPACE);
    let request = token::request(LONGEST + 1, &[], Some(name));
    let params = PostParams { dry_run: true, ..Default::default() };
    let deadline = Instant::now() + SEEN_WITHIN;
    loop {
        let call = accounts.create_token_request(name, &params, &request);
        match as_link.call("ask for too long a token", call).await {
            Err(error) if error.refusal().is_some_and(|message| message.contains(LINK)) => return Ok(true),
            Err(error) => return Err(error.into()),
            Ok(_) if Instant::now() >= deadline => {
                let said = format!(
                    "the admission policy is not enforced {} s after it was applied: nothing keeps the link {}",
                    SEEN_WITHIN.as_secs(),
                    missing_without_policy(grants)
                );
                permitted.progress().warn(&as_link.name, &said);
                return Ok(false);
            }
            Ok(_) => sleep(PAUSE).await,
        }
    }
}
