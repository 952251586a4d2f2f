//! Flags of commands that bootstrap a link again, and a hint about flags that can't be printed.

use std::collections::BTreeSet;

use mcsa_client::ServiceAccountImport;

use crate::commands::check::facts::Facts;
use crate::link::existing::ExistingLink;
use crate::link::grants::Grant;

/// Longer lists are not printed.
const MAX_GRANTS: usize = 3;

/// For the user to replace.
const PLACEHOLDER: &str = "NAMESPACE[/NAME]";

/// The values of `--allow` for a source that might not know the target yet: what its imports reference, because
/// bootstrap would allow everything otherwise. Empty if the target has the link's import: bootstrap keeps what the link
/// may import, and refuses to grant again what was revoked.
pub(crate) fn grants_for(facts: &Facts, source: &str, link: Option<&ExistingLink>) -> Vec<String> {
    if link.is_some_and(|link| link.import.is_some()) {
        return Vec::new();
    }
    imported_grants(facts, source)
}

/// The values of `--allow` for the service accounts that imports of a source reference.
pub(crate) fn imported_grants(facts: &Facts, source: &str) -> Vec<String> {
    let specs = facts.other_imports().map(|import| &import.spec);
    let specs = specs.filter(|spec| spec.cluster_name == source);
    // Parsing skips specs with arbitrary text, and namespaces that bootstrap does not allow.
    let grants = specs.filter_map(|spec| format!("{}/{}", spec.namespace, spec.name).parse::<Grant>().ok());
    let (mut accounts, mut namespaces) = (BTreeSet::new(), BTreeSet::new());
    for grant in grants {
        accounts.insert(grant.to_string());
        namespaces.insert(grant.namespace);
    }
    let short = [accounts, namespaces].into_iter().find(|names| (1..=MAX_GRANTS).contains(&names.len()));
    short.map_or_else(|| vec![PLACEHOLDER.to_owned()], Vec::from_iter)
}

/// A hint to append to the message if the source may have deleted the link's identity: then, bootstrap requires to say
/// what the link may import. Empty without an import of the link, because [`grants_for`] returns the values then.
pub(crate) fn revoked_hint(
    facts: &Facts,
    reason: &str,
    import: &ServiceAccountImport,
    link: Option<&ExistingLink>,
) -> String {
    let may_be_revoked = match reason {
        "LinkUnauthorized" => true,
        "Forbidden" | "ServiceAccountNotFound" | "BoundSecretNotFound" => import.is_link(),
        _ => false,
    };
    if !may_be_revoked || link.is_none_or(|link| link.import.is_none()) {
        return String::new();
    }
    let source = &import.spec.cluster_name;
    let grants = imported_grants(facts, source);
    let flags: Vec<_> = grants.iter().map(|grant| format!("--allow {grant}")).collect();
    format!("; if {source} has deleted the link's service account or rights, add {}", flags.join(" "))
}

