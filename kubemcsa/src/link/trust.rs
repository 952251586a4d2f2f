//! What a source still accepts after its link was deleted in the target only.

use crate::link::existing::ExistingLink;
use crate::link::flags::{Flags, SourceFlags};

/// Says how to revoke the link's identity in the source. `source`: the flags that select it.
pub(crate) fn revocation_advice(link: &ExistingLink, source: &SourceFlags) -> String {
    let name = &link.cluster_name;
    match &link.import {
        Some(import) => {
            let flags = Flags { source: source.clone(), ..Default::default() };
            let unlink = flags.unlink_source_only(&import.spec.name);
            format!("{name} still trusts this cluster; to revoke that: {unlink}")
        }
        None => {
            format!("{name} still trusts this cluster by a link that was created by hand; revoke it there")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

    #[test]
    fn trust_is_revoked_by_unlink_unless_the_link_was_created_by_hand() {
        let spec = ServiceAccountImportSpec { name: "c1".into(), ..Default::default() };
        let link = |import| ExistingLink { cluster_name: "c2".into(), import, secret: None };
        let with_import = link(Some(ServiceAccountImport::new("c2", spec)));
        let advice = |context: Option<&str>| {
            let source = SourceFlags { context: context.map(str::to_owned), ..Default::default() };
            revocation_advice(&with_import, &source)
        };
        let unlink = "kubemcsa unlink --source-only --target-name c1 --source-context";
        assert!(advice(None).ends_with(&format!("{unlink} SOURCE_CONTEXT")), "{}", advice(None));
        assert!(advice(Some("my c2")).ends_with(&format!("{unlink} 'my c2'")), "{}", advice(Some("my c2")));
        assert!(!revocation_advice(&link(None), &SourceFlags::default()).contains("kubemcsa"));
    }
}
