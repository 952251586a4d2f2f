//! The files of manifests/, compiled in. `kubectl apply -k manifests` applies the same objects.

pub(crate) mod confined;

use anyhow::Context;
use kube::api::DynamicObject;

use crate::cluster::object;

const NAMESPACE: (&str, &str) = ("namespace.yaml", include_str!("../../manifests/namespace.yaml"));
const CRD: (&str, &str) = ("crd.yaml", include_str!("../../manifests/crd.yaml"));

/// The files that kustomization.yaml lists, in its order: names and contents.
pub(crate) const FILES: [(&str, &str); 6] = [
    NAMESPACE,
    CRD,
    ("policy.yaml", include_str!("../../manifests/policy.yaml")),
    ("importer.yaml", include_str!("../../manifests/importer.yaml")),
    ("webhook.yaml", include_str!("../../manifests/webhook.yaml")),
    ("launcher.yaml", include_str!("../../manifests/launcher.yaml")),
];

/// Files that users may apply in addition: names and contents.
const OPTIONAL: [(&str, &str); 3] = [
    ("monitoring/prometheusrule.yaml", include_str!("../../manifests/monitoring/prometheusrule.yaml")),
    ("monitoring/podmonitor.yaml", include_str!("../../manifests/monitoring/podmonitor.yaml")),
    ("cert-manager/certificate.yaml", include_str!("../../manifests/cert-manager/certificate.yaml")),
];

pub(crate) fn objects() -> anyhow::Result<Vec<DynamicObject>> {
    all(&FILES)
}

/// The objects for targets with the Prometheus operator or cert-manager.
pub(crate) fn optional() -> anyhow::Result<Vec<DynamicObject>> {
    all(&OPTIONAL)
}

fn all(files: &[(&str, &str)]) -> anyhow::Result<Vec<DynamicObject>> {
    files.iter().try_fold(Vec::new(), |mut objects, (name, text)| {
        objects.extend(object::parse(text).with_context(|| format!("manifests/{name}"))?);
        Ok(objects)
    })
}

pub(crate) fn namespace() -> anyhow::Result<DynamicObject> {
    first(NAMESPACE)
}

/// The definition of `ServiceAccountImport`.
pub(crate) fn crd() -> anyhow::Result<DynamicObject> {
    first(CRD)
}

/// The definition of `ImportPolicy`.
pub(crate) fn policy_crd() -> anyhow::Result<DynamicObject> {
    nth(CRD, 1)
}

fn first(file: (&str, &str)) -> anyhow::Result<DynamicObject> {
    nth(file, 0)
}

