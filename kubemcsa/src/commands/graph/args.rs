//! The flags of `kubemcsa graph`.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCandidates;

use mcsa_credentials::names;

use crate::cluster::kubeconfig::contexts;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Context of a cluster, as a target and as a source; repeat the flag for each cluster [default: the current one]
    #[arg(long = "context", value_name = "NAME", add = ArgValueCandidates::new(contexts), conflicts_with = "all_contexts")]
    pub(crate) contexts: Vec<String>,

    /// Read the clusters of all contexts in the kubeconfig
    #[arg(long)]
    pub(crate) all_contexts: bool,

    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Show only the imports of this namespace [default: all]
    #[arg(short, long, value_name = "NAME", value_parser = names::namespace)]
    pub(crate) namespace: Option<String>,

    /// Output format
    #[arg(short, long, alias = "format", value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// How the graph is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A tree for each target.
    Text,
    /// Input of Graphviz.
    Dot,
    /// A Mermaid flowchart, for Markdown.
    Mermaid,
    /// An SVG image.
    Svg,
    /// The whole graph, for programs.
    Json,
}
