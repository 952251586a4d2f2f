//! `kubemcsa bootstrap`: links a target to a source.
//!
//! refuse → connect → claim → source → target → keep, or mint → check → publish → report. Each step
//! takes what the one before it gives, and does nothing that is done already: interrupted anywhere,
//! a second run finishes.

mod args;
mod check;
mod claim;
mod connect;
mod keep;
mod mint;
mod publish;
mod refuse;
mod rehearse;
mod report;
mod source;
mod target;

use std::path::Path;

use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_client::credential::pem_bundle;

pub use args::Args;
use check::Checked;
use connect::Connected;
use keep::Found;
use refuse::Plan;
use source::Granted;
pub use source::binding_name;
use target::Declared;

use crate::apply::Outcome;
use crate::kubeconfig::Chosen;
use crate::output;

/// How often somebody else (an importer at work) may be faster in writing the link's Secret.
const TRIES: usize = 5;

/// Links, or says or prints what would be done.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let connected = connect::connect(plan(args)?).await?;
    if connected.plan.args.output.is_some() {
        return report::print(&connected);
    }
    claim::claim(&connected).await?;
    if connected.plan.args.dry_run {
        return rehearse::rehearse(&connected).await;
    }
    let granted = source::grant(&connected).await?;
    let declared = target::declare(&connected).await?;
    let checked = keep_or_mint(&connected, &granted, &declared).await?;
    report::report(&connected, &checked).await
}

fn plan(args: Args) -> anyhow::Result<Plan> {
    let target =
        Chosen::load(args.target_kubeconfig.as_deref(), args.target_context.as_deref(), "--target-")?;
    let source =
        Chosen::load(args.source_kubeconfig.as_deref(), args.source_context.as_deref(), "--source-")?;
    let ca_file = args.source_ca_file.as_deref().map(ca_file).transpose()?;
    Ok(refuse::plan(args, target, source, ca_file)?)
}

fn ca_file(path: &Path) -> anyhow::Result<String> {
    let failed = |problem: String| anyhow::anyhow!("--source-ca-file {}: {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    pem_bundle(bytes).ok_or_else(|| failed("there is no PEM certificate in it".into()))
}

async fn keep_or_mint(
    connected: &Connected,
    granted: &Granted,
    declared: &Declared,
) -> anyhow::Result<Checked> {
    let mut tries = TRIES;
    loop {
        let worn = match keep::look(connected, granted, declared).await? {
            Found::Good(secret) => {
                let title = format!("secret {SYSTEM_NAMESPACE}/{}", declared.import.secret_name());
                output::outcome(&connected.target.name, &title, Outcome::Unchanged);
                return check::check(connected, granted, &secret).await;
            }
            Found::Worn(secret) => Some(secret),
            Found::Nothing => None,
        };
        let minted = mint::mint(connected, granted, declared).await?;
        let checked = check::check(connected, granted, &minted.secret).await?;
        match publish::publish(connected, &minted, &checked, worn.as_ref()).await {
            Ok(()) => return Ok(checked),
            Err(error) if error.is_conflict() && tries > 1 => tries -= 1,
            Err(error) => return Err(error.into()),
        }
    }
}
