//! The template fields `cluster` and `namespace` in the target's CRDs of Argo Workflows. Pods can have annotations
//! instead, so a user without rights on CRDs gets a warning.

use super::args::{Args, OneSide};
use super::linked::Linked;
use crate::cli::output;
use crate::cluster::Cluster;
use crate::cluster::apply::Outcome;
use crate::cluster::call::CallError;
use crate::cluster::template_fields::{Incomplete, incomplete};

/// The CRDs that lack the fields. `Err`: the user may not read them.
pub(crate) type Lacking = Result<Vec<Incomplete>, CallError>;

/// Fails if the API server does not respond.
pub(crate) async fn read(target: &Cluster) -> Result<Lacking, CallError> {
    match incomplete(target).await {
        Err(error) if error.refusal().is_none() => Err(error),
        lacking => Ok(lacking),
    }
}

/// Adds the fields, or shows what would be added.
pub(crate) async fn add(target: &Cluster, lacking: &Lacking, dry_run: bool) -> Result<(), CallError> {
    let lacking = match lacking {
        Ok(lacking) => lacking,
        Err(refused) => {
            warn(target, refused);
            return Ok(());
        }
    };
    for definition in lacking {
        match definition.complete(target, dry_run).await {
            // No diff: the object has megabytes.
            Ok(()) if dry_run => output::dry_run(&target.name, &definition.reference(), Outcome::Configured),
            Ok(()) => output::outcome(&target.name, &definition.reference(), Outcome::Configured),
            Err(error) if error.refusal().is_some() => {
                warn(target, &error);
                return Ok(());
            }
            Err(error) if error.is_unprocessable() || error.is_conflict() => {
                output::warn_of(&error);
                let reference = definition.reference();
                let text = format!(
                    "{reference} may have changed since it was read: run this command again; if that fails, too, use \
                     the annotations"
                );
                output::warn(&target.name, &text);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn warn(target: &Cluster, refused: &CallError) {
    output::warn_of(refused);
    output::warn(&target.name, &consequence(&target.name));
}

fn consequence(target: &str) -> String {
    format!(
        "templates of Argo Workflows can't use the fields cluster and namespace until someone who may patch \
         CustomResourceDefinitions of {target}, such as its administrator, runs this command; until then, use the \
         annotations"
    )
}

/// `-o yaml`: no manifest adds a field to an existing schema, so the fields are left out.
pub(crate) fn print(linked: &Linked, lacking: &Lacking, args: &Args) {
    let target = linked.target();
    if args.side == Some(OneSide::Source) {
        return;
    }
    match lacking {
        Ok(lacking) if lacking.is_empty() => {}
        Ok(lacking) => {
            let names: Vec<_> = lacking.iter().map(|definition| definition.name).collect();
            let flags = linked.plan().flags();
            let command = flags.other_command("launch", &format!("{} --argo", args.selection()));
            output::info(&target.name, &left_out(&names, &command));
        }
        Err(refused) => warn(target, refused),
    }
}

fn left_out(names: &[&str], command: &str) -> String {
    format!(
        "not in the manifests: the template fields cluster and namespace, which these CRDs lack: {}; to add them, as a \
         user who may patch CRDs: {command}; or annotate the pods of templates instead",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::cluster;
    use rstest::rstest;

    /// A CRD that lacks the fields.
    const CRD: &str = r#"{
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "workflows.argoproj.io", "resourceVersion": "7" },
        "spec": { "versions": [{ "served": true, "schema": { "openAPIV3Schema": { "properties": {
            "spec": { "properties": { "templateDefaults": { "properties": {} } } } } } } }] }
    }"#;

    #[rstest]
    #[case::changed(422, r#"{ "kind": "Status", "status": "Failure", "code": 422 }"#, true)]
    #[case::changed_during_the_patch(409, r#"{ "kind": "Status", "status": "Failure", "code": 409 }"#, true)]
    #[case::refused(403, r#"{ "kind": "Status", "status": "Failure", "code": 403 }"#, true)]
    #[case::failed(500, r#"{ "kind": "Status", "status": "Failure", "code": 500 }"#, false)]
    #[tokio::test]
    async fn launch_succeeds_without_the_fields(
        #[case] code: u16,
        #[case] status: &'static str,
        #[case] expected: bool,
    ) {
        let lacking = read(&cluster(|_| (200, CRD))).await.unwrap();
        assert!(lacking.as_ref().is_ok_and(|lacking| !lacking.is_empty()), "{lacking:?}");
        let added = add(&cluster(move |_| (code, status)), &lacking, false).await;
        assert_eq!(added.is_ok(), expected, "{added:?}");
    }
}
