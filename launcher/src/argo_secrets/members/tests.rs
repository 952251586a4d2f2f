use http::Uri;
use rstest::rstest;
use secrecy::ExposeSecret;

use super::*;
use crate::argo_secrets::plan::Scope;
use crate::launch_import::tests::join as join_launch_import;

fn launch(remote_namespace: &str) -> Launch {
    Launch { namespace: "team-a".into(), cluster: "c2".into(), remote_namespace: remote_namespace.into() }
}

/// A plan of launches of the second design with tokens, by remote namespace. Nothing listens at the address.
fn plan(launches: &[(&str, &str)]) -> Plan {
    plan_of(Design::Kubeconfigs, launches)
}

fn plan_of(design: Design, launches: &[(&str, &str)]) -> Plan {
    let with_config = |(remote, token): &(&str, &str)| {
        let mut config = Config::new(Uri::from_static("https://127.0.0.1:1"));
        config.default_namespace = (*remote).to_owned();
        config.auth_info.token = Some((*token).to_owned().into());
        (launch(remote), Access { design, config })
    };
    Plan { launches: launches.iter().map(with_config).collect(), ..Plan::default() }
}

fn members() -> (Clusters, Members) {
    let clusters = Clusters::fixed::<&str>([]);
    (clusters.clone(), Members::new(clusters))
}

/// The token that a member uses now.
fn token(members: &Members, remote: &str) -> Option<String> {
    let config = members.joined.get(&launch(remote))?.config.borrow().clone();
    config.auth_info.token.map(|token| token.expose_secret().to_owned())
}

/// The members for pods of the namespace.
fn names(clusters: &Clusters) -> Vec<String> {
    clusters.imported("team-a", "c2").iter().map(|member| member.name().to_string()).collect()
}

#[tokio::test]
async fn a_launch_is_a_member_like_that_of_a_launch_import() {
    let (clusters, mut members) = members();
    members.apply(&plan(&[("remote", "t0ken"), ("team-a", "t0ken")]));
    assert_eq!(names(&clusters), ["team-a.c2/remote", "team-a.c2/team-a"]);
    let member = clusters.get("team-a.c2/remote").unwrap();
    assert_eq!(member.default_namespace(), "remote");
    let import = member.import().unwrap();
    assert_eq!((&*import.spec.namespace, &*import.spec.name), ("remote", "argo-secrets"));
    let metadata = &import.metadata;
    assert_eq!(metadata.labels.as_ref().unwrap().get(LABEL).unwrap(), "true");
    assert_eq!(metadata.annotations.as_ref().unwrap().get(ARGO).unwrap(), "true");
    assert!(is_made_up(&import));
}

#[tokio::test]
async fn a_new_token_reaches_the_same_member() {
    let (clusters, mut members) = members();
    members.apply(&plan(&[("remote", "first")]));
    let member = clusters.get("team-a.c2/remote");
    members.apply(&plan(&[("remote", "second")]));
    assert_eq!(clusters.get("team-a.c2/remote"), member);
    assert_eq!(token(&members, "remote").as_deref(), Some("second"));
}

#[tokio::test]
async fn a_launch_that_is_gone_leaves() {
    let (clusters, mut members) = members();
    members.apply(&plan(&[("remote", "t0ken"), ("team-a", "t0ken")]));
    members.apply(&plan(&[("team-a", "t0ken")]));
    assert_eq!(names(&clusters), ["team-a.c2/team-a"]);
}

#[rstest]
#[case::profile_can_not_be_used(Design::Profiles, Design::Profiles, Some(Design::RestConfigs), Some("first"))]
#[case::and_nothing_else_gives_it(Design::Profiles, Design::Profiles, None, Some("first"))]
#[case::profile_is_deleted(Design::Profiles, Design::RestConfigs, Some(Design::RestConfigs), Some("second"))]
#[case::and_nothing_else_gives_it_either(Design::Profiles, Design::RestConfigs, None, None)]
#[case::same_design_gives_it(
    Design::Kubeconfigs,
    Design::Kubeconfigs,
    Some(Design::Kubeconfigs),
    Some("second")
)]
#[case::later_design_gives_it(
    Design::Kubeconfigs,
    Design::Kubeconfigs,
    Some(Design::Profiles),
    Some("second")
)]
#[tokio::test]
async fn a_member_stays_as_it_is_while_its_secret_can_not_be_used(
    #[case] joined: Design,
    #[case] unusable: Design,
    #[case] planned: Option<Design>,
    #[case] expected: Option<&str>,
) {
    let (clusters, mut members) = members();
    members.apply(&plan_of(joined, &[("remote", "first")]));
    let member = clusters.get("team-a.c2/remote");
    let mut next = planned.map(|design| plan_of(design, &[("remote", "second")])).unwrap_or_default();
    next.unusable.insert(Scope::new(unusable, None, Some("c2")));
    for _ in 0..2 {
        members.apply(&next);
        assert_eq!(token(&members, "remote").as_deref(), expected);
        assert_eq!(clusters.get("team-a.c2/remote"), member.clone().filter(|_| expected.is_some()));
    }
}

#[tokio::test]
async fn earlier_design_does_not_join_while_a_later_one_can_not_be_used() {
    let (clusters, mut members) = members();
    let mut next = plan_of(Design::RestConfigs, &[("remote", "t0ken")]);
    next.unusable.insert(Scope::new(Design::Profiles, Some("team-a"), Some("c2")));
    members.apply(&next);
    assert!(names(&clusters).is_empty());
    next.unusable.clear();
    members.apply(&next);
    assert_eq!(names(&clusters), ["team-a.c2/remote"]);
}

#[tokio::test]
async fn a_launch_import_with_rights_to_outputs_precedes_the_secrets() {
    let (clusters, mut members) = members();
    let both = || plan(&[("remote", "t0ken"), ("team-a", "t0ken")]);
    members.apply(&both());
    join_launch_import(&clusters, "team-a.c2-launcher", Some("u"), true);
    for _ in 0..2 {
        members.apply(&both());
        assert_eq!(names(&clusters), ["team-a.c2-launcher", "team-a.c2/team-a"]);
    }
    clusters.leave("team-a.c2-launcher");
    members.apply(&both());
    assert_eq!(names(&clusters), ["team-a.c2/remote", "team-a.c2/team-a"]);
}

#[tokio::test]
async fn a_launch_import_without_rights_to_outputs_replaces_no_secret() {
    let (clusters, mut members) = members();
    join_launch_import(&clusters, "team-a.c2-launcher", Some("u"), false);
    for _ in 0..2 {
        members.apply(&plan(&[("remote", "t0ken")]));
        assert_eq!(names(&clusters), ["team-a.c2-launcher", "team-a.c2/remote"]);
    }
}

#[tokio::test]
async fn an_unusable_config_is_a_problem_and_does_not_affect_others() {
    let (clusters, mut members) = members();
    members.apply(&plan(&[("remote", "t0\nken"), ("team-a", "t0ken")]));
    assert_eq!(names(&clusters), ["team-a.c2/team-a"]);
    let problems: Vec<_> = members.problems.iter().collect();
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(problem.contains("team-a.c2/remote") && !problem.contains("t0"), "{problem}");
    members.apply(&plan(&[("remote", "t0ken")]));
    assert!(members.problems.is_empty());
    assert_eq!(names(&clusters), ["team-a.c2/remote"]);
}
