//! The result of a connectivity check, as an import's status has it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use mcsa_client::ServiceAccountImportStatus;
use mcsa_client::api::REACHABLE;

/// The result of a connectivity check.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    /// Value of the annotation that requested it.
    pub request: String,
    /// The condition `Reachable`.
    pub condition: Condition,
}

impl CheckResult {
    /// Reads the result from a status.
    pub fn of(status: &ServiceAccountImportStatus) -> Option<Self> {
        let found = status.conditions.iter().find(|condition| condition.type_ == REACHABLE)?;
        Some(Self { request: status.checked_request.clone()?, condition: found.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn result_is_read_back_from_the_status() {
        let condition = Condition {
            type_: REACHABLE.into(),
            status: "True".into(),
            reason: "Answered".into(),
            message: "c2 answers".into(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        let result = CheckResult { request: "2026-01-01T00:00:00Z".into(), condition };
        let status = ServiceAccountImportStatus {
            conditions: vec![result.condition.clone()],
            checked_request: Some(result.request.clone()),
            ..Default::default()
        };
        assert_eq!(CheckResult::of(&status), Some(result));
        assert_eq!(CheckResult::of(&ServiceAccountImportStatus { checked_request: None, ..status }), None);
    }
}
