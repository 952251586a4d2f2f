use super::super::tests::secret;
use super::super::{CLUSTER_LABEL, REMOTE_NAMESPACE, WORKFLOW_NAMESPACE};
use super::*;
use crate::kubeconfig::tests::KUBECONFIG;
use kube::ResourceExt;
use rstest::rstest;

/// A profile of the namespace `argo` for the cluster `c2`.
fn profile(name: &str, workflow_namespace: Option<&str>, namespace: Option<&str>) -> Secret {
    let mut secret = secret(name, &[("kubeconfig", KUBECONFIG)]);
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
#[case("argo", "c2", "default", Some("argo/argo-to-default"))]
#[case("argo", "c2", "kube-system", Some("argo/argo"))]
#[case("other", "c2", "default", Some("argo/any-to-default"))]
#[case("other", "c2", "kube-system", Some("argo/any"))]
// A tenant's profile precedes a shared one for that namespace.
#[case("team", "c2", "default", Some("argo/team"))]
#[case("argo", "c3", "default", None)]
fn the_most_specific_profile_is_found(
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
fn an_ambiguity_names_both_profiles() {
    let mut secrets = all();
    secrets.push(profile("again", None, Some("default")));
    for _ in 0..2 {
        let (profiles, _) = Profiles::read(&secrets);
        let error = profiles.find("argo", "c2", "default").unwrap_err().to_string();
        assert!(
            error.starts_with(
                "Secret argo/again: as specific as Secret argo/argo-to-default for namespace default"
            ),
            "{error}"
        );
        // Other profiles are still found.
        assert!(profiles.find("argo", "c2", "kube-system").unwrap().is_some());
        secrets.reverse();
    }
}

#[rstest]
#[case(|secret: &mut Secret| secret.metadata.labels = None, ": no label workflows.argoproj.io/cluster")]
#[case(|secret: &mut Secret| secret.data = None, ", key kubeconfig: no keys; add")]
#[case(|secret: &mut Secret| secret.metadata.namespace = None, ": no namespace")]
#[case(
    |secret: &mut Secret| change(secret, "current-context", "x"),
    ", key kubeconfig: the kubeconfig has no current-context"
)]
#[case(|secret: &mut Secret| change(secret, "token: t0ken", "exec: {command: t0ken}"), ": it has exec, which is not allowed")]
#[case(|secret: &mut Secret| change(secret, "clusters:", "clusters: t0ken"), ", key kubeconfig: not a kubeconfig; add")]
fn an_invalid_profile_does_not_affect_others(#[case] change: fn(&mut Secret), #[case] expected: &str) {
    let mut bad = profile("bad", None, None);
    change(&mut bad);
    let mut secrets = all();
    secrets.insert(0, bad);
    let (profiles, errors) = Profiles::read(&secrets);
    assert_eq!(profiles.iter().count(), 5);
    let [error] = &errors[..] else { panic!("{errors:?}") };
    let text = error.to_string();
    assert!(text.contains("bad") && text.contains(expected) && !text.contains("t0ken"), "{text}");
}

fn change(secret: &mut Secret, from: &str, to: &str) {
    for value in secret.data.iter_mut().flat_map(|data| data.values_mut()) {
        let text = String::from_utf8(value.0.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        value.0 = text.replacen(from, to, 1).into_bytes();
    }
}
