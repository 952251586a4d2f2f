//! Archives whose bytes depend on nothing but what is put in: entries are sorted, of root, and of 1970.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// Files and folders, by their paths: `etc/passwd`.
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

/// What is in a file.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Made up here.
    Bytes(Vec<u8>),
    /// That of a file of this machine, which is read when the archive is made.
    Host(PathBuf),
}

/// What has no entry of its own, but something in it.
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
        ensure!(plain, "{path:?} is no path within an archive");
        ensure!(self.entries.insert(path.into(), entry).is_none(), "{path} is there twice");
        Ok(())
    }

    /// The archive.
    pub fn tar(&self) -> anyhow::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, entry) in self.with_parents()? {
            append(&mut tar, path, entry).with_context(|| format!("archiving {path}"))?;
        }
        Ok(tar.into_inner()?)
    }

    /// The archive, compressed.
    pub fn tar_gz(&self) -> anyhow::Result<Vec<u8>> {
        Ok(gzip(&self.tar()?)?)
    }

    /// Makes a folder with the files of the archive in it. They belong to whoever makes it.
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
                    bail!("{path} can't be in {parent}, which is no folder");
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

/// Compresses, without a name and a time.
pub(crate) fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(content)?;
    gzip.finish()
}

/// Writes a file that is there as a whole or not at all, whoever else writes it; makes its folder.
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

/// Temporary files are their owner's alone, unless told otherwise.
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
    fn entries_are_sorted_after_their_folders() {
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
    fn the_same_bytes_twice_whatever_the_order() {
        let mut other = Tree::default();
        for (path, entry) in tree().entries.into_iter().rev() {
            other.insert(&path, entry).unwrap();
        }
        assert_eq!(other.tar_gz().unwrap(), tree().tar_gz().unwrap());
    }

    #[test]
    fn compressed_is_the_same_archive() {
        let mut unpacked = Vec::new();
        let compressed = tree().tar_gz().unwrap();
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, tree().tar().unwrap());
        // No flags, so no name; and no time.
        assert_eq!(compressed[3..8], [0; 5]);
    }

    #[test]
    fn long_paths_are_whole() {
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
    fn paths_stay_within(#[case] path: &str) {
        assert!(Tree::default().bytes(path, "", 0o644).is_err());
    }

    #[test]
    fn nothing_is_there_twice_or_in_a_file() {
        let error = tree().folder("tmp", 0o755).unwrap_err();
        assert_eq!(error.to_string(), "tmp is there twice");
        let mut tree = tree();
        tree.bytes("etc/passwd/root", "", 0o644).unwrap();
        let error = tree.tar().unwrap_err();
        assert_eq!(error.to_string(), "etc/passwd/root can't be in etc/passwd, which is no folder");
    }

    #[test]
    fn a_file_appears_whole_in_a_folder_that_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dist/file");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
