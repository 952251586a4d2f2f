//! An image, built from files without a container engine.

mod layout;
mod reference;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::archive::{self, Content, Tree};
use crate::{Arch, certificates};
use layout::Config;
use reference::Reference;

/// An image that has only what is added to it. Parent folders of files are created.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    arch: Arch,
    entries: Vec<(String, Entry)>,
    config: Config,
}

#[derive(Clone, Debug)]
enum Entry {
    Folder(u32),
    File(Content, u32),
    Symlink(String),
}

/// An image archive on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageArchive {
    /// The image's full name, as containerd has it: `docker.io/test/tool:1.0`.
    pub name: String,
    /// The path of the archive.
    pub archive: PathBuf,
    /// The hash of the image's manifest: `sha256:...`
    pub digest: String,
    /// The size of the archive, in bytes.
    pub size: u64,
}

impl Image {
    /// An empty image. The registry defaults to docker.io, the tag to latest.
    pub fn new(name: impl Into<String>, arch: Arch) -> Self {
        Self { name: name.into(), arch, entries: Vec::new(), config: Config::default() }
    }

    /// Adds a file of this machine, which is read when the image is written.
    pub fn file(self, path: &str, host: impl Into<PathBuf>, mode: u32) -> Self {
        self.entry(path, Entry::File(Content::Host(host.into()), mode))
    }

    /// Adds a file with this content.
    pub fn bytes(self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.entry(path, Entry::File(Content::Bytes(content.into()), mode))
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, Entry::Symlink(target.into()))
    }

    /// Adds a folder that is empty or needs another mode than 0755.
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(path, Entry::Folder(mode))
    }

    /// Adds Mozilla's certificate authorities where TLS libraries look for them.
    pub fn certificates(self) -> Self {
        self.bytes("/etc/ssl/certs/ca-certificates.crt", certificates::pem(), 0o644)
    }

    /// Sets the program and its first arguments.
    pub fn entrypoint<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.config.entrypoint = command.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the user and group that the program runs as unless the pod sets others. The default is root.
    pub fn user(mut self, user: u32, group: u32) -> Self {
        self.config.user = format!("{user}:{group}");
        self
    }

    /// Adds a variable to the program's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.config.env.push(format!("{name}={value}"));
        self
    }

    /// Adds a label, such as `org.opencontainers.image.title`.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.config.labels.insert(name.into(), value.into());
        self
    }

    /// Writes the image as an archive for `ctr images import`, `kind load image-archive` and `docker load`.
    /// The same image gives the same bytes.
    pub fn write(&self, archive: &Path) -> anyhow::Result<ImageArchive> {
        self.archive(archive).with_context(|| format!("writing the image {}", self.name))
    }

    /// Writes the image's files into a folder, for a Containerfile to copy.
    pub fn unpack(&self, folder: &Path) -> anyhow::Result<()> {
        self.tree()
            .and_then(|tree| tree.unpack(folder))
            .with_context(|| format!("writing the files of {}", self.name))
    }

    fn archive(&self, archive: &Path) -> anyhow::Result<ImageArchive> {
        let reference = Reference::parse(&self.name)?;
        let layout = layout::layout(&self.tree()?, &self.config, self.arch, &reference)?;
        let content = layout.tree.tar()?;
        archive::write(archive, &content)?;
        Ok(ImageArchive {
            name: reference.full(),
            archive: archive.to_path_buf(),
            digest: layout.digest,
            size: content.len() as u64,
        })
    }

    fn entry(mut self, path: &str, entry: Entry) -> Self {
        self.entries.push((path.into(), entry));
        self
    }

    fn tree(&self) -> anyhow::Result<Tree> {
        let mut tree = Tree::default();
        for (path, entry) in &self.entries {
            let within = path.strip_prefix('/');
            ensure!(within.is_some(), "the path {path:?} in the image does not begin with /");
            let within = within.unwrap_or_default();
            match entry {
                Entry::Folder(mode) => tree.folder(within, *mode),
                Entry::File(content, mode) => tree.file(within, content.clone(), *mode),
                Entry::Symlink(target) => tree.symlink(within, target),
            }?;
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests;
