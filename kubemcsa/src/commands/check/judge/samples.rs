//! Facts for unit tests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
use serde_json::{Value, json};

use crate::commands::check::facts::{Facts, Importer, Imports};
use crate::link::existing::ExistingLink;

pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A target with a running importer, and nothing else.
pub(crate) fn facts() -> Facts {
    Facts {
        now: at(NOW),
        has_crd: true,
        importer: Importer { has_leader: true, is_readable: true, ..Default::default() },
        are_link_secrets_readable: true,
        imports: Some(Imports::new()),
        ..Default::default()
    }
}

pub(crate) fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": format!("message of {reason}"),
            "lastTransitionTime": at(0).to_string() })
}

/// An import that was created a minute ago.
pub(crate) fn import(namespace: &str, name: &str, source: &str, status: Value) -> ServiceAccountImport {
    let import = json!({
        "metadata": { "namespace": namespace, "name": name, "generation": 1,
                      "creationTimestamp": at(NOW - 60).to_string() },
        "spec": { "clusterName": source, "namespace": "default", "name": "pod-lister" },
        "status": status,
    });
    serde_json::from_value(import).unwrap()
}

/// The status of an import after a refresh that failed for this reason, if any.
pub(crate) fn import_status(is_ready: bool, failure: Option<&str>) -> Value {
    let ready = if is_ready { ("True", "TokenValid") } else { ("False", failure.unwrap_or("NoToken")) };
    let refreshed = failure.map_or(("True", "Refreshed"), |reason| ("False", reason));
    let conditions = [condition("Ready", ready.0, ready.1), condition("Refreshed", refreshed.0, refreshed.1)];
    json!({ "conditions": conditions, "observedGeneration": 1 })
}

pub(crate) fn imports(imports: impl IntoIterator<Item = ServiceAccountImport>) -> Option<Imports> {
    let key = |it: &ServiceAccountImport| (it.metadata.namespace.clone(), it.metadata.name.clone());
    let keyed = imports.into_iter().map(|import| (key(&import), import));
    Some(keyed.map(|((namespace, name), it)| ((namespace.unwrap(), name.unwrap()), it)).collect())
}

/// A link from c1 to a source.
pub(crate) fn link(source: &str, status: Value, secret: Option<Secret>) -> ExistingLink {
    let mut import = import(SYSTEM_NAMESPACE, source, source, status);
    import.spec.namespace = SYSTEM_NAMESPACE.into();
    import.spec.name = "c1".into();
    import.metadata.labels = Some([(LINK_LABEL.to_owned(), "true".to_owned())].into());
    ExistingLink { cluster_name: source.into(), import: Some(import), secret }
}

/// The Secret of a link to https://c2 whose token expires at this second.
pub(crate) fn link_secret(expires: i64) -> Secret {
    link_secret_bound_to(expires, None)
}

/// The same, with a token that is bound to this Secret in the source.
pub(crate) fn link_secret_bound_to(expires: i64, bound_to: Option<Value>) -> Secret {
    let account = json!({ "name": "c1", "uid": "u" });
    let claims = json!({ "iat": expires - 3600, "exp": expires,
        "kubernetes.io": { "namespace": SYSTEM_NAMESPACE, "serviceaccount": account, "secret": bound_to } });
    let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let kubeconfig = json!({
        "current-context": "c", "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
        "clusters": [{ "name": "c", "cluster": { "server": "https://c2" } }],
        "users": [{ "name": "c", "user": { "token": token } }],
    });
    let mut secret = Secret::default();
    secret.metadata.name = Some("c2-token".into());
    secret.data = Some([("kubeconfig".to_owned(), ByteString(kubeconfig.to_string().into_bytes()))].into());
    secret
}
