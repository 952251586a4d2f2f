//! The importer's command line.

use mcsa_credentials::names::namespace;
use mcsa_runtime::cluster::ClusterArgs;
use mcsa_runtime::lease::LeaseArgs;
use mcsa_runtime::logs::LogArgs;
use mcsa_runtime::probes::ProbeArgs;

/// Keep tokens of other clusters' service accounts fresh in Secrets of this cluster
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "mcsa-importer", version)]
pub struct Args {
    /// The target: the cluster whose imports are served
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Serve imports in these namespaces only; each needs a Role [default: all]
    #[arg(long, value_name = "NS,...", value_delimiter = ',', value_parser = namespace)]
    pub namespaces: Vec<String>,

    /// Leader election
    #[command(flatten)]
    pub lease: LeaseArgs,

    /// Health and metrics
    #[command(flatten)]
    pub probes: ProbeArgs,

    /// Logs
    #[command(flatten)]
    pub logs: LogArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use rstest::rstest;

    #[rstest]
    #[case(&[], Some(&[][..]))]
    #[case(&["--namespaces=a,b"], Some(&["a", "b"][..]))]
    #[case(&["--namespaces", "a", "--namespaces", "b,a"], Some(&["a", "b", "a"][..]))]
    // A malformed list must not mean all namespaces.
    #[case(&["--namespaces="], None)]
    #[case(&["--namespaces=a,,b"], None)]
    #[case(&["--namespaces=a, b"], None)]
    #[case(&["--namespaces=*"], None)]
    #[case(&["--namespaces=a.b"], None)]
    fn namespaces_are_parsed(#[case] args: &[&str], #[case] expected: Option<&[&str]>) {
        let parsed = Args::try_parse_from([&["mcsa-importer"], args].concat());
        let namespaces = parsed.ok().map(|args| args.namespaces);
        assert_eq!(namespaces, expected.map(|names| names.iter().map(ToString::to_string).collect()));
    }
}
