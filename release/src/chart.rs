//! Packs the Helm chart as `helm package` does, but reproducibly.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::archive::{Content, Tree};

/// The name of the chart, and of its folder in the archive.
const NAME: &str = "multicluster-service-account";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chart {
    name: String,
    version: String,
    app_version: String,
}

/// The name and content of the archive.
pub(crate) fn package(folder: &Path, version: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let path = folder.join("Chart.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let chart: Chart =
        serde_saphyr::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    for (field, is, should_be) in [
        ("name", &chart.name, NAME),
        ("version", &chart.version, version),
        ("appVersion", &chart.app_version, version),
    ] {
        ensure!(is == should_be, "{field} in {} is {is:?}, not {should_be:?}", path.display());
    }
    let ignored = Ignored::read(&folder.join(".helmignore"))?;
    let mut tree = Tree::default();
    for file in files(folder, &ignored)? {
        let within = file.strip_prefix(folder)?;
        let within = within.to_str().with_context(|| format!("the path {} is not UTF-8", file.display()))?;
        tree.file(&format!("{NAME}/{within}"), Content::Host(file.clone()), 0o644)?;
    }
    Ok((format!("{NAME}-{version}.tgz"), tree.tar_gz()?))
}

/// The patterns in `.helmignore`.
struct Ignored {
    names: Vec<String>,
    endings: Vec<String>,
}

impl Ignored {
    /// Supports names and endings. Helm's other patterns are refused, not misread.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let mut ignored = Self { names: Vec::new(), endings: Vec::new() };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (list, literal) = match line.strip_prefix('*') {
                Some(ending) => (&mut ignored.endings, ending),
                None => (&mut ignored.names, line.trim_end_matches('/')),
            };
            if literal.contains(['*', '?', '[', '/', '!']) {
                bail!("{line:?} in {} is neither a name nor an ending such as *.orig", path.display());
            }
            list.push(literal.to_owned());
        }
        Ok(ignored)
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|ignored| ignored == name)
            || self.endings.iter().any(|ending| name.ends_with(ending.as_str()))
    }
}

/// All files below a folder that are not ignored.
fn files(folder: &Path, ignored: &Ignored) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("reading the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        if ignored.has(&entry.file_name().to_string_lossy()) {
            continue;
        }
        // Follows symbolic links.
        let path = entry.path();
        let kind = fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?;
        if kind.is_dir() {
            files.extend(self::files(&path, ignored)?);
        } else if kind.is_file() {
            files.push(path);
        } else {
            bail!("{} is neither a file nor a folder", path.display());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const CHART: &str =
        "apiVersion: v2\nname: multicluster-service-account\nversion: 1.2.3\nappVersion: 1.2.3\n";

    fn chart(text: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("Chart.yaml", text),
            ("values.yaml", "replicas: 2\n"),
            ("templates/importer.yaml", "kind: Deployment\n"),
            (".helmignore", "# Ignored\n.DS_Store\n*~\n\n*.orig\n"),
            (".DS_Store", ""),
            ("values.yaml~", ""),
            ("templates/importer.yaml.orig", ""),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn archive_has_the_files_in_a_folder_named_after_the_chart() {
        let (name, content) = package(chart(CHART).path(), "1.2.3").unwrap();
        assert_eq!(name, "multicluster-service-account-1.2.3.tgz");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(content.as_slice()));
        let paths =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        let paths = paths.filter(|path| !path.ends_with('/')).collect::<Vec<_>>();
        let expected = [".helmignore", "Chart.yaml", "templates/importer.yaml", "values.yaml"];
        assert_eq!(paths, expected.map(|path| format!("multicluster-service-account/{path}")));
    }

    #[test]
    fn package_is_reproducible() {
        assert_eq!(
            package(chart(CHART).path(), "1.2.3").unwrap(),
            package(chart(CHART).path(), "1.2.3").unwrap()
        );
    }

    #[test]
    #[cfg(unix)]
    fn symbolic_link_is_followed() {
        let folder = chart(CHART);
        let plain = package(folder.path(), "1.2.3").unwrap();
        fs::rename(folder.path().join("values.yaml"), folder.path().join("values.orig")).unwrap();
        std::os::unix::fs::symlink("values.orig", folder.path().join("values.yaml")).unwrap();
        assert_eq!(package(folder.path(), "1.2.3").unwrap(), plain);
    }

    #[test]
    fn unsupported_ignore_pattern_is_refused() {
        let folder = chart(CHART);
        fs::write(folder.path().join(".helmignore"), "templates/*.orig\n").unwrap();
        let error = package(folder.path(), "1.2.3").unwrap_err().to_string();
        assert!(error.starts_with("\"templates/*.orig\" in "), "{error}");
    }

    #[rstest::rstest]
    #[case("name: multicluster-service-account", "name: other", "name in ")]
    #[case("\nversion: 1.2.3", "\nversion: 1.2.4", "version in ")]
    #[case("appVersion: 1.2.3", "appVersion: 1.2.4", "appVersion in ")]
    #[case("\nversion: 1.2.3", "", "reading ")]
    fn chart_of_another_name_or_version_is_refused(#[case] is: &str, #[case] was: &str, #[case] start: &str) {
        let folder = chart(&CHART.replace(is, was));
        let error = package(folder.path(), "1.2.3").unwrap_err().to_string();
        assert!(error.starts_with(start) && error.contains("Chart.yaml"), "{error}");
    }
}
