//! Any input gets a valid response or a short error.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Any JSON of a few levels, including meaningful field names and values.
fn any_json() -> impl Strategy<Value = Value> {
    let word = select(vec![
        "",
        "name",
        "secret",
        "items",
        "mountPath",
        "a",
        "/own",
        "KUBECONFIG",
        "CREATE",
        "Pod",
        "\n\u{0}ä",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((word.clone(), inner), 0..4).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

fn any_review() -> impl Strategy<Value = Value> {
    let names = select(vec!["a", "bare,a", "gone", "A,,", " , "]);
    let created = (names, select(vec!["true", "false", "?"])).prop_map(|(names, env)| creation(names, env));
    prop_oneof![
        created,
        select(vec!["c2", "{{x}}", ""]).prop_map(electing),
        Just(workflows::of_templates("UPDATE", "CronWorkflow", workflows::template())),
        Just(policies::of_import("UPDATE", "default", &policies::spec())),
        Just(debugging(json!({ NAMES: "a", "multicluster.admiralty.io/kubeconfig-env": "true" })))
    ]
}

/// A pod that asks for a cluster, with a value in each parsed field that matters for it.
fn electing(cluster: &str) -> Value {
    let mut object = pod("a", "true");
    let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
    for (name, value) in [("elect", ""), ("clustername", cluster), ("remote-namespace", "n")] {
        annotations.insert(format!("multicluster.admiralty.io/{name}"), value.into());
    }
    let requirement = json!({ "key": "a", "operator": "In", "values": ["a"] });
    let terms = json!([{ "matchExpressions": [requirement], "matchFields": [requirement] }, {}]);
    object["spec"]["affinity"] = json!({
        "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } },
    });
    let toleration = json!({
        "key": "a", "operator": "Exists", "value": "", "effect": "NoSchedule", "tolerationSeconds": 300,
    });
    object["spec"]["tolerations"] = json!([toleration]);
    review_of("CREATE", "", object, json!(null))
}

/// Collects the path of every value in a document.
fn collect_paths(value: &Value, path: &str, paths: &mut Vec<String>) {
    paths.push(path.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| {
                self::collect_paths(value, &format!("{path}/{}", escaped(key)), paths)
            });
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(i, value)| self::collect_paths(value, &format!("{path}/{i}"), paths));
        }
        _ => {}
    }
}

/// Checks that the result is a valid response, or an error of one short line.
async fn check(body: &[u8]) -> Result<(), TestCaseError> {
    match super::super::review(body, &imports()).await {
        Ok(review_response) => {
            let review_response = serde_json::to_value(review_response).unwrap();
            // Skipped values may have valid JSON syntax but not parse, such as 1e999.
            let review: Value = serde_json::from_slice(body).unwrap_or_default();
            let response = &review_response["response"];
            prop_assert_eq!(&review_response["apiVersion"], "admission.k8s.io/v1");
            prop_assert_eq!(&review_response["kind"], "AdmissionReview");
            prop_assert_eq!(response["allowed"] == true, response.get("status").is_none());
            if review.is_object() {
                prop_assert_eq!(&response["uid"], &review["request"]["uid"]);
                let after = patched(response, review["request"]["object"].clone());
                prop_assert!(after.is_ok(), "{after:?}");
            }
        }
        Err(malformed) => {
            let message = malformed.to_string();
            prop_assert!(message.len() < 2_000 && !message.contains('\n'), "{}", message);
        }
    }
    Ok(())
}

fn patched(response: &Value, mut object: Value) -> Result<Value, json_patch::PatchError> {
    if let Some(patch) = response["patch"].as_str() {
        let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
        json_patch::patch(&mut object, &patch)?;
    }
    Ok(object)
}

fn run(future: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_a_result(bytes in vec(any::<u8>(), 0..200)) {
        run(check(&bytes))?;
    }

    #[test]
    fn any_json_in_any_field_gets_a_result(
        mut review in any_review(),
        changes in vec((any::<Index>(), any_json()), 1..3),
    ) {
        for (at, value) in changes {
            let mut paths = Vec::new();
            collect_paths(&review, "", &mut paths);
            *review.pointer_mut(&paths[at.index(paths.len())]).unwrap() = value;
        }
        run(check(review.to_string().as_bytes()))?;
    }

    #[test]
    fn any_damaged_review_gets_a_result(
        review in any_review(),
        changes in vec((any::<Index>(), any::<u8>()), 0..4),
        end in any::<Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = review.to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        run(check(&bytes))?;
    }
}
