//! Properties that hold for any pod and any imports.

use std::collections::BTreeSet;

use super::*;
use mcsa_credentials::names::is_dns_subdomain;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// Names whose volume names may collide: with the same first characters, with dots in place of hyphens, or with a
/// suffix like the hash of a truncated name.
fn any_name() -> impl Strategy<Value = String> {
    let long = |length: usize| (Just("x".repeat(length)), "[a-z.-]{0,3}[ab]").prop_map(|(a, b)| a + &b);
    prop_oneof![
        "[a-c]([.-]?[a-c]){0,3}",
        long(60),
        long(249),
        "[a-b][.-][0-9a-f]{10}",
        any::<bool>().prop_map(|b| dns_label("sai-", if b { "a.b" } else { "c.d" })[4..].to_owned()),
    ]
    .prop_filter("a valid object name", |name| is_dns_subdomain(name))
}

fn any_request() -> impl Strategy<Value = RequestedImports> {
    let kubeconfig = select(vec![None, Some("config".into()), Some("other".into())]);
    let imports = vec((any_name(), kubeconfig), 0..5);
    (imports, any::<bool>()).prop_map(|(imports, kubeconfig_env)| {
        let mut seen = BTreeSet::new();
        let imports = imports.into_iter().filter(|(name, _)| seen.insert(name.clone()));
        let imports = imports.map(|(name, kubeconfig)| Import { kubeconfig, ..import(&name) });
        RequestedImports { imports: imports.collect(), kubeconfig_env }
    })
}

fn any_container() -> impl Strategy<Value = Value> {
    let mount =
        ("[a-z]{1,5}", "(/[a-z]{1,3}){1,3}/?", option::of("[a-z]{1,3}")).prop_map(|(name, path, part)| {
            match part {
                None => json!({ "name": name, "mountPath": path }),
                Some(part) => json!({ "name": name, "mountPath": path, "subPath": part }),
            }
        });
    let env = select(vec!["A", "KUBECONFIG"]).prop_map(|name| json!({ "name": name, "value": "mine" }));
    let lists = (option::of(vec(mount, 0..3)), option::of(vec(env, 0..3)));
    ("[a-z]{1,5}", lists, any::<bool>()).prop_map(|(name, (mounts, env), null)| {
        let mut container = json!({ "name": name, "image": "i", "resources": {} });
        for (field, list) in [("volumeMounts", mounts), ("env", env)] {
            match list {
                Some(list) => container[field] = list.into(),
                None if null => container[field] = Value::Null,
                None => {}
            }
        }
        container
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    let volume = ("[a-z]{1,5}", any::<bool>()).prop_map(|(name, secret)| {
        if secret { volume(&name, "a-token") } else { json!({ "name": name, "hostPath": { "path": "/" } }) }
    });
    let containers = || option::of(vec(any_container(), 0..4));
    (option::of(vec(volume, 0..3)), containers(), containers(), containers()).prop_map(
        |(volumes, init, main, ephemeral)| {
            let mut spec = json!({ "nodeName": "n" });
            let lists = [
                ("volumes", volumes),
                ("initContainers", init),
                ("containers", main),
                ("ephemeralContainers", ephemeral),
            ];
            for (field, value) in lists {
                if let Some(value) = value {
                    spec[field] = value.into();
                }
            }
            json!({ "metadata": { "labels": { "a": "b" } }, "spec": spec })
        },
    )
}

/// Whether `after` only adds lists, and items at the end of lists.
fn only_added(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Array(before), Value::Array(after)) => {
            before.len() <= after.len()
                && before.iter().zip(after).all(|(before, after)| only_added(before, after))
        }
        (Value::Object(before), Value::Object(after)) => {
            before.iter().all(|(key, value)| after.get(key).is_some_and(|after| only_added(value, after)))
        }
        (Value::Null, Value::Array(_)) => true,
        (before, after) => before == after,
    }
}

