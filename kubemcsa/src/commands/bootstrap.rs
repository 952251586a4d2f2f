//! `kubemcsa bootstrap`: links a target to one or more sources.
//!
//! [`crate::link`] lists the steps. If a run is interrupted at any step, the next one completes the link.

mod args;
mod dry_run;
mod report;
mod several;

use std::path::Path;

use anyhow::Context;
use mcsa_credentials::credential::CaBundle;

pub(crate) use args::Args;
use args::SourceChoice;

use crate::cli::output;
use crate::cli::usage::Usage;
use crate::link::authorize::{self, Authorized};
use crate::link::connect::{self, Connected};
use crate::link::grants::{self, Grant, Grants, StoredGrants};
use crate::link::permit::Permitted;
use crate::link::plan::{self, Plan};
use crate::link::progress::Progress;
use crate::link::route::{self, Route};
use crate::link::verify::Verified;
use crate::link::{bind, check_names, declare, permit, renew};

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let sources = args.sources().map_err(|problem| Usage { command: "bootstrap", problem })?;
    let [source] = sources.as_slice() else { return several::run(&args, &sources).await };
    let (plan, route) = plan(&args, source)?;
    let requested = RequestedRights::of(&args);
    let checked = check_names::check_names(connect::connect(plan, Progress::Lines).await?).await?;
    if args.output.is_some() {
        return report::print_manifests(&checked, &requested, args.side).await;
    }
    if args.dry_run {
        return dry_run::dry_run(&checked, &requested).await;
    }
    let permitted = permit::permit(checked).await?;
    declare::prepare(permitted.target(), permitted.progress()).await?;
    let linked = link(&permitted, &route, &requested).await?;
    report::report(&permitted, &route, &linked).await
}

/// The rights that the flags request for a link.
pub(crate) struct RequestedRights {
    /// Empty: unchanged; everything for a new link.
    allow: Vec<Grant>,
    /// Lifetime of the link's tokens. `None`: unchanged; the longest for a new link.
    seconds: Option<i64>,
}

/// A working link.
pub(crate) struct Linked {
    authorized: Authorized,
    verified: Verified,
}

impl RequestedRights {
    fn of(args: &Args) -> Self {
        Self { allow: args.allow.clone(), seconds: args.link_ttl }
    }

    /// What the link may import. Without `--allow`, this never widens what is stored. `None`: the stored grants are
    /// ambiguous.
    fn grants(&self, stored: &StoredGrants) -> Option<Grants> {
        match &stored.grants {
            _ if !self.allow.is_empty() => Some(self.allow.iter().collect()),
            Some(_) if stored.is_ambiguous() => None,
            stored => Some(stored.clone().unwrap_or(Grants::Everything)),
        }
    }

    /// Like `grants`, but ambiguous grants are an error.
    fn unambiguous_grants(&self, connected: &Connected, stored: &StoredGrants) -> anyhow::Result<Grants> {
        let flags = connected.plan().flags();
        self.grants(stored).with_context(|| {
            format!(
                "{}: {} has a binding for everything, and also bindings in some namespaces; choose one: {} --allow \
                 NAMESPACE[/NAME], or: {}",
                connected.source().name,
                connected.target().name,
                flags.other_command("bootstrap", ""),
                flags.other_command("allow", "--everything"),
            )
        })
    }
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

/// Links two clusters. The target has the system namespace and the CRD already.
async fn link(permitted: &Permitted, route: &Route, requested: &RequestedRights) -> anyhow::Result<Linked> {
    let stored = grants::read(permitted.source(), &permitted.target().name).await?;
    let wanted = requested.unambiguous_grants(permitted, &stored)?;
    let authorized = authorize::authorize(permitted, &wanted, &stored).await?;
    let bound = bind::bind(permitted, &authorized).await?;
    let declared = declare::declare(permitted, requested.seconds).await?;
    let verified = renew::keep_or_mint(permitted, route.endpoint(), &authorized, &declared, &bound).await?;
    // An interrupted rotation may have left some.
    bind::delete_interim(permitted).await?;
    Ok(Linked { authorized, verified })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_without_allow_widens_nothing() {
        let stored = |grants| StoredGrants { grants, objects: Vec::new() };
        let granted = |allow: &[&str], before: Option<&str>| {
            let grant = |text: &&str| text.parse::<Grant>().unwrap();
            let requested = RequestedRights { allow: allow.iter().map(grant).collect(), seconds: None };
            let before = before.map(|text| [grant(&text)].iter().collect());
            requested.grants(&stored(before)).unwrap().to_string()
        };
        assert_eq!(granted(&[], None), "everything");
        assert_eq!(granted(&[], Some("a")), "a");
        assert_eq!(granted(&["b"], Some("a")), "b");
        let narrower = RequestedRights { allow: vec!["b".parse().unwrap()], seconds: None };
        assert_eq!(narrower.grants(&stored(Some(Grants::Everything))).unwrap().to_string(), "b");
    }

    #[test]
    fn ambiguous_grants_require_allow() {
        let narrow: Grants = [&"a".parse().unwrap()].into_iter().collect();
        let mut objects = narrow.objects("c1").unwrap();
        objects.extend(Grants::Everything.objects("c1").unwrap());
        let stored = StoredGrants { grants: Some(Grants::Everything), objects };
        let requested = |allow| RequestedRights { allow, seconds: None };
        assert_eq!(requested(Vec::new()).grants(&stored), None);
        assert_eq!(requested(vec!["a".parse().unwrap()]).grants(&stored), Some(narrow));
    }
}
