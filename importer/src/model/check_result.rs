//! The result of a connectivity check, as an import's status has it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use mcsa_client::ServiceAccountImportStatus;
use mcsa_client::api::REACHABLE;

/// What somebody who asked is told.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    /// The request that it answers.
    pub request: String,
    /// The condition `Reachable`.
    pub condition: Condition,
}

impl CheckResult {
    /// The answer that a status has.
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
    fn an_answer_is_read_back_from_the_status() {
        let condition = Condition {
            type_: REACHABLE.into(),
            status: "True".into(),
            reason: "Answered".into(),
            message: "c2 answers".into(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        let answer = CheckResult { request: "2026-01-01T00:00:00Z".into(), condition };
        let status = ServiceAccountImportStatus {
            conditions: vec![answer.condition.clone()],
            checked_request: Some(answer.request.clone()),
            ..Default::default()
        };
        assert_eq!(CheckResult::of(&status), Some(answer));
        assert_eq!(CheckResult::of(&ServiceAccountImportStatus { checked_request: None, ..status }), None);
    }
}
