//! Last step: what the link has now, and the end of what it had.

use anyhow::bail;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::link::Link;

use crate::cli::output;
use crate::cli::times::to_the_second;
use crate::link::authorize::Authorized;
use crate::link::flags::Flags;
use crate::link::permit::Permitted;
use crate::link::revoked::{self, Seen};
use crate::link::verify::Verified;

/// Says what the link has now, once the source refuses what it had.
///
/// # Errors
/// When the source can't be asked, or accepts it.
pub async fn report(
    permitted: &Permitted,
    credential: Link,
    authorized: &Authorized,
    verified: &Verified,
) -> anyhow::Result<()> {
    let (source, target, plan) = (permitted.source(), permitted.target(), permitted.plan());
    if let Some(expires_at) = verified.expires_at() {
        let said = format!("has another credential to {}, until {}", source.name, to_the_second(expires_at));
        output::say(&target.name, &said);
    }
    let Some(token) = credential.config.auth_info.token else { return Ok(()) };
    output::say(&source.name, "waiting until it refuses the old token");
    if revoked::until_refused(source, plan.source().chosen(), token).await? == Seen::Dead {
        output::say(&source.name, "the old token is refused, and so is every other that the link had");
        return Ok(());
    }
    bail!(
        "{}: the old token is still accepted, so it is not bound to secret {SYSTEM_NAMESPACE}/{}; it ends with the \
         service account: {}, and then: {}",
        source.name,
        target.name,
        plan.flags().of("unlink", ""),
        Flags { others: authorized.grants().flags(), command: "bootstrap", ..plan.flags().clone() }.again(),
    )
}
