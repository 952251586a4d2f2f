//! The rights that a link gets. Without flags, nothing is widened, and nothing that was revoked is granted again.

use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::args::Args;
use crate::link::change_grants::ambiguous;
use crate::link::connect::Connected;
use crate::link::grants::{self, Grant, Grants, StoredGrants};
use crate::link::{declare, known_targets};

/// The rights that the flags request for a link.
pub(crate) struct RequestedRights {
    /// Empty: see `everything`.
    allow: Vec<Grant>,
    /// Whether everything is requested. If not, and `allow` is empty: unchanged; everything for a new link.
    everything: bool,
    /// Lifetime of the link's tokens. `None`: unchanged; the longest for a new link.
    pub(crate) seconds: Option<i64>,
}

/// Why the flags must say what the link may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unclear {
    /// The source has a binding for everything, and also bindings in some namespaces.
    Ambiguous,
    /// The target has the link, but its identity or rights in the source are gone: somebody may have revoked them.
    Revoked,
}

/// What exists of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Existing {
    /// The link's import in the target.
    has_import: bool,
    /// The link's service account in the source.
    has_account: bool,
}

impl RequestedRights {
    pub(crate) fn of(args: &Args) -> Self {
        Self { allow: args.allow.clone(), everything: args.allow_everything, seconds: args.link_ttl }
    }

    /// What the link may import, and what it could import before.
    pub(crate) async fn grants(&self, connected: &Connected) -> anyhow::Result<(Grants, StoredGrants)> {
        let (target, source) = (connected.target(), connected.source());
        // In this order, because a concurrent run writes them in the opposite one.
        let has_import = declare::is_declared(connected).await?;
        let has_account = known_targets::uid(source, &target.name).await?.is_some();
        let stored = grants::read(source, &target.name).await?;
        let flags = connected.plan().flags();
        match self.choose(&stored, Existing { has_import, has_account }) {
            Ok(grants) => Ok((grants, stored)),
            Err(Unclear::Ambiguous) => Err(ambiguous(&source.name, &target.name, flags)),
            Err(Unclear::Revoked) => Err(anyhow::anyhow!(
                "{}: service account {SYSTEM_NAMESPACE}/{} or its rights were deleted, which may have been on purpose; \
                 nothing was granted; choose what {} may import: {}, or everything: {}",
                source.name,
                target.name,
                target.name,
                flags.with_flag("--allow", "NAMESPACE[/NAME]"),
                flags.with_switch("--allow-everything"),
            )),
        }
    }

    fn choose(&self, stored: &StoredGrants, existing: Existing) -> Result<Grants, Unclear> {
        if self.everything {
            return Ok(Grants::Everything);
        }
        if !self.allow.is_empty() {
            return Ok(self.allow.iter().collect());
        }
        match &stored.grants {
            Some(_) if stored.is_ambiguous() => Err(Unclear::Ambiguous),
            Some(Grants::Only(narrow)) => Ok(Grants::Only(narrow.clone())),
            Some(Grants::Everything) if existing.has_account || !existing.has_import => {
                Ok(Grants::Everything)
            }
            None if !existing.has_account && !existing.has_import => Ok(Grants::Everything),
            Some(Grants::Everything) | None => Err(Unclear::Revoked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const NEW: Existing = Existing { has_import: false, has_account: false };
    const LINKED: Existing = Existing { has_import: true, has_account: true };
    const WITHOUT_IMPORT: Existing = Existing { has_import: false, has_account: true };
    const WITHOUT_ACCOUNT: Existing = Existing { has_import: true, has_account: false };

    fn requested(allow: &[&str], everything: bool) -> RequestedRights {
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        RequestedRights { allow, everything, seconds: None }
    }

    fn stored(grants: Option<&str>) -> StoredGrants {
        let grants = grants.map(|text| match text {
            "everything" => Grants::Everything,
            text => [&text.parse().unwrap()].into_iter().collect(),
        });
        StoredGrants { grants, objects: Vec::new() }
    }

    #[rstest]
    #[case::new(None, NEW, Ok("everything"))]
    #[case::interrupted_first_run(Some("everything"), NEW, Ok("everything"))]
    #[case::narrow(Some("a"), LINKED, Ok("a"))]
    #[case::wide(Some("everything"), LINKED, Ok("everything"))]
    #[case::wide_without_import(Some("everything"), WITHOUT_IMPORT, Ok("everything"))]
    #[case::unlinked_in_the_source(None, WITHOUT_ACCOUNT, Err(Unclear::Revoked))]
    #[case::rights_deleted(None, LINKED, Err(Unclear::Revoked))]
    #[case::rights_deleted_and_no_import(None, WITHOUT_IMPORT, Err(Unclear::Revoked))]
    #[case::account_deleted(Some("everything"), WITHOUT_ACCOUNT, Err(Unclear::Revoked))]
    #[case::account_deleted_with_narrow_rights(Some("a"), WITHOUT_ACCOUNT, Ok("a"))]
    fn bootstrap_without_flags_widens_nothing(
        #[case] before: Option<&str>,
        #[case] existing: Existing,
        #[case] expected: Result<&str, Unclear>,
    ) {
        let choose = |requested: RequestedRights| {
            requested.choose(&stored(before), existing).map(|grants| grants.to_string())
        };
        assert_eq!(choose(requested(&[], false)), expected.map(str::to_owned));
        assert_eq!(choose(requested(&["b"], false)), Ok("b".to_owned()));
        assert_eq!(choose(requested(&[], true)), Ok("everything".to_owned()));
    }

    #[test]
    fn ambiguous_grants_require_a_flag() {
        let narrow: Grants = [&"a".parse().unwrap()].into_iter().collect();
        let mut objects = narrow.objects("c1").unwrap();
        objects.extend(Grants::Everything.objects("c1").unwrap());
        let stored = StoredGrants { grants: Some(Grants::Everything), objects };
        assert_eq!(requested(&[], false).choose(&stored, LINKED), Err(Unclear::Ambiguous));
        assert_eq!(requested(&["a"], false).choose(&stored, LINKED), Ok(narrow));
        assert_eq!(requested(&[], true).choose(&stored, LINKED), Ok(Grants::Everything));
    }
}
