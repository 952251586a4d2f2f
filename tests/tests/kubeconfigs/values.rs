//! The values of placeholders, from a real cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use mcsa_credentials::ExposeSecret;
use mcsa_tests::{Cluster, Process, binaries, eventually};
use serde_json::json;

use super::case::Case;
use super::proxies::{self, PASSWORD, Proxies, USER};
use super::render::{Words, in_lines};

/// A cluster that works.
const GOOD_CLUSTER: &str = "clusters:
- name: alpha
  cluster:
    server: {{server}}
    certificate-authority-data: {{ca}}
";

/// A user that works.
const GOOD_USER: &str = "users:
- name: jane
  user:
    token: {{token}}
";

/// A context with both.
const GOOD_CONTEXT: &str = "contexts:
- name: here
  context:
    cluster: alpha
    user: jane
current-context: here
";

/// A credential plugin that records what it is told.
const PLUGIN: &str = "#!/bin/sh
echo run >> {{dir}}/plugin-runs
printf '%s' \"$KUBERNETES_EXEC_INFO\" > {{dir}}/exec-info.json
cat {{dir}}/credential
";

/// An address where nothing answers.
const NOWHERE: &str = "127.0.0.1:1";

/// The values, and what they need to stay valid.
pub(super) struct Values {
    words: Words,
    secrets: Vec<String>,
    review: PathBuf,
    _proxies: Proxies,
    _prefix: Process,
}

impl Values {
    /// Creates a service account and the servers that cases use. `name` is a namespace that no other test uses.
    pub(super) async fn prepare(cluster: &Cluster, name: &str, folder: &Path) -> anyhow::Result<Self> {
        let token = token(cluster, name).await?;
        let user = cluster.kubeconfig_value().auth_infos.into_iter().find_map(|named| named.auth_info);
        let user = user.context("the administrator's kubeconfig has no user")?;
        let certificate = user.client_certificate_data.context("the user has no certificate")?;
        let key = user.client_key_data.context("the user has no key")?.expose_secret().to_owned();
        let key_pem = decode(&key)?;
        let sec1 = sec1(&key_pem)?;
        let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()])?;
        let (other_ca, other_key) = (other.cert.pem(), other.signing_key.serialize_pem());
        let proxies = Proxies::start(cluster).await?;
        let prefix = kubectl_proxy(cluster, folder).await?;
        let prefix_url = served_at(&prefix).await;
        let review = folder.join("review.json");
        let object = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
        fs::write(&review, object.to_string())?;

        let credential = |status| {
            let version = "client.authentication.k8s.io/v1";
            json!({ "apiVersion": version, "kind": "ExecCredential", "status": status }).to_string()
        };
        let pair = (decode(&certificate)?, &key_pem);
        let mut words: Words = [
            ("good-cluster", GOOD_CLUSTER.trim_end().to_owned()),
            ("good-user", GOOD_USER.trim_end().to_owned()),
            ("good-context", GOOD_CONTEXT.trim_end().to_owned()),
            ("plugin", PLUGIN.trim_end().to_owned()),
            ("credential", credential(json!({ "token": token }))),
            (
                "certificate-credential",
                credential(json!({ "clientCertificateData": pair.0, "clientKeyData": pair.1 })),
            ),
            (
                "certificate-and-token-credential",
                credential(
                    json!({ "clientCertificateData": pair.0, "clientKeyData": pair.1, "token": token }),
                ),
            ),
            ("namespace", name.to_owned()),
            ("server", cluster.server()),
            ("host", format!("127.0.0.1:{}", cluster.port())),
            ("port", cluster.port().to_string()),
            ("server-with-prefix", prefix_url),
            ("ca", BASE64_STANDARD.encode(cluster.ca_pem())),
            ("ca-lines", in_lines(&BASE64_STANDARD.encode(cluster.ca_pem()))),
            ("ca-pem", cluster.ca_pem().trim_end().to_owned()),
            ("ca-pem-crlf", cluster.ca_pem().replace('\n', "\r\n")),
            ("certificate-pem-crlf", decode(&certificate)?.replace('\n', "\r\n")),
            ("key-pem-crlf", key_pem.replace('\n', "\r\n")),
            ("ca-twice", BASE64_STANDARD.encode(BASE64_STANDARD.encode(cluster.ca_pem()))),
            ("ca-body", body(cluster.ca_pem())),
            ("other-ca", BASE64_STANDARD.encode(&other_ca)),
            ("other-ca-pem", other_ca.trim_end().to_owned()),
            ("other-key", BASE64_STANDARD.encode(&other_key)),
            ("other-key-pem", other_key.trim_end().to_owned()),
            ("certificate", certificate.clone()),
            ("certificate-lines", in_lines(&certificate)),
            ("certificate-pem", decode(&certificate)?.trim_end().to_owned()),
            ("key", key.clone()),
            ("key-lines", in_lines(&key)),
            ("key-twice", BASE64_STANDARD.encode(&key)),
            ("key-pem", key_pem.trim_end().to_owned()),
            ("key-sec1", BASE64_STANDARD.encode(sec1)),
            ("token", token.clone()),
            ("expired-jwt", expired_jwt()),
            ("proxy-user", USER.to_owned()),
            ("proxy-password", proxies::escaped(PASSWORD)),
            ("http-proxy", proxies.http.to_string()),
            ("open-http-proxy", proxies.open_http.to_string()),
            ("https-proxy", proxies.https.to_string()),
            ("socks-proxy", proxies.socks.to_string()),
            ("open-socks-proxy", proxies.open_socks.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(address) = proxies.ipv6 {
            words.insert("server-ipv6".into(), format!("https://{address}"));
        }
        let secrets =
            vec![token, expired_jwt(), key, body(&key_pem), PASSWORD.into(), proxies::escaped(PASSWORD)];
        Ok(Self { words, secrets, review, _proxies: proxies, _prefix: prefix })
    }

    /// The same values, with addresses of servers and proxies where nothing answers.
    pub(super) fn without_servers(mut self) -> Self {
        let mut replace = |name: &str, value: String| {
            if let Some(word) = self.words.get_mut(name) {
                *word = value;
            }
        };
        replace("server", format!("https://{NOWHERE}"));
        replace("server-ipv6", "https://[::1]:1".into());
        replace("server-with-prefix", format!("http://{NOWHERE}/k8s/clusters/alpha"));
        replace("port", "1".into());
        for name in
            ["host", "http-proxy", "open-http-proxy", "https-proxy", "socks-proxy", "open-socks-proxy"]
        {
            replace(name, NOWHERE.into());
        }
        self
    }

    pub(super) fn words_in(&self, folder: &Path) -> Words {
        let mut words = self.words.clone();
        words.insert("dir".into(), folder.display().to_string());
        words
    }

    /// Whether this machine has what the case needs: IPv6, if the case uses it.
    pub(super) fn can_render(&self, case: &Case) -> bool {
        let needs = |(_, template): &(String, String)| template.contains("{{server-ipv6}}");
        self.words.contains_key("server-ipv6") || !case.files.iter().any(needs)
    }

    /// Fills in the placeholders of an expected word.
    pub(super) fn fill(&self, word: &str) -> String {
        let replace =
            |word: String, (name, value): (&String, &String)| word.replace(&format!("{{{{{name}}}}}"), value);
        self.words.iter().fold(word.to_owned(), replace)
    }

    /// Text that no output may contain.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(String::as_str)
    }

    /// The file with the request that kubectl sends.
    pub(super) fn review_file(&self) -> &Path {
        &self.review
    }
}

