//! Messages and fixes for the failures that an import reports.

use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::relink::{grants_for, imported_grants, missing_flags_hint, revoked_hint};
use super::state::Failure;
use crate::commands::check::facts::Facts;
use crate::commands::check::fix::FixCommands;
use crate::link::desired::MAX_LIFETIME_SECONDS;
use crate::link::existing::ExistingLink;

/// Part of the message with which the admission policy denies a longer lifetime than [`MAX_LIFETIME_SECONDS`].
const TOO_LONG: &str = "24 hours (86400 seconds) at most";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What is wrong.
    pub(crate) message: String,
    /// The command that fixes it, or that shows what to fix.
    pub(crate) fix: String,
}

/// Why the source denies a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// No link can request tokens of service accounts in this namespace.
    Namespace,
    /// No link can request tokens with this lifetime.
    Lifetime,
    /// This link is not allowed to import this service account.
    NotAllowed,
}

pub(crate) fn denial(import: &ServiceAccountImport, message: &str) -> Denial {
    let spec = &import.spec;
    if spec.namespace.starts_with("kube-") || spec.namespace == SYSTEM_NAMESPACE {
        Denial::Namespace
    } else if message.contains(TOO_LONG) || spec.expiration_seconds > MAX_LIFETIME_SECONDS {
        Denial::Lifetime
    } else {
        Denial::NotAllowed
    }
}

/// The advice for an import with this failure.
pub(crate) fn advise(
    facts: &Facts,
    failure: &Failure,
    import: &ServiceAccountImport,
    link: Option<&ExistingLink>,
    commands: &FixCommands,
) -> Advice {
    let spec = &import.spec;
    let source = &spec.cluster_name;
    let namespace = import.namespace().unwrap_or_default();
    let message = format!("{}{}", failure.message, revoked_hint(facts, &failure.reason, import, link));
    let grants = || grants_for(facts, source, link);
    let fix = match failure.reason.as_str() {
        "ClusterNotLinked" | "InvalidLink" => commands.bootstrap_as_in_context(source, link, &grants()),
        "LinkUnauthorized" | "LinkForbidden" | "SourceNotTrusted" => {
            return Advice::bootstrap(message, link, commands.bootstrap(source, link, &grants()));
        }
        // Bootstrap creates a link's own service account, its Secret and its rights.
        "Forbidden" | "ServiceAccountNotFound" | "BoundSecretNotFound" if import.is_link() => {
            return Advice::bootstrap(message, link, commands.bootstrap(source, link, &grants()));
        }
        "SourceUnreachable" => {
            let message = format!(
                "check that {source} is up; if it is, the target needs another address for it: {message}"
            );
            let command = commands.bootstrap_with_server(source, link, &grants());
            return Advice::bootstrap(message, link, command);
        }
        "ClusterIdentityMismatch" => {
            let command = commands.relink(source, link, &imported_grants(facts, source));
            return Advice::bootstrap(message, link, command);
        }
        "Forbidden" => return forbidden(failure, import, link, commands),
        "NotPermitted" => commands.allow_for(link, import),
        "SourceFailed" | "Throttled" => FixCommands::in_source(&["get", "--raw", "/readyz?verbose"]),
        "TokenRequestTimedOut" => FixCommands::in_source(&[
            "get",
            "validatingwebhookconfigurations,mutatingwebhookconfigurations",
            "-o",
            "yaml",
        ]),
        "ServiceAccountNotFound" => {
            FixCommands::in_source(&["-n", &spec.namespace, "create", "serviceaccount", &spec.name])
        }
        "BoundSecretNotFound" => {
            let secret = spec.bound_secret.as_deref().unwrap_or_default();
            FixCommands::in_source(&["-n", &spec.namespace, "create", "secret", "generic", secret])
        }
        "SecretNameConflict" => {
            commands.in_namespace(&namespace, &["describe", "secret", &import.secret_name()])
        }
        "QuotaExceeded" => commands.in_namespace(&namespace, &["describe", "resourcequota"]),
        _ => commands.describe(import),
    };
    Advice { message, fix }
}

impl Advice {
    /// Advises to bootstrap a link with this command.
    pub(crate) fn bootstrap(message: String, link: Option<&ExistingLink>, command: String) -> Self {
        Self { message: format!("{message}{}", missing_flags_hint(link, &command)), fix: command }
    }
}

