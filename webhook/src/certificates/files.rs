//! The certificate from files, as cert-manager and a kubelet keep them: read again each second, by
//! content, since neither times nor notifications survive a swap of symbolic links.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::args::Paths;
use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::Certificate;
use crate::certificates::serving::Wanted;

const INTERVAL: Duration = Duration::from_secs(1);

/// More than this is no certificate, and not what an operator wanted to have in memory.
const LIMIT: u64 = 1 << 20;

/// The files, and what was in them last.
#[derive(Debug)]
pub(crate) struct Files {
    paths: Paths,
    ticks: Interval,
    /// It is time to read, and that has not been done: someone may stop waiting for us at any moment.
    due: bool,
    contents: Option<Contents>,
    wanted: Result<Wanted, String>,
}

/// What is in the files.
#[derive(Debug)]
struct Contents {
    chain: String,
    key: SecretString,
    authorities: Option<String>,
}

impl Files {
    /// Nothing has been read yet.
    pub(crate) fn new(paths: Paths) -> Self {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { paths, ticks, due: false, contents: None, wanted: Err("not yet".to_owned()) }
    }

    /// Waits until there is something else in the files.
    pub(crate) async fn news(&mut self) {
        loop {
            if !self.due {
                self.ticks.tick().await;
                self.due = true;
            }
            let news = self.read().await;
            self.due = false;
            if news {
                return;
            }
        }
    }

    /// What is in the files, if it can be served at this time.
    ///
    /// # Errors
    /// When it can't: why not.
    pub(crate) fn wanted(&self, now: Timestamp) -> Result<Wanted, String> {
        let wanted = self.wanted.clone()?;
        let path = self.paths.chain.display();
        wanted
            .certificate
            .check_time(now)
            .map_err(|problem| format!("the certificate in {path}: {problem}"))?;
        Ok(wanted)
    }

    /// Whether there was something else than before.
    async fn read(&mut self) -> bool {
        let paths = self.paths.clone();
        let contents = match tokio::task::spawn_blocking(move || Contents::read(&paths)).await {
            Ok(contents) => contents,
            Err(error) => Err(error.to_string()),
        };
        let before = self.wanted.as_ref().err().cloned();
        match contents {
            Ok(contents) if self.contents.as_ref() == Some(&contents) => return false,
            Ok(contents) => {
                self.wanted = self.parse(&contents);
                self.contents = Some(contents);
            }
            Err(problem) => {
                self.contents = None;
                self.wanted = Err(problem);
            }
        }
        self.wanted.is_ok() || self.wanted.as_ref().err() != before.as_ref()
    }

    /// Certificate and key from two sides of a swap do not belong together: the next look is at both
    /// from the same side.
    fn parse(&self, contents: &Contents) -> Result<Wanted, String> {
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
        Ok(Wanted { certificate, authorities })
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
    if length > LIMIT {
        return Err(problem(&"it is too large for a certificate"));
    }
    std::fs::read_to_string(path).map_err(|error| problem(&error))
}

#[cfg(test)]
mod tests;
