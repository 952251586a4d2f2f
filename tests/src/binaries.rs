//! Kubernetes' own binaries: those of envtest, or built here from its Go modules.

use std::path::PathBuf;

use tokio::sync::OnceCell;

use crate::go_tools::GoTools;
use crate::note;

/// Where Kubernetes' binaries are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The controller manager.
    pub kube_controller_manager: PathBuf,
    /// etcd.
    pub etcd: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
}

/// Finds Kubernetes' binaries, or builds them: in `KUBEBUILDER_ASSETS` when that is set, else in the
/// cache folder (`MCSA_CACHE`, `$XDG_CACHE_HOME/mcsa` or `~/.cache/mcsa`).
pub async fn binaries() -> anyhow::Result<&'static Binaries> {
    static FOUND: OnceCell<Binaries> = OnceCell::const_new();
    FOUND.get_or_try_init(async || tokio::task::spawn_blocking(find).await?).await
}

/// The version of Kubernetes that is built here, as `v1.36.3`.
pub fn kubernetes_version() -> &'static str {
    kubernetes().version()
}

fn find() -> anyhow::Result<Binaries> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()).map(PathBuf::from);
    let tools = stamped(kubernetes());
    let find = |name: &str| match &assets {
        Some(assets) if assets.join(name).exists() => Ok(assets.join(name)),
        Some(assets) => {
            note(format_args!("no {name} in KUBEBUILDER_ASSETS={}, taking our own", assets.display()));
            Ok(tools.build()?.join(name))
        }
        None => Ok::<_, anyhow::Error>(tools.build()?.join(name)),
    };
    Ok(Binaries {
        kube_apiserver: find("kube-apiserver")?,
        kube_controller_manager: find("kube-controller-manager")?,
        etcd: find("etcd")?,
        kubectl: find("kubectl")?,
    })
}

fn kubernetes() -> GoTools {
    GoTools {
        name: "Kubernetes",
        folder: "kubernetes",
        go_mod: include_str!("../kubernetes/go.mod"),
        module: "k8s.io/kubernetes",
        flags: Vec::new(),
        packages: "tool",
        takes: "five minutes",
        instead: ", or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, kube-controller-manager, \
                  etcd and kubectl",
        renamed: &[("server", "etcd")],
    }
}

/// The tools, built to say which version they are: without this they call themselves v0.0.0.
pub(crate) fn stamped(tools: GoTools) -> GoTools {
    let version = tools.version();
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    let stamp = format!(
        "-X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    );
    GoTools { flags: vec!["-ldflags".into(), format!("-s -w {stamp}")], ..tools }
}
