//! What each command prints in its main cases, as snapshots in `tests/tests/snapshots`, so that changes of wording are
//! visible in review.
//!
//! To update the snapshots: `INSTA_UPDATE=always cargo test --package mcsa-tests --test e2e printed`.

use std::fmt::Write;
use std::path::Path;

use anyhow::ensure;
use insta::{Settings, assert_snapshot};
use mcsa_tests::{Cluster, Imports, create_pod_lister, pod_lister_import, write_merged_kubeconfig};

use super::run;

/// Patterns of values that differ between runs, and their placeholders in snapshots.
const FILTERS: [(&str, &str); 7] = [
    (r#"kubemcsa-version: "?\d+\.\d+\.\d+"?"#, "kubemcsa-version: VERSION"),
    (r"https://(127\.0\.0\.1|ADDRESS):\d+", "https://ADDRESS:PORT"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\b(\d+[dhm])?\d+[dhms]\b", "DURATION"),
    (r"rotation-[a-z0-9]{5}", "rotation-RANDOM"),
    (r"  +", "  "),
];

/// Runs `kubemcsa`, and compares its output with the snapshot of this name.
async fn prints(snapshot: &str, kubeconfig: &Path, args: &str) -> anyhow::Result<()> {
    let completed = run(kubeconfig, args.split(' ')).await?;
    let mut text = format!("$ kubemcsa {args}\n");
    for (stream, content) in [("stdout", &completed.stdout), ("stderr", &completed.stderr)] {
        if !content.is_empty() {
            write!(text, "--- {stream}\n{content}")?;
        }
    }
    writeln!(text, "--- exit code {}", completed.code.unwrap_or(-1))?;
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, name) in FILTERS {
        settings.add_filter(pattern, name);
    }
    settings.add_filter(&regex_of(kubeconfig), "KUBECONFIG");
    settings.bind(|| assert_snapshot!(snapshot, text));
    Ok(())
}

/// A pattern for a path.
fn regex_of(path: &Path) -> String {
    path.display().to_string().replace('.', r"\.")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_prints_its_snapshot() -> anyhow::Result<()> {
    let (c1, c2) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    let kubeconfig = c1.dir().join("both");
    write_merged_kubeconfig(&[&c1, &c2], &kubeconfig)?;
    create_pod_lister(&c2, "shop").await?;
    let prints = async |snapshot: &str, args: &str| prints(snapshot, &kubeconfig, args).await;
    let link = "--target-context c1 --source-context c2";

    prints("help", "--help").await?;
    prints("bootstrap_help", "bootstrap --help").await?;
    prints("wrong_flag", "links --no-such-flag").await?;
    prints("no_such_context", "links --context c9").await?;
    prints("check_not_installed", "check --context c1").await?;
    prints("install", "install --context c1 --no-wait").await?;
    prints("install_again", "install --context c1 --no-wait").await?;

    prints("bootstrap_dry_run", &format!("bootstrap {link} --allow shop/pod-lister --dry-run")).await?;
    prints("bootstrap", &format!("bootstrap {link} --allow shop/pod-lister")).await?;
    prints("bootstrap_again", &format!("bootstrap {link}")).await?;
    prints("bootstrap_no_such_context", "bootstrap --target-context c1 --source-context c9").await?;
    prints("bootstrap_to_itself", "bootstrap --target-context c1 --source-context c1").await?;
    prints("bootstrap_yaml_of_the_source", &format!("bootstrap {link} -o yaml --side source")).await?;
    prints("allow", &format!("allow shop {link}")).await?;
    prints("allow_again", &format!("allow shop {link}")).await?;
    prints("deny", &format!("deny shop {link}")).await?;

    let imports = Imports::of(c1.client(), "default");
    imports.create(&pod_lister_import("c2-pod-lister", "c2", "shop")).await?;
    prints("links", "links --context c1").await?;
    prints("links_wide", "links --context c1 -o wide").await?;
    prints("links_none", "links --context c2").await?;
    prints("imports", "imports --context c1").await?;
    prints("check_without_importer", "check --context c1").await?;
    prints("graph", "graph --context c1 --context c2").await?;

    prints("rotate", &format!("rotate {link}")).await?;
    prints("unlink", &format!("unlink {link}")).await?;
    prints("unlink_again", &format!("unlink {link}")).await?;
    prints("uninstall_dry_run", "uninstall --context c1 --delete-imports --dry-run").await?;
    // No snapshot: it prints which pods it waits for.
    run(&kubeconfig, "uninstall --context c1 --delete-imports".split(' ')).await?.stdout()?;
    ensure!(imports.api.list(&Default::default()).await.is_err(), "the CRD is still installed");
    Ok(())
}
