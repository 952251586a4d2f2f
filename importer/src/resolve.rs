//! First step: which link, and does the import own the Secret?

use std::collections::BTreeSet;
use std::sync::Arc;

use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::credential::items;
use mcsa_credentials::secret::{SecretMetadata, SecretState, fingerprint};

use crate::cache::Cache;
use crate::model::failure::{Failure, Reason};
use crate::model::import::Import;
use crate::model::key::ObjectKey;
use crate::source::Source;

/// An import with its source and Secret.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub import: Arc<Import>,
    pub source: Arc<Source>,
    pub secret_key: ObjectKey,
    /// Its Secret, which it owns.
    pub secret: Option<SecretState>,
    /// Digest of the inputs that the Secret should be built from.
    pub fingerprint: String,
    /// The keys that the Secret should have.
    pub keys: BTreeSet<String>,
    /// The labels and annotations that the Secret should have.
    pub metadata: SecretMetadata,
    /// UID of the source, if the link pins it.
    pub cluster_uid: Option<String>,
    /// For a link: the version of its Secret that the source was read from.
    link_version: Option<String>,
}

impl Resolved {
    /// Whether both watches of a link's Secret, of values and of metadata, have observed the same version. If only
    /// one of them has observed a change by bootstrap, such as a new address, a write would undo the change.
    pub fn watches_agree(&self) -> bool {
        match (&self.link_version, &self.secret) {
            (Some(read), Some(known)) => **read == *known.resource_version,
            _ => true,
        }
    }
}

/// Finds the link and the Secret of an import.
///
/// # Errors
/// If there is no usable link, the Secret's name is taken, or the import names a link's own identity.
pub fn resolve(cache: &Cache, import: Arc<Import>) -> Result<Resolved, Failure> {
    if import.spec.namespace == SYSTEM_NAMESPACE && !import.is_link {
        // The token would be the link's, with all its rights, in any namespace.
        let message = format!(
            "spec.namespace is {SYSTEM_NAMESPACE}, which holds the identities of links, and these can't be \
             imported; import a service account of another namespace"
        );
        return Err(Failure::new(Reason::InvalidSpec, message));
    }
    let secret_key = import.secret_key();
    let secret = cache.secret(&secret_key);
    if let Some(secret) = &secret {
        ensure_owned(&secret_key, secret, &import)?;
    }
    let cluster = &import.spec.cluster_name;
    let link = cache.link(cluster).ok_or_else(|| Failure::not_linked(cluster))?;
    let source = link.source.map_err(|problem| Failure::new(Reason::InvalidLink, problem))?;
    let chosen = import.spec.secret.as_ref().map_or(&[][..], |secret| &secret.items);
    Ok(Resolved {
        keys: items(chosen, source.endpoint().ca_bundle.is_some()).into_iter().map(|item| item.key).collect(),
        metadata: SecretMetadata::of(&import.object()),
        fingerprint: fingerprint(&import.spec, import.is_link, source.endpoint()),
        // Bootstrap also records the UID on the link's import, where it survives the Secret.
        link_version: import
            .is_link
            .then(|| cache.link_in(secret_key.name()))
            .flatten()
            .map(|own| own.version),
        cluster_uid: import.pinned_uid.as_deref().or(source.pinned_uid()).map(str::to_owned),
        secret_key,
        secret,
        source,
        import,
    })
}

/// Checks that the import controls the Secret.
///
/// # Errors
/// If the name is taken.
pub fn ensure_owned(secret_key: &ObjectKey, secret: &SecretState, import: &Import) -> Result<(), Failure> {
    if is_owned(secret, import) {
        return Ok(());
    }
    Err(Failure::new(
        Reason::SecretNameConflict,
        format!(
            "Secret {secret_key} exists and is not owned by this import, so the importer does not write it; \
             delete it, or create an import with another name or spec.secret.name"
        ),
    ))
}

