//! The programs of a node, and the requirements for running one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use tokio::sync::OnceCell;

use crate::binaries::with_version;
use crate::go_tools::GoTools;

/// Programs of the distribution, as (program, Debian package).
const PACKAGES: [(&str, &str); 4] =
    [("runc", "runc"), ("iptables", "iptables"), ("ip", "iproute2"), ("busybox", "busybox-static")];

/// The folders of programs that are built here.
#[derive(Debug)]
pub(crate) struct Programs {
    /// kubelet, kube-proxy and kube-scheduler.
    pub kubernetes: PathBuf,
    /// containerd, its shim, ctr, and CNI plugins.
    pub containerd: PathBuf,
    /// CoreDNS.
    pub coredns: PathBuf,
}

/// Builds missing programs, once per machine.
pub(crate) async fn programs() -> anyhow::Result<&'static Programs> {
    static BUILT: OnceCell<Programs> = OnceCell::const_new();
    BUILT.get_or_try_init(async || tokio::task::spawn_blocking(build).await?).await
}

/// Why this machine can't run a node.
pub(crate) fn missing_requirement() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("a node needs Linux".to_owned());
    }
    let id = Command::new("id").arg("-u").output();
    if !id.is_ok_and(|id| id.stdout.trim_ascii() == b"0") {
        return Some("a node needs root".to_owned());
    }
    let missing: Vec<_> =
        PACKAGES.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    (!missing.is_empty()).then(|| format!("a node needs packages: apt-get install {}", missing.join(" ")))
}

/// The path of a program of the distribution.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&path()).map(|folder| folder.join(program)).find(|path| path.exists())
}

/// The search path. Some users' PATH lacks the sbin folders.
pub(crate) fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

fn build() -> anyhow::Result<Programs> {
    let stripped = |tags: &str| ["-tags", tags, "-ldflags", "-s -w"].map(str::to_owned).into();
    Ok(Programs {
        kubernetes: with_version(kubernetes()).build()?,
        containerd: GoTools {
            name: "containerd",
            folder: "node/containerd",
            go_mod: include_str!("../../node/containerd/go.mod"),
            module: "github.com/containerd/containerd/v2",
            flags: stripped("no_btrfs,no_zfs,no_devmapper"),
            duration: "two minutes",
            ..kubernetes()
        }
        .build()?,
        coredns: GoTools {
            name: "CoreDNS",
            folder: "node/coredns",
            go_mod: concat!(
                include_str!("../../node/coredns/go.mod"),
                include_str!("../../node/coredns/main.go")
            ),
            module: "github.com/coredns/coredns",
            flags: stripped(""),
            packages: ".",
            duration: "two minutes",
            ..kubernetes()
        }
        .build()?,
    })
}

/// The programs of Kubernetes, in the version of the clusters.
fn kubernetes() -> GoTools {
    GoTools {
        name: "a node's Kubernetes",
        folder: "node/kubernetes",
        go_mod: include_str!("../../node/kubernetes/go.mod"),
        module: "k8s.io/kubernetes",
        flags: Vec::new(),
        packages: "tool",
        duration: "three minutes",
        alternative: "",
        renamed: &[],
        additions: &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_and_control_plane_have_the_same_version() {
        assert_eq!(kubernetes().version(), crate::kubernetes_version());
    }
}
