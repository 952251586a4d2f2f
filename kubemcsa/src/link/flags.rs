//! The flags that select a link, and that say how its target reaches its source.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCandidates;
use mcsa_credentials::url::{has_credentials, without_credentials};

use crate::cli::usage::Usage;
use crate::cluster::kubeconfig::{ChosenContext, ContextError, contexts, shell_quote};

/// Placeholders in commands, for contexts that are not known.
const TARGET_CONTEXT: &str = "TARGET_CONTEXT";
const SOURCE_CONTEXT: &str = "SOURCE_CONTEXT";

/// Selects the target.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TargetFlags {
    /// Context of the target [default: the current one]
    #[arg(
        id = "target_context",
        long = "target-context",
        value_name = "NAME",
        add = ArgValueCandidates::new(contexts),
        help_heading = "Target (imports service accounts)"
    )]
    pub(crate) context: Option<String>,

    /// Kubeconfig file of the target [default: KUBECONFIG, else ~/.kube/config]
    #[arg(
        id = "target_kubeconfig",
        long = "target-kubeconfig",
        value_name = "FILE",
        help_heading = "Target (imports service accounts)"
    )]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Name of the target in the source [default: the name of the context's cluster]
    #[arg(
        id = "target_name",
        long = "target-name",
        value_name = "NAME",
        help_heading = "Target (imports service accounts)"
    )]
    pub(crate) name: Option<String>,
}

/// Selects the source.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SourceFlags {
    /// Context of the source [default: the current one]
    #[arg(
        id = "source_context",
        long = "source-context",
        value_name = "NAME",
        add = ArgValueCandidates::new(contexts),
        help_heading = "Source (owns the service accounts)"
    )]
    pub(crate) context: Option<String>,

    /// Kubeconfig file of the source [default: KUBECONFIG, else ~/.kube/config]
    #[arg(
        long = "source-kubeconfig",
        value_name = "FILE",
        help_heading = "Source (owns the service accounts)"
    )]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Name of the source in the target, which imports use as clusterName [default: the name of the context's cluster]
    #[arg(
        id = "source_name",
        long = "source-name",
        value_name = "NAME",
        help_heading = "Source (owns the service accounts)"
    )]
    pub(crate) name: Option<String>,
}

/// Selects the link.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct LinkFlags {
    #[command(flatten)]
    pub(crate) target: TargetFlags,

    #[command(flatten)]
    pub(crate) source: SourceFlags,

    /// Allow target and source to be the same cluster
    #[arg(long)]
    pub(crate) allow_self: bool,
}

/// How the target reaches the source.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RouteFlags {
    /// URL at which the target reaches the source's API server [default: the kubeconfig's]
    #[arg(long, value_name = "URL", help_heading = "Connection from target to source")]
    pub(crate) source_server: Option<String>,

    /// PEM file with the CAs of the source's certificate [default: the kubeconfig's, else the system's]
    #[arg(long, value_name = "FILE", help_heading = "Connection from target to source")]
    pub(crate) source_ca_file: Option<PathBuf>,

    /// Server name to expect in the source's certificate [default: the kubeconfig's, else the URL's host]
    #[arg(long, value_name = "NAME", help_heading = "Connection from target to source")]
    pub(crate) tls_server_name: Option<String>,

    /// URL of an HTTP or SOCKS5 proxy between target and source [default: the kubeconfig's, unless --source-server is given]
    #[arg(long, value_name = "URL", value_parser = proxy_url, help_heading = "Connection from target to source")]
    pub(crate) proxy_url: Option<String>,

    /// Have the target reach the source without the kubeconfig's proxy
    #[arg(long, conflicts_with = "proxy_url", help_heading = "Connection from target to source")]
    pub(crate) no_proxy: bool,
}

/// A command about one link, with its flags: prints this command, and similar ones to suggest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) command: &'static str,
    pub(crate) target: TargetFlags,
    pub(crate) source: SourceFlags,
    pub(crate) route: RouteFlags,
    pub(crate) allow_self: bool,
    /// Other flags to repeat, with their values; empty for flags without a value.
    pub(crate) others: Vec<(&'static str, String)>,
}

