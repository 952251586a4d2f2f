//! Whether a source is reachable, by the health of its members. A pure function.

use mcsa_client::clusters::Health;
use mcsa_runtime::errors;

/// Whether the launcher can run pods in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reachability {
    Reachable,
    /// Nothing is known yet, so what was known before the launcher started stays.
    Unknown,
    Unreachable {
        reason: &'static str,
        message: String,
    },
}

/// One member that works is enough: others may have problems of their own.
///
/// The client library calls a cluster unavailable only after it was asked again with other credentials, so a single
/// failed request never makes a source unreachable.
pub(crate) fn reachability<'a>(members: impl IntoIterator<Item = &'a Health>) -> Reachability {
    let (mut is_unknown, mut unavailable, mut is_unauthorized) = (false, None, false);
    for health in members {
        match health {
            Health::Ready => return Reachability::Reachable,
            Health::Unavailable { problem, .. } => unavailable = unavailable.or(Some(problem)),
            Health::Unauthorized => is_unauthorized = true,
            // Also a state that a later version of the library adds.
            _ => is_unknown = true,
        }
    }
    let unreachable = |reason, message| Reachability::Unreachable { reason, message };
    match (unavailable, is_unknown, is_unauthorized) {
        (_, true, _) | (None, false, false) => Reachability::Unknown,
        (Some(problem), ..) => unreachable("SourceUnavailable", errors::short(problem)),
        (None, ..) => unreachable(
            "Unauthorized",
            "the source refuses the credentials of all launch imports: see their conditions, or run kubemcsa check"
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn unavailable() -> Health {
        Health::Unavailable { problem: "no response\nwithin 5s".into(), is_unresponsive: true }
    }

    #[rstest]
    #[case::one_is_ready(&[unavailable(), Health::Unauthorized, Health::Ready], "Reachable")]
    #[case::no_members(&[], "Unknown")]
    #[case::not_checked(&[Health::Unknown], "Unknown")]
    #[case::one_is_not_checked(&[unavailable(), Health::Unknown], "Unknown")]
    #[case::unavailable(&[unavailable()], "SourceUnavailable: no response within 5s")]
    #[case::unavailable_and_unauthorized(
        &[Health::Unauthorized, unavailable()],
        "SourceUnavailable: no response within 5s"
    )]
    fn source_is_reachable_if_a_member_works(#[case] members: &[Health], #[case] expected: &str) {
        let found = match reachability(members) {
            Reachability::Reachable => "Reachable".to_owned(),
            Reachability::Unknown => "Unknown".to_owned(),
            Reachability::Unreachable { reason, message } => format!("{reason}: {message}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn refused_credentials_make_a_source_unreachable() {
        let found = reachability(&[Health::Unauthorized]);
        assert!(matches!(found, Reachability::Unreachable { reason: "Unauthorized", .. }), "{found:?}");
    }
}
