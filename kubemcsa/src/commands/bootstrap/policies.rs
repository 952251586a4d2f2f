//! `--for`: the ImportPolicies that the flags request, and who can import what without it.

use std::collections::BTreeSet;

use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::Args;
use crate::cli::output;
use crate::cluster::object;
use crate::cluster::policies::Policies;
use crate::link::connect::Connected;
use crate::link::flags::Flags;
use crate::link::grants::Grants;
use crate::link::policies::accounts::{Edit, everything, rules};
use crate::link::policies::{Change, Planned};

/// The policies that the flags request.
pub(crate) struct RequestedPolicies {
    /// Empty: unchanged.
    namespaces: Vec<String>,
    edit: Edit,
}

impl RequestedPolicies {
    pub(super) fn of(args: &Args) -> Self {
        let namespaces: BTreeSet<_> = args.namespaces.iter().cloned().collect();
        // Without --allow, a policy that exists is not widened.
        let edit = match (args.allow_everything, args.allow.is_empty()) {
            (true, _) => Edit::Set(vec![everything()]),
            (false, true) => Edit::Initialize(vec![everything()]),
            (false, false) => Edit::Set(rules(&args.allow)),
        };
        Self { namespaces: namespaces.into_iter().collect(), edit }
    }

    /// Fails if they can't be written, before anything is granted.
    pub(super) async fn ensure_writable(&self, connected: &Connected) -> anyhow::Result<()> {
        if self.namespaces.is_empty() { Ok(()) } else { self.change(connected).ensure_writable().await }
    }

    /// Writes them.
    pub(super) async fn write(&self, connected: &Connected) -> anyhow::Result<()> {
        if !self.namespaces.is_empty() {
            self.change(connected).write(connected.progress()).await?;
        }
        Ok(())
    }

    /// Shows what [`Self::write`] would change.
    pub(super) async fn show(&self, connected: &Connected) -> anyhow::Result<()> {
        if self.namespaces.is_empty() { Ok(()) } else { self.change(connected).show().await }
    }

    /// The policies as manifests.
    pub(super) async fn objects(&self, connected: &Connected) -> anyhow::Result<Vec<DynamicObject>> {
        let planned = self.change(connected).plan().await?;
        planned.iter().map(Planned::wanted).map(object::dynamic).collect()
    }

    fn change<'a>(&'a self, connected: &'a Connected) -> Change<'a> {
        Change {
            target: connected.target(),
            source: &connected.source().name,
            namespaces: &self.namespaces,
            edit: &self.edit,
            flags: connected.plan().flags(),
        }
    }
}

/// Reports who can import what, if neither `--allow` nor `--for` says it.
pub(super) async fn report_scope(connected: &Connected, grants: &Grants) {
    let flags = connected.plan().flags();
    if !is_bare(flags) {
        return;
    }
    let (target, source) = (connected.target(), &connected.source().name);
    match Policies::read(target).await {
        Ok(policies) => {
            output::info(&target.name, &scope(&target.name, source, grants, &names(&policies, source)));
        }
        Err(error) => output::warn_of(&error),
    }
}

/// The same for one of several sources, as the end of a sentence; empty if a flag says it.
pub(super) async fn short_scope(connected: &Connected) -> String {
    if !is_bare(connected.plan().flags()) {
        return String::new();
    }
    match Policies::read(connected.target()).await {
        Ok(policies) if names(&policies, &connected.source().name).is_empty() => {
            ", for all namespaces (to limit this: --allow and --for)".into()
        }
        Ok(_) => ", as ImportPolicies permit (to change this: --allow and --for)".into(),
        Err(_) => String::new(),
    }
}

fn is_bare(flags: &Flags) -> bool {
    !flags.others.iter().any(|(flag, _)| flag.starts_with("--allow") || *flag == "--for")
}

fn names(policies: &Policies, source: &str) -> Vec<String> {
    policies.of_source(source).map(|policy| policy.name.clone()).collect()
}

fn scope(target: &str, source: &str, grants: &Grants, policies: &[String]) -> String {
    let accounts = match grants {
        Grants::Everything => {
            format!("all service accounts of {source} except those in kube-* and {SYSTEM_NAMESPACE}")
        }
        Grants::Only(_) => format!("these service accounts of {source}: {grants}"),
    };
    match policies {
        [] => format!(
            "all namespaces of {target} can now import {accounts}; limit the service accounts with --allow NAMESPACE[/NAME], \
             and the namespaces with --for NAMESPACE"
        ),
        [first, others @ ..] => {
            let more = match others.len() {
                0 => String::new(),
                count => format!(" and {count} more"),
            };
            format!(
                "namespaces of {target} can now import, as far as ImportPolicies permit ({first}{more}), {accounts}; change \
                 the service accounts with --allow NAMESPACE[/NAME], and the policies with --for NAMESPACE"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bootstrap::args::SourceChoice;
    use rstest::rstest;

    #[rstest]
    #[case::none(&[], "all namespaces of c1 can now import all service accounts of c2 except")]
    #[case::one(&["c2.shop"], "as far as ImportPolicies permit (c2.shop), all service accounts of c2 except")]
    #[case::several(&["c2.shop", "c2.web", "x"], "as far as ImportPolicies permit (c2.shop and 2 more), all")]
    fn sentence_says_who_can_import_what(#[case] policies: &[&str], #[case] expected: &str) {
        let policies: Vec<_> = policies.iter().map(ToString::to_string).collect();
        let sentence = scope("c1", "c2", &Grants::Everything, &policies);
        assert!(sentence.contains(expected), "{sentence}");
        assert!(sentence.contains("--allow NAMESPACE") && sentence.contains("--for NAMESPACE"), "{sentence}");
        let only: Grants = [&"a/x".parse().unwrap()].into_iter().collect();
        let sentence = scope("c1", "c2", &only, &policies);
        assert!(sentence.contains("these service accounts of c2: a/x;"), "{sentence}");
    }

    #[test]
    fn flags_that_limit_imports_are_repeated_in_commands() {
        let args = Args { namespaces: vec!["shop".into(), "web".into()], ..Default::default() };
        let flags = args.flags(&SourceChoice::default());
        assert_eq!(flags.command_line(), "kubemcsa bootstrap --for shop,web");
        assert!(!is_bare(&flags) && is_bare(&Args::default().flags(&SourceChoice::default())));
    }

    #[test]
    fn accounts_of_a_policy_are_those_of_allow() {
        let all =
            RequestedPolicies::of(&Args { namespaces: vec!["b".into(), "a".into()], ..Default::default() });
        assert_eq!(
            (all.namespaces, all.edit),
            (vec!["a".into(), "b".into()], Edit::Initialize(vec![everything()]))
        );
        let some = RequestedPolicies::of(&Args { allow: vec!["a/x".parse().unwrap()], ..Default::default() });
        assert_eq!(some.edit, Edit::Set(rules(&["a/x".parse().unwrap()])));
    }
}
