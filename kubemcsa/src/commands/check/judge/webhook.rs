//! The webhook: is it there, is it trusted, and for how much longer?

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
use crate::commands::check::facts::{Certificate, Deployed, Entry, Facts, Webhook};
use crate::commands::check::finding::{Finding, Severity, Subject};
use crate::commands::check::fix::Mend;

/// One that is still good for longer has not been forgotten: it is replaced after two thirds of its time.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Of one that never is good for so long, the last part of its time.
const LAST: i32 = 6;

/// The rules.
pub fn judge(facts: &Facts, mend: &Mend) -> Vec<Finding> {
    let Webhook { entries, is_configuration_seen, .. } = &facts.webhook;
    let Some(entries) = entries else {
        return is_configuration_seen.then(|| not_installed(facts, mend)).into_iter().collect();
    };
    let running = not_running(&facts.webhook, entries, mend);
    // A webhook that has never run has made no certificate either.
    let trusted = if running.is_none() { not_trusted(facts, entries, mend) } else { None };
    let ending =
        facts.webhook.certificate.as_ref().and_then(|certificate| ends(certificate, facts.now, mend));
    running.into_iter().chain(trusted).chain(ending).collect()
}

/// Imports are of use without it, where no pod is to have any by its annotation.
fn not_installed(facts: &Facts, mend: &Mend) -> Finding {
    let is_enabled = facts.namespaces.iter().flatten().any(|(_, is_enabled)| *is_enabled);
    let is_missed = is_enabled || facts.pods.as_ref().is_some_and(|pods| !pods.is_empty());
    let message = "there is no webhook, so no pod gets the imports that it names";
    let finding = Finding::problem(configuration(), "NotInstalled", message, mend.install());
    Finding { severity: if is_missed { Severity::Problem } else { Severity::Warning }, ..finding }
}

/// One that is called by a URL is not ours to find from here.
fn not_running(webhook: &Webhook, entries: &[Entry], mend: &Mend) -> Option<Finding> {
    let deployed = match &webhook.deployment {
        _ if !webhook.is_seen || entries.iter().all(|entry| entry.url.is_some()) => return None,
        Some(deployed) if deployed.available > 0 => return None,
        deployed => deployed,
    };
    let effect = "so pods that name imports are refused";
    let (message, command) = match deployed {
        None => (format!("it has no Deployment, {effect}"), mend.install()),
        Some(Deployed { wanted: 0, .. }) => {
            let scale = ["scale", "deployment", "webhook", "--replicas=2"];
            (format!("it is scaled to no pods, {effect}"), mend.in_system(&scale))
        }
        Some(Deployed { wanted, .. }) => {
            let describe = ["describe", "pods", "-l", "app.kubernetes.io/name=webhook"];
            (format!("pods available: 0 of {wanted}, {effect}"), mend.in_system(&describe))
        }
    };
    let object = Subject::namespaced("Deployment", SYSTEM_NAMESPACE, "webhook");
    Some(Finding::problem(object, "WebhookNotRunning", message, command))
}

fn not_trusted(facts: &Facts, entries: &[Entry], mend: &Mend) -> Option<Finding> {
    let message = entries.iter().find_map(|entry| {
        let Entry { name, ca_bundle, .. } = entry;
        if ca_bundle.trim().is_empty() {
            return Some(format!("entry {name} does not say whom to trust (its caBundle is empty)"));
        }
        let certificate = facts.webhook.certificate.as_ref()?;
        (!is_signed(&certificate.chain, ca_bundle, facts.now)?)
            .then(|| format!("entry {name} trusts others than those who signed the webhook's certificate"))
    })?;
    let message = format!("{message}, so the API server does not accept the webhook's answers");
    let restart = mend.in_system(&["rollout", "restart", "deployment", "webhook"]);
    Some(Finding::problem(configuration(), "WebhookNotTrusted", message, restart))
}

fn ends(certificate: &Certificate, now: Timestamp, mend: &Mend) -> Option<Finding> {
    let object = Subject::namespaced("Secret", SYSTEM_NAMESPACE, webhook::CERTIFICATE);
    let renew = match &certificate.issued_by {
        // Its owner says why it is not renewed.
        Some(name) => mend.in_system(&["describe", "certificate", name]),
        None => mend.in_system(&["delete", "secret", webhook::CERTIFICATE]),
    };
    let Some((start, end)) = validity(&certificate.chain) else {
        let message = "the webhook's certificate can't be read";
        return Some(Finding::problem(object, "WebhookCertificateEnds", message, renew));
    };
    let left = end.duration_since(now);
    let message = if left.is_positive() {
        format!("the webhook's certificate ends in {}, at {}", human(left), to_the_second(end))
    } else {
        format!("the webhook's certificate ended at {}", to_the_second(end))
    };
    let message = format!("{message}; it should have been replaced");
    let is_near = left < SOON.min(end.duration_since(start) / LAST);
    is_near.then(|| Finding::problem(object, "WebhookCertificateEnds", message, renew))
}