/// Mints a token that may read everything.
async fn token(cluster: &Cluster, name: &str) -> anyhow::Result<String> {
    cluster.kubectl(["create", "namespace", name]).await?;
    let account = format!("--serviceaccount={name}:{name}");
    cluster.kubectl(["-n", name, "create", "serviceaccount", name]).await?;
    let bind = ["create", "clusterrolebinding", name, "--clusterrole=cluster-admin", &account];
    cluster.kubectl(bind).await?;
    Ok(cluster.kubectl(["-n", name, "create", "token", name]).await?.trim().to_owned())
}

/// Serves the API below a path, as Rancher does.
async fn kubectl_proxy(cluster: &Cluster, folder: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(&binaries().await?.kubectl);
    command.arg("--kubeconfig").arg(cluster.kubeconfig());
    command.args(["proxy", "--port=0", "--api-prefix=/k8s/clusters/alpha/"]);
    Process::spawn("kubectl proxy", &command, folder.join("kubectl-proxy.log"))
}

async fn served_at(proxy: &Process) -> String {
    eventually("kubectl proxy serves", async || {
        let log = proxy.log();
        let address = log.lines().find_map(|line| line.strip_prefix("Starting to serve on "));
        let address = address.with_context(|| log.clone())?;
        anyhow::Ok(format!("http://{}/k8s/clusters/alpha", address.trim()))
    })
    .await
}

fn decode(base64: &str) -> anyhow::Result<String> {
    Ok(String::from_utf8(BASE64_STANDARD.decode(base64)?)?)
}

/// The base64 between the boundaries of PEM, in one line.
fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// An unsigned token that expired long ago. No server accepts it.
fn expired_jwt() -> String {
    let parts = [json!({ "alg": "RS256" }), json!({ "iss": "https://127.0.0.1:1", "exp": 1 })];
    let parts = parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{}.{}.{}", parts[0], parts[1], BASE64_URL_SAFE_NO_PAD.encode("s3cret"))
}

/// The same P-256 key as `BEGIN EC PRIVATE KEY` (RFC 5915), as k3s and `openssl ecparam` write it.
fn sec1(pkcs8: &str) -> anyhow::Result<String> {
    let der = BASE64_STANDARD.decode(body(pkcs8))?;
    let after = |mark: &[u8], length: usize| {
        let start = der.windows(mark.len()).rposition(|window| window == mark)? + mark.len();
        der.get(start..start + length).map(<[u8]>::to_vec)
    };
    let private = after(&[0x02, 0x01, 0x01, 0x04, 0x20], 32).context("no private key of P-256")?;
    let public = after(&[0x03, 0x42, 0x00], 65).context("no public key of P-256")?;
    let curve = [0xA0, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
    let start = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
    let der = [&start[..], &private, &curve, &[0xA1, 0x44, 0x03, 0x42, 0x00], &public].concat();
    let lines = in_lines(&BASE64_STANDARD.encode(der));
    Ok(format!("-----BEGIN EC PRIVATE KEY-----\n{lines}\n-----END EC PRIVATE KEY-----\n"))
}
