//! The flags that select the Secrets of Argo Workflows' multi-cluster designs.

use std::collections::BTreeSet;

/// Where these Secrets are, and whose pods may use them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ArgoArgs {
    /// Run pods also in the clusters that Argo's Secrets clusters, kubeconfig and profiles name; this is the namespace of
    /// the workflow controller, which has these Secrets [default: use launch imports only]
    #[arg(long, value_name = "NS", env = "ARGO_NAMESPACE")]
    pub argo_namespace: Option<String>,

    /// Let workflows of these namespaces use Argo's Secrets, in addition to the workflow controller's own
    #[arg(
        long,
        value_name = "NS,...",
        value_delimiter = ',',
        env = "ARGO_WORKFLOW_NAMESPACES",
        requires = "argo_namespace"
    )]
    pub argo_workflow_namespaces: Vec<String>,
}

impl ArgoArgs {
    /// The namespace of the workflow controller. `None`: the Secrets are not used. An empty variable is as good as none.
    pub fn controller_namespace(&self) -> Option<&str> {
        self.argo_namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }

    /// The namespaces whose pods may use the Secrets, with that of the workflow controller. Empty if the Secrets are not
    /// used.
    pub fn namespaces(&self) -> BTreeSet<String> {
        let Some(controller) = self.controller_namespace() else { return BTreeSet::new() };
        let others = self.argo_workflow_namespaces.iter().map(String::as_str).filter(|name| !name.is_empty());
        others.chain([controller]).map(str::to_owned).collect()
    }
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
    #[case(&[], Some(""))]
    #[case(&["--argo-namespace=argo"], Some("argo"))]
    #[case(&["--argo-namespace=argo", "--argo-workflow-namespaces=b,argo,a"], Some("a argo b"))]
    #[case(&["--argo-namespace=argo", "--argo-workflow-namespaces="], Some("argo"))]
    #[case(&["--argo-namespace=", "--argo-workflow-namespaces="], Some(""))]
    #[case(&["--argo-workflow-namespaces=a"], None)]
    fn workflows_of_named_namespaces_use_the_secrets(#[case] flags: &[&str], #[case] expected: Option<&str>) {
        let parsed = Args::try_parse_from([&["test"], flags].concat()).ok();
        let namespaces = parsed.map(|args| Vec::from_iter(args.argo.namespaces()).join(" "));
        assert_eq!(namespaces.as_deref(), expected);
    }
}
