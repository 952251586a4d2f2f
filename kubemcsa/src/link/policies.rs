//! The ImportPolicies that kubemcsa writes in a target: one for each source and each namespace that may import from it.

pub(crate) mod accounts;
mod lost;

use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use mcsa_client::{ImportPolicy, ImportPolicySpec};
use serde_json::json;

use self::accounts::{Edit, PartOfEntry};
use super::TRIES;
use super::flags::Flags;
use super::progress::Progress;
use crate::cli::output;
use crate::cluster::apply::{self, Applied, DryRun, FIELD_MANAGER, Outcome};
use crate::cluster::call::CallError;
use crate::cluster::kubeconfig::shell_quote;
use crate::cluster::policies::Policies;
use crate::cluster::{Cluster, list, object, preview};

/// Label of the policies that kubemcsa may change, with [`KUBEMCSA`] as its value.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

const KUBEMCSA: &str = "kubemcsa";

/// Which policies to change, and how.
pub(crate) struct Change<'a> {
    pub(crate) target: &'a Cluster,
    /// The name of the source in the target.
    pub(crate) source: &'a str,
    /// Namespaces of the target, each with a policy of its own.
    pub(crate) namespaces: &'a [String],
    pub(crate) edit: &'a Edit,
    /// For commands in messages.
    pub(crate) flags: &'a Flags,
}

/// A policy before and after a change.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// `None`: it does not exist.
    stored: Option<DynamicObject>,
    wanted: ImportPolicy,
}

impl Planned {
    pub(crate) fn is_new(&self) -> bool {
        self.stored.is_none()
    }

    pub(crate) fn wanted(&self) -> &ImportPolicy {
        &self.wanted
    }

    /// Writes the policy. Fails with a conflict if someone else has written it since it was read.
    async fn write(&self, target: &Cluster, dry_run: bool) -> anyhow::Result<Applied> {
        let object = object::dynamic(&self.wanted)?;
        let (api, title) = (apply::api(target, &object), object::title(&object));
        let field_manager = Some(FIELD_MANAGER.to_owned());
        let Some(before) = &self.stored else {
            let params = PostParams { dry_run, field_manager };
            let stored = target.call(&format!("create {title}"), api.create(&params, &object)).await?;
            return Ok(Applied { outcome: Outcome::Created, stored });
        };
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": before.resource_version() },
            "spec": { "serviceAccounts": self.wanted.spec.service_accounts },
        }));
        let params = PatchParams { dry_run, field_manager, ..Default::default() };
        let name = before.name_any();
        let stored = target.call(&format!("update {title}"), api.patch(&name, &params, &patch)).await?;
        let is_unchanged = before.data["spec"] == stored.data["spec"];
        let outcome = if is_unchanged { Outcome::Unchanged } else { Outcome::Configured };
        Ok(Applied { outcome, stored })
    }
}

