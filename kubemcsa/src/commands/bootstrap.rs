//! `kubemcsa bootstrap`: links a target to a source, or to several.
//!
//! The steps are those of [`crate::link`]. Interrupted anywhere, a second run finishes.

mod args;
mod dry_run;
mod report;
mod several;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use mcsa_credentials::credential::pem_bundle;

pub use args::Args;

use crate::cli::usage::Usage;
use crate::link::authorize::{self, Authorized};
use crate::link::connect::{self, Connected};
use crate::link::grants::{self, Grant, Grants, Stored};
use crate::link::permit::Permitted;
use crate::link::plan::{self, Plan, Way};
use crate::link::progress::Progress;
use crate::link::verify::Verified;
use crate::link::{bind, claim, declare, permit, renew};

/// Links, or says or prints what would be done.
pub async fn run(mut args: Args) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    args.source_contexts.retain(|context| seen.insert(context.clone()));
    if let Some(problem) = args.conflict() {
        return Err(Usage { command: "bootstrap", problem }.into());
    }
    if args.source_contexts.len() > 1 {
        return several::run(args).await;
    }
    let (plan, way) = plan(&args, args.source_contexts.first())?;
    let wish = Wish::of(&args);
    let claimed = claim::claim(connect::connect(plan, Progress::Lines).await?).await?;
    if args.output.is_some() {
        return report::print(&claimed, &wish, args.side).await;
    }
    if args.dry_run {
        return dry_run::rehearse(&claimed, &wish).await;
    }
    let permitted = permit::permit(claimed).await?;
    declare::prepare(permitted.target(), permitted.progress()).await?;
    let linked = link(&permitted, &way, &wish).await?;
    report::report(&permitted, &way, &linked).await
}

/// What a link is to be allowed, as the flags say it.
pub struct Wish {
    /// What it may import; empty: as it was, and everything at first.
    allow: Vec<Grant>,
    /// The lifetime of its tokens in seconds; none: as it was, and the longest at first.
    seconds: Option<i64>,
}

/// A link that was made, or found to be right.
pub struct Made {
    /// What it may do.
    authorized: Authorized,
    /// That it works.
    verified: Verified,
}

impl Wish {
    fn of(args: &Args) -> Self {
        Self { allow: args.allow.clone(), seconds: args.link_ttl }
    }

    /// What the link is to be granted; none where nobody can tell. Run again without a wish, bootstrap never
    /// widens what a link may.
    fn grants(&self, stored: &Stored) -> Option<Grants> {
        match &stored.grants {
            _ if !self.allow.is_empty() => Some(self.allow.iter().collect()),
            Some(_) if stored.is_ambiguous() => None,
            stored => Some(stored.clone().unwrap_or(Grants::Everything)),
        }
    }

    /// The same, or what to say instead.
    ///
    /// # Errors
    /// When nobody can tell.
    fn grants_of(&self, connected: &Connected, stored: &Stored) -> anyhow::Result<Grants> {
        let flags = connected.plan().flags();
        self.grants(stored).with_context(|| {
            format!(
                "{}: {} is bound to everything, and to Roles in some namespaces, too: say which is meant: {} --allow \
                 NAMESPACE[/NAME], or: {}",
                connected.source().name,
                connected.target().name,
                flags.of("bootstrap", ""),
                flags.of("allow", "--everything"),
            )
        })
    }
}

fn plan(args: &Args, source_context: Option<&String>) -> anyhow::Result<(Plan, Way)> {
    let flags = args.flags(source_context);
    let (target, source) = (flags.target.choose()?, flags.source.choose()?);
    let ca_file = args.way.source_ca_file.as_deref().map(ca_file).transpose()?;
    let plan = plan::plan(flags, target, source)?;
    let way = plan::way(&plan, ca_file)?;
    Ok((plan, way))
}

fn ca_file(path: &Path) -> anyhow::Result<String> {
    let failed = |problem: String| anyhow::anyhow!("--source-ca-file {}: {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    pem_bundle(bytes).ok_or_else(|| failed("there is no PEM certificate in it".into()))
}

/// Links two clusters whose names are free, in a target that can have links.
async fn link(permitted: &Permitted, way: &Way, wish: &Wish) -> anyhow::Result<Made> {
    let stored = grants::stored(permitted.source(), &permitted.target().name).await?;
    let wanted = wish.grants_of(permitted, &stored)?;
    let authorized = authorize::authorize(permitted, &wanted, &stored).await?;
    let bound = bind::bind(permitted, &authorized).await?;
    let declared = declare::declare(permitted, wish.seconds).await?;
    let verified = renew::keep_or_mint(permitted, way.endpoint(), &authorized, &declared, &bound).await?;
    // Of a rotation that was interrupted.
    bind::delete_interim(permitted).await?;
    Ok(Made { authorized, verified })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_wish_nothing_is_widened() {
        let stored = |grants| Stored { grants, objects: Vec::new() };
        let granted = |allow: &[&str], before: Option<&str>| {
            let grant = |text: &&str| text.parse::<Grant>().unwrap();
            let wish = Wish { allow: allow.iter().map(grant).collect(), seconds: None };
            let before = before.map(|text| [grant(&text)].iter().collect());
            wish.grants(&stored(before)).unwrap().to_string()
        };
        assert_eq!(granted(&[], None), "everything");
        assert_eq!(granted(&[], Some("a")), "a");
        assert_eq!(granted(&["b"], Some("a")), "b");
        let everything = Wish { allow: vec!["b".parse().unwrap()], seconds: None };
        assert_eq!(everything.grants(&stored(Some(Grants::Everything))).unwrap().to_string(), "b");
    }

    #[test]
    fn of_two_forms_nobody_can_tell_which_is_meant() {
        let narrow: Grants = [&"a".parse().unwrap()].into_iter().collect();
        let mut objects = narrow.objects("c1").unwrap();
        objects.extend(Grants::Everything.objects("c1").unwrap());
        let stored = Stored { grants: Some(Grants::Everything), objects };
        let wish = |allow| Wish { allow, seconds: None };
        assert_eq!(wish(Vec::new()).grants(&stored), None);
        assert_eq!(wish(vec!["a".parse().unwrap()]).grants(&stored), Some(narrow));
    }
}
