//! Our images.

use std::path::Path;

use anyhow::ensure;

use crate::compile::{self, Program, compile};
use crate::{Arch, Image, VERSION, Written, say};

/// User and group that our images run as, and the manifests have pods run as.
pub const NOBODY: u32 = 65532;

/// What was written for one architecture.
#[derive(Clone, Debug)]
pub struct Images {
    /// The controller's.
    pub importer: Written,
    /// The admission webhook's.
    pub webhook: Written,
    /// That of `examples/list_remote_pods.rs`.
    pub list_remote_pods: Written,
}

impl Images {
    /// All of them.
    pub fn all(&self) -> [&Written; 3] {
        [&self.importer, &self.webhook, &self.list_remote_pods]
    }
}

/// One of our images.
struct Ours {
    name: &'static str,
    about: &'static str,
    /// Where the program is in it.
    path: &'static str,
    program: Program,
}

const IMPORTER: Ours = Ours {
    name: "importer",
    about: "Mints tokens of service accounts of other clusters, and keeps them fresh in Secrets",
    path: "/importer",
    program: compile::IMPORTER,
};
const WEBHOOK: Ours = Ours {
    name: "webhook",
    about: "Mounts the credentials of ServiceAccountImports into the pods that name them",
    path: "/webhook",
    program: compile::WEBHOOK,
};
const LIST_REMOTE_PODS: Ours = Ours {
    name: "list-remote-pods",
    about: "An example: lists the pods of another cluster, by an import",
    path: "/list_remote_pods",
    program: compile::LIST_REMOTE_PODS,
};

/// Builds our programs, statically, and writes an image of each: `importer-0.1.0-linux-amd64.tar`, ...
/// The first time this takes minutes. Several processes may do so at once.
pub fn images(arch: Arch, output: &Path) -> anyhow::Result<Images> {
    let write = |ours: &Ours| {
        let archive = output.join(format!("{}-{VERSION}-linux-{arch}.tar", ours.name));
        let written = ours.image(arch, &compile(arch, &ours.program)?).write(&archive)?;
        small(&written)?;
        Ok::<_, anyhow::Error>(written)
    };
    Ok(Images {
        importer: write(&IMPORTER)?,
        webhook: write(&WEBHOOK)?,
        list_remote_pods: write(&LIST_REMOTE_PODS)?,
    })
}

/// Builds our programs, statically, and makes a folder with the files of each image: `importer`, ...
pub fn folders(arch: Arch, output: &Path) -> anyhow::Result<()> {
    for ours in [IMPORTER, WEBHOOK, LIST_REMOTE_PODS] {
        let folder = output.join(ours.name);
        ours.image(arch, &compile(arch, &ours.program)?).unpack(&folder)?;
        say(format_args!("{}", folder.display()));
    }
    Ok(())
}

impl Ours {
    fn image(&self, arch: Arch, binary: &Path) -> Image {
        let label = |image: Image, name: &str, value: &str| match value {
            "" => image,
            value => image.label(&format!("org.opencontainers.image.{name}"), value),
        };
        let image = Image::new(format!("multicluster-service-account/{}:{VERSION}", self.name), arch)
            .file(self.path, binary, 0o755)
            // For sources whose certificate is of no authority of their own.
            .certificates()
            .bytes("/etc/passwd", passwd(), 0o644)
            .bytes("/etc/group", format!("root:x:0:\nnonroot:x:{NOBODY}:\n"), 0o644)
            // The C library has no others built in, and older ones would ask DNS before /etc/hosts.
            .bytes("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", 0o644)
            .entrypoint([self.path])
            .user(NOBODY, NOBODY);
        let labels = [
            ("title", self.name),
            ("description", self.about),
            ("version", VERSION),
            ("licenses", env!("CARGO_PKG_LICENSE")),
            // Empty until the root Cargo.toml has a repository.
            ("source", env!("CARGO_PKG_REPOSITORY")),
        ];
        labels.into_iter().fold(image, |image, (name, value)| label(image, name, value))
    }
}

fn passwd() -> String {
    format!("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{NOBODY}:{NOBODY}:nonroot:/:/sbin/nologin\n")
}

const MIB: u64 = 1 << 20;

/// Whoever lets an image grow should know.
fn small(image: &Written) -> anyhow::Result<()> {
    let most = 25 * MIB;
    let size = image.size;
    ensure!(size < most, "{} has {size} bytes, and should have less than {most}", image.archive.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn image(ours: &Ours) -> (Written, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let binary = compile::root().join("LICENSE");
        let written = ours.image(Arch::Amd64, &binary).write(&folder.path().join("image.tar")).unwrap();
        (written, folder)
    }

    /// What a manifest has pods run.
    fn images_of(manifest: &str) -> Vec<String> {
        let text = fs::read_to_string(compile::root().join(manifest)).unwrap();
        let images =
            text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image: "));
        images.map(|image| format!("docker.io/{image}")).collect()
    }

    #[rstest::rstest]
    #[case("manifests/importer.yaml", IMPORTER)]
    #[case("manifests/webhook.yaml", WEBHOOK)]
    #[case("examples/deployment.yaml", LIST_REMOTE_PODS)]
    #[case("examples/pod.yaml", LIST_REMOTE_PODS)]
    fn manifests_name_the_images_of_this_version(#[case] manifest: &str, #[case] ours: Ours) {
        assert!(
            images_of(manifest).contains(&image(&ours).0.name),
            "{manifest} names {:?}",
            images_of(manifest)
        );
    }

    #[test]
    fn pods_run_as_who_is_in_the_image() {
        for manifest in ["manifests/importer.yaml", "manifests/webhook.yaml"] {
            let text = fs::read_to_string(compile::root().join(manifest)).unwrap();
            assert!(text.contains(&format!("runAsUser: {NOBODY}\n")), "{manifest}");
            assert!(text.contains(&format!("runAsGroup: {NOBODY}\n")), "{manifest}");
        }
    }

    #[test]
    fn the_files_are_these() {
        let folder = tempfile::tempdir().unwrap();
        IMPORTER.image(Arch::Amd64, &compile::root().join("LICENSE")).unpack(folder.path()).unwrap();
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
        assert!(read("etc/passwd").ends_with("nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"));
        assert!(read("etc/group").ends_with("nonroot:x:65532:\n"));
        assert!(read("etc/nsswitch.conf").contains("hosts: files dns\n"));
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["etc", "importer"]);
    }

    #[test]
    fn the_containerfile_makes_the_same_images() {
        let read = |name: &str| fs::read_to_string(compile::root().join(name)).unwrap();
        let text = read("Containerfile");
        for Ours { name, path, .. } in [IMPORTER, WEBHOOK, LIST_REMOTE_PODS] {
            let stage = format!(
                "FROM scratch AS {name}\nCOPY --from=build /images/{name}/ /\nUSER {NOBODY}:{NOBODY}\n\
                 ENTRYPOINT [\"{path}\"]\n"
            );
            assert!(text.contains(&stage), "{stage}");
        }
        assert!(text.contains(&format!("/importer:{VERSION} ")));
        let toolchain = read("rust-toolchain.toml");
        let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
        assert!(text.contains(&format!("/rust:{}-", channel.trim_matches('"'))), "{channel}");
    }

    #[test]
    fn an_image_that_has_grown_is_refused() {
        let (written, _folder) = image(&WEBHOOK);
        small(&written).unwrap();
        assert!(small(&Written { size: 25 * MIB, ..written }).is_err());
    }
}
