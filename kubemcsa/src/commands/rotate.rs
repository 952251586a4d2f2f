//! `kubemcsa rotate`: replaces a link's credential and revokes all earlier tokens.
//!
//! A link's tokens are bound to a Secret in the source; deleting it revokes them. So that no import fails meanwhile,
//! the link first gets a token that is bound to an interim Secret. Once the importer uses that token, the usual Secret
//! is recreated, and the link gets a token that is bound to the new Secret. If this is interrupted at any step, the
//! link works, and the next rotate or bootstrap finishes the rotation.
//!
//! current → replace (interim) → pickup → replace → pickup → report

mod current;
mod pickup;
mod replace;
mod report;

use jiff::{SignedDuration, Timestamp};

use self::current::CurrentLink;
use crate::link::bind::{self, Bound};
use crate::link::flags::LinkFlags;
use crate::link::progress::Progress;
use crate::link::{authorize, check_names, connect, permit, plan};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    link: LinkFlags,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let flags = args.link.for_command("rotate");
    let plan = plan::plan(flags.clone(), flags.target.choose()?, flags.source.choose()?)?;
    let checked = check_names::check_names(connect::connect(plan, Progress::Lines).await?).await?;
    let CurrentLink { declared, endpoint, identity, credential } = current::read(&checked).await?;
    let permitted = permit::permit_rotation(checked, &declared.import().secret_name()).await?;
    let authorized = authorize::keep_grants(&permitted, identity).await?;
    let replace = async |bound: &Bound, refresh_at| {
        replace::replace(&permitted, &endpoint, &authorized, &declared, bound, refresh_at).await
    };

    let interim = bind::bind_interim(&permitted, &authorized).await?;
    let half = SignedDuration::from_secs(declared.import().spec.expiration_seconds / 2);
    // Without this time, the importer would refresh the token at once, bound to the Secret that is deleted next.
    let refresh_at = Timestamp::now() + half;
    replace(&interim, Some(refresh_at)).await?;
    let is_interim = |time: Timestamp| time.as_second() == refresh_at.as_second();
    let has_importer = pickup::wait_for_pickup(&permitted, &declared, is_interim).await?;

    let bound = bind::rebind(&permitted, &authorized).await?;
    let verified = replace(&bound, None).await?;
    if has_importer {
        pickup::wait_for_pickup(&permitted, &declared, |time| !is_interim(time)).await?;
    }
    bind::delete_interim(&permitted).await?;
    report::report(&permitted, credential, &authorized, &verified).await
}
