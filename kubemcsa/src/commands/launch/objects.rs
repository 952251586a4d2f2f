//! The objects in both clusters. They are plain YAML, which can also be applied by hand.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::Resource;
use kube::api::{DynamicObject, ObjectMeta};
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::{ARGO, CAPACITY, LABEL, LAUNCHER};
use mcsa_credentials::contract::{ENABLED, NAMESPACE_LABEL, SYSTEM_NAMESPACE, TARGET_UID};
use mcsa_credentials::names::stub_workflow;
use serde_json::json;

use super::args::PodSecurity;
use super::model::Launch;
use crate::cluster::object::{self, PART_OF};
use crate::link::launcher;

/// Label of a namespace: the Pod Security level that it enforces.
pub(crate) const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

const RBAC: &str = "rbac.authorization.k8s.io";

/// The remote namespace, if it is missing.
pub(crate) fn remote_namespace(launch: &Launch, level: PodSecurity) -> anyhow::Result<DynamicObject> {
    let metadata = ObjectMeta {
        name: Some(launch.remote_namespace.clone()),
        labels: Some([(ENFORCE.to_owned(), level.level().to_owned())].into()),
        ..Default::default()
    };
    object::dynamic(&Namespace { metadata, ..Default::default() })
}

/// The launcher's service account in the remote namespace, with its rights there. The link's right to mint its token is
/// one of the link's grants.
pub(crate) fn source_objects(launch: &Launch) -> anyhow::Result<Vec<DynamicObject>> {
    let metadata = ObjectMeta {
        name: Some(launch.account()),
        namespace: Some(launch.remote_namespace.clone()),
        labels: Some([(PART_OF.to_owned(), SYSTEM_NAMESPACE.to_owned())].into()),
        annotations: Some([(TARGET_UID.to_owned(), launch.target_uid.clone())].into()),
        ..Default::default()
    };
    let mut objects =
        vec![object::dynamic(&ServiceAccount { metadata: metadata.clone(), ..Default::default() })?];
    let account = service_account(&launch.account(), &launch.remote_namespace);
    objects.extend(granted(metadata.clone(), rules(), account.clone())?);
    if launch.argo {
        let [argo, argoexec] = launcher::argo_names(&launch.target);
        let named = |name: String| ObjectMeta { name: Some(name), ..metadata.clone() };
        let stub = PolicyRule {
            resource_names: Some(vec![stub_workflow(&launch.account())]),
            ..in_group("argoproj.io", rule(&["workflows"], &["get"]))
        };
        let rights = vec![task_results(&["get", "list", "watch", "patch", "delete"]), stub];
        objects.extend(granted(named(argo), rights, account)?);
        // argoexec has the rights of the step's pod, which may use any service account of the namespace.
        let pods = Subject {
            api_group: Some(RBAC.into()),
            kind: "Group".into(),
            name: format!("system:serviceaccounts:{}", launch.remote_namespace),
            namespace: None,
        };
        objects.extend(granted(named(argoexec), vec![task_results(&["create", "patch"])], pods)?);
        if launch.stub {
            objects.push(launcher::stub(metadata));
        }
    }
    Ok(objects)
}

/// *Absent:* Secrets and ConfigMaps. What pods refer to must exist in the remote namespace.
fn rules() -> Vec<PolicyRule> {
    vec![
        rule(&["pods"], &["create", "get", "list", "watch", "patch", "delete"]),
        rule(&["pods/log"], &["get"]),
        // `get` for WebSockets.
        rule(&["pods/exec", "pods/attach", "pods/portforward"], &["get", "create"]),
        rule(&["events", "resourcequotas"], &["list", "watch"]),
        // For kubectl top and autoscalers.
        in_group("metrics.k8s.io", rule(&["pods"], &["list"])),
    ]
}

/// The launcher's rights in the target's namespace, and the import itself, last.
pub(crate) fn target_objects(launch: &Launch) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = target_rights(launch, &launch.import())?;
    objects.push(import(launch)?);
    Ok(objects)
}

/// The launcher's rights to read the Secret of the import with this name, and to write the outputs of Argo's steps.
pub(crate) fn target_rights(launch: &Launch, import: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let named = |name: String| ObjectMeta {
        name: Some(name),
        namespace: Some(launch.namespace.clone()),
        labels: Some(
            [(PART_OF.to_owned(), SYSTEM_NAMESPACE.to_owned()), (LABEL.to_owned(), "true".to_owned())].into(),
        ),
        ..Default::default()
    };
    let launcher = service_account(LAUNCHER, SYSTEM_NAMESPACE);
    let secret = Some(vec![format!("{import}-token")]);
    let read = PolicyRule { resource_names: secret, ..rule(&["secrets"], &["get"]) };
    let mut objects = granted(named(import.to_owned()), vec![read], launcher.clone())?;
    if launch.argo {
        let rights = vec![task_results(&["create", "patch"])];
        objects.extend(granted(named(format!("{import}-argo")), rights, launcher)?);
    }
    Ok(objects)
}

