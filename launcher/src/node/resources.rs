//! Names of resources that a virtual node has.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity::Amount;

/// Amounts by the name of the resource.
pub(crate) type Resources = BTreeMap<String, Amount>;

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
const EPHEMERAL_STORAGE: &str = "ephemeral-storage";
const PODS: &str = "pods";

const PEBI: u64 = 1 << 50;

/// What a node has of a resource that nothing limits. Every pod fits, and the scheduler still computes with 64 bits.
/// An extended resource is not among them: a node has none, unless someone says how many.
pub(crate) const UNLIMITED: [(&str, Amount); 4] = [
    (CPU, Amount::whole(100_000)),
    (MEMORY, Amount::whole(PEBI)),
    (EPHEMERAL_STORAGE, Amount::whole(PEBI)),
    (PODS, Amount::whole(10_000)),
];

/// Whether a node may have a resource of this name. Kubernetes' own are four: huge pages belong to a machine.
pub(crate) fn is_resource(name: &str) -> bool {
    UNLIMITED.iter().any(|(known, _)| *known == name) || is_extended(name)
}

/// Whether the API server accepts only whole numbers of it.
pub(crate) fn is_counted(name: &str) -> bool {
    name == PODS || is_extended(name)
}

/// The resource that an entry of a quota's `spec.hard` limits. `None`: limits of containers, and objects.
pub(crate) fn of_quota(entry: &str) -> Option<&str> {
    match entry.strip_prefix("requests.") {
        Some(name) => [CPU, MEMORY, EPHEMERAL_STORAGE].contains(&name).then_some(name).or(extended(name)),
        None if entry == "count/pods" => Some(PODS),
        None => UNLIMITED.iter().map(|(name, _)| *name).find(|name| *name == entry),
    }
}

/// Amounts as the API server prints them.
pub(crate) fn quantities(resources: &Resources) -> BTreeMap<String, Quantity> {
    let quantity = |name: &str, amount: Amount| match name {
        MEMORY | EPHEMERAL_STORAGE => Quantity(amount.to_binary()),
        _ => Quantity(amount.to_decimal()),
    };
    resources.iter().map(|(name, amount)| (name.clone(), quantity(name, *amount))).collect()
}

fn extended(name: &str) -> Option<&str> {
    is_extended(name).then_some(name)
}

/// A name with a domain, as of device plugins. Kubernetes' own domains are reserved.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, rest)| {
        is_domain(domain)
            && is_qualified(rest)
            && domain != "kubernetes.io"
            && !domain.ends_with(".kubernetes.io")
    })
}

/// Quotas prefix the domain with `requests.`, so it may have nine characters less than others.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && label.chars().all(valid) && !label.starts_with('-') && !label.ends_with('-')
    };
    domain.len() <= 244 && !domain.starts_with("requests.") && domain.split('.').all(is_label)
}

fn is_qualified(name: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    let is_inner = |c: char| is_end(c) || matches!(c, '-' | '_' | '.');
    name.len() <= 63 && name.starts_with(is_end) && name.ends_with(is_end) && name.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("cpu", true)]
    #[case("pods", true)]
    #[case("ephemeral-storage", true)]
    #[case("nvidia.com/gpu", true)]
    #[case("example.com/Some_Device.v2", true)]
    #[case("hugepages-2Mi", false)]
    #[case("gpu", false)]
    #[case("kubernetes.io/device", false)]
    #[case("a.kubernetes.io/device", false)]
    #[case("requests.example.com/device", false)]
    #[case("Example.com/device", false)]
    #[case("example..com/device", false)]
    #[case("example.com/", false)]
    #[case("example.com/a/b", false)]
    #[case("/device", false)]
    #[case("", false)]
    fn names_that_the_api_server_refuses_are_none(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_resource(name), expected);
    }

    #[rstest]
    #[case("requests.cpu", Some("cpu"))]
    #[case("cpu", Some("cpu"))]
    #[case("memory", Some("memory"))]
    #[case("requests.ephemeral-storage", Some("ephemeral-storage"))]
    #[case("pods", Some("pods"))]
    #[case("count/pods", Some("pods"))]
    #[case("requests.nvidia.com/gpu", Some("nvidia.com/gpu"))]
    #[case("limits.cpu", None)]
    #[case("requests.storage", None)]
    #[case("requests.pods", None)]
    #[case("services", None)]
    #[case("count/jobs.batch", None)]
    #[case("gold.storageclass.storage.k8s.io/requests.storage", None)]
    fn quota_limits_requests_and_pods(#[case] entry: &str, #[case] expected: Option<&str>) {
        assert_eq!(of_quota(entry), expected);
    }

    #[test]
    fn amounts_are_printed_with_the_suffixes_of_their_resource() {
        let resources = UNLIMITED.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
        let printed = quantities(&resources);
        let printed: Vec<_> = printed.iter().map(|(name, text)| (name.as_str(), text.0.as_str())).collect();
        let expected = [("cpu", "100k"), ("ephemeral-storage", "1Pi"), ("memory", "1Pi"), ("pods", "10k")];
        assert_eq!(printed, expected);
    }
}
