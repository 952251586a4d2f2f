use std::convert::Infallible;

use http::{Request, Response, Uri};
use kube::Client;
use kube::client::Body;
use secrecy::ExposeSecret;

use super::*;

fn launch(remote_namespace: &str) -> Launch {
    Launch {
        namespace: "team-a".into(),
        cluster: "c2".into(),
        remote_namespace: remote_namespace.into(),
    }
}

/// A plan of launches with tokens, by remote namespace. Nothing listens at the address.
fn plan(launches: &[(&str, &str)]) -> Plan {
    let with_config = |(remote, token): &(&str, &str)| {
        let mut config = Config::new(Uri::from_static("https://127.0.0.1:1"));
        config.default_namespace = (*remote).to_owned();
        config.auth_info.token = Some((*token).to_owned().into());
        (launch(remote), config)
    };
    Plan { launches: launches.iter().map(with_config).collect(), problems: BTreeSet::new() }
}

fn members() -> (Clusters, Members) {
    let clusters = Clusters::fixed::<&str>([]);
    (clusters.clone(), Members::new(clusters))
}

/// The members for pods of the namespace.
fn names(clusters: &Clusters) -> Vec<String> {
    clusters.imported("team-a", "c2").iter().map(|member| member.name().to_string()).collect()
}

#[tokio::test]
async fn a_launch_is_a_member_like_that_of_a_launch_import() {
    let (clusters, mut members) = members();
    members.apply(plan(&[("remote", "t0ken"), ("team-a", "t0ken")]));
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
    members.apply(plan(&[("remote", "first")]));
    let member = clusters.get("team-a.c2/remote");
    members.apply(plan(&[("remote", "second")]));
    assert_eq!(clusters.get("team-a.c2/remote"), member);
    let config = members.joined[&launch("remote")].borrow().clone();
    assert_eq!(config.auth_info.token.unwrap().expose_secret(), "second");
}

#[tokio::test]
async fn a_launch_that_is_gone_leaves() {
    let (clusters, mut members) = members();
    members.apply(plan(&[("remote", "t0ken"), ("team-a", "t0ken")]));
    members.apply(plan(&[("team-a", "t0ken")]));
    assert_eq!(names(&clusters), ["team-a.c2/team-a"]);
}

#[tokio::test]
async fn a_launch_import_precedes_the_secrets() {
    let (clusters, mut members) = members();
    let both = || plan(&[("remote", "t0ken"), ("team-a", "t0ken")]);
    members.apply(both());
    let mut stored = import(&launch("remote"));
    stored.metadata.uid = Some("u".into());
    let respond = |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) };
    let client = Client::new(tower::service_fn(respond), "remote");
    clusters.join_as_import("team-a.c2-launcher", client, stored).unwrap();
    for _ in 0..2 {
        members.apply(both());
        assert_eq!(names(&clusters), ["team-a.c2-launcher", "team-a.c2/team-a"]);
    }
    clusters.leave("team-a.c2-launcher");
    members.apply(both());
    assert_eq!(names(&clusters), ["team-a.c2/remote", "team-a.c2/team-a"]);
}

#[tokio::test]
async fn an_unusable_config_is_a_problem_and_does_not_affect_others() {
    let (clusters, mut members) = members();
    members.apply(plan(&[("remote", "t0\nken"), ("team-a", "t0ken")]));
    assert_eq!(names(&clusters), ["team-a.c2/team-a"]);
    let problems: Vec<_> = members.problems.iter().collect();
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(problem.contains("team-a.c2/remote") && !problem.contains("t0"), "{problem}");
    members.apply(plan(&[("remote", "t0ken")]));
    assert!(members.problems.is_empty());
    assert_eq!(names(&clusters), ["team-a.c2/remote"]);
}
