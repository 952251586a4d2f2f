//! The network namespace of a node. It adds one interface to this machine's network, and changes nothing else there.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::command::{output, wrapped};
use super::{cgroups, programs};
use crate::cache;
use crate::eventually::try_eventually;
use crate::process::Process;

/// The numbers of networks, which are the third byte of their addresses.
const NUMBERS: std::ops::Range<u8> = 1..250;

/// How long creating a namespace may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A network namespace that is connected to this machine by a pair of virtual interfaces, and to nothing else. When the
/// process that holds it ends, its addresses, routes and iptables rules are gone.
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
        network.connect().await.context("creating a node's network")?;
        Ok(network)
    }

    /// The node's address.
    pub(crate) fn node_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 1)
    }

    /// This machine's address in the network.
    pub(crate) fn host_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 2)
    }

    /// Unique among the nodes of this machine.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// The same command, to run in this network.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let namespace = format!("--net={}", self.namespace());
        wrapped("nsenter", [namespace.into(), "--".into()], command)
    }

    /// Removes the iptables rules of the node's programs, as a reboot does.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        let flush = "for table in filter nat mangle; do iptables -t $table -F; iptables -t $table -X; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", flush]).env("PATH", programs::path());
        output(&mut self.command(&shell)).map(drop)
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    async fn connect(&self) -> anyhow::Result<()> {
        let host_namespace = fs::read_link("/proc/self/ns/net")?;
        try_eventually(LIMIT, "the network namespace exists", async || {
            self.holder.check()?;
            ensure!(fs::read_link(self.namespace())? != host_namespace, "unshare has not created it");
            Ok(())
        })
        .await?;
        let (interface, holder) = (interface(self.number), self.holder.id());
        let (node, host) = (self.node_address(), self.host_address());
        run(&format!("ip link add {interface} type veth peer name eth0 netns {holder}"))?;
        run(&format!("ip address add {host}/30 dev {interface}"))?;
        run(&format!("ip link set {interface} up"))?;
        let script = format!(
            "ip link set lo up && ip address add {node}/30 dev eth0 && ip link set eth0 up &&
             # kube-proxy translates only packets that have a route.
             ip route add 10.0.0.0/24 dev lo src {node} &&
             echo 1 > /proc/sys/net/ipv4/ip_forward"
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        output(&mut self.command(&shell)).map(drop)
    }
}

impl Drop for Network {
    /// The kernel removes the interface only some time after the last process ended.
    fn drop(&mut self) {
        disconnect(self.number);
    }
}

/// Deletes this machine's interface, and with it the node's.
fn disconnect(number: u8) {
    drop(Command::new("ip").args(["link", "del", &interface(number)]).output());
}

fn interface(number: u8) -> String {
    format!("mcsa{number}")
}

/// Reserves the first free number. Cleans up after killed nodes, whose numbers are free, too.
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
            disconnect(number);
            cgroups::clean_up(number);
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
