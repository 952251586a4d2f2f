//! The target's side: the link's import and Secret, and the Secrets of the imports from that source.

use std::collections::BTreeSet;

use anyhow::bail;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams, ObjectMeta};
use kube::{Api, Config, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{CLUSTER_UID, IMPORT_NAME};
use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::secret::{self, Provenance};

use crate::cli::output;
use crate::cli::times::to_the_second;
use crate::cluster::deleter::Deleter;
use crate::cluster::kubeconfig::{ChosenContext, shell_quote};
use crate::cluster::{Cluster, delete, endpoint, list, object};
use crate::link::existing::{self, Account, ExistingLink};
use crate::link::flags::Flags;
use crate::link::home_pods;
use crate::link::plan::Plan;

/// The objects in a target that belong to one source.
pub(crate) struct Link {
    source: String,
    links: Vec<ExistingLink>,
    /// The links to other sources, or to the same source under other names.
    others: Vec<ExistingLink>,
    imports: Vec<ServiceAccountImport>,
    /// Secrets of the imports; empty with `--keep-secrets`.
    secrets: Vec<DynamicObject>,
}

impl Link {
    /// The imports and Secrets of the link itself.
    fn own(&self) -> anyhow::Result<Vec<DynamicObject>> {
        let mut objects = Vec::new();
        for link in &self.links {
            objects.extend(link.import.as_ref().map(object::dynamic).transpose()?);
            objects.extend(link.secret.as_ref().map(|secret| metadata_only(secret.metadata.clone())));
        }
        Ok(objects)
    }

    /// The link's connection, if it has a token, and whether a token may be sent over it: another user may have changed
    /// the address in the Secret.
    pub(crate) fn config(&self, source: &ChosenContext) -> Option<(Config, bool)> {
        self.links.iter().find_map(|existing| {
            let link = existing.link()?.ok()?;
            link.config.auth_info.token.as_ref()?;
            let is_trusted = is_ours(existing, &link.endpoint)
                || endpoint::differences_from_context(&link.endpoint, source).is_empty();
            Some((link.config, is_trusted))
        })
    }

    /// The link itself, if there is one.
    pub(crate) fn first(&self) -> Option<&ExistingLink> {
        self.links.first()
    }

    /// The sources' names in other links.
    pub(crate) fn other_names(&self) -> Vec<&str> {
        self.others.iter().map(|link| link.cluster_name.as_str()).collect()
    }

    /// Name of the link's service account in the source.
    fn identity(&self) -> Option<String> {
        self.links.iter().find_map(ExistingLink::identity).map(|(_, name)| name)
    }

    /// The names of other links that use the same service account.
    pub(crate) fn others_with(&self, account: Account<'_>) -> Vec<&str> {
        existing::with_account(&self.others, account)
    }

    /// The same, if the source is not reached.
    pub(crate) fn others_with_own_account(&self) -> Vec<&str> {
        let (Some(name), Some(own)) = (self.identity(), self.links.first()) else { return Vec::new() };
        let uid = own.claims().map(|claims| claims.service_account_uid);
        self.others_with(Account { cluster_uid: own.cluster_uid(), name: &name, uid: uid.as_deref() })
    }
}

/// Whether bootstrap or the importer wrote the address.
fn is_ours(link: &ExistingLink, endpoint: &Endpoint) -> bool {
    let (Some(import), Some(secret)) = (&link.import, &link.secret) else { return false };
    let written = Provenance::read(secret.annotations()).map(|provenance| provenance.fingerprint);
    written == Some(secret::fingerprint(&import.spec, import.is_link(), endpoint))
}

/// `both`: the plan and the UID of the source, if it is reached. Fails if the link is for another source of that name,
/// or uses another name of the target.
pub(crate) async fn find(
    target: &Cluster,
    source: &str,
    both: Option<(&Plan, &str)>,
    keep_secrets: bool,
) -> anyhow::Result<Link> {
    let all = existing::list(target).await?.into_iter();
    let (links, others): (Vec<_>, Vec<_>) = all.partition(|link| link.cluster_name == source);
    for import in links.iter().filter_map(|link| link.import.as_ref()) {
        let Some((plan, source_uid)) = both else { continue };
        let (name, given) = (&import.spec.name, plan.target().name());
        if name != given {
            bail!(
                "{}: nothing was deleted: {source} knows this target as {name}, not as {given}; run: {}",
                target.name,
                plan.flags().with_flag("--target-name", &shell_quote(name))
            );
        }
        if let Some(uid) = import.annotations().get(CLUSTER_UID)
            && uid != source_uid
        {
            bail!(
                "{}: nothing was deleted: link {source} is for another cluster of that name, with UID {uid} instead of \
                 {source_uid}; choose that cluster's context, or pass --local-only if it is gone for good",
                target.name
            );
        }
    }
    let mut imports = list::readable_imports(target, None, ListParams::default()).await?;
    imports.retain(|import| !import.is_link() && import.spec.cluster_name == source);
    let secrets =
        if keep_secrets || imports.is_empty() { Vec::new() } else { secrets_of(target, &imports).await? };
    Ok(Link { source: source.to_owned(), links, others, imports, secrets })
}

/// Fails if the caller cannot delete the objects. This is checked before anything is deleted in the source, with one
/// Secret in each namespace, because rights rarely differ within a namespace.
pub(crate) async fn ensure_deletable(target: &Cluster, link: &Link) -> anyhow::Result<()> {
    let mut namespaces = BTreeSet::new();
    let samples = link.secrets.iter().filter(|secret| namespaces.insert(secret.namespace()));
    for object in link.own()?.iter().chain(samples) {
        delete::dry_run(target, object).await?;
    }
    Ok(())
}

/// Fails while pods run in the source: without the link, nobody could end them. `others`: flags of the commands that
/// end them.
pub(crate) async fn ensure_no_home_pods(
    target: &Cluster,
    link: &Link,
    flags: &Flags,
    abandon: bool,
    others: &str,
) -> anyhow::Result<()> {
    let found = home_pods::unfinished(target, &link.source, &link.imports).await?;
    home_pods::ensure_none(target, &[(found, flags.clone())], &link.imports, abandon, others)
}

/// Keeps the imports: users created them, and they work again after the next bootstrap.
pub(crate) async fn delete(deleter: &mut Deleter, link: &Link) -> anyhow::Result<()> {
    for object in link.own()? {
        deleter.delete(&object).await?;
    }
    deleter.delete_all(&link.secrets).await
}

/// The Secrets that these imports own, found by their label.
async fn secrets_of(
    target: &Cluster,
    imports: &[ServiceAccountImport],
) -> anyhow::Result<Vec<DynamicObject>> {
    let uids: BTreeSet<_> = imports.iter().filter_map(ResourceExt::uid).collect();
    let api: Api<Secret> = Api::all(target.client.clone());
    let page = async |params: &ListParams| api.list_metadata(params).await;
    let labelled = ListParams::default().labels(IMPORT_NAME);
    let found = list::pages(target, "list the metadata of imports' secrets", labelled, page).await?;
    let own =
        found.into_iter().filter(|secret| secret.owner_references().iter().any(|it| uids.contains(&it.uid)));
    Ok(own.map(|secret| metadata_only(secret.metadata)).collect())
}

/// Reports what is kept, and which tokens stay valid.
pub(crate) fn report(deleter: &Deleter, link: &Link, keep_secrets: bool) {
    let Link { source, imports, .. } = link;
    if let Some(message) = kept_imports(imports.len(), source, keep_secrets) {
        output::info(&deleter.cluster.name, &message);
    }
    if link.links.is_empty() {
        return;
    }
    let expiries = imports.iter().filter_map(|import| import.status.as_ref()?.expiration_time.as_ref());
    let last = expiries.map(|time| time.0).filter(|time| *time > Timestamp::now()).max();
    let last = last.map(|time| format!(" (those of imports by {})", to_the_second(time)));
    output::warn(
        &deleter.cluster.name,
        &format!(
            "tokens of other service accounts that were minted by the link stay valid in {source} until they expire, \
             within 24h{}",
            last.unwrap_or_default()
        ),
    );
}

/// `others`: the sources of the links that exist.
pub(crate) fn not_linked(source: &str, others: &[&str]) -> String {
    match others {
        [] => format!("there is no link {source}, and no other link"),
        _ => format!("there is no link {source}; links: {}", others.join(", ")),
    }
}

fn kept_imports(count: usize, source: &str, keep_secrets: bool) -> Option<String> {
    let secrets = if keep_secrets { "with" } else { "without" };
    let until = format!("ClusterNotLinked until {source} is linked again");
    match count {
        0 => None,
        1 => Some(format!("kept 1 import from {source}, {secrets} its Secret; it reports {until}")),
        _ => {
            Some(format!("kept {count} imports from {source}, {secrets} their Secrets; they report {until}"))
        }
    }
}

fn metadata_only(metadata: ObjectMeta) -> DynamicObject {
    DynamicObject { types: Some(list::types::<Secret>()), metadata, data: Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::ServiceAccountImportSpec;
    use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
    use mcsa_credentials::credential::Credential;
    use rstest::rstest;

    #[rstest]
    #[case(&[], "there is no link typo, and no other link")]
    #[case(&["c2", "c3"], "there is no link typo; links: c2, c3")]
    fn missing_link_is_reported_with_the_links_there_are(#[case] others: &[&str], #[case] expected: &str) {
        let message = not_linked("typo", others);
        assert!(message.ends_with(expected) && !message.contains("trust"), "{message}");
    }

    #[rstest]
    #[case::written_by_bootstrap("https://c2", "https://c2", "https://other", true)]
    #[case::changed("https://c2", "https://thief", "https://other", false)]
    #[case::changed_to_the_address_of_the_context("https://c2", "https://other", "https://other", true)]
    fn token_is_not_sent_to_an_address_that_another_user_wrote(
        #[case] written: &str,
        #[case] current: &str,
        #[case] context: &str,
        #[case] expected: bool,
    ) {
        let endpoint = |server: &str| Endpoint {
            server: server.into(),
            ca_bundle: None,
            tls_server_name: None,
            proxy_url: None,
        };
        let spec = ServiceAccountImportSpec { cluster_name: "c2".into(), ..Default::default() };
        let mut import = ServiceAccountImport::new("c2", spec);
        import.metadata.namespace = Some(SYSTEM_NAMESPACE.into());
        import.metadata.uid = Some("u".into());
        import.labels_mut().insert(LINK_LABEL.into(), "true".into());
        let credential = Credential {
            name: "c2".into(),
            cluster_name: "c2".into(),
            endpoint: endpoint(current),
            namespace: SYSTEM_NAMESPACE.into(),
            token: "t0ken".to_owned().into(),
        };
        let provenance = Provenance {
            expires_at: Timestamp::UNIX_EPOCH,
            refresh_at: None,
            service_account_uid: "account".into(),
            cluster_uid: None,
            fingerprint: secret::fingerprint(&import.spec, true, &endpoint(written)),
        };
        let secret = secret::build(&import, &credential, &provenance).unwrap();
        let links =
            vec![ExistingLink { cluster_name: "c2".into(), import: Some(import), secret: Some(secret) }];
        let link =
            Link { source: "c2".into(), links, others: Vec::new(), imports: Vec::new(), secrets: Vec::new() };
        let source = ChosenContext { server: context.into(), ..Default::default() };
        assert_eq!(link.config(&source).map(|(_, is_trusted)| is_trusted), Some(expected));
    }
}
