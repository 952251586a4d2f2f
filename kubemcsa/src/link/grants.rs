//! What a link may import.

mod objects;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::names;

pub(crate) use objects::{LINK, binding_name, identity_binding_name};
pub(crate) use stored::{StoredGrants, read};

/// The value of one `--allow`: all service accounts of a namespace, or one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) namespace: String,
    /// `None`: all service accounts, including future ones.
    pub(crate) name: Option<String>,
}

/// What a link may import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grants {
    /// The service accounts of all namespaces, except those that the admission policy excludes.
    Everything,
    /// Service accounts by namespace.
    Only(BTreeMap<String, Names>),
}

/// Service accounts of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// All, including future ones.
    All,
    These(BTreeSet<String>),
}

/// A grant can't be revoked because it is part of a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LargerGrant {
    /// The link may import everything.
    Everything,
    /// The link may import all of the namespace.
    Namespace,
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (namespace, Some(name)),
            None => (text, None),
        };
        let namespace = names::namespace(namespace)?;
        if namespace.starts_with("kube-") || namespace == SYSTEM_NAMESPACE {
            return Err(format!(
                "the admission policy of links refuses tokens of service accounts in kube-* and {SYSTEM_NAMESPACE}"
            ));
        }
        if name.is_some_and(|name| !names::is_dns_subdomain(name)) {
            return Err("expected NAMESPACE or NAMESPACE/NAME, with the name of a service account".into());
        }
        Ok(Self { namespace, name: name.map(str::to_owned) })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(formatter, "{}/{name}", self.namespace),
            None => formatter.write_str(&self.namespace),
        }
    }
}

impl<'a> FromIterator<&'a Grant> for Grants {
    fn from_iter<T: IntoIterator<Item = &'a Grant>>(grants: T) -> Self {
        let mut all = Self::Only(BTreeMap::new());
        grants.into_iter().for_each(|grant| all.allow(grant));
        all
    }
}

impl Grants {
    /// The flags of `kubemcsa bootstrap` that grant the same again. A flag without a value has an empty one.
    pub(crate) fn flags(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Everything => vec![("--allow-everything", String::new())],
            // No flag grants nothing.
            Self::Only(namespaces) if namespaces.is_empty() => {
                vec![("--allow", "NAMESPACE[/NAME]".to_owned())]
            }
            Self::Only(namespaces) => list(namespaces).into_iter().map(|grant| ("--allow", grant)).collect(),
        }
    }

    /// Whether the link may import this service account, as far as RBAC decides.
    pub(crate) fn includes(&self, namespace: &str, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(namespaces) => match namespaces.get(namespace) {
                None => false,
                Some(Names::All) => true,
                Some(Names::These(names)) => names.contains(name),
            },
        }
    }

    /// Whether `other` includes all of these grants.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        let (Self::Only(own), Self::Only(others)) = (self, other) else { return *other == Self::Everything };
        own.iter().all(|(namespace, names)| match (names, others.get(namespace)) {
            (_, Some(Names::All)) => true,
            (Names::These(names), Some(Names::These(others))) => names.is_subset(others),
            _ => false,
        })
    }

    /// Adds a grant.
    pub(crate) fn allow(&mut self, Grant { namespace, name }: &Grant) {
        let Self::Only(namespaces) = self else { return };
        let names = namespaces.entry(namespace.clone()).or_insert_with(|| Names::These(BTreeSet::new()));
        match (names, name) {
            (Names::All, _) => {}
            (names, None) => *names = Names::All,
            (Names::These(names), Some(name)) => {
                names.insert(name.clone());
            }
        }
    }

    /// Revokes a grant. Fails if it is part of a larger one: RBAC has no exceptions.
    pub(crate) fn deny(&mut self, Grant { namespace, name }: &Grant) -> Result<(), LargerGrant> {
        let Self::Only(namespaces) = self else { return Err(LargerGrant::Everything) };
        match (namespaces.get_mut(namespace), name) {
            (None, _) => return Ok(()),
            (Some(Names::All), Some(_)) => return Err(LargerGrant::Namespace),
            (Some(Names::These(names)), Some(name)) => {
                names.remove(name);
                if !names.is_empty() {
                    return Ok(());
                }
            }
            (Some(_), None) => {}
        }
        namespaces.remove(namespace);
        Ok(())
    }

    /// The rights of `target` as sentences. `policy`: whether the source enforces the admission policy.
    pub(crate) fn sentences(&self, target: &str, policy: bool) -> Vec<String> {
        let time = if policy { "for at most 24h" } else { "for any duration" };
        let mut sentences = Vec::new();
        match self {
            Self::Everything => {
                let but = match policy {
                    true => format!(" except those in kube-* and {SYSTEM_NAMESPACE}"),
                    false => " without exception".into(),
                };
                sentences.push(format!("{target} can get tokens of all service accounts{but}, {time}"));
                sentences.push(format!("{target} can read service accounts and the UID of this cluster"));
            }
            Self::Only(namespaces) if namespaces.is_empty() => {
                sentences.push(format!("{target} can get no tokens except its own"));
                sentences.push(format!("{target} can read the UID of this cluster"));
            }
            Self::Only(namespaces) => {
                for (namespace, names) in namespaces {
                    let which = match names {
                        Names::All => format!("all service accounts in namespace {namespace}"),
                        Names::These(names) => {
                            let names: Vec<_> =
                                names.iter().map(|name| format!("{namespace}/{name}")).collect();
                            format!("service account {}", names.join(", "))
                        }
                    };
                    sentences.push(format!("{target} can get tokens of {which}, {time}"));
                }
                sentences
                    .push(format!("{target} can read these service accounts and the UID of this cluster"));
            }
        }
        sentences.push(format!(
            "kubemcsa granted {target} nothing else; a token has all permissions of its service account"
        ));
        sentences
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => formatter.write_str("everything"),
            Self::Only(namespaces) if namespaces.is_empty() => formatter.write_str("nothing"),
            Self::Only(namespaces) => formatter.write_str(&list(namespaces).join(", ")),
        }
    }
}

