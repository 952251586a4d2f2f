//! The graph, as plain data that anything can be drawn from.

mod build;
#[cfg(test)]
pub mod examples;

pub use build::build;

use serde::Serialize;

/// Who holds what. The parts refer to each other by their places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// Clusters that have imports.
    pub targets: Vec<Target>,
    /// Clusters whose service accounts are imported.
    pub sources: Vec<SourceCluster>,
    /// Who has pods that hold imports.
    pub holders: Vec<Holder>,
    /// The imports.
    pub imports: Vec<Import>,
    /// The service accounts.
    pub identities: Vec<Identity>,
}

/// A cluster that has imports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its name, which no other target has.
    pub name: String,
    /// Whether it is known which pods hold its imports.
    pub pods_read: bool,
}

/// A cluster whose service accounts are imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceCluster {
    /// Its name, which no other source has.
    pub name: String,
    /// Why it is not known what its service accounts may do.
    pub unread: Option<String>,
}

/// Pods with one controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The target.
    pub target: usize,
    /// Namespace of the pods.
    pub namespace: String,
    /// Such as `deployment web`.
    pub name: String,
    /// How many there are.
    pub pods: usize,
}

/// An import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// The target.
    pub target: usize,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether it keeps a link fresh: the importer holds it.
    pub is_link: bool,
    /// Why it is not ready, in a word.
    pub amiss: Option<String>,
    /// Who else holds it.
    pub holders: Vec<usize>,
    /// What they hold.
    pub identity: usize,
}

/// A service account of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The source.
    pub source: usize,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What it may do, in sentences; empty where nothing is granted, or where it is not known.
    pub rights: Vec<String>,
    /// Why it could become cluster-admin: what it may do, one way each; empty if there is none.
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
    fn titles(#[case] name: &str, #[case] pods: usize, #[case] expected: &str) {
        assert_eq!(Holder { name: name.into(), pods, ..Default::default() }.title(), expected);
    }
}