/// The fields that have defaults are left to the API server.
pub(crate) fn import(launch: &Launch) -> anyhow::Result<DynamicObject> {
    let mut metadata = json!({
        "name": launch.import(), "namespace": launch.namespace, "labels": { LABEL: "true" },
    });
    if let Some(capacity) = &launch.capacity {
        metadata["annotations"][CAPACITY] = json!(capacity);
    }
    if launch.argo {
        metadata["annotations"][ARGO] = json!("true");
    }
    object::dynamic(&json!({
        "apiVersion": ServiceAccountImport::api_version(&()),
        "kind": ServiceAccountImport::kind(&()),
        "metadata": metadata,
        "spec": {
            "clusterName": launch.source,
            "namespace": launch.remote_namespace,
            "name": launch.account(),
        },
    }))
}

/// The target's namespace with the label that enables the webhook, and nothing else.
pub(crate) fn enabled_namespace(namespace: &str) -> anyhow::Result<DynamicObject> {
    let metadata = ObjectMeta {
        name: Some(namespace.to_owned()),
        labels: Some([(NAMESPACE_LABEL.to_owned(), ENABLED.to_owned())].into()),
        ..Default::default()
    };
    object::dynamic(&Namespace { metadata, ..Default::default() })
}

/// A Role, and a RoleBinding of the same name.
fn granted(
    metadata: ObjectMeta,
    rules: Vec<PolicyRule>,
    subject: Subject,
) -> anyhow::Result<Vec<DynamicObject>> {
    let name = metadata.name.clone().unwrap_or_default();
    let role_ref = RoleRef { api_group: RBAC.into(), kind: "Role".into(), name };
    let role = Role { metadata: metadata.clone(), rules: Some(rules) };
    let binding = RoleBinding { metadata, role_ref, subjects: Some(vec![subject]) };
    Ok(vec![object::dynamic(&role)?, object::dynamic(&binding)?])
}

fn service_account(name: &str, namespace: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".into(),
        name: name.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Default::default()
    }
}

fn task_results(verbs: &[&str]) -> PolicyRule {
    in_group("argoproj.io", rule(&["workflowtaskresults"], verbs))
}

fn in_group(group: &str, rule: PolicyRule) -> PolicyRule {
    PolicyRule { api_groups: Some(vec![group.to_owned()]), ..rule }
}

fn rule(resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::ResourceExt;

    fn launch() -> Launch {
        Launch {
            target: "c1".into(),
            target_uid: "uid".into(),
            source: "c2".into(),
            namespace: "team-a".into(),
            remote_namespace: "batch".into(),
            argo: false,
            stub: false,
            capacity: Some("cpu=1".into()),
        }
    }

    #[test]
    fn launcher_has_no_rights_on_secrets_and_configmaps_of_the_source() {
        let rules = source_objects(&launch()).unwrap()[1].data["rules"].to_string();
        assert!(!rules.contains("secrets") && !rules.contains("configmaps"), "{rules}");
    }

    #[test]
    fn launcher_reads_one_secret_in_the_target() {
        let objects = target_objects(&launch()).unwrap();
        let names: Vec<_> = objects.iter().map(|it| (object::kind(it), it.name_any())).collect();
        let name = "launch-c2-batch".to_owned();
        let expected = ["Role", "RoleBinding", "ServiceAccountImport"].map(|kind| (kind, name.clone()));
        assert_eq!(names, expected);
        let rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"],
            "resourceNames": ["launch-c2-batch-token"] }]);
        assert_eq!(objects[0].data["rules"], rules);
        assert_eq!(objects[1].data["subjects"][0]["name"], LAUNCHER);
        assert_eq!(objects[1].data["subjects"][0]["namespace"], SYSTEM_NAMESPACE);
        assert_eq!(objects[1].data["roleRef"]["name"], "launch-c2-batch");
    }

    #[test]
    fn rights_to_outputs_of_steps_are_apart() {
        let launch = Launch { argo: true, ..launch() };
        let names = |objects: Vec<DynamicObject>| -> Vec<_> {
            let roles = objects.iter().filter(|object| object::kind(object) == "Role");
            roles.map(ResourceExt::name_any).collect()
        };
        let (source, target) = (source_objects(&launch).unwrap(), target_objects(&launch).unwrap());
        assert_eq!(source.len(), 7);
        assert_eq!(source[6].data["subjects"][0]["name"], "system:serviceaccounts:batch");
        assert_eq!(target.last().unwrap().annotations()[ARGO], "true");
        assert_eq!(names(source), ["launcher-c1", "launcher-c1-argo", "launcher-c1-argoexec"]);
        assert_eq!(names(target), ["launch-c2-batch", "launch-c2-batch-argo"]);
    }

    #[test]
    fn stub_is_no_workflow_of_any_controller() {
        let launch = Launch { argo: true, stub: true, ..launch() };
        let stub = source_objects(&launch).unwrap().pop().unwrap();
        assert_eq!((object::kind(&stub), &*stub.name_any()), ("Workflow", "launcher-c1"));
        assert_eq!(stub.labels()["workflows.argoproj.io/controller-instanceid"], SYSTEM_NAMESPACE);
        assert_eq!(stub.data["spec"], json!({ "suspend": true }));
    }

    #[test]
    fn secret_of_the_import_is_the_one_in_the_role() {
        let launch = launch();
        let import: ServiceAccountImport = import(&launch).unwrap().try_parse().unwrap();
        assert_eq!(import.secret_name(), "launch-c2-batch-token");
        assert_eq!(import.annotations()[CAPACITY], "cpu=1");
        assert_eq!(
            (import.spec.cluster_name.as_str(), import.spec.namespace.as_str(), import.spec.name.as_str()),
            ("c2", "batch", "launcher-c1")
        );
    }
}
