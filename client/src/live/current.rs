//! The config in use, and the clients of it.

use std::sync::{Arc, LazyLock};

use kube::client::ClientBuilder;
use kube::{Client, Config};
use tokio::time::Instant;

use super::digest::Digest;

/// What is done about answers that ask for patience (429, 503, 504). kube's own way can take minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    AsConfigured,
    /// For who has a way of its own, and others to look after meanwhile.
    Never,
}

/// A client that is begun where it is first used: only there need there be a runtime.
type Connected = LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>;

/// The config in use.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) config: Arc<Config>,
    pub(super) digest: Digest,
    /// Another one for each config.
    pub(super) number: u64,
    pub(super) read_at: Instant,
    patient: Arc<Connected>,
    impatient: Arc<Connected>,
}

impl Current {
    pub(super) fn new(config: Config, number: u64) -> kube::Result<Self> {
        let mut impatient = config.clone();
        impatient.default_retry = false;
        Ok(Self {
            patient: connected(config.clone())?,
            impatient: connected(impatient)?,
            digest: Digest::of(&config),
            config: Arc::new(config),
            number,
            read_at: Instant::now(),
        })
    }

    pub(super) fn client(&self, retry: Retry) -> &Client {
        match retry {
            Retry::AsConfigured => &self.patient,
            Retry::Never => &self.impatient,
        }
    }
}

fn connected(config: Config) -> kube::Result<Arc<Connected>> {
    let builder = ClientBuilder::try_from(config)?;
    Ok(Arc::new(LazyLock::new(Box::new(move || builder.build()))))
}
