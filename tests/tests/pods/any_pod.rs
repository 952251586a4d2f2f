//! The API server accepts a pod with imports if it accepts the pod without them.

use futures::{StreamExt, TryStreamExt, stream};
use json_patch::patch as apply;
use mcsa_webhook::patch::{Import, RequestedImports, patch};
use mcsa_webhook::pod::Pod as View;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::Deserialize;

use super::*;

/// Number of generated pods.
const PODS: usize = 150;

/// Least percentage of them that the API server must accept, for the test to be meaningful.
const ACCEPTED: usize = 60;

/// Volumes of all kinds. The API server does not check that the referenced objects exist.
fn any_volumes() -> impl Strategy<Value = Vec<Value>> {
    let claim =
        json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    let sources = [
        json!({ "emptyDir": {} }),
        json!({ "emptyDir": { "medium": "Memory", "sizeLimit": "64Mi" } }),
        json!({ "hostPath": { "path": "/var/run", "type": "Directory" } }),
        json!({ "configMap": { "name": "c", "optional": true, "items": [{ "key": "k", "path": "p" }] } }),
        json!({ "secret": { "secretName": "a-token" } }),
        json!({ "secret": { "secretName": "s", "defaultMode": 256, "items": [{ "key": "k", "path": "p" }] } }),
        json!({ "projected": { "sources": [
            { "serviceAccountToken": { "path": "t", "audience": "a" } }, { "secret": { "name": "a-token" } },
        ] } }),
        json!({ "downwardAPI": { "items": [{ "path": "l", "fieldRef": { "fieldPath": "metadata.labels" } }] } }),
        json!({ "persistentVolumeClaim": { "claimName": "c", "readOnly": true } }),
        json!({ "ephemeral": { "volumeClaimTemplate": { "spec": claim } } }),
        json!({ "nfs": { "server": "n", "path": "/" } }),
        json!({ "csi": { "driver": "d.example.com" } }),
    ];
    let count = sources.len();
    subsequence(sources.to_vec(), 0..count.min(5)).prop_map(|sources| {
        let named = |(i, mut source): (usize, Value)| {
            source["name"] = format!("v{i}").into();
            source
        };
        sources.into_iter().enumerate().map(named).collect()
    })
}

/// A container of a pod with this number of volumes.
fn any_container(volumes: usize) -> impl Strategy<Value = Value> {
    let paths = ["/data", "/var/run", "/var/run/secrets/", MOUNT_ROOT, "/a/../b", "relative", "/run//x"];
    let mounts = subsequence(paths.to_vec(), 0..=volumes.min(3)).prop_flat_map(move |paths| {
        let mount = |path: &str| {
            let mount = json!({ "mountPath": path });
            (0..volumes, select(vec!["", "subPath", "readOnly"])).prop_map(move |(volume, how)| {
                let mut mount = mount.clone();
                mount["name"] = format!("v{volume}").into();
                match how {
                    "subPath" => mount["subPath"] = "part".into(),
                    "readOnly" => mount["readOnly"] = true.into(),
                    _ => {}
                }
                mount
            })
        };
        paths.into_iter().map(mount).collect::<Vec<_>>()
    });
    let env = select(vec![
        json!({ "name": "A", "value": "$(B)" }),
        json!({ "name": "KUBECONFIG", "value": "/mine" }),
        json!({ "name": "KUBECONFIG", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } }),
        json!({ "name": "not a name=", "value": "" }),
    ]);
    let more = select(vec![
        json!({}),
        json!({ "envFrom": [{ "configMapRef": { "name": "c" } }] }),
        json!({ "resources": { "requests": { "cpu": "1" }, "limits": { "memory": "1Gi" } } }),
        json!({ "securityContext": { "runAsNonRoot": true } }),
        json!({ "ports": [{ "containerPort": 80 }], "workingDir": "/", "command": ["sh"], "tty": true }),
    ]);
    (option::of(mounts), option::of(vec(env, 0..2)), more).prop_map(|(mounts, env, mut container)| {
        container["image"] = "i".into();
        for (field, list) in [("volumeMounts", mounts), ("env", env)] {
            if let Some(list) = list {
                container[field] = list.into();
            }
        }
        container
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    any_volumes().prop_flat_map(|volumes| {
        let container = any_container(volumes.len());
        let init = (any_container(volumes.len()), any::<bool>()).prop_map(|(mut container, sidecar)| {
            if sidecar {
                container["restartPolicy"] = "Always".into();
            }
            container
        });
        let more = select(vec![
            json!({}),
            json!({ "hostNetwork": true, "hostPID": true, "dnsPolicy": "ClusterFirstWithHostNet" }),
            json!({ "securityContext": { "fsGroup": 1, "runAsNonRoot": true }, "automountServiceAccountToken": false }),
            json!({ "tolerations": [{ "operator": "Exists" }], "nodeSelector": { "a": "b" } }),
            json!({ "schedulingGates": [{ "name": "a.example.com/b" }], "restartPolicy": "OnFailure" }),
            json!({ "os": { "name": "windows" }, "hostAliases": [{ "ip": "192.0.2.1", "hostnames": ["h"] }] }),
            json!({ "serviceAccountName": "absent" }),
        ]);
        (Just(volumes), vec(init, 0..3), vec(container, 1..4), more).prop_map(|(volumes, init, main, mut spec)| {
            let named = |kind: &str, list: Vec<Value>| -> Vec<Value> {
                let named = |(i, mut container): (usize, Value)| {
                    container["name"] = format!("{kind}{i}").into();
                    container
                };
                list.into_iter().enumerate().map(named).collect()
            };
            spec["volumes"] = volumes.into();
            spec["initContainers"] = named("init", init).into();
            spec["containers"] = named("main", main).into();
            spec
        })
    })
}

/// Imports whose volume names may collide or be too long.
fn any_request() -> impl Strategy<Value = RequestedImports> {
    let long = |end: &str| format!("{}{end}", "x".repeat(63));
    let names =
        ["a", "b.c", "b-c", "0.0", "sai-a", "a-0123456789", &long("a"), &long("b"), &"y.".repeat(120)];
    let names: Vec<_> = names.iter().map(|name| name.trim_end_matches('.').to_owned()).collect();
    (subsequence(names, 1..5), any::<bool>()).prop_map(|(names, kubeconfig_env)| {
        let import = |name: String| Import {
            secret: format!("{name}-token"),
            kubeconfig: Some("config".into()),
            name,
        };
        RequestedImports { imports: names.into_iter().map(import).collect(), kubeconfig_env }
    })
}

/// Whether `after` has all of `before`, and lists are only extended.
fn is_preserved(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Array(before), Value::Array(after)) => {
            before.len() <= after.len()
                && before.iter().zip(after).all(|(before, after)| is_preserved(before, after))
        }
        (Value::Object(before), Value::Object(after)) => {
            before.iter().all(|(key, value)| after.get(key).is_some_and(|after| is_preserved(value, after)))
        }
        (before, after) => before == after,
    }
}

