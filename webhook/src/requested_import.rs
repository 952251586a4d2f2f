//! The fields of an import that ImportPolicies decide on, borrowed from the review's body. The API server validates them
//! only after the review, so they may have any type.

use mcsa_client::policy::ImportRequest;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::json::Any;

/// A partial view of a ServiceAccountImport.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RequestedImport<'a> {
    #[serde(borrow)]
    spec: Any<'a, Spec<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    cluster_name: Any<'a, IgnoredAny>,
    #[serde(borrow)]
    namespace: Any<'a, IgnoredAny>,
    #[serde(borrow)]
    name: Any<'a, IgnoredAny>,
}

impl RequestedImport<'_> {
    /// What the import asks for in this namespace. `None`: the API server will refuse its spec.
    pub(crate) fn request<'b>(&'b self, namespace: &'b str) -> Option<ImportRequest<'b>> {
        let spec = self.spec.object()?;
        Some(ImportRequest {
            namespace,
            cluster: text(&spec.cluster_name)?,
            account_namespace: text(&spec.namespace)?,
            account_name: text(&spec.name)?,
        })
    }
}

fn text<'b>(value: &'b Any<'_, IgnoredAny>) -> Option<&'b str> {
    match value {
        Any::Text(text) => Some(&**text),
        _ => None,
    }
}
