//! `kubemcsa rotate`: another credential for a link, and the end of every one that it had.
//!
//! A link's tokens are bound to a Secret of the source, and die with it. So that no import fails in
//! between: first a token that is bound to another Secret, an interim one; once the importer has it,
//! the old Secret goes and comes back as another, and so does a token that is bound to it. Interrupted
//! anywhere, the link works, and this or bootstrap finishes.
//!
//! look → replace (interim) → told → replace → told → report

mod current;
mod pickup;
mod replace;
mod report;

use jiff::{SignedDuration, Timestamp};
use mcsa_client::system::credential::Endpoint;
use mcsa_client::system::link::Link;

use crate::link::authorize::{self, Authorized};
use crate::link::declare::Declared;
use crate::link::flags::LinkFlags;
use crate::link::mint::Kind;
use crate::link::progress::Progress;
use crate::link::{claim, connect, interim, plan};

/// Which link.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    link: LinkFlags,
}

/// A link as it stands, about to get another credential.
pub struct Standing {
    /// Its import.
    declared: Declared,
    /// Where the source is, as bootstrap or the importer has written it.
    endpoint: Endpoint,
    /// Its identity and rights.
    authorized: Authorized,
    /// The credential that it has.
    old: Link,
}

/// Rotates.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let flags = args.link.of("rotate");
    let plan = plan::plan(flags.clone(), flags.target.choose()?, flags.source.choose()?)?;
    let connected = connect::connect(plan, Progress::Lines).await?;
    claim::claim(&connected).await?;
    let mut standing = current::read(&connected).await?;
    standing.authorized.policy =
        authorize::share(&connected.source, &connected.progress, &standing.authorized.grants).await?;

    let interim = interim::create(&connected).await?;
    let half = SignedDuration::from_secs(standing.declared.import.spec.expiration_seconds / 2);
    // An importer takes over what is to be refreshed at once, and binds it to what is about to go.
    let refresh_at = Timestamp::now() + half;
    replace::replace(&connected, &standing, Kind { bound_to: &interim, refresh_at: Some(refresh_at) })
        .await?;
    let is_interim = |told: Timestamp| told.as_second() == refresh_at.as_second();
    let has_importer = pickup::until_told(&connected, &standing, is_interim).await?;

    standing.authorized.bound_secret_uid = replace::renew_bound_secret(&connected).await?;
    let usual = Kind { bound_to: &connected.target.name, refresh_at: None };
    let checked = replace::replace(&connected, &standing, usual).await?;
    if has_importer {
        pickup::until_told(&connected, &standing, |told| !is_interim(told)).await?;
    }
    interim::clear(&connected).await?;
    report::report(&connected, standing, &checked).await
}
