//! Which cluster the source of an import is.

use super::view::{ImportSeen, LinkSeen, View};

/// An import of a target, and its source.
pub struct Resolved<'a> {
    /// The target, by its place among the clusters that were looked at.
    pub target: usize,
    /// The import.
    pub import: &'a ImportSeen,
    /// Where its service account is.
    pub source: Source,
}

/// The source of an import. Two imports with the same one share their identities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The link is pinned to this UID, which is that of one cluster wherever it is named.
    Pinned {
        /// The UID.
        uid: String,
    },
    /// All that is known is what this target calls it.
    Called {
        /// The target, by its place.
        target: usize,
        /// The name.
        name: String,
        /// Why no more is known.
        why: Why,
    },
}

/// Why it is not known which cluster a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The target has no link of that name.
    Unlinked,
    /// The link does not say which cluster it is for.
    Unpinned,
    /// The target's links may not be read.
    Unread,
}

impl Source {
    /// Whether it is the cluster that was looked at.
    pub fn is(&self, view: &View) -> bool {
        matches!(self, Self::Pinned { uid } if view.uid.as_ref() == Some(uid))
    }

    fn of(name: &str, target: usize, links: Option<&[LinkSeen]>) -> Self {
        let link = links.map(|links| links.iter().find(|link| link.cluster_name == name));
        let why = match link {
            Some(Some(LinkSeen { uid: Some(uid), .. })) => return Self::Pinned { uid: uid.clone() },
            Some(Some(_)) => Why::Unpinned,
            Some(None) => Why::Unlinked,
            None => Why::Unread,
        };
        Self::Called { target, name: name.to_owned(), why }
    }
}

/// All imports, by target, namespace and name.
pub fn resolve<'a>(views: &[&'a View]) -> Vec<Resolved<'a>> {
    let all = views.iter().enumerate().flat_map(|(target, view)| {
        view.imports.iter().map(move |import| Resolved {
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
    #[case("by-hand", Err(Why::Unpinned))]
    #[case("c9", Err(Why::Unlinked))]
    fn sources(#[case] name: &str, #[case] expected: Result<&str, Why>) {
        let link = |name: &str, uid: Option<&str>| LinkSeen {
            cluster_name: name.into(),
            uid: uid.map(str::to_owned),
        };
        let links = [link("c2", Some("u-2")), link("by-hand", None)];
        let called = |why| Source::Called { target: 7, name: name.into(), why };
        let expected = expected.map(|uid| Source::Pinned { uid: uid.into() }).unwrap_or_else(called);
        assert_eq!(Source::of(name, 7, Some(&links)), expected);
        assert_eq!(Source::of(name, 7, None), called(Why::Unread));
    }
}
