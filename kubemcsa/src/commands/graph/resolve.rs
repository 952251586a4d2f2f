//! Finds the source cluster of each import.

use super::view::{ImportInfo, LinkInfo, View};

/// An import of a target, and its source.
pub(crate) struct ResolvedImport<'a> {
    /// Index of the target's view.
    pub(crate) target: usize,
    pub(crate) import: &'a ImportInfo,
    pub(crate) source: Source,
}

/// The source of an import. Imports with equal sources share identities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The link is pinned to this UID, which identifies the cluster under any name.
    Pinned { uid: String },
    /// Only its name in this target is known.
    Unidentified {
        /// Index of the target's view.
        target: usize,
        name: String,
        reason: Unidentified,
    },
}

/// Why a source can't be identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unidentified {
    /// The target has no link with this name.
    NotLinked,
    /// The link has no UID.
    NotPinned,
    /// The target's links can't be read.
    LinksUnreadable,
}

impl Source {
    /// Whether the source is the cluster of this view.
    pub(crate) fn is(&self, view: &View) -> bool {
        matches!(self, Self::Pinned { uid } if view.uid.as_ref() == Some(uid))
    }

    fn of(name: &str, target: usize, links: Option<&[LinkInfo]>) -> Self {
        let link = links.map(|links| links.iter().find(|link| link.cluster_name == name));
        let reason = match link {
            Some(Some(LinkInfo { uid: Some(uid), .. })) => return Self::Pinned { uid: uid.clone() },
            Some(Some(_)) => Unidentified::NotPinned,
            Some(None) => Unidentified::NotLinked,
            None => Unidentified::LinksUnreadable,
        };
        Self::Unidentified { target, name: name.to_owned(), reason }
    }
}

/// All imports, by target, namespace and name.
pub(crate) fn resolve<'a>(views: &[&'a View]) -> Vec<ResolvedImport<'a>> {
    let all = views.iter().enumerate().flat_map(|(target, view)| {
        view.imports.iter().map(move |import| ResolvedImport {
            target,
            import,
            source: Source::of(&import.cluster_name, target, view.links.as_deref()),
        })
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("c2", Ok("u-2"))]
    #[case("by-hand", Err(Unidentified::NotPinned))]
    #[case("c9", Err(Unidentified::NotLinked))]
    fn sources_are_identified_by_the_uid_of_their_link(
        #[case] name: &str,
        #[case] expected: Result<&str, Unidentified>,
    ) {
        let link = |name: &str, uid: Option<&str>| LinkInfo {
            cluster_name: name.into(),
            uid: uid.map(str::to_owned),
        };
        let links = [link("c2", Some("u-2")), link("by-hand", None)];
        let unidentified = |reason| Source::Unidentified { target: 7, name: name.into(), reason };
        let expected = expected.map(|uid| Source::Pinned { uid: uid.into() }).unwrap_or_else(unidentified);
        assert_eq!(Source::of(name, 7, Some(&links)), expected);
        assert_eq!(Source::of(name, 7, None), unidentified(Unidentified::LinksUnreadable));
    }
}
