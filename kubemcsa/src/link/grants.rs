//! What a link may import: everything, or what was named.

mod objects;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::names;

pub use objects::{LINK, binding_name, identity_binding_name};
pub use stored::{Stored, stored};

/// What one `--allow` names: the service accounts of a namespace, or one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The namespace.
    pub namespace: String,
    /// The service account; none: all of them, also those that come later.
    pub name: Option<String>,
}

/// What a link may import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grants {
    /// The service accounts of all namespaces, as far as the admission policy lets it.
    Everything,
    /// Those of some namespaces.
    Only(BTreeMap<String, Names>),
}

/// Which service accounts of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// All, also those that come later.
    All,
    /// These.
    These(BTreeSet<String>),
}

/// A grant can't be taken away, as it is part of a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// The link may import everything.
    Cluster,
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
            return Err("NAMESPACE or NAMESPACE/NAME, with the name of a service account".into());
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
    /// The flags of `kubemcsa bootstrap` that grant the same again.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let Self::Only(namespaces) = self else { return Vec::new() };
        let each = namespaces.iter().flat_map(|(namespace, names)| match names {
            Names::All => vec![namespace.clone()],
            Names::These(names) => names.iter().map(|name| format!("{namespace}/{name}")).collect(),
        });
        each.map(|grant| ("--allow", grant)).collect()
    }

    /// Adds what is not granted yet.
    pub fn allow(&mut self, Grant { namespace, name }: &Grant) {
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

    /// Takes away what is granted.
    ///
    /// # Errors
    /// When it is part of a larger grant: rights can't be subtracted.
    pub fn deny(&mut self, Grant { namespace, name }: &Grant) -> Result<(), Whole> {
        let Self::Only(namespaces) = self else { return Err(Whole::Cluster) };
        match (namespaces.get_mut(namespace), name) {
            (None, _) => return Ok(()),
            (Some(Names::All), Some(_)) => return Err(Whole::Namespace),
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

    /// In a plain sentence each, what `target` can now do. `policy`: whether the source holds links to
    /// the admission policy.
    pub fn sentences(&self, target: &str, policy: bool) -> Vec<String> {
        let time = if policy { "for at most 24 hours" } else { "for any time" };
        let mut sentences = Vec::new();
        match self {
            Self::Everything => {
                let but = match policy {
                    true => format!(" but for those in kube-* and {SYSTEM_NAMESPACE}"),
                    false => " without exception".into(),
                };
                sentences.push(format!("{target} can get tokens of all service accounts{but}, {time}"));
                sentences.push(format!("{target} can read service accounts, and which cluster this is"));
            }
            Self::Only(namespaces) if namespaces.is_empty() => {
                sentences.push(format!("{target} can get no tokens but its own"));
                sentences.push(format!("{target} can read which cluster this is"));
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
                    .push(format!("{target} can read these service accounts, and which cluster this is"));
            }
        }
        sentences.push(format!(
            "kubemcsa has granted {target} nothing else; with a token it can do all that the token's service account can"
        ));
        sentences
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::Everything {
            return formatter.write_str("everything");
        }
        let grants: Vec<_> = self.flags().into_iter().map(|(_, grant)| grant).collect();
        formatter.write_str(if grants.is_empty() { "nothing" } else { "" })?;
        formatter.write_str(&grants.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn grants(text: &str) -> Grants {
        match text {
            "everything" => Grants::Everything,
            text => text
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
    #[case("*", Err("no namespace"))]
    #[case("", Err("no namespace"))]
    #[case("team-a/", Err("NAMESPACE/NAME"))]
    #[case("team-a/*", Err("NAMESPACE/NAME"))]
    #[case("a/b/c", Err("NAMESPACE/NAME"))]
    fn what_can_be_named(#[case] text: &str, #[case] expected: Result<&str, &str>) {
        match (text.parse::<Grant>(), expected) {
            (Ok(grant), Ok(shown)) => assert_eq!(grant.to_string(), shown),
            (Err(error), Err(said)) => assert!(error.contains(said), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[rstest]
    #[case("", "a", "a")]
    #[case("a/x", "a/y", "a/x, a/y")]
    #[case("a/x", "a", "a")]
    #[case("a", "a/x", "a")]
    #[case("everything", "a", "everything")]
    fn allowing(#[case] before: &str, #[case] grant: &str, #[case] after: &str) {
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
    #[case("a", "a/x", Err(Whole::Namespace))]
    #[case("everything", "a", Err(Whole::Cluster))]
    fn denying(#[case] before: &str, #[case] grant: &str, #[case] expected: Result<&str, Whole>) {
        let mut grants = grants(before);
        let denied = grants.deny(&grant.parse().unwrap());
        assert_eq!(denied.map(|()| grants.to_string()), expected.map(str::to_owned));
    }

    #[test]
    fn what_it_can_do_is_said_in_full() {
        let said = grants("everything").sentences("c1", true).join("\n");
        assert!(said.contains("but for those in kube-*") && said.contains("24 hours"), "{said}");
        let said = grants("everything").sentences("c1", false).join("\n");
        assert!(said.contains("without exception") && said.contains("any time"), "{said}");
        let said = grants("a b/x b/y").sentences("c1", true).join("\n");
        assert!(said.contains("in namespace a,") && said.contains("account b/x, b/y,"), "{said}");
    }
}