/// Checks that each container mounts each import once, and sets the variable if requested.
fn check(pod: &Value, requested: &RequestedImports) -> Result<(), TestCaseError> {
    let pod = parse(pod);
    let spec = pod.spec.as_ref().unwrap();
    let import_mounts: Vec<_> = requested.imports.iter().map(ImportMount::of).collect();
    let names: BTreeSet<_> = import_mounts.iter().map(|import_mount| import_mount.volume.as_str()).collect();
    prop_assert_eq!(names.len(), import_mounts.len(), "volume names are unique");
    for import_mount in &import_mounts {
        prop_assert!(
            import_mount.volume.len() <= 63 && is_dns_subdomain(&import_mount.volume),
            "{}",
            import_mount.volume
        );
        let volumes = spec.volumes.iter().flatten().filter(|volume| *volume.name == *import_mount.volume);
        prop_assert_eq!(volumes.filter(|volume| volume.is_secret(&import_mount.import.secret)).count(), 1);
        for (_, _, container) in spec.containers() {
            let mounts = container.volume_mounts.iter().flatten();
            let at_path = mounts.filter(|mount| *mount.mount_path == *import_mount.path);
            prop_assert_eq!(at_path.filter(|mount| *mount.name == *import_mount.volume).count(), 1);
        }
    }
    if requested.kubeconfig_env && requested.imports.iter().any(|import| import.kubeconfig.is_some()) {
        prop_assert!(spec.containers().all(|(_, _, container)| container.sets(KUBECONFIG)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_container_gets_every_import(pod in any_pod(), requested in any_request()) {
        let after = patched(&pod, &requested);
        prop_assert!(only_added(&pod, &after));
        check(&after, &requested)?;
        prop_assert_eq!(patched(&pod, &requested), after, "the patch is idempotent");
    }

    #[test]
    fn containers_added_by_other_webhooks_get_every_import(
        pod in any_pod(),
        requested in any_request(),
        more in vec((select(vec!["initContainers", "containers"]), any_container(), any::<Index>()), 1..3),
    ) {
        let mut pod = patched(&pod, &requested);
        for (field, container, at) in more {
            match pod["spec"][field].as_array_mut() {
                Some(list) => list.insert(at.index(list.len() + 1), container),
                None => pod["spec"][field] = json!([container]),
            }
        }
        let after = patched(&pod, &requested);
        prop_assert!(only_added(&pod, &after));
        check(&after, &requested)?;
    }

    #[test]
    fn pod_with_some_imports_gets_the_rest(
        pod in any_pod(),
        (requested, some) in any_request().prop_flat_map(|requested| {
            let imports = requested.imports.clone();
            let some = subsequence(imports.clone(), 0..=imports.len());
            (Just(requested), some)
        }),
    ) {
        let some = RequestedImports { imports: some, kubeconfig_env: false };
        let before = patched(&pod, &some);
        let after = patched(&before, &requested);
        prop_assert!(only_added(&before, &after));
        check(&after, &requested)?;
    }

    #[test]
    fn debugging_changes_only_new_containers(
        pod in any_pod(),
        requested in any_request(),
        new in vec(any_container(), 0..3),
    ) {
        let stored = patched(&pod, &requested);
        let mut before = stored.clone();
        let kept = before["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
        before["spec"]["ephemeralContainers"] = [kept.clone(), new].concat().into();
        let mut after = before.clone();
        let patch = patch_ephemeral_containers(&parse(&before), &parse(&stored), &requested);
        json_patch::patch(&mut after, &patch).unwrap();
        prop_assert!(only_added(&before, &after));
        prop_assert_eq!(&after["spec"]["ephemeralContainers"].as_array().unwrap()[..kept.len()], kept);
        let again = patch_ephemeral_containers(&parse(&after), &parse(&stored), &requested);
        prop_assert!(again.is_empty());
        for field in ["volumes", "initContainers", "containers"] {
            prop_assert_eq!(&after["spec"][field], &before["spec"][field]);
        }
    }
}
