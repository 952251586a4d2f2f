//! Links that are to be made anew: what they may import then, and what of their way no command can carry.

use std::collections::BTreeSet;

use crate::commands::check::facts::Facts;
use crate::link::existing::ExistingLink;
use crate::link::grants::Grant;

/// More than so many are nothing to print.
const MOST: usize = 3;

/// A word that is for people to replace.
const PLACEHOLDER: &str = "NAMESPACE[/NAME]";

/// What a target is to be allowed by a source that may not know it yet: what its imports name, for without a
/// word it would be everything. A source that knows it has what it may import already.
pub fn allowed(facts: &Facts, source: &str, link: Option<&ExistingLink>) -> Vec<String> {
    if link.is_some_and(|link| link.import.is_some()) {
        return Vec::new();
    }
    named(facts, source)
}

/// The same for a source that is another cluster than before.
pub fn named(facts: &Facts, source: &str) -> Vec<String> {
    let imports = facts.other_imports().map(|import| &import.spec);
    let named = imports.filter(|spec| spec.cluster_name == source);
    // Whoever declares an import may write anything; and of some namespaces, bootstrap allows nothing.
    let grants = named.filter_map(|spec| format!("{}/{}", spec.namespace, spec.name).parse::<Grant>().ok());
    let (mut accounts, mut namespaces) = (BTreeSet::new(), BTreeSet::new());
    for grant in grants {
        accounts.insert(grant.to_string());
        namespaces.insert(grant.namespace);
    }
    let few = [accounts, namespaces].into_iter().find(|names| (1..=MOST).contains(&names.len()));
    few.map_or_else(|| vec![PLACEHOLDER.to_owned()], Vec::from_iter)
}

/// What is to be said of a command that makes a link anew, and does not carry all of its way.
pub fn left_out(link: Option<&ExistingLink>, command: &str) -> String {
    let Some(Ok(link)) = link.and_then(ExistingLink::link) else { return String::new() };
    let way = link.endpoint;
    let flags = [
        ("--source-ca-file", way.ca_bundle.is_some()),
        ("--tls-server-name", way.tls_server_name.is_some()),
        ("--proxy-url", way.proxy_url.is_some()),
    ];
    let missing = flags.into_iter().filter(|(flag, is_set)| *is_set && !command.contains(flag));
    match missing.map(|(flag, _)| flag).collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        flags => format!("; if it was linked with {}, add that to the command", flags.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::mend;
    use crate::commands::check::judge::samples::{self, NOW, facts, import, link, link_secret, tried};
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use k8s_openapi::ByteString;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case::none(&[], &[PLACEHOLDER])]
    #[case::some(&["b/x", "a/x", "b/x"], &["a/x", "b/x"])]
    #[case::as_many_as_are_printed(&["a/x", "a/y", "a/z"], &["a/x", "a/y", "a/z"])]
    #[case::of_few_namespaces(&["a/x", "a/y", "b/x", "b/y"], &["a", "b"])]
    #[case::of_many(&["a/x", "b/x", "c/x", "d/x"], &[PLACEHOLDER])]
    #[case::the_cluster_s_own(&["kube-system/x", "multicluster-service-account/c1", "a/x"], &["a/x"])]
    #[case::no_names(&["a/x; rm -r .", "a b/x", "$(id)/x"], &[PLACEHOLDER])]
    fn what_a_target_is_to_be_allowed(#[case] accounts: &[&str], #[case] expected: &[&str]) {
        let imports = accounts.iter().enumerate().map(|(i, account)| {
            let mut import = import("team", &format!("i{i}"), "c2", Value::Null);
            let (namespace, name) = account.split_once('/').unwrap();
            (import.spec.namespace, import.spec.name) = (namespace.into(), name.into());
            import
        });
        let other = import("team", "other", "c3", Value::Null);
        let facts = Facts { imports: samples::imports(imports.chain([other])), ..facts() };
        assert_eq!(named(&facts, "c2"), expected);
        assert_eq!(allowed(&facts, "c2", None), expected);
        let known = link("c2", tried(true, None), None);
        assert_eq!(allowed(&facts, "c2", Some(&known)), [""; 0], "it keeps what it has");
    }

    #[rstest]
    #[case::plain(json!({}), "")]
    #[case::proxy(json!({ "proxy-url": "http://proxy:1" }), "")]
    #[case::proxy_with_a_password(
        json!({ "proxy-url": "http://me:pass@proxy:1" }),
        "; if it was linked with --proxy-url, add that to the command"
    )]
    #[case::authority_and_proxy(
        json!({ "proxy-url": "http://me:pass@proxy:1", "certificate-authority-data": authority() }),
        "; if it was linked with --source-ca-file or --proxy-url, add that to the command"
    )]
    fn what_no_command_carries_is_said(#[case] way: Value, #[case] expected: &str) {
        let mut cluster = json!({ "server": "https://c2" });
        cluster.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
        let kubeconfig = json!({
            "current-context": "c", "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
            "clusters": [{ "name": "c", "cluster": cluster }], "users": [{ "name": "c", "user": {} }],
        });
        let mut secret = link_secret(NOW);
        secret.data =
            Some([("kubeconfig".to_owned(), ByteString(kubeconfig.to_string().into_bytes()))].into());
        let link = link("c2", tried(true, None), Some(secret));
        let command = mend().bootstrap("c2", Some(&link), &[]);
        assert!(!command.contains("pass"), "{command}");
        assert_eq!(left_out(Some(&link), &command), expected);
    }

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        BASE64_STANDARD.encode(certificate.pem())
    }
}
