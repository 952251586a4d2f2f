//! Rotation of a cluster's certificate authority.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::kubeconfig;
use crate::kubectl::kubectl;
use crate::pki::Pki;

/// The cluster's next certificate authority, which signs the API server's certificate after
/// [`NextAuthority::activate`]. From then on, clients that trust only the first authority can't connect, including the
/// cluster's administrator and controller manager.
#[derive(Debug)]
pub struct NextAuthority<'a> {
    cluster: &'a Cluster,
    pki: Pki,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Creates another certificate authority, which no client trusts yet.
    pub fn next_authority(&self) -> anyhow::Result<NextAuthority<'_>> {
        let pki = Pki::new(self.name(), self.components.address)?;
        let path = self.dir().join("kubeconfig-of-next-authority");
        let mut value = self.kubeconfig_value();
        for cluster in value.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
            cluster.certificate_authority_data = Some(BASE64_STANDARD.encode(pki.authority()));
        }
        kubeconfig::write(&value, &path)?;
        Ok(NextAuthority { cluster: self, pki, kubeconfig: path })
    }
}

impl NextAuthority<'_> {
    /// Its certificate.
    pub fn ca_pem(&self) -> String {
        self.pki.authority()
    }

    /// Makes the API server serve a certificate of this authority, and waits until it does, without a restart.
    pub async fn activate(&self) -> anyhow::Result<()> {
        fs::write(self.cluster.dir().join("apiserver.key"), &self.pki.api_server.key)?;
        fs::write(self.cluster.dir().join("apiserver.crt"), &self.pki.api_server.certificate)?;
        eventually("the API server serves the certificate", async || self.kubectl(["version"]).await).await;
        Ok(())
    }

    /// Runs kubectl as an admin who trusts this authority, and returns its stdout.
    pub async fn kubectl<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<String> {
        kubectl(&self.kubeconfig, args).await
    }
}
