//! Detects whether a config changed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use kube::Config;
use serde_json::Value;

/// Random, so that nobody can make a config that has the hash of another one.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Hashes of a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    /// A new token does not change it.
    pub(super) endpoint: Endpoint,
    /// The hash of the whole config.
    pub(super) whole: u64,
}

/// Hashes of where a config leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The hash of the address, the proxy and the certificate authority: equal for members of one cluster.
    pub(crate) cluster: u64,
    namespace: u64,
}

impl Digest {
    pub(super) fn of(config: &Config) -> Self {
        let mut hasher = KEYS.build_hasher();
        (config.cluster_url.to_string(), &config.root_cert, config.accept_invalid_certs).hash(&mut hasher);
        (config.proxy_url.as_ref().map(ToString::to_string), &config.tls_server_name).hash(&mut hasher);
        let cluster = hasher.finish();
        config.default_namespace.hash(&mut hasher);
        let endpoint = Endpoint { cluster, namespace: hasher.finish() };
        // A gateway's key may be in a header.
        config.headers.hash(&mut hasher);
        (config.connect_timeout, config.read_timeout, config.write_timeout).hash(&mut hasher);
        (config.disable_compression, config.default_retry).hash(&mut hasher);
        // This includes the arguments of a credential plugin.
        hash_json(&serde_json::to_value(&config.auth_info).unwrap_or_default(), &mut hasher);
        for file in [&config.auth_info.client_certificate, &config.auth_info.client_key].into_iter().flatten()
        {
            std::fs::read(file).unwrap_or_default().hash(&mut hasher);
        }
        Self { endpoint, whole: hasher.finish() }
    }
}

/// Hashes a value in a stable order: a plugin's environment variables are in hash maps.
fn hash_json(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            for (key, value) in sorted {
                key.hash(hasher);
                hash_json(value, hasher);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| hash_json(item, hasher)),
        other => other.to_string().hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn another_header_is_another_config_at_the_same_endpoint() {
        let config = |key: &'static str| {
            let mut config = Config::new(http::Uri::from_static("https://c2"));
            config.headers.push((HeaderName::from_static("x-key"), HeaderValue::from_static(key)));
            Digest::of(&config)
        };
        assert_eq!(config("a"), config("a"));
        assert_eq!(config("a").endpoint, config("b").endpoint);
        assert_ne!(config("a"), config("b"));
    }
    #[test]
    fn another_default_namespace_is_another_endpoint_of_the_same_cluster() {
        let endpoint = |namespace: &str| {
            let mut config = Config::new(http::Uri::from_static("https://c2"));
            config.default_namespace = namespace.into();
            Digest::of(&config).endpoint
        };
        assert_ne!(endpoint("a"), endpoint("b"));
        assert_eq!(endpoint("a").cluster, endpoint("b").cluster);
    }
}
