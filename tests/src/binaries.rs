//! Kubernetes' own binaries, from envtest or built here from Kubernetes' Go modules.

use std::path::PathBuf;

use tokio::sync::OnceCell;

use crate::go_tools::GoTools;
use crate::print_uncaptured;

/// The paths of Kubernetes' binaries.
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

/// Finds Kubernetes' binaries in `KUBEBUILDER_ASSETS`, or builds them in the cache folder (`MCSA_CACHE`,
/// `$XDG_CACHE_HOME/mcsa` or `~/.cache/mcsa`).
pub async fn binaries() -> anyhow::Result<&'static Binaries> {
    static FOUND: OnceCell<Binaries> = OnceCell::const_new();
    FOUND.get_or_try_init(async || tokio::task::spawn_blocking(find).await?).await
}

/// The version of Kubernetes that is built here, like `v1.36.3`.
pub fn kubernetes_version() -> &'static str {
    kubernetes().version()
}

fn find() -> anyhow::Result<Binaries> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()).map(PathBuf::from);
    let tools = with_version(kubernetes());
    let find = |name: &str| match &assets {
        Some(assets) if assets.join(name).exists() => Ok(assets.join(name)),
        Some(assets) => {
            print_uncaptured(format_args!(
                "no {name} in KUBEBUILDER_ASSETS={}; using our own",
                assets.display()
            ));
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
        duration: "five minutes",
        alternative: ", or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, kube-controller-manager, \
                  etcd and kubectl",
        renamed: &[("server", "etcd")],
        additions: &[],
    }
}

/// Links the version into the tools, which otherwise print v0.0.0.
pub(crate) fn with_version(tools: GoTools) -> GoTools {
    let version = tools.version();
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    let variables = format!(
        "-X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    );
    GoTools { flags: vec!["-ldflags".into(), format!("-s -w {variables}")], ..tools }
}
