//! Reads kubeconfigs as kubectl does.
//!
//! files → document → context
//!
//! A file is read loosely: only the context in use, its cluster and its user must be right. A [`Policy`] says what a
//! kubeconfig may do on this machine. No error quotes a value, because it may be a credential.

mod auth_provider;
mod certificates;
mod context;
mod document;
mod endpoint;
mod entry;
mod exec;
mod field_problem;
mod files;
mod identity;
mod impersonation;
mod place;
mod policy;
mod problem;
pub mod proxy;
pub mod url;
mod user;

use std::path::Path;

pub(crate) use self::auth_provider::id_token;
pub use self::certificates::CaBundle;
#[cfg(feature = "argo")]
pub(crate) use self::certificates::{decode, decode_pem};
pub use self::context::Context;
pub(crate) use self::context::config_of_values;
#[cfg(feature = "argo")]
pub(crate) use self::context::server_url;
pub use self::document::Kubeconfig;
use self::document::Limits;
pub use self::endpoint::Endpoint;
pub use self::entry::Entry;
#[cfg(feature = "argo")]
pub(crate) use self::field_problem::INSECURE;
pub use self::field_problem::{FieldProblem, IdentityProblem, alternative, list};
pub use self::files::Files;
pub(crate) use self::identity::check_identity;
pub use self::place::{EntryKind, describe};
pub use self::policy::Policy;
pub use self::problem::{EntryProblem, Problem};

/// How a consumer verifies the source's API server. Not part of an [`Endpoint`], because the importer always verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Verify its certificate.
    Certificate,
    /// Don't verify. An attacker on the network can read the token and impersonate the source.
    Nothing,
}

