//! The certificate from files, such as a mounted Secret. They are reread every second and compared by content: the
//! kubelet swaps a symbolic link, which neither inotify nor modification times detect reliably.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::args::Paths;
use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::Certificate;
use crate::certificates::serving::Desired;

const INTERVAL: Duration = Duration::from_secs(1);

/// Largest file, in bytes.
const MAX_LENGTH: u64 = 1 << 20;

/// The files and their last contents.
#[derive(Debug)]
pub(crate) struct Files {
    paths: Paths,
    ticks: Interval,
    /// A read is due. It survives cancellation of [`Self::changed`].
    due: bool,
    contents: Option<Contents>,
    desired: Result<Desired, String>,
}

#[derive(Debug)]
struct Contents {
    chain: String,
    key: SecretString,
    authorities: Option<String>,
}

impl Files {
    pub(crate) fn new(paths: Paths) -> Self {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { paths, ticks, due: false, contents: None, desired: Err("not read yet".to_owned()) }
    }

    /// Waits until the contents change.
    pub(crate) async fn changed(&mut self) {
        loop {
            if !self.due {
                self.ticks.tick().await;
                self.due = true;
            }
            let changed = self.read().await;
            self.due = false;
            if changed {
                return;
            }
        }
    }

    /// The certificate in the files, if it can be served now; otherwise the reason.
    pub(crate) fn desired(&self, now: Timestamp) -> Result<Desired, String> {
        let desired = self.desired.clone()?;
        let path = self.paths.chain.display();
        desired
            .certificate
            .validity
            .check(now)
            .map_err(|problem| format!("the certificate in {path}: {problem}"))?;
        Ok(desired)
    }

    /// Reads the files; returns whether the result has changed.
    async fn read(&mut self) -> bool {
        let paths = self.paths.clone();
        let contents = match tokio::task::spawn_blocking(move || Contents::read(&paths)).await {
            Ok(contents) => contents,
            Err(error) => Err(error.to_string()),
        };
        let before = self.desired.as_ref().err().cloned();
        match contents {
            Ok(contents) if self.contents.as_ref() == Some(&contents) => return false,
            Ok(contents) => {
                self.desired = self.parse(&contents);
                self.contents = Some(contents);
            }
            Err(problem) => {
                self.contents = None;
                self.desired = Err(problem);
            }
        }
        self.desired.is_ok() || self.desired.as_ref().err() != before.as_ref()
    }

    /// If the files are swapped between two reads, certificate and key do not match; the next read fixes that.
    fn parse(&self, contents: &Contents) -> Result<Desired, String> {
        let Paths { chain, key, authorities } = &self.paths;
        let certificate = Certificate::read(&contents.chain, contents.key.clone());
        let certificate = certificate.map_err(|problem| {
            format!("the certificate in {} and {}: {problem}", chain.display(), key.display())
        })?;
        let authorities = match (authorities, &contents.authorities) {
            (Some(path), Some(pem)) => match Authorities::read(pem.as_bytes()) {
                none if none.is_empty() => return Err(format!("{} has no certificate", path.display())),
                some => Some(some),
            },
            _ => None,
        };
        Ok(Desired { certificate, authorities })
    }
}

impl Contents {
    fn read(paths: &Paths) -> Result<Self, String> {
        Ok(Self {
            chain: read(&paths.chain)?,
            key: read(&paths.key)?.into(),
            authorities: paths.authorities.as_deref().map(read).transpose()?,
        })
    }
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
            && self.authorities == other.authorities
            && self.key.expose_secret() == other.key.expose_secret()
    }
}

fn read(path: &Path) -> Result<String, String> {
    let problem = |problem: &dyn std::fmt::Display| format!("can't read {}: {problem}", path.display());
    let length = std::fs::metadata(path).map_err(|error| problem(&error))?.len();
    if length > MAX_LENGTH {
        return Err(problem(&"too large for a certificate"));
    }
    std::fs::read_to_string(path).map_err(|error| problem(&error))
}

#[cfg(test)]
mod tests;
