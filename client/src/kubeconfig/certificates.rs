//! PEM bundles of certificate authorities, and the PEM of client certificates.
//!
//! A bundle is passed on as what was understood of it: its readable certificates, without keys and comments.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::field_problem::{FieldProblem, certificates};

/// What `kubectl config view` prints in place of data.
const OMITTED: [&str; 2] = ["DATA+OMITTED", "REDACTED"];

/// The readable certificates of a PEM bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaBundle {
    certificates: Vec<Vec<u8>>,
    /// The numbers of the others in the bundle, from one.
    unreadable: Vec<usize>,
}

impl CaBundle {
    /// Parses PEM. Ignores text between the blocks, in any encoding (RFC 7468), and blocks that are no certificates. As
    /// kubectl does, leaves out certificates that can't be read.
    ///
    /// # Errors
    /// If no certificate can be read. `field` is for the error.
    pub fn parse(field: &'static str, pem: &[u8]) -> Result<Self, FieldProblem> {
        let (mut certificates, mut unreadable) = (Vec::new(), Vec::new());
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
            match certificate {
                Ok(certificate) if RootCertStore::empty().add(certificate.clone()).is_ok() => {
                    certificates.push(certificate.to_vec());
                }
                _ => unreadable.push(number),
            }
        }
        match certificates.is_empty() {
            true => Err(FieldProblem::Certificates { field, unreadable }),
            false => Ok(Self { certificates, unreadable }),
        }
    }

    /// The certificates in DER, as kube takes them.
    pub fn der(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// The certificates in PEM.
    pub fn pem(&self) -> String {
        let block = |certificate: &Vec<u8>| {
            let text = STANDARD.encode(certificate);
            // Lines of 64 characters (RFC 7468, section 2).
            let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
        };
        self.certificates.iter().map(block).collect()
    }

    /// A warning, if certificates were left out.
    pub fn warning(&self) -> Option<String> {
        let total = self.certificates.len() + self.unreadable.len();
        (!self.unreadable.is_empty()).then(|| {
            format!(
                "{} of {total} in the certificate authority can't be read and is left out",
                certificates(&self.unreadable)
            )
        })
    }
}

/// Decodes base64-encoded PEM, which may have line breaks, as for client-go.
pub(crate) fn decode_pem(field: &'static str, data: &str) -> Result<Vec<u8>, FieldProblem> {
    if is_omitted(data) {
        return Err(FieldProblem::Omitted(field));
    }
    let bytes = decode(data).ok_or(FieldProblem::NotPem(field))?;
    if is_pem(&bytes) {
        return Ok(bytes);
    }
    let again = std::str::from_utf8(&bytes).ok().and_then(decode);
    let is_twice = again.is_some_and(|bytes| is_pem(&bytes));
    Err(if is_twice { FieldProblem::EncodedTwice(field) } else { FieldProblem::NotPem(field) })
}

/// Decodes base64, and allows line breaks as client-go does.
pub(crate) fn decode(base64: &str) -> Option<Vec<u8>> {
    STANDARD.decode(base64.split_whitespace().collect::<String>()).ok()
}

/// Whether `kubectl config view` left the value out.
pub(super) fn is_omitted(value: &str) -> bool {
    OMITTED.contains(&value.trim())
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["c2".to_owned()]).unwrap().cert.pem()
    }

    fn block(tag: &str, text: &str) -> String {
        format!("-----BEGIN {tag}-----\n{text}\n-----END {tag}-----\n")
    }

    #[test]
    fn only_readable_certificates_are_passed_on() {
        let (first, second) = (certificate(), certificate());
        let key = block("PRIVATE KEY", "AAAA");
        let unreadable = block("CERTIFICATE", "AAAA");
        let mut pem = b"# Autorit\xe9\r\n".to_vec();
        pem.extend(format!("{first}{key}text\r\n{unreadable}{}", second.replace('\n', "\r\n")).into_bytes());
        let bundle = CaBundle::parse("ca", &pem).unwrap();
        assert_eq!(bundle.pem().replace("\r\n", "\n"), format!("{first}{second}").replace("\r\n", "\n"));
        assert_eq!(bundle.der().len(), 2);
        let warning = bundle.warning().unwrap();
        assert!(warning.starts_with("certificate 2 of 3"), "{warning}");
    }

    #[rstest]
    #[case::no_block("", &[])]
    #[case::only_a_key(&block("PRIVATE KEY", "AAAA"), &[])]
    #[case::not_der(&block("CERTIFICATE", "AAAA"), &[1])]
    #[case::not_base64(&block("CERTIFICATE", "!!"), &[1])]
    #[case::cut("-----BEGIN CERTIFICATE-----\nAAAA\n", &[1])]
    fn bundles_without_a_readable_certificate_are_errors(#[case] pem: &str, #[case] unreadable: &[usize]) {
        let problem = CaBundle::parse("ca", pem.as_bytes()).unwrap_err();
        assert_eq!(problem, FieldProblem::Certificates { field: "ca", unreadable: unreadable.to_vec() });
    }

    #[rstest]
    #[case::omitted("DATA+OMITTED", FieldProblem::Omitted("ca"))]
    #[case::redacted("REDACTED", FieldProblem::Omitted("ca"))]
    #[case::not_base64("t0ken!", FieldProblem::NotPem("ca"))]
    #[case::twice(&STANDARD.encode(STANDARD.encode(block("CERTIFICATE", "AAAA"))), FieldProblem::EncodedTwice("ca"))]
    fn data_that_is_not_pem_is_named(#[case] data: &str, #[case] expected: FieldProblem) {
        assert_eq!(decode_pem("ca", data).unwrap_err(), expected);
    }

    #[test]
    fn base64_may_have_line_breaks() {
        let data = STANDARD.encode(block("CERTIFICATE", "AAAA"));
        assert!(decode_pem("ca", &format!("{}\n  {}\n", &data[..10], &data[10..])).is_ok());
    }
}
