//! `kubemcsa links`: lists the links of a target.

use jiff::{SignedDuration, Timestamp};
use mcsa_client::api::{READY, REFRESHED};
use mcsa_credentials::url::without_credentials;
use serde::Serialize;

use crate::cli::flags::TargetArgs;
use crate::cli::table::{self, Cell, Column, Row, TableFormat, Width};
use crate::cli::times::{human, to_the_second};
use crate::link::existing::{self, ExistingLink};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// Output format [default: a table]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<TableFormat>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (_, cluster) = args.target.connect().await?;
    let now = Timestamp::now();
    let rows: Vec<_> = existing::list(&cluster).await?.iter().map(|link| Entry::of(link, now)).collect();
    table::print(&rows, args.output, &cluster.name, "no links found; create one with bootstrap")
}

/// What is printed about a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    source: String,
    server: Option<String>,
    /// Namespace and name of the service account in the source.
    identity: Option<String>,
    cluster_uid: Option<String>,
    expires_at: Option<String>,
    #[serde(skip)]
    left: Option<SignedDuration>,
    /// Name of the import that refreshes it.
    import: Option<String>,
    health: Health,
}

/// Whether a link works, judged by the target alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    is_good: bool,
    /// One word, like the reason of a condition.
    reason: String,
    /// The reason as a sentence.
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
            server: link.as_ref().map(|link| without_credentials(&link.endpoint.server)),
            identity: linked.identity().map(|(namespace, name)| format!("{namespace}/{name}")),
            cluster_uid: link.and_then(|link| link.cluster_uid),
            expires_at: expires_at.map(to_the_second),
            left: expires_at.map(|time| time.duration_since(now)),
            import: linked.import.as_ref().and_then(|import| import.metadata.name.clone()),
            health: health(linked, now),
        }
    }
}

/// The worst problem of a link.
pub(crate) fn health(linked: &ExistingLink, now: Timestamp) -> Health {
    match linked.link() {
        None => return Health::bad("NoSecret", "the link has no Secret; bootstrap the link again"),
        Some(Err(error)) => return Health::bad("InvalidLink", error.to_string()),
        Some(Ok(_)) => {}
    }
    if linked.expires_at().is_some_and(|time| time <= now) {
        let again = match linked.import {
            Some(_) => "bootstrap the link again",
            // Bootstrap may find no rights in the source that it could keep.
            None => "replace it, or bootstrap the link with --allow NAMESPACE[/NAME]",
        };
        return Health::bad("Expired", format!("the token has expired; {again}"));
    }
    let Some(import) = &linked.import else { return Health::good("ByHand") };
    if let Some(secret) = linked.interim() {
        let message = format!(
            "a rotation was interrupted: the token is bound to Secret {secret}; rotate the link again"
        );
        return Health::bad("RotationUnfinished", message);
    }
    for condition in [REFRESHED, READY].iter().filter_map(|type_| import.condition(type_)) {
        if condition.status != "True" {
            return Health::bad(&condition.reason, &condition.message);
        }
    }
    match import.condition(READY) {
        Some(_) => Health::good("Ready"),
        None => Health::bad(
            "NotReconciled",
            "no importer has reconciled it yet; check that one is installed and running",
        ),
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

/// Formats the time that is left, or how long ago it ended.
pub(crate) fn left(left: Option<SignedDuration>) -> Cell {
    match left {
        None => Cell::default(),
        Some(left) if left.is_positive() => human(left).into(),
        Some(left) => Cell::bad(format!("{} ago", human(-left))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(3600, "1h")]
    #[case(0, "<1m ago")]
    #[case(-7200, "2h ago")]
    fn time_left_and_time_since_are_printed(#[case] seconds: i64, #[case] expected: &str) {
        let cell = left(Some(SignedDuration::from_secs(seconds)));
        assert!(cell == expected.into() || cell == Cell::bad(expected), "{cell:?}");
    }

    #[test]
    fn address_is_listed_without_a_password() {
        let cluster = json!({ "server": "https://c2", "proxy-url": "http://me:s3cret@proxy" });
        let kubeconfig = json!({
            "current-context": "c", "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
            "clusters": [{ "name": "c", "cluster": cluster }], "users": [{ "name": "c", "user": {} }],
        });
        let data = [("kubeconfig".to_owned(), ByteString(kubeconfig.to_string().into_bytes()))];
        let secret = Secret { data: Some(data.into()), ..Default::default() };
        let link = ExistingLink { secret: Some(secret), ..Default::default() };
        let entry = Entry::of(&link, Timestamp::UNIX_EPOCH);
        assert_eq!(entry.server.as_deref(), Some("https://c2"));
        assert!(!serde_json::to_string(&entry).unwrap().contains("s3cret"));
    }
}
