use rstest::rstest;

use super::*;
use crate::node::resources::quantities;

fn resources(pairs: &[(&str, &str)]) -> Resources {
    pairs.iter().map(|(name, amount)| ((*name).to_owned(), amount.parse().unwrap())).collect()
}

fn offer(namespace: &str, annotation: &str, quota: Option<Quota>) -> Offer {
    let annotation = (!annotation.is_empty()).then(|| annotation.to_owned());
    let import = "team-a/c2".to_owned();
    Offer { import, annotation, remote_namespace: namespace.into(), quota, lacks_access: false }
}

/// An import whose credential the source refuses.
fn refused(namespace: &str, annotation: &str, quota: Option<Quota>) -> Offer {
    Offer { lacks_access: true, ..offer(namespace, annotation, quota) }
}

fn quota(hard: &[(&str, &str)]) -> Option<Quota> {
    Some(Quota { hard: resources(hard), free: resources(hard) })
}

fn print(resources: &Resources) -> String {
    let printed = quantities(resources);
    printed.iter().map(|(name, text)| format!("{name}={}", text.0)).collect::<Vec<_>>().join(" ")
}

fn is_limited(resources: &Resources, name: &str) -> bool {
    UNLIMITED.iter().any(|(known, amount)| *known == name && resources[name] != *amount)
}

#[rstest]
#[case::no_import(&[], "cpu=0 ephemeral-storage=0 memory=0 pods=0")]
#[case::nothing_is_limited(
    &[offer("a", "", quota(&[]))],
    "cpu=100k ephemeral-storage=1Pi memory=1Pi pods=10k"
)]
#[case::by_hand(
    &[offer("a", "cpu=100, memory=200Gi,pods=1000", quota(&[]))],
    "cpu=100 ephemeral-storage=1Pi memory=200Gi pods=1k"
)]
#[case::by_hand_before_the_quota(
    &[offer("a", "cpu=1500m", quota(&[("cpu", "7"), ("pods", "5")]))],
    "cpu=1500m ephemeral-storage=1Pi memory=1Pi pods=5"
)]
#[case::by_quota(
    &[offer("a", "", quota(&[("cpu", "7"), ("memory", "3Gi"), ("pods", "5"), ("nvidia.com/gpu", "2")]))],
    "cpu=7 ephemeral-storage=1Pi memory=3Gi nvidia.com/gpu=2 pods=5"
)]
#[case::imports_are_added(
    &[
        offer("a", "cpu=500m,nvidia.com/gpu=1", quota(&[("pods", "10")])),
        offer("b", "", quota(&[("cpu", "1500m"), ("pods", "20"), ("nvidia.com/gpu", "2")])),
    ],
    "cpu=2 ephemeral-storage=1Pi memory=1Pi nvidia.com/gpu=3 pods=30"
)]
#[case::one_unlimited_import_makes_the_node_unlimited(
    &[offer("a", "cpu=1,pods=5", quota(&[])), offer("b", "pods=7", quota(&[]))],
    "cpu=100k ephemeral-storage=1Pi memory=1Pi pods=12"
)]
#[case::unlimited_import_has_no_extended_resources(
    &[offer("a", "nvidia.com/gpu=4", quota(&[])), offer("b", "", quota(&[]))],
    "cpu=100k ephemeral-storage=1Pi memory=1Pi nvidia.com/gpu=4 pods=10k"
)]
#[case::imports_of_one_namespace_share_its_quota(
    &[offer("a", "", quota(&[("cpu", "7")])), offer("a", "", quota(&[("cpu", "7")]))],
    "cpu=7 ephemeral-storage=1Pi memory=1Pi pods=10k"
)]
#[case::one_of_them_has_read_it(
    &[offer("a", "", None), offer("a", "", quota(&[("cpu", "7")])), offer("a", "", None)],
    "cpu=7 ephemeral-storage=1Pi memory=1Pi pods=10k"
)]
#[case::refused_import_runs_no_pods(
    &[offer("a", "", quota(&[("pods", "5")])), refused("b", "cpu=3", None)],
    "cpu=100k ephemeral-storage=1Pi memory=1Pi pods=5"
)]
#[case::refused_later(
    &[offer("a", "", quota(&[("pods", "5")])), refused("b", "", quota(&[("pods", "7")]))],
    "cpu=100k ephemeral-storage=1Pi memory=1Pi pods=12"
)]
fn capacity_is_the_sum_of_the_imports(#[case] offers: &[Offer], #[case] expected: &str) {
    let capacity = capacity(offers);
    assert_eq!(print(&capacity.total), expected);
    assert_eq!(capacity.allocatable, capacity.total);
    assert_eq!(capacity.is_complete, !offers.is_empty());
    assert!(capacity.problems.is_empty(), "{capacity:?}");
}

#[test]
fn what_others_use_is_not_allocatable() {
    let hard = resources(&[("cpu", "10"), ("pods", "5")]);
    let free = resources(&[("cpu", "4")]);
    let capacity = capacity(&[offer("a", "", Some(Quota { hard, free }))]);
    assert_eq!(print(&capacity.total), "cpu=10 ephemeral-storage=1Pi memory=1Pi pods=5");
    assert_eq!(print(&capacity.allocatable), "cpu=4 ephemeral-storage=1Pi memory=1Pi pods=5");
}

#[rstest]
#[case::a_quota_is_not_read("", None, false)]
#[case::some_numbers_are_given("cpu=1", None, false)]
#[case::all_numbers_are_given("cpu=1,memory=1,ephemeral-storage=1,pods=1", None, true)]
#[case::quota_is_read("", quota(&[]), true)]
fn capacity_waits_for_quotas_that_matter(
    #[case] annotation: &str,
    #[case] quota: Option<Quota>,
    #[case] is_complete: bool,
) {
    assert_eq!(capacity(&[offer("a", annotation, quota)]).is_complete, is_complete);
}

#[test]
fn capacity_of_refused_imports_alone_is_not_known() {
    assert!(!capacity(&[refused("a", "cpu=1,memory=1,ephemeral-storage=1,pods=1", None)]).is_complete);
}

#[rstest]
#[case::empty(" ", "\"\" is not <resource>=<quantity>, as in cpu=100,memory=200Gi,pods=1000")]
#[case::no_value("cpu", "\"cpu\" is not <resource>=<quantity>, as in cpu=100,memory=200Gi,pods=1000")]
#[case::last_comma("cpu=1,", "\"\" is not <resource>=<quantity>, as in cpu=100,memory=200Gi,pods=1000")]
#[case::unknown(
    "mem=1Gi",
    "\"mem\" is no resource: write cpu, memory, ephemeral-storage, pods, or an extended resource"
)]
#[case::twice("cpu=1,cpu=2", "cpu is there twice")]
#[case::no_quantity(
    "memory=1GB",
    "memory: \"1GB\" is no quantity: write a number such as 100, 500m or 200Gi"
)]
#[case::negative("cpu=-1", "cpu: \"-1\" is negative")]
#[case::half_a_pod("pods=500m", "pods must be a whole number")]
#[case::half_a_device("nvidia.com/gpu=0.5", "nvidia.com/gpu must be a whole number")]
fn invalid_annotation_is_reported_and_ignored(#[case] annotation: &str, #[case] problem: &str) {
    let capacity = capacity(&[offer("a", annotation, quota(&[("pods", "3")]))]);
    let expected =
        format!("ServiceAccountImport team-a/c2: annotation multicluster.admiralty.io/capacity: {problem}");
    assert_eq!(capacity.problems, [expected]);
    assert!(is_limited(&capacity.total, "pods") && !is_limited(&capacity.total, "cpu"));
}
