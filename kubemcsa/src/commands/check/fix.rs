//! The commands that mend what is found, to be pasted into a shell.

use kube::ResourceExt;
use mcsa_client::contract::{ENABLED, NAMESPACE_LABEL, SYSTEM_NAMESPACE};
use mcsa_credentials::link::Link;

use crate::cluster::kubeconfig::{Chosen, shell_quote};
use crate::link::existing::ExistingLink;
use crate::link::flags::{Flags, RouteFlags, SourceFlags, TargetFlags};

/// A word that is for people to replace.
const SOURCE: &str = "SOURCE_CONTEXT";

/// Makes commands for one target.
#[derive(Clone, Debug)]
pub struct Mend {
    target: Chosen,
}

impl Mend {
    /// For the target of this context.
    pub fn of(target: &Chosen) -> Self {
        Self { target: target.clone() }
    }

    /// kubectl in the target, with these words.
    pub fn kubectl(&self, words: &[&str]) -> String {
        join(&self.target.kubectl(), words)
    }

    /// The same, in a namespace.
    pub fn in_namespace(&self, namespace: &str, words: &[&str]) -> String {
        self.kubectl(&[&["-n", namespace], words].concat())
    }

    /// The same, in the system namespace.
    pub fn in_system(&self, words: &[&str]) -> String {
        self.in_namespace(SYSTEM_NAMESPACE, words)
    }

    /// kubectl in a source, which has a context of a name that is not known here.
    pub fn in_source(words: &[&str]) -> String {
        join(&format!("kubectl --context {SOURCE}"), words)
    }

    /// Installs.
    pub fn install(&self) -> String {
        format!("kubemcsa install{}", self.target.kubectl().trim_start_matches("kubectl"))
    }

    /// Installs an importer that is confined to these namespaces.
    pub fn confine<'a>(&self, namespaces: impl Iterator<Item = &'a str>) -> String {
        let namespaces = namespaces.collect::<Vec<_>>().join(",");
        format!("{} --namespaces {}", self.install(), shell_quote(&namespaces))
    }

    /// Turns the webhook on in a namespace.
    pub fn enable(&self, namespace: &str) -> String {
        self.kubectl(&["label", "namespace", namespace, &format!("{NAMESPACE_LABEL}={ENABLED}")])
    }

    /// Makes the link to a source anew, by the way that it has, and allowed this; nothing: what it was before.
    pub fn bootstrap(&self, source: &str, link: Option<&ExistingLink>, allow: &[String]) -> String {
        let way = link.and_then(ExistingLink::link).and_then(Result::ok);
        self.flags(source, link, way, allow).again_with("--source-context", SOURCE)
    }

    /// The same, by whichever way the source's context has.
    pub fn bootstrap_elsewhere(&self, source: &str, link: Option<&ExistingLink>, allow: &[String]) -> String {
        self.flags(source, link, None, allow).again_with("--source-context", SOURCE)
    }

    /// The same, by an address that the target reaches, which only people know.
    pub fn bootstrap_at_another_address(
        &self,
        source: &str,
        link: Option<&ExistingLink>,
        allow: &[String],
    ) -> String {
        let mut flags = self.flags(source, link, None, allow);
        flags.source.context = Some(SOURCE.to_owned());
        flags.again_with("--source-server", "https://ADDRESS_THAT_THE_TARGET_REACHES")
    }

    /// Makes a link anew to another cluster, which has the source's place.
    pub fn replace(&self, source: &str, link: Option<&ExistingLink>, allow: &[String]) -> String {
        let unlink = self.flags(source, link, None, &[]).of("unlink", "--local-only");
        format!("{unlink} && {}", self.bootstrap(source, link, allow))
    }

    /// Has a link get another credential.
    pub fn rotate(&self, source: &str, link: &ExistingLink) -> String {
        let mut flags = self.flags(source, Some(link), None, &[]);
        flags.source.context = Some(SOURCE.to_owned());
        flags.of("rotate", "")
    }

    fn flags(&self, source: &str, link: Option<&ExistingLink>, way: Option<Link>, allow: &[String]) -> Flags {
        let way = way.map(|link| link.endpoint);
        Flags {
            command: "bootstrap",
            target: TargetFlags {
                context: Some(self.target.context.clone()),
                kubeconfig: self.target.file.clone(),
                name: link.and_then(ExistingLink::identity).map(|(_, name)| name),
            },
            source: SourceFlags { name: Some(source.to_owned()), ..Default::default() },
            route: RouteFlags {
                source_server: way.as_ref().map(|way| way.server.clone()),
                tls_server_name: way.as_ref().and_then(|way| way.tls_server_name.clone()),
                // One with a password is nothing to print.
                proxy_url: way.and_then(|way| way.proxy_url).filter(|url| !url.contains('@')),
                ..Default::default()
            },
            others: allow.iter().map(|grant| ("--allow", grant.clone())).collect(),
            ..Default::default()
        }
    }

    /// Lets a link import a service account.
    pub fn allow(&self, link: Option<&ExistingLink>, namespace: &str, name: &str) -> String {
        let target = link.and_then(ExistingLink::identity).map(|(_, name)| name);
        let target = target.unwrap_or_else(|| self.target.cluster_name.clone());
        let account = format!("{namespace}/{name}");
        format!(
            "kubemcsa allow {} --target-name {} --source-context {SOURCE}",
            shell_quote(&account),
            shell_quote(&target)
        )
    }

    /// Says all about an import.
    pub fn describe(&self, import: &mcsa_client::ServiceAccountImport) -> String {
        let namespace = import.namespace().unwrap_or_default();
        self.in_namespace(&namespace, &["describe", "serviceaccountimport", &import.name_any()])
    }
}

fn join(command: &str, words: &[&str]) -> String {
    let words = words.iter().map(|word| shell_quote(word));
    std::iter::once(command.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// For a target `c1`.
    pub fn mend() -> Mend {
        let target = Chosen { context: "c1".into(), cluster_name: "c1".into(), ..Default::default() };
        Mend::of(&target)
    }

    #[test]
    fn what_is_pasted_reaches_the_same_cluster() {
        let target = Chosen {
            context: "my c1".into(),
            cluster_name: "c1".into(),
            file: Some("/tmp/a b".into()),
            ..Default::default()
        };
        let mend = Mend::of(&target);
        assert_eq!(
            mend.in_namespace("team", &["delete", "pod", "a"]),
            "kubectl --kubeconfig '/tmp/a b' --context 'my c1' -n team delete pod a"
        );
        assert_eq!(mend.install(), "kubemcsa install --kubeconfig '/tmp/a b' --context 'my c1'");
        assert_eq!(
            mend.bootstrap("c2", None, &[]),
            "kubemcsa bootstrap --target-context 'my c1' --target-kubeconfig '/tmp/a b' --source-name c2 \
             --source-context SOURCE_CONTEXT"
        );
        assert_eq!(
            mend.allow(None, "default", "a b"),
            "kubemcsa allow 'default/a b' --target-name c1 --source-context SOURCE_CONTEXT"
        );
    }
}