fn forbidden(
    failure: &Failure,
    import: &ServiceAccountImport,
    link: Option<&ExistingLink>,
    commands: &FixCommands,
) -> Advice {
    let (spec, message) = (&import.spec, &failure.message);
    let (namespace, name) = (import.namespace().unwrap_or_default(), import.name_any());
    let of_import = |verb, args: &[&str]| {
        commands.in_namespace(&namespace, &[&[verb, "serviceaccountimport", &name], args].concat())
    };
    match denial(import, message) {
        Denial::Namespace => Advice {
            message: format!(
                "links can't get tokens of service accounts in kube-* and {SYSTEM_NAMESPACE}: import another \
                 service account; {message}"
            ),
            fix: of_import("edit", &[]),
        },
        Denial::Lifetime => {
            let patch = format!(r#"{{"spec":{{"expirationSeconds":{MAX_LIFETIME_SECONDS}}}}}"#);
            Advice {
                message: format!(
                    "links can't get tokens for more than 24h, but this import has expirationSeconds {}: reduce \
                     it; {message}",
                    spec.expiration_seconds
                ),
                fix: of_import("patch", &["--type=merge", "-p", &patch]),
            }
        }
        Denial::NotAllowed => {
            Advice { message: message.clone(), fix: commands.allow(link, &spec.namespace, &spec.name) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::commands;
    use crate::commands::check::judge::samples::{self, NOW, facts, import_status, link, link_secret};
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
        let failure = Failure { reason: reason.into(), message: message.into() };
        let facts = Facts { imports: samples::imports([import.clone()]), ..facts() };
        advise(&facts, &failure, import, link, &commands())
    }

    const EDIT: &str = "kubectl --context c1 -n team edit serviceaccountimport a";
    const REDUCE: &str = "kubectl --context c1 -n team patch serviceaccountimport a --type=merge -p \
                         '{\"spec\":{\"expirationSeconds\":86400}}'";
    const ALLOW: &str = "kubemcsa allow x/y --target-name c1 --source-context SOURCE_CONTEXT";

    #[rstest]
    #[case::not_allowed("x", 3600, "no", ALLOW)]
    #[case::namespace_of_kubernetes("kube-system", 3600, "no", EDIT)]
    #[case::system_namespace("multicluster-service-account", 3600, "no", EDIT)]
    #[case::too_long("x", 86_401, "no", REDUCE)]
    #[case::longest_lifetime("x", 86_400, "no", ALLOW)]
    #[case::too_long_by_the_message(
        "x",
        3600,
        "denied request: a link can request tokens for 24 hours (86400 seconds) at most",
        REDUCE
    )]
    #[case::namespace_and_lifetime("kube-public", 86_401, "no", EDIT)]
    fn each_denial_has_its_fix(
        #[case] namespace: &str,
        #[case] seconds: i64,
        #[case] message: &str,
        #[case] expected: &str,
    ) {
        let advice = advice("Forbidden", message, &import(namespace, "y", seconds), None);
        assert_eq!(advice.fix, expected);
        assert!(advice.message.ends_with(message), "{}", advice.message);
    }

    #[test]
    fn policy_message_contains_the_text_that_identifies_it() {
        assert!(include_str!("../../../link/rights.yaml").contains(TOO_LONG));
    }

    #[test]
    fn unreachable_source_may_be_down_or_have_another_address() {
        let link = link("c2", import_status(true, None), Some(link_secret(NOW + 60)));
        let advice = advice("SourceUnreachable", "no response", &import("x", "y", 3600), Some(&link));
        assert!(advice.message.starts_with("check that c2 is up;"), "{}", advice.message);
        assert!(advice.fix.contains("--source-server https://ADDRESS"), "{}", advice.fix);
    }

    #[test]
    fn link_without_rights_is_bootstrapped_again() {
        let link = link("c2", import_status(true, None), Some(link_secret(NOW + 60)));
        let advice = advice("LinkForbidden", "cannot get", &import("x", "y", 3600), Some(&link));
        assert_eq!(
            advice.fix,
            "kubemcsa bootstrap --target-context c1 --target-name c1 --source-name c2 --source-server https://c2 \
             --source-context SOURCE_CONTEXT"
        );
    }

    #[test]
    fn replaced_cluster_is_unlinked_and_bootstrapped_again() {
        let link = link("c2", import_status(true, None), Some(link_secret(NOW + 60)));
        let advice = advice("ClusterIdentityMismatch", "another", &import("x", "y", 3600), Some(&link));
        assert_eq!(
            advice.fix,
            "kubemcsa unlink --local-only --target-context c1 --target-name c1 --source-name c2 && kubemcsa bootstrap \
             --target-context c1 --target-name c1 --source-name c2 --source-server https://c2 --allow x/y \
             --source-context SOURCE_CONTEXT"
        );
    }
}
