//! The flags that select the Secrets of Argo Workflows' multi-cluster designs.

use std::collections::BTreeSet;

use tracing::warn;

/// Where these Secrets are, and whose pods may use them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ArgoArgs {
    /// Run pods also in the clusters that Argo's Secrets clusters, kubeconfig and profiles name; this is the namespace of
    /// the workflow controller, which has these Secrets [default: use launch imports only]
    #[arg(long, value_name = "NS", env = "ARGO_NAMESPACE")]
    pub argo_namespace: Option<String>,

    /// Let workflows of these namespaces use Argo's Secrets, in addition to the workflow controller's own
    #[arg(long, value_name = "NS,...", value_delimiter = ',', env = "ARGO_WORKFLOW_NAMESPACES")]
    pub argo_workflow_namespaces: Vec<String>,
}

impl ArgoArgs {
    /// The namespace of the workflow controller. `None`: the Secrets are not used. An empty variable is as good as none.
    pub fn controller_namespace(&self) -> Option<&str> {
        self.argo_namespace.as_deref().and_then(name)
    }

    /// The namespaces whose pods may use the Secrets, with that of the workflow controller. Empty if the Secrets are not
    /// used.
    pub fn namespaces(&self) -> BTreeSet<String> {
        let Some(controller) = self.controller_namespace() else { return BTreeSet::new() };
        self.others().chain([controller]).map(str::to_owned).collect()
    }

    /// Logs that workflow namespaces have no effect, if that of the workflow controller is missing.
    pub fn warn_if_useless(&self) {
        if self.is_useless() {
            warn!("ARGO_WORKFLOW_NAMESPACES has no effect without ARGO_NAMESPACE");
        }
    }

    fn is_useless(&self) -> bool {
        self.controller_namespace().is_none() && self.others().next().is_some()
    }

    fn others(&self) -> impl Iterator<Item = &str> {
        self.argo_workflow_namespaces.iter().filter_map(|text| name(text))
    }
}

/// The value of a ConfigMap may have spaces and a newline around a name.
fn name(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use rstest::rstest;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        argo: ArgoArgs,
    }

    #[rstest]
    #[case(&[], "", false)]
    #[case(&["--argo-namespace=argo"], "argo", false)]
    #[case(&["--argo-namespace=argo", "--argo-workflow-namespaces=b,argo,a"], "a argo b", false)]
    #[case(&["--argo-namespace= argo\n", "--argo-workflow-namespaces=b, a,\n"], "a argo b", false)]
    #[case(&["--argo-namespace=argo", "--argo-workflow-namespaces="], "argo", false)]
    #[case(&["--argo-namespace=", "--argo-workflow-namespaces=\n"], "", false)]
    #[case(&["--argo-namespace=\n", "--argo-workflow-namespaces=a"], "", true)]
    #[case(&["--argo-workflow-namespaces=a"], "", true)]
    fn workflows_of_named_namespaces_use_the_secrets(
        #[case] flags: &[&str],
        #[case] expected: &str,
        #[case] is_useless: bool,
    ) {
        let Args { argo } = Args::parse_from([&["test"], flags].concat());
        assert_eq!(Vec::from_iter(argo.namespaces()).join(" "), expected);
        assert_eq!(argo.is_useless(), is_useless);
    }
}
