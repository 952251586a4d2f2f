//! The capacity of a virtual node: the sum of what its launch imports offer. A pure function.
//!
//! For each resource, an import offers the number in its annotation, else what the quotas of its remote namespace
//! leave, else any amount.

use std::collections::{BTreeMap, BTreeSet};

use mcsa_credentials::contract::launch::CAPACITY;

use super::resources::{Resources, UNLIMITED, is_counted, is_resource};
use crate::quantity::{Amount, InvalidAmount};

/// What is known of one launch import.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The import, as `<namespace>/<name>`.
    pub(crate) import: String,
    /// Its annotation [`CAPACITY`].
    pub(crate) annotation: Option<String>,
    pub(crate) remote_namespace: String,
    /// What the quotas of the remote namespace allow. `None`: not read yet.
    pub(crate) quota: Option<Quota>,
    /// Whether the launcher has no access with it: the source refuses the credential, or does not respond.
    pub(crate) lacks_access: bool,
}

impl Offer {
    /// Whether the import can't run pods. If its quotas were read, it keeps its share: it may soon have a new token.
    fn is_unusable(&self) -> bool {
        self.lacks_access && self.quota.is_none()
    }
}

/// What the quotas of a namespace allow. A resource that is absent is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quota {
    /// What all pods of the namespace may request.
    pub(crate) hard: Resources,
    /// What is left of it for the launcher's pods.
    pub(crate) free: Resources,
}

/// The capacity of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) total: Resources,
    /// What the launcher's pods may request: the rest is in use by others.
    pub(crate) allocatable: Resources,
    /// Whether there are usable imports, and the quotas of all namespaces that matter were read.
    pub(crate) is_complete: bool,
    /// What is wrong with the annotations of imports.
    pub(crate) problems: Vec<String>,
}

/// An annotation that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidCapacity {
    #[error("{0:?} is not <resource>=<quantity>, as in cpu=100,memory=200Gi,pods=1000")]
    NoPair(String),
    #[error("{0:?} is no resource: write cpu, memory, ephemeral-storage, pods, or an extended resource")]
    UnknownResource(String),
    #[error("{0} is there twice")]
    Twice(String),
    #[error("{0}: {1}")]
    Amount(String, InvalidAmount),
    #[error("{0} must be a whole number")]
    NotWhole(String),
}

pub(crate) fn capacity(offers: &[Offer]) -> Capacity {
    let mut problems = Vec::new();
    let offers: Vec<_> = offers
        .iter()
        .filter(|offer| !offer.is_unusable())
        .map(|offer| match offer.annotation.as_deref().map(read).transpose() {
            Ok(given) => (given.unwrap_or_default(), offer),
            Err(problem) => {
                let import = &offer.import;
                problems.push(format!("ServiceAccountImport {import}: annotation {CAPACITY}: {problem}"));
                (Resources::new(), offer)
            }
        })
        .collect();
    let mut capacity = Capacity { is_complete: !offers.is_empty(), problems, ..Capacity::default() };
    for name in names(&offers) {
        let sum = sum(name, &offers);
        capacity.is_complete &= sum.is_complete;
        capacity.total.insert(name.to_owned(), sum.total);
        capacity.allocatable.insert(name.to_owned(), sum.free);
    }
    capacity
}

/// The resources that every node has, and those that an import names.
fn names<'a>(offers: &'a [(Resources, &'a Offer)]) -> BTreeSet<&'a str> {
    let given = offers.iter().flat_map(|(given, _)| given.keys());
    let quotas = offers.iter().filter_map(|(_, offer)| offer.quota.as_ref());
    let limited = quotas.flat_map(|quota| quota.hard.keys());
    let named = given.chain(limited).map(String::as_str);
    UNLIMITED.iter().map(|(name, _)| *name).chain(named).collect()
}

struct Sum {
    total: Amount,
    free: Amount,
    is_complete: bool,
}

/// The sum of one resource. If one import is not limited, neither is the node.
fn sum(name: &str, offers: &[(Resources, &Offer)]) -> Sum {
    let unlimited = UNLIMITED.iter().find(|(known, _)| *known == name).map(|(_, amount)| *amount);
    // Imports of one remote namespace share its quota, which one of them may have read.
    let mut namespaces: BTreeMap<_, Option<&Quota>> = BTreeMap::new();
    let (mut total, mut free) = (Amount::default(), Amount::default());
    for (given, offer) in offers {
        if let Some(amount) = given.get(name) {
            (total, free) = (total + *amount, free + *amount);
        } else {
            let quota = namespaces.entry(offer.remote_namespace.as_str()).or_default();
            *quota = quota.or(offer.quota.as_ref());
        }
    }
    let mut is_complete = true;
    for quota in namespaces.into_values() {
        let Some(quota) = quota else {
            is_complete = false;
            continue;
        };
        let free_of = |hard| quota.free.get(name).copied().unwrap_or(hard);
        match (quota.hard.get(name), unlimited) {
            (Some(hard), _) => (total, free) = (total + *hard, free + free_of(*hard)),
            (None, Some(amount)) => return Sum { total: amount, free: amount, is_complete: true },
            (None, None) => {}
        }
    }
    Sum { total, free, is_complete }
}

/// Reads an annotation: `cpu=100,memory=200Gi,pods=1000`.
fn read(annotation: &str) -> Result<Resources, InvalidCapacity> {
    let mut resources = Resources::new();
    for pair in annotation.split(',').map(str::trim) {
        let Some((name, amount)) = pair.split_once('=') else {
            return Err(InvalidCapacity::NoPair(pair.to_owned()));
        };
        let name = name.trim().to_owned();
        if !is_resource(&name) {
            return Err(InvalidCapacity::UnknownResource(name));
        }
        let amount: Amount = match amount.trim().parse() {
            Ok(amount) => amount,
            Err(problem) => return Err(InvalidCapacity::Amount(name, problem)),
        };
        if is_counted(&name) && !amount.is_whole() {
            return Err(InvalidCapacity::NotWhole(name));
        }
        if resources.insert(name.clone(), amount).is_some() {
            return Err(InvalidCapacity::Twice(name));
        }
    }
    Ok(resources)
}

#[cfg(test)]
mod tests;
