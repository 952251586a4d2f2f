//! The webhook: does it run, does the API server trust it, and for how long is its certificate valid?

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;

use crate::cli::times::{human, to_the_second};
use crate::commands::check::facts::{Certificate, DeploymentStatus, Entry, Facts, Webhook};
use crate::commands::check::finding::{Finding, Severity, Subject};
use crate::commands::check::fix::FixCommands;

/// A certificate is replaced after two thirds of its lifetime, usually long before this.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A short-lived certificate counts as expiring soon in the last sixth of its lifetime.
const LAST_PART: i32 = 6;

pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    let Webhook { entries, is_configuration_readable, .. } = &facts.webhook;
    let Some(entries) = entries else {
        return is_configuration_readable.then(|| not_installed(facts, commands)).into_iter().collect();
    };
    let not_running = not_running(&facts.webhook, entries, commands);
    // A webhook that never ran has no certificate.
    let not_trusted = if not_running.is_none() { not_trusted(facts, entries, commands) } else { None };
    let certificate = facts.webhook.certificate.as_ref();
    let expires_soon = certificate.and_then(|certificate| expires_soon(certificate, facts.now, commands));
    not_running.into_iter().chain(not_trusted).chain(expires_soon).collect()
}

/// A problem only if pods use the webhook: controllers can use imports without it.
fn not_installed(facts: &Facts, commands: &FixCommands) -> Finding {
    let is_enabled = facts.namespaces.iter().flatten().any(|(_, is_enabled)| *is_enabled);
    let is_needed = is_enabled || facts.pods.as_ref().is_some_and(|pods| !pods.is_empty());
    let message = "the webhook is not installed, so pods don't get the imports that they reference";
    let finding = Finding::problem(configuration(), "NotInstalled", message, commands.install());
    Finding { severity: if is_needed { Severity::Problem } else { Severity::Warning }, ..finding }
}

/// No finding if the API server calls the webhook by a URL: it may run outside of the cluster.
fn not_running(webhook: &Webhook, entries: &[Entry], commands: &FixCommands) -> Option<Finding> {
    let deployment = match &webhook.deployment {
        _ if !webhook.is_readable || entries.iter().all(|entry| entry.url.is_some()) => return None,
        Some(deployment) if deployment.available > 0 => return None,
        deployment => deployment,
    };
    let effect = "so pods that reference imports are refused";
    let (message, fix) = match deployment {
        None => (format!("the webhook has no Deployment, {effect}"), commands.install()),
        Some(DeploymentStatus { desired: 0, .. }) => {
            let scale = ["scale", "deployment", "webhook", "--replicas=2"];
            (format!("the webhook's Deployment is scaled to 0, {effect}"), commands.in_system(&scale))
        }
        Some(DeploymentStatus { desired, .. }) => {
            let describe = ["describe", "pods", "-l", "app.kubernetes.io/name=webhook"];
            (format!("0 of {desired} webhook pods are available, {effect}"), commands.in_system(&describe))
        }
    };
    let object = Subject::namespaced("Deployment", SYSTEM_NAMESPACE, "webhook");
    Some(Finding::problem(object, "WebhookNotRunning", message, fix))
}

fn not_trusted(facts: &Facts, entries: &[Entry], commands: &FixCommands) -> Option<Finding> {
    let message = entries.iter().find_map(|entry| {
        let Entry { name, ca_bundle, .. } = entry;
        if ca_bundle.trim().is_empty() {
            return Some(format!("caBundle of {name} is empty"));
        }
        let certificate = facts.webhook.certificate.as_ref()?;
        (!is_signed(&certificate.chain, ca_bundle, facts.now)?)
            .then(|| format!("caBundle of {name} lacks the authority that signed the webhook's certificate"))
    })?;
    let message = format!("{message}, so the API server does not trust the webhook");
    let restart = commands.in_system(&["rollout", "restart", "deployment", "webhook"]);
    Some(Finding::problem(configuration(), "WebhookNotTrusted", message, restart))
}

fn expires_soon(certificate: &Certificate, now: Timestamp, commands: &FixCommands) -> Option<Finding> {
    let object = Subject::namespaced("Secret", SYSTEM_NAMESPACE, webhook::CERTIFICATE);
    let renew = match &certificate.cert_manager_name {
        // Its status shows why it was not renewed.
        Some(name) => commands.in_system(&["describe", "certificate", name]),
        None => commands.in_system(&["delete", "secret", webhook::CERTIFICATE]),
    };
    let Some((start, end)) = validity(&certificate.chain) else {
        let message = "the webhook's certificate can't be parsed";
        return Some(Finding::problem(object, "WebhookCertificateExpires", message, renew));
    };
    let left = end.duration_since(now);
    let message = if left.is_positive() {
        format!("the webhook's certificate expires in {}, at {}", human(left), to_the_second(end))
    } else {
        format!("the webhook's certificate expired at {}", to_the_second(end))
    };
    let message = format!("{message}; it should have been replaced by now");
    let is_soon = left < EXPIRES_SOON.min(end.duration_since(start) / LAST_PART);
    is_soon.then(|| Finding::problem(object, "WebhookCertificateExpires", message, renew))
}

fn configuration() -> Subject {
    Subject::cluster_scoped("MutatingWebhookConfiguration", webhook::CONFIGURATION)
}

