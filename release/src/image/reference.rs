//! Image names, completed as Docker and containerd do.

use anyhow::{bail, ensure};

/// A complete image name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    registry: String,
    repository: String,
    pub tag: String,
}

impl Reference {
    /// Parses a name. The defaults are `docker.io`, its `library`, and the tag `latest`.
    pub fn parse(name: &str) -> anyhow::Result<Self> {
        if name.contains('@') {
            bail!("the image name {name:?} has a digest, which follows from the content: remove it");
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => ("docker.io", name),
        };
        let (repository, tag) = path.split_once(':').unwrap_or((path, "latest"));
        let repository = match registry {
            "docker.io" if !repository.contains('/') => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let plain = repository.split('/').all(|part| !part.is_empty() && part.chars().all(lower));
        let tagged = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let tag_plain = (1..=128).contains(&tag.len()) && tag.chars().all(tagged);
        ensure!(plain && tag_plain, "{name:?} is not an image name such as example.com/folder/name:1.0");
        Ok(Self { registry: registry.into(), repository, tag: tag.into() })
    }

    /// The complete name, as containerd has it.
    pub fn full(&self) -> String {
        format!("{}/{}:{}", self.registry, self.repository, self.tag)
    }

    /// The name as Docker shows it: without the defaults for the registry.
    pub fn familiar(&self) -> String {
        let full = self.full();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        short.strip_prefix("library/").unwrap_or(short).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Reference;

    #[rstest::rstest]
    #[case("busybox", "docker.io/library/busybox:latest", "busybox:latest")]
    #[case("busybox:1", "docker.io/library/busybox:1", "busybox:1")]
    #[case("test/kubectl:1.36", "docker.io/test/kubectl:1.36", "test/kubectl:1.36")]
    #[case("docker.io/test/kubectl", "docker.io/test/kubectl:latest", "test/kubectl:latest")]
    #[case("ghcr.io/a/b/c:1", "ghcr.io/a/b/c:1", "ghcr.io/a/b/c:1")]
    #[case("localhost:5000/a", "localhost:5000/a:latest", "localhost:5000/a:latest")]
    fn missing_parts_get_defaults(#[case] name: &str, #[case] full: &str, #[case] familiar: &str) {
        let reference = Reference::parse(name).unwrap();
        assert_eq!((reference.full().as_str(), reference.familiar().as_str()), (full, familiar));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("Upper/case:1")]
    #[case("a//b")]
    #[case("a:")]
    #[case("a:b:c")]
    #[case("a b")]
    #[case("a@sha256:0123")]
    fn invalid_name_is_refused(#[case] name: &str) {
        assert!(Reference::parse(name).unwrap_err().to_string().contains(&format!("{name:?}")));
    }
}
