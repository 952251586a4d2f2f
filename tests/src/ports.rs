//! Loopback ports that stay ours while a cluster lives, also while nothing listens on them.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::bail;

use crate::cache;

/// Below the range that operating systems pick from for outgoing connections and for port 0, so that
/// a stopped API server finds its port free when it comes back.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// A port that no other test process on this machine takes as long as this value lives.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

impl Port {
    /// Random, so that whoever still calls a cluster that is gone does not meet its successor.
    pub(crate) fn reserve() -> anyhow::Result<Port> {
        let folder = cache::folder("ports")?;
        for _ in 0..200 {
            let number = fastrand::u16(RANGE);
            let lock = cache::lock_file(&folder.join(number.to_string()))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Port { number, _lock: lock });
            }
        }
        bail!("no free loopback port found in {RANGE:?} after 200 tries")
    }
}
