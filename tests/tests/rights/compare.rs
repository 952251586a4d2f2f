//! Compares actual rights with documented ones.

use anyhow::ensure;
use futures::{StreamExt, TryStreamExt, future, stream};
use kube::Client;

use super::documented::DocumentedRights;
use super::question::{Question, What};
use super::surface::{NAMED, Resource, Surface};

/// The verbs of requests. A rule with `*` has all of them.
const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Other verbs that API servers check, by resource, in any group.
const VERBS_OF: [(&str, &[&str]); 9] = [
    ("clusterroles", &["bind", "escalate"]),
    ("roles", &["bind", "escalate"]),
    ("groups", &IMPERSONATE),
    ("serviceaccounts", &IMPERSONATE),
    ("uids", &IMPERSONATE),
    ("userextras/scopes", &IMPERSONATE),
    ("users", &IMPERSONATE),
    ("podsecuritypolicies", &["use"]),
    ("signers", &["approve", "attest", "sign"]),
];

const IMPERSONATE: [&str; 2] = ["impersonate", "impersonate:user-info"];

const PATH_VERBS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "*"];

const CONCURRENT_QUESTIONS: usize = 64;

/// Asks for every possible right, in these namespaces and cluster-wide, and compares the answers with the documented
/// rights.
pub async fn compare(
    client: &Client,
    mut documented: DocumentedRights,
    namespaces: &[&str],
) -> anyhow::Result<()> {
    documented.read_roles(client).await?;
    let surface = Surface::read(client, &documented).await?;
    let questions = questions(&surface, namespaces);
    let count = questions.len();
    let answers =
        stream::iter(questions).map(|question| answer(client, question)).buffered(CONCURRENT_QUESTIONS);
    let differences: Vec<_> = answers
        .try_filter(|(allowed, question)| future::ready(*allowed != documented.allows(question)))
        .map_ok(|(allowed, question)| {
            format!("{} {question}", if allowed { "not documented:" } else { "not granted:" })
        })
        .try_collect()
        .await?;
    ensure!(
        differences.is_empty(),
        "of {count} rights, {} differ from manifests/rights.md:\n{}",
        differences.len(),
        differences.join("\n")
    );
    Ok(())
}

async fn answer<'a>(client: &Client, question: Question<'a>) -> anyhow::Result<(bool, Question<'a>)> {
    Ok((question.ask(client).await?, question))
}

fn questions<'a>(surface: &'a Surface, namespaces: &[&'a str]) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    for (account, names) in &surface.accounts {
        let mut add = |verbs: &[&'static str], what| {
            questions.extend(verbs.iter().map(|verb| Question { account, verb, what }));
        };
        for namespace in namespaces.iter().copied().map(Some).chain([None]) {
            let named = namespace.is_none_or(|namespace| NAMED.contains(&namespace));
            let names = names.iter().filter(|_| named).map(|name| Some(name.as_str()));
            for name in names.chain([None]) {
                let applies = |it: &&Resource| namespace.is_none() || it.is_namespaced;
                for Resource { group, name: resource, .. } in surface.resources.iter().filter(applies) {
                    let what = What::Resource { group, resource, namespace, name };
                    add(&VERBS, what);
                    let special = VERBS_OF.iter().filter(|(of, _)| of == resource);
                    special.for_each(|(_, verbs)| add(verbs, what));
                }
            }
        }
        for path in &surface.paths {
            add(&PATH_VERBS, What::Path(path));
        }
    }
    questions
}
