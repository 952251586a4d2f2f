//! Client certificates and their keys.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::field_problem::IdentityProblem;

/// Checks a certificate chain and its key in PEM. Whether they belong together is checked only if the program has
/// installed a crypto provider; otherwise an error of the client shows it.
pub(crate) fn check_identity(certificate: &[u8], key: &[u8]) -> Result<(), IdentityProblem> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(IdentityProblem::NoCertificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityProblem::NoKey)?;
    let Some(provider) = CryptoProvider::get_default() else { return Ok(()) };
    CertifiedKey::from_der(chain, key, provider).map(drop).map_err(|_| IdentityProblem::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_must_be_that_of_the_certificate() {
        // kube installs its crypto provider.
        let config = kube::Config::new(http::Uri::from_static("https://c2"));
        kube::client::ClientBuilder::try_from(config).unwrap();
        let [one, other] = ["a", "b"].map(|name| rcgen::generate_simple_self_signed([name.into()]).unwrap());
        let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let check = |certificate: &str, key: &str| check_identity(certificate.as_bytes(), key.as_bytes());
        assert_eq!(check(&certificate, &key), Ok(()));
        assert_eq!(check(&format!("{certificate}{key}"), &format!("{certificate}{key}")), Ok(()));
        assert_eq!(check(&other.cert.pem(), &key), Err(IdentityProblem::Mismatch));
        assert_eq!(check(&key, &key), Err(IdentityProblem::NoCertificate));
        assert_eq!(check(&certificate, &certificate), Err(IdentityProblem::NoKey));
        assert_eq!(check("", ""), Err(IdentityProblem::NoCertificate));
    }
}
