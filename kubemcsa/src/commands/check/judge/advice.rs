//! What to do about what an import says of itself.

use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::relink::{allowed, left_out, named};
use super::state::Said;
use crate::commands::check::facts::Facts;
use crate::commands::check::fix::Mend;
use crate::link::existing::ExistingLink;

/// The longest lifetime that the admission policy of links allows, and how it says so.
const LONGEST: i64 = 86_400;
const TOO_LONG: &str = "24 hours (86400 seconds) at most";

/// What people are told, and what to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong.
    pub message: String,
    /// The command that mends it, or that shows what to mend.
    pub mend: String,
}

/// Why the source allows no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// For whom it is: the admission policy never allows that.
    Always,
    /// It would live for too long.
    TooLong,
    /// Nobody has allowed it.
    NotAllowed,
}

/// Why this import is forbidden.
pub fn refused(import: &ServiceAccountImport, message: &str) -> Refused {
    let spec = &import.spec;
    if spec.namespace.starts_with("kube-") || spec.namespace == SYSTEM_NAMESPACE {
        Refused::Always
    } else if message.contains(TOO_LONG) || spec.expiration_seconds > LONGEST {
        Refused::TooLong
    } else {
        Refused::NotAllowed
    }
}

/// The advice for an import that says this.
pub fn advise(
    facts: &Facts,
    said: &Said,
    import: &ServiceAccountImport,
    link: Option<&ExistingLink>,
    mend: &Mend,
) -> Advice {
    let spec = &import.spec;
    let source = &spec.cluster_name;
    let namespace = import.namespace().unwrap_or_default();
    let message = said.message.clone();
    let allow = || allowed(facts, source, link);
    let command = match said.reason.as_str() {
        "ClusterNotLinked" | "InvalidLink" => mend.bootstrap_elsewhere(source, link, &allow()),
        "LinkUnauthorized" | "SourceNotTrusted" => {
            return Advice::again(message, link, mend.bootstrap(source, link, &allow()));
        }
        // The service account of a link is bootstrap's to make, and so are its rights.
        "Forbidden" | "ServiceAccountNotFound" | "BoundSecretNotFound" if import.is_link() => {
            return Advice::again(message, link, mend.bootstrap(source, link, &allow()));
        }
        "SourceUnreachable" => {
            let message = format!(
                "see first whether {source} is up; if it is, the importer needs another address of it: {message}"
            );
            let command = mend.bootstrap_at_another_address(source, link, &allow());
            return Advice::again(message, link, command);
        }
        "ClusterIdentityMismatch" => {
            let command = mend.replace(source, link, &named(facts, source));
            return Advice::again(message, link, command);
        }
        "Forbidden" => return forbidden(said, import, link, mend),
        "SourceFailed" | "Throttled" => Mend::in_source(&["get", "--raw", "/readyz?verbose"]),
        "ServiceAccountNotFound" => {
            Mend::in_source(&["-n", &spec.namespace, "create", "serviceaccount", &spec.name])
        }
        "BoundSecretNotFound" => {
            let secret = spec.bound_secret.as_deref().unwrap_or_default();
            Mend::in_source(&["-n", &spec.namespace, "create", "secret", "generic", secret])
        }
        "SecretNameConflict" => mend.in_namespace(&namespace, &["describe", "secret", &import.secret_name()]),
        "QuotaExceeded" => mend.in_namespace(&namespace, &["describe", "resourcequota"]),
        _ => mend.describe(import),
    };
    Advice { message, mend: command }
}

impl Advice {
    /// To make a link anew by this command.
    pub fn again(message: String, link: Option<&ExistingLink>, command: String) -> Self {
        Self { message: format!("{message}{}", left_out(link, &command)), mend: command }
    }
}

