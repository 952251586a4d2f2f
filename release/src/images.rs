//! Our images.

use std::path::Path;

use anyhow::ensure;

use crate::compile::{self, Profile, Program, compile_dev, compile_release};
use crate::{Arch, Image, ImageArchive, VERSION, progress};

/// The user and group of our images and of the pods in our manifests.
pub const NONROOT: u32 = 65532;

/// The registry in the names of our images, until they are published. Nobody can register a name below `.invalid`
/// (RFC 2606), so a node without the images can't pull those of somebody else.
const REGISTRY: &str = "multicluster-service-account.invalid";

/// The image archives of one architecture.
#[derive(Clone, Debug)]
pub struct Images {
    /// The image of the controller.
    pub importer: ImageArchive,
    /// The image of the admission webhook.
    pub webhook: ImageArchive,
    /// The image of the launcher.
    pub launcher: ImageArchive,
    /// The image of `examples/list_remote_pods.rs`.
    pub list_remote_pods: ImageArchive,
}

impl Images {
    /// All images.
    pub fn all(&self) -> [&ImageArchive; 4] {
        [&self.importer, &self.webhook, &self.launcher, &self.list_remote_pods]
    }
}

/// How to build one of our images.
struct Recipe {
    name: &'static str,
    about: &'static str,
    /// The program's path in the image.
    path: &'static str,
    program: Program,
}

const IMPORTER: Recipe = Recipe {
    name: "importer",
    about: "Mints tokens of service accounts in other clusters, and keeps them fresh in Secrets",
    path: "/importer",
    program: compile::IMPORTER,
};
const WEBHOOK: Recipe = Recipe {
    name: "webhook",
    about: "Mounts the credentials of ServiceAccountImports into the pods that reference them",
    path: "/webhook",
    program: compile::WEBHOOK,
};
const LAUNCHER: Recipe = Recipe {
    name: "launcher",
    about: "Runs pods in other clusters, each of which is a virtual node",
    path: "/launcher",
    program: compile::LAUNCHER,
};
const LIST_REMOTE_PODS: Recipe = Recipe {
    name: "list-remote-pods",
    about: "An example: lists the pods of another cluster through an import",
    path: "/list_remote_pods",
    program: compile::LIST_REMOTE_PODS,
};

/// Builds our programs, linked statically, and writes an image of each: `importer-0.1.0-linux-amd64.tar`, ...
/// The first build takes minutes. Several processes may call this at once.
pub fn images(arch: Arch, profile: Profile, output: &Path) -> anyhow::Result<Images> {
    let programs = [&IMPORTER.program, &WEBHOOK.program, &LAUNCHER.program, &LIST_REMOTE_PODS.program];
    let [importer, webhook, launcher, list_remote_pods] = match profile {
        Profile::Dev => compile_dev(arch, programs)?,
        Profile::Release => compile_release(arch, programs)?,
    };
    let write = |recipe: &Recipe, binary: &Path| {
        let archive = output.join(format!("{}-{VERSION}-linux-{arch}.tar", recipe.name));
        let written = recipe.image(arch, binary).write(&archive)?;
        if profile == Profile::Release {
            ensure_small(&written)?;
        }
        Ok::<_, anyhow::Error>(written)
    };
    Ok(Images {
        importer: write(&IMPORTER, &importer)?,
        webhook: write(&WEBHOOK, &webhook)?,
        launcher: write(&LAUNCHER, &launcher)?,
        list_remote_pods: write(&LIST_REMOTE_PODS, &list_remote_pods)?,
    })
}

/// Builds our programs, linked statically, and writes a folder with the files of each image: `importer`, ...
pub fn folders(arch: Arch, output: &Path) -> anyhow::Result<()> {
    for recipe in [IMPORTER, WEBHOOK, LAUNCHER, LIST_REMOTE_PODS] {
        let folder = output.join(recipe.name);
        let [binary] = compile_release(arch, [&recipe.program])?;
        recipe.image(arch, &binary).unpack(&folder)?;
        progress(format_args!("{}", folder.display()));
    }
    Ok(())
}

