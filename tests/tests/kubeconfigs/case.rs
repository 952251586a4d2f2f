//! A case of the corpus: a kubeconfig, and what each program must make of it. The README of the corpus describes the
//! format.

use anyhow::{Context, bail, ensure};

use super::program::Program;

#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    /// The topic and the name in it.
    pub(super) name: String,
    pub(super) kubectl: Expectation,
    pub(super) kubemcsa: Expectation,
    pub(super) library: Expectation,
    /// The name of the context to use.
    pub(super) context: Option<String>,
    /// The value of `KUBECONFIG`, instead of a flag with the file.
    pub(super) environment: Option<String>,
    /// The user that the API server must see.
    pub(super) user: Option<String>,
    pub(super) namespace: Option<String>,
    /// How often the credential plugin must run.
    pub(super) plugin_runs: Option<usize>,
    pub(super) encoding: Encoding,
    pub(super) crlf: bool,
    /// Names and templates. The first is the kubeconfig.
    pub(super) files: Vec<(String, String)>,
}

/// What a program must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expectation {
    pub(super) may_work: bool,
    /// `None`: it must not fail.
    pub(super) failure: Option<Failure>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) found: Found,
    /// What the error must contain.
    pub(super) words: Vec<String>,
}

/// What shows that a kubeconfig can't be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Found {
    /// The file, so that the error must name it.
    #[default]
    ByReading,
    /// Something that the file refers to.
    Elsewhere,
    /// A request. The crate returns its error as it is.
    ByRequest,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    #[default]
    Utf8,
    Utf8WithMark,
    Utf16Le,
    Utf16Be,
    /// With an additional byte at the end.
    BrokenUtf16,
    Utf16WithoutMark,
}

impl Default for Expectation {
    fn default() -> Self {
        Self { may_work: true, failure: None }
    }
}

impl Case {
    pub(super) fn expectation(&self, program: Program) -> &Expectation {
        match program {
            Program::Kubectl => &self.kubectl,
            Program::Kubemcsa => &self.kubemcsa,
            Program::Library => &self.library,
        }
    }
}

/// Parses the cases of a topic.
pub(super) fn parse(topic: &str, text: &str) -> anyhow::Result<Vec<Case>> {
    let blocks = format!("\n{text}");
    let blocks: Vec<_> = blocks.split("\n=== ").skip(1).collect();
    ensure!(!blocks.is_empty(), "there are no cases");
    blocks.into_iter().map(|block| case(topic, block)).collect()
}

fn case(topic: &str, block: &str) -> anyhow::Result<Case> {
    let (head, body) = block.split_once("\n\n").unwrap_or((block.trim_end(), ""));
    let mut lines = head.lines();
    let mut case =
        Case { name: format!("{topic}/{}", lines.next().unwrap_or_default()), ..Default::default() };
    let mut reason = None;
    for line in lines {
        let setting = line.split_once(':').map(|(key, value)| (key, value.trim()));
        let (key, value) = setting.with_context(|| format!("{}: no setting: {line}", case.name))?;
        let text = || Some(value.to_owned());
        match key {
            "all" => {
                case.kubectl = expectation(value)?;
                (case.kubemcsa, case.library) = (case.kubectl.clone(), case.kubectl.clone());
            }
            "kubectl" => case.kubectl = expectation(value)?,
            "ours" => (case.kubemcsa, case.library) = (expectation(value)?, expectation(value)?),
            "kubemcsa" => case.kubemcsa = expectation(value)?,
            "crate" => case.library = expectation(value)?,
            "why" => reason = text(),
            "context" => case.context = text(),
            "KUBECONFIG" => case.environment = text(),
            "user" => case.user = text(),
            "namespace" => case.namespace = text(),
            "plugin-runs" => case.plugin_runs = Some(value.parse()?),
            "encoding" => case.encoding = encoding(value)?,
            "line-ends" => case.crlf = value == "crlf",
            _ => bail!("{}: unknown setting {key}", case.name),
        }
    }
    let differs = |ours: &Expectation| ours.failure.is_none() != case.kubectl.failure.is_none();
    ensure!(
        reason.is_some() || !(differs(&case.kubemcsa) || differs(&case.library)),
        "{}: say why kubectl does otherwise",
        case.name
    );
    case.files = files(body);
    Ok(case)
}

/// Splits the body at lines like `-- name --`.
fn files(body: &str) -> Vec<(String, String)> {
    let mut files = vec![("config".to_owned(), String::new())];
    for line in body.lines() {
        match line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --")) {
            Some(name) => files.push((name.to_owned(), String::new())),
            None => {
                if let Some((_, text)) = files.last_mut() {
                    *text += line;
                    text.push('\n');
                }
            }
        }
    }
    files
}

fn expectation(text: &str) -> anyhow::Result<Expectation> {
    let (outcome, words) = text.split_once(':').unwrap_or((text, ""));
    let words = words.split('|').map(str::trim).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(str::to_owned).collect();
    let outcome = outcome.trim();
    if outcome == "works" {
        return Ok(Expectation::default());
    }
    let failure = outcome.strip_prefix("works or ");
    let found = match failure.unwrap_or(outcome) {
        "fails" => Found::ByReading,
        "fails without file" => Found::Elsewhere,
        "request fails" => Found::ByRequest,
        _ => bail!("unknown outcome {outcome}"),
    };
    Ok(Expectation { may_work: failure.is_some(), failure: Some(Failure { found, words }) })
}

fn encoding(name: &str) -> anyhow::Result<Encoding> {
    Ok(match name {
        "utf-8 with mark" => Encoding::Utf8WithMark,
        "utf-16le" => Encoding::Utf16Le,
        "utf-16be" => Encoding::Utf16Be,
        "broken utf-16" => Encoding::BrokenUtf16,
        "utf-16 without mark" => Encoding::Utf16WithoutMark,
        _ => bail!("unknown encoding {name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn cases_have_settings_and_files() {
        let text = "About.\n\n=== one\nkubectl: fails\nours: works or request fails: a | b c\nwhy: because\n\nx: 1\n\
                    -- more/file --\ny\n\n\n=== two\n\nz\n";
        let cases = parse("topic", text).unwrap();
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["topic/one", "topic/two"]);
        let [one, two] = &cases[..] else { panic!("two cases") };
        let failure = Failure { found: Found::ByRequest, words: vec!["a".into(), "b c".into()] };
        assert_eq!(one.library, Expectation { may_work: true, failure: Some(failure) });
        assert_eq!(one.kubemcsa, one.library);
        assert!(!one.kubectl.may_work && two.kubectl.may_work);
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(one.files, [file("config", "x: 1\n"), file("more/file", "y\n\n")]);
        assert_eq!(two.files, [file("config", "z\n")]);
    }

    #[rstest]
    #[case::no_case("x: 1\n")]
    #[case::unknown_setting("=== one\nkubectll: works\n\n")]
    #[case::unknown_outcome("=== one\nall: breaks\n\n")]
    #[case::difference_without_reason("=== one\nkubectl: works\nours: fails\n\n")]
    fn mistakes_are_errors(#[case] text: &str) {
        assert!(parse("topic", text).is_err());
    }
}
