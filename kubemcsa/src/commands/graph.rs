//! `kubemcsa graph`: which workloads hold which imported identities, and what these may do in their own clusters.
//!
//! collect → resolve → rights → model → render

mod admin;
mod args;
mod collect;
mod holders;
mod model;
mod permitted;
mod powerful;
mod render;
mod resolve;
mod rights;
mod roles;
mod rules;
mod view;

pub(crate) use args::Args;

use anyhow::{bail, ensure};
use futures::future::join_all;

use crate::cli::output;
use crate::cluster::kubeconfig::{self, ChosenContext};
use args::Format;

/// Reads all clusters concurrently, and prints the graph of those that can be read.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let chosen = chosen(&args)?;
    let results =
        join_all(chosen.iter().map(|chosen| collect::collect(chosen, args.namespace.as_deref()))).await;
    let mut collected = Vec::new();
    for result in results {
        match result {
            Ok(cluster) => collected.push(cluster),
            Err(error) if chosen.len() == 1 => return Err(error),
            Err(error) => output::warn_of(&error),
        }
    }
    let collected = collect::merge_by_uid(collected);
    ensure!(!collected.is_empty(), "none of the clusters could be read (see above)");
    let views: Vec<_> = collected.iter().map(|it| &it.view).collect();
    let resolved = resolve::resolve(&views);

    let sources = collected.iter().filter(|it| resolved.iter().any(|import| import.source.is(&it.view)));
    let reads = sources.map(async |it| Some((it.view.uid.clone()?, roles::read(&it.connections).await)));
    let roles = join_all(reads).await.into_iter().flatten().collect();

    let graph = model::build(&views, &resolved, &roles);
    if graph.imports.is_empty() {
        let names: Vec<_> = views.iter().map(|view| view.name.as_str()).collect();
        output::info(&names.join(", "), "no imports found");
    }
    match args.output {
        Format::Text => output::styled(&render::text::render(&graph)),
        Format::Dot => output::text(&render::dot::render(&graph)),
        Format::Mermaid => output::text(&render::mermaid::render(&graph)),
        Format::Svg => output::text(&render::svg::render(&graph)),
        Format::Json => output::json(&graph),
    }
}

/// The contexts to read. With `--all-contexts`, skips contexts that can't be used, with a warning.
fn chosen(args: &Args) -> anyhow::Result<Vec<ChosenContext>> {
    let load = |name: Option<&str>| ChosenContext::load(args.kubeconfig.as_deref(), name, "--");
    if !args.all_contexts {
        let named: Vec<_> = args.contexts.iter().map(|name| Some(name.as_str())).collect();
        let named = if named.is_empty() { vec![None] } else { named };
        return Ok(named.into_iter().map(load).collect::<Result<_, _>>()?);
    }
    let kubeconfig = kubeconfig::read(args.kubeconfig.as_deref(), "--")?;
    let names: Vec<_> = kubeconfig.contexts().map(|context| context.name().to_owned()).collect();
    if names.is_empty() {
        bail!("the kubeconfig has no contexts; choose another one with --kubeconfig or KUBECONFIG");
    }
    let loaded = names.iter().filter_map(|name| match load(Some(name)) {
        Ok(chosen) => Some(chosen),
        Err(error) => {
            output::warn(name, &format!("skipped: {error}"));
            None
        }
    });
    Ok(loaded.collect())
}
