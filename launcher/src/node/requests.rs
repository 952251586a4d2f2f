//! What a pod requests, as scheduler and quotas count it. A pure function.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::resources::Resources;
use crate::quantity::Amount;

/// The requests of a pod, with one pod among them. A pod that ended requests nothing.
pub(crate) fn requests(pod: &Pod) -> Resources {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let Some(spec) = pod.spec.as_ref().filter(|_| !matches!(phase, Some("Succeeded" | "Failed"))) else {
        return Resources::new();
    };
    let mut requests = of_containers(spec);
    // Requests of the pod as a whole replace those of its containers.
    let of_pod = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    requests.extend(amounts(of_pod));
    add(&mut requests, amounts(spec.overhead.as_ref()));
    requests.insert("pods".into(), Amount::whole(1));
    requests
}

/// Adds amounts, resource by resource.
pub(crate) fn add(sum: &mut Resources, amounts: impl IntoIterator<Item = (String, Amount)>) {
    for (name, amount) in amounts {
        let sum = sum.entry(name).or_default();
        *sum = *sum + amount;
    }
}

/// Containers and sidecars run together; other init containers run one by one, beside the sidecars before them.
fn of_containers(spec: &PodSpec) -> Resources {
    let (mut sidecars, mut peak) = (Resources::new(), Resources::new());
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, of_container(container));
        } else {
            let mut running = sidecars.clone();
            add(&mut running, of_container(container));
            raise(&mut peak, running);
        }
    }
    let mut running = sidecars;
    spec.containers.iter().for_each(|container| add(&mut running, of_container(container)));
    raise(&mut peak, running);
    peak
}

fn of_container(container: &Container) -> Resources {
    amounts(container.resources.as_ref().and_then(|resources| resources.requests.as_ref())).collect()
}

fn raise(peak: &mut Resources, amounts: Resources) {
    for (name, amount) in amounts {
        let peak = peak.entry(name).or_default();
        *peak = amount.max(*peak);
    }
}

fn amounts(
    quantities: Option<&BTreeMap<String, Quantity>>,
) -> impl Iterator<Item = (String, Amount)> + use<'_> {
    let quantities = quantities.into_iter().flatten();
    // The API server accepts no other quantities.
    quantities.filter_map(|(name, quantity)| Some((name.clone(), quantity.0.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::resources::quantities;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn container(cpu: &str) -> Value {
        json!({ "name": "a", "resources": { "requests": { "cpu": cpu }, "limits": { "cpu": "99" } } })
    }

    fn sidecar(cpu: &str) -> Value {
        let mut sidecar = container(cpu);
        sidecar["restartPolicy"] = json!("Always");
        sidecar
    }

    #[rstest]
    #[case::containers(json!({ "containers": [container("1"), container("500m")] }), "cpu=1500m pods=1")]
    #[case::no_requests(json!({ "containers": [{ "name": "a" }] }), "pods=1")]
    #[case::large_init_container(
        json!({ "containers": [container("1")], "initContainers": [container("3"), container("2")] }),
        "cpu=3 pods=1"
    )]
    #[case::sidecars_run_beside_what_follows(
        json!({
            "containers": [container("1")],
            "initContainers": [container("2500m"), sidecar("1"), container("2"), sidecar("500m")],
        }),
        "cpu=3 pods=1"
    )]
    #[case::pod_level(
        json!({
            "containers": [container("1")],
            "resources": { "requests": { "cpu": "2", "memory": "1Gi" } },
            "overhead": { "cpu": "250m" },
        }),
        "cpu=2250m memory=1Gi pods=1"
    )]
    fn pod_requests_what_its_containers_need(#[case] spec: Value, #[case] expected: &str) {
        let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
        let printed = quantities(&requests(&pod));
        let printed: Vec<_> = printed.iter().map(|(name, text)| format!("{name}={}", text.0)).collect();
        assert_eq!(printed.join(" "), expected);
    }

    #[rstest]
    #[case("Pending", false)]
    #[case("Running", false)]
    #[case("Unknown", false)]
    #[case("Succeeded", true)]
    #[case("Failed", true)]
    fn pod_that_ended_requests_nothing(#[case] phase: &str, #[case] is_nothing: bool) {
        let spec = json!({ "containers": [container("1")] });
        let pod = json!({ "metadata": {}, "spec": spec, "status": { "phase": phase } });
        assert_eq!(requests(&serde_json::from_value(pod).unwrap()).is_empty(), is_nothing);
    }
}
