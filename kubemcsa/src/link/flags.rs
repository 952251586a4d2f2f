//! The flags that say which link a command is about, and how its target reaches its source.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCandidates;

use crate::cluster::kubeconfig::{ChoiceError, Chosen, contexts, shell_quote};

/// Which target.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetFlags {
    /// Context of the target [default: the current one]
    #[arg(
        id = "target_context",
        long = "target-context",
        value_name = "NAME",
        add = ArgValueCandidates::new(contexts),
        help_heading = "Target (imports service accounts)"
    )]
    pub context: Option<String>,

    /// Kubeconfig file of the target [default: KUBECONFIG, else ~/.kube/config]
    #[arg(
        id = "target_kubeconfig",
        long = "target-kubeconfig",
        value_name = "FILE",
        help_heading = "Target (imports service accounts)"
    )]
    pub kubeconfig: Option<PathBuf>,

    /// Name of the target in the source [default: the name of the context's cluster]
    #[arg(
        id = "target_name",
        long = "target-name",
        value_name = "NAME",
        help_heading = "Target (imports service accounts)"
    )]
    pub name: Option<String>,
}

/// Which source.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SourceFlags {
    /// Context of the source [default: the current one]
    #[arg(
        id = "source_context",
        long = "source-context",
        value_name = "NAME",
        add = ArgValueCandidates::new(contexts),
        help_heading = "Source (owns the service accounts)"
    )]
    pub context: Option<String>,

    /// Kubeconfig file of the source [default: KUBECONFIG, else ~/.kube/config]
    #[arg(
        long = "source-kubeconfig",
        value_name = "FILE",
        help_heading = "Source (owns the service accounts)"
    )]
    pub kubeconfig: Option<PathBuf>,

    /// Name of the source in the target, which imports use as clusterName [default: the name of the context's cluster]
    #[arg(
        id = "source_name",
        long = "source-name",
        value_name = "NAME",
        help_heading = "Source (owns the service accounts)"
    )]
    pub name: Option<String>,
}

/// Which link.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LinkFlags {
    #[command(flatten)]
    pub target: TargetFlags,

    #[command(flatten)]
    pub source: SourceFlags,

    /// Allow target and source to be the same cluster
    #[arg(long)]
    pub allow_self: bool,
}

/// How the target reaches the source.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct WayFlags {
    /// URL at which the target reaches the source's API server [default: the kubeconfig's]
    #[arg(long, value_name = "URL", help_heading = "Connection from target to source")]
    pub source_server: Option<String>,

    /// PEM file with the CAs of the source's certificate [default: the kubeconfig's, else the system's]
    #[arg(long, value_name = "FILE", help_heading = "Connection from target to source")]
    pub source_ca_file: Option<PathBuf>,

    /// Server name to expect in the source's certificate [default: the kubeconfig's, else the URL's host]
    #[arg(long, value_name = "NAME", help_heading = "Connection from target to source")]
    pub tls_server_name: Option<String>,

    /// URL of an HTTP or SOCKS5 proxy between target and source [default: the kubeconfig's, unless --source-server is given]
    #[arg(long, value_name = "URL", help_heading = "Connection from target to source")]
    pub proxy_url: Option<String>,
}

/// The flags of a command about one link, to print such commands.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub command: &'static str,
    pub target: TargetFlags,
    pub source: SourceFlags,
    pub way: WayFlags,
    pub allow_self: bool,
    /// Other flags to repeat, with their values.
    pub others: Vec<(&'static str, String)>,
}

impl LinkFlags {
    pub fn of(self, command: &'static str) -> Flags {
        let Self { target, source, allow_self } = self;
        Flags { command, target, source, allow_self, ..Default::default() }
    }
}

impl TargetFlags {
    pub fn choose(&self) -> Result<Chosen, ChoiceError> {
        Chosen::load(self.kubeconfig.as_deref(), self.context.as_deref(), "--target-")
    }
}

impl SourceFlags {
    pub fn choose(&self) -> Result<Chosen, ChoiceError> {
        Chosen::load(self.kubeconfig.as_deref(), self.context.as_deref(), "--source-")
    }
}

impl Flags {
    /// This command again.
    pub fn again(&self) -> String {
        self.as_command(self.command, "")
    }

    /// This command again, with another value of one flag.
    pub fn again_with(&self, flag: &str, value: &str) -> String {
        // Not quoted: a value in capitals is for people to replace.
        format!("{} {flag} {value}", self.as_command(self.command, flag))
    }

    /// Another command about the same link, with its arguments.
    pub fn of(&self, command: &str, arguments: &str) -> String {
        let flags = Self { way: WayFlags::default(), others: Vec::new(), ..self.clone() };
        flags.as_command(&format!("{command} {arguments}"), "").replace("  ", " ").trim_end().to_owned()
    }

    fn as_command(&self, command: &str, but: &str) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let flags = [
            ("--target-context", self.target.context.clone()),
            ("--target-kubeconfig", path(&self.target.kubeconfig)),
            ("--target-name", self.target.name.clone()),
            ("--source-context", self.source.context.clone()),
            ("--source-kubeconfig", path(&self.source.kubeconfig)),
            ("--source-name", self.source.name.clone()),
            ("--source-server", self.way.source_server.clone()),
            ("--source-ca-file", path(&self.way.source_ca_file)),
            ("--tls-server-name", self.way.tls_server_name.clone()),
            ("--proxy-url", self.way.proxy_url.clone()),
        ];
        let mut text = format!("kubemcsa {command}");
        let kept = flags.into_iter().filter(|(name, _)| *name != but);
        for (name, value) in kept.filter_map(|(name, value)| Some((name, value?))) {
            text.push_str(&format!(" {name} {}", shell_quote(&value)));
        }
        for (name, value) in &self.others {
            text.push_str(&format!(" {name} {value}"));
        }
        if self.allow_self {
            text.push_str(" --allow-self");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mend_replaces_its_flag_and_keeps_the_others() {
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
            flags.again_with("--source-name", "c2"),
            "kubemcsa bootstrap --target-context c1 --source-context 'my c2' --source-name c2"
        );
    }
}
