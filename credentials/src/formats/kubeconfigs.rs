//! A kubeconfig, and Secrets that contain one.

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::config::{AuthInfo, Cluster, Kubeconfig};

use super::{Exported, secret};
use crate::contract::key;
use crate::credential::{FormatError, Names, kubeconfig};

/// The key that Flux and Cluster API read.
pub const VALUE: &str = "value";

/// Type of the Secrets of Cluster API.
pub const CLUSTER_API_TYPE: &str = "cluster.x-k8s.io/secret";

/// Label of the Secrets of Cluster API; its value is the Cluster's name.
pub const CLUSTER_API_LABEL: &str = "cluster.x-k8s.io/cluster-name";

/// The default namespace of Kueue, where it reads Secrets.
pub const KUEUE_NAMESPACE: &str = "kueue-system";

impl Exported<'_> {
    /// A kubeconfig for people, who may merge it with others: its context and user are named after the service account,
    /// so that they don't replace others.
    /// <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>
    pub fn kubeconfig(&self) -> Kubeconfig {
        let user = format!("{}/{}@{}", self.credential.namespace, self.service_account, self.cluster_name());
        self.named(&Names { context: &user, cluster: self.cluster_name(), user: &user })
    }

    /// The Secret for `spec.kubeConfig.secretRef` of a Kustomization or HelmRelease.
    /// <https://fluxcd.io/flux/components/kustomize/kustomizations/#kubeconfig-reference>
    ///
    /// # Errors
    /// If the kubeconfig can't be written.
    pub fn flux(&self) -> Result<Secret, FormatError> {
        Ok(secret(self.kubeconfig_secret(), [], [(VALUE, self.yaml()?)]))
    }

    /// The kubeconfig Secret of a Cluster, which Cluster API finds by its name.
    /// <https://cluster-api.sigs.k8s.io/developer/providers/contracts/control-plane#cluster-kubeconfig-management>
    ///
    /// # Errors
    /// If the kubeconfig can't be written.
    pub fn cluster_api(&self) -> Result<Secret, FormatError> {
        let labels = [(CLUSTER_API_LABEL, self.cluster_name())];
        let secret = secret(self.kubeconfig_secret(), labels, [(VALUE, self.yaml()?)]);
        Ok(Secret { type_: Some(CLUSTER_API_TYPE.into()), ..secret })
    }

    /// The kubeconfig Secret of a MultiKueueCluster, for the namespace of Kueue.
    /// <https://kueue.sigs.k8s.io/docs/tasks/manage/setup_multikueue/>
    ///
    /// # Errors
    /// If the kubeconfig can't be written.
    pub fn multi_kueue(&self) -> Result<Secret, FormatError> {
        let name = format!("{}-multikueue", self.cluster_name());
        Ok(secret(name, [], [(key::KUBECONFIG, self.yaml()?)]))
    }

    /// A kubeconfig for a program, as YAML. The context and the cluster have the name that the program expects.
    pub(super) fn yaml(&self) -> Result<String, FormatError> {
        let cluster = self.cluster_name();
        let names = Names { context: cluster, cluster, user: self.service_account };
        self.credential.write(&self.named(&names))
    }

    fn named(&self, names: &Names<'_>) -> Kubeconfig {
        let endpoint = &self.credential.endpoint;
        let ca = endpoint.ca_bundle.as_ref().filter(|_| !self.is_insecure());
        let cluster = Cluster {
            server: Some(endpoint.server.clone()),
            certificate_authority_data: ca.map(|ca| STANDARD.encode(ca)),
            // client-go rejects this together with a CA bundle.
            insecure_skip_tls_verify: self.is_insecure().then_some(true),
            tls_server_name: endpoint.tls_server_name.clone(),
            proxy_url: endpoint.proxy_url.clone(),
            ..Default::default()
        };
        let user = AuthInfo { token: Some(self.credential.token.clone()), ..Default::default() };
        kubeconfig(names, self.credential, user, cluster)
    }

    fn kubeconfig_secret(&self) -> String {
        format!("{}-kubeconfig", self.cluster_name())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{each, value};
    use super::*;
    use kube::config::Kubeconfig;
    use rstest::rstest;
    use secrecy::ExposeSecret;

    /// Checks a self-contained kubeconfig. Returns the names of its context, cluster and user.
    fn names(kubeconfig: &Kubeconfig, exported: Exported<'_>) -> [String; 3] {
        let [cluster] = &kubeconfig.clusters[..] else { panic!("not one cluster") };
        let [user] = &kubeconfig.auth_infos[..] else { panic!("not one user") };
        let [context] = &kubeconfig.contexts[..] else { panic!("not one context") };
        assert_eq!(kubeconfig.current_context.as_ref(), Some(&context.name));
        let entry = cluster.cluster.as_ref().unwrap();
        assert_eq!(entry.server.as_deref(), Some("https://c2.example:6443"));
        assert_eq!(entry.insecure_skip_tls_verify, exported.is_insecure().then_some(true));
        assert_eq!(entry.certificate_authority_data.is_some(), !exported.is_insecure());
        let token = user.auth_info.as_ref().and_then(|user| user.token.as_ref()).unwrap();
        assert_eq!(token.expose_secret(), "t0ken");
        let references = context.context.as_ref().unwrap();
        assert_eq!((&references.cluster, references.user.as_ref()), (&cluster.name, Some(&user.name)));
        assert_eq!(references.namespace.as_deref(), Some("default"));
        [context.name.clone(), cluster.name.clone(), user.name.clone()]
    }

    #[test]
    fn context_has_a_readable_name() {
        each(|exported| {
            let context = "default/pod-lister@c2";
            assert_eq!(names(&exported.kubeconfig(), exported), [context, "c2", context]);
        });
    }

    type Form = fn(&Exported<'_>) -> Result<Secret, FormatError>;

    #[rstest]
    #[case::flux(|it: &Exported<'_>| it.flux(), "c2-kubeconfig", "Opaque", None, "value")]
    #[case::cluster_api(
        |it: &Exported<'_>| it.cluster_api(),
        "c2-kubeconfig",
        "cluster.x-k8s.io/secret",
        Some(("cluster.x-k8s.io/cluster-name", "c2")),
        "value"
    )]
    #[case::multi_kueue(|it: &Exported<'_>| it.multi_kueue(), "c2-multikueue", "Opaque", None, "kubeconfig")]
    fn secret_matches_its_consumer(
        #[case] form: Form,
        #[case] name: &str,
        #[case] type_: &str,
        #[case] label: Option<(&str, &str)>,
        #[case] key: &str,
    ) {
        each(|exported| {
            let secret = form(&exported).unwrap();
            assert_eq!(secret.metadata.name.as_deref(), Some(name));
            assert_eq!(secret.type_.as_deref(), Some(type_));
            let labels = label.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
            assert_eq!(secret.metadata.labels, labels);
            assert_eq!(secret.data.as_ref().unwrap().len(), 1);
            let kubeconfig = Kubeconfig::from_yaml(&value(&secret, key)).unwrap();
            assert_eq!(names(&kubeconfig, exported), ["c2", "c2", "pod-lister"]);
        });
    }
}
