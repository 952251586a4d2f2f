//! Profiles, and which of them is found.

use super::super::tests::{assert_is, each, secret};
use super::super::{CLUSTER_LABEL, REMOTE_NAMESPACE, WORKFLOW_NAMESPACE};
use super::*;
use crate::system::credential::tests::credential;
use crate::system::formats::{Verification, argo_workflows::Scope};
use kube::ResourceExt;
use rstest::rstest;

/// A profile of the namespace `argo` for the cluster `c2`.
fn profile(name: &str, workflow_namespace: Option<&str>, namespace: Option<&str>) -> Secret {
    let mut secret = secret(name, &[("kubeconfig", &credential().kubeconfig().unwrap())]);
    secret.labels_mut().insert(CLUSTER_LABEL.into(), "c2".into());
    let annotations = [(WORKFLOW_NAMESPACE, workflow_namespace), (REMOTE_NAMESPACE, namespace)];
    for (key, value) in annotations.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        secret.annotations_mut().insert(key.into(), value.into());
    }
    secret
}

fn all() -> Vec<Secret> {
    vec![
        profile("any", Some(""), None),
        profile("any-to-default", Some(""), Some("default")),
        profile("argo", None, None),
        profile("argo-to-default", None, Some("default")),
        profile("team", Some("team"), Some("")),
    ]
}

#[rstest]
#[case(Scope::default(), Some("argo"), None)]
#[case(Scope { workflow_namespace: Some("w"), namespace: Some("default") }, Some("w"), Some("default"))]
#[case(Scope { workflow_namespace: Some(""), namespace: None }, None, None)]
fn what_is_exported_reads_back(
    #[case] scope: Scope<'_>,
    #[case] workflow_namespace: Option<&str>,
    #[case] namespace: Option<&str>,
) {
    each(|exported| {
        let mut secret = exported.argo_profile(scope).unwrap();
        secret.metadata.namespace = Some("argo".into());
        let strict = Reader::default().profile(&secret);
        assert_eq!(strict.is_err(), exported.verification == Verification::Nothing);
        let profile = Reader::default().allow_insecure().profile(&secret).unwrap();
        assert_is(&profile.config, &exported);
        assert_eq!((profile.secret.as_str(), profile.cluster.as_str()), ("argo/argo.c2", "c2"));
        assert_eq!(profile.workflow_namespace.as_deref(), workflow_namespace);
        assert_eq!(profile.namespace.as_deref(), namespace);
    });
}

#[rstest]
#[case("argo", "c2", "default", Some("argo/argo-to-default"))]
#[case("argo", "c2", "kube-system", Some("argo/argo"))]
#[case("other", "c2", "default", Some("argo/any-to-default"))]
#[case("other", "c2", "kube-system", Some("argo/any"))]
// What a tenant was given goes before what all were given for that namespace.
#[case("team", "c2", "default", Some("argo/team"))]
#[case("argo", "c3", "default", None)]
fn the_most_specific_one(
    #[case] workflow_namespace: &str,
    #[case] cluster: &str,
    #[case] namespace: &str,
    #[case] expected: Option<&str>,
) {
    let mut secrets = all();
    for _ in 0..2 {
        let (profiles, errors) = Profiles::read(&secrets);
        assert!(errors.is_empty(), "{errors:?}");
        let found = profiles.find(workflow_namespace, cluster, namespace).unwrap();
        assert_eq!(found.map(|profile| profile.secret.as_str()), expected);
        secrets.reverse();
    }
}

#[test]
fn two_for_the_same_are_both_named() {
    let mut secrets = all();
    secrets.push(profile("again", None, Some("default")));
    for _ in 0..2 {
        let (profiles, _) = Profiles::read(&secrets);
        let error = profiles.find("argo", "c2", "default").unwrap_err().to_string();
        assert!(
            error.starts_with(
                "Secret argo/again: Secret argo/argo-to-default is just as specific for namespace default"
            ),
            "{error}"
        );
        // Others are found all the same.
        assert!(profiles.find("argo", "c2", "kube-system").unwrap().is_some());
        secrets.reverse();
    }
}

#[rstest]
#[case(|secret: &mut Secret| secret.metadata.labels = None, ": it has no label workflows.argoproj.io/cluster")]
#[case(|secret: &mut Secret| secret.data = None, ", key kubeconfig: it has no keys; put")]
#[case(|secret: &mut Secret| secret.metadata.namespace = None, ": it has no namespace")]
#[case(
    |secret: &mut Secret| spoil(secret, "current-context", "x"),
    ", key kubeconfig: its kubeconfig has no current-context"
)]
#[case(|secret: &mut Secret| spoil(secret, "token: t0ken", "exec: {command: t0ken}"), ", key kubeconfig: it has exec")]
#[case(|secret: &mut Secret| spoil(secret, "clusters:", "clusters: t0ken"), ", key kubeconfig: it is not a kubeconfig; put")]
fn a_bad_one_is_an_error_beside_the_good_ones(#[case] spoil: fn(&mut Secret), #[case] said: &str) {
    let mut bad = profile("bad", None, None);
    spoil(&mut bad);
    let mut secrets = all();
    secrets.insert(0, bad);
    let (profiles, errors) = Profiles::read(&secrets);
    assert_eq!(profiles.iter().count(), 5);
    let [error] = &errors[..] else { panic!("{errors:?}") };
    let text = error.to_string();
    assert!(text.contains("bad") && text.contains(said) && !text.contains("t0ken"), "{text}");
}

fn spoil(secret: &mut Secret, from: &str, to: &str) {
    for value in secret.data.iter_mut().flat_map(|data| data.values_mut()) {
        let text = String::from_utf8(value.0.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        value.0 = text.replacen(from, to, 1).into_bytes();
    }
}