impl LinkFlags {
    pub(crate) fn for_command(self, command: &'static str) -> Flags {
        let Self { target, source, allow_self } = self;
        Flags { command, target, source, allow_self, ..Default::default() }
    }
}

impl TargetFlags {
    pub(crate) fn choose(&self) -> Result<ChosenContext, ContextError> {
        ChosenContext::load(self.kubeconfig.as_deref(), self.context.as_deref(), "--target-")
    }
}

impl SourceFlags {
    pub(crate) fn choose(&self) -> Result<ChosenContext, ContextError> {
        ChosenContext::load(self.kubeconfig.as_deref(), self.context.as_deref(), "--source-")
    }
}

impl Flags {
    /// The name of the source, for `--local-only`, which does not connect to it.
    pub(crate) fn local_only_source(&self) -> anyhow::Result<String> {
        match (&self.source.name, &self.source.context, &self.source.kubeconfig) {
            (Some(name), ..) => Ok(name.clone()),
            (None, None, None) => {
                let problem = "--local-only needs --source-name, the name of the source in the target".into();
                Err(Usage { command: self.command, problem }.into())
            }
            _ => Ok(self.source.choose()?.cluster_name),
        }
    }

    /// The same flags with the context of the target, because another one may be the current one when a printed command
    /// is run.
    pub(crate) fn with_target_context(mut self, chosen: &ChosenContext) -> Self {
        self.target.context.get_or_insert_with(|| chosen.context.clone());
        self
    }

    /// The same flags with the context of the source.
    pub(crate) fn with_source_context(mut self, chosen: &ChosenContext) -> Self {
        self.source.context.get_or_insert_with(|| chosen.context.clone());
        self
    }

    /// The same flags, with placeholders for unknown contexts.
    pub(crate) fn with_both_contexts(&self) -> Self {
        let mut flags = self.clone();
        flags.target.context.get_or_insert_with(|| TARGET_CONTEXT.to_owned());
        flags.source.context.get_or_insert_with(|| SOURCE_CONTEXT.to_owned());
        flags
    }

    /// The command that deletes the identity of a target in the source.
    pub(crate) fn unlink_source_only(&self, target: &str) -> String {
        let target = TargetFlags { name: Some(target.to_owned()), ..Default::default() };
        let source = self.with_both_contexts().source;
        Self { target, source, ..self.clone() }.other_command("unlink", "--source-only")
    }

    pub(crate) fn command_line(&self) -> String {
        self.as_command(self.command, "")
    }

    /// The same command with another value of a flag.
    pub(crate) fn with_flag(&self, flag: &str, value: &str) -> String {
        // Not quoted: a value in capitals is a placeholder.
        format!("{} {flag} {value}", self.as_command(self.command, flag))
    }

    /// The same command with another flag that has no value.
    pub(crate) fn with_switch(&self, flag: &str) -> String {
        format!("{} {flag}", self.command_line())
    }

    /// Another command about the same link.
    pub(crate) fn other_command(&self, command: &str, arguments: &str) -> String {
        let flags = Self { route: RouteFlags::default(), others: Vec::new(), ..self.clone() };
        flags.as_command(format!("{command} {arguments}").trim_end(), "")
    }

    fn as_command(&self, command: &str, except: &str) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        // Printed commands must not contain a password. A server is refused if it has one.
        let proxy_url = self.route.proxy_url.clone();
        let proxy_url = proxy_url.map(|url| if has_credentials(&url) { "PROXY_URL".into() } else { url });
        let flags = [
            ("--target-context", self.target.context.clone()),
            ("--target-kubeconfig", path(&self.target.kubeconfig)),
            ("--target-name", self.target.name.clone()),
            ("--source-context", self.source.context.clone()),
            ("--source-kubeconfig", path(&self.source.kubeconfig)),
            ("--source-name", self.source.name.clone()),
            ("--source-server", self.route.source_server.as_deref().map(without_credentials)),
            ("--source-ca-file", path(&self.route.source_ca_file)),
            ("--tls-server-name", self.route.tls_server_name.clone()),
            ("--proxy-url", proxy_url),
        ];
        let mut text = format!("kubemcsa {command}");
        let kept = flags.into_iter().filter(|(name, _)| *name != except);
        for (name, value) in kept.filter_map(|(name, value)| Some((name, value?))) {
            text.push_str(&format!(" {name} {}", shell_quote(&value)));
        }
        if self.route.no_proxy {
            text.push_str(" --no-proxy");
        }
        for (name, value) in &self.others {
            text.push_str(format!(" {name} {value}").trim_end());
        }
        if self.allow_self {
            text.push_str(" --allow-self");
        }
        text
    }
}

