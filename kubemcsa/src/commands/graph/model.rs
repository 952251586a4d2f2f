//! The graph, as plain data that all formats are rendered from.

mod build;
#[cfg(test)]
pub(crate) mod examples;

pub(crate) use build::build;

use serde::Serialize;

/// Nodes refer to each other by their indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Graph {
    /// Clusters with imports.
    pub(crate) targets: Vec<Target>,
    /// Clusters whose service accounts are imported.
    pub(crate) sources: Vec<SourceCluster>,
    /// Workloads whose pods hold imports.
    pub(crate) holders: Vec<Holder>,
    pub(crate) imports: Vec<Import>,
    /// Imported service accounts.
    pub(crate) identities: Vec<Identity>,
}

/// A cluster with imports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    /// Unique among the targets.
    pub(crate) name: String,
    /// Whether pods could be listed.
    pub(crate) pods_read: bool,
}

/// A cluster whose service accounts are imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceCluster {
    /// Unique among the sources.
    pub(crate) name: String,
    /// Why the rights of its service accounts are unknown.
    pub(crate) unread: Option<String>,
}

/// A workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Holder {
    pub(crate) target: usize,
    pub(crate) namespace: String,
    /// Such as `deployment web`.
    pub(crate) name: String,
    /// Number of pods.
    pub(crate) pods: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Import {
    pub(crate) target: usize,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Whether it is the import of a link, which the importer itself holds.
    pub(crate) is_link: bool,
    /// Whether it is a launch import, which the launcher holds.
    pub(crate) is_launch: bool,
    /// Reason if it is not ready.
    pub(crate) not_ready: Option<String>,
    /// Whether no ImportPolicy permits it, although there are some for its source.
    pub(crate) not_permitted: bool,
    /// Of a link's import, who may import what from the source, in sentences; `None` if that is unknown.
    pub(crate) may_import: Option<Vec<String>>,
    pub(crate) holders: Vec<usize>,
    pub(crate) identity: usize,
}

/// A service account of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) source: usize,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Rights in sentences; empty also if they are unknown.
    pub(crate) rights: Vec<String>,
    /// Ways in which it could become cluster-admin.
    pub(crate) admin: Vec<String>,
}

impl Holder {
    /// Such as `500 pods of deployment web`.
    pub(crate) fn title(&self) -> String {
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
