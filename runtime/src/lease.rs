//! Leader election: of all replicas, the one that holds a Lease writes.
//!
//! The record and its times are those of client-go, so that `kubectl get lease` reads as anywhere.
//! client-go does not stop a leader that has lost its lease without noticing; a [`Fence`] does.
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
pub use layer::{FenceLayer, Fenced, LeaseLost};

use crate::errors;
use fence::Moment;
use record::Observed;

/// How long giving back the lease may take, which is but a courtesy.
const RELEASE_DEADLINE: Duration = Duration::from_secs(3);

/// Whether replicas elect a leader, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct LeaseArgs {
    /// Work only while holding a Lease; false is for a single replica
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// How long others wait for a leader that has fallen silent
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..))]
    pub lease_duration: u16,
}

impl LeaseArgs {
    /// This process as a candidate for a Lease; none when there is no election.
    pub fn candidate(&self, namespace: &str, name: &str) -> Option<Candidate> {
        self.leader_elect.then(|| Candidate {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity(),
            seconds: self.lease_duration,
        })
    }
}

/// Who competes for which Lease.
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

    /// How long a renewal is good for. The fifth that is left is for clocks that do not run at one
    /// speed, and for writes that the API server is still working on.
    fn term(&self) -> Duration {
        self.duration() * 4 / 5
    }

    /// From one try to the next: a leader has two more within its term.
    fn interval(&self) -> Duration {
        self.duration() / 3
    }
}

/// Which pod this is, and which of its lives: a restarted container does not take itself for the
/// holder it was.
fn identity() -> String {
    // Container runtimes set it, to the name of the pod.
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| format!("pid-{}", std::process::id()));
    format!("{host}_{:016x}", fastrand::u64(..))
}

/// Competes for the lease until `stop`, then gives it back.
///
/// The fence is open while the lease is held; a leader that loses it stands by and competes again.
/// The client must not have the fence in its own way. What the leader does should have ended when
/// `stop` comes, as the next one may start at once.
///
/// Dropping this future gives nothing back; the fence closes in time by itself.
pub async fn hold(client: Client, candidate: Candidate, fence: Fence, stop: impl Future) {
    let api = Api::namespaced(client, &candidate.namespace);
    let mut election = Election { api, candidate, fence, observed: Observed::default(), standing: None };
    tokio::select! {
        _ = stop => {}
        never = election.run() => match never {},
    }
    election.fence.close();
    election.release().await;
}

/// How things stand, as far as a log tells.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Leading,
    Following { holder: String },
    Unknown { code: Option<u16>, leading: bool },
}

struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    fence: Fence,
    observed: Observed,
    standing: Option<Standing>,
}

impl Election {
    async fn run(&mut self) -> Infallible {
        loop {
            // Never later than the interval: the term is counted in intervals.
            let next = Instant::now() + self.candidate.interval().mul_f64(1.0 - 0.2 * fastrand::f64());
            self.turn().await;
            sleep_until(next).await;
        }
    }

    /// One try. A term counts from when it began: others count from when they see it, which is later.
    async fn turn(&mut self) {
        let sent = Moment::now();
        let deadline = self.candidate.interval();
        match timeout(deadline, self.compete()).await {
            Ok(Ok(true)) => {
                self.fence.extend(sent, self.candidate.term());
                self.note(Standing::Leading, "");
            }
            Ok(Ok(false)) => {
                self.note(Standing::Following { holder: self.observed.holder().to_owned() }, "");
            }
            Ok(Err(error)) => {
                let standing = Standing::Unknown { code: code(&error), leading: self.fence.is_open() };
                self.note(standing, &errors::short(&errors::line(&error)));
            }
            Err(_) => {
                let standing = Standing::Unknown { code: None, leading: self.fence.is_open() };
                self.note(standing, "no answer in time");
            }
        }
    }

    /// Takes or renews the lease, and says whether it is ours.
    async fn compete(&mut self) -> kube::Result<bool> {
        // Who held it last renews what it knows, without asking first.
        if self.observed.is_held_by(&self.candidate) {
            match self.claim().await {
                // Changed, or gone.
                Err(error) if matches!(code(&error), Some(404 | 409)) => {}
                done => return done.map(|()| true),
            }
        }
        self.read().await?;
        if !self.observed.is_open_to(&self.candidate) {
            return Ok(false);
        }
        match self.claim().await {
            // Someone was faster.
            Err(error) if code(&error) == Some(409) => self.read().await.map(|()| false),
            done => done.map(|()| true),
        }
    }

    async fn read(&mut self) -> kube::Result<()> {
        let lease = self.api.get_opt(&self.candidate.name).await?;
        self.observed.note(lease);
        // Taken from us, or deleted: then it may be anyone's by now, and a new term if it is ours.
        if !self.observed.is_held_by(&self.candidate) {
            self.fence.close();
        }
        Ok(())
    }

    /// Writes us down as the holder, on condition that nothing has changed.
    async fn claim(&mut self) -> kube::Result<()> {
        let claim = self.observed.claim(&self.candidate, Timestamp::now());
        let params = PostParams::default();
        let lease = match self.observed.lease() {
            None => self.api.create(&params, &claim).await?,
            Some(_) => self.api.replace(&self.candidate.name, &params, &claim).await?,
        };
        self.observed.note(Some(lease));
        Ok(())
    }

    /// Gives back the lease, and says whether it was ours.
    async fn give_back(&mut self) -> kube::Result<bool> {
        // A renewal may have been under way when we were told to stop.
        self.read().await?;
        let Some(lease) = self.observed.lease().filter(|_| self.observed.is_held_by(&self.candidate)) else {
            return Ok(false);
        };
        let lease = record::released(lease.clone(), Timestamp::now());
        self.api.replace(&self.candidate.name, &PostParams::default(), &lease).await?;
        Ok(true)
    }

    async fn release(&mut self) {
        let given_back = timeout(RELEASE_DEADLINE, self.give_back()).await;
        let lease = &self.candidate.name;
        match given_back {
            Ok(Ok(true)) => info!(lease, "gave back the lease"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                let error = errors::short(&errors::line(&error));
                warn!(lease, error, "can't give back the lease; it will expire");
            }
            Err(_) => warn!(lease, "can't give back the lease in time; it will expire"),
        }
    }

    /// Logs how things stand, when that is news.
    fn note(&mut self, standing: Standing, error: &str) {
        if self.standing.as_ref() == Some(&standing) {
            return;
        }
        let Candidate { name: lease, identity, .. } = &self.candidate;
        match &standing {
            Standing::Leading => info!(lease, identity, "holds the lease"),
            Standing::Following { holder } => info!(lease, identity, holder, "stands by"),
            Standing::Unknown { leading, .. } => {
                warn!(lease, identity, leading, error, "can't take or renew the lease; trying again");
            }
        }
        self.standing = Some(standing);
    }
}

/// The code of an API server's refusal.
fn code(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error { Some(status.code) } else { None }
}

#[cfg(test)]
mod tests;