impl Recipe {
    fn image(&self, arch: Arch, binary: &Path) -> Image {
        let label = |image: Image, name: &str, value: &str| match value {
            "" => image,
            value => image.label(&format!("org.opencontainers.image.{name}"), value),
        };
        let image = Image::new(format!("{REGISTRY}/{}:{VERSION}", self.name), arch)
            .file(self.path, binary, 0o755)
            // For sources with a certificate of a public authority.
            .certificates()
            .bytes("/etc/passwd", passwd(), 0o644)
            .bytes("/etc/group", format!("root:x:0:\nnonroot:x:{NONROOT}:\n"), 0o644)
            // A static glibc supports only these services. Without this file, old versions query DNS before /etc/hosts.
            .bytes("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", 0o644)
            .entrypoint([self.path])
            .user(NONROOT, NONROOT);
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
    format!("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{NONROOT}:{NONROOT}:nonroot:/:/sbin/nologin\n")
}

/// Limit of the size of an image archive, in bytes.
const MAX_SIZE: u64 = 25 << 20;

/// Fails if an image is too large, so that growth does not go unnoticed.
fn ensure_small(image: &ImageArchive) -> anyhow::Result<()> {
    let ImageArchive { archive, size, .. } = image;
    ensure!(*size < MAX_SIZE, "{} has {size} bytes; the limit is {MAX_SIZE}", archive.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn image(recipe: &Recipe) -> (ImageArchive, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let binary = compile::root().join("LICENSE");
        let written = recipe.image(Arch::Amd64, &binary).write(&folder.path().join("image.tar")).unwrap();
        (written, folder)
    }

    /// The values of a field in a YAML file.
    fn values_of(field: &str, file: &str) -> Vec<String> {
        let text = fs::read_to_string(compile::root().join(file)).unwrap();
        let prefix = format!("{field}: ");
        let lines = text.lines().map(|line| line.trim().trim_start_matches("- "));
        lines.filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    #[rstest::rstest]
    #[case("manifests/importer.yaml", IMPORTER)]
    #[case("manifests/webhook.yaml", WEBHOOK)]
    #[case("manifests/launcher.yaml", LAUNCHER)]
    #[case("examples/deployment.yaml", LIST_REMOTE_PODS)]
    #[case("examples/pod.yaml", LIST_REMOTE_PODS)]
    fn manifests_use_images_of_this_version(#[case] manifest: &str, #[case] recipe: Recipe) {
        let images = values_of("image", manifest);
        assert!(images.contains(&image(&recipe).0.name), "{manifest} names {images:?}");
    }

    /// The published images that our files name. Anybody could register other names, except below `.invalid`.
    const PUBLISHED: [&str; 1] = ["registry.k8s.io/pause:"];

    #[rstest::rstest]
    #[case("image", "manifests/importer.yaml")]
    #[case("image", "manifests/webhook.yaml")]
    #[case("image", "manifests/launcher.yaml")]
    #[case("repository", "manifests/helm/values.yaml")]
    #[case("image", "examples/deployment.yaml")]
    #[case("image", "examples/pod.yaml")]
    fn default_images_are_published_or_in_no_registry(#[case] field: &str, #[case] file: &str) {
        let images = values_of(field, file);
        assert!(!images.is_empty(), "{file} names no image");
        for image in images {
            let published = PUBLISHED.iter().any(|name| image.starts_with(name));
            let registry = image.split('/').next().unwrap();
            assert!(published || registry.ends_with(".invalid"), "{file} names {image}");
        }
    }

    #[test]
    fn pods_run_as_the_user_of_the_image() {
        for manifest in ["manifests/importer.yaml", "manifests/webhook.yaml", "manifests/launcher.yaml"] {
            let text = fs::read_to_string(compile::root().join(manifest)).unwrap();
            assert!(text.contains(&format!("runAsUser: {NONROOT}\n")), "{manifest}");
            assert!(text.contains(&format!("runAsGroup: {NONROOT}\n")), "{manifest}");
        }
    }

    #[test]
    fn image_has_only_these_files() {
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
    fn containerfile_builds_the_same_images() {
        let read = |name: &str| fs::read_to_string(compile::root().join(name)).unwrap();
        let text = read("Containerfile");
        for Recipe { name, path, .. } in [IMPORTER, WEBHOOK, LAUNCHER, LIST_REMOTE_PODS] {
            let stage = format!(
                "FROM scratch AS {name}\nCOPY --from=build /images/{name}/ /\nUSER {NONROOT}:{NONROOT}\n\
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
    fn large_image_is_refused() {
        let (written, _folder) = image(&WEBHOOK);
        ensure_small(&written).unwrap();
        assert!(ensure_small(&ImageArchive { size: MAX_SIZE, ..written }).is_err());
    }
}