/// Whether the import controls the Secret.
pub fn is_owned(secret: &SecretState, import: &Import) -> bool {
    secret.owner.as_ref().is_some_and(|owner| !owner.uid.is_empty() && owner.uid == import.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::LinkEntry;
    use crate::clock::Clock;
    use crate::metrics::Metrics;
    use crate::model::scope::Scope;
    use kube::runtime::watcher::Event;
    use mcsa_client::contract::LINK_LABEL;
    use mcsa_credentials::link::Link;
    use mcsa_runtime::lease::Fence;
    use prometheus_client::registry::Registry;
    use rstest::rstest;
    use serde_json::json;

    const VERSION: &str = "1";

    const CONFIG: &str = "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n\
        clusters: [{name: c, cluster: {server: 'https://c2'}}]\n";

    /// A cache with a link to c2 and these Secrets, owned by the import `u`.
    fn cache(secrets: &[&str]) -> Cache {
        cache_with(secrets, VERSION)
    }

    /// Same, with the link read from this version of the Secret `c2-token`.
    fn cache_with(secrets: &[&str], version: &str) -> Cache {
        let cache = Cache::default();
        let secret = json!({ "metadata": { "name": "c2" }, "stringData": {}, "data": {} });
        let mut secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret).unwrap();
        let value = k8s_openapi::ByteString(CONFIG.as_bytes().to_vec());
        secret.data = Some([("kubeconfig".to_owned(), value)].into());
        let metrics = Metrics::new(&mut Registry::default());
        let source = Source::new(
            Link::read(&secret).unwrap(),
            None,
            &Fence::always_open(),
            &Clock::system(),
            &metrics,
        );
        let link =
            LinkEntry { cluster_name: "c2".into(), version: version.into(), source: Ok(source.unwrap()) };
        cache.observe_link(Event::Apply(("c2-token".into(), link)));
        for name in secrets {
            let owner =
                json!([{ "apiVersion": "v1", "kind": "K", "name": "n", "uid": "u", "controller": true }]);
            let metadata = json!({ "uid": "s", "resourceVersion": VERSION, "ownerReferences": owner });
            let state = SecretState::read(&serde_json::from_value(metadata).unwrap());
            let key = ObjectKey::new(SYSTEM_NAMESPACE, name);
            cache.observe_secret(&Scope::All, Event::Apply((key, state)));
        }
        cache
    }

    fn import(labels: serde_json::Value, cluster: &str, of: &str) -> Arc<Import> {
        let import = json!({
            "metadata": { "namespace": SYSTEM_NAMESPACE, "name": "c2", "uid": "u", "labels": labels },
            "spec": { "clusterName": cluster, "namespace": of, "name": "c1" },
        });
        Arc::new(Import::of(serde_json::from_value(import).unwrap()))
    }

    #[rstest]
    #[case::same_version("1", true)]
    #[case::older_values("0", false)]
    #[case::newer_values("2", false)]
    #[tokio::test]
    async fn link_waits_until_both_watches_agree(#[case] read_from: &str, #[case] expected: bool) {
        let cache = cache_with(&["c2-token"], read_from);
        let link = import(json!({ LINK_LABEL: "true" }), "c2", SYSTEM_NAMESPACE);
        assert_eq!(resolve(&cache, link).unwrap().watches_agree(), expected);
        // Other imports repair any edit of their Secret at once.
        assert!(resolve(&cache, import(json!({}), "c2", "default")).unwrap().watches_agree());
    }

    #[rstest]
    #[case::import_of_a_link(&["c2-token"], json!({ LINK_LABEL: "true" }), "c2", SYSTEM_NAMESPACE, Ok(()))]
    #[case::import_of_the_identity_of_a_link(&[], json!({}), "c2", SYSTEM_NAMESPACE, Err(Reason::InvalidSpec))]
    #[case::ordinary_import(&[], json!({}), "c2", "default", Ok(()))]
    #[case::cluster_not_linked(&[], json!({}), "c3", "default", Err(Reason::ClusterNotLinked))]
    #[tokio::test]
    async fn import_resolves_to_the_link_of_its_cluster(
        #[case] secrets: &[&str],
        #[case] labels: serde_json::Value,
        #[case] cluster: &str,
        #[case] of: &str,
        #[case] expected: Result<(), Reason>,
    ) {
        let resolved = resolve(&cache(secrets), import(labels, cluster, of));
        assert_eq!(resolved.map(drop).map_err(|failure| failure.reason), expected);
    }
}
