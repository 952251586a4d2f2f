//! The manifest with which Krew installs kubemcsa as `kubectl mcsa`
//! (<https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/>).

use anyhow::Context;
use serde_json::json;

use crate::digest::sha256;
use crate::{Arch, VERSION};

/// The name of the file: Krew's index requires that of the plugin.
pub(crate) const FILE: &str = "mcsa.yaml";

const DESCRIPTION: &str = "\
Links clusters, so that pods and controllers of one cluster use service accounts of another, with short-lived
tokens. Only RBAC objects are installed in the other cluster.
";

/// An archive of kubemcsa: its architecture, name and content.
pub(crate) type Archive<'a> = (Arch, &'a str, &'a [u8]);

/// The manifest for archives that are downloaded from below `url`.
pub(crate) fn manifest(url: &str, archives: &[Archive<'_>]) -> anyhow::Result<String> {
    let url = url.trim_end_matches('/');
    let platforms: Vec<_> = archives
        .iter()
        .map(|(arch, name, bytes)| {
            json!({
                "selector": { "matchLabels": { "os": "linux", "arch": arch.to_string() } },
                "uri": format!("{url}/{name}"),
                "sha256": sha256(bytes),
                "files": [{ "from": "kubemcsa", "to": "." }, { "from": "LICENSE", "to": "." }],
                "bin": "kubemcsa",
            })
        })
        .collect();
    let manifest = json!({
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": { "name": "mcsa" },
        "spec": {
            "version": format!("v{VERSION}"),
            "homepage": url,
            "shortDescription": "Use service accounts of other clusters",
            "description": DESCRIPTION,
            "caveats": "To complete names, save the output of \"kubectl mcsa completion kubectl\" in PATH as kubectl_complete-mcsa.\n",
            "platforms": platforms,
        },
    });
    serde_saphyr::to_string(&manifest).context("writing Krew's manifest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn manifest_has_url_and_hash_of_each_archive() {
        let archives = [(Arch::Amd64, "a.tar.gz", b"abc".as_slice()), (Arch::Arm64, "b.tar.gz", b"")];
        let manifest = manifest("https://example.com/v1/", &archives).unwrap();
        let manifest: Value = serde_saphyr::from_str(&manifest).unwrap();
        let platform = &manifest["spec"]["platforms"][0];
        assert_eq!(platform["uri"], "https://example.com/v1/a.tar.gz");
        assert_eq!(platform["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(manifest["spec"]["platforms"][1]["selector"]["matchLabels"]["arch"], "arm64");
        assert_eq!(manifest["spec"]["version"], format!("v{VERSION}"));
    }
}
