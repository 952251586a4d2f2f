//! Warnings of fields that have no effect.

use super::template::{Metadata, text};
use super::{Place, PlacedSpec, Workflow};
use crate::message::list;

/// What the user should know about the fields. The templates are last, because the API server may cut warnings after 256
/// characters.
pub(crate) fn warnings(workflow: &Workflow) -> impl Iterator<Item = String> {
    let unused = places(workflow, PlacedSpec::unused_namespaces).map(|it| {
        format!("namespace has no effect unless the pods name a cluster; set cluster, too, in {it}")
    });
    let without_pods = places(workflow, PlacedSpec::places_without_pods).map(|it| {
        format!(
            "cluster has no effect on templates of the types steps and dag, which have no pod; set it in the templates that \
             they call: {it}"
        )
    });
    unused.into_iter().chain(without_pods)
}

/// The places that are found in all specs.
fn places<'w, 'a>(
    workflow: &'w Workflow<'a>,
    find: impl Fn(PlacedSpec<'w, 'a>) -> Vec<Place<'w, 'a>>,
) -> Option<String> {
    let places = workflow.specs().into_iter().flat_map(find);
    let found: Vec<_> = places.map(|place| place.to_string()).collect();
    (!found.is_empty()).then(|| list(&found))
}

impl<'w, 'a> PlacedSpec<'w, 'a> {
    /// The templates that name a namespace, but whose pods get no cluster.
    fn unused_namespaces(self) -> Vec<Place<'w, 'a>> {
        let pods_have_cluster = self.pod_metadata.is_some_and(Metadata::names_cluster)
            || self.defaults().is_some_and(|defaults| defaults.template.names_cluster());
        if pods_have_cluster {
            return Vec::new();
        }
        let defaults_are_used = self.templates().any(|place| place.template.names_cluster());
        let unused = |place: &Place| {
            let is_used = place.template.names_cluster() || (place.listed.is_none() && defaults_are_used);
            text(&place.template.namespace).is_some() && !is_used
        };
        self.all_places().filter(unused).collect()
    }

    fn places_without_pods(self) -> Vec<Place<'w, 'a>> {
        let is_useless =
            |place: &Place| place.template.has_steps() && text(&place.template.cluster).is_some();
        self.templates().filter(is_useless).collect()
    }
}
