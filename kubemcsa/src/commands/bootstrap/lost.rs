//! Warns of imports that a link with narrower rights can no longer refresh.

use kube::ResourceExt;
use kube::api::ListParams;
use mcsa_client::ServiceAccountImport;

use crate::cluster::list;
use crate::link::connect::Connected;
use crate::link::grants::Grants;

/// Longer lists are cut.
const MAX_NAMES: usize = 10;

/// `before`: `None` for a new link.
pub(crate) async fn warn(connected: &Connected, before: Option<&Grants>, after: &Grants) {
    let Some(before) = before.filter(|before| !before.is_within(after)) else { return };
    let (target, source) = (connected.target(), connected.source());
    let imports = match list::readable_imports(target, None, ListParams::default()).await {
        Ok(imports) => lost(&imports, &source.name, before, after),
        // They can't be named.
        Err(error) => Some(format!("imports of other service accounts ({error})")),
    };
    if let Some(imports) = imports {
        let message = format!(
            "{} may import {after} from {} now, and no longer what these imports need: {imports}; existing tokens stay \
             valid until they expire; then the imports report Forbidden",
            target.name, source.name
        );
        connected.progress().warn(&target.name, &message);
    }
}

/// The imports that only the previous rights include, as a list.
fn lost(imports: &[ServiceAccountImport], source: &str, before: &Grants, after: &Grants) -> Option<String> {
    let is_lost = |import: &&ServiceAccountImport| {
        let spec = &import.spec;
        !import.is_link()
            && spec.cluster_name == source
            && before.includes(&spec.namespace, &spec.name)
            && !after.includes(&spec.namespace, &spec.name)
    };
    let names: Vec<_> = imports
        .iter()
        .filter(is_lost)
        .map(|import| format!("{}/{}", import.namespace().unwrap_or_default(), import.name_any()))
        .collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    let listed = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match (names.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(listed),
        (false, more) => Some(format!("{listed} and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::grants::Grant;
    use mcsa_client::ServiceAccountImportSpec;

    fn import(name: &str, source: &str, namespace: &str) -> ServiceAccountImport {
        let spec = ServiceAccountImportSpec {
            cluster_name: source.into(),
            namespace: namespace.into(),
            name: "x".into(),
            ..Default::default()
        };
        let mut import = ServiceAccountImport::new(name, spec);
        import.metadata.namespace = Some("demo".into());
        import
    }

    fn only(grants: &[&str]) -> Grants {
        grants.iter().map(|grant| grant.parse().unwrap()).collect::<Vec<Grant>>().iter().collect()
    }

    #[test]
    fn only_imports_that_lose_their_right_are_named() {
        let imports = [import("a", "c2", "a"), import("b", "c2", "b"), import("elsewhere", "c3", "b")];
        let lost = |before: &Grants, after: &Grants| lost(&imports, "c2", before, after);
        assert_eq!(lost(&Grants::Everything, &only(&["a"])).as_deref(), Some("demo/b"));
        assert_eq!(lost(&Grants::Everything, &only(&["a", "b/x"])), None);
        assert_eq!(lost(&only(&["a"]), &only(&["a/x"])), None);
        assert_eq!(lost(&only(&["a"]), &only(&["b"])).as_deref(), Some("demo/a"), "b was forbidden before");
    }

    #[test]
    fn long_list_is_cut() {
        let imports: Vec<_> = (0..12).map(|i| import(&format!("i{i}"), "c2", "b")).collect();
        let lost = lost(&imports, "c2", &Grants::Everything, &only(&["a"])).unwrap();
        assert!(lost.starts_with("demo/i0, demo/i1,") && lost.ends_with("demo/i9 and 2 more"), "{lost}");
    }
}
