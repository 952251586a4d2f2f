//! Creates imports of the largest size that the API server accepts, as a tenant may.

use std::collections::BTreeMap;

use mcsa_client::ServiceAccountImport;
use mcsa_client::api::SecretTemplate;

use crate::fixture::Fixture;
use crate::observer::Observer;
use crate::plan::Group;

/// Number of imports.
const COUNT: usize = 100;

/// Maximum length of an object's own annotations, keys and values, in bytes.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/>
const ANNOTATIONS: usize = 256 * 1024;

/// Creates the imports, waits until all are ready, and deletes them.
pub async fn run(fixture: &Fixture, observer: &Observer) -> anyhow::Result<()> {
    fixture.create_imports(fixture.plan.imports(Group::Large, 0..COUNT).map(enlarged)).await?;
    observer.wait_for_all(Group::Large.prefix(), COUNT, "ready", |observed| observed.ready).await?;
    fixture.delete(Group::Large).await?;
    observer.wait_until_gone(Group::Large.prefix()).await
}

/// The import with the most and longest labels and annotations that the CRD accepts.
fn enlarged(mut import: ServiceAccountImport) -> ServiceAccountImport {
    let pairs = |count: usize, length: usize| {
        // The longest name is 253 bytes of a prefix, a slash, and 63 bytes.
        let pair = |index: usize| (format!("{}/{index:063}", "a".repeat(253)), "v".repeat(length));
        (0..count).map(pair).collect::<BTreeMap<_, _>>()
    };
    let template =
        SecretTemplate { labels: pairs(64, 63), annotations: pairs(32, 2048), ..Default::default() };
    import.spec.secret = Some(template);
    import.metadata.annotations = Some([("a".to_owned(), "v".repeat(ANNOTATIONS - 1))].into());
    import
}
