//! The machine that a node is: a tree of processes and mounts that ends as one.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::command::wrapped;
use super::network::{LIMIT, Network};
use crate::cache;
use crate::eventually::try_eventually;
use crate::process::Process;

/// Processes and mounts of their own. When it ends, all that was started in it is
/// killed by the kernel, containers included, and nothing is left mounted.
#[derive(Debug)]
pub(crate) struct Machine {
    init: Process,
    /// The id, here, of its first process.
    first: u32,
}

impl Machine {
    pub(crate) async fn start(dir: &Path, network: &Network) -> anyhow::Result<Self> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        unshare.args(["sh", "-c", include_str!("machine.sh"), "machine"]).arg(cache::folder("")?);
        let log = dir.join("machine.log");
        drop(fs::remove_file(&log));
        let init = Process::spawn("machine", &network.command(&unshare), log)?;
        try_eventually(LIMIT, "a machine", async || {
            init.check()?;
            ensure!(init.log().contains("up\n"), "it is not up yet: {}", init.log());
            Ok(())
        })
        .await?;
        let children = format!("/proc/{0}/task/{0}/children", init.id());
        let children = fs::read_to_string(&children).with_context(|| format!("reading {children}"))?;
        let first = children.trim().parse().with_context(|| format!("one process, not {children:?}"))?;
        Ok(Self { init, first })
    }

    /// The same command, run in this machine.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let target = format!("--target={}", self.first);
        let args = [&*target, "--net", "--mount", "--pid", "--"];
        wrapped("nsenter", args.map(Into::into), command)
    }

    /// Pulls the plug.
    pub(crate) fn stop(&self) {
        self.init.kill();
    }
}
