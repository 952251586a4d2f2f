//! The record of its remote pod in a home pod's annotations.
//!
//! It counts only for the home pod with the recorded UID: programs that copy pods copy annotations, too.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mcsa_credentials::contract::launch::{HOME_UID, REMOTE_POD, REMOTE_UID};
use serde_json::Value;

/// The UID of the remote pod, if the home pod was launched.
pub(crate) fn remote_uid(home: &Pod) -> Option<&str> {
    recorded(home, REMOTE_UID)
}

/// The namespace of the remote pod, if the home pod was launched.
pub(crate) fn remote_namespace(home: &Pod) -> Option<&str> {
    recorded(home, REMOTE_POD)?.split_once('/').map(|(namespace, _)| namespace)
}

/// Whether a pod, as JSON, was launched.
pub(crate) fn is_launched(home: &Value) -> bool {
    let (uid, annotations) = (&home["metadata"]["uid"], &home["metadata"]["annotations"]);
    annotations[HOME_UID] == *uid && !annotations[REMOTE_UID].is_null()
}

fn recorded<'a>(home: &'a Pod, key: &str) -> Option<&'a str> {
    let annotations = home.annotations();
    let is_own =
        annotations.get(HOME_UID).is_some() && annotations.get(HOME_UID) == home.metadata.uid.as_ref();
    annotations.get(key).filter(|_| is_own).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_record_of_a_copied_pod_does_not_count() {
        let annotations = json!({ HOME_UID: "u", REMOTE_POD: "batch/a", REMOTE_UID: "r" });
        let mut home = json!({ "metadata": { "uid": "u", "annotations": annotations } });
        let pod: Pod = serde_json::from_value(home.clone()).unwrap();
        assert_eq!((remote_uid(&pod), remote_namespace(&pod)), (Some("r"), Some("batch")));
        assert!(is_launched(&home));
        home["metadata"]["uid"] = json!("v");
        let copy: Pod = serde_json::from_value(home.clone()).unwrap();
        assert_eq!((remote_uid(&copy), remote_namespace(&copy)), (None, None));
        assert!(!is_launched(&home));
    }
}
