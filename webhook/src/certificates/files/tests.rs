use std::fs;
use std::os::unix::fs::symlink;

use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::certificates::fixtures::{NOW, issue, issue_at};
use jiff::SignedDuration;

/// A Secret volume like a kubelet's: files are symbolic links through a link that is swapped.
struct Volume(TempDir);

impl Volume {
    fn new() -> Self {
        let volume = Self(tempfile::tempdir().unwrap());
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(Path::new("..data").join(name), volume.file(name)).unwrap();
        }
        volume
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, version: &str, certificate: &Certificate, authorities: &Authorities) {
        let folder = self.0.path().join(version);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tls.crt"), &certificate.chain).unwrap();
        fs::write(folder.join("tls.key"), certificate.key.expose_secret()).unwrap();
        fs::write(folder.join("ca.crt"), authorities.pem()).unwrap();
        symlink(version, self.file("..data_tmp")).unwrap();
        fs::rename(self.file("..data_tmp"), self.file("..data")).unwrap();
    }

    fn files(&self) -> Files {
        Files::new(Paths {
            chain: self.file("tls.crt"),
            key: self.file("tls.key"),
            authorities: Some(self.file("ca.crt")),
        })
    }
}

#[tokio::test]
async fn only_changed_contents_are_reported() {
    let volume = Volume::new();
    let (one, other) = (issue(), issue());
    volume.put("1", &one.0, &one.1);
    let mut files = volume.files();
    assert!(files.read().await);
    assert_eq!(
        files.desired(NOW),
        Ok(Desired { certificate: one.0.clone(), authorities: Some(one.1.clone()) })
    );
    volume.put("2", &one.0, &one.1);
    assert!(!files.read().await, "the contents are the same");
    volume.put("3", &other.0, &other.1);
    assert!(files.read().await);
    assert_eq!(files.desired(NOW), Ok(Desired { certificate: other.0, authorities: Some(other.1.clone()) }));
    volume.put("4", &one.0, &one.1.union(&other.1));
    assert!(files.read().await);
}

#[tokio::test]
async fn mismatched_files_are_reread_after_a_swap() {
    let volume = Volume::new();
    let (one, other) = (issue(), issue());
    let mut mixed = one.0.clone();
    mixed.key = other.0.key;
    volume.put("1", &mixed, &one.1);
    let mut files = volume.files();
    assert!(files.read().await);
    let problem = files.desired(NOW).unwrap_err();
    assert!(problem.contains("tls.key") && problem.contains("can't be served"), "{problem}");
    assert!(!files.read().await, "the problem is the same");
    volume.put("2", &one.0, &one.1);
    assert!(files.read().await);
    assert_eq!(files.desired(NOW).unwrap().certificate, one.0);
}

#[rstest]
#[case("tls.crt", "")]
#[case("tls.key", "x")]
#[case("ca.crt", "x")]
#[tokio::test]
async fn problem_names_the_file(#[case] name: &str, #[case] text: &str) {
    let volume = Volume::new();
    let one = issue();
    volume.put("1", &one.0, &one.1);
    let mut files = volume.files();
    files.read().await;
    fs::write(volume.file(name), text).unwrap();
    assert!(files.read().await);
    let problem = files.desired(NOW).unwrap_err();
    assert!(problem.contains(name), "{problem}");
    assert!(!files.read().await);

    fs::remove_file(volume.file(name)).unwrap();
    assert!(files.read().await);
    let problem = files.desired(NOW).unwrap_err();
    assert!(problem.contains(name) && problem.contains("No such file"), "{problem}");
    fs::write(volume.file(name), vec![b'x'; 2 << 20]).unwrap();
    assert!(files.read().await);
    assert!(files.desired(NOW).unwrap_err().contains("too large"));
}

#[tokio::test]
async fn certificate_must_be_valid_now() {
    let volume = Volume::new();
    let one = issue_at(NOW + SignedDuration::from_hours(2));
    volume.put("1", &one.0, &one.1);
    let mut files = volume.files();
    files.read().await;
    assert!(files.desired(NOW).unwrap_err().contains("valid from"));
    assert!(files.desired(NOW + SignedDuration::from_hours(2)).is_ok());
    assert!(files.desired(NOW + SignedDuration::from_hours(24 * 100)).unwrap_err().contains("expired"));
}

#[tokio::test]
async fn cancelled_read_is_repeated() {
    let volume = Volume::new();
    let one = issue();
    volume.put("1", &one.0, &one.1);
    let mut files = volume.files();
    while !files.due {
        // Cancelled, as by `select!`.
        if futures::poll!(std::pin::pin!(files.changed())).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
    files.changed().await;
    assert!(files.desired(NOW).is_ok() && !files.due);
}
