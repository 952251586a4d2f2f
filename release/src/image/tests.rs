//! Reads image archives as container engines do.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::digest::sha256;

fn image() -> Image {
    Image::new("test/tool:1.0", Arch::Arm64)
        .bytes("/tool", "#!/bin/sh", 0o755)
        .symlink("/bin/other", "/tool")
        .directory("/tmp", 0o1777)
        .certificates()
        .entrypoint(["/tool", "--flag"])
        .user(1, 2)
        .env("HOME", "/tmp")
        .label("org.opencontainers.image.title", "tool")
}

/// A written archive and the files in it.
struct Archive {
    written: ImageArchive,
    files: BTreeMap<String, Vec<u8>>,
    _folder: TempDir,
}

fn written(image: &Image) -> Archive {
    let folder = tempfile::tempdir().unwrap();
    let written = image.write(&folder.path().join("image.tar")).unwrap();
    let content = std::fs::read(&written.archive).unwrap();
    assert_eq!(written.size, content.len() as u64);
    Archive { written, files: files(&content), _folder: folder }
}

fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    });
    files.collect()
}

impl Archive {
    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.files[path]).unwrap()
    }

    /// The blob of a descriptor, checked against its digest and size.
    fn blob(&self, descriptor: &Value) -> &[u8] {
        let digest = descriptor["digest"].as_str().unwrap();
        let blob = &self.files[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(digest, format!("sha256:{}", sha256(blob)));
        assert_eq!(descriptor["size"], blob.len());
        blob
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(self.blob(&self.json("index.json")["manifests"][0])).unwrap()
    }

    fn config(&self) -> Value {
        serde_json::from_slice(self.blob(&self.manifest()["config"])).unwrap()
    }

    fn layer(&self) -> Vec<u8> {
        let manifest = self.manifest();
        let mut layer = Vec::new();
        flate2::read::GzDecoder::new(self.blob(&manifest["layers"][0])).read_to_end(&mut layer).unwrap();
        layer
    }
}

#[test]
fn index_references_the_image() {
    let archive = written(&image());
    assert_eq!(archive.json("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }));
    let entry = &archive.json("index.json")["manifests"][0];
    assert_eq!(entry["digest"], archive.written.digest);
    assert_eq!(entry["platform"], json!({ "architecture": "arm64", "os": "linux" }));
    assert_eq!(entry["annotations"]["io.containerd.image.name"], "docker.io/test/tool:1.0");
    assert_eq!(entry["annotations"]["io.containerd.image.name"], archive.written.name);
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "1.0");

    let config = archive.config();
    assert_eq!((&config["architecture"], &config["os"]), (&json!("arm64"), &json!("linux")));
    assert_eq!(
        config["config"],
        json!({
            "Entrypoint": ["/tool", "--flag"],
            "Env": ["HOME=/tmp"],
            "Labels": { "org.opencontainers.image.title": "tool" },
            "User": "1:2",
        })
    );
    let diff_id = format!("sha256:{}", sha256(&archive.layer()));
    assert_eq!(config["rootfs"], json!({ "type": "layers", "diff_ids": [diff_id] }));
}

#[test]
fn docker_manifest_references_the_same_blobs() {
    let archive = written(&image());
    let docker = &archive.json("manifest.json")[0];
    assert_eq!(docker["RepoTags"], json!(["test/tool:1.0"]));
    let path =
        |descriptor: &Value| format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"));
    let manifest = archive.manifest();
    assert_eq!(docker["Config"], path(&manifest["config"]));
    assert_eq!(docker["Layers"], json!([path(&manifest["layers"][0])]));
}

#[test]
fn archive_has_no_unreferenced_blobs() {
    let archive = written(&image());
    let blobs = archive.files.keys().filter(|path| path.starts_with("blobs/sha256/") && !path.ends_with('/'));
    assert_eq!(blobs.count(), 3);
}

#[test]
fn layer_has_only_what_was_added() {
    let layer = files(&written(&image()).layer());
    let paths: Vec<_> = layer.keys().map(String::as_str).collect();
    let etc = ["etc/", "etc/ssl/", "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt"];
    assert_eq!(paths, [&["bin/", "bin/other"][..], &etc, &["tmp/", "tool"]].concat());
    assert_eq!(layer["tool"], b"#!/bin/sh");
}

#[test]
fn image_is_reproducible() {
    let [first, second] = [written(&image()), written(&image())];
    assert_eq!(first.files, second.files);
    let read = |archive: &Archive| std::fs::read(&archive.written.archive).unwrap();
    assert_eq!(read(&first), read(&second));
    let other = written(&image().bytes("/other", "", 0o644));
    assert_ne!(first.written.digest, other.written.digest);
}

#[test]
fn errors_name_the_image_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = |image: Image| format!("{:#}", image.write(&folder.path().join("image.tar")).unwrap_err());
    let writing = "writing the image test/tool:1.0";
    assert_eq!(error(image().bytes("/tool", "", 0o755)), format!("{writing}: tool was added twice"));
    assert_eq!(
        error(image().bytes("relative", "", 0o755)),
        format!("{writing}: the path \"relative\" in the image does not begin with /")
    );
    let missing = error(image().file("/missing", "/nowhere/missing", 0o755));
    assert!(
        missing.starts_with(&format!("{writing}: archiving missing: reading /nowhere/missing: ")),
        "{missing}"
    );
    assert!(!folder.path().join("image.tar").exists());
}

#[test]
fn unpack_writes_the_files() {
    let folder = tempfile::tempdir().unwrap();
    image().unpack(&folder.path().join("files")).unwrap();
    assert_eq!(std::fs::read(folder.path().join("files/tool")).unwrap(), b"#!/bin/sh");
    assert!(folder.path().join("files/etc/ssl/certs/ca-certificates.crt").is_file());
}
