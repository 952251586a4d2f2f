//! A network of a node's own: what happens in it changes nothing of this machine's.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::command::{output, wrapped};
use super::{groups, programs};
use crate::cache;
use crate::eventually::try_eventually;
use crate::process::Process;

/// The third byte of the addresses.
const NUMBERS: std::ops::Range<u8> = 1..250;

/// How long a namespace may take to be there.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A network namespace with one cable, whose other end is on this machine. Nothing in it reaches
/// further than that end; with the process that holds it, all of it is gone: addresses, routes, and the
/// rules of kube-proxy.
#[derive(Debug)]
pub(crate) struct Network {
    number: u8,
    holder: Process,
    _lock: File,
}

impl Network {
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let (number, lock) = reserve()?;
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sleep", "infinity"]);
        let holder = Process::spawn("network", &unshare, dir.join("network.log"))?;
        let network = Self { number, holder, _lock: lock };
        network.wire().await.context("making a network for a node")?;
        Ok(network)
    }

    /// The node's address.
    pub(crate) fn node(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 1)
    }

    /// This machine's, as the node sees it.
    pub(crate) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 2)
    }

    /// Unlike that of any other node of this machine.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// The same command, run in this network.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let namespace = format!("--net={}", self.namespace());
        wrapped("nsenter", [namespace.into(), "--".into()], command)
    }

    /// Forgets what the programs of a node wrote into its kernel.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        let flush = "for table in filter nat mangle; do iptables -t $table -F; iptables -t $table -X; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", flush]).env("PATH", programs::path());
        output(&mut self.command(&shell)).map(drop)
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    async fn wire(&self) -> anyhow::Result<()> {
        let own = fs::read_link("/proc/self/ns/net")?;
        try_eventually(LIMIT, "a network namespace", async || {
            self.holder.check()?;
            ensure!(fs::read_link(self.namespace())? != own, "{} is in ours yet", self.holder.name());
            Ok(())
        })
        .await?;
        let (cable, holder) = (cable(self.number), self.holder.id());
        let (node, host) = (self.node(), self.host());
        run(&format!("ip link add {cable} type veth peer name eth0 netns {holder}"))?;
        run(&format!("ip address add {host}/30 dev {cable}"))?;
        run(&format!("ip link set {cable} up"))?;
        let inside = format!(
            "ip link set lo up && ip address add {node}/30 dev eth0 && ip link set eth0 up &&
             # Without a route there is nothing for kube-proxy to translate.
             ip route add 10.0.0.0/24 dev lo src {node} &&
             echo 1 > /proc/sys/net/ipv4/ip_forward"
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &inside]);
        output(&mut self.command(&shell)).map(drop)
    }
}

impl Drop for Network {
    /// The kernel would do it, a while after the last process.
    fn drop(&mut self) {
        unplug(self.number);
    }
}

/// Takes away this machine's end, and with it the other one.
fn unplug(number: u8) {
    drop(Command::new("ip").args(["link", "del", &cable(number)]).output());
}

fn cable(number: u8) -> String {
    format!("mcsa{number}")
}

/// The first number that is free; what was left by nodes that were killed is swept away.
fn reserve() -> anyhow::Result<(u8, File)> {
    let folder = cache::folder("networks")?;
    let mut reserved = None;
    for number in NUMBERS {
        let path = folder.join(number.to_string());
        if reserved.is_some() && !path.exists() {
            break;
        }
        let lock = cache::lock_file(&path)?;
        if lock.try_lock().is_ok() {
            unplug(number);
            groups::sweep(number);
            reserved = reserved.or(Some((number, lock)));
        }
    }
    reserved.with_context(|| format!("no free network found after {} tries", NUMBERS.len()))
}

fn run(line: &str) -> anyhow::Result<()> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    output(command.args(words)).map(drop)
}
