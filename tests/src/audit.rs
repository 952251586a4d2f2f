//! What the API server was asked, from its audit log: who called, how often, and what came of it.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// Every request, without bodies, once it was answered.
pub(crate) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// One line of the audit log.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// `ResponseComplete`; also `ResponseStarted` for watches, and `Panic`.
    pub stage: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Who called.
    pub user: AuditUser,
    /// What the caller says it is.
    #[serde(default)]
    pub user_agent: String,
    /// What was asked for; none for paths that are no resources.
    pub object_ref: Option<AuditObject>,
    /// The answer; none where the connection ended first.
    pub response_status: Option<AuditStatus>,
}

/// The caller of a request.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditUser {
    /// For service accounts `system:serviceaccount:<namespace>:<name>`; empty if authentication failed.
    #[serde(default)]
    pub username: String,
    /// The groups that authentication gave.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// The object of a request; empty where the request named none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditObject {
    /// The resource's plural name.
    pub resource: String,
    /// As `token` in `serviceaccounts/token`.
    pub subresource: String,
    /// The API group, empty for core.
    pub api_group: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// The status of a response.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditStatus {
    /// The HTTP status code.
    pub code: u16,
}

/// The events in `log`, in order; a line that is being written is left out.
pub(crate) fn read(log: &Path) -> anyhow::Result<Vec<AuditEvent>> {
    let text = std::fs::read_to_string(log)
        .with_context(|| format!("reading {} (was the cluster built with audit_log()?)", log.display()))?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("reading the audit event {line}")))
        .collect()
}
