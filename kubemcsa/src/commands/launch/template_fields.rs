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
         CustomResourceDefinitions of {target}, such as its administrator, runs this command; annotations of pods work"
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

    #[test]
    fn user_without_rights_on_crds_is_told_whom_to_ask() {
        let text = consequence("c1");
        assert!(text.contains("may patch CustomResourceDefinitions of c1, such as"), "{text}");
        assert!(text.ends_with("annotations of pods work"), "{text}");
    }

    #[test]
    fn manifests_name_what_they_leave_out() {
        let names = ["workflows.argoproj.io", "cronworkflows.argoproj.io"];
        let text = left_out(&names, "kubemcsa launch a --argo");
        assert!(text.contains("lack: workflows.argoproj.io, cronworkflows.argoproj.io; to add"), "{text}");
        assert!(text.contains("CRDs: kubemcsa launch a --argo; or annotate"), "{text}");
    }
}
