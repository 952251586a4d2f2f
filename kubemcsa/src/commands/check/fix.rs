//! The commands that fix findings, for pasting into a shell.

use kube::ResourceExt;
use mcsa_client::contract::{ENABLED, NAMESPACE_LABEL, SYSTEM_NAMESPACE};
use mcsa_credentials::link::Link;
use mcsa_credentials::url::{has_credentials, without_credentials};

use crate::cluster::kubeconfig::{ChosenContext, shell_quote};
use crate::commands::for_context;
use crate::link::existing::ExistingLink;
use crate::link::flags::{Flags, RouteFlags, SourceFlags, TargetFlags};
use crate::link::launcher::selection;

/// A placeholder, because the context of a source is unknown here.
const SOURCE: &str = "SOURCE_CONTEXT";

/// Builds commands for one target.
#[derive(Clone, Debug)]
pub(crate) struct FixCommands {
    target: ChosenContext,
}

impl FixCommands {
    pub(crate) fn of(target: &ChosenContext) -> Self {
        Self { target: target.clone() }
    }

    /// kubectl in the target.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        join(&self.target.kubectl(), args)
    }

    /// kubectl in a namespace of the target.
    pub(crate) fn in_namespace(&self, namespace: &str, args: &[&str]) -> String {
        self.kubectl(&[&["-n", namespace], args].concat())
    }

    /// kubectl in the system namespace of the target.
    pub(crate) fn in_system(&self, args: &[&str]) -> String {
        self.in_namespace(SYSTEM_NAMESPACE, args)
    }

    /// kubectl in a source.
    pub(crate) fn in_source(args: &[&str]) -> String {
        join(&format!("kubectl --context {SOURCE}"), args)
    }

    pub(crate) fn install(&self) -> String {
        for_context("install", &self.target)
    }

    /// Installs an importer that is confined to these namespaces.
    pub(crate) fn install_confined<'a>(&self, namespaces: impl Iterator<Item = &'a str>) -> String {
        let namespaces = namespaces.collect::<Vec<_>>().join(",");
        format!("{} --namespaces {}", self.install(), shell_quote(&namespaces))
    }

    /// Enables the webhook in a namespace.
    pub(crate) fn enable_webhook(&self, namespace: &str) -> String {
        self.kubectl(&["label", "namespace", namespace, &format!("{NAMESPACE_LABEL}={ENABLED}")])
    }

    /// Bootstraps a link again, with its current connection. An empty `allow` keeps what the link may import.
    pub(crate) fn bootstrap(&self, source: &str, link: Option<&ExistingLink>, allow: &[String]) -> String {
        let current = link.and_then(ExistingLink::link).and_then(Result::ok);
        self.flags(source, link, current, allow).with_flag("--source-context", SOURCE)
    }

    /// Bootstraps a link again, with the connection that the source's context has.
    pub(crate) fn bootstrap_as_in_context(
        &self,
        source: &str,
        link: Option<&ExistingLink>,
        allow: &[String],
    ) -> String {
        self.flags(source, link, None, allow).with_flag("--source-context", SOURCE)
    }

    /// Bootstraps a link again, with a placeholder for another address.
    pub(crate) fn bootstrap_with_server(
        &self,
        source: &str,
        link: Option<&ExistingLink>,
        allow: &[String],
    ) -> String {
        let mut flags = self.flags(source, link, None, allow);
        flags.source.context = Some(SOURCE.to_owned());
        flags.with_flag("--source-server", "https://ADDRESS_THAT_THE_TARGET_REACHES")
    }

    /// Deletes a link and bootstraps it again, because another cluster has replaced the source.
    pub(crate) fn relink(&self, source: &str, link: Option<&ExistingLink>, allow: &[String]) -> String {
        let unlink = self.flags(source, link, None, &[]).other_command("unlink", "--local-only");
        format!("{unlink} && {}", self.bootstrap(source, link, allow))
    }

    pub(crate) fn rotate(&self, source: &str, link: &ExistingLink) -> String {
        let mut flags = self.flags(source, Some(link), None, &[]);
        flags.source.context = Some(SOURCE.to_owned());
        flags.other_command("rotate", "")
    }

    fn flags(
        &self,
        source: &str,
        link: Option<&ExistingLink>,
        current: Option<Link>,
        allow: &[String],
    ) -> Flags {
        let endpoint = current.map(|link| link.endpoint);
        Flags {
            command: "bootstrap",
            target: TargetFlags {
                context: Some(self.target.context.clone()),
                kubeconfig: self.target.file.clone(),
                name: link.and_then(ExistingLink::identity).map(|(_, name)| name),
            },
            source: SourceFlags { name: Some(source.to_owned()), ..Default::default() },
            route: RouteFlags {
                source_server: endpoint.as_ref().map(|endpoint| without_credentials(&endpoint.server)),
                tls_server_name: endpoint.as_ref().and_then(|endpoint| endpoint.tls_server_name.clone()),
                // Never print a password.
                proxy_url: endpoint
                    .and_then(|endpoint| endpoint.proxy_url)
                    .filter(|url| !has_credentials(url)),
                ..Default::default()
            },
            others: allow.iter().map(|grant| ("--allow", grant.clone())).collect(),
            ..Default::default()
        }
    }

    /// Allows a link to import a service account.
    pub(crate) fn allow(&self, link: Option<&ExistingLink>, namespace: &str, name: &str) -> String {
        let target = link.and_then(ExistingLink::identity).map(|(_, name)| name);
        let target = target.unwrap_or_else(|| self.target.cluster_name.clone());
        let account = format!("{namespace}/{name}");
        format!(
            "kubemcsa allow {} --target-name {} --source-context {SOURCE}",
            shell_quote(&account),
            shell_quote(&target)
        )
    }

    /// Permits the namespace of an import to import its service account.
    pub(crate) fn allow_for(
        &self,
        link: Option<&ExistingLink>,
        import: &mcsa_client::ServiceAccountImport,
    ) -> String {
        let spec = &import.spec;
        let account = format!("{}/{}", spec.namespace, spec.name);
        let namespace = import.namespace().unwrap_or_default();
        let mut flags = self.flags(&spec.cluster_name, link, None, &[]);
        flags.source.context = Some(SOURCE.to_owned());
        flags.other_command("allow", &format!("{} --for {}", shell_quote(&account), shell_quote(&namespace)))
    }

    /// Creates again what a launch import needs.
    pub(crate) fn launch(
        &self,
        link: Option<&ExistingLink>,
        import: &mcsa_client::ServiceAccountImport,
    ) -> String {
        let arguments = selection(&import.namespace().unwrap_or_default(), &import.spec.namespace);
        let mut flags = self.flags(&import.spec.cluster_name, link, None, &[]);
        flags.source.context = Some(SOURCE.to_owned());
        flags.other_command("launch", &arguments)
    }

    /// The same, with the rights to the outputs of Argo's steps.
    pub(crate) fn launch_argo(
        &self,
        link: Option<&ExistingLink>,
        import: &mcsa_client::ServiceAccountImport,
    ) -> String {
        format!("{} --argo", self.launch(link, import))
    }

    pub(crate) fn describe(&self, import: &mcsa_client::ServiceAccountImport) -> String {
        let namespace = import.namespace().unwrap_or_default();
        self.in_namespace(&namespace, &["describe", "serviceaccountimport", &import.name_any()])
    }
}