fn forbidden(said: &Said, import: &ServiceAccountImport, link: Option<&ExistingLink>, mend: &Mend) -> Advice {
    let (spec, message) = (&import.spec, &said.message);
    let (namespace, name) = (import.namespace().unwrap_or_default(), import.name_any());
    let of_import = |verb, words: &[&str]| {
        mend.in_namespace(&namespace, &[&[verb, "serviceaccountimport", &name], words].concat())
    };
    match refused(import, message) {
        Refused::Always => Advice {
            message: format!(
                "no link gets tokens of service accounts in kube-* and {SYSTEM_NAMESPACE}, whatever it is allowed: \
                 import another service account; {message}"
            ),
            mend: of_import("edit", &[]),
        },
        Refused::TooLong => {
            let patch = format!(r#"{{"spec":{{"expirationSeconds":{LONGEST}}}}}"#);
            Advice {
                message: format!(
                    "no link gets tokens for more than 24 hours, and this import wants {} s: lower its \
                     expirationSeconds; {message}",
                    spec.expiration_seconds
                ),
                mend: of_import("patch", &["--type=merge", "-p", &patch]),
            }
        }
        Refused::NotAllowed => {
            Advice { message: message.clone(), mend: mend.allow(link, &spec.namespace, &spec.name) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::mend;
    use crate::commands::check::judge::samples::{self, NOW, facts, link, link_secret, tried};
    use rstest::rstest;
    use serde_json::Value;

    fn import(namespace: &str, name: &str, seconds: i64) -> ServiceAccountImport {
        let mut import = samples::import("team", "a", "c2", Value::Null);
        let spec = &mut import.spec;
        (spec.namespace, spec.name, spec.expiration_seconds) = (namespace.into(), name.into(), seconds);
        import
    }

    fn advice(
        reason: &str,
        message: &str,
        import: &ServiceAccountImport,
        link: Option<&ExistingLink>,
    ) -> Advice {
        let said = Said { reason: reason.into(), message: message.into() };
        let facts = Facts { imports: samples::imports([import.clone()]), ..facts() };
        advise(&facts, &said, import, link, &mend())
    }

    const EDIT: &str = "kubectl --context c1 -n team edit serviceaccountimport a";
    const LOWER: &str = "kubectl --context c1 -n team patch serviceaccountimport a --type=merge -p \
                         '{\"spec\":{\"expirationSeconds\":86400}}'";
    const ALLOW: &str = "kubemcsa allow x/y --target-name c1 --source-context SOURCE_CONTEXT";

    #[rstest]
    #[case::not_allowed("x", 3600, "no", ALLOW)]
    #[case::of_the_cluster("kube-system", 3600, "no", EDIT)]
    #[case::of_the_system("multicluster-service-account", 3600, "no", EDIT)]
    #[case::too_long("x", 86_401, "no", LOWER)]
    #[case::as_long_as_can_be("x", 86_400, "no", ALLOW)]
    #[case::too_long_for_the_policy(
        "x",
        3600,
        "denied request: a link gets tokens of 24 hours (86400 seconds) at most",
        LOWER
    )]
    #[case::wrong_in_two_ways("kube-public", 86_401, "no", EDIT)]
    fn what_is_forbidden(
        #[case] namespace: &str,
        #[case] seconds: i64,
        #[case] message: &str,
        #[case] expected: &str,
    ) {
        let advice = advice("Forbidden", message, &import(namespace, "y", seconds), None);
        assert_eq!(advice.mend, expected);
        assert!(advice.message.ends_with(message), "{}", advice.message);
    }

    #[test]
    fn the_policy_says_it_in_these_words() {
        assert!(include_str!("../../../link/rights.yaml").contains(TOO_LONG));
    }

    #[test]
    fn a_source_that_is_away_may_be_down() {
        let link = link("c2", tried(true, None), Some(link_secret(NOW + 60)));
        let advice = advice("SourceUnreachable", "nobody answers", &import("x", "y", 3600), Some(&link));
        assert!(advice.message.starts_with("see first whether c2 is up;"), "{}", advice.message);
        assert!(advice.mend.contains("--source-server https://ADDRESS"), "{}", advice.mend);
    }

    #[test]
    fn a_cluster_in_the_place_of_another_is_linked_anew() {
        let link = link("c2", tried(true, None), Some(link_secret(NOW + 60)));
        let advice = advice("ClusterIdentityMismatch", "another", &import("x", "y", 3600), Some(&link));
        assert_eq!(
            advice.mend,
            "kubemcsa unlink --local-only --target-context c1 --target-name c1 --source-name c2 && kubemcsa bootstrap \
             --target-context c1 --target-name c1 --source-name c2 --source-server https://c2 --allow x/y \
             --source-context SOURCE_CONTEXT"
        );
    }
}