impl Kubeconfig {
    /// Parses data of others, such as the value of a Secret. `file`: for a mount, the file that it was read from; relative
    /// paths begin in its folder.
    ///
    /// # Errors
    /// If it is not a kubeconfig, or too large for one.
    pub fn from_data(text: &str, file: Option<&Path>) -> Result<Self, Problem> {
        Self::parse(text.as_bytes(), file, Limits::Data)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::*;

    /// A certificate authority.
    pub(crate) const CA: &str = "-----BEGIN CERTIFICATE-----\n\
MIIBcTCCARegAwIBAgIUW9ufFcgiviNjINBZUIoQWFXQiF4wCgYIKoZIzj0EAwIw\n\
DTELMAkGA1UEAwwCY2EwIBcNMjYxMTI5MDYyNDMxWhgPMjEyNjExMDUwNjI0MzFa\n\
MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEl4APZdNs\n\
55CQbjWqTds5WnbG63MuFr0LGEL88byVkFGcZX519LzIilqyu9xRviy8Kw02+Azf\n\
tggzBmXJuJ1g3KNTMFEwHQYDVR0OBBYEFBm4oEGcY3k0iFw0F1XAj4FHyJUrMB8G\n\
A1UdIwQYMBaAFBm4oEGcY3k0iFw0F1XAj4FHyJUrMA8GA1UdEwEB/wQFMAMBAf8w\n\
CgYIKoZIzj0EAwIDSAAwRQIgecUNbhZZ7TgxVy/rdcLti1Yg9LAbkyYZ717Lgxta\n\
PDwCIQCzUEQmFkbMWav4/waCwzhlv7jdIh/KIZtrEs00nTwasA==\n\
-----END CERTIFICATE-----\n";

    /// A kubeconfig as the importer writes it.
    pub(crate) const KUBECONFIG: &str = "apiVersion: v1
kind: Config
clusters:
- name: c2-pod-lister
  cluster:
    server: https://c2.example:6443
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJjVENDQVJlZ0F3SUJBZ0lVVzl1ZkZjZ2l2aU5qSU5CWlVJb1FXRlhRaUY0d0NnWUlLb1pJemowRUF3SXcKRFRFTE1Ba0dBMVVFQXd3Q1kyRXdJQmNOTWpZeE1USTVNRFl5TkRNeFdoZ1BNakV5TmpFeE1EVXdOakkwTXpGYQpNQTB4Q3pBSkJnTlZCQU1NQW1OaE1Ga3dFd1lIS29aSXpqMENBUVlJS29aSXpqMERBUWNEUWdBRWw0QVBaZE5zCjU1Q1FialdxVGRzNVduYkc2M011RnIwTEdFTDg4YnlWa0ZHY1pYNTE5THpJaWxxeXU5eFJ2aXk4S3cwMitBemYKdGdnekJtWEp1SjFnM0tOVE1GRXdIUVlEVlIwT0JCWUVGQm00b0VHY1kzazBpRncwRjFYQWo0Rkh5SlVyTUI4RwpBMVVkSXdRWU1CYUFGQm00b0VHY1kzazBpRncwRjFYQWo0Rkh5SlVyTUE4R0ExVWRFd0VCL3dRRk1BTUJBZjh3CkNnWUlLb1pJemowRUF3SURTQUF3UlFJZ2VjVU5iaFpaN1RneFZ5L3JkY0x0aTFZZzlMQWJreVlaNzE3TGd4dGEKUER3Q0lRQ3pVRVFtRmtiTVdhdjQvd2FDd3pobHY3amRJaC9LSVp0ckVzMDBuVHdhc0E9PQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg==
users:
- name: c2-pod-lister
  user:
    token: t0ken
contexts:
- name: c2-pod-lister
  context:
    cluster: c2-pod-lister
    user: c2-pod-lister
    namespace: default
current-context: c2-pod-lister
";

    fn read(text: &str, policy: Policy) -> Result<Context, Problem> {
        Kubeconfig::from_data(text, None)?.context(None, policy)
    }

    #[test]
    fn current_context_is_read() {
        let context = read(KUBECONFIG, Policy::Data).map_err(|problem| problem.to_string()).unwrap();
        assert_eq!(context.endpoint.server, "https://c2.example:6443");
        assert!(context.endpoint.ca_bundle.unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
        assert_eq!(context.config.cluster_url, "https://c2.example:6443/");
        assert_eq!(context.config.default_namespace, "default");
        assert_eq!(context.config.root_cert.unwrap().len(), 1);
        assert_eq!(context.config.auth_info.token.unwrap().expose_secret(), "t0ken");
    }

    #[rstest]
    #[case::no_scheme("server: https://", "server: ", Ok("https://c2.example:6443"))]
    #[case::line_break_after_the_token("token: t0ken", "token: \"t0ken\\n\"", Ok("https://c2.example:6443"))]
    #[case::no_user("    user: c2-pod-lister\n", "", Ok("https://c2.example:6443"))]
    #[case::empty_fields(
        "token: t0ken",
        "{token: t0ken, tokenFile: '', client-key: '', exec: null}",
        Ok("https://c2.example:6443")
    )]
    #[case::line_break_in_the_token(
        "token: t0ken",
        "token: \"t0\\nken\"",
        Err("line 9, column 3: user c2-pod-lister: token has a line break")
    )]
    #[case::http(
        "server: https",
        "server: http",
        Err("cluster c2-pod-lister: server does not begin with https://")
    )]
    #[case::user_in_the_server("https://", "https://me:t0ken@", Err("server has a user or password"))]
    #[case::no_server("    server: https://c2.example:6443\n", "", Err("it has no server"))]
    #[case::command("token: t0ken", "exec: {command: aws}", Err("it has exec, which is not allowed"))]
    #[case::file("token: t0ken", "tokenFile: /etc/t0ken", Err("it has tokenFile, which is not allowed"))]
    #[case::missing_user("    user: c2-pod-lister", "    user: jane", Err("its user jane does not exist"))]
    #[case::list_for_a_text("token: t0ken", "token: [t0ken]", Err("token is not a string"))]
    #[case::redacted("token: t0ken", "token: REDACTED", Err("token was left out by kubectl config view"))]
    fn data_of_others(#[case] from: &str, #[case] to: &str, #[case] expected: Result<&str, &str>) {
        let changed = KUBECONFIG.replacen(from, to, 1);
        assert_ne!(changed, KUBECONFIG);
        match (read(&changed, Policy::Data), expected) {
            (Ok(context), Ok(server)) => assert_eq!(context.endpoint.server, server),
            (Err(problem), Err(expected)) => {
                let problem = problem.to_string();
                assert!(problem.contains(expected) && !problem.contains("t0"), "{problem}");
            }
            (read, _) => {
                panic!("{:?}", read.map(|context| context.endpoint).map_err(|problem| problem.to_string()))
            }
        }
    }

    #[rstest]
    #[case("token", true)]
    #[case("..data", true)]
    #[case("../token", false)]
    #[case("/etc/passwd", false)]
    #[case("..", false)]
    fn mount_reads_only_files_beside_it(#[case] file: &str, #[case] is_allowed: bool) {
        let text = KUBECONFIG.replacen("token: t0ken", &format!("tokenFile: '{file}'"), 1);
        let problem = read(&text, Policy::Mount).err().map(|problem| problem.to_string()).unwrap_or_default();
        assert_eq!(problem.contains("not allowed"), !is_allowed, "{problem}");
    }
}
