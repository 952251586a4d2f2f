//! The programs that read kubeconfigs.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Kubectl,
    Kubemcsa,
    /// The client crate, in the example `kubeconfig_user`.
    Library,
}

impl Program {
    pub(super) const ALL: [Self; 3] = [Self::Kubectl, Self::Kubemcsa, Self::Library];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kubectl => "kubectl",
            Self::Kubemcsa => "kubemcsa",
            Self::Library => "crate",
        }
    }
}
