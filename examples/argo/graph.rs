//! The steps of a workflow, and where they ran.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::Value;

/// Argo's annotation with the ID of a pod's step.
const NODE_ID: &str = "workflows.argoproj.io/node-id";

/// A step with a pod.
pub struct Step {
    pub name: String,
    pub phase: String,
    /// The steps that it waited for.
    pub after: Vec<String>,
    /// Its result, if another step refers to it.
    pub result: Option<String>,
    /// Its pod in c1.
    pub pod: String,
    /// The node of that pod, which is a cluster if it is virtual.
    pub cluster: String,
}

/// The steps of a workflow in the order in which they ran. `status` is the workflow's, and `pods` are those of c1.
pub fn steps(status: &Value, pods: &[Pod]) -> Vec<Step> {
    let nodes = status["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values());
    let mut nodes: Vec<&Value> = nodes.filter(|node| node["type"] == "Pod").collect();
    // Argo's times have a precision of one second.
    nodes.sort_by_cached_key(|node| ["startedAt", "finishedAt", "displayName"].map(|name| field(node, name)));
    nodes.iter().map(|node| step(node, &nodes, pods)).collect()
}

fn step(node: &Value, nodes: &[&Value], pods: &[Pod]) -> Step {
    let id = field(node, "id");
    let is_before =
        |other: &Value| other["children"].as_array().into_iter().flatten().any(|child| *child == id);
    let after =
        nodes.iter().filter(|other| is_before(other)).map(|other| field(other, "displayName")).collect();
    let pod = pods.iter().find(|pod| pod.annotations().get(NODE_ID) == Some(&id));
    let cluster = pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone());
    Step {
        name: field(node, "displayName"),
        phase: field(node, "phase"),
        after,
        result: node["outputs"]["result"].as_str().map(str::to_owned),
        pod: pod.map(ResourceExt::name_any).unwrap_or_default(),
        cluster: cluster.unwrap_or_default(),
    }
}

fn field(node: &Value, name: &str) -> String {
    node[name].as_str().unwrap_or_default().to_owned()
}

/// A table with a line for each step.
pub fn table(steps: &[Step]) -> String {
    let line = |[name, phase, cluster, after, result]: [&str; 5]| {
        format!("{name:12} {phase:12} {cluster:10} {after:22} {result}\n")
    };
    let mut table = line(["STEP", "PHASE", "CLUSTER", "AFTER", "RESULT"]);
    for step in steps {
        let after = step.after.join(", ");
        let result = step.result.as_deref().unwrap_or("-");
        table += &line([&step.name, &step.phase, &step.cluster, &after, result]);
    }
    table
}
