//! The flags of `kubemcsa bootstrap`.

use std::path::PathBuf;

use crate::kubeconfig::shell_quote;
use crate::output::Format;

/// Which clusters to link, and how the target reaches the source.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Context of the target [default: the current one]
    #[arg(long, value_name = "NAME", help_heading = "Target: receives credentials")]
    pub target_context: Option<String>,

    /// Kubeconfig file of the target [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE", help_heading = "Target: receives credentials")]
    pub target_kubeconfig: Option<PathBuf>,

    /// What the source calls the target [default: the name of the context's cluster]
    #[arg(long, value_name = "NAME", help_heading = "Target: receives credentials")]
    pub target_name: Option<String>,

    /// Context of the source [default: the current one]
    #[arg(long, value_name = "NAME", help_heading = "Source: owns the service accounts")]
    pub source_context: Option<String>,

    /// Kubeconfig file of the source [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE", help_heading = "Source: owns the service accounts")]
    pub source_kubeconfig: Option<PathBuf>,

    /// What the target calls the source, and imports say as clusterName [default: the name of the context's cluster]
    #[arg(long, value_name = "NAME", help_heading = "Source: owns the service accounts")]
    pub source_name: Option<String>,

    /// URL of the source's API server for the target [default: the kubeconfig's]
    #[arg(long, value_name = "URL", help_heading = "Way from target to source")]
    pub source_server: Option<String>,

    /// PEM file of the CAs that the source's certificate is verified with [default: the kubeconfig's, else the system's]
    #[arg(long, value_name = "FILE", help_heading = "Way from target to source")]
    pub source_ca_file: Option<PathBuf>,

    /// Name that the source's certificate is verified for [default: the kubeconfig's, else the URL's host]
    #[arg(long, value_name = "NAME", help_heading = "Way from target to source")]
    pub tls_server_name: Option<String>,

    /// HTTP or SOCKS5 proxy between target and source [default: the kubeconfig's, unless there is --source-server]
    #[arg(long, value_name = "URL", help_heading = "Way from target to source")]
    pub proxy_url: Option<String>,

    /// Let the target be the source
    #[arg(long)]
    pub allow_self: bool,

    /// Say what would be done, by the API servers' own dry run; nothing is written or minted
    #[arg(long)]
    pub dry_run: bool,

    /// Print the objects for both sides, but the link's token; nothing is written
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
}

impl Args {
    /// This command again, with another value of one flag: the mend that an error prints.
    pub fn again_with(&self, flag: &str, value: &str) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let flags = [
            ("--target-context", self.target_context.clone()),
            ("--target-kubeconfig", path(&self.target_kubeconfig)),
            ("--target-name", self.target_name.clone()),
            ("--source-context", self.source_context.clone()),
            ("--source-kubeconfig", path(&self.source_kubeconfig)),
            ("--source-name", self.source_name.clone()),
            ("--source-server", self.source_server.clone()),
            ("--source-ca-file", path(&self.source_ca_file)),
            ("--tls-server-name", self.tls_server_name.clone()),
            ("--proxy-url", self.proxy_url.clone()),
        ];
        let mut command = "kubemcsa bootstrap".to_owned();
        let kept = flags.into_iter().filter(|(name, _)| *name != flag);
        for (name, value) in kept.filter_map(|(name, value)| Some((name, value?))) {
            command.push_str(&format!(" {name} {}", shell_quote(&value)));
        }
        if self.allow_self {
            command.push_str(" --allow-self");
        }
        // Not quoted: a value in capitals is for people to replace.
        format!("{command} {flag} {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mend_replaces_its_flag_and_keeps_the_others() {
        let args = Args {
            target_context: Some("c1".into()),
            source_context: Some("my c2".into()),
            source_name: Some("C2".into()),
            ..Default::default()
        };
        assert_eq!(
            args.again_with("--source-name", "c2"),
            "kubemcsa bootstrap --target-context c1 --source-context 'my c2' --source-name c2"
        );
    }
}
