//! `kubemcsa links`: the links of a target.

use jiff::{SignedDuration, Timestamp};
use mcsa_client::api::{READY, REFRESHED};
use serde::Serialize;

use crate::cli::flags::TargetArgs;
use crate::cli::table::{self, Cell, Column, Row, TableFormat, Width};
use crate::cli::times::{human, to_the_second};
use crate::link::existing::{self, ExistingLink};

/// Of which target, and how they are printed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// How to print them [default: a table]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<TableFormat>,
}

/// Prints them.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let (_, cluster) = args.target.connect().await?;
    let now = Timestamp::now();
    let rows: Vec<_> = existing::list(&cluster).await?.iter().map(|link| Entry::of(link, now)).collect();
    table::print(&rows, args.output, &cluster.name, "there are no links; kubemcsa bootstrap makes them")
}

/// What is told of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    source: String,
    server: Option<String>,
    /// Namespace and name of the service account in the source.
    identity: Option<String>,
    cluster_uid: Option<String>,
    expires_at: Option<String>,
    #[serde(skip)]
    left: Option<SignedDuration>,
    /// The import that keeps it fresh.
    import: Option<String>,
    health: Health,
}

/// Whether a link works, as far as the target can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    is_good: bool,
    /// One word, as conditions have it.
    reason: String,
    /// What it is about, for people.
    message: String,
}

impl Health {
    fn good(reason: &str) -> Self {
        Self { is_good: true, reason: reason.into(), message: String::new() }
    }

    fn bad(reason: &str, message: impl Into<String>) -> Self {
        Self { is_good: false, reason: reason.into(), message: message.into() }
    }
}

impl Entry {
    fn of(linked: &ExistingLink, now: Timestamp) -> Self {
        let link = linked.link().and_then(Result::ok);
        let expires_at = linked.expires_at();
        Self {
            source: linked.cluster_name.clone(),
            server: link.as_ref().map(|link| link.endpoint.server.clone()),
            identity: linked.identity().map(|(namespace, name)| format!("{namespace}/{name}")),
            cluster_uid: link.and_then(|link| link.cluster_uid),
            expires_at: expires_at.map(to_the_second),
            left: expires_at.map(|time| time.duration_since(now)),
            import: linked.import.as_ref().and_then(|import| import.metadata.name.clone()),
            health: health(linked, now),
        }
    }
}

/// What is wrong with a link, the worst first.
pub fn health(linked: &ExistingLink, now: Timestamp) -> Health {
    match linked.link() {
        None => return Health::bad("NoSecret", "it has no Secret; run kubemcsa bootstrap again"),
        Some(Err(error)) => return Health::bad("InvalidLink", error.to_string()),
        Some(Ok(_)) => {}
    }
    if linked.expires_at().is_some_and(|time| time <= now) {
        return Health::bad("Expired", "its token has expired; run kubemcsa bootstrap again");
    }
    let Some(import) = &linked.import else { return Health::good("ByHand") };
    if let Some(secret) = linked.interim() {
        let message =
            format!("its token is bound to secret {secret} of a rotation; run kubemcsa rotate again");
        return Health::bad("RotationUnfinished", message);
    }
    for condition in [REFRESHED, READY].iter().filter_map(|type_| import.condition(type_)) {
        if condition.status != "True" {
            return Health::bad(&condition.reason, &condition.message);
        }
    }
    match import.condition(READY) {
        Some(_) => Health::good("Ready"),
        None => Health::bad("NotReconciled", "no importer has seen it yet; is one installed, and running?"),
    }
}

impl Row for Entry {
    const COLUMNS: &'static [Column] = &[
        ("SOURCE", Width::Any),
        ("ADDRESS", Width::Any),
        ("IDENTITY", Width::Any),
        ("EXPIRES", Width::Any),
        ("HEALTH", Width::Any),
        ("IMPORT", Width::Wide),
        ("CLUSTER UID", Width::Wide),
        ("MESSAGE", Width::Wide),
    ];

    fn cells(&self) -> Vec<Cell> {
        let text = |text: &Option<String>| Cell::from(text.clone().unwrap_or_default());
        let health = if self.health.is_good { Cell::good } else { Cell::bad };
        vec![
            self.source.as_str().into(),
            text(&self.server),
            text(&self.identity),
            left(self.left),
            health(self.health.reason.clone()),
            text(&self.import),
            text(&self.cluster_uid),
            self.health.message.as_str().into(),
        ]
    }
}

/// How long something is still good for.
pub fn left(left: Option<SignedDuration>) -> Cell {
    match left {
        None => Cell::default(),
        Some(left) if left.is_positive() => human(left).into(),
        Some(left) => Cell::bad(format!("{} ago", human(-left))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(3600, "1h")]
    #[case(0, "<1m ago")]
    #[case(-7200, "2h ago")]
    fn what_is_left(#[case] seconds: i64, #[case] expected: &str) {
        let told = left(Some(SignedDuration::from_secs(seconds)));
        assert!(told == expected.into() || told == Cell::bad(expected), "{told:?}");
    }
}
