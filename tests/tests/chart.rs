//! The chart in manifests/helm: it renders the same objects as the manifests, and works on a real API server.

mod installed;
mod objects;
mod rendered;
mod values;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/helm");

/// The objects that stay when a release is uninstalled, because of an annotation.
const KEPT: [&str; 3] = [
    "Namespace multicluster-service-account",
    "CustomResourceDefinition serviceaccountimports.multicluster.admiralty.io",
    "CustomResourceDefinition importpolicies.multicluster.admiralty.io",
];

const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");
