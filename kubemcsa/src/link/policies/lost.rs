//! The imports that the first policy of a source excludes.

use kube::ResourceExt;
use mcsa_client::policy::{Permission, permission};
use mcsa_client::{ImportPolicySpec, ServiceAccountImport};
use mcsa_credentials::permission::request;

/// Longer lists are cut.
const MAX_NAMES: usize = 10;

/// Namespaces and names of the imports of a source that none of these policies permits. The policies have no selectors.
pub(crate) fn find<'a>(
    imports: impl IntoIterator<Item = &'a ServiceAccountImport>,
    source: &str,
    policies: &[ImportPolicySpec],
) -> Vec<String> {
    let of_source = |import: &&ServiceAccountImport| !import.is_link() && import.spec.cluster_name == source;
    let is_lost =
        |import: &&ServiceAccountImport| permission(policies, request(import), None) != Permission::Permitted;
    let name =
        |it: &ServiceAccountImport| format!("{}/{}", it.namespace().unwrap_or_default(), it.name_any());
    imports.into_iter().filter(of_source).filter(is_lost).map(name).collect()
}

/// The warning. `None`: no import is lost. `command`: permits them.
pub(crate) fn warning(lost: &[String], command: &str) -> Option<String> {
    let listed = lost.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match lost.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!lost.is_empty())
        .then(|| format!("these imports are no longer permitted: {listed}{more}; run {command}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::ServiceAccountImportSpec;
    use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
    use serde_json::json;

    fn import(namespace: &str, name: &str, source: &str) -> ServiceAccountImport {
        let spec = ServiceAccountImportSpec {
            cluster_name: source.into(),
            namespace: "default".into(),
            name: "pod-lister".into(),
            ..Default::default()
        };
        let mut import = ServiceAccountImport::new(name, spec);
        import.metadata.namespace = Some(namespace.into());
        import
    }

    #[test]
    fn imports_of_other_namespaces_and_accounts_are_lost() {
        let mut link = import(SYSTEM_NAMESPACE, "c2", "c2");
        link.labels_mut().insert(LINK_LABEL.into(), "true".into());
        let mut other_account = import("shop", "admin", "c2");
        other_account.spec.name = "admin".into();
        let imports = [
            link,
            import("shop", "permitted", "c2"),
            import("web", "elsewhere", "c2"),
            import("web", "other-source", "c3"),
            other_account,
        ];
        let account = json!({ "namespace": "default", "name": "pod-lister" });
        let policy = json!({ "clusterName": "c2", "namespaces": ["shop"], "serviceAccounts": [account] });
        let policy: ImportPolicySpec = serde_json::from_value(policy).unwrap();
        assert_eq!(find(&imports, "c2", &[policy]), ["web/elsewhere", "shop/admin"]);
        assert_eq!(find(&imports, "c2", &[]), [""; 0], "without a policy, all are permitted");
    }

    #[test]
    fn warning_lists_ten_imports_and_counts_the_others() {
        let names = |count: usize| (0..count).map(|i| format!("a/{i}")).collect::<Vec<_>>();
        assert_eq!(warning(&names(0), "x"), None);
        assert_eq!(
            warning(&names(2), "kubemcsa allow a").unwrap(),
            "these imports are no longer permitted: a/0, a/1; run kubemcsa allow a"
        );
        let text = warning(&names(12), "x").unwrap();
        assert!(text.ends_with("a/8, a/9 and 2 more; run x"), "{text}");
    }
}
