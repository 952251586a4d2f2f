//! The flags of `kubemcsa launch`.

use std::time::Duration;

use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::names;

use super::capacity;
use crate::cli::output::Format;
use crate::cli::times::duration;
use crate::link::flags::LinkFlags;
use crate::link::launcher;

/// How long to wait for the import and the node, if no flag says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Namespace of the target whose pods may run in the source
    #[arg(value_parser = namespace)]
    pub(crate) namespace: String,

    #[command(flatten)]
    pub(crate) link: LinkFlags,

    /// Namespace of the source that the pods run in; created if it is missing [default: the same name]
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    pub(crate) remote_namespace: Option<String>,

    /// Capacity that this namespace adds to the virtual node, such as cpu=100,memory=200Gi,pods=1000; none: the
    /// launcher reads the quota of the remote namespace [default: unchanged; none at first]
    #[arg(long, value_name = "RESOURCE=QUANTITY,...", value_parser = capacity::parse, conflicts_with = "stop")]
    pub(crate) capacity: Option<capacity::Choice>,

    /// Let steps of Argo Workflows run in the source, too. Grants the rights to report outputs there and to copy them
    /// to the target. Installs the kind WorkflowTaskResult in the source if it is missing, and updates it. If the
    /// source has Argo, creates a Workflow there that never runs and owns the outputs. Adds the fields cluster and
    /// namespace to Argo's full CRDs in the target; --stop leaves them [default: unchanged; false at first]
    #[arg(long, conflicts_with = "stop")]
    pub(crate) argo: bool,

    /// Pod Security level that the remote namespace enforces if this command creates it [default: baseline]
    #[arg(long, value_enum, value_name = "LEVEL", conflicts_with = "stop")]
    pub(crate) pod_security: Option<PodSecurity>,

    /// Undo the launch: wait until the namespace's pods in the source have ended, then remove the rights
    #[arg(long)]
    pub(crate) stop: bool,

    /// With --stop, delete the pods that are there, including those that have finished
    #[arg(long, requires = "stop")]
    pub(crate) now: bool,

    /// With --stop, clean up only the target, because the source is gone for good
    #[arg(long, requires = "stop")]
    pub(crate) local_only: bool,

    /// Show what would change in both clusters, with a server-side dry run; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print manifests instead of applying them
    #[arg(short, long, value_enum, value_name = "FORMAT", conflicts_with_all = ["dry_run", "stop"])]
    pub(crate) output: Option<Format>,

    /// With -o, print only the manifests for this side
    #[arg(long, value_enum, value_name = "SIDE", requires = "output")]
    pub(crate) side: Option<OneSide>,

    /// Don't wait until the import is ready and the virtual node exists
    #[arg(long, conflicts_with = "stop")]
    pub(crate) no_wait: bool,

    /// How long to wait, such as 90s or 5m [default: 2m; with --stop and without --now, until the pods have ended]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

/// A level of the Pod Security Standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PodSecurity {
    /// No root, and no privilege that a pod can do without
    Restricted,
    /// No access to the node
    #[default]
    Baseline,
    /// No restriction: a pod may act as root on its node
    Privileged,
}

/// The side whose objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OneSide {
    /// The remote namespace, and the launcher's service account and rights in it
    Source,
    /// The launch import, and the launcher's right to read its Secret
    Target,
}

impl Args {
    pub(crate) fn remote_namespace(&self) -> &str {
        self.remote_namespace.as_deref().unwrap_or(&self.namespace)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }

    /// Namespace and flags that select the same launch import, to print after the name of the command.
    pub(crate) fn selection(&self) -> String {
        launcher::selection(&self.namespace, self.remote_namespace())
    }

    /// The arguments of this `--stop` for a selection.
    pub(crate) fn stop_arguments(&self, selection: &str) -> String {
        let now = if self.now { " --now" } else { "" };
        let local_only = if self.local_only { " --local-only" } else { "" };
        format!("{selection} --stop{now}{local_only}")
    }
}

impl PodSecurity {
    /// The value of the namespace's label.
    pub(crate) fn level(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
            Self::Privileged => "privileged",
        }
    }
}

/// Links get no tokens of the excluded namespaces.
fn namespace(text: &str) -> Result<String, String> {
    let is_excluded = text.starts_with("kube-") || text == SYSTEM_NAMESPACE;
    if is_excluded {
        return Err(format!("kube-* and {SYSTEM_NAMESPACE} are excluded; choose another namespace"));
    }
    names::namespace(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use rstest::rstest;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Cli::try_parse_from(["launch"].into_iter().chain(line.split(' '))).map(|cli| cli.args)
    }

    #[rstest]
    #[case("kube-system", "excluded")]
    #[case("multicluster-service-account", "excluded")]
    #[case("team-a/x", "not a valid namespace name")]
    #[case("A", "not a valid namespace name")]
    #[case("team-a --remote-namespace kube-system", "excluded")]
    #[case("team-a --now", "--stop")]
    #[case("team-a --copy secrets", "unexpected argument")]
    #[case("team-a --stop --capacity cpu=1", "cannot be used with")]
    #[case("team-a --stop --argo", "cannot be used with")]
    #[case("team-a --stop -o yaml", "cannot be used with")]
    #[case("team-a --side source", "--output")]
    fn wrong_usage_is_refused(#[case] line: &str, #[case] expected: &str) {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[rstest]
    #[case("team-a", "team-a", "team-a")]
    #[case("team-a --remote-namespace team-a", "team-a", "team-a")]
    #[case("team-a --remote-namespace batch", "batch", "team-a --remote-namespace batch")]
    fn remote_namespace_has_the_same_name_by_default(
        #[case] line: &str,
        #[case] remote: &str,
        #[case] selection: &str,
    ) {
        let args = parse(line).unwrap();
        assert_eq!((args.remote_namespace(), args.selection().as_str()), (remote, selection));
    }

    #[rstest]
    #[case("team-a --stop", "batch --stop")]
    #[case("team-a --stop --local-only --now", "batch --stop --now --local-only")]
    fn suggested_stop_keeps_its_flags(#[case] line: &str, #[case] expected: &str) {
        assert_eq!(parse(line).unwrap().stop_arguments("batch"), expected);
    }
}
