//! Plans a link from the flags and the kubeconfigs. Refuses whatever is invalid before any call to a cluster.

use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};
use mcsa_credentials::names::is_dns_subdomain;

use super::flags::Flags;
use crate::cli::usage::Usage;
use crate::cluster::kubeconfig::ChosenContext;

/// Names of service accounts and Secrets that the system namespace has if the source is a target, too. A link's
/// identity must not get their rights.
const RESERVED: [&str; 5] = ["default", "importer", "launcher", webhook::SERVICE, webhook::CERTIFICATE];

/// The import of a link is named after the source, and its Secret has that name with `-token`, in 253 characters.
const MAX_SOURCE_NAME: usize = 247;

/// A pair of clusters that a command may link, rotate or unlink.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    target: Side,
    source: Side,
    flags: Flags,
}

impl Plan {
    pub(crate) fn target(&self) -> &Side {
        &self.target
    }

    pub(crate) fn source(&self) -> &Side {
        &self.source
    }

    pub(crate) fn flags(&self) -> &Flags {
        &self.flags
    }
}

/// One of the two clusters.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    name: String,
    chosen: ChosenContext,
}

impl Side {
    /// Its name in the other cluster.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn chosen(&self) -> &ChosenContext {
        &self.chosen
    }
}

/// Why the clusters can't be linked, and the command that fixes it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(
        "{name:?} is not a valid name for the {side}: use a DNS-1123 subdomain (lower-case letters, digits, '-' and '.') of \
         at most {MAX_SOURCE_NAME} characters; run: {fix}"
    )]
    InvalidName { name: String, side: &'static str, fix: String },
    #[error(
        "{name} can't be the name of the target: namespace {SYSTEM_NAMESPACE} uses it for another object; run: {fix}"
    )]
    ReservedName { name: String, fix: String },
    #[error("{0}")]
    SameContext(#[source] Usage),
    #[error("target and source are both called {name}; give one of them another name: {fix}")]
    SameName { name: String, fix: String },
}

pub(crate) fn plan(flags: Flags, target: ChosenContext, source: ChosenContext) -> Result<Plan, PlanError> {
    if !flags.allow_self && (&target.file, &target.context) == (&source.file, &source.context) {
        let problem = format!(
            "target and source are the same context {}; choose another with --target-context or --source-context, or \
             pass --allow-self",
            target.context
        );
        return Err(PlanError::SameContext(Usage { command: flags.command, problem }));
    }
    let flags = flags.with_target_context(&target).with_source_context(&source);
    let target = self::target(&flags, target)?;
    let source = side(&flags, "source", "--source-name", flags.source.name.as_deref(), source)?;
    if !flags.allow_self && target.name == source.name {
        let fix = flags.with_flag("--source-name", &format!("{}-source", source.name));
        return Err(PlanError::SameName { name: source.name, fix });
    }
    Ok(Plan { target, source, flags })
}

/// Plans the target's side only.
pub(crate) fn target(flags: &Flags, chosen: ChosenContext) -> Result<Side, PlanError> {
    let target = side(flags, "target", "--target-name", flags.target.name.as_deref(), chosen)?;
    if RESERVED.contains(&target.name.as_str()) {
        let fix = flags.with_flag("--target-name", &format!("{}-cluster", target.name));
        return Err(PlanError::ReservedName { name: target.name, fix });
    }
    Ok(target)
}

fn side(
    flags: &Flags,
    side: &'static str,
    flag: &str,
    given: Option<&str>,
    chosen: ChosenContext,
) -> Result<Side, PlanError> {
    let name = given.unwrap_or(&chosen.cluster_name).to_owned();
    if is_dns_subdomain(&name) && name.len() <= MAX_SOURCE_NAME {
        return Ok(Side { name, chosen });
    }
    let fix = flags.with_flag(flag, &similar(&name).unwrap_or_else(|| "NAME".into()));
    Err(PlanError::InvalidName { name, side, fix })
}

/// A similar name that is valid: managed clusters have names such as `gke_project_zone_name`.
fn similar(name: &str) -> Option<String> {
    let name: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .take(MAX_SOURCE_NAME)
        .collect();
    let labels: Vec<_> = name.split('.').map(|label| label.trim_matches('-')).collect();
    Some(labels.join(".")).filter(|name| is_dns_subdomain(name))
}

#[cfg(test)]
pub(crate) mod tests;
