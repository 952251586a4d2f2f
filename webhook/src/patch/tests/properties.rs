//! What holds for any pod and any imports.

use std::collections::BTreeSet;

use super::*;
use mcsa_credentials::names::is_dns_subdomain;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// Names that are hard to keep apart: they agree in their first characters, once their dots are
/// replaced, or end like the hashes that keep cut names apart.
fn any_name() -> impl Strategy<Value = String> {
    let long = |length: usize| (Just("x".repeat(length)), "[a-z.-]{0,3}[ab]").prop_map(|(a, b)| a + &b);
    prop_oneof![
        "[a-c]([.-]?[a-c]){0,3}",
        long(60),
        long(249),
        "[a-b][.-][0-9a-f]{10}",
        any::<bool>().prop_map(|b| dns_label("sai-", if b { "a.b" } else { "c.d" })[4..].to_owned()),
    ]
    .prop_filter("a name of an object", |name| is_dns_subdomain(name))
}

fn any_wanted() -> impl Strategy<Value = Wanted> {
    let kubeconfig = select(vec![None, Some("config".into()), Some("other".into())]);
    let imports = vec((any_name(), kubeconfig), 0..5);
    (imports, any::<bool>()).prop_map(|(imports, kubeconfig_env)| {
        let mut seen = BTreeSet::new();
        let imports = imports.into_iter().filter(|(name, _)| seen.insert(name.clone()));
        let imports = imports.map(|(name, kubeconfig)| Import { kubeconfig, ..import(&name) });
        Wanted { imports: imports.collect(), kubeconfig_env }
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

/// Whether `after` is `before` with items at the end of lists and new lists, and no other change.
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

/// Checks each container of a pod: all imports are mounted, each once; the variable is there if it is
/// wanted or was there.
fn check(pod: &Value, wanted: &Wanted) -> Result<(), TestCaseError> {
    let pod = parse(pod);
    let spec = pod.spec.as_ref().unwrap();
    let places: Vec<_> = wanted.imports.iter().map(Place::of).collect();
    let names: BTreeSet<_> = places.iter().map(|place| place.volume.as_str()).collect();
    prop_assert_eq!(names.len(), places.len(), "each has a volume of its own");
    for place in &places {
        prop_assert!(place.volume.len() <= 63 && is_dns_subdomain(&place.volume), "{}", place.volume);
        let volumes = spec.volumes.iter().flatten().filter(|volume| *volume.name == *place.volume);
        prop_assert_eq!(volumes.filter(|volume| volume.is_secret(&place.import.secret)).count(), 1);
        for (_, _, container) in spec.containers() {
            let mounts = container.volume_mounts.iter().flatten();
            let ours = mounts.filter(|mount| *mount.mount_path == *place.path);
            prop_assert_eq!(ours.filter(|mount| *mount.name == *place.volume).count(), 1);
        }
    }
    if wanted.kubeconfig_env && wanted.imports.iter().any(|import| import.kubeconfig.is_some()) {
        prop_assert!(spec.containers().all(|(_, _, container)| container.sets(KUBECONFIG)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pod_gets_each_import_in_each_container(pod in any_pod(), wanted in any_wanted()) {
        let after = patched(&pod, &wanted);
        prop_assert!(only_added(&pod, &after));
        check(&after, &wanted)?;
        prop_assert_eq!(patched(&pod, &wanted), after, "the same each time");
    }

    #[test]
    fn what_others_add_in_between_gets_it_too(
        pod in any_pod(),
        wanted in any_wanted(),
        more in vec((select(vec!["initContainers", "containers"]), any_container(), any::<Index>()), 1..3),
    ) {
        let mut pod = patched(&pod, &wanted);
        for (field, container, at) in more {
            match pod["spec"][field].as_array_mut() {
                Some(list) => list.insert(at.index(list.len() + 1), container),
                None => pod["spec"][field] = json!([container]),
            }
        }
        let after = patched(&pod, &wanted);
        prop_assert!(only_added(&pod, &after));
        check(&after, &wanted)?;
    }

    #[test]
    fn a_pod_that_has_a_part_lacks_only_the_rest(
        pod in any_pod(),
        (wanted, some) in any_wanted().prop_flat_map(|wanted| {
            let imports = wanted.imports.clone();
            let some = subsequence(imports.clone(), 0..=imports.len());
            (Just(wanted), some)
        }),
    ) {
        let some = Wanted { imports: some, kubeconfig_env: false };
        let before = patched(&pod, &some);
        let after = patched(&before, &wanted);
        prop_assert!(only_added(&before, &after));
        check(&after, &wanted)?;
    }

    #[test]
    fn debugging_touches_only_what_is_new(
        pod in any_pod(),
        wanted in any_wanted(),
        new in vec(any_container(), 0..3),
    ) {
        let stored = patched(&pod, &wanted);
        let mut before = stored.clone();
        let kept = before["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
        before["spec"]["ephemeralContainers"] = [kept.clone(), new].concat().into();
        let mut after = before.clone();
        let patch = patch_debugging(&parse(&before), &parse(&stored), &wanted);
        json_patch::patch(&mut after, &patch).unwrap();
        prop_assert!(only_added(&before, &after));
        prop_assert_eq!(&after["spec"]["ephemeralContainers"].as_array().unwrap()[..kept.len()], kept);
        let again = patch_debugging(&parse(&after), &parse(&stored), &wanted);
        prop_assert!(again.is_empty());
        for field in ["volumes", "initContainers", "containers"] {
            prop_assert_eq!(&after["spec"][field], &before["spec"][field]);
        }
    }
}
