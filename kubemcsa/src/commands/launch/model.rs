//! What a namespace of the target may run where, as plain data.

use crate::link::launcher;

/// A namespace of a target may run pods in a namespace of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The target's name in the source.
    pub(crate) target: String,
    pub(crate) target_uid: String,
    /// The source's name in the target, which is also the name of the virtual node.
    pub(crate) source: String,
    pub(crate) namespace: String,
    pub(crate) remote_namespace: String,
    /// Whether steps of Argo Workflows may run there: their outputs come home.
    pub(crate) argo: bool,
    /// Whether the source has the kind Workflow: a stub must own these outputs there.
    pub(crate) stub: bool,
    /// Value of the annotation; `None`: the launcher finds out.
    pub(crate) capacity: Option<String>,
}

impl Launch {
    /// Name of the launcher's service account in the remote namespace, and of its Role and RoleBinding.
    pub(crate) fn account(&self) -> String {
        launcher::account_name(&self.target)
    }

    /// Name of the launch import, and of the Role and the RoleBinding in the target.
    pub(crate) fn import(&self) -> String {
        import_name(&self.source, &self.namespace, &self.remote_namespace)
    }
}

/// Name of a launch import: each namespace can have several of a source, for different remote namespaces.
pub(crate) fn import_name(source: &str, namespace: &str, remote_namespace: &str) -> String {
    if namespace == remote_namespace {
        format!("launch-{source}")
    } else {
        format!("launch-{source}-{remote_namespace}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("team-a", "launch-c2")]
    #[case("batch", "launch-c2-batch")]
    fn import_is_named_after_the_source(#[case] remote: &str, #[case] expected: &str) {
        assert_eq!(import_name("c2", "team-a", remote), expected);
    }
}
