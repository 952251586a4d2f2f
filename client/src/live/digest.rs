//! What tells one config from another.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::Config;
use serde_json::Value;

/// A config, as two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    /// Of where it leads, and whom it trusts there: what is the same where a token alone is new.
    pub(super) way: u64,
    /// Of all of it.
    pub(super) whole: u64,
}

impl Digest {
    pub(super) fn of(config: &Config) -> Self {
        let mut hasher = DefaultHasher::new();
        (config.cluster_url.to_string(), &config.root_cert, config.accept_invalid_certs).hash(&mut hasher);
        (config.proxy_url.as_ref().map(ToString::to_string), &config.tls_server_name).hash(&mut hasher);
        config.default_namespace.hash(&mut hasher);
        let way = hasher.finish();
        // An exec plugin's arguments are in it as well. What can't be written is no user of ours.
        add(&serde_json::to_value(&config.auth_info).unwrap_or_default(), &mut hasher);
        for file in [&config.auth_info.client_certificate, &config.auth_info.client_key].into_iter().flatten()
        {
            std::fs::read(file).unwrap_or_default().hash(&mut hasher);
        }
        Self { way, whole: hasher.finish() }
    }
}

/// In an order that is always the same: a plugin's variables are in hash maps.
fn add(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            for (key, value) in sorted {
                key.hash(hasher);
                add(value, hasher);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| add(item, hasher)),
        other => other.to_string().hash(hasher),
    }
}
