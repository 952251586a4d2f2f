//! Checks that the changelog lists the version that is released.

use anyhow::{Context, ensure};

/// The heading of changes that no release has yet.
const UNRELEASED: &str = "Unreleased";

/// Which heading must be the newest one in `CHANGELOG.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// This version, such as `## 0.1.0` or `## 0.1.0 (2026-11-21)`.
    OfThisVersion,
    /// `## Unreleased`: the release is only a preview.
    Unreleased,
}

pub(crate) fn check(changelog: &str, version: &str, changes: Changes) -> anyhow::Result<()> {
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## "));
    let newest = newest.context("CHANGELOG.md has no heading, such as \"## Unreleased\"")?;
    let word = newest.split_whitespace().next().unwrap_or_default();
    match changes {
        Changes::OfThisVersion if word == UNRELEASED => ensure!(
            false,
            "the newest heading of CHANGELOG.md is \"{newest}\": rename it \"{version}\" to release it, or \
             pass --unreleased to preview the release"
        ),
        Changes::OfThisVersion => ensure!(
            word == version,
            "the newest heading of CHANGELOG.md is \"{newest}\", and workspace.package.version in Cargo.toml \
             is {version}: make them agree"
        ),
        Changes::Unreleased => ensure!(
            word == UNRELEASED,
            "the newest heading of CHANGELOG.md is \"{newest}\": drop --unreleased"
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Changes::{OfThisVersion, Unreleased};

    #[rstest::rstest]
    #[case("## 0.1.0", OfThisVersion, "")]
    #[case("## 0.1.0 (2026-11-21)", OfThisVersion, "")]
    #[case("## 0.1.0 - 2026-11-21", OfThisVersion, "")]
    #[case("## Unreleased", Unreleased, "")]
    #[case("## Unreleased", OfThisVersion, "rename it \"0.1.0\" to release it")]
    #[case("## 0.2.0", OfThisVersion, "make them agree")]
    #[case("## 0.1.0-rc.1", OfThisVersion, "make them agree")]
    #[case("## 0.1.0", Unreleased, "drop --unreleased")]
    #[case("", OfThisVersion, "has no heading")]
    fn newest_heading_must_be_this_version(
        #[case] heading: &str,
        #[case] changes: Changes,
        #[case] fix: &str,
    ) {
        let changelog = format!("# Changelog\n\n{heading}\n\n### Not this\n\n## 0.1.0\n");
        let changelog = if heading.is_empty() { "# Changelog\n" } else { &changelog };
        match check(changelog, "0.1.0", changes) {
            Ok(()) => assert_eq!(fix, ""),
            Err(error) => assert!(!fix.is_empty() && error.to_string().contains(fix), "{error}"),
        }
    }
}
