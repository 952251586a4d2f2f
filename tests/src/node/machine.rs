//! The machine that a node simulates: a PID and a mount namespace, which end together.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::command::wrapped;
use super::network::{LIMIT, Network};
use crate::cache;
use crate::eventually::try_eventually;
use crate::process::Process;

/// A PID and a mount namespace. When it ends, the kernel kills all processes in it, including containers, and removes
/// all mounts.
#[derive(Debug)]
pub(crate) struct Machine {
    unshare: Process,
    /// The host's ID of its first process.
    init_pid: u32,
}

impl Machine {
    pub(crate) async fn start(dir: &Path, network: &Network) -> anyhow::Result<Self> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        unshare.args(["sh", "-c", include_str!("machine.sh"), "machine"]).arg(cache::folder("")?);
        let log = dir.join("machine.log");
        drop(fs::remove_file(&log));
        let process = Process::spawn("machine", &network.command(&unshare), log)?;
        try_eventually(LIMIT, "the machine is up", async || {
            process.check()?;
            ensure!(process.log().contains("up\n"), "not up; its log: {}", process.log());
            Ok(())
        })
        .await?;
        let children = format!("/proc/{0}/task/{0}/children", process.id());
        let children = fs::read_to_string(&children).with_context(|| format!("reading {children}"))?;
        let init_pid = children.trim().parse().with_context(|| format!("not a process ID: {children:?}"))?;
        Ok(Self { unshare: process, init_pid })
    }

    /// The same command, to run in this machine.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let target = format!("--target={}", self.init_pid);
        let args = [&*target, "--net", "--mount", "--pid", "--"];
        wrapped("nsenter", args.map(Into::into), command)
    }

    /// Kills the machine, as a power loss does.
    pub(crate) fn kill(&self) {
        self.unshare.kill();
    }
}