/// Rejects an empty URL. Its other errors would be clap's, which quote the value.
fn proxy_url(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("it is empty; for no proxy, use --no-proxy".into())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use rstest::rstest;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        route: RouteFlags,
    }

    #[rstest]
    #[case(&["--proxy-url", "http://proxy"], Ok("kubemcsa bootstrap --proxy-url http://proxy"))]
    #[case(&["--no-proxy"], Ok("kubemcsa bootstrap --no-proxy"))]
    #[case(&["--proxy-url", ""], Err("use --no-proxy"))]
    #[case(&["--proxy-url", "http://proxy", "--no-proxy"], Err("cannot be used with '--no-proxy'"))]
    fn proxy_is_given_or_excluded(#[case] args: &[&str], #[case] expected: Result<&str, &str>) {
        let parsed = Cli::try_parse_from(["bootstrap"].iter().chain(args));
        match (parsed, expected) {
            (Ok(Cli { route }), Ok(command)) => {
                assert_eq!(
                    Flags { command: "bootstrap", route, ..Default::default() }.command_line(),
                    command
                );
            }
            (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
            (parsed, _) => panic!("{parsed:?}"),
        }
    }

    #[test]
    fn spaces_in_a_name_are_kept() {
        let source = SourceFlags { context: Some("my  c2".into()), ..Default::default() };
        let flags = Flags { command: "bootstrap", source, ..Default::default() };
        for command in
            [flags.command_line(), flags.with_switch("--no-proxy"), flags.other_command("unlink", "")]
        {
            assert!(command.contains("--source-context 'my  c2'"), "{command}");
        }
    }

    #[test]
    fn suggested_command_replaces_one_flag_and_keeps_the_others() {
        let flags = Flags {
            command: "bootstrap",
            target: TargetFlags { context: Some("c1".into()), ..Default::default() },
            source: SourceFlags {
                context: Some("my c2".into()),
                name: Some("C2".into()),
                ..Default::default()
            },
            ..Default::default()
        };
        assert_eq!(
            flags.with_flag("--source-name", "c2"),
            "kubemcsa bootstrap --target-context c1 --source-context 'my c2' --source-name c2"
        );
    }

    #[test]
    fn suggested_commands_name_their_contexts() {
        let chosen = |context: &str| ChosenContext { context: context.into(), ..Default::default() };
        let flags = Flags { command: "unlink", ..Default::default() };
        let of_target = flags.clone().with_target_context(&chosen("my c1"));
        assert_eq!(
            of_target.with_both_contexts().command_line(),
            "kubemcsa unlink --target-context 'my c1' --source-context SOURCE_CONTEXT"
        );
        let of_both = of_target.with_source_context(&chosen("c2"));
        assert_eq!(of_both.command_line(), "kubemcsa unlink --target-context 'my c1' --source-context c2");
        assert_eq!(
            of_both.unlink_source_only("c1"),
            "kubemcsa unlink --source-only --target-name c1 --source-context c2"
        );
        assert!(flags.unlink_source_only("c1").ends_with("--source-context SOURCE_CONTEXT"));
        // A flag selects the context.
        let given =
            Flags { target: TargetFlags { context: Some("c9".into()), ..Default::default() }, ..flags };
        let command = given.with_target_context(&chosen("c1")).command_line();
        assert_eq!(command, "kubemcsa unlink --target-context c9");
    }

    #[test]
    fn suggested_command_omits_passwords() {
        let route = RouteFlags {
            source_server: Some("https://me:s3cret@c2".into()),
            proxy_url: Some("http://me:s3cret@proxy:3128".into()),
            ..Default::default()
        };
        let flags = Flags { command: "bootstrap", route, ..Default::default() };
        let expected = "kubemcsa bootstrap --source-server https://c2 --proxy-url PROXY_URL";
        assert_eq!(flags.command_line(), expected);
    }
}
