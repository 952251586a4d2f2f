//! `kubemcsa install`: applies manifests/ to a target, and waits until all of it is ready.

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

/// Where to install, and how long to wait.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// Namespaces whose imports are served, by a Role in each; those of others are ignored [default: all]
    #[arg(long, value_name = "NS,...", value_delimiter = ',', value_parser = namespace)]
    namespaces: Vec<String>,

    /// Serve the imports of all namespaces, where an importer so far was confined to some
    #[arg(long, conflicts_with = "namespaces")]
    all_namespaces: bool,

    /// Print the manifests instead of applying them; no cluster is needed
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,

    /// Don't wait until importer and webhook are available
    #[arg(long)]
    no_wait: bool,

    /// How long to wait, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    timeout: Duration,
}

/// Installs, or prints.
pub async fn run(args: Args) -> anyhow::Result<()> {
    if args.output.is_some() {
        return manifests::FILES.iter().try_for_each(|file| print(file, &args.namespaces));
    }
    let (chosen, cluster) = args.target.connect().await?;
    namespaces::ensure_there(&cluster, &args.namespaces, &chosen.kubectl()).await?;
    let granted = confined::granted(&cluster).await?;
    if args.namespaces.is_empty() && !args.all_namespaces {
        namespaces::ensure_not_confined(&cluster, &granted)?;
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
            crd::established(&cluster, args.timeout).await?;
        }
    }
    if let Some(release) = release {
        let said = format!("Helm's {release} had installed this; its next upgrade takes --force-conflicts");
        output::warn(&cluster.name, &said);
    }
    if !args.no_wait {
        wait::until_available(&cluster, args.timeout, &chosen.kubectl()).await?;
    }
    // No more than was asked for stays granted, whatever was installed before. Those who are no more
    // needed may have needed it until now.
    for object in confined::obsolete(granted, &objects) {
        delete::delete(&cluster, &object).await?;
        output::outcome(&cluster.name, &object::reference(&object), Outcome::Deleted);
    }
    Ok(())
}

/// Prints a file as it is, with its comments, unless what is in it depends on the namespaces.
fn print((name, text): &(&str, &str), namespaces: &[String]) -> anyhow::Result<()> {
    let objects = object::parse(text)?;
    let confined = confined::confine(objects.clone(), namespaces)?;
    if confined == objects {
        return output::text(&format!("---\n# manifests/{name}\n{}\n", text.trim_end()));
    }
    let among = namespaces.join(", ");
    confined.iter().try_for_each(|object| {
        let title = object::title(object);
        output::document(&format!("manifests/{name}, confined to {among}: {title}"), object)
    })
}
