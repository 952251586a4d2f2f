//! Reports imports that can't be read. Their Secrets stay as they are.

use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;
use kube::core::Request;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};
use mcsa_runtime::errors;
use serde_json::json;

use super::Reconciler;
use crate::clock::after;
use crate::model::failure::Reason;
use crate::model::unreadable::UnreadableImport;
use crate::target::parameters;

/// Wait after a status could not be written.
const RETRY: Duration = Duration::from_secs(60);

impl Reconciler {
    /// Reports the import in its status, once for each problem; returns when the status changes next.
    pub(super) async fn report_unreadable(&self, import: &UnreadableImport) -> Option<Timestamp> {
        let now = self.clock.now();
        let status = import.status_at(now);
        let next = import.expires_after(now);
        if status == import.status {
            return next;
        }
        let (cluster, reason) = (&import.cluster_name, Reason::InvalidSpec.as_str());
        let (namespace, name) = (import.key.namespace(), import.key.name());
        match self.write_status(import, status).await {
            Ok(()) => {
                self.metrics.failed(self.cache.source_or_unlinked(cluster), reason);
                let problem = &import.problem;
                tracing::warn!(
                    cluster,
                    namespace,
                    import = name,
                    reason,
                    "can't read this import: {problem}"
                );
                next
            }
            // It changed or was deleted meanwhile, which the watch reports.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => next,
            Err(error) => {
                let (reason, error) = ("StatusNotWritten", errors::line(&error));
                tracing::warn!(cluster, namespace, import = name, reason, error, "can't write the status");
                Some(after(now, RETRY))
            }
        }
    }

    /// Replaces the status. The API server ignores the spec, which this version can't write.
    async fn write_status(
        &self,
        import: &UnreadableImport,
        status: ServiceAccountImportStatus,
    ) -> kube::Result<()> {
        let object = json!({
            "apiVersion": ServiceAccountImport::api_version(&()),
            "kind": ServiceAccountImport::kind(&()),
            "metadata": {
                "namespace": import.key.namespace(),
                "name": import.key.name(),
                "uid": import.uid,
                "resourceVersion": import.resource_version,
            },
            "status": status,
        });
        let object = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
        let imports = Request::new(ServiceAccountImport::url_path(&(), Some(import.key.namespace())));
        let put = imports.replace_subresource("status", import.key.name(), &parameters(), object);
        self.target.write(put).await.map(drop)
    }
}
