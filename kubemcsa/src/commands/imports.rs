//! `kubemcsa imports`: lists the imports of a target, except those of links, which `kubemcsa links` lists.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::ListParams;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::{READY, REFRESHED};
use mcsa_credentials::names::namespace;
use serde::Serialize;

use crate::cli::flags::TargetArgs;
use crate::cli::table::{self, Cell, Column, Row, TableFormat, Width};
use crate::cli::times::to_the_second;
use crate::cluster::list;
use crate::commands::links::left;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// List only the imports of this namespace [default: all]
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    namespace: Option<String>,

    /// List only the imports whose clusterName is this source [default: all]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,

    /// Output format [default: a table]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<TableFormat>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (_, cluster) = args.target.connect().await?;
    let imports = list::readable_imports(&cluster, args.namespace.as_deref(), ListParams::default()).await?;
    let now = Timestamp::now();
    let is_selected = |import: &&ServiceAccountImport| {
        let is_of_source = args.cluster.as_ref().is_none_or(|name| *name == import.spec.cluster_name);
        is_of_source && !import.is_link()
    };
    let rows: Vec<_> = imports.iter().filter(is_selected).map(|import| Entry::of(import, now)).collect();
    table::print(&rows, args.output, &cluster.name, "no imports found; the README shows how to create one")
}

/// What is printed about an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    namespace: String,
    name: String,
    source: String,
    /// Namespace and name of the service account in the source.
    service_account: String,
    /// Whether the Secret holds a token that has not expired.
    is_ready: bool,
    /// Whether the last refresh succeeded.
    is_refreshed: bool,
    /// Reason of the condition that is not true, or `Ready`.
    reason: String,
    /// The reason as a sentence.
    message: String,
    expires_at: Option<String>,
    refreshes_at: Option<String>,
    #[serde(skip)]
    left: Option<SignedDuration>,
    #[serde(skip)]
    until_refresh: Option<SignedDuration>,
    secret: String,
}

impl Entry {
    fn of(import: &ServiceAccountImport, now: Timestamp) -> Self {
        let status = import.status.as_ref();
        let expires_at = status.and_then(|status| status.expiration_time.as_ref()).map(|time| time.0);
        let refreshes_at = status.and_then(|status| status.refresh_time.as_ref()).map(|time| time.0);
        let is_true = |type_| import.condition(type_).is_some_and(|condition| condition.status == "True");
        // Without a running importer, the status is stale.
        let has_expired = expires_at.is_some_and(|time| time <= now);
        let failed = [REFRESHED, READY].into_iter().filter_map(|type_| import.condition(type_));
        let failed = failed.into_iter().find(|condition| condition.status != "True");
        let (reason, message) = match (failed, import.condition(READY)) {
            (Some(failed), _) => (failed.reason.as_str(), failed.message.as_str()),
            (None, None) => ("NotReconciled", "no importer has reconciled it yet"),
            (None, Some(_)) if has_expired => {
                ("TokenExpired", "the token was not refreshed; check that an importer is running")
            }
            (None, Some(_)) => ("Ready", ""),
        };
        Self {
            namespace: import.namespace().unwrap_or_default(),
            name: import.name_any(),
            source: import.spec.cluster_name.clone(),
            service_account: format!("{}/{}", import.spec.namespace, import.spec.name),
            is_ready: is_true(READY) && !has_expired,
            is_refreshed: is_true(REFRESHED),
            reason: reason.to_owned(),
            message: message.to_owned(),
            expires_at: expires_at.map(to_the_second),
            refreshes_at: refreshes_at.map(to_the_second),
            left: expires_at.map(|time| time.duration_since(now)),
            until_refresh: refreshes_at.map(|time| time.duration_since(now)),
            secret: import.secret_name(),
        }
    }
}

impl Row for Entry {
    const COLUMNS: &'static [Column] = &[
        ("NAMESPACE", Width::Any),
        ("NAME", Width::Any),
        ("SOURCE", Width::Any),
        ("SERVICE ACCOUNT", Width::Any),
        ("READY", Width::Any),
        ("HEALTH", Width::Any),
        ("EXPIRES", Width::Any),
        ("SECRET", Width::Wide),
        ("REFRESH", Width::Wide),
        ("MESSAGE", Width::Wide),
    ];

    fn cells(&self) -> Vec<Cell> {
        let ready = if self.is_ready { Cell::good("True") } else { Cell::bad("False") };
        let health = if self.reason == "Ready" { Cell::good } else { Cell::bad };
        vec![
            self.namespace.as_str().into(),
            self.name.as_str().into(),
            self.source.as_str().into(),
            self.service_account.as_str().into(),
            ready,
            health(self.reason.clone()),
            left(self.left),
            self.secret.as_str().into(),
            left(self.until_refresh),
            self.message.as_str().into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    const NOW: i64 = 1_000_000;

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({ "type": type_, "status": status, "reason": reason, "message": "why",
                "lastTransitionTime": "2026-01-01T00:00:00Z" })
    }

    #[rstest]
    #[case::new(json!(null), false, "NotReconciled")]
    #[case::ready(json!([condition("Ready", "True", "TokenValid"), condition("Refreshed", "True", "Refreshed")]), true, "Ready")]
    #[case::not_refreshed(
        json!([condition("Ready", "True", "TokenValid"), condition("Refreshed", "False", "SourceUnreachable")]),
        true,
        "SourceUnreachable"
    )]
    #[case::edited(
        json!([condition("Ready", "False", "SecretEdited"), condition("Refreshed", "True", "Refreshed")]),
        false,
        "SecretEdited"
    )]
    fn worst_condition_decides(#[case] conditions: Value, #[case] is_ready: bool, #[case] reason: &str) {
        let mut import = json!({
            "metadata": { "namespace": "team", "name": "a" },
            "spec": { "clusterName": "c2", "namespace": "default", "name": "pod-lister" },
        });
        let expires = |seconds: i64| Timestamp::from_second(NOW + seconds).unwrap().to_string();
        if !conditions.is_null() {
            import["status"] = json!({ "conditions": conditions, "expirationTime": expires(60) });
        }
        let now = Timestamp::from_second(NOW).unwrap();
        let entry = Entry::of(&serde_json::from_value(import).unwrap(), now);
        assert_eq!((entry.is_ready, entry.reason.as_str()), (is_ready, reason));
        assert_eq!(
            (entry.secret.as_str(), entry.service_account.as_str()),
            ("a-token", "default/pod-lister")
        );
        assert_eq!(entry.cells().len(), Entry::COLUMNS.len());
    }
}
