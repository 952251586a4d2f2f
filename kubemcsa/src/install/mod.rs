//! `kubemcsa install`: applies manifests/ to a target, and waits until all of it is ready.

mod order;
mod registration;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::kubeconfig::Chosen;
use crate::output::{self, Format};
use crate::{apply, crd, manifests, object};

/// Where to install, and how long to wait.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Context of the target [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

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
        // The files as they are, with their comments.
        return manifests::FILES.iter().try_for_each(|(name, text)| {
            output::text(&format!("---\n# manifests/{name}\n{}\n", text.trim_end()))
        });
    }
    let chosen = Chosen::load(args.kubeconfig.as_deref(), args.context.as_deref(), "--")?;
    let identity = format!("context {}", chosen.context);
    let cluster = Cluster::new(&chosen.cluster_name, &identity, chosen.config().await?)?;

    for mut stage in order::stages(manifests::objects()?) {
        for object in &mut stage {
            registration::keep_urls(&cluster, object).await?;
            let applied = apply::apply(&cluster, object).await?;
            output::outcome(&cluster.name, &object::title(object), applied.outcome);
        }
        if stage.iter().any(order::is_definition) {
            crd::established(&cluster, args.timeout).await?;
        }
    }
    if !args.no_wait {
        wait::until_available(&cluster, args.timeout, &chosen.kubectl()).await?;
    }
    Ok(())
}

fn duration(text: &str) -> Result<Duration, String> {
    let example = || "a duration such as 90s or 5m".to_owned();
    let duration: jiff::SignedDuration = text.parse().map_err(|_| example())?;
    Duration::try_from(duration).map_err(|_| example())
}
