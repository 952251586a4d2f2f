//! kubectl, `kubemcsa` and the client crate read the same kubeconfigs. What kubectl can use, the others must be able to
//! use as the same user. Where they fail, their errors must help, and must not contain secrets.
//!
//! The kubeconfigs are in `tests/kubeconfigs`, which has a README.

mod case;
mod every_command;
mod files;
mod plugin_calls;
mod program;
pub(crate) mod proxies;
mod render;
mod run;
mod table;
mod values;
mod verdict;

use std::path::Path;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use mcsa_tests::{shared_source, unique};

use self::case::Case;
use self::program::Program;
use self::table::Row;
use self::values::Values;

/// How many kubeconfigs are tried at the same time.
const PARALLEL: usize = 4;

/// All cases of the corpus. `KUBECONFIG_CASES` selects those whose names contain its value.
fn corpus() -> anyhow::Result<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubeconfigs");
    let mut topics: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    topics.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    topics.sort();
    let mut cases = Vec::new();
    for path in topics {
        let topic = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(&path)?;
        cases.extend(case::parse(&topic, &text).with_context(|| path.display().to_string())?);
    }
    let selected = std::env::var("KUBECONFIG_CASES").unwrap_or_default();
    cases.retain(|case| case.name.contains(&selected));
    ensure!(!cases.is_empty(), "no case has {selected:?} in its name");
    Ok(cases)
}

/// Runs the programs one after another, each with files of its own.
async fn try_all(case: Case, folder: &Path, values: &Values) -> anyhow::Result<Row> {
    let name = case.name.clone();
    let row = async {
        let mut runs = Vec::new();
        for program in Program::ALL {
            let folder = folder.join(case.name.replace('/', "-")).join(program.name());
            files::write(&case, &folder, values)?;
            runs.push((program, run::run(program, &case, &folder, values).await?));
        }
        anyhow::Ok(Row { problems: verdict::problems(&case, &runs, values), case, runs })
    };
    row.await.with_context(|| name)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_and_kubemcsa_and_the_crate_read_the_same_kubeconfigs() -> anyhow::Result<()> {
    let cases = corpus()?;
    let source = shared_source().await?;
    let folder = tempfile::tempdir()?;
    let values = Values::prepare(&source, &unique("kubeconfigs"), folder.path()).await?;
    let (possible, skipped): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| values.can_render(case));
    for case in skipped {
        eprintln!("{}: skipped, because this machine has no IPv6", case.name);
    }
    let runs = futures::stream::iter(possible).map(|case| try_all(case, folder.path(), &values));
    let mut rows: Vec<_> = runs.buffer_unordered(PARALLEL).try_collect().await?;
    rows.sort_by(|one, other| one.case.name.cmp(&other.case.name));
    eprintln!("{}", table::all(&rows));
    let failed = rows.iter().filter(|row| !row.problems.is_empty()).count();
    ensure!(failed == 0, "{failed} of {} kubeconfigs:\n{}", rows.len(), table::failures(&rows));
    Ok(())
}
