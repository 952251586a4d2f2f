//! Changes of the service accounts that a policy permits. Pure functions.

use mcsa_client::policy::{ALL_NAMESPACES, AccountRule};

use crate::link::grants::Grant;

/// A change of the service accounts that a policy permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Permits exactly these.
    Set(Vec<AccountRule>),
    /// Permits these if the policy is new, and changes nothing otherwise.
    Initialize(Vec<AccountRule>),
    /// Permits these, too.
    Add(Vec<AccountRule>),
    /// Permits these no longer.
    Remove(Vec<AccountRule>),
}

/// Service accounts can't be removed because they are only a part of an entry: policies have no exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartOfEntry {
    pub(crate) removed: AccountRule,
    pub(crate) entry: AccountRule,
}

impl Edit {
    /// The service accounts after the change. `stored`: those of the policy; `None` if it is new.
    pub(crate) fn apply(&self, stored: Option<&[AccountRule]>) -> Result<Vec<AccountRule>, PartOfEntry> {
        let mut rules = stored.unwrap_or_default().to_vec();
        match self {
            Self::Initialize(_) if stored.is_some() => {}
            Self::Set(added) | Self::Initialize(added) => {
                rules.clear();
                added.iter().for_each(|rule| add(&mut rules, rule));
            }
            Self::Add(added) => added.iter().for_each(|rule| add(&mut rules, rule)),
            Self::Remove(removed) => {
                for rule in removed {
                    remove(&mut rules, rule)?;
                }
            }
        }
        Ok(rules)
    }
}

/// The entry for all service accounts.
pub(crate) fn everything() -> AccountRule {
    AccountRule { namespace: ALL_NAMESPACES.to_owned(), name: None }
}

pub(crate) fn rules(grants: &[Grant]) -> Vec<AccountRule> {
    let rule = |grant: &Grant| AccountRule { namespace: grant.namespace.clone(), name: grant.name.clone() };
    grants.iter().map(rule).collect()
}

/// Such as `default/pod-lister`, `default` or `*`.
pub(crate) fn title(rule: &AccountRule) -> String {
    match &rule.name {
        Some(name) => format!("{}/{name}", rule.namespace),
        None => rule.namespace.clone(),
    }
}

fn add(rules: &mut Vec<AccountRule>, added: &AccountRule) {
    if !rules.iter().any(|rule| covers(rule, added)) {
        rules.retain(|rule| !covers(added, rule));
        rules.push(added.clone());
    }
}

fn remove(rules: &mut Vec<AccountRule>, removed: &AccountRule) -> Result<(), PartOfEntry> {
    if let Some(entry) = rules.iter().find(|rule| overlap(rule, removed) && !covers(removed, rule)) {
        return Err(PartOfEntry { removed: removed.clone(), entry: entry.clone() });
    }
    rules.retain(|rule| !covers(removed, rule));
    Ok(())
}

/// Whether all service accounts of `other` are service accounts of `rule`.
fn covers(rule: &AccountRule, other: &AccountRule) -> bool {
    (rule.namespace == ALL_NAMESPACES || rule.namespace == other.namespace)
        && (rule.name.is_none() || rule.name == other.name)
}

fn overlap(one: &AccountRule, other: &AccountRule) -> bool {
    let namespaces = [&one.namespace, &other.namespace];
    (namespaces[0] == namespaces[1] || namespaces.iter().any(|namespace| *namespace == ALL_NAMESPACES))
        && (one.name == other.name || one.name.is_none() || other.name.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parse(text: &str) -> Vec<AccountRule> {
        let rule = |word: &str| match word.split_once('/') {
            Some((namespace, name)) => AccountRule { namespace: namespace.into(), name: Some(name.into()) },
            None => AccountRule { namespace: word.into(), name: None },
        };
        text.split_whitespace().map(rule).collect()
    }

    fn text(rules: &[AccountRule]) -> String {
        rules.iter().map(title).collect::<Vec<_>>().join(" ")
    }

    #[rstest]
    #[case("", "a", "a")]
    #[case("a", "a", "a")]
    #[case("a/x", "a/y b", "a/x a/y b")]
    #[case("a", "a/x", "a")]
    #[case("a/x b a/y", "a", "b a")]
    #[case("*", "a a/x", "*")]
    #[case("a b/x", "*", "*")]
    #[case("*/x", "a/x a/y", "*/x a/y")]
    fn added_accounts_are_not_repeated(#[case] before: &str, #[case] added: &str, #[case] after: &str) {
        let stored = parse(before);
        assert_eq!(text(&Edit::Add(parse(added)).apply(Some(&stored)).unwrap()), after);
    }

    #[rstest]
    #[case("a b", "a", Ok("b"))]
    #[case("a/x a/y", "a/x", Ok("a/y"))]
    #[case("a/x a/y", "a", Ok(""))]
    #[case("a b/x */y", "*", Ok(""))]
    #[case("a", "b", Ok("a"))]
    #[case("a/x", "a/y", Ok("a/x"))]
    #[case("b a", "a/x", Err("a"))]
    #[case("*", "a", Err("*"))]
    #[case("*/x", "a/x", Err("*/x"))]
    #[case("*/x", "a", Err("*/x"))]
    #[case("*/x", "a/y", Ok("*/x"))]
    fn part_of_an_entry_cannot_be_removed(
        #[case] before: &str,
        #[case] removed: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        let result = Edit::Remove(parse(removed)).apply(Some(&parse(before)));
        let result = result.map(|rules| text(&rules)).map_err(|error| title(&error.entry));
        assert_eq!(result, expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[rstest]
    #[case::new(Edit::Initialize(parse("*")), None, "*")]
    #[case::kept(Edit::Initialize(parse("*")), Some("a"), "a")]
    #[case::kept_empty(Edit::Initialize(parse("*")), Some(""), "")]
    #[case::replaced(Edit::Set(parse("b/x b c")), Some("a"), "b c")]
    #[case::added_to_a_new_policy(Edit::Add(parse("a")), None, "a")]
    fn bootstrap_without_allow_keeps_the_accounts(
        #[case] edit: Edit,
        #[case] before: Option<&str>,
        #[case] after: &str,
    ) {
        let stored = before.map(parse);
        assert_eq!(text(&edit.apply(stored.as_deref()).unwrap()), after);
    }
}
