//! The images for tests.

use std::path::Path;

use anyhow::Context;
use mcsa_release::{Arch, Image, NONROOT};

use super::programs;
use crate::binaries::Binaries;

/// The image of a pod's sandbox container, which only sleeps.
pub(crate) const PAUSE: &str = "docker.io/mcsa-tests/pause:1";

/// An image with a shell, the usual tools, and kubectl.
pub const TOOLS_IMAGE: &str = "docker.io/mcsa-tests/tools:1";

/// The busybox tools in [`TOOLS_IMAGE`].
const TOOL_NAMES: [&str; 10] =
    ["sh", "cat", "env", "grep", "httpd", "ls", "nslookup", "sleep", "tar", "wget"];

/// Writes the image archives into a folder.
pub(crate) fn write(folder: &Path, binaries: &Binaries) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let arch = Arch::host()?;
    let busybox = programs::find("busybox").context("busybox is missing on this machine")?;
    let pause = Image::new(PAUSE, arch).file("/bin/busybox", &busybox, 0o755).entrypoint([
        "/bin/busybox",
        "sleep",
        "infinity",
    ]);
    let mut tools = Image::new(TOOLS_IMAGE, arch)
        .file("/bin/busybox", &busybox, 0o755)
        .file("/bin/kubectl", &binaries.kubectl, 0o755)
        .env("PATH", "/bin")
        .user(NONROOT, NONROOT);
    for name in TOOL_NAMES {
        tools = tools.symlink(&format!("/bin/{name}"), "busybox");
    }
    let archives = [(pause, "pause.tar"), (tools, "tools.tar")];
    archives.iter().map(|(image, file)| Ok(image.write(&folder.join(file))?.archive)).collect()
}