fn configuration() -> Subject {
    Subject::global("MutatingWebhookConfiguration", webhook::CONFIGURATION)
}

/// From when until when the first certificate of a chain is valid.
fn validity(chain: &str) -> Option<(Timestamp, Timestamp)> {
    validity_of(&CertificateDer::from_pem_slice(chain.as_bytes()).ok()?)
}

/// Whether somebody in the bundle has signed the chain; none where either can't be read. That it has ended is
/// another matter.
fn is_signed(chain: &str, ca_bundle: &str, now: Timestamp) -> Option<bool> {
    let read = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().ok();
    let (chain, authorities) = (read(chain)?, read(ca_bundle)?);
    let (server, intermediates) = chain.split_first()?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let provider: &Arc<CryptoProvider> = CryptoProvider::get_default()?;
    let (start, end) = validity_of(server)?;
    let when = now.clamp(start, end).as_second().try_into().ok()?;
    let parsed = ParsedCertificate::try_from(server).ok()?;
    let verified = verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &roots,
        intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(when)),
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
    use crate::commands::check::fix::tests::mend;
    use crate::commands::check::judge::samples::{NOW, at, facts};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rstest::rstest;
    use time::OffsetDateTime;

    const DAY: i64 = 24 * 3600;

    /// An authority, and a certificate by it that is valid from the one day until the other, counted from now.
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

    fn judged(webhook: Webhook) -> Vec<String> {
        mcsa_runtime::tls::install_provider();
        let webhook = Webhook { is_seen: true, is_configuration_seen: true, ..webhook };
        let findings = judge(&Facts { webhook, now: at(NOW), ..facts() }, &mend());
        findings.into_iter().map(|finding| finding.reason).collect()
    }

    fn entries(ca_bundle: &str, url: Option<&str>) -> Option<Vec<Entry>> {
        let url = url.map(str::to_owned);
        Some(vec![Entry { name: "pods".into(), url, ca_bundle: ca_bundle.into() }])
    }

    fn running() -> Option<Deployed> {
        Some(Deployed { wanted: 2, available: 1 })
    }

    #[rstest]
    #[case::fresh(-10, 80, &[])]
    #[case::to_be_replaced(-61, 29, &[])]
    #[case::forgotten(-84, 6, &["WebhookCertificateEnds"])]
    #[case::ended(-91, -1, &["WebhookCertificateEnds"])]
    #[case::short_lived(-1, 2, &[])]
    fn certificates(#[case] from: i64, #[case] until: i64, #[case] expected: &[&str]) {
        let (authority, chain) = signed(from, until);
        let certificate = Some(Certificate { chain, issued_by: None });
        let entries = entries(&authority, None);
        assert_eq!(
            judged(Webhook { deployment: running(), entries, certificate, ..Default::default() }),
            expected
        );
    }

    #[test]
    fn who_signed_it_is_to_be_trusted() {
        let ((ours, chain), (theirs, _)) = (signed(-1, 80), signed(-1, 80));
        let certificate = Some(Certificate { chain, issued_by: Some("webhook".into()) });
        let judged = |bundle: &str| {
            let (entries, certificate) = (entries(bundle, None), certificate.clone());
            judged(Webhook { deployment: running(), entries, certificate, ..Default::default() })
        };
        assert_eq!(judged(&ours), [""; 0]);
        assert_eq!(judged(&(theirs.clone() + &ours)), [""; 0], "during a rotation there are two");
        assert_eq!(judged(&theirs), ["WebhookNotTrusted"]);
        assert_eq!(judged(""), ["WebhookNotTrusted"]);
    }

    #[test]
    fn who_needs_no_webhook_has_no_problem_without_one() {
        let webhook = Webhook { is_configuration_seen: true, ..Default::default() };
        let nobody = Facts { webhook, ..facts() };
        assert_eq!(judge(&nobody, &mend())[0].severity, Severity::Warning);
        let enabled = Facts { namespaces: Some([("team".to_owned(), true)].into()), ..nobody.clone() };
        assert_eq!(judge(&enabled, &mend())[0].severity, Severity::Problem);
        let annotated = Facts { pods: Some(vec![Default::default()]), ..nobody };
        assert_eq!(judge(&annotated, &mend())[0].severity, Severity::Problem);
    }

    #[rstest]
    #[case::no_configuration(None, running(), &["NotInstalled"])]
    #[case::not_available(entries("", None), Some(Deployed { wanted: 2, available: 0 }), &["WebhookNotRunning"])]
    #[case::no_deployment(entries("", None), None, &["WebhookNotRunning"])]
    #[case::elsewhere(entries("a bundle", Some("https://c1:9443")), None, &[])]
    fn webhooks(
        #[case] entries: Option<Vec<Entry>>,
        #[case] deployment: Option<Deployed>,
        #[case] expected: &[&str],
    ) {
        assert_eq!(judged(Webhook { entries, deployment, ..Default::default() }), expected);
    }
}
