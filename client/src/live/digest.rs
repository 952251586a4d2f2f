//! What tells one config from another.

use std::hash::{DefaultHasher, Hash, Hasher};

use kube::Config;

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
        serde_json::to_string(&config.auth_info).unwrap_or_default().hash(&mut hasher);
        for file in [&config.auth_info.client_certificate, &config.auth_info.client_key].into_iter().flatten()
        {
            std::fs::read(file).unwrap_or_default().hash(&mut hasher);
        }
        Self { way, whole: hasher.finish() }
    }
}
