//! Pods of Deployments, with the status that a kubelet reports.

use serde_json::{Value, json};

/// A pod, as a ReplicaSet creates it.
pub fn pod(number: u32) -> Value {
    let name = name(number);
    let app = number / 10;
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/name": format!("service-{app}"),
                "app.kubernetes.io/part-of": "shop",
                "pod-template-hash": format!("{app:010x}"),
            },
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "9090",
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("service-{app}"),
                "uid": format!("00000000-0000-4000-8000-{app:012}"),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "automountServiceAccountToken": false,
            "nodeName": format!("node-{}", number % 100),
            "containers": [{
                "name": "service",
                "image": format!("registry.example/shop/service-{app}:1.2.3"),
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "env": [
                    { "name": "LOG_LEVEL", "value": "info" },
                    { "name": "DATABASE", "valueFrom": { "secretKeyRef": { "name": "database", "key": "url" } } },
                ],
                "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
                "readinessProbe": { "httpGet": { "path": "/readyz", "port": 8080 }, "periodSeconds": 10 },
                "volumeMounts": [{ "name": "config", "mountPath": "/etc/service" }],
            }],
            "volumes": [{ "name": "config", "configMap": { "name": format!("service-{app}") } }],
        },
    })
}

/// The status that a kubelet reports once the pod runs.
pub fn running(number: u32) -> Value {
    let app = number / 10;
    let (time, ip) = ("2026-01-01T00:00:10Z", format!("10.{}.{}.7", number / 250, number % 250));
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": time });
    let host = format!("192.0.2.{}", number % 100);
    json!({ "status": {
        "phase": "Running",
        "conditions": [
            condition("PodReadyToStartContainers"),
            condition("Initialized"),
            condition("Ready"),
            condition("ContainersReady"),
            condition("PodScheduled"),
        ],
        "hostIP": host,
        "hostIPs": [{ "ip": host }],
        "podIP": ip,
        "podIPs": [{ "ip": ip }],
        "startTime": time,
        "containerStatuses": [{
            "name": "service",
            "state": { "running": { "startedAt": time } },
            "ready": true,
            "started": true,
            "restartCount": 0,
            "image": format!("registry.example/shop/service-{app}:1.2.3"),
            "imageID": format!("registry.example/shop/service-{app}@sha256:{app:064x}"),
            "containerID": format!("containerd://{number:064x}"),
        }],
    }})
}

/// The name of a pod. Names sort like their numbers.
pub fn name(number: u32) -> String {
    format!("service-{:06}-{number:05}", number / 10)
}
