use super::*;
use rstest::rstest;
use std::path::PathBuf;

use crate::link::flags::{SourceFlags, TargetFlags};

const REACHABLE: &str = "https://c2.example:6443";

pub(crate) fn chosen(name: &str, server: &str) -> ChosenContext {
    ChosenContext {
        context: format!("admin@{name}"),
        cluster_name: name.into(),
        server: server.into(),
        ..Default::default()
    }
}

/// A context of another kubeconfig.
fn in_other_file(name: &str) -> ChosenContext {
    ChosenContext { file: Some("other.kubeconfig".into()), ..chosen(name, REACHABLE) }
}

pub(crate) fn flags() -> Flags {
    Flags {
        command: "bootstrap",
        target: TargetFlags { context: Some("admin@c1".into()), ..Default::default() },
        source: SourceFlags { context: Some("admin@c2".into()), ..Default::default() },
        ..Default::default()
    }
}

fn refused(flags: Flags, target: ChosenContext, source: ChosenContext) -> String {
    plan(flags, target, source).map(drop).unwrap_err().to_string()
}

#[test]
fn names_default_to_the_kubeconfig() {
    let plan = plan(flags(), chosen("c1", "https://c1"), chosen("c2", REACHABLE)).unwrap();
    assert_eq!((plan.target.name.as_str(), plan.source.name.as_str()), ("c1", "c2"));
}

/// Another context may be the current one when a printed command is run.
#[test]
fn commands_name_the_contexts_that_were_the_current_ones() {
    let flags = Flags { command: "rotate", ..Default::default() };
    let plan = plan(flags, chosen("c1", "https://c1"), in_other_file("c2")).unwrap();
    let command = "kubemcsa rotate --target-context admin@c1 --source-context admin@c2";
    assert_eq!(plan.flags().command_line(), command);
}

#[rstest]
#[case("c1", "c1", "target and source are both called c1")]
#[case("gke_project_zone_prod", "c2", "--target-name gke-project-zone-prod")]
#[case("c1", "arn:aws:eks:eu-1:1:cluster/prod", "--source-name arn-aws-eks-eu-1-1-cluster-prod")]
#[case("c1", "___", "--source-name NAME")]
#[case("importer", "c2", "importer can't be the name of the target")]
#[case("default", "c2", "--target-name default-cluster")]
fn unusable_names_are_refused_with_the_flag_that_fixes_them(
    #[case] target: &str,
    #[case] source: &str,
    #[case] expected: &str,
) {
    let error = refused(flags(), chosen(target, "https://c1"), in_other_file(source));
    assert!(error.contains(expected), "{error}");
}

#[test]
fn flags_override_names_of_the_kubeconfig() {
    let mut flags = flags();
    flags.target.name = Some("prod".into());
    flags.source.name = Some("edge".into());
    let plan = plan(flags, chosen("kubernetes", "https://c1"), in_other_file("kubernetes")).unwrap();
    assert_eq!((plan.target.name.as_str(), plan.source.name.as_str()), ("prod", "edge"));
}

#[test]
fn same_context_requires_allow_self() {
    let same = || chosen("c1", REACHABLE);
    assert!(refused(flags(), same(), same()).contains("the same context admin@c1"));
    let error = anyhow::Error::from(plan(flags(), same(), same()).map(drop).unwrap_err());
    assert!(error.chain().any(|cause| cause.is::<Usage>()), "not reported as wrong usage");
    let allowed = Flags { allow_self: true, ..flags() };
    assert!(plan(allowed, same(), same()).is_ok());
    // kubeadm uses the same context name for all clusters, each in its own file.
    let file =
        |file: &str, name: &str| ChosenContext { file: Some(PathBuf::from(file)), ..chosen(name, REACHABLE) };
    let mut other = file("b", "c2");
    other.context = "admin@c1".into();
    assert!(plan(flags(), file("a", "c1"), other).is_ok());
}
