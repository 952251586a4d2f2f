//! The flags of `kubemcsa bootstrap`.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCandidates;

use crate::cli::output::Format;
use crate::cli::times;
use crate::cluster::kubeconfig::contexts;
use crate::link::desired::MAX_LIFETIME_SECONDS;
use crate::link::flags::{Flags, RouteFlags, SourceFlags, TargetFlags};
use crate::link::grants::Grant;

#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: TargetFlags,

    /// Context of the source [default: the current one]; repeatable, to link several in parallel
    #[arg(long = "source-context", value_name = "NAME", add = ArgValueCandidates::new(contexts), help_heading = "Source (owns the service accounts)")]
    pub(crate) source_contexts: Vec<String>,

    /// Kubeconfig file of the source [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE", help_heading = "Source (owns the service accounts)")]
    pub(crate) source_kubeconfig: Option<PathBuf>,

    /// Name of the source in the target, which imports use as clusterName [default: the name of the context's cluster]
    #[arg(long, value_name = "NAME", help_heading = "Source (owns the service accounts)")]
    pub(crate) source_name: Option<String>,

    #[command(flatten)]
    pub(crate) route: RouteFlags,

    /// Allow the target to import only the service accounts of this namespace, or only this one; repeatable
    /// [default: unchanged; everything for a new link]
    #[arg(long, value_name = "NAMESPACE[/NAME]", help_heading = "Rights")]
    pub(crate) allow: Vec<Grant>,

    /// Lifetime of the link's own tokens, 10m to 24h [default: unchanged; 24h for a new link]
    #[arg(long, value_name = "DURATION", value_parser = link_ttl, help_heading = "Rights")]
    pub(crate) link_ttl: Option<i64>,

    /// Allow target and source to be the same cluster
    #[arg(long)]
    pub(crate) allow_self: bool,

    /// Show what would change in both clusters, with a server-side dry run; write and mint nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print manifests instead of applying them (never the token)
    #[arg(short, long, value_enum, value_name = "FORMAT", conflicts_with = "dry_run")]
    pub(crate) output: Option<Format>,

    /// With -o, print only the manifests for this side
    #[arg(long, value_enum, value_name = "SIDE", requires = "output")]
    pub(crate) side: Option<OneSide>,
}

/// The side whose objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OneSide {
    /// The link's service account and its RBAC
    Source,
    /// The link's import, the system namespace and the CRD
    Target,
}

impl Args {
    /// Why these flags can't be combined, if they can't. clap has no rule for the number of values.
    pub(crate) fn conflict(&self) -> Option<&'static str> {
        let is_for_one = self.source_name.is_some()
            || self.route.source_server.is_some()
            || self.route.source_ca_file.is_some()
            || self.route.tls_server_name.is_some()
            || self.output.is_some();
        (self.source_contexts.len() > 1 && is_for_one).then_some(
            "--source-name, --source-server, --source-ca-file, --tls-server-name and --output apply to one source: use \
             them with one --source-context",
        )
    }

    /// The flags for one of the sources.
    pub(crate) fn flags(&self, source_context: Option<&String>) -> Flags {
        let allow = self.allow.iter().map(|grant| ("--allow", grant.to_string()));
        let link_ttl = self.link_ttl.map(|seconds| ("--link-ttl", format!("{seconds}s")));
        Flags {
            command: "bootstrap",
            target: self.target.clone(),
            source: SourceFlags {
                context: source_context.cloned(),
                kubeconfig: self.source_kubeconfig.clone(),
                name: self.source_name.clone(),
            },
            route: self.route.clone(),
            allow_self: self.allow_self,
            others: allow.chain(link_ttl).collect(),
        }
    }
}

fn link_ttl(text: &str) -> Result<i64, String> {
    let seconds = times::duration(text)?.as_secs();
    match i64::try_from(seconds) {
        Ok(seconds)
            if (mcsa_client::api::MIN_EXPIRATION_SECONDS..=MAX_LIFETIME_SECONDS).contains(&seconds) =>
        {
            Ok(seconds)
        }
        _ => Err("must be between 10m and 24h".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("24h", Some(86_400))]
    #[case("10m", Some(600))]
    #[case("599s", None)]
    #[case("25h", None)]
    #[case("soon", None)]
    fn link_ttl_is_between_10m_and_24h(#[case] text: &str, #[case] seconds: Option<i64>) {
        assert_eq!(link_ttl(text).ok(), seconds);
    }

    #[test]
    fn suggested_command_keeps_the_requested_rights() {
        let args = Args { allow: vec!["team-a".parse().unwrap()], link_ttl: Some(600), ..Default::default() };
        let command = args.flags(None).with_flag("--source-name", "c2");
        assert_eq!(command, "kubemcsa bootstrap --allow team-a --link-ttl 600s --source-name c2");
    }

    #[test]
    fn flags_for_one_source_conflict_with_several_sources() {
        let two = vec!["c2".to_owned(), "c3".to_owned()];
        let args = Args { source_contexts: two, ..Default::default() };
        assert_eq!(args.conflict(), None);
        assert!(Args { source_name: Some("c2".into()), ..args }.conflict().is_some());
    }
}