/// Start and end of the validity of a chain's first certificate.
fn validity(chain: &str) -> Option<(Timestamp, Timestamp)> {
    validity_of(&CertificateDer::from_pem_slice(chain.as_bytes()).ok()?)
}

/// Whether an authority in the bundle signed the chain, even if it has expired. `None`: one of them can't be parsed.
fn is_signed(chain: &str, ca_bundle: &str, now: Timestamp) -> Option<bool> {
    let read = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().ok();
    let (chain, authorities) = (read(chain)?, read(ca_bundle)?);
    let (server, intermediates) = chain.split_first()?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let provider: &Arc<CryptoProvider> = CryptoProvider::get_default()?;
    let (start, end) = validity_of(server)?;
    let time = now.clamp(start, end).as_second().try_into().ok()?;
    let parsed = ParsedCertificate::try_from(server).ok()?;
    let verified = verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &roots,
        intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(time)),
        provider.signature_verification_algorithms.all,
    );
    Some(verified.is_ok())
}

fn validity_of(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let validity = certificate.validity();
    let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((time(validity.not_before)?, time(validity.not_after)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::commands;
    use crate::commands::check::judge::samples::{NOW, at, facts};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rstest::rstest;
    use time::OffsetDateTime;

    const DAY: i64 = 24 * 3600;

    /// An authority, and a certificate that it signed, which is valid between these days, counted from now.
    fn signed(from: i64, until: i64) -> (String, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = OffsetDateTime::UNIX_EPOCH;
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(vec!["webhook".to_owned()]).unwrap();
        let day = |day: i64| OffsetDateTime::from_unix_timestamp(NOW + day * DAY).unwrap();
        (params.not_before, params.not_after) = (day(from), day(until));
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
        (authority.pem(), certificate.pem())
    }

    fn reasons(webhook: Webhook) -> Vec<String> {
        mcsa_runtime::tls::install_provider();
        let webhook = Webhook { is_readable: true, is_configuration_readable: true, ..webhook };
        let findings = judge(&Facts { webhook, now: at(NOW), ..facts() }, &commands());
        findings.into_iter().map(|finding| finding.reason).collect()
    }

    fn entries(ca_bundle: &str, url: Option<&str>) -> Option<Vec<Entry>> {
        let url = url.map(str::to_owned);
        Some(vec![Entry { name: "pods".into(), url, ca_bundle: ca_bundle.into() }])
    }

    fn running() -> Option<DeploymentStatus> {
        Some(DeploymentStatus { desired: 2, available: 1 })
    }

    #[rstest]
    #[case::fresh(-10, 80, &[])]
    #[case::renewal_due(-61, 29, &[])]
    #[case::renewal_overdue(-84, 6, &["WebhookCertificateExpires"])]
    #[case::expired(-91, -1, &["WebhookCertificateExpires"])]
    #[case::short_lived(-1, 2, &[])]
    fn overdue_certificate_is_reported(#[case] from: i64, #[case] until: i64, #[case] expected: &[&str]) {
        let (authority, chain) = signed(from, until);
        let certificate = Some(Certificate { chain, cert_manager_name: None });
        let entries = entries(&authority, None);
        assert_eq!(
            reasons(Webhook { deployment: running(), entries, certificate, ..Default::default() }),
            expected
        );
    }

    #[test]
    fn ca_bundle_must_contain_the_authority_that_signed_the_certificate() {
        let ((ours, chain), (theirs, _)) = (signed(-1, 80), signed(-1, 80));
        let certificate = Some(Certificate { chain, cert_manager_name: Some("webhook".into()) });
        let reasons_with = |bundle: &str| {
            let (entries, certificate) = (entries(bundle, None), certificate.clone());
            reasons(Webhook { deployment: running(), entries, certificate, ..Default::default() })
        };
        assert_eq!(reasons_with(&ours), [""; 0]);
        assert_eq!(reasons_with(&(theirs.clone() + &ours)), [""; 0], "during a rotation there are two");
        assert_eq!(reasons_with(&theirs), ["WebhookNotTrusted"]);
        assert_eq!(reasons_with(""), ["WebhookNotTrusted"]);
    }

    #[test]
    fn missing_webhook_is_a_problem_only_if_it_is_used() {
        let webhook = Webhook { is_configuration_readable: true, ..Default::default() };
        let unused = Facts { webhook, ..facts() };
        assert_eq!(judge(&unused, &commands())[0].severity, Severity::Warning);
        let enabled = Facts { namespaces: Some([("team".to_owned(), true)].into()), ..unused.clone() };
        assert_eq!(judge(&enabled, &commands())[0].severity, Severity::Problem);
        let annotated = Facts { pods: Some(vec![Default::default()]), ..unused };
        assert_eq!(judge(&annotated, &commands())[0].severity, Severity::Problem);
    }

    #[rstest]
    #[case::no_configuration(None, running(), &["NotInstalled"])]
    #[case::not_available(entries("", None), Some(DeploymentStatus { desired: 2, available: 0 }), &["WebhookNotRunning"])]
    #[case::no_deployment(entries("", None), None, &["WebhookNotRunning"])]
    #[case::outside_of_the_cluster(entries("a bundle", Some("https://c1:9443")), None, &[])]
    fn webhook_must_be_registered_and_available(
        #[case] entries: Option<Vec<Entry>>,
        #[case] deployment: Option<DeploymentStatus>,
        #[case] expected: &[&str],
    ) {
        assert_eq!(reasons(Webhook { entries, deployment, ..Default::default() }), expected);
    }
}
