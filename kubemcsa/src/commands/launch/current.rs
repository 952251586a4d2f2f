//! Second step: reads what exists in both clusters, and completes the request with it.

use anyhow::bail;
use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_credentials::contract::launch::{ARGO, CAPACITY, LABEL};

use super::argo::{self, KindCopy};
use super::args::Args;
use super::linked::Linked;
use super::model::Launch;
use super::objects::{self, ENFORCE};
use super::template_fields::{self, Lacking};
use crate::cluster::{Cluster, apply, object};
use crate::link::change_grants::current;
use crate::link::grants::{self, Grant, Grants, StoredGrants};
use crate::link::launcher;

/// What a run will create, and what exists already.
pub(crate) struct Wanted {
    pub(crate) launch: Launch,
    /// The copy of the kind of the outputs of Argo's steps, if steps may run in the source and it lacks the kind, or has
    /// another version that a launch of this target has copied.
    pub(crate) kind: Option<KindCopy>,
    /// The target's CRDs whose templates lack fields, if steps may run in the source.
    pub(crate) lacking: Lacking,
    /// `None`: the remote namespace is missing, or being created.
    pub(crate) stored_namespace: Option<DynamicObject>,
    pub(crate) stored_grants: StoredGrants,
}

impl Wanted {
    /// The link's right to mint the tokens of the launcher's service account.
    pub(crate) fn grant(&self) -> Grant {
        grant(&self.launch)
    }

    /// What the link may import afterwards. `None`: it may import the service account already.
    pub(crate) fn grants(&self) -> Option<Grants> {
        widened(&current(&self.stored_grants), &self.grant())
    }

    /// The Pod Security level that the remote namespace enforces.
    pub(crate) fn stored_level(&self) -> Option<&str> {
        self.stored_namespace.as_ref()?.labels().get(ENFORCE).map(String::as_str)
    }
}

pub(crate) fn grant(launch: &Launch) -> Grant {
    Grant { namespace: launch.remote_namespace.clone(), name: Some(launch.account()) }
}

/// The grants with another one; `None` if they include it.
fn widened(before: &Grants, grant: &Grant) -> Option<Grants> {
    let mut after = before.clone();
    after.allow(grant);
    (after != *before).then_some(after)
}

/// Fails if the target's namespace is missing, or if a name belongs to an object of someone else.
pub(crate) async fn read(linked: &Linked, args: &Args) -> anyhow::Result<Wanted> {
    let (target, source) = (linked.target(), linked.source());
    let kubectl = linked.plan().target().chosen().kubectl();
    ensure_namespace(target, &args.namespace, &kubectl).await?;
    let mut launch = Launch {
        target: target.name.clone(),
        target_uid: linked.target_uid().to_owned(),
        source: source.name.clone(),
        namespace: args.namespace.clone(),
        remote_namespace: args.remote_namespace().to_owned(),
        argo: args.argo,
        ..Default::default()
    };
    let import = apply::read(target, &objects::import(&launch)?).await?;
    let annotation = |key| import.as_ref().and_then(|import| import.annotations().get(key).cloned());
    launch.argo |= annotation(ARGO).is_some_and(|value| value == "true");
    launch.stub = launch.argo && argo::has_workflows(source).await?;
    let on_target = apply::read_all(target, &objects::target_objects(&launch)?).await?;
    for object in &on_target {
        if let Some(conflict) = target_conflict(object, &launch) {
            bail!(
                "{}: {} {conflict}; if nobody needs it: {kubectl} delete {}",
                target.name,
                object::reference(object),
                object::reference(object)
            );
        }
    }
    let on_source = apply::read_all(source, &objects::source_objects(&launch)?).await?;
    for object in &on_source {
        if let Some(conflict) = source_conflict(object, linked.target_uid()) {
            let kubectl = linked.plan().source().chosen().kubectl();
            let reference = object::reference(object);
            bail!(
                "{}: {reference} {conflict}; if nobody needs it: {kubectl} delete {reference}",
                source.name
            );
        }
    }
    launch.capacity = match &args.capacity {
        Some(choice) => choice.clone().value(),
        None => annotation(CAPACITY),
    };
    let (kind, lacking) = if launch.argo {
        let kind = argo::wanted_kind(target, source, &launch).await?;
        (kind, template_fields::read(target).await?)
    } else {
        (None, Ok(Vec::new()))
    };
    let namespace = objects::remote_namespace(&launch, args.pod_security.unwrap_or_default())?;
    let stored_namespace = apply::read_live(source, &namespace).await?;
    let stored_grants = grants::read(source, &target.name).await?;
    Ok(Wanted { launch, kind, lacking, stored_namespace, stored_grants })
}

