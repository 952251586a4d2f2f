//! The graph, as plain data that all formats are rendered from.

mod build;
#[cfg(test)]
pub mod examples;

pub use build::build;

use serde::Serialize;

/// Nodes refer to each other by their indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// Clusters with imports.
    pub targets: Vec<Target>,
    /// Clusters whose service accounts are imported.
    pub sources: Vec<SourceCluster>,
    /// Workloads whose pods hold imports.
    pub holders: Vec<Holder>,
    pub imports: Vec<Import>,
    /// Imported service accounts.
    pub identities: Vec<Identity>,
}

/// A cluster with imports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Unique among the targets.
    pub name: String,
    /// Whether pods could be listed.
    pub pods_read: bool,
}

/// A cluster whose service accounts are imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceCluster {
    /// Unique among the sources.
    pub name: String,
    /// Why the rights of its service accounts are unknown.
    pub unread: Option<String>,
}

/// A workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    pub target: usize,
    pub namespace: String,
    /// Such as `deployment web`.
    pub name: String,
    /// Number of pods.
    pub pods: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    pub target: usize,
    pub namespace: String,
    pub name: String,
    /// Whether it is the import of a link, which the importer itself holds.
    pub is_link: bool,
    /// Reason if it is not ready.
    #[serde(rename = "amiss")]
    pub not_ready: Option<String>,
    pub holders: Vec<usize>,
    pub identity: usize,
}

/// A service account of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    pub source: usize,
    pub namespace: String,
    pub name: String,
    /// Rights in sentences; empty also if they are unknown.
    pub rights: Vec<String>,
    /// Ways in which it could become cluster-admin.
    pub admin: Vec<String>,
}

impl Holder {
    /// Such as `500 pods of deployment web`.
    pub fn title(&self) -> String {
        match (self.name.starts_with("pod "), self.pods) {
            (true, 1) => self.name.clone(),
            (_, 1) => format!("1 pod of {}", self.name),
            (_, pods) => format!("{pods} pods of {}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("pod p", 1, "pod p")]
    #[case("deployment web", 1, "1 pod of deployment web")]
    #[case("deployment web", 500, "500 pods of deployment web")]
    fn titles_count_pods(#[case] name: &str, #[case] pods: usize, #[case] expected: &str) {
        assert_eq!(Holder { name: name.into(), pods, ..Default::default() }.title(), expected);
    }
}
