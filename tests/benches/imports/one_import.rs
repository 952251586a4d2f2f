//! Serves one import, as the baseline loops do.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Api, Client, Resource, ResourceExt};
use mcsa_client::api::{READY, REFRESHED, SecretReference};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};
use mcsa_credentials::contract::FIELD_MANAGER;
use mcsa_credentials::credential::Credential;
use mcsa_credentials::link::Link;
use mcsa_credentials::secret::{Provenance, build};
use mcsa_credentials::token::{Claims, request};
use mcsa_importer::Target;
use serde_json::json;

/// How a baseline loop writes the status, after it has minted a token and created the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoopKind {
    /// With a merge patch.
    MergePatch,
    /// With a PUT.
    Put,
    /// Not at all.
    NoStatus,
    /// With a PUT. As in the importer, responses to writes have only metadata.
    Lean,
}

/// A source, with a client like the importer's.
pub struct Source<'a> {
    link: &'a Link,
    client: Client,
}

impl<'a> Source<'a> {
    /// Creates the client of a link.
    pub fn of(link: &'a Link) -> anyhow::Result<Self> {
        let mut config = link.config.clone();
        config.default_retry = false;
        Ok(Self { link, client: Client::try_from(config)? })
    }

    /// Its name in imports.
    pub fn name(&self) -> &str {
        &self.link.cluster_name
    }

    /// Mints a token, creates the Secret, and writes the status as the loop requires.
    pub async fn serve(
        &self,
        target: &Target,
        kind: LoopKind,
        import: &ServiceAccountImport,
    ) -> anyhow::Result<()> {
        let (credential, provenance) = self.mint(import).await?;
        let secret = build(import, &credential, &provenance)?;
        let status = status(import, &provenance);
        if kind == LoopKind::Lean {
            return lean(target, import, &secret, status).await;
        }
        let target = &target.client;
        let secrets = Api::<Secret>::namespaced(target.clone(), &import.namespace().unwrap_or_default());
        secrets.create(&parameters(), &secret).await?;
        match kind {
            LoopKind::MergePatch => patch(target, import, &status).await,
            LoopKind::Put => put(target, import, status).await,
            LoopKind::NoStatus | LoopKind::Lean => Ok(()),
        }
    }

    async fn mint(&self, import: &ServiceAccountImport) -> anyhow::Result<(Credential, Provenance)> {
        let spec = &import.spec;
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &spec.namespace);
        let request = request(spec.expiration_seconds, &[], None);
        let response = accounts.create_token_request(&spec.name, &PostParams::default(), &request).await?;
        let token = response.status.context("the response has no token")?.token.into();
        let claims = Claims::parse(&token)?;
        let provenance = Provenance {
            expires_at: claims.expires_at,
            refresh_at: claims.expires_at.checked_sub(SignedDuration::from_mins(5)).ok(),
            // No importer reads these, so only their length matters.
            cluster_uid: self.link.cluster_uid.clone().or(Some(claims.service_account_uid.clone())),
            fingerprint: "0123456789abcdef".into(),
            service_account_uid: claims.service_account_uid,
        };
        let credential = Credential {
            name: import.name_any(),
            cluster_name: spec.cluster_name.clone(),
            endpoint: self.link.endpoint.clone(),
            namespace: spec.namespace.clone(),
            token,
        };
        Ok((credential, provenance))
    }
}

async fn patch(
    target: &Client,
    import: &ServiceAccountImport,
    status: &ServiceAccountImportStatus,
) -> anyhow::Result<()> {
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    let patch = Patch::Merge(json!({ "metadata": { "uid": import.uid() }, "status": status }));
    imports_in_namespace(target, import).patch_status(&import.name_any(), &parameters, &patch).await?;
    Ok(())
}

async fn put(
    target: &Client,
    import: &ServiceAccountImport,
    status: ServiceAccountImportStatus,
) -> anyhow::Result<()> {
    let whole = ServiceAccountImport { status: Some(status), ..import.clone() };
    imports_in_namespace(target, import).replace_status(&import.name_any(), &parameters(), &whole).await?;
    Ok(())
}

/// Writes as the importer does: responses don't repeat the object.
async fn lean(
    target: &Target,
    import: &ServiceAccountImport,
    secret: &Secret,
    status: ServiceAccountImportStatus,
) -> anyhow::Result<()> {
    let namespace = import.namespace();
    let secrets = Request::new(Secret::url_path(&(), namespace.as_deref()));
    target.write(secrets.create(&parameters(), serde_json::to_vec(secret)?)).await?;
    let whole = serde_json::to_vec(&ServiceAccountImport { status: Some(status), ..import.clone() })?;
    let imports = Request::new(ServiceAccountImport::url_path(&(), namespace.as_deref()));
    target.write(imports.replace_subresource("status", &import.name_any(), &parameters(), whole)).await?;
    Ok(())
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() }
}

fn imports_in_namespace(target: &Client, import: &ServiceAccountImport) -> Api<ServiceAccountImport> {
    Api::namespaced(target.clone(), &import.namespace().unwrap_or_default())
}

/// Builds a status with all fields that the importer sets.
fn status(import: &ServiceAccountImport, provenance: &Provenance) -> ServiceAccountImportStatus {
    let name = import.secret_name();
    let seconds = |time: Timestamp| Time(Timestamp::from_second(time.as_second()).unwrap_or(time));
    let condition = |type_: &str, reason: &str, message: String| Condition {
        type_: type_.into(),
        status: "True".into(),
        reason: reason.into(),
        message,
        observed_generation: import.metadata.generation,
        last_transition_time: seconds(Timestamp::now()),
    };
    let message = format!("Secret {name} holds a token until {:.0}", provenance.expires_at);
    ServiceAccountImportStatus {
        secrets: vec![SecretReference { name }],
        observed_generation: import.metadata.generation,
        conditions: vec![
            condition(READY, "TokenValid", message),
            condition(REFRESHED, "Refreshed", "the last refresh succeeded".into()),
        ],
        expiration_time: Some(seconds(provenance.expires_at)),
        refresh_time: provenance.refresh_at.map(seconds),
        service_account_uid: Some(provenance.service_account_uid.clone()),
        checked_request: None,
    }
}
