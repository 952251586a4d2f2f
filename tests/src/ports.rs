//! Loopback ports that are reserved while a cluster exists, even while nothing listens on them.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::bail;

use crate::cache;

/// Below the range of ephemeral ports, so that the port of a stopped API server stays free.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// A port that no other test process on this machine uses until this value is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

impl Port {
    /// Selects a random port, so that clients of a removed cluster don't reach the next one.
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
