//! `--dry-run`: what would be done, as the API servers see it.

use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::connect::Connected;
use super::{source, target};
use crate::apply::{self, Outcome};
use crate::cluster::Cluster;
use crate::{object, output};

/// Says what would become of each object.
///
/// # Errors
/// When something would be refused.
pub async fn rehearse(connected: &Connected) -> anyhow::Result<()> {
    let (source, target) = (&connected.source, &connected.target);
    for object in source::objects(connected)? {
        one(source, &object).await?;
    }
    for object in target::objects(connected)? {
        one(target, &object).await?;
    }
    let name = target::import(connected).secret_name();
    output::say(
        &target.name,
        &format!(
            "secret {SYSTEM_NAMESPACE}/{name} would get a token of the link, unless it has one that works"
        ),
    );
    Ok(())
}

async fn one(cluster: &Cluster, object: &DynamicObject) -> anyhow::Result<()> {
    // What is there of these is left as it is.
    let kept = matches!(object::kind(object), "Namespace" | "CustomResourceDefinition");
    let outcome = if kept && apply::is_there(cluster, object).await? {
        Outcome::Unchanged
    } else {
        match apply::rehearse(cluster, object).await {
            Err(error) if source::is_policy(object) && error.is_not_found() => {
                // Once, not for the binding too.
                if object::kind(object) == "ValidatingAdmissionPolicy" {
                    output::warn(&cluster.name, source::NO_POLICY);
                }
                return Ok(());
            }
            outcome => outcome?,
        }
    };
    output::rehearsed(&cluster.name, &object::title(object), outcome);
    Ok(())
}
