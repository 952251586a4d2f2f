//! Connections for minting.
//!
//! Another cluster may answer at a source's address at any time, for example behind a Service or a DNS name, and
//! accept the link's token. So a token counts only if the cluster's UID arrived over the same connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::Client;

/// A client with connections of its own. One mint at a time uses it, so its calls are sequential.
pub struct Session {
    client: Client,
    /// Number of the connection that the last response arrived over; 0 without a response.
    connection: Arc<AtomicU64>,
    known: Option<KnownCluster>,
}

/// The cluster at the end of a connection.
struct KnownCluster {
    connection: u64,
    uid: String,
    /// The source's identity epoch.
    epoch: u64,
}

impl Session {
    /// A session of a client that stores the number of each response's connection.
    pub(super) fn new(client: Client, connection: Arc<AtomicU64>) -> Self {
        Self { client, connection, known: None }
    }

    /// Number of the connection that the last response arrived over; 0 if there was none, or its connection has no number.
    pub fn connection(&self) -> u64 {
        self.connection.load(Ordering::Relaxed)
    }

    /// The client for the next call.
    pub(super) fn start_call(&mut self) -> Client {
        self.connection.store(0, Ordering::Relaxed);
        self.client.clone()
    }

    /// The UID of the cluster that sent the last response, if its connection has been verified in this epoch.
    pub(super) fn cluster_uid(&self, epoch: u64) -> Option<&str> {
        let is_current =
            |known: &&KnownCluster| known.connection == self.connection() && known.epoch == epoch;
        self.known.as_ref().filter(is_current).map(|known| known.uid.as_str())
    }

    /// Records the UID that has just arrived.
    pub(super) fn record_cluster_uid(&mut self, uid: String, epoch: u64) {
        let connection = self.connection();
        // Without a number, connections can't be told apart.
        self.known = (connection != 0).then_some(KnownCluster { connection, uid, epoch });
    }
}
