//! What the cache keeps of an import.

use std::borrow::Cow;

use crate::message::one_line;
use kube::api::DynamicObject;
use mcsa_client::api::{ItemValue, READY, REFRESHED, SecretItem};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec, contract};

/// Longest reason, in characters. A condition's message may have 32 KiB; API servers may cut warnings after 256
/// characters.
const MAX_REASON: usize = 120;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Name of the Secret; it may not exist yet.
    pub secret: String,
    pub credential: Credential,
    /// Key of the Secret whose value is a kubeconfig that works from the mount.
    pub kubeconfig: Option<Cow<'static, str>>,
}

/// Whether an import's Secret holds a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    Present,
    /// Not yet; the reason and message of the import's condition.
    Absent(Option<String>),
}

impl Record {
    /// The record of a ready import with a default spec.
    pub(crate) fn with_defaults(name: &str) -> Self {
        let secret = ServiceAccountImportSpec::default().secret_name(name);
        Self { secret, credential: Credential::Present, kubeconfig: kubeconfig(&[]) }
    }

    /// Parses an import. An error names the field.
    pub(super) fn parse(import: DynamicObject) -> Result<Self, String> {
        let value = serde_json::to_value(import).map_err(|error| one_line(&error.to_string()))?;
        let import: ServiceAccountImport =
            serde_path_to_error::deserialize(value).map_err(|error| one_line(&error.to_string()))?;
        Ok(Self::of(&import))
    }

    pub(crate) fn of(import: &ServiceAccountImport) -> Self {
        let is_true = |type_| import.condition(type_).is_some_and(|condition| condition.status == "True");
        let named = import.status.as_ref().is_some_and(|status| !status.secrets.is_empty());
        let credential = if named && is_true(READY) {
            Credential::Present
        } else {
            // Why the last refresh failed is more useful than why there is no credential.
            let untrue = [REFRESHED, READY]
                .into_iter()
                .find(|&type_| !is_true(type_) && reason(import, type_).is_some());
            Credential::Absent(untrue.and_then(|type_| reason(import, type_)))
        };
        let items = import.spec.secret.as_ref().map(|secret| secret.items.as_slice()).unwrap_or_default();
        Self { secret: import.secret_name(), credential, kubeconfig: kubeconfig(items) }
    }
}

/// The key of the kubeconfig among these items. Prefers one that refers to the token and CA files beside it,
/// because it stays valid when they are refreshed; it requires their default names.
fn kubeconfig(items: &[SecretItem]) -> Option<Cow<'static, str>> {
    if items.is_empty() {
        return Some(contract::key::CONFIG.into());
    }
    let has = |key: &str, value| items.iter().any(|item| item.key == key && item.value == value);
    let has_files =
        has(contract::key::TOKEN, ItemValue::Token) && has(contract::key::CA, ItemValue::CABundle);
    let key_of = |value| items.iter().find(|item| item.value == value).map(|item| item.key.clone().into());
    let of_files = if has_files { key_of(ItemValue::KubeconfigFiles) } else { None };
    of_files.or_else(|| key_of(ItemValue::Kubeconfig))
}

