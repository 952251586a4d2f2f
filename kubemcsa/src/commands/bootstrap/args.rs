//! The flags of `kubemcsa bootstrap`.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCandidates;
use mcsa_credentials::names::namespace;

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

    /// Name of the source in the target, which imports use as clusterName [default: the name of the context's cluster];
    /// with several sources, one for each --source-context, in the same order
    #[arg(long = "source-name", value_name = "NAME", help_heading = "Source (owns the service accounts)")]
    pub(crate) source_names: Vec<String>,

    #[command(flatten)]
    pub(crate) route: RouteFlags,

    /// Allow the target to import only the service accounts of this namespace, or only this one; repeatable
    /// [default: unchanged; everything for a new link]
    #[arg(long, value_name = "NAMESPACE[/NAME]", help_heading = "Rights")]
    pub(crate) allow: Vec<Grant>,

    /// Allow the target to import all service accounts, except those in kube-*; needed if the source has deleted the
    /// link's rights
    #[arg(long, conflicts_with = "allow", help_heading = "Rights")]
    pub(crate) allow_everything: bool,

    /// Permit only this namespace of the target to import, by an ImportPolicy; repeatable, or separated by commas
    /// [default: unchanged; all namespaces while the source has no policy]
    #[arg(long = "for", value_name = "NAMESPACE,...", value_delimiter = ',', value_parser = namespace, help_heading = "Rights")]
    pub(crate) namespaces: Vec<String>,

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
    /// The link's import, its policies, the system namespace and the CRDs
    Target,
}

/// A source, as the flags select it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceChoice {
    /// `None`: the current context.
    pub(crate) context: Option<String>,
    /// `None`: the name of the context's cluster.
    pub(crate) name: Option<String>,
}

impl Args {
    /// The sources, each once; at least one. Fails with the reason if flags can't be combined. clap has no rule for the
    /// number of values.
    pub(crate) fn sources(&self) -> Result<Vec<SourceChoice>, String> {
        let (contexts, names) = (self.source_contexts.len(), self.source_names.len());
        if names > 0 && names != contexts.max(1) {
            return Err(format!(
                "{names} of --source-name for {contexts} of --source-context: pass one name for each context, in the same order"
            ));
        }
        let count = contexts.max(1);
        let mut sources = Vec::new();
        for i in 0..count {
            let source = SourceChoice {
                context: self.source_contexts.get(i).cloned(),
                name: self.source_names.get(i).cloned(),
            };
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let is_for_one = self.route.source_server.is_some()
            || self.route.source_ca_file.is_some()
            || self.route.tls_server_name.is_some()
            || self.output.is_some();
        if sources.len() > 1 && is_for_one {
            return Err(
                "--source-server, --source-ca-file, --tls-server-name and --output apply to one source: use them with one \
                 --source-context"
                    .into(),
            );
        }
        Ok(sources)
    }

    /// The flags for one of the sources.
    pub(crate) fn flags(&self, source: &SourceChoice) -> Flags {
        let allow = self.allow.iter().map(|grant| ("--allow", grant.to_string()));
        let everything = self.allow_everything.then(|| ("--allow-everything", String::new()));
        let namespaces = (!self.namespaces.is_empty()).then(|| ("--for", self.namespaces.join(",")));
        let link_ttl = self.link_ttl.map(|seconds| ("--link-ttl", format!("{seconds}s")));
        Flags {
            command: "bootstrap",
            target: self.target.clone(),
            source: SourceFlags {
                context: source.context.clone(),
                kubeconfig: self.source_kubeconfig.clone(),
                name: source.name.clone(),
            },
            route: self.route.clone(),
            allow_self: self.allow_self,
            others: allow.chain(everything).chain(namespaces).chain(link_ttl).collect(),
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
        let command = args.flags(&SourceChoice::default()).with_flag("--source-name", "c2");
        assert_eq!(command, "kubemcsa bootstrap --allow team-a --link-ttl 600s --source-name c2");
        let args = Args { allow_everything: true, ..Default::default() };
        let command = args.flags(&SourceChoice::default()).with_flag("--source-name", "c2");
        assert_eq!(command, "kubemcsa bootstrap --allow-everything --source-name c2");
    }

    fn args(contexts: &[&str], names: &[&str]) -> Args {
        let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        Args { source_contexts: owned(contexts), source_names: owned(names), ..Default::default() }
    }

    #[rstest]
    #[case::none(&[], &[], Ok(&[("", "")][..]))]
    #[case::name_only(&[], &["c2"], Ok(&[("", "c2")][..]))]
    #[case::one(&["a"], &["c2"], Ok(&[("a", "c2")][..]))]
    #[case::several(&["a", "b"], &[], Ok(&[("a", ""), ("b", "")][..]))]
    #[case::same_order(&["a", "b"], &["c2", "c3"], Ok(&[("a", "c2"), ("b", "c3")][..]))]
    #[case::repeated(&["a", "b", "a"], &[], Ok(&[("a", ""), ("b", "")][..]))]
    #[case::repeated_with_names(&["a", "a"], &["c2", "c2"], Ok(&[("a", "c2")][..]))]
    #[case::too_few(&["a", "b"], &["c2"], Err("1 of --source-name for 2 of"))]
    #[case::too_many(&["a"], &["c2", "c3"], Err("2 of --source-name for 1 of"))]
    #[case::two_names_of_the_current_context(&[], &["c2", "c3"], Err("2 of --source-name for 0 of"))]
    fn names_belong_to_the_contexts_in_the_same_order(
        #[case] contexts: &[&str],
        #[case] names: &[&str],
        #[case] expected: Result<&[(&str, &str)], &str>,
    ) {
        let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        match (args(contexts, names).sources(), expected) {
            (Ok(sources), Ok(expected)) => {
                let expected = expected.iter();
                let expected: Vec<_> = expected
                    .map(|(context, name)| SourceChoice { context: set(context), name: set(name) })
                    .collect();
                assert_eq!(sources, expected);
            }
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (sources, _) => panic!("{sources:?}"),
        }
    }

    #[test]
    fn flags_for_one_source_conflict_with_several_sources() {
        let mut args = args(&["c2", "c3"], &[]);
        args.route.source_server = Some("https://c2".into());
        assert!(args.sources().unwrap_err().contains("apply to one source"));
    }
}
