//! The format of an image archive, that of `docker save`: an OCI image layout, and Docker's `manifest.json`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Reference;
use crate::Arch;
use crate::archive::{self, Tree};
use crate::digest::sha256;

/// How a container runs the program.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    pub user: String,
    pub entrypoint: Vec<String>,
    pub env: Vec<String>,
    pub labels: BTreeMap<String, String>,
}

pub(super) struct Layout {
    pub tree: Tree,
    /// The digest of the manifest.
    pub digest: String,
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// A layout with one image of one layer.
pub(super) fn layout(
    files: &Tree,
    config: &Config,
    arch: Arch,
    reference: &Reference,
) -> anyhow::Result<Layout> {
    let mut tree = Tree::default();
    let layer = files.tar()?;
    let diff_id = format!("sha256:{}", sha256(&layer));
    let layer = blob(&mut tree, LAYER, archive::gzip(&layer)?)?;

    let config = json!({
        "created": EPOCH,
        "architecture": arch.to_string(),
        "os": "linux",
        "config": run(config),
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": EPOCH, "created_by": "mcsa-release" }],
    });
    let config = blob(&mut tree, CONFIG, serde_json::to_vec(&config)?)?;

    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.json(),
        "layers": [layer.json()],
    });
    let manifest = blob(&mut tree, MANIFEST, serde_json::to_vec(&manifest)?)?;

    let mut entry = manifest.json();
    entry["platform"] = json!({ "architecture": arch.to_string(), "os": "linux" });
    entry["annotations"] = json!({
        "io.containerd.image.name": reference.full(),
        "org.opencontainers.image.ref.name": reference.tag,
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    tree.bytes("index.json", serde_json::to_vec(&index)?, 0o644)?;
    tree.bytes("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;

    let docker =
        json!([{ "Config": config.path(), "RepoTags": [reference.familiar()], "Layers": [layer.path()] }]);
    tree.bytes("manifest.json", serde_json::to_vec(&docker)?, 0o644)?;
    Ok(Layout { tree, digest: format!("sha256:{}", manifest.hex) })
}

/// The `config` object, without empty fields.
fn run(config: &Config) -> Value {
    let mut run = json!({});
    if !config.user.is_empty() {
        run["User"] = json!(config.user);
    }
    if !config.env.is_empty() {
        run["Env"] = json!(config.env);
    }
    if !config.entrypoint.is_empty() {
        run["Entrypoint"] = json!(config.entrypoint);
    }
    if !config.labels.is_empty() {
        run["Labels"] = json!(config.labels);
    }
    run
}

/// A file named after its hash.
struct Blob {
    media_type: &'static str,
    hex: String,
    size: usize,
}

fn blob(tree: &mut Tree, media_type: &'static str, content: Vec<u8>) -> anyhow::Result<Blob> {
    let blob = Blob { media_type, hex: sha256(&content), size: content.len() };
    tree.bytes(&blob.path(), content, 0o644)?;
    Ok(blob)
}

impl Blob {
    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.hex)
    }

    fn json(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": format!("sha256:{}", self.hex), "size": self.size })
    }
}
