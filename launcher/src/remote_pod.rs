//! A remote pod, and the member through which it is reached.

use mcsa_client::clusters::Member;

/// The remote pod of a home pod.
#[derive(Clone, Debug)]
pub(crate) struct RemotePod {
    /// The launch import's member: a client with the rights of its service account.
    pub(crate) member: Member,
    /// The pod's namespace in the source.
    pub(crate) namespace: String,
    /// The pod's name, which is that of the home pod.
    pub(crate) name: String,
    /// The pod's UID in the source.
    pub(crate) uid: String,
    /// The virtual node that the home pod is bound to.
    pub(crate) node: String,
    /// The UID of the home pod.
    pub(crate) home_uid: String,
}
