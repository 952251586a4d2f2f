//! The requests that an API server handled, from its audit log.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// Logs every request when it is answered, without bodies.
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
    /// The caller.
    pub user: AuditUser,
    /// The `User-Agent` header.
    #[serde(default)]
    pub user_agent: String,
    /// The requested object. `None` for non-resource URLs.
    pub object_ref: Option<AuditObject>,
    /// The response. `None` if the connection closed before.
    pub response_status: Option<AuditStatus>,
}

/// The caller of a request.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditUser {
    /// `system:serviceaccount:<namespace>:<name>` for service accounts; empty if authentication failed.
    #[serde(default)]
    pub username: String,
    /// The caller's groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// The object of a request. Fields that the request does not set are empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditObject {
    /// The resource's plural name.
    pub resource: String,
    /// `token` in `serviceaccounts/token`.
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

/// The events in `log`, in order, without a line that is still being written.
pub(crate) fn read(log: &Path) -> anyhow::Result<Vec<AuditEvent>> {
    let text = std::fs::read_to_string(log)
        .with_context(|| format!("reading {} (was the cluster built with audit_log()?)", log.display()))?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("reading the audit event {line}")))
        .collect()
}
