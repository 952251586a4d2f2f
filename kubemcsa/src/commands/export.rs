//! `kubemcsa export`: prints a token of a service account in a consumer's format, for consumers without an importer.
//!
//! validate → endpoint → mint → document

mod args;
mod document;
mod endpoint;
mod mint;
mod validate;

pub(crate) use args::Args;

use jiff::Timestamp;

use crate::cli::output;
use crate::cli::times::{human, to_the_second};
use crate::cluster::kubeconfig::ChosenContext;
use args::Syntax;
use document::Document;

/// Mints a token and prints the document.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    validate::flags(&args)?;
    let chosen = ChosenContext::load(args.kubeconfig.as_deref(), args.context.as_deref(), "--")?;
    let endpoint = endpoint::endpoint(&chosen, &args)?;
    let namespace =
        args.namespace.clone().or(chosen.namespace.clone()).unwrap_or_else(|| "default".to_owned());
    let cluster_name = args.cluster_name.clone().unwrap_or_else(|| chosen.cluster_name.clone());
    // Don't mint a token that can't be printed.
    validate::names(&args, &cluster_name)?;

    let cluster = chosen.connect().await?;
    let minted = mint::mint(&cluster, &namespace, &args).await?;
    let expires_at = minted.expires_at;
    let document = document::document(&args, &cluster_name, namespace, endpoint, minted)?;
    match (&document, args.output) {
        (Document::Secret(secret), Syntax::Yaml) => output::yaml(secret)?,
        (Document::Secret(secret), Syntax::Json) => output::json(secret)?,
        (Document::Kubeconfig(kubeconfig), Syntax::Yaml) => output::yaml(kubeconfig)?,
        (Document::Kubeconfig(kubeconfig), Syntax::Json) => output::json(kubeconfig)?,
    }

    let left = expires_at.duration_since(Timestamp::now());
    output::info(
        &cluster.name,
        &format!(
            "the token expires in {}, at {}; nothing refreshes it",
            human(left),
            to_the_second(expires_at)
        ),
    );
    if let Some(hint) = document::hint(args.format, &cluster_name) {
        output::info(&cluster.name, &hint);
    }
    Ok(())
}
