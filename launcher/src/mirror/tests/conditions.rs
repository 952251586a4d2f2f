//! Conditions, and readiness gates above all.

use super::*;
use crate::mirror::conditions::{READY, condition};

fn with_conditions(conditions: Value) -> Value {
    json!({ "phase": "Running", "conditions": conditions })
}

fn find<'a>(pod: &'a Pod, type_: &str) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    condition(pod.status.as_ref(), type_)
}

fn summary(pod: &Pod, type_: &str) -> Value {
    json!(find(pod, type_))
}

#[rstest]
#[case::all_true(json!([{ "type": "g", "status": "True", "lastTransitionTime": LATER }]), "True", None, LATER)]
#[case::missing(json!([]), "False", Some("corresponding condition of pod readiness gate \"g\" does not exist."), AT)]
#[case::false_(
    json!([{ "type": "g", "status": "False", "lastTransitionTime": LATER }]),
    "False",
    Some("the status of pod readiness gate \"g\" is not \"True\", but False"),
    LATER
)]
fn readiness_gates_are_evaluated_at_home(
    #[case] conditions: Value,
    #[case] ready: &str,
    #[case] message: Option<&str>,
    #[case] since: &str,
) {
    let mut home = home(with_conditions(conditions.clone()));
    let gates = json!([{ "conditionType": "g" }]);
    home.spec.as_mut().unwrap().readiness_gates = serde_json::from_value(gates).unwrap();
    let remote =
        remote(with_conditions(json!([{ "type": "Ready", "status": "True", "lastTransitionTime": AT }])));
    let after = mirrored(&home, &remote);
    let found = find(&after, READY).unwrap();
    assert_eq!((found.status.as_str(), found.message.as_deref()), (ready, message));
    assert_eq!(found.reason.as_deref(), message.map(|_| "ReadinessGatesNotReady"));
    assert_eq!(json!(found.last_transition_time), since);
    assert_eq!(summary(&after, "g"), conditions.get(0).cloned().unwrap_or_default());
}

#[test]
fn gate_that_closes_again_makes_the_pod_unready() {
    let gate = |status: &str, at: &str| json!({ "type": "g", "status": status, "lastTransitionTime": at });
    let mut open = home(with_conditions(json!([gate("True", AT)])));
    open.spec.as_mut().unwrap().readiness_gates =
        serde_json::from_value(json!([{ "conditionType": "g" }])).unwrap();
    let remote =
        remote(with_conditions(json!([{ "type": "Ready", "status": "True", "lastTransitionTime": AT }])));
    let open = mirrored(&open, &remote);
    assert_eq!(find(&open, READY).unwrap().status, "True");
    let mut closed = json!(open);
    for condition in closed["status"]["conditions"].as_array_mut().unwrap() {
        if condition["type"] == "g" {
            *condition = gate("False", LATER);
        }
    }
    let closed: Pod = serde_json::from_value(closed).unwrap();
    let patch = patch(&closed, &remote).unwrap();
    assert!(is_urgent(&closed, &patch));
    let ready = apply(&closed, &patch);
    assert_eq!(json!(find(&ready, READY).unwrap().last_transition_time), LATER);
}

#[test]
fn unready_containers_come_before_gates() {
    let mut home = home(with_conditions(json!([])));
    home.spec.as_mut().unwrap().readiness_gates =
        serde_json::from_value(json!([{ "conditionType": "g" }])).unwrap();
    let unready =
        json!({ "type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "m" });
    let home = mirrored(&home, &remote(with_conditions(json!([unready]))));
    assert_eq!(summary(&home, READY), unready);
}

#[test]
fn fields_that_are_no_more_are_removed() {
    let old =
        json!({ "type": "Ready", "status": "False", "reason": "R", "message": "m", "observedGeneration": 3 });
    let new = json!({ "type": "Ready", "status": "True", "lastTransitionTime": AT, "observedGeneration": 9 });
    let home = mirrored(&home(with_conditions(json!([old]))), &remote(with_conditions(json!([new]))));
    let expected =
        json!({ "type": "Ready", "status": "True", "lastTransitionTime": AT, "observedGeneration": 3 });
    assert_eq!(summary(&home, READY), expected);
}

#[test]
fn resize_conditions_come_and_go() {
    let pending = json!({ "type": "PodResizePending", "status": "True", "reason": "Deferred" });
    let home = mirrored(&bound(), &remote(with_conditions(json!([pending]))));
    assert_eq!(summary(&home, "PodResizePending"), pending);
    let home = mirrored(&home, &remote(with_conditions(json!([]))));
    assert_eq!(summary(&home, "PodResizePending"), Value::Null);
    assert!(find(&home, "PodScheduled").is_some());
}

#[rstest]
#[case::only_remote(None, Some(("True", AT)), Some("True"))]
#[case::only_home(Some(("True", AT)), None, Some("True"))]
#[case::withdrawn_at_home(Some(("False", LATER)), Some(("True", AT)), Some("False"))]
#[case::newer_in_the_source(Some(("False", AT)), Some(("True", LATER)), Some("True"))]
fn newer_disruption_counts(
    #[case] at_home: Option<(&str, &str)>,
    #[case] in_source: Option<(&str, &str)>,
    #[case] expected: Option<&str>,
) {
    let conditions = |one: Option<(&str, &str)>| {
        let condition = one.map(
            |(status, at)| json!({ "type": "DisruptionTarget", "status": status, "lastTransitionTime": at }),
        );
        with_conditions(condition.into_iter().collect())
    };
    let after = mirrored(&home(conditions(at_home)), &remote(conditions(in_source)));
    assert_eq!(find(&after, DISRUPTION_TARGET).map(|found| found.status.as_str()), expected);
}
