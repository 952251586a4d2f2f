//! Refuses whoever may write in one of the two clusters only, before anything is written in the other.

use super::connect::Connected;
use super::{authorize, declare};
use crate::cluster::{apply, object};

/// Asks both, by the API servers' own dry run.
///
/// # Errors
/// When the link's import, or the identity of the target, would not be accepted.
pub async fn ensure(connected: &Connected) -> anyhow::Result<()> {
    let import = object::dynamic(&declare::import(connected, declare::LONGEST))?;
    let account = authorize::service_account(connected)?;
    let (on_target, on_source) = tokio::join!(
        apply::rehearse(&connected.target, &import),
        apply::rehearse(&connected.source, &account),
    );
    on_target.and(on_source)?;
    Ok(())
}
