//! Reproducible archives: entries are sorted, belong to root, and date from 1970.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// Files and folders by path, such as `etc/passwd`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Folder { mode: u32 },
    File { content: Content, mode: u32 },
    Symlink { target: String },
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// The content of a file of this machine, read when the archive is written.
    Host(PathBuf),
}

/// A folder that was not added itself, but has entries.
const PARENT: Entry = Entry::Folder { mode: 0o755 };

impl Tree {
    pub fn file(&mut self, path: &str, content: Content, mode: u32) -> anyhow::Result<()> {
        self.insert(path, Entry::File { content, mode })
    }

    pub fn bytes(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> anyhow::Result<()> {
        self.file(path, Content::Bytes(content.into()), mode)
    }

    pub fn folder(&mut self, path: &str, mode: u32) -> anyhow::Result<()> {
        self.insert(path, Entry::Folder { mode })
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> anyhow::Result<()> {
        self.insert(path, Entry::Symlink { target: target.into() })
    }

    fn insert(&mut self, path: &str, entry: Entry) -> anyhow::Result<()> {
        let plain = path.split('/').all(|name| !matches!(name, "" | "." | ".."));
        ensure!(plain, "{path:?} is not a path within an archive");
        ensure!(self.entries.insert(path.into(), entry).is_none(), "{path} was added twice");
        Ok(())
    }

    pub fn tar(&self) -> anyhow::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, entry) in self.with_parents()? {
            append(&mut tar, path, entry).with_context(|| format!("archiving {path}"))?;
        }
        Ok(tar.into_inner()?)
    }

    pub fn tar_gz(&self) -> anyhow::Result<Vec<u8>> {
        Ok(gzip(&self.tar()?)?)
    }

    /// Writes the entries into a folder, which is created. They belong to the current user.
    pub fn unpack(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        tar::Archive::new(self.tar()?.as_slice())
            .unpack(folder)
            .with_context(|| format!("writing the files of {}", folder.display()))
    }

    fn with_parents(&self) -> anyhow::Result<BTreeMap<&str, &Entry>> {
        let mut all: BTreeMap<_, _> =
            self.entries.iter().map(|(path, entry)| (path.as_str(), entry)).collect();
        for path in self.entries.keys() {
            for (end, _) in path.match_indices('/') {
                let parent = &path[..end];
                if !matches!(all.entry(parent).or_insert(&PARENT), Entry::Folder { .. }) {
                    bail!("{path} can't be in {parent}, which is not a folder");
                }
            }
        }
        Ok(all)
    }
}

fn append(tar: &mut Builder<Vec<u8>>, path: &str, entry: &Entry) -> anyhow::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match entry {
        Entry::Folder { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            tar.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
        Entry::File { content, mode } => {
            let content = match content {
                Content::Bytes(bytes) => bytes,
                Content::Host(host) => {
                    &fs::read(host).with_context(|| format!("reading {}", host.display()))?
                }
            };
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_slice())?;
        }
        Entry::Symlink { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

/// Compresses without a name and a time in the header.
pub(crate) fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(content)?;
    gzip.finish()
}

/// Writes a file atomically, and creates its folder.
pub(crate) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let writing = || format!("writing {}", path.display());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).with_context(writing)?;
    let mut file = readable().tempfile_in(folder).with_context(writing)?;
    file.write_all(content).with_context(writing)?;
    file.persist(path).with_context(writing)?;
    Ok(())
}

/// By default, only the owner can read a temporary file.
fn readable() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.bytes("etc/passwd", "root", 0o644).unwrap();
        tree.symlink("bin/sh", "busybox").unwrap();
        tree.folder("tmp", 0o1777).unwrap();
        tree.file("bin/busybox", Content::Host("/bin/sh".into()), 0o755).unwrap();
        tree.bytes("etc-more", "", 0o600).unwrap();
        tree
    }

    /// Type, path, mode and link of each entry.
    fn entries(archive: &[u8]) -> Vec<(char, String, u32, Option<String>)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            let link = header.link_name().unwrap().map(|link| link.display().to_string());
            let kind = char::from(header.entry_type().as_byte());
            (kind, String::from_utf8(entry.path_bytes().into_owned()).unwrap(), header.mode().unwrap(), link)
        });
        entries.collect()
    }

    #[test]
    fn entries_are_sorted_and_follow_their_folders() {
        let entry = |kind, path: &str, mode| (kind, path.to_owned(), mode, None);
        assert_eq!(
            entries(&tree().tar().unwrap()),
            [
                entry('5', "bin/", 0o755),
                entry('0', "bin/busybox", 0o755),
                ('2', "bin/sh".into(), 0o777, Some("busybox".into())),
                entry('5', "etc/", 0o755),
                entry('0', "etc-more", 0o600),
                entry('0', "etc/passwd", 0o644),
                entry('5', "tmp/", 0o1777),
            ]
        );
    }

    #[test]
    fn order_of_insertion_does_not_change_the_bytes() {
        let mut other = Tree::default();
        for (path, entry) in tree().entries.into_iter().rev() {
            other.insert(&path, entry).unwrap();
        }
        assert_eq!(other.tar_gz().unwrap(), tree().tar_gz().unwrap());
    }

    #[test]
    fn compressed_archive_is_the_same() {
        let mut unpacked = Vec::new();
        let compressed = tree().tar_gz().unwrap();
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, tree().tar().unwrap());
        // No flags, so no name, and no time.
        assert_eq!(compressed[3..8], [0; 5]);
    }

    #[test]
    fn long_path_is_not_cut() {
        let path = format!("{}/{}", "folder".repeat(20), "file".repeat(40));
        let mut tree = Tree::default();
        tree.bytes(&path, "", 0o644).unwrap();
        assert_eq!(entries(&tree.tar().unwrap())[1].1, path);
    }

    #[rstest::rstest]
    #[case("/etc/passwd")]
    #[case("etc//passwd")]
    #[case("etc/")]
    #[case("../passwd")]
    #[case("")]
    fn path_outside_of_the_archive_is_refused(#[case] path: &str) {
        assert!(Tree::default().bytes(path, "", 0o644).is_err());
    }

    #[test]
    fn entry_added_twice_or_inside_a_file_is_refused() {
        let error = tree().folder("tmp", 0o755).unwrap_err();
        assert_eq!(error.to_string(), "tmp was added twice");
        let mut tree = tree();
        tree.bytes("etc/passwd/root", "", 0o644).unwrap();
        let error = tree.tar().unwrap_err();
        assert_eq!(error.to_string(), "etc/passwd/root can't be in etc/passwd, which is not a folder");
    }

    #[test]
    fn write_creates_the_folder_and_replaces_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dist/file");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
