//! Who calls.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use x509_parser::x509::AttributeTypeAndValue;

/// The group of all authenticated users.
const AUTHENTICATED: &str = "system:authenticated";

/// An authenticated user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

/// The user of a client certificate, which the TLS handshake verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertificateUser {
    pub(super) user: User,
    /// When the certificate expires. A connection may live longer.
    pub(super) end: Timestamp,
}

impl CertificateUser {
    /// Reads a certificate in DER: the common name is the user, the organizations are its groups. `None`: it names
    /// nobody.
    pub(super) fn read(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let subject = certificate.subject();
        let text = |attribute: &AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
        // The last of several, as in API servers.
        let name = subject.iter_common_name().last().and_then(text).filter(|name| !name.is_empty())?;
        let mut groups: Vec<_> = subject.iter_organization().filter_map(text).collect();
        groups.push(AUTHENTICATED.to_owned());
        let end = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
        Some(Self { user: User { name, uid: None, groups, extra: BTreeMap::new() }, end })
    }
}

impl User {
    /// The user of a token. `None`: the review names nobody.
    pub(super) fn of_review(info: UserInfo) -> Option<Self> {
        let name = info.username.filter(|name| !name.is_empty())?;
        let (groups, extra) = (info.groups.unwrap_or_default(), info.extra.unwrap_or_default());
        Some(Self { name, uid: info.uid.filter(|uid| !uid.is_empty()), groups, extra })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use rstest::rstest;

    #[rstest]
    #[case(&[("CN", "admin"), ("O", "system:masters"), ("O", "ops")], Some(("admin", vec!["system:masters", "ops"])))]
    #[case(&[("CN", "me")], Some(("me", vec![])))]
    #[case(&[("O", "system:masters")], None)]
    #[case(&[("CN", ""), ("O", "system:masters")], None)]
    fn subject_of_a_certificate_names_user_and_groups(
        #[case] subject: &[(&str, &str)],
        #[case] expected: Option<(&str, Vec<&str>)>,
    ) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (index, (of, value)) in subject.iter().enumerate() {
            let kind = match (*of, index) {
                ("CN", _) => DnType::CommonName,
                // rcgen keeps one value for each type.
                (_, 1) => DnType::CustomDnType(vec![2, 5, 4, 10]),
                _ => DnType::OrganizationName,
            };
            params.distinguished_name.push(kind, *value);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = CertificateUser::read(certificate.der()).map(|read| read.user);
        let expected = expected.map(|(name, mut groups)| {
            groups.push("system:authenticated");
            (name.to_owned(), groups.into_iter().map(str::to_owned).collect::<Vec<_>>())
        });
        assert_eq!(read.map(|user| (user.name, user.groups)), expected);
    }

    #[test]
    fn garbage_names_nobody() {
        assert_eq!(CertificateUser::read(b"garbage"), None);
    }
}