impl Change<'_> {
    /// Reads the policies, and computes the change. Fails if kubemcsa may not change one of them.
    pub(crate) async fn plan(&self) -> anyhow::Result<Vec<Planned>> {
        let mut planned = Vec::new();
        for namespace in self.namespaces {
            planned.push(self.plan_one(namespace).await?);
        }
        Ok(planned)
    }

    /// Fails if the policies can't be written, and changes nothing.
    pub(crate) async fn ensure_writable(&self) -> anyhow::Result<()> {
        for planned in self.plan().await? {
            planned.write(self.target, true).await.map_err(|error| self.explain(error))?;
        }
        Ok(())
    }

    /// Writes the policies, and returns them. Reads a policy again if someone else changed it meanwhile. A change that
    /// removes service accounts creates no policy. If these are the first policies of the source, warns of imports that
    /// they exclude.
    pub(crate) async fn write(&self, progress: &Progress) -> anyhow::Result<Vec<Planned>> {
        let is_first = self.are_first().await?;
        let mut written = Vec::new();
        for namespace in self.namespaces {
            written.extend(self.write_one(namespace, progress).await?);
        }
        if is_first && let Some(warning) = self.lost_imports(&written).await? {
            progress.warn(&self.target.name, &warning);
        }
        Ok(written)
    }

    /// Shows what [`Self::write`] would change.
    pub(crate) async fn show(&self) -> anyhow::Result<()> {
        let planned = self.plan().await?;
        for one in &planned {
            let object = object::dynamic(&one.wanted)?;
            let after = match one.write(self.target, true).await {
                // The CRD would have been created first.
                Err(error) if one.is_new() && is(&error, CallError::is_not_found) => object.clone(),
                applied => applied?.stored,
            };
            let result = DryRun { before: one.stored.clone(), after: Some(after) };
            preview::show(self.target, &object, result)?;
        }
        if self.are_first().await?
            && let Some(warning) = self.lost_imports(&planned).await?
        {
            output::warn(&self.target.name, &warning);
        }
        Ok(())
    }

    async fn plan_one(&self, namespace: &str) -> anyhow::Result<Planned> {
        let object = object::dynamic(&policy(self.source, namespace))?;
        let stored = apply::read_live(self.target, &object).await?;
        plan(self.source, namespace, stored, self.edit).map_err(|refusal| match refusal {
            Refusal::Foreign(reason) => anyhow::anyhow!(
                "{}: {} not changed: {reason}; edit it yourself, or give it another name and run the command again",
                self.target.name,
                object::reference(&object)
            ),
            Refusal::PartOfEntry(part) => self.indivisible(namespace, &part),
        })
    }

    async fn write_one(&self, namespace: &str, progress: &Progress) -> anyhow::Result<Option<Planned>> {
        let mut tries = TRIES;
        loop {
            let planned = self.plan_one(namespace).await?;
            if planned.is_new() && matches!(self.edit, Edit::Remove(_)) {
                let reference = object::reference_of(&planned.wanted, &());
                progress.info(&self.target.name, &format!("{reference} does not exist: nothing to remove"));
                return Ok(None);
            }
            match planned.write(self.target, false).await {
                Err(error) if is(&error, CallError::is_conflict) && tries > 1 => tries -= 1,
                applied => {
                    let outcome = applied.map_err(|error| self.explain(error))?.outcome;
                    let reference = object::reference_of(&planned.wanted, &());
                    progress.outcome(&self.target.name, &reference, outcome);
                    return Ok(Some(planned));
                }
            }
        }
    }

    /// Whether no policy applies to the source yet, so that all imports are permitted.
    async fn are_first(&self) -> anyhow::Result<bool> {
        Ok(Policies::read(self.target).await?.of_source(self.source).next().is_none())
    }

    async fn lost_imports(&self, planned: &[Planned]) -> anyhow::Result<Option<String>> {
        let specs: Vec<_> = planned.iter().map(|planned| planned.wanted.spec.clone()).collect();
        let imports = list::readable_imports(self.target, None, ListParams::default()).await?;
        let command = self.flags.other_command("allow", "NAMESPACE[/NAME] --for NAMESPACE");
        Ok(lost::warning(&lost::find(&imports, self.source, &specs), &command))
    }

    fn indivisible(&self, namespace: &str, PartOfEntry { removed, entry }: &PartOfEntry) -> anyhow::Error {
        let (removed, title) = (accounts::title(removed), accounts::title(entry));
        let arguments = if *entry == accounts::everything() { "--everything" } else { title.as_str() };
        anyhow::anyhow!(
            "{}: policy {} permits {title}, and can't exclude {removed} from that; deny all of it, then allow the service \
             accounts that {namespace} may import: {}",
            self.target.name,
            name(self.source, namespace),
            self.flags.other_command("deny", &format!("{arguments} --for {namespace}"))
        )
    }

    /// Without the CRD, policies are not found.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        if !is(&error, CallError::is_not_found) {
            return error;
        }
        let context = self.flags.target.context.as_deref().unwrap_or("CONTEXT");
        let install = format!("kubemcsa install --context {}", shell_quote(context));
        anyhow::anyhow!(
            "{error}; the installation may be too old for ImportPolicies; to update it: {install}"
        )
    }
}

/// The name of the policy for a source and a namespace of the target. Names of namespaces have no dots, so it is unique.
fn name(source: &str, namespace: &str) -> String {
    format!("{source}.{namespace}")
}

/// A policy that permits nothing yet.
fn policy(source: &str, namespace: &str) -> ImportPolicy {
    let spec = ImportPolicySpec {
        cluster_name: Some(source.to_owned()),
        namespaces: vec![namespace.to_owned()],
        ..Default::default()
    };
    let mut policy = ImportPolicy::new(&name(source, namespace), spec);
    policy.metadata.labels = Some([(MANAGED_BY.to_owned(), KUBEMCSA.to_owned())].into());
    policy
}

/// Why a policy is not changed.
#[derive(Debug)]
enum Refusal {
    /// It is not one of kubemcsa's.
    Foreign(String),
    PartOfEntry(PartOfEntry),
}

