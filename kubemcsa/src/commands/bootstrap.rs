//! `kubemcsa bootstrap`: links a target to one or more sources.
//!
//! [`crate::link`] lists the steps. If a run is interrupted at any step, the next one completes the link.

mod args;
mod dry_run;
mod lost;
mod policies;
mod report;
mod rights;
mod several;

use std::path::Path;

use mcsa_credentials::credential::CaBundle;

pub(crate) use args::Args;
use args::SourceChoice;
use policies::RequestedPolicies;
use rights::RequestedRights;

use crate::cli::output;
use crate::cli::usage::Usage;
use crate::link::authorize::{self, Authorized};
use crate::link::change_grants::is_conflict;
use crate::link::connect;
use crate::link::permit::Permitted;
use crate::link::plan::{self, Plan};
use crate::link::progress::Progress;
use crate::link::route::{self, Route};
use crate::link::verify::Verified;
use crate::link::{TRIES, bind, check_names, declare, permit, renew};

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let sources = args.sources().map_err(|problem| Usage { command: "bootstrap", problem })?;
    let [source] = sources.as_slice() else { return several::run(&args, &sources).await };
    let (plan, route) = plan(&args, source)?;
    let (requested, policies) = (RequestedRights::of(&args), RequestedPolicies::of(&args));
    let checked = check_names::check_names(connect::connect(plan, Progress::Lines).await?).await?;
    if args.output.is_some() {
        return report::print_manifests(&checked, &requested, &policies, args.side).await;
    }
    if args.dry_run {
        return dry_run::dry_run(&checked, &requested, &policies).await;
    }
    let permitted = permit::permit(checked).await?;
    declare::prepare(permitted.target(), permitted.progress()).await?;
    let linked = link(&permitted, &route, &requested, &policies).await?;
    report::report(&permitted, &route, &linked).await
}

/// A working link.
pub(crate) struct Linked {
    authorized: Authorized,
    verified: Verified,
}

fn plan(args: &Args, source: &SourceChoice) -> anyhow::Result<(Plan, Route)> {
    let flags = args.flags(source);
    let (target, source) = (flags.target.choose()?, flags.source.choose()?);
    let ca_file = args.route.source_ca_file.as_deref().map(ca_file).transpose()?;
    let plan = plan::plan(flags, target, source)?;
    let route = route::route(&plan, ca_file)?;
    Ok((plan, route))
}

fn ca_file(path: &Path) -> anyhow::Result<String> {
    let failed = |problem: String| anyhow::anyhow!("--source-ca-file {}: {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let bundle = CaBundle::parse("the file", &bytes).map_err(|problem| failed(problem.to_string()))?;
    if let Some(warning) = bundle.warning() {
        output::warn("--source-ca-file", &warning);
    }
    Ok(bundle.pem())
}

/// Links two clusters. The target has the system namespace and the CRDs already.
async fn link(
    permitted: &Permitted,
    route: &Route,
    requested: &RequestedRights,
    policies: &RequestedPolicies,
) -> anyhow::Result<Linked> {
    policies.ensure_writable(permitted).await?;
    let mut tries = TRIES;
    let authorized = loop {
        let (wanted, stored) = requested.grants(permitted).await?;
        match authorize::authorize(permitted, &wanted, &stored).await {
            Err(error) if is_conflict(&error) && tries > 1 => tries -= 1,
            authorized => {
                let authorized = authorized?;
                lost::warn(permitted, stored.grants.as_ref(), &wanted).await;
                break authorized;
            }
        }
    };
    // After the grants, which the source may refuse, and before a new link works.
    policies.write(permitted).await?;
    let bound = bind::bind(permitted, &authorized).await?;
    let declared = declare::declare(permitted, requested.seconds).await?;
    let verified = renew::keep_or_mint(permitted, route.endpoint(), &authorized, &declared, &bound).await?;
    // An interrupted rotation may have left some.
    bind::delete_interim(permitted).await?;
    Ok(Linked { authorized, verified })
}
