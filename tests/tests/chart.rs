//! The chart of manifests/helm: it agrees with the manifests, and works on a real API server.

mod installed;
mod objects;
mod rendered;
mod values;

/// The chart.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/helm");

/// What stays when a release goes, by an annotation of helm's.
const KEPT: [&str; 2] = [
    "Namespace multicluster-service-account",
    "CustomResourceDefinition serviceaccountimports.multicluster.admiralty.io",
];

const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");