fn plan(
    source: &str,
    namespace: &str,
    stored: Option<DynamicObject>,
    edit: &Edit,
) -> Result<Planned, Refusal> {
    let mut wanted = policy(source, namespace);
    let mut accounts = None;
    if let Some(stored) = &stored {
        let spec = own_spec(stored, source, namespace).map_err(Refusal::Foreign)?;
        wanted.spec.on_revoke = spec.on_revoke;
        accounts = Some(spec.service_accounts);
    }
    wanted.spec.service_accounts = edit.apply(accounts.as_deref()).map_err(Refusal::PartOfEntry)?;
    Ok(Planned { stored, wanted })
}

/// The spec of a policy that kubemcsa wrote for this source and namespace; or why it is another one.
fn own_spec(stored: &DynamicObject, source: &str, namespace: &str) -> Result<ImportPolicySpec, String> {
    if stored.labels().get(MANAGED_BY).is_none_or(|value| value != KUBEMCSA) {
        return Err(format!("it has no label {MANAGED_BY}={KUBEMCSA}"));
    }
    let spec: ImportPolicySpec = serde_json::from_value(stored.data["spec"].clone())
        .map_err(|error| format!("its spec is invalid: {error}"))?;
    if spec.cluster_name.as_deref() != Some(source) {
        return Err(format!("its clusterName is not {source}"));
    }
    if spec.namespaces != [namespace] || spec.namespace_selector.is_some() {
        return Err(format!("it permits other namespaces than {namespace}"));
    }
    Ok(spec)
}

fn is(error: &anyhow::Error, kind: impl Fn(&CallError) -> bool) -> bool {
    error.downcast_ref::<CallError>().is_some_and(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::Resource;
    use mcsa_client::policy::OnRevoke;
    use rstest::rstest;
    use serde_json::Value;

    fn stored(label: &str, spec: Value) -> DynamicObject {
        let metadata = json!({ "name": "c2.shop", "labels": { MANAGED_BY: label } });
        let (version, kind) = (ImportPolicy::api_version(&()), ImportPolicy::kind(&()));
        let object = json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn policies_of_a_source_and_a_namespace_have_one_name() {
        let created = plan("eu.c2", "shop", None, &Edit::Initialize(vec![accounts::everything()])).unwrap();
        let policy = serde_json::to_value(created.wanted()).unwrap();
        assert_eq!(policy["metadata"]["name"], "eu.c2.shop");
        assert_eq!(policy["metadata"]["labels"], json!({ "app.kubernetes.io/managed-by": "kubemcsa" }));
        let expected = json!({
            "clusterName": "eu.c2", "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "*" }],
            "onRevoke": "Retain",
        });
        assert_eq!(policy["spec"], expected);
        assert!(created.is_new());
    }

    #[rstest]
    #[case::own("kubemcsa", json!({ "clusterName": "c2", "namespaces": ["shop"] }), None)]
    #[case::other_label("Helm", json!({ "clusterName": "c2", "namespaces": ["shop"] }), Some("no label"))]
    #[case::other_source("kubemcsa", json!({ "clusterName": "c3", "namespaces": ["shop"] }), Some("clusterName"))]
    #[case::all_sources("kubemcsa", json!({ "namespaces": ["shop"] }), Some("clusterName"))]
    #[case::more_namespaces(
        "kubemcsa",
        json!({ "clusterName": "c2", "namespaces": ["shop", "web"] }),
        Some("other namespaces")
    )]
    #[case::selector(
        "kubemcsa",
        json!({ "clusterName": "c2", "namespaces": ["shop"], "namespaceSelector": {} }),
        Some("other namespaces")
    )]
    #[case::invalid("kubemcsa", json!({ "clusterName": 7 }), Some("invalid"))]
    fn policies_of_others_are_left_alone(
        #[case] label: &str,
        #[case] spec: Value,
        #[case] expected: Option<&str>,
    ) {
        match (plan("c2", "shop", Some(stored(label, spec)), &Edit::Add(Vec::new())), expected) {
            (Ok(planned), None) => assert!(!planned.is_new()),
            (Err(Refusal::Foreign(reason)), Some(expected)) => assert!(reason.contains(expected), "{reason}"),
            (planned, _) => panic!("{planned:?}"),
        }
    }

    #[test]
    fn change_keeps_what_happens_to_secrets() {
        let spec = json!({ "clusterName": "c2", "namespaces": ["shop"], "onRevoke": "Delete" });
        let edit = Edit::Add(vec![accounts::everything()]);
        let planned = plan("c2", "shop", Some(stored("kubemcsa", spec)), &edit).unwrap();
        assert_eq!(planned.wanted().spec.on_revoke, OnRevoke::Delete);
        assert_eq!(planned.wanted().spec.service_accounts, [accounts::everything()]);
    }
}