fn nth((name, text): (&str, &str), index: usize) -> anyhow::Result<DynamicObject> {
    object::parse(text)?
        .into_iter()
        .nth(index)
        .with_context(|| format!("manifests/{name} has only {index} objects"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::{CustomResourceExt, ResourceExt};
    use mcsa_client::{ImportPolicy, ServiceAccountImport};
    use mcsa_credentials::contract;
    use serde_json::{Value, json};

    /// Name of the launcher's ClusterRole, and of its Roles outside of the system namespace.
    const LAUNCHER_RIGHTS: &str = "multicluster-service-account-launcher";

    fn find(kind: &str, name: &str) -> DynamicObject {
        let found = |object: &DynamicObject| object::kind(object) == kind && object.name_any() == name;
        objects().unwrap().into_iter().find(found).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    #[test]
    fn the_embedded_definitions_are_up_to_date() {
        assert_eq!(
            serde_json::to_value(all(&[CRD]).unwrap()).unwrap(),
            serde_json::to_value([ServiceAccountImport::crd(), ImportPolicy::crd()]).unwrap(),
            "run: cargo run --package mcsa-client --example crd > manifests/crd.yaml"
        );
    }

    #[test]
    fn kustomization_lists_the_embedded_files() {
        let text = include_str!("../../manifests/kustomization.yaml");
        let kustomization: Value = serde_saphyr::from_str(text).unwrap();
        let listed: Vec<_> =
            kustomization["resources"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(listed, FILES.map(|(name, _)| name));
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests")).unwrap();
        let yaml = |path: std::path::PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
        let files = folder.filter(|entry| entry.as_ref().is_ok_and(|entry| yaml(entry.path())));
        assert_eq!(files.count(), FILES.len() + 1, "kustomization.yaml does not list a file");
    }

    #[test]
    fn all_objects_are_in_the_system_namespace() {
        // Kubernetes decides where these are that the launcher must reach.
        let elsewhere = [
            ("kube-node-lease", "Role", LAUNCHER_RIGHTS),
            ("kube-node-lease", "RoleBinding", LAUNCHER_RIGHTS),
            ("kube-system", "RoleBinding", LAUNCHER_RIGHTS),
        ];
        for object in objects().unwrap() {
            let Some(namespace) = object.namespace() else { continue };
            let place = (&*namespace, object::kind(&object), &*object.name_any());
            assert!(namespace == contract::SYSTEM_NAMESPACE || elsewhere.contains(&place), "{object:?}");
        }
        assert_eq!(namespace().unwrap().name_any(), contract::SYSTEM_NAMESPACE);
    }

    #[test]
    fn webhook_configuration_matches_the_contract() {
        let configuration = find("MutatingWebhookConfiguration", contract::webhook::CONFIGURATION);
        let webhooks = configuration.data["webhooks"].as_array().unwrap();
        assert!(webhooks.iter().map(|webhook| &webhook["name"]).eq(contract::webhook::ENTRIES));
        for webhook in webhooks {
            let excluded = &webhook["namespaceSelector"]["matchExpressions"]
                .as_array()
                .unwrap()
                .last()
                .unwrap()["values"];
            assert!(excluded.as_array().unwrap().contains(&contract::SYSTEM_NAMESPACE.into()));
            assert!(webhook["clientConfig"].get("caBundle").is_none());
        }
        for webhook in &webhooks[..2] {
            let enabled = &webhook["namespaceSelector"]["matchExpressions"][0];
            assert_eq!(enabled["key"], contract::NAMESPACE_LABEL);
            assert_eq!(enabled["values"][0], contract::ENABLED);
            let condition = webhook["matchConditions"][0]["expression"].as_str().unwrap();
            assert!(condition.contains(&format!("'{}'", contract::IMPORT_NAME)));
        }
        let condition = webhooks[0]["matchConditions"][0]["expression"].as_str().unwrap();
        for annotation in [contract::launch::ELECT, contract::launch::CLUSTER_NAME] {
            assert!(condition.contains(&format!("'{annotation}'")), "{annotation}: {condition}");
        }
    }

    #[test]
    fn webhook_configuration_service_and_port_match() {
        let configuration = find("MutatingWebhookConfiguration", contract::webhook::CONFIGURATION);
        let webhooks = configuration.data["webhooks"].as_array().unwrap();
        let reference = &webhooks[0]["clientConfig"]["service"];
        for webhook in webhooks {
            assert_eq!(&webhook["clientConfig"]["service"], reference);
        }
        assert_eq!(reference["path"], contract::webhook::PATH);
        assert_eq!(reference["name"], contract::webhook::SERVICE);
        let service = find("Service", contract::webhook::SERVICE);
        assert_eq!(service.namespace().as_deref(), reference["namespace"].as_str());
        assert_eq!(service.data["spec"]["ports"][0]["port"], reference["port"]);
        let deployment = find("Deployment", "webhook");
        let template = &deployment.data["spec"]["template"];
        let port = &template["spec"]["containers"][0]["ports"][0];
        assert_eq!(service.data["spec"]["ports"][0]["targetPort"], port["name"]);
        assert_eq!(port["containerPort"], 9443);
        for (key, value) in service.data["spec"]["selector"].as_object().unwrap() {
            assert_eq!(&template["metadata"]["labels"][key], value);
        }
    }

    #[test]
    fn policy_matches_the_contract() {
        let name = "multicluster-service-account-secrets";
        let policy = find("ValidatingAdmissionPolicy", name).data["spec"].to_string();
        let binding = find("ValidatingAdmissionPolicyBinding", name);
        assert_eq!(binding.data["spec"]["policyName"], name);
        let system = contract::SYSTEM_NAMESPACE;
        let users = ["importer", "webhook"].map(|name| find("ServiceAccount", name).name_any());
        let users = users.map(|name| format!("'system:serviceaccount:{system}:{name}'"));
        let names =
            [system, contract::webhook::CERTIFICATE, contract::IMPORT_NAME].map(|it| format!("'{it}'"));
        let group = format!("'{}/'", contract::GROUP);
        for name in users.iter().chain(&names).chain([&group]) {
            assert!(policy.contains(name), "{name} is not in {policy}");
        }
    }

    #[test]
    fn policy_of_the_webhook_configuration_matches_the_contract() {
        let name = "multicluster-service-account-webhook-configuration";
        let policy = find("ValidatingAdmissionPolicy", name).data["spec"].clone();
        let binding = find("ValidatingAdmissionPolicyBinding", name).data["spec"].clone();
        assert_eq!(binding["policyName"], name);
        assert_eq!(binding["validationActions"], json!(["Deny"]));
        assert_eq!(policy["failurePolicy"], "Fail");
        let user = format!(
            "'system:serviceaccount:{}:{}'",
            contract::SYSTEM_NAMESPACE,
            find("ServiceAccount", "webhook").name_any()
        );
        assert_eq!(
            policy["matchConditions"][0]["expression"],
            format!("request.userInfo.username == {user}")
        );
    }

    #[test]
    fn policies_of_the_launcher_match_the_contract() {
        use contract::launch::{FIELD_MANAGER, LAUNCHER, NODE_LABEL, NODE_TAINT, REMOTE_POD, REMOTE_UID};
        let user = format!("'system:serviceaccount:{}:{LAUNCHER}'", contract::SYSTEM_NAMESPACE);
        let (label, taint) = (format!("[?'{NODE_LABEL}']"), format!("'{NODE_TAINT}'"));
        for (name, expected) in [
            ("virtual-nodes", vec![&*label, &taint, FIELD_MANAGER]),
            ("virtual-node-leases", vec![FIELD_MANAGER]),
            ("launched-pods", vec![&taint, REMOTE_POD, REMOTE_UID]),
        ] {
            let name = format!("{}-{name}", contract::SYSTEM_NAMESPACE);
            let policy = find("ValidatingAdmissionPolicy", &name).data["spec"].to_string();
            assert_eq!(find("ValidatingAdmissionPolicyBinding", &name).data["spec"]["policyName"], name);
            for text in expected.into_iter().chain([&*user]) {
                assert!(policy.contains(text), "{text} is not in {policy}");
            }
        }
    }

    #[test]
    fn deployments_survive_the_loss_of_a_node() {
        for name in ["importer", "webhook", "launcher"] {
            let deployment = find("Deployment", name).data;
            assert_eq!(deployment["spec"]["replicas"], 2);
            let pod = &deployment["spec"]["template"]["spec"];
            assert_eq!(pod["topologySpreadConstraints"][0]["topologyKey"], "kubernetes.io/hostname");
            assert!(pod["containers"][0]["resources"]["requests"]["memory"].is_string());
            let budget = find("PodDisruptionBudget", name).data;
            assert_eq!(budget["spec"]["maxUnavailable"], 1);
            assert_eq!(budget["spec"]["selector"], deployment["spec"]["selector"]);
        }
        let webhook = find("Deployment", "webhook").data;
        let pod = &webhook["spec"]["template"]["spec"];
        let quota =
            &find("ResourceQuota", "critical-pods").data["spec"]["scopeSelector"]["matchExpressions"][0];
        assert_eq!(quota["values"][0], pod["priorityClassName"]);
        let launcher = &find("Deployment", "launcher").data["spec"]["template"]["spec"];
        let quota = &find("ResourceQuota", "critical-launcher-pods").data["spec"]["scopeSelector"];
        assert_eq!(quota["matchExpressions"][0]["values"][0], launcher["priorityClassName"]);
        assert_eq!(webhook["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        // The webhook must exit before the kubelet kills it.
        let delay = pod["containers"][0]["args"]
            .as_array()
            .unwrap()
            .iter()
            .find_map(|arg| arg.as_str()?.strip_prefix("--shutdown-delay=")?.parse::<i64>().ok());
        assert!(delay.unwrap() + 5 < pod["terminationGracePeriodSeconds"].as_i64().unwrap());
    }

    #[test]
    fn every_container_is_restricted() {
        for name in ["importer", "webhook", "launcher"] {
            let pod = find("Deployment", name).data["spec"]["template"]["spec"].clone();
            assert_eq!(pod["serviceAccountName"], name);
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            let container = &pod["containers"][0];
            let version = env!("CARGO_PKG_VERSION");
            assert_eq!(container["image"], format!("multicluster-service-account.invalid/{name}:{version}"));
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["capabilities"]["drop"][0], "ALL");
        }
    }
}