/// The values of `--allow`.
fn list(namespaces: &BTreeMap<String, Names>) -> Vec<String> {
    let each = namespaces.iter().flat_map(|(namespace, names)| match names {
        Names::All => vec![namespace.clone()],
        Names::These(names) => names.iter().map(|name| format!("{namespace}/{name}")).collect(),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn grants(text: &str) -> Grants {
        match text {
            "everything" => Grants::Everything,
            list => list
                .split_whitespace()
                .map(|word| word.parse().unwrap())
                .collect::<Vec<Grant>>()
                .iter()
                .collect(),
        }
    }

    #[rstest]
    #[case("team-a", Ok("team-a"))]
    #[case("team-a/deployer", Ok("team-a/deployer"))]
    #[case("team-a/a.b", Ok("team-a/a.b"))]
    #[case("kube-system", Err("admission policy"))]
    #[case("kube-public/x", Err("admission policy"))]
    #[case("multicluster-service-account", Err("admission policy"))]
    #[case("*", Err("not a valid namespace name"))]
    #[case("", Err("not a valid namespace name"))]
    #[case("team-a/", Err("NAMESPACE/NAME"))]
    #[case("team-a/*", Err("NAMESPACE/NAME"))]
    #[case("a/b/c", Err("NAMESPACE/NAME"))]
    fn grants_are_parsed(#[case] text: &str, #[case] expected: Result<&str, &str>) {
        match (text.parse::<Grant>(), expected) {
            (Ok(grant), Ok(text)) => assert_eq!(grant.to_string(), text),
            (Err(error), Err(message)) => assert!(error.contains(message), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[rstest]
    #[case("", "a", "a")]
    #[case("a/x", "a/y", "a/x, a/y")]
    #[case("a/x", "a", "a")]
    #[case("a", "a/x", "a")]
    #[case("everything", "a", "everything")]
    fn allowed_grant_is_added_unless_covered(#[case] before: &str, #[case] grant: &str, #[case] after: &str) {
        let mut grants = grants(before);
        grants.allow(&grant.parse().unwrap());
        assert_eq!(grants.to_string(), after);
    }

    #[rstest]
    #[case("a b", "a", Ok("b"))]
    #[case("a/x a/y", "a/x", Ok("a/y"))]
    #[case("a/x", "a/x", Ok("nothing"))]
    #[case("a/x", "a", Ok("nothing"))]
    #[case("a", "b", Ok("a"))]
    #[case("a/x", "a/y", Ok("a/x"))]
    #[case("a", "a/x", Err(LargerGrant::Namespace))]
    #[case("everything", "a", Err(LargerGrant::Everything))]
    fn denied_grant_is_removed_unless_part_of_a_larger_one(
        #[case] before: &str,
        #[case] grant: &str,
        #[case] expected: Result<&str, LargerGrant>,
    ) {
        let mut grants = grants(before);
        let denied = grants.deny(&grant.parse().unwrap());
        assert_eq!(denied.map(|()| grants.to_string()), expected.map(str::to_owned));
    }

    #[rstest]
    #[case("everything", "--allow-everything ")]
    #[case("a b/x", "--allow a --allow b/x")]
    #[case("", "--allow NAMESPACE[/NAME]")]
    fn flags_never_grant_more(#[case] text: &str, #[case] expected: &str) {
        let flags = grants(text).flags().into_iter().map(|(flag, value)| format!("{flag} {value}"));
        assert_eq!(flags.collect::<Vec<_>>().join(" "), expected);
    }

    #[rstest]
    #[case("a/x", "a", true)]
    #[case("a/x", "a/x a/y", true)]
    #[case("a", "everything", true)]
    #[case("", "b", true)]
    #[case("a", "a/x", false)]
    #[case("a/x a/y", "a/x", false)]
    #[case("a", "b", false)]
    #[case("everything", "a", false)]
    fn narrower_grants_are_within_wider_ones(#[case] one: &str, #[case] other: &str, #[case] expected: bool) {
        assert_eq!(grants(one).is_within(&grants(other)), expected);
        assert!(grants(one).is_within(&grants(one)));
    }

    #[test]
    fn sentences_name_each_right_and_its_limit() {
        let text = grants("everything").sentences("c1", true).join("\n");
        assert!(text.contains("except those in kube-*") && text.contains("24h"), "{text}");
        let text = grants("everything").sentences("c1", false).join("\n");
        assert!(text.contains("without exception") && text.contains("any duration"), "{text}");
        let text = grants("a b/x b/y").sentences("c1", true).join("\n");
        assert!(text.contains("in namespace a,") && text.contains("account b/x, b/y,"), "{text}");
    }
}
