//! Pods as an API server sends them to webhooks: with defaults, and a mount for the service account's token.

use mcsa_client::contract::IMPORT_NAME;
use serde_json::{Map, Value, json};

/// Number of kinds of pods, from one small container to several with long lists.
pub const KINDS: usize = 20;

/// A pod of a Deployment that names some imports.
pub fn pod(kind: usize, imports: &str) -> Value {
    let app = format!("checkout-{kind}");
    let containers: Vec<_> = (0..1 + kind % 4).map(|index| container(kind, index)).collect();
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{app}-6d5f7c9b48-"),
            "labels": {
                "app.kubernetes.io/name": app, "app.kubernetes.io/instance": "production",
                "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/version": "2.14.1",
                "pod-template-hash": "6d5f7c9b48", "team": "payments",
            },
            "annotations": {
                IMPORT_NAME: imports,
                "prometheus.io/scrape": "true", "prometheus.io/port": "9102", "prometheus.io/path": "/metrics",
                "checksum/config": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
                "kubectl.kubernetes.io/restartedAt": "2026-03-01T09:30:00Z",
            },
        },
        "spec": {
            "containers": containers,
            "volumes": [
                { "name": "config", "configMap": { "name": format!("{app}-config"), "defaultMode": 420 } },
                { "name": "certificates", "secret": { "secretName": format!("{app}-tls"), "defaultMode": 256 } },
                { "name": "cache", "emptyDir": { "sizeLimit": "1Gi" } },
                { "name": "tmp", "emptyDir": { "medium": "Memory" } },
                service_account_token(),
            ],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 45, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "serviceAccount": "default", "schedulerName": "default-scheduler",
            "securityContext": { "runAsNonRoot": true, "runAsUser": 10001, "fsGroup": 10001,
                "seccompProfile": { "type": "RuntimeDefault" } },
            "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": 300 },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": 300 },
            ],
            "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority", "priority": 0,
        },
        "status": {},
    });
    if !is_lean(kind) {
        let spread = json!({ "matchLabels": { "app.kubernetes.io/name": app } });
        pod["spec"]["initContainers"] = json!([container(kind, INIT)]);
        pod["spec"]["affinity"] = json!({ "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 100, "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname", "labelSelector": spread } }] } });
        pod["spec"]["topologySpreadConstraints"] = json!([{ "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": spread }]);
    }
    pod
}

/// Whether the pod has few fields, like a Job's.
fn is_lean(kind: usize) -> bool {
    kind.is_multiple_of(4)
}

/// The index of an init container, which has no ports and probes.
const INIT: usize = 9;

fn container(kind: usize, index: usize) -> Value {
    let probe = |path: &str, period: u32| {
        json!({ "httpGet": { "path": path, "port": "http", "scheme": "HTTP" }, "timeoutSeconds": 3,
            "periodSeconds": period, "successThreshold": 1, "failureThreshold": 3 })
    };
    let mount = |name: &str, path: &str, read_only: bool| {
        let mut mount = json!({ "name": name, "mountPath": path });
        if read_only {
            mount["readOnly"] = true.into();
        }
        mount
    };
    let mut container = json!({
        "name": format!("{}-{index}", ["server", "proxy", "exporter", "worker", "cache"][index % 5]),
        "image": format!(
            "registry.example.com/payments/checkout-{index}@sha256:\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        ),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/local/bin/checkout"],
        "args": ["serve", "--config=/etc/checkout/config.yaml", "--listen=0.0.0.0:8080", "--log-format=json"],
        "env": environment(2 + kind / 4 * 2),
        "envFrom": [{ "configMapRef": { "name": "checkout-environment", "optional": true } }],
        "resources": { "limits": { "cpu": "2", "memory": "1Gi" }, "requests": { "cpu": "250m", "memory": "512Mi" } },
        "volumeMounts": [
            mount("config", "/etc/checkout", true),
            mount("certificates", "/etc/checkout/tls", true),
            mount("cache", "/var/cache/checkout", false),
            mount("tmp", "/tmp", false),
            mount(TOKEN, "/var/run/secrets/kubernetes.io/serviceaccount", true),
        ],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] } },
    });
    if index != INIT && !is_lean(kind) {
        container["ports"] = json!([
            { "name": "http", "containerPort": 8080 + index, "protocol": "TCP" },
            { "name": "metrics", "containerPort": 9102 + index, "protocol": "TCP" },
        ]);
        container["livenessProbe"] = probe("/healthz", 10);
        container["readinessProbe"] = probe("/readyz", 5);
        container["lifecycle"] = json!({ "preStop": { "exec": { "command": ["/bin/sleep", "10"] } } });
    }
    container
}

/// Environment variables with plain values, and some with references.
fn environment(count: usize) -> Value {
    let variables = (0..count).map(|index| match index % 4 {
        0 => json!({ "name": format!("CHECKOUT_PASSWORD_{index}"), "valueFrom": {
            "secretKeyRef": { "name": "checkout-database", "key": format!("password-{index}") } } }),
        1 => json!({ "name": format!("CHECKOUT_POD_{index}"), "valueFrom": {
            "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } }),
        _ => json!({ "name": format!("CHECKOUT_ENDPOINT_{index}"),
            "value": format!("https://service-{index}.payments.svc.cluster.local:8443/v2") }),
    });
    variables.collect()
}

const TOKEN: &str = "kube-api-access-x7k2p";

/// The volume that the API server adds.
fn service_account_token() -> Value {
    json!({ "name": TOKEN, "projected": { "defaultMode": 420, "sources": [
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [{ "path": "namespace",
            "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } },
    ] } })
}

/// Managed fields of the whole pod, owned by its creator.
pub fn managed_fields(pod: &Value) -> Value {
    let mut owned = json!({ "f:metadata": fields(&pod["metadata"]), "f:spec": fields(&pod["spec"]) });
    if let Some(spec) = owned["f:spec"].as_object_mut() {
        spec.remove(".");
    }
    json!([{ "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
        "time": "2026-03-01T09:30:00Z", "fieldsType": "FieldsV1", "fieldsV1": owned }])
}

fn fields(value: &Value) -> Value {
    let entries: Map<String, Value> = match value {
        Value::Object(object) => {
            object.iter().map(|(name, value)| (format!("f:{name}"), fields(value))).collect()
        }
        // Lists whose items have a key. Other lists are owned as a whole.
        Value::Array(items) if items.iter().all(|item| key(item).is_some()) => {
            items.iter().filter_map(|item| Some((key(item)?, fields(item)))).collect()
        }
        _ => return json!({}),
    };
    let mut owned = Map::from_iter([(".".to_owned(), json!({}))]);
    owned.extend(entries);
    Value::Object(owned)
}

fn key(item: &Value) -> Option<String> {
    // The most specific key first.
    let key = ["mountPath", "containerPort", "name"].into_iter().find(|key| !item[*key].is_null())?;
    Some(format!("k:{{\"{key}\":{}}}", item[key]))
}
