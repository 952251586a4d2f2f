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

use self::current::CurrentLink;
use crate::link::bind::{self, Bound};
use crate::link::flags::LinkFlags;
use crate::link::progress::Progress;
use crate::link::{authorize, claim, connect, permit, plan};

/// Which link.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    link: LinkFlags,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let flags = args.link.of("rotate");
    let plan = plan::plan(flags.clone(), flags.target.choose()?, flags.source.choose()?)?;
    let claimed = claim::claim(connect::connect(plan, Progress::Lines).await?).await?;
    let CurrentLink { declared, endpoint, identity, credential } = current::read(&claimed).await?;
    let permitted = permit::permit_rotation(claimed, &declared.import().secret_name()).await?;
    let authorized = authorize::keep(&permitted, identity).await?;
    let replace = async |bound: &Bound, refresh_at| {
        replace::replace(&permitted, &endpoint, &authorized, &declared, bound, refresh_at).await
    };

    let interim = bind::bind_interim(&permitted, &authorized).await?;
    let half = SignedDuration::from_secs(declared.import().spec.expiration_seconds / 2);
    // An importer replaces at once a token without this time, and binds the new one to the Secret about to be deleted.
    let refresh_at = Timestamp::now() + half;
    replace(&interim, Some(refresh_at)).await?;
    let is_interim = |time: Timestamp| time.as_second() == refresh_at.as_second();
    let has_importer = pickup::until_picked_up(&permitted, &declared, is_interim).await?;

    let bound = bind::rebind(&permitted, &authorized).await?;
    let verified = replace(&bound, None).await?;
    if has_importer {
        pickup::until_picked_up(&permitted, &declared, |time| !is_interim(time)).await?;
    }
    bind::delete_interim(&permitted).await?;
    report::report(&permitted, credential, &authorized, &verified).await
}
