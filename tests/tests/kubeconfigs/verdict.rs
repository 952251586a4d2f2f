//! Compares what the programs did with what the case expects, and with each other.

use serde_json::Value;

use super::case::{Case, Failure, Found};
use super::program::Program;
use super::run::Run;
use super::values::Values;

/// Text in a case that no output of ours may contain.
const SECRET: &str = "s3cret";

/// What is wrong with the runs of a case.
pub(super) fn problems(case: &Case, runs: &[(Program, Run)], values: &Values) -> Vec<String> {
    let mut problems = Vec::new();
    let kubectl = runs.iter().find(|(program, _)| *program == Program::Kubectl).map(|(_, run)| run);
    for (program, run) in runs {
        let mut problem = |text: String| problems.push(format!("{}: {text}", program.name()));
        let expectation = case.expectation(*program);
        match (&expectation.failure, run.works()) {
            (None, false) => problem("fails".into()),
            (Some(_), true) if !expectation.may_work => problem("works".into()),
            (Some(failure), false) => {
                for word in missing(case, failure, *program, run, values) {
                    problem(format!("the error lacks {word:?}"));
                }
            }
            _ => {}
        }
        if let Some(expected) = case.plugin_runs
            && run.plugin.runs != expected
        {
            problem(format!("the plugin ran {} times, not {expected}", run.plugin.runs));
        }
        if run.works() {
            let user = run.user(*program).map(without_order);
            let name = user.as_ref().and_then(|user| user["username"].as_str());
            if name.is_none() && *program != Program::Kubemcsa {
                problem("prints no user".into());
            }
            if let (Some(expected), Some(name)) = (&case.user, name)
                && values.fill(expected) != name
            {
                problem(format!("the user is {name}, not {expected}"));
            }
            if let (Some(expected), Some(namespace)) = (&case.namespace, &run.namespace)
                && expected != namespace
            {
                problem(format!("the namespace is {namespace:?}, not {expected:?}"));
            }
            let theirs = kubectl.filter(|run| run.works()).and_then(|run| run.user(Program::Kubectl));
            if let (Some(user), Some(theirs)) = (&user, theirs.map(without_order))
                && *user != theirs
            {
                problem(format!("kubectl is another user: {theirs}, not {user}"));
            }
        }
        if *program == Program::Kubectl {
            continue;
        }
        let theirs = kubectl.and_then(|run| run.plugin.info.as_ref());
        if let (Some(info), Some(theirs)) = (&run.plugin.info, theirs)
            && info != theirs
        {
            problem(format!("kubectl passes another KUBERNETES_EXEC_INFO: {theirs}, not {info}"));
        }
        faults(run, values).into_iter().for_each(problem);
    }
    problems
}

/// What no program of ours may do, whatever is in a kubeconfig.
pub(super) fn faults(run: &Run, values: &Values) -> Vec<String> {
    let mut faults = Vec::new();
    let output = format!("{}{}", run.stdout, run.stderr);
    if run.code.is_none_or(|code| code > 1)
        || output.contains("panicked")
        || output.contains("RUST_BACKTRACE")
    {
        faults.push(format!("ends with code {:?}, or panics", run.code));
    }
    if output.contains(SECRET) || values.secrets().any(|secret| output.contains(secret)) {
        faults.push("the output contains a secret".into());
    }
    faults
}

/// What the error should contain, and does not.
fn missing(case: &Case, failure: &Failure, program: Program, run: &Run, values: &Values) -> Vec<String> {
    // kubectl's log lines precede its error.
    let error = if program == Program::Kubemcsa { run.error() } else { &run.stderr };
    // The folder is named after the program.
    let file = if case.environment.is_some() { "" } else { "config" };
    let file = (failure.found == Found::ByReading && program != Program::Kubectl)
        .then(|| format!("/{}/{file}", program.name()));
    if program == Program::Library && failure.found == Found::ByRequest {
        return Vec::new();
    }
    let words = failure.words.iter().map(|word| values.fill(word)).chain(file);
    words.filter(|word| !contains(error, word)).collect()
}

/// `line 7` can also be written as in `config:7:2`.
fn contains(error: &str, word: &str) -> bool {
    error.contains(word)
        || word.strip_prefix("line ").is_some_and(|line| error.contains(&format!(":{line}:")))
}

/// The order of groups does not matter.
fn without_order(mut user: Value) -> Value {
    if let Some(groups) = user.get_mut("groups").and_then(Value::as_array_mut) {
        groups.sort_by_key(Value::to_string);
    }
    user
}
