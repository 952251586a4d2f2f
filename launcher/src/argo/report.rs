//! How argoexec in a remote pod reports the outputs of its step. Pure functions.
//!
//! At home, argoexec names its report after the node of the workflow, and makes the workflow its owner. In a source, other
//! workflows may have nodes of the same name: those of the source's own Argo, of other namespaces, and of other targets. And
//! a step that is tried again has the same node. In a source, a report is therefore named after the UID of the home pod: it
//! belongs to one pod, and no report of an earlier try has its name.

use serde_json::{Value, json};

/// Environment variables of argoexec: the name of its report, and the owner.
const NAME: &str = "ARGO_NODE_ID";
const OWNER: &str = "ARGO_WORKFLOW_NAME";
const OWNER_UID: &str = "ARGO_WORKFLOW_UID";

/// The report that argoexec will create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(super) name: String,
    /// Name and UID of the Workflow that owns it. argoexec also puts the name into a label.
    pub(super) owner: String,
    pub(super) owner_uid: String,
}

impl Report {
    /// Sets the variables of argoexec in a remote pod that name this report.
    pub(crate) fn configure(&self, pod: &mut Value) {
        for list in ["initContainers", "containers"] {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
            for container in containers {
                if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
                    self.set(variables);
                }
            }
        }
    }

    /// Changes the environment of a container if argoexec runs in it: Argo sets all three variables for argoexec, and only
    /// the first one for other containers.
    fn set(&self, variables: &mut [Value]) {
        let position = |name: &str| variables.iter().position(|variable| variable["name"] == name);
        let values = [(NAME, &self.name), (OWNER, &self.owner), (OWNER_UID, &self.owner_uid)];
        if let [Some(name), Some(owner), Some(owner_uid)] = values.map(|(name, _)| position(name)) {
            for (position, (name, value)) in [name, owner, owner_uid].into_iter().zip(values) {
                variables[position] = json!({ "name": name, "value": value });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argoexec_reports_under_the_name_of_the_home_pod() {
        let field =
            json!({ "name": "ARGO_POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } });
        let env = |[name, owner, uid]: [&str; 3]| json!([field, { "name": OWNER, "value": owner }, { "name": OWNER_UID, "value": uid }, { "name": NAME, "value": name }]);
        let of_user = json!([{ "name": OWNER, "value": "at-home" }, { "name": NAME, "value": "w-1" }]);
        let pod = |values| {
            json!({ "spec": {
                "initContainers": [{ "name": "init", "env": env(values) }],
                "containers": [
                    { "name": "wait", "env": env(values) },
                    { "name": "main", "env": of_user },
                    { "name": "side" },
                    { "name": "none", "env": null },
                ],
            } })
        };
        let mut remote = pod(["w-1", "w", "home"]);
        Report { name: "p".into(), owner: "launcher-c1".into(), owner_uid: "u".into() }
            .configure(&mut remote);
        assert_eq!(remote, pod(["p", "launcher-c1", "u"]));
    }
}
