//! An import that this version of the importer can't read.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::ObjectMeta;
use mcsa_client::ServiceAccountImportStatus;
use mcsa_client::api::{REACHABLE, READY, REFRESHED};
use mcsa_runtime::errors;

use crate::clock::seconds;
use crate::model::failure::Reason;
use crate::model::key::ObjectKey;

/// Longest value of a field, apart from messages, that is kept.
const VALUE_MAX: usize = 253;

/// What is kept of an import that can't be read. The importer reports it, and leaves its Secret as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct UnreadableImport {
    pub key: ObjectKey,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    pub generation: Option<i64>,
    /// The name of the source; empty if that can't be read either.
    pub cluster_name: String,
    /// The field that can't be read, and why.
    pub problem: String,
    /// Its status, without long values.
    pub status: ServiceAccountImportStatus,
}

impl UnreadableImport {
    pub fn new(
        metadata: ObjectMeta,
        cluster_name: &str,
        problem: &str,
        status: Option<ServiceAccountImportStatus>,
    ) -> Self {
        let text = |value: Option<String>| value.unwrap_or_default().into_boxed_str();
        Self {
            key: ObjectKey::new(
                metadata.namespace.as_deref().unwrap_or_default(),
                metadata.name.as_deref().unwrap_or_default(),
            ),
            uid: text(metadata.uid),
            resource_version: text(metadata.resource_version),
            generation: metadata.generation,
            cluster_name: Some(cluster_name).filter(|name| is_short(name)).unwrap_or_default().to_owned(),
            problem: errors::short(problem),
            status: shortened(status.unwrap_or_default()),
        }
    }

    /// The status that it should have.
    pub fn status_at(&self, now: Timestamp) -> ServiceAccountImportStatus {
        let expires_at = self.status.expiration_time.as_ref().map(|time| time.0);
        let message = errors::short(&format!(
            "this version of the importer can't read the import, and leaves its Secret as it is: {}; correct the \
             import, or update the importer if the import is for a newer version",
            self.problem
        ));
        let refreshed = self.failed(REFRESHED, Reason::InvalidSpec.as_str(), message.clone(), now);
        let ready = match (self.condition(READY), expires_at) {
            (None, _) => self.failed(READY, Reason::InvalidSpec.as_str(), message, now),
            (Some(ready), Some(time)) if ready.status == "True" && time <= now => {
                self.failed(READY, "TokenExpired", format!("the token expired at {time:.0}"), now)
            }
            (Some(ready), _) => ready.clone(),
        };
        let reachable = self.condition(REACHABLE).cloned();
        ServiceAccountImportStatus {
            observed_generation: self.generation,
            conditions: [ready, refreshed].into_iter().chain(reachable).collect(),
            ..self.status.clone()
        }
    }

    /// When its token expires, which changes the status.
    pub fn expires_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.status.expiration_time.as_ref().map(|time| time.0).filter(|time| *time > now)
    }

    /// Whether its Secret holds a token that has not expired, according to the status.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        let is_true = self.condition(READY).is_some_and(|ready| ready.status == "True");
        is_true && self.expires_after(now).is_some()
    }

    fn failed(&self, type_: &str, reason: &str, message: String, now: Timestamp) -> Condition {
        let before = self.condition(type_).filter(|before| before.status == "False");
        Condition {
            type_: type_.into(),
            status: "False".into(),
            reason: reason.into(),
            message,
            observed_generation: self.generation,
            last_transition_time: before
                .map_or(Time(seconds(now)), |before| before.last_transition_time.clone()),
        }
    }

    fn condition(&self, type_: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

/// The status without long values, which the importer did not write.
fn shortened(mut status: ServiceAccountImportStatus) -> ServiceAccountImportStatus {
    let known = [READY, REFRESHED, REACHABLE];
    status.conditions.retain(|condition| {
        known.contains(&condition.type_.as_str())
            && is_short(&condition.reason)
            && is_short(&condition.status)
    });
    for condition in &mut status.conditions {
        condition.message = errors::short(&condition.message);
    }
    status.conditions.truncate(known.len());
    status.secrets.retain(|secret| is_short(&secret.name));
    status.secrets.truncate(1);
    let short = |value: Option<String>| value.filter(|value| is_short(value));
    ServiceAccountImportStatus {
        service_account_uid: short(status.service_account_uid.take()),
        checked_request: short(status.checked_request.take()),
        ..status
    }
}

fn is_short(value: &str) -> bool {
    value.len() <= VALUE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const PROBLEM: &str = "spec.name is missing";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn unreadable(status: Value) -> UnreadableImport {
        let metadata = ObjectMeta { generation: Some(2), ..Default::default() };
        UnreadableImport::new(metadata, "c2", PROBLEM, serde_json::from_value(status).unwrap())
    }

    fn ready(expires: i64) -> Value {
        json!({
            "secrets": [{ "name": "a-token" }],
            "expirationTime": at(expires).to_string(),
            "conditions": [
                { "type": "Ready", "status": "True", "reason": "TokenValid", "message": "",
                  "lastTransitionTime": at(0).to_string() },
                { "type": "Refreshed", "status": "True", "reason": "Refreshed", "message": "",
                  "lastTransitionTime": at(0).to_string() },
            ],
        })
    }

    fn conditions(status: &ServiceAccountImportStatus) -> Vec<(&str, &str, &str)> {
        let conditions = status.conditions.iter();
        conditions.map(|it| (it.type_.as_str(), it.status.as_str(), it.reason.as_str())).collect()
    }

    #[test]
    fn refresh_fails_and_a_valid_token_stays_ready() {
        let import = unreadable(ready(100));
        let status = import.status_at(at(10));
        assert_eq!(
            conditions(&status),
            [("Ready", "True", "TokenValid"), ("Refreshed", "False", "InvalidSpec")]
        );
        assert!(status.conditions[1].message.contains(PROBLEM), "{:?}", status.conditions[1]);
        assert_eq!((status.secrets.len(), status.observed_generation), (1, Some(2)));
        assert_eq!(import.expires_after(at(10)), Some(at(100)));
        // The same status is not written again.
        let reported = UnreadableImport { status, ..import };
        assert_eq!(reported.status_at(at(20)), reported.status);
        assert!(reported.is_ready(at(20)) && !reported.is_ready(at(100)));
        let expired = reported.status_at(at(100));
        assert_eq!(conditions(&expired)[0], ("Ready", "False", "TokenExpired"));
        assert_eq!(expired.conditions[1], reported.status.conditions[1]);
    }

    #[test]
    fn new_import_is_not_ready() {
        let status = unreadable(Value::Null).status_at(at(10));
        let expected = [("Ready", "False", "InvalidSpec"), ("Refreshed", "False", "InvalidSpec")];
        assert_eq!(conditions(&status), expected);
    }

    #[test]
    fn long_values_of_the_status_are_not_kept() {
        let long = "x ".repeat(100_000);
        let condition = |type_: &str| {
            json!({ "type": type_, "status": "True", "reason": "", "message": long,
                    "lastTransitionTime": at(0).to_string() })
        };
        let import = unreadable(json!({
            "secrets": [{ "name": long }],
            "checkedRequest": long,
            "conditions": [condition("Ready"), condition(&long)],
        }));
        assert!(format!("{import:?}").len() < 5_000);
    }
}
