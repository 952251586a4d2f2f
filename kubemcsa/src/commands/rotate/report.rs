//! Last step: waits until the old token is revoked, and reports the new one.

use anyhow::bail;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::link::Link;

use crate::cli::output;
use crate::cli::times::to_the_second;
use crate::link::authorize::Authorized;
use crate::link::flags::Flags;
use crate::link::permit::Permitted;
use crate::link::revocation::{self, TokenState};
use crate::link::verify::Verified;

/// Fails if the source still accepts the old token.
pub(crate) async fn report(
    permitted: &Permitted,
    credential: Link,
    authorized: &Authorized,
    verified: &Verified,
) -> anyhow::Result<()> {
    let (source, target, plan) = (permitted.source(), permitted.target(), permitted.plan());
    if let Some(expires_at) = verified.expires_at() {
        let message = format!("new token for {}; it expires at {}", source.name, to_the_second(expires_at));
        output::info(&target.name, &message);
    }
    if credential.config.auth_info.token.is_none() {
        return Ok(());
    }
    output::info(&source.name, "waiting until the old token is revoked");
    match revocation::wait_until_revoked(source, &target.name, credential.config).await? {
        TokenState::Revoked => {
            output::info(&source.name, "all earlier tokens of the link are revoked");
            return Ok(());
        }
        TokenState::NotChecked(message) => {
            output::warn(&source.name, &message);
            return Ok(());
        }
        TokenState::Accepted => {}
    }
    bail!(
        "{}: the old token is still accepted, so it is not bound to Secret {SYSTEM_NAMESPACE}/{}; to revoke it, \
         recreate the service account: {} && {}",
        source.name,
        target.name,
        plan.flags().other_command("unlink", ""),
        Flags { others: authorized.grants().flags(), command: "bootstrap", ..plan.flags().clone() }
            .command_line(),
    )
}