/// A hint to append to the message if the command lacks parts of the link's connection.
pub(crate) fn missing_flags_hint(link: Option<&ExistingLink>, command: &str) -> String {
    let Some(Ok(link)) = link.and_then(ExistingLink::link) else { return String::new() };
    let endpoint = link.endpoint;
    let flags = [
        ("--source-ca-file", endpoint.ca_bundle.is_some()),
        ("--tls-server-name", endpoint.tls_server_name.is_some()),
        ("--proxy-url", endpoint.proxy_url.is_some()),
    ];
    let missing = flags.into_iter().filter(|(flag, is_set)| *is_set && !command.contains(flag));
    match missing.map(|(flag, _)| flag).collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        flags => format!("; if you bootstrapped the link with {}, add that flag again", flags.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::commands;
    use crate::commands::check::judge::samples::{
        self, NOW, facts, import, import_status, link, link_secret,
    };
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use k8s_openapi::ByteString;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case::no_imports(&[], &[PLACEHOLDER])]
    #[case::sorted_and_unique(&["b/x", "a/x", "b/x"], &["a/x", "b/x"])]
    #[case::most_accounts(&["a/x", "a/y", "a/z"], &["a/x", "a/y", "a/z"])]
    #[case::few_namespaces(&["a/x", "a/y", "b/x", "b/y"], &["a", "b"])]
    #[case::many_namespaces(&["a/x", "b/x", "c/x", "d/x"], &[PLACEHOLDER])]
    #[case::excluded_namespaces(&["kube-system/x", "multicluster-service-account/c1", "a/x"], &["a/x"])]
    #[case::invalid_names(&["a/x; rm -r .", "a b/x", "$(id)/x"], &[PLACEHOLDER])]
    fn grants_cover_what_imports_reference(#[case] accounts: &[&str], #[case] expected: &[&str]) {
        let imports = accounts.iter().enumerate().map(|(i, account)| {
            let mut import = import("team", &format!("i{i}"), "c2", Value::Null);
            let (namespace, name) = account.split_once('/').unwrap();
            (import.spec.namespace, import.spec.name) = (namespace.into(), name.into());
            import
        });
        let other = import("team", "other", "c3", Value::Null);
        let facts = Facts { imports: samples::imports(imports.chain([other])), ..facts() };
        assert_eq!(imported_grants(&facts, "c2"), expected);
        assert_eq!(grants_for(&facts, "c2", None), expected);
        let existing = link("c2", import_status(true, None), None);
        assert_eq!(grants_for(&facts, "c2", Some(&existing)), [""; 0], "the link keeps what it may import");
    }

    const HINT: &str =
        "; if c2 has deleted the link's service account or rights, add --allow default/pod-lister";

    #[rstest]
    #[case::refused("LinkUnauthorized", HINT, HINT)]
    #[case::forbidden("Forbidden", HINT, "")]
    #[case::no_account("ServiceAccountNotFound", HINT, "")]
    #[case::unreachable("SourceUnreachable", "", "")]
    fn flags_after_a_revocation_are_mentioned(
        #[case] reason: &str,
        #[case] of_link: &str,
        #[case] of_import: &str,
    ) {
        let other = import("team", "a", "c2", Value::Null);
        let facts = Facts { imports: samples::imports([other.clone()]), ..facts() };
        let link = link("c2", import_status(true, None), None);
        let own = link.import.clone().unwrap();
        assert_eq!(revoked_hint(&facts, reason, &own, Some(&link)), of_link);
        assert_eq!(revoked_hint(&facts, reason, &other, Some(&link)), of_import);
        assert_eq!(revoked_hint(&facts, reason, &other, None), "", "the command has the flags");
    }

    #[rstest]
    #[case::plain(json!({}), "")]
    #[case::proxy(json!({ "proxy-url": "http://proxy:1" }), "")]
    #[case::proxy_with_a_password(
        json!({ "proxy-url": "http://me:pass@proxy:1" }),
        "; if you bootstrapped the link with --proxy-url, add that flag again"
    )]
    #[case::server_with_a_password(json!({ "server": "https://me:pass@c2" }), "")]
    #[case::authority_and_proxy(
        json!({ "proxy-url": "http://me:pass@proxy:1", "certificate-authority-data": authority() }),
        "; if you bootstrapped the link with --source-ca-file or --proxy-url, add that flag again"
    )]
    fn flags_that_are_not_printed_are_mentioned(#[case] endpoint: Value, #[case] expected: &str) {
        let mut cluster = json!({ "server": "https://c2" });
        cluster.as_object_mut().unwrap().extend(endpoint.as_object().unwrap().clone());
        let kubeconfig = json!({
            "current-context": "c", "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
            "clusters": [{ "name": "c", "cluster": cluster }], "users": [{ "name": "c", "user": {} }],
        });
        let mut secret = link_secret(NOW);
        secret.data =
            Some([("kubeconfig".to_owned(), ByteString(kubeconfig.to_string().into_bytes()))].into());
        let link = link("c2", import_status(true, None), Some(secret));
        let command = commands().bootstrap("c2", Some(&link), &[]);
        assert!(!command.contains("pass"), "{command}");
        assert_eq!(missing_flags_hint(Some(&link), &command), expected);
    }

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        BASE64_STANDARD.encode(certificate.pem())
    }
}
