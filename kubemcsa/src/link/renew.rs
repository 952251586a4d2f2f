//! Keeps the link's credential if it does, or mints, checks and publishes another.

use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_client::system::credential::Endpoint;

use super::authorize::Authorized;
use super::connect::Connected;
use super::declare::Declared;
use super::reuse::{self, Found};
use super::verify::{self, Checked};
use super::{TRIES, mint, publish};
use crate::cluster::apply::Outcome;

/// Makes sure that the target has a credential that works.
///
/// # Errors
/// When one can't be minted or written, or does not work.
pub async fn keep_or_mint(
    connected: &Connected,
    endpoint: &Endpoint,
    authorized: &Authorized,
    declared: &Declared,
) -> anyhow::Result<Checked> {
    let mut tries = TRIES;
    loop {
        let worn = match reuse::find(connected, endpoint, authorized, declared).await? {
            Found::Good(secret) => {
                let title = format!("secret {SYSTEM_NAMESPACE}/{}", declared.import.secret_name());
                connected.progress.outcome(&connected.target.name, &title, Outcome::Unchanged);
                return verify::check(connected, authorized, &secret).await;
            }
            Found::Worn(secret) => Some(secret),
            Found::Nothing => None,
        };
        let minted = mint::mint(connected, endpoint, authorized, declared).await?;
        let checked = verify::check(connected, authorized, &minted.secret).await?;
        match publish::publish(connected, &minted, &checked, worn.as_ref()).await {
            Ok(()) => return Ok(checked),
            Err(error) if error.is_conflict() && tries > 1 => tries -= 1,
            Err(error) => return Err(error.into()),
        }
    }
}
