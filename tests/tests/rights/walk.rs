//! Every question, and whether its answer is that of the list.

use anyhow::ensure;
use futures::{StreamExt, TryStreamExt, future, stream};
use kube::Client;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::ground::{Ground, Resource};
use super::list::List;
use super::question::{Question, What};

/// Those of requests. A rule that has `*` has all of these.
const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Those that someone checks for besides, each of some resources, whatever their group.
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
                let there = |it: &&Resource| namespace.is_none() || it.is_in_namespaces;
                for Resource { group, name: resource, .. } in ground.resources.iter().filter(there) {
                    let what = What::Resource { group, resource, namespace, name };
                    add(&VERBS, what);
                    let besides = VERBS_OF.iter().filter(|(of, _)| of == resource);
                    besides.for_each(|(_, verbs)| add(verbs, what));
                }
            }
        }
        for path in &ground.paths {
            add(&PATH_VERBS, What::Path(path));
        }
    }
    questions
}
