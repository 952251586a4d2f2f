//! The flags of `kubemcsa graph`.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCandidates;

use mcsa_credentials::names;

use crate::cluster::kubeconfig::contexts;

/// Which clusters to look at, and how to draw what is seen.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Context to look at, as a target and as a source; repeat it for each cluster [default: the current one]
    #[arg(long = "context", value_name = "NAME", add = ArgValueCandidates::new(contexts), conflicts_with = "all_contexts")]
    pub contexts: Vec<String>,

    /// Look at all contexts of the kubeconfig
    #[arg(long)]
    pub all_contexts: bool,

    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Only the imports of this namespace [default: of all]
    #[arg(short, long, value_name = "NAME", value_parser = names::namespace)]
    pub namespace: Option<String>,

    /// Output format
    #[arg(short, long, alias = "format", value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub output: Format,
}

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A tree for each target.
    Text,
    /// For Graphviz.
    Dot,
    /// For Markdown pages that draw Mermaid.
    Mermaid,
    /// A picture.
    Svg,
    /// All that is known, for programs.
    Json,
}
