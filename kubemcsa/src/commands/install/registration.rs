//! How the API server reaches the webhook. Where the webhook has registered itself by a URL, that is
//! its own to say: the manifest's Service is for one that runs in the cluster.

use kube::api::DynamicObject;
use serde_json::Value;

use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, apply, object};

/// Leaves out of a webhook configuration what would be in the way of a URL that is there.
///
/// # Errors
/// When what is there can't be read.
pub async fn keep_urls(cluster: &Cluster, object: &mut DynamicObject) -> Result<(), CallError> {
    if object::kind(object) != "MutatingWebhookConfiguration" {
        return Ok(());
    }
    let Some(stored) = apply::read(cluster, object).await? else { return Ok(()) };
    for url in leave_out(&mut object.data, &stored.data) {
        let title = object::title(object);
        output::say(&cluster.name, &format!("{title} is by URL, and stays so: {url}"));
    }
    Ok(())
}

/// An entry has a URL or a Service; the API server refuses one with both.
fn leave_out(configuration: &mut Value, stored: &Value) -> Vec<String> {
    let stored = stored["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let entries = configuration.get_mut("webhooks").and_then(Value::as_array_mut);
    let entries = entries.into_iter().flatten().filter_map(Value::as_object_mut);
    entries
        .filter_map(|entry| {
            let there = stored.iter().find(|there| Some(&there["name"]) == entry.get("name"))?;
            let url = there["clientConfig"]["url"].as_str()?;
            entry.remove("clientConfig");
            Some(url.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({"webhooks": [{"name": "a", "clientConfig": {"url": "https://w"}}]}), &["https://w"])]
    #[case(json!({"webhooks": [{"name": "b", "clientConfig": {"url": "https://w"}}]}), &[])]
    #[case(json!({"webhooks": [{"name": "a", "clientConfig": {"service": {"name": "w"}}}]}), &[])]
    #[case(json!({}), &[])]
    fn only_a_url_of_the_same_entry_is_kept(#[case] stored: Value, #[case] urls: &[&str]) {
        let whole = json!({"webhooks": [{"name": "a", "clientConfig": {}, "timeoutSeconds": 5}]});
        let mut applied = whole.clone();
        assert_eq!(leave_out(&mut applied, &stored), urls);
        let kept = json!({"webhooks": [{"name": "a", "timeoutSeconds": 5}]});
        assert_eq!(applied, if urls.is_empty() { whole } else { kept });
    }
}
