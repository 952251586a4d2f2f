//! The machine's limit of inotify instances, which a kubelet needs.

use std::fs;

use anyhow::Context;

use crate::print_uncaptured;

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";

/// Enough for dozens of clusters. Each API server takes several instances, and many machines allow 128.
const ENOUGH: u32 = 1024;

/// Raises the limit until the machine restarts: a kubelet that gets no instance ends.
pub(crate) fn raise_limit() -> anyhow::Result<()> {
    let limit = fs::read_to_string(LIMIT).with_context(|| format!("reading {LIMIT}"))?;
    if limit.trim().parse::<u32>().with_context(|| format!("parsing {LIMIT}"))? < ENOUGH {
        print_uncaptured(format_args!(
            "raising fs.inotify.max_user_instances from {} to {ENOUGH}",
            limit.trim()
        ));
        fs::write(LIMIT, ENOUGH.to_string()).with_context(|| format!("writing {LIMIT}"))?;
    }
    Ok(())
}