/// The pod as the API server would store it.
async fn dry_run(pods: &Api<Pod>, pod: &Value) -> anyhow::Result<Value> {
    let params = PostParams { dry_run: true, ..Default::default() };
    let stored = pods.create(&params, &serde_json::from_value(pod.clone())?).await?;
    // Only what is needed to create it again.
    Ok(json!({ "metadata": { "name": stored.metadata.name }, "spec": stored.spec }))
}

/// Creates a pod without imports, then with them. `None`: the API server rejects the first.
async fn try_pod(pods: &Api<Pod>, pod: Value, requested: &RequestedImports) -> anyhow::Result<Option<()>> {
    let Ok(before) = dry_run(pods, &pod).await else { return Ok(None) };
    let mut patched = before.clone();
    apply(&mut patched, &patch(&View::deserialize(&before)?, requested)?)?;
    let after = dry_run(pods, &patched).await.with_context(|| format!("with imports: {patched:#}"))?;
    ensure!(is_preserved(&before, &after), "something was changed from {before:#} to {after:#}");
    ensure!(patch(&View::deserialize(&after)?, requested)?.is_empty(), "more for {after:#}");
    let stored: Pod = serde_json::from_value(after)?;
    let spec = spec(&stored)?;
    let is_for_windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let missing = requested.imports.iter().find(|import| !mounts_import(spec, container, &import.name));
        ensure!(missing.is_none(), "{} lacks {missing:?} in {stored:?}", container.name);
        let sets = container.env.iter().flatten().any(|env| env.name == "KUBECONFIG");
        ensure!(sets || !requested.kubeconfig_env, "{container:?}");
        let paths = variable(container, "KUBECONFIG").unwrap_or_default();
        ensure!(!paths.contains(if is_for_windows { ':' } else { ';' }), "{container:?}");
    }
    Ok(Some(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_pods_are_accepted_with_imports() -> anyhow::Result<()> {
    let cluster = &fixture().await.cluster;
    let pods = Api::namespaced(cluster.client(), "default");
    // The same pods in each run.
    let mut runner = TestRunner::deterministic();
    let mut generate = || (any_pod(), any_request()).new_tree(&mut runner).map(|tree| tree.current());
    let generated = (0..PODS).map(|_| generate()).collect::<Result<Vec<_>, _>>();
    let generated = generated.map_err(|reason| anyhow::anyhow!("{reason}"))?;
    let attempts = generated.into_iter().enumerate().map(async |(i, (spec, requested))| {
        let pod = json!({ "metadata": { "name": format!("p{i}") }, "spec": spec });
        try_pod(&pods, pod, &requested).await
    });
    let results: Vec<_> = stream::iter(attempts).buffer_unordered(8).try_collect().await?;
    let accepted = results.iter().flatten().count();
    eprintln!("ACCEPTED {accepted}");
    ensure!(accepted * 100 >= PODS * ACCEPTED, "only {accepted} of {PODS} pods are accepted as they are");
    Ok(())
}
