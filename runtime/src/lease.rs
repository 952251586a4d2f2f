//! Leader election: only the replica that holds the Lease writes.
//!
//! The Lease has the fields of client-go's elections, for `kubectl get lease`. client-go does not stop a leader
//! that lost its lease unnoticed; a [`Fence`] does.
//! <https://kubernetes.io/docs/concepts/architecture/leases/>,
//! <https://pkg.go.dev/k8s.io/client-go/tools/leaderelection>

mod fence;
mod layer;
mod record;

use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

pub use fence::Fence;
pub use layer::LeaseLost;

use crate::errors;
use fence::Moment;
use record::Observed;

/// Longest wait for the release of the lease. Without a release, the next leader waits until the lease expires.
const RELEASE_DEADLINE: Duration = Duration::from_secs(3);

/// Leader election flags.
#[derive(Clone, Debug, clap::Args)]
pub struct LeaseArgs {
    /// Work only while holding a Lease; set to false only with a single replica
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// Let another replica lead after a leader has not renewed its Lease for this long
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..))]
    pub lease_duration: u16,
}

impl LeaseArgs {
    /// This process as a candidate for a Lease; `None` without leader election.
    pub fn candidate(&self, namespace: &str, name: &str) -> Option<Candidate> {
        self.leader_elect.then(|| Candidate {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity(),
            seconds: self.lease_duration,
        })
    }
}

/// A replica that competes for a Lease.
#[derive(Clone, Debug)]
pub struct Candidate {
    namespace: String,
    name: String,
    identity: String,
    seconds: u16,
}

impl Candidate {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// How long a renewal allows writes. The remaining fifth allows for clock drift, and for writes that are
    /// still in progress.
    fn term(&self) -> Duration {
        self.duration() * 4 / 5
    }

    /// Time between attempts; after a failed one, a leader has two more before its term ends.
    fn interval(&self) -> Duration {
        self.duration() / 3
    }
}

/// The pod's name and a random suffix: a restarted container is a new candidate.
fn identity() -> String {
    // Container runtimes set HOSTNAME to the name of the pod.
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| format!("pid-{}", std::process::id()));
    format!("{host}_{:016x}", fastrand::u64(..))
}

/// Competes for the lease until `stop` completes, then releases it.
///
/// The fence is open while this candidate holds the lease. A leader that loses the lease competes for it again.
/// `client` must not use the fence's layer. The leader's work must end before `stop` completes, because the
/// next leader may start immediately.
///
/// If this future is dropped, the lease is not released, and the fence closes when the term ends.
pub async fn hold(client: Client, candidate: Candidate, fence: Fence, stop: impl Future) {
    let api = Api::namespaced(client, &candidate.namespace);
    let mut election = Election { api, candidate, fence, observed: Observed::default(), state: None };
    tokio::select! {
        _ = stop => {}
        never = election.run() => match never {},
    }
    election.fence.close();
    election.release().await;
}

/// State of the election, for the log.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Leading,
    Following { holder: String },
    Unknown { code: Option<u16>, leading: bool },
}

struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    fence: Fence,
    observed: Observed,
    state: Option<State>,
}

impl Election {
    async fn run(&mut self) -> Infallible {
        loop {
            // Jitter only shortens the interval, because the term is a multiple of it.
            let next = Instant::now() + self.candidate.interval().mul_f64(1.0 - 0.2 * fastrand::f64());
            self.try_once().await;
            sleep_until(next).await;
        }
    }

    /// Makes one attempt. A term starts when the request is sent, which is before other replicas observe the renewal
    /// and start to wait for the lease to expire.
    async fn try_once(&mut self) {
        let sent = Moment::now();
        let deadline = self.candidate.interval();
        match timeout(deadline, self.compete()).await {
            Ok(Ok(true)) => {
                self.fence.extend(sent, self.candidate.term());
                self.set_state(State::Leading, "");
            }
            Ok(Ok(false)) => {
                self.set_state(State::Following { holder: self.observed.holder().to_owned() }, "");
            }
            Ok(Err(error)) => {
                let state = State::Unknown { code: code(&error), leading: self.fence.is_open() };
                self.set_state(state, &errors::short(&errors::line(&error)));
            }
            Err(_) => {
                let state = State::Unknown { code: None, leading: self.fence.is_open() };
                self.set_state(state, "no response in time");
            }
        }
    }

    /// Acquires or renews the lease; returns whether this candidate holds it.
    async fn compete(&mut self) -> kube::Result<bool> {
        // The last known holder renews without reading first.
        if self.observed.is_held_by(&self.candidate) {
            match self.claim().await {
                // Changed or deleted.
                Err(error) if matches!(code(&error), Some(404 | 409)) => {}
                done => return done.map(|()| true),
            }
        }
        self.read().await?;
        if !self.observed.is_open_to(&self.candidate) {
            return Ok(false);
        }
        match self.claim().await {
            // Another replica was faster.
            Err(error) if code(&error) == Some(409) => self.read().await.map(|()| false),
            done => done.map(|()| true),
        }
    }

    async fn read(&mut self) -> kube::Result<()> {
        let lease = self.api.get_opt(&self.candidate.name).await?;
        self.observed.update(lease);
        // If the lease has another holder, or was deleted, another replica may have been the leader meanwhile. So
        // acquiring it again must start a new term.
        if !self.observed.is_held_by(&self.candidate) {
            self.fence.close();
        }
        Ok(())
    }

    /// Writes this candidate as the holder, unless the Lease has changed.
    async fn claim(&mut self) -> kube::Result<()> {
        let claim = self.observed.claim(&self.candidate, Timestamp::now());
        let params = PostParams::default();
        let lease = match self.observed.lease() {
            None => self.api.create(&params, &claim).await?,
            Some(_) => self.api.replace(&self.candidate.name, &params, &claim).await?,
        };
        self.observed.update(Some(lease));
        Ok(())
    }

    /// Clears the holder; returns whether this candidate was the holder.
    async fn clear_holder(&mut self) -> kube::Result<bool> {
        // `stop` may have interrupted a renewal.
        self.read().await?;
        let Some(lease) = self.observed.lease().filter(|_| self.observed.is_held_by(&self.candidate)) else {
            return Ok(false);
        };
        let lease = record::released(lease.clone(), Timestamp::now());
        self.api.replace(&self.candidate.name, &PostParams::default(), &lease).await?;
        Ok(true)
    }

    async fn release(&mut self) {
        let released = timeout(RELEASE_DEADLINE, self.clear_holder()).await;
        let lease = &self.candidate.name;
        match released {
            Ok(Ok(true)) => info!(lease, "released the lease"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                let error = errors::short(&errors::line(&error));
                warn!(lease, error, "can't release the lease; it will expire");
            }
            Err(_) => warn!(lease, "can't release the lease in time; it will expire"),
        }
    }

    /// Logs the state if it has changed.
    fn set_state(&mut self, state: State, error: &str) {
        if self.state.as_ref() == Some(&state) {
            return;
        }
        let Candidate { name: lease, identity, .. } = &self.candidate;
        match &state {
            State::Leading => info!(lease, identity, "holds the lease"),
            State::Following { holder } => info!(lease, identity, holder, "waiting for the lease"),
            State::Unknown { leading, .. } => {
                warn!(lease, identity, leading, error, "can't acquire or renew the lease; retrying");
            }
        }
        self.state = Some(state);
    }
}

/// The HTTP status of an API server's error.
fn code(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error { Some(status.code) } else { None }
}

#[cfg(test)]
mod tests;
