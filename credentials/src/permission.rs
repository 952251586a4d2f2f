//! What an import asks ImportPolicies for, and what to say if none permits it.

use mcsa_client::ServiceAccountImport;
use mcsa_client::policy::ImportRequest;

/// What an import asks for.
pub fn request(import: &ServiceAccountImport) -> ImportRequest<'_> {
    ImportRequest {
        namespace: import.metadata.namespace.as_deref().unwrap_or_default(),
        cluster: &import.spec.cluster_name,
        account_namespace: &import.spec.namespace,
        account_name: &import.spec.name,
    }
}

/// Why an import is not permitted.
pub fn problem(request: ImportRequest<'_>) -> String {
    let ImportRequest { namespace, cluster, account_namespace, account_name } = request;
    format!(
        "no ImportPolicy permits namespace {namespace} to import service account {account_namespace}/{account_name} of \
         {cluster}"
    )
}

/// The message for the user of an import that is not permitted, with the command that permits it.
pub fn not_permitted(request: ImportRequest<'_>) -> String {
    let ImportRequest { namespace, cluster, account_namespace, account_name } = request;
    format!(
        "{}; ask an administrator of this cluster to run: kubemcsa allow {account_namespace}/{account_name} --for \
         {namespace} --source-name {cluster}",
        problem(request)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_the_command_that_permits_the_import() {
        let request = ImportRequest {
            namespace: "shop",
            cluster: "c2",
            account_namespace: "default",
            account_name: "pod-lister",
        };
        assert_eq!(
            not_permitted(request),
            "no ImportPolicy permits namespace shop to import service account default/pod-lister of c2; ask an \
             administrator of this cluster to run: kubemcsa allow default/pod-lister --for shop --source-name c2"
        );
    }
}