async fn ensure_namespace(target: &Cluster, namespace: &str, kubectl: &str) -> anyhow::Result<()> {
    if !apply::exists(target, &objects::enabled_namespace(namespace)?).await? {
        bail!(
            "{}: namespace {namespace} does not exist; create it first: {kubectl} create namespace {namespace}",
            target.name
        );
    }
    Ok(())
}

/// Why a stored object in the target is not the one of this launch.
fn target_conflict(stored: &DynamicObject, launch: &Launch) -> Option<String> {
    let is_launch = stored.labels().get(LABEL).is_some_and(|value| value == "true");
    if object::kind(stored) != "ServiceAccountImport" {
        return (!is_launch).then(|| format!("already exists without the label {LABEL}=true"));
    }
    let field = |name: &str| stored.data["spec"][name].as_str().unwrap_or_default();
    let wanted = [&launch.source, &launch.remote_namespace, &launch.account()].map(String::clone);
    let found = ["clusterName", "namespace", "name"].map(field);
    (found != wanted).then(|| {
        let [cluster, namespace, name] = found;
        format!("already imports {namespace}/{name} of {cluster}")
    })
}

/// Why a stored object in the source does not belong to this target's launcher.
fn source_conflict(stored: &DynamicObject, target_uid: &str) -> Option<&'static str> {
    (!launcher::is_of_target(stored, Some(target_uid)))
        .then_some("already exists and does not belong to the launcher of this target")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn launch() -> Launch {
        Launch {
            target: "c1".into(),
            target_uid: "uid".into(),
            source: "c2".into(),
            namespace: "team-a".into(),
            remote_namespace: "team-a".into(),
            ..Default::default()
        }
    }

    #[test]
    fn objects_of_this_launch_are_no_conflict() {
        for object in objects::target_objects(&launch()).unwrap() {
            assert_eq!(target_conflict(&object, &launch()), None);
        }
        for object in objects::source_objects(&launch()).unwrap() {
            assert_eq!(source_conflict(&object, "uid"), None);
            assert!(source_conflict(&object, "other").is_some());
        }
    }

    #[test]
    fn import_of_another_service_account_is_a_conflict() {
        let mut import = objects::import(&launch()).unwrap();
        import.data["spec"]["name"] = json!("pod-lister");
        let conflict = target_conflict(&import, &launch());
        assert_eq!(conflict.as_deref(), Some("already imports team-a/pod-lister of c2"));
    }

    #[test]
    fn role_without_our_label_is_a_conflict() {
        let mut role = objects::target_objects(&launch()).unwrap().remove(0);
        role.metadata.labels = None;
        assert!(target_conflict(&role, &launch()).is_some());
    }

    #[rstest]
    #[case(&[], Some("team-a/launcher-c1"))]
    #[case(&["team-b"], Some("team-a/launcher-c1, team-b"))]
    #[case(&["team-a/launcher-c1"], None)]
    #[case(&["team-a"], None)]
    fn mint_right_is_added_unless_covered(#[case] before: &[&str], #[case] expected: Option<&str>) {
        let before: Vec<Grant> = before.iter().map(|grant| grant.parse().unwrap()).collect();
        let after = widened(&before.iter().collect(), &grant(&launch()));
        assert_eq!(after.map(|grants| grants.to_string()).as_deref(), expected);
        assert_eq!(widened(&Grants::Everything, &grant(&launch())), None);
    }
}
