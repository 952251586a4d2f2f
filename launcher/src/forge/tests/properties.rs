//! Properties that hold for any labels and annotations.

use std::collections::BTreeMap;

use kube::api::ObjectMeta;
use mcsa_client::controller::Owner;
use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;

use super::{metadata_patch, owner, patched, remote_metadata};
use crate::forge::metadata::{COPIED_KEYS, is_copied};

type Strings = BTreeMap<String, String>;

/// Few keys, so that home pod and source often have the same.
fn strings() -> impl Strategy<Value = Strings> {
    let keys = select(vec![
        "a",
        "b",
        "example.com/c",
        "pod-template-hash",
        "multicluster.admiralty.io/elect",
        "owner.multicluster.admiralty.io/uid",
        "multicluster.admiralty.io/owner",
    ]);
    btree_map(keys.prop_map(Into::into), "[xy]?", 0..6)
}

fn metadata() -> impl Strategy<Value = ObjectMeta> {
    (strings(), strings()).prop_map(|(labels, annotations)| ObjectMeta {
        name: Some("p".into()),
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    })
}

/// The remote pod after the source's own clients wrote to it.
fn written_by_others(mut remote: ObjectMeta, others: &ObjectMeta) -> ObjectMeta {
    let maps = [(&mut remote.labels, &others.labels), (&mut remote.annotations, &others.annotations)];
    for (map, others) in maps {
        let new = others.iter().flatten().filter(|(key, _)| is_copied(key));
        let map = map.get_or_insert_default();
        for (key, value) in new {
            map.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    remote
}

fn pairs<'a>(a: &'a ObjectMeta, b: &'a ObjectMeta) -> [(Strings, Strings); 2] {
    let of = |map: &'a Option<Strings>| map.clone().unwrap_or_default();
    [(of(&a.labels), of(&b.labels)), (of(&a.annotations), of(&b.annotations))]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn remote_pod_follows_and_others_keep_what_they_wrote(
        first in metadata(),
        others in metadata(),
        changes in proptest::collection::vec(metadata(), 1..4),
    ) {
        let created = remote_metadata(&first);
        let mut remote = written_by_others(created.clone(), &others);
        let foreign: Vec<_> = pairs(&created, &remote).into_iter().map(|(created, mut remote)| {
            remote.retain(|key, _| !created.contains_key(key));
            remote
        }).collect();
        for home in changes {
            if let Some(patch) = metadata_patch(&home, &remote) {
                remote = patched(&remote, &patch);
                prop_assert_eq!(metadata_patch(&home, &remote), None, "twice changes nothing");
            }
            prop_assert!(owner().owns(&remote));
            let (a, b) = (Owner::from_metadata(&remote).unwrap(), owner());
            prop_assert_eq!(serde_json::to_value(a).unwrap(), serde_json::to_value(b).unwrap());
            for ((home, remote), foreign) in pairs(&home, &remote).into_iter().zip(&foreign) {
                for (key, value) in foreign {
                    prop_assert_eq!(remote.get(key), Some(value), "foreign {}", key);
                }
                for (key, value) in home.iter().filter(|(key, _)| is_copied(key) && !foreign.contains_key(*key)) {
                    prop_assert_eq!(remote.get(key), Some(value), "copied {}", key);
                }
                let ours = |key: &str| is_copied(key) && key != COPIED_KEYS && !foreign.contains_key(key);
                prop_assert!(remote.keys().all(|key| !ours(key) || home.contains_key(key)), "lost keys are removed");
            }
        }
    }
}