fn reason(import: &ServiceAccountImport, type_: &str) -> Option<String> {
    let condition = import.condition(type_)?;
    let text = format!("{}: {}", condition.reason, condition.message);
    // The API server drops warnings that contain line breaks.
    let text = text.split(|c: char| c.is_control() || c.is_whitespace()).collect::<Vec<_>>().join(" ");
    let short: String = text.chars().take(MAX_REASON).collect();
    Some(if short.len() < text.len() { format!("{short}...") } else { short })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn import(status: Value) -> Value {
        json!({
            "apiVersion": "multicluster.admiralty.io/v1alpha1",
            "kind": "ServiceAccountImport",
            "metadata": { "name": "a", "namespace": "default" },
            "spec": { "clusterName": "c2", "namespace": "default", "name": "pod-lister" },
            "status": status,
        })
    }

    fn condition(type_: &str, status: &str, message: &str) -> Value {
        json!({
            "type": type_, "status": status, "reason": "Because", "message": message,
            "lastTransitionTime": "2024-01-01T00:00:00Z",
        })
    }

    #[rstest]
    #[case(json!({}), Credential::Absent(None))]
    #[case(json!({ "secrets": [{ "name": "a-token" }] }), Credential::Absent(None))]
    #[case(json!({ "conditions": [condition("Ready", "True", "")] }), Credential::Absent(None))]
    #[case(
        json!({ "secrets": [{ "name": "a-token" }], "conditions": [condition("Ready", "True", "")] }),
        Credential::Present
    )]
    #[case(
        json!({
            "secrets": [{ "name": "a-token" }],
            "conditions": [condition("Ready", "True", ""), condition("Refreshed", "False", "late")],
        }),
        Credential::Present
    )]
    #[case(
        json!({ "conditions": [condition("Ready", "False", "empty"), condition("Refreshed", "False", "no\nlink")] }),
        Credential::Absent(Some("Because: no link".into()))
    )]
    #[case(
        json!({
            "secrets": [{ "name": "a-token" }],
            "conditions": [condition("Refreshed", "True", ""), condition("Ready", "False", "expired")],
        }),
        Credential::Absent(Some("Because: expired".into()))
    )]
    fn credential_follows_the_status(#[case] status: Value, #[case] credential: Credential) {
        let import = serde_json::from_value(import(status)).unwrap();
        let kubeconfig = Some("config".into());
        assert_eq!(Record::of(&import), Record { secret: "a-token".into(), credential, kubeconfig });
    }

    #[rstest]
    #[case::defaults(json!([]), Some("config"))]
    #[case::files(
        json!([["token", "Token"], ["ca.crt", "CABundle"], ["all", "Kubeconfig"], ["c", "KubeconfigFiles"]]),
        Some("c")
    )]
    #[case::without_the_token(json!([["ca.crt", "CABundle"], ["c", "KubeconfigFiles"]]), None)]
    #[case::token_with_another_key(
        json!([["t", "Token"], ["ca.crt", "CABundle"], ["c", "KubeconfigFiles"], ["all", "Kubeconfig"]]),
        Some("all")
    )]
    #[case::other_value_named_token(
        json!([["token", "Server"], ["ca.crt", "CABundle"], ["c", "KubeconfigFiles"]]),
        None
    )]
    #[case::without_the_ca(json!([["token", "Token"], ["c", "KubeconfigFiles"]]), None)]
    #[case::other_value_named_config(json!([["config", "ArgoCDConfig"]]), None)]
    fn kubeconfig_key_follows_the_items(#[case] items: Value, #[case] expected: Option<&str>) {
        let item = |item: &Value| json!({ "key": item[0], "value": item[1] });
        let mut import = import(json!({}));
        import["spec"]["secret"] =
            json!({ "items": items.as_array().unwrap().iter().map(item).collect::<Vec<_>>() });
        assert_eq!(Record::of(&serde_json::from_value(import).unwrap()).kubeconfig.as_deref(), expected);
    }

    #[test]
    fn long_message_is_truncated() {
        let status = json!({ "conditions": [condition("Ready", "False", &"ä".repeat(32_000))] });
        let Credential::Absent(Some(text)) =
            Record::of(&serde_json::from_value(import(status)).unwrap()).credential
        else {
            panic!("no reason");
        };
        assert!(text.chars().count() < 130, "{text}");
    }

    #[rstest]
    #[case("/spec", json!({ "namespace": "n", "name": "n" }), "spec: missing field `clusterName`")]
    #[case("/spec/clusterName", json!(7), "spec.clusterName: invalid type: integer `7`, expected a string")]
    #[case(
        "/spec/secret",
        json!({ "items": [{ "key": "k", "value": "New\nValue" }] }),
        "spec.secret.items[0].value: unknown variant `New Value`"
    )]
    fn problem_names_the_field(#[case] field: &str, #[case] value: Value, #[case] expected: &str) {
        let mut import = import(json!({}));
        import["spec"]["secret"] = json!({});
        assert!(Record::parse(serde_json::from_value(import.clone()).unwrap()).is_ok());
        *import.pointer_mut(field).unwrap() = value;
        let problem = Record::parse(serde_json::from_value(import).unwrap()).unwrap_err();
        assert!(problem.starts_with(expected) && !problem.contains('\n'), "{problem}");
    }
}
