//! Whether a source is reachable, by the health of its members.

use mcsa_client::clusters::{Health, Member};
use mcsa_runtime::errors;

use crate::launch_import::is_of_secret;

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

/// Whether the source of these members is reachable.
pub(crate) fn reachability<'a>(members: impl IntoIterator<Item = &'a Member>) -> Reachability {
    let (mut healths, mut uses_secrets) = (Vec::new(), false);
    for member in members {
        healths.push(member.health());
        uses_secrets |= is_of_secret(member);
    }
    judge(&healths, uses_secrets)
}

/// One member that works is enough: others may have problems of their own. A pure function.
///
/// The client library calls a cluster unavailable only after it was asked again with other credentials, so a single
/// failed request never makes a source unreachable.
fn judge(members: &[Health], uses_secrets: bool) -> Reachability {
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
        (None, ..) => {
            let message = match uses_secrets {
                true => {
                    "the source refuses all credentials: replace those in Argo's Secrets, and see the conditions of \
                     launch imports, if there are any"
                }
                false => {
                    "the source refuses the credentials of all launch imports: see their conditions, or run \
                     kubemcsa check"
                }
            };
            unreachable("Unauthorized", message.to_owned())
        }
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
        let found = match judge(members, false) {
            Reachability::Reachable => "Reachable".to_owned(),
            Reachability::Unknown => "Unknown".to_owned(),
            Reachability::Unreachable { reason, message } => format!("{reason}: {message}"),
        };
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case::launch_imports(false, "run kubemcsa check")]
    #[case::secrets(true, "replace those in Argo's Secrets")]
    fn refused_credentials_make_a_source_unreachable(#[case] uses_secrets: bool, #[case] expected: &str) {
        let found = judge(&[Health::Unauthorized], uses_secrets);
        let Reachability::Unreachable { reason: "Unauthorized", message } = &found else {
            panic!("{found:?}")
        };
        assert!(message.contains(expected), "{message}");
    }
}