fn join(command: &str, args: &[&str]) -> String {
    let args = args.iter().map(|arg| shell_quote(arg));
    std::iter::once(command.to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// For the target `c1`.
    pub(crate) fn commands() -> FixCommands {
        let target = ChosenContext { context: "c1".into(), cluster_name: "c1".into(), ..Default::default() };
        FixCommands::of(&target)
    }

    #[test]
    fn commands_use_the_same_context_and_kubeconfig() {
        let target = ChosenContext {
            context: "my c1".into(),
            cluster_name: "c1".into(),
            file: Some("/tmp/a b".into()),
            ..Default::default()
        };
        let commands = FixCommands::of(&target);
        assert_eq!(
            commands.in_namespace("team", &["delete", "pod", "a"]),
            "kubectl --kubeconfig '/tmp/a b' --context 'my c1' -n team delete pod a"
        );
        assert_eq!(commands.install(), "kubemcsa install --kubeconfig '/tmp/a b' --context 'my c1'");
        assert_eq!(
            commands.bootstrap("c2", None, &[]),
            "kubemcsa bootstrap --target-context 'my c1' --target-kubeconfig '/tmp/a b' --source-name c2 \
             --source-context SOURCE_CONTEXT"
        );
        assert_eq!(
            commands.allow(None, "default", "a b"),
            "kubemcsa allow 'default/a b' --target-name c1 --source-context SOURCE_CONTEXT"
        );
    }
}
