//! Every question, and whether its answer is that of the list.

use anyhow::ensure;
use futures::{StreamExt, TryStreamExt, future, stream};
use kube::Client;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::ground::Ground;
use crate::list::List;
use crate::question::{Question, What};

/// Those of requests, those that someone checks for besides, and all.
const VERBS: [&str; 17] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "approve",
    "attest",
    "bind",
    "escalate",
    "impersonate",
    "impersonate:user-info",
    "sign",
    "use",
    "*",
];

const PATH_VERBS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "*"];

/// How many questions are on their way.
const AT_A_TIME: usize = 64;

/// Asks about everything, in these namespaces and cluster-wide, and compares the answers with the list.
pub async fn walk(client: &Client, mut list: List, namespaces: &[&str]) -> anyhow::Result<()> {
    list.ask_for_roles(client).await?;
    let ground = Ground::read(client, &list).await?;
    let questions = questions(&ground, namespaces);
    let count = questions.len();
    let answers = stream::iter(questions).map(|question| answer(client, question)).buffered(AT_A_TIME);
    let differences: Vec<_> = answers
        .try_filter(|(allowed, question)| future::ready(*allowed != list.allows(question)))
        .map_ok(|(allowed, question)| {
            format!("{} {question}", if allowed { "too many:" } else { "missing:" })
        })
        .try_collect()
        .await?;
    ensure!(
        differences.is_empty(),
        "of {count} answers, {} are not as in manifests/rights.md:\n{}",
        differences.len(),
        differences.join("\n")
    );
    Ok(())
}

async fn answer<'a>(client: &Client, question: Question<'a>) -> anyhow::Result<(bool, Question<'a>)> {
    Ok((question.ask(client).await?, question))
}

fn questions<'a>(ground: &'a Ground, namespaces: &[&'a str]) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    for (account, names) in &ground.accounts {
        let mut add = |verbs: &[&'static str], what| {
            questions.extend(verbs.iter().map(|verb| Question { account, verb, what }));
        };
        for namespace in namespaces.iter().copied().map(Some).chain([None]) {
            // Where there are rules with names: in the system namespace, and cluster-wide.
            let named = namespace.is_none_or(|namespace| namespace == SYSTEM_NAMESPACE);
            let names = names.iter().filter(|_| named).map(|name| Some(name.as_str()));
            for name in names.chain([None]) {
                for (group, resource) in &ground.resources {
                    add(&VERBS, What::Resource { group, resource, namespace, name });
                }
            }
        }
        for path in &ground.paths {
            add(&PATH_VERBS, What::Path(path));
        }
    }
    questions
}
