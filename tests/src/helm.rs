//! Helm, which users install the chart with.

use std::ffi::OsStr;
use std::path::PathBuf;

use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::cache;
use crate::go_tools::GoTools;
use crate::kubectl::stdout;

/// Runs helm with `KUBECONFIG` set to `kubeconfig`, and returns its stdout. If it fails, the error has its stderr.
///
/// Uses the program that `HELM` names, or builds one in the cache folder. Helm ignores the user's other settings and
/// folders.
pub async fn helm<A: AsRef<OsStr>>(
    kubeconfig: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = A>,
) -> anyhow::Result<String> {
    let mut command = Command::new(program().await?);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("HELM_") {
            command.env_remove(variable);
        }
    }
    let home = cache::folder("helm-home")?;
    for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(folder, &home);
    }
    stdout(command.args(args).env("KUBECONFIG", kubeconfig), "helm").await
}

/// The path of helm. Builds it if necessary.
pub(crate) async fn program() -> anyhow::Result<&'static PathBuf> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_try_init(async || tokio::task::spawn_blocking(find).await?).await
}

fn find() -> anyhow::Result<PathBuf> {
    if let Some(set) = std::env::var_os("HELM").filter(|value| !value.is_empty()) {
        return Ok(set.into());
    }
    Ok(tools().build()?.join("helm"))
}

fn tools() -> GoTools {
    let tools = GoTools {
        name: "helm",
        folder: "helm",
        go_mod: include_str!("../helm/go.mod"),
        module: "helm.sh/helm/v4",
        flags: Vec::new(),
        packages: "tool",
        duration: "three minutes",
        alternative: ", or set HELM to the path of your own",
        renamed: &[],
        additions: &[],
    };
    // By default, helm knows only its minor version.
    let version = format!("-s -w -X helm.sh/helm/v4/internal/version.version={}", tools.version());
    GoTools { flags: vec!["-ldflags".into(), version], ..tools }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_helm_prints_its_version() {
        let helm = tools().build().unwrap().join("helm");
        let output = std::process::Command::new(helm).args(["version", "--template={{.Version}}"]).output();
        assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), tools().version());
    }
}
