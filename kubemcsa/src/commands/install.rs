//! `kubemcsa install`: applies manifests/ to a target, and waits until the Deployments are available.

mod apply_order;
mod namespaces;
mod registration;
mod wait;

use std::time::Duration;

use mcsa_credentials::names::namespace;

use crate::cli::flags::TargetArgs;
use crate::cli::output::{self, Format};
use crate::cli::times::duration;
use crate::cluster::apply::{self, Outcome};
use crate::cluster::{crd, delete, object};
use crate::manifests::{self, confined};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// Serve only the imports of these namespaces, with a Role in each [default: all]
    #[arg(long, value_name = "NS,...", value_delimiter = ',', value_parser = namespace)]
    namespaces: Vec<String>,

    /// Serve the imports of all namespaces again, after an install with --namespaces
    #[arg(long, conflicts_with = "namespaces")]
    all_namespaces: bool,

    /// Print the manifests instead of applying them; needs no cluster
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,

    /// Don't wait until importer and webhook are available
    #[arg(long)]
    no_wait: bool,

    /// How long to wait for importer and webhook, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    timeout: Duration,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.output.is_some() {
        return manifests::FILES.iter().try_for_each(|file| print(file, &args.namespaces));
    }
    let (chosen, cluster) = args.target.connect().await?;
    namespaces::ensure_exist(&cluster, &args.namespaces, &chosen).await?;
    let granted = confined::granted(&cluster).await?;
    if args.namespaces.is_empty() && !args.all_namespaces {
        namespaces::ensure_not_confined(&cluster, &granted, &chosen)?;
    }

    let objects = confined::confine(manifests::objects()?, &args.namespaces)?;
    let mut release = None;
    for mut stage in apply_order::stages(objects.clone()) {
        for object in &mut stage {
            registration::keep_urls(&cluster, object).await?;
            let applied = apply::apply(&cluster, object).await?;
            output::outcome(&cluster.name, &object::reference(object), applied.outcome);
            release = release.or_else(|| object::helm_release(&applied.stored));
        }
        if stage.iter().any(apply_order::is_definition) {
            crd::wait_until_established(&cluster, args.timeout).await?;
        }
    }
    if let Some(release) = release {
        let message =
            format!("Helm's {release} owns these objects too; its next upgrade needs --force-conflicts");
        output::warn(&cluster.name, &message);
    }
    if !args.no_wait {
        wait::until_available(&cluster, args.timeout, &chosen.kubectl()).await?;
    }
    // Rights of an earlier installation go last: its importer needs them until the new one is available.
    for object in confined::obsolete(granted, &objects) {
        delete::delete(&cluster, &object).await?;
        output::outcome(&cluster.name, &object::reference(&object), Outcome::Deleted);
    }
    Ok(())
}

/// Prints a file with its comments, or its objects if they depend on the namespaces.
fn print((name, text): &(&str, &str), namespaces: &[String]) -> anyhow::Result<()> {
    let objects = object::parse(text)?;
    let confined = confined::confine(objects.clone(), namespaces)?;
    if confined == objects {
        return output::text(&format!("---\n# manifests/{name}\n{}\n", text.trim_end()));
    }
    let namespaces = namespaces.join(", ");
    confined.iter().try_for_each(|object| {
        let title = object::title(object);
        output::document(&format!("manifests/{name}, confined to {namespaces}: {title}"), object)
    })
}
