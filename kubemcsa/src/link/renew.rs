//! Keeps the link's credential if it is usable; otherwise mints, verifies and publishes a new one.

use mcsa_credentials::credential::Endpoint;

use super::authorize::Authorized;
use super::bind::Bound;
use super::declare::Declared;
use super::permit::Permitted;
use super::reuse::{self, LinkSecret};
use super::verify::{self, Verified};
use super::{TRIES, mint, publish};
use crate::cluster::apply::Outcome;
use crate::cluster::object;

pub(crate) async fn keep_or_mint(
    permitted: &Permitted,
    endpoint: &Endpoint,
    authorized: &Authorized,
    declared: &Declared,
    bound: &Bound,
) -> anyhow::Result<Verified> {
    let mut tries = TRIES;
    loop {
        let stored = match reuse::find(permitted, endpoint, authorized, declared, bound).await? {
            LinkSecret::Usable(secret) => {
                let reference = object::reference_of(&secret, &());
                permitted.progress().outcome(&permitted.target().name, &reference, Outcome::Unchanged);
                return verify::verify(permitted, authorized, secret).await;
            }
            LinkSecret::Unusable(secret) => Some(secret),
            LinkSecret::Missing => None,
        };
        let minted = mint::mint(permitted, endpoint, authorized, declared, bound, None).await?;
        let verified = verify::verify(permitted, authorized, minted.into_secret()).await?;
        match publish::publish(permitted, &verified, stored.as_ref()).await {
            Ok(()) => return Ok(verified),
            Err(error) if error.is_conflict() && tries > 1 => tries -= 1,
            Err(error) => return Err(error.into()),
        }
    }
}
