//! The files of manifests/, compiled in: what `kubectl apply -k manifests` would apply.

pub mod confined;

use anyhow::Context;
use kube::api::DynamicObject;

use crate::cluster::object;

const NAMESPACE: (&str, &str) = ("namespace.yaml", include_str!("../../manifests/namespace.yaml"));
const CRD: (&str, &str) = ("crd.yaml", include_str!("../../manifests/crd.yaml"));

/// The files that kustomization.yaml lists, in its order, each with its name.
pub const FILES: [(&str, &str); 5] = [
    NAMESPACE,
    CRD,
    ("policy.yaml", include_str!("../../manifests/policy.yaml")),
    ("importer.yaml", include_str!("../../manifests/importer.yaml")),
    ("webhook.yaml", include_str!("../../manifests/webhook.yaml")),
];

/// Files that kubectl applies beside these in some targets, each with its name.
const BESIDE: [(&str, &str); 3] = [
    ("monitoring/prometheusrule.yaml", include_str!("../../manifests/monitoring/prometheusrule.yaml")),
    ("monitoring/podmonitor.yaml", include_str!("../../manifests/monitoring/podmonitor.yaml")),
    ("cert-manager/certificate.yaml", include_str!("../../manifests/cert-manager/certificate.yaml")),
];

/// All objects.
pub fn objects() -> anyhow::Result<Vec<DynamicObject>> {
    all(&FILES)
}

/// The objects that are applied beside these in targets with the Prometheus operator, or cert-manager.
pub fn beside() -> anyhow::Result<Vec<DynamicObject>> {
    all(&BESIDE)
}

fn all(files: &[(&str, &str)]) -> anyhow::Result<Vec<DynamicObject>> {
    files.iter().try_fold(Vec::new(), |mut objects, (name, text)| {
        objects.extend(object::parse(text).with_context(|| format!("manifests/{name}"))?);
        Ok(objects)
    })
}

/// The system namespace.
pub fn namespace() -> anyhow::Result<DynamicObject> {
    first(NAMESPACE)
}

/// The custom resource definition.
pub fn crd() -> anyhow::Result<DynamicObject> {
    first(CRD)
}

fn first((name, text): (&str, &str)) -> anyhow::Result<DynamicObject> {
    object::parse(text)?.into_iter().next().with_context(|| format!("manifests/{name} is empty"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::ResourceExt;
    use mcsa_credentials::contract;
    use serde_json::Value;

    fn find(kind: &str, name: &str) -> DynamicObject {
        let found = |object: &DynamicObject| object::kind(object) == kind && object.name_any() == name;
        objects().unwrap().into_iter().find(found).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    #[test]
    fn the_kustomization_lists_what_is_embedded() {
        let text = include_str!("../../manifests/kustomization.yaml");
        let kustomization: Value = serde_saphyr::from_str(text).unwrap();
        let listed: Vec<_> =
            kustomization["resources"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(listed, FILES.map(|(name, _)| name));
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests")).unwrap();
        let yaml = |path: std::path::PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
        let files = folder.filter(|entry| entry.as_ref().is_ok_and(|entry| yaml(entry.path())));
        assert_eq!(files.count(), FILES.len() + 1, "a file that kustomization.yaml does not list");
    }

    #[test]
    fn all_is_in_the_system_namespace() {
        for object in objects().unwrap() {
            let namespace = object.namespace();
            assert!(namespace.is_none_or(|namespace| namespace == contract::SYSTEM_NAMESPACE), "{object:?}");
        }
        assert_eq!(namespace().unwrap().name_any(), contract::SYSTEM_NAMESPACE);
    }

    #[test]
    fn the_webhook_is_called_for_what_the_contract_says() {
        let configuration = find("MutatingWebhookConfiguration", contract::webhook::CONFIGURATION);
        let webhooks = configuration.data["webhooks"].as_array().unwrap();
        assert!(webhooks.iter().map(|webhook| &webhook["name"]).eq(contract::webhook::ENTRIES));
        for webhook in webhooks {
            let enabled = &webhook["namespaceSelector"]["matchExpressions"][0];
            assert_eq!(enabled["key"], contract::NAMESPACE_LABEL);
            assert_eq!(enabled["values"][0], contract::ENABLED);
            let excluded = &webhook["namespaceSelector"]["matchExpressions"][1]["values"];
            assert!(excluded.as_array().unwrap().contains(&contract::SYSTEM_NAMESPACE.into()));
            let condition = webhook["matchConditions"][0]["expression"].as_str().unwrap();
            assert!(condition.contains(&format!("'{}' in ", contract::IMPORT_NAME)));
            assert!(webhook["clientConfig"].get("caBundle").is_none());
        }
    }

    #[test]
    fn the_webhook_is_called_where_it_listens() {
        let configuration = find("MutatingWebhookConfiguration", contract::webhook::CONFIGURATION);
        let reference = &configuration.data["webhooks"][0]["clientConfig"]["service"];
        assert_eq!(reference, &configuration.data["webhooks"][1]["clientConfig"]["service"]);
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
    fn the_policy_speaks_of_what_the_contract_names() {
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
        for said in users.iter().chain(&names).chain([&group]) {
            assert!(policy.contains(said), "{said} is not in {policy}");
        }
    }

    #[test]
    fn both_are_there_when_a_node_is_not() {
        for name in ["importer", "webhook"] {
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
        assert_eq!(webhook["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        // Its own end comes before the kubelet's.
        let delay = pod["containers"][0]["args"]
            .as_array()
            .unwrap()
            .iter()
            .find_map(|arg| arg.as_str()?.strip_prefix("--shutdown-delay=")?.parse::<i64>().ok());
        assert!(delay.unwrap() + 5 < pod["terminationGracePeriodSeconds"].as_i64().unwrap());
    }

    #[test]
    fn every_container_is_restricted() {
        for name in ["importer", "webhook"] {
            let pod = find("Deployment", name).data["spec"]["template"]["spec"].clone();
            assert_eq!(pod["serviceAccountName"], name);
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            let container = &pod["containers"][0];
            let version = env!("CARGO_PKG_VERSION");
            assert_eq!(container["image"], format!("multicluster-service-account/{name}:{version}"));
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["capabilities"]["drop"][0], "ALL");
        }
    }
}
