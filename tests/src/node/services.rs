//! The command lines and configurations of a node's programs.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};

use super::images::PAUSE;
use super::programs::{self, Programs};
use crate::cluster::Cluster;
use crate::kubeconfig;

/// containerd's socket, in the node's /run, as the path of a socket must be short.
pub(crate) const SOCKET: &str = "/run/containerd.sock";

/// The CIDR of pods, which is the same in each node's network.
const PODS: &str = "10.244.0.0/24";

/// The settings that the programs of a node share.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) programs: &'static Programs,
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    /// How often the kubelet syncs pods and their mounts.
    pub(crate) sync_frequency: String,
    /// At which size the kubelet starts a new log of a container.
    pub(crate) max_log_size: String,
}

impl Services {
    pub(crate) fn containerd(&self) -> anyhow::Result<Command> {
        let (dir, plugins) = (self.dir.display(), self.programs.containerd.display());
        let runc = programs::find("runc").context("runc is missing on this machine")?;
        let config = format!(
            r#"version = 3
root = "{dir}/containerd"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE}"

[plugins.'io.containerd.cri.v1.runtime']
# In some containers, root may not lower an oom_score_adj.
restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{plugins}"]
conf_dir = "{dir}/cni"
use_internal_loopback = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{}"
SystemdCgroup = false

[plugins.'io.containerd.internal.v1.opt']
path = "{dir}/opt"

[plugins.'io.containerd.nri.v1.nri']
disable = true
"#,
            runc.display()
        );
        // Pods connect to the outside with the node's address, as theirs are not routed there.
        let network = json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [{
                "type": "ptp",
                "ipMasq": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/ipam",
                    "ranges": [[{ "subnet": PODS }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            }],
        });
        fs::create_dir_all(self.dir.join("cni"))?;
        self.write("cni/pods.conflist", &network.to_string())?;
        let config = self.write("containerd.toml", &config)?;
        let mut containerd = Command::new(self.programs.containerd.join("containerd"));
        // containerd looks for its shim in the PATH.
        let mut path = OsString::from(format!("{plugins}:"));
        path.push(programs::path());
        containerd.env("PATH", path);
        containerd.arg("--config").arg(config);
        Ok(containerd)
    }

    pub(crate) fn kubelet(&self, cluster: &Cluster, group: &str) -> anyhow::Result<Command> {
        let address = self.address.to_string();
        let serving = cluster.pki.server(&format!("system:node:{}", self.name), &[&address, &self.name])?;
        let authority = cluster.dir().join("ca.crt");
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": address,
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": authority },
            },
            "authorization": { "mode": "Webhook" },
            "tlsCertFile": self.write("kubelet.crt", &serving.certificate)?,
            "tlsPrivateKeyFile": self.write("kubelet.key", &serving.key)?,
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            // Some machines still have cgroup v1.
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": group,
            "clusterDomain": "cluster.local",
            "clusterDNS": [address],
            "resolvConf": "",
            "podLogsDir": self.dir.join("pods"),
            "volumePluginDir": self.dir.join("volumeplugins"),
            "syncFrequency": self.sync_frequency,
            "containerLogMaxSize": self.max_log_size,
            "failSwapOn": false,
            // Images can't be pulled again: there is no registry.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
                "nodefs.inodesFree": "1%",
            },
        });
        let config = self.write("kubelet.yaml", &config.to_string())?;
        let user = format!("system:node:{}", self.name);
        let kubeconfig = self.kubeconfig(cluster, "kubelet", &user, Some("system:nodes"))?;
        let mut kubelet = Command::new(self.programs.kubernetes.join("kubelet"));
        kubelet.env("PATH", programs::path());
        kubelet.arg("--config").arg(config).arg("--kubeconfig").arg(kubeconfig);
        kubelet.arg("--root-dir").arg(self.dir.join("kubelet"));
        kubelet.args(["--hostname-override", &self.name, "--node-ip", &address]);
        Ok(kubelet)
    }

    pub(crate) fn kube_proxy(&self, cluster: &Cluster) -> anyhow::Result<Command> {
        let kubeconfig = self.kubeconfig(cluster, "kube-proxy", "system:kube-proxy", None)?;
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": { "kubeconfig": kubeconfig },
            "clusterCIDR": PODS,
            "hostnameOverride": self.name,
            "bindAddress": self.address.to_string(),
            "nodePortAddresses": [format!("{}/32", self.address)],
            // 0: don't change these, which are settings of the whole machine.
            "conntrack": { "maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
            "iptables": { "minSyncPeriod": "100ms" },
        });
        let config = self.write("kube-proxy.yaml", &config.to_string())?;
        let mut proxy = Command::new(self.programs.kubernetes.join("kube-proxy"));
        proxy.env("PATH", programs::path());
        proxy.arg("--config").arg(config);
        Ok(proxy)
    }

    pub(crate) fn scheduler(&self, cluster: &Cluster) -> anyhow::Result<Command> {
        scheduler(self.programs, &self.dir, cluster)
    }

    pub(crate) fn coredns(&self, cluster: &Cluster) -> anyhow::Result<Command> {
        let kubeconfig = self.kubeconfig(cluster, "coredns", "coredns", None)?;
        let corefile = format!(
            ".:53 {{\n    errors\n    kubernetes cluster.local {{\n        kubeconfig {}\n    }}\n}}\n",
            kubeconfig.display()
        );
        let corefile = self.write("Corefile", &corefile)?;
        let mut coredns = Command::new(self.programs.coredns.join("coredns"));
        coredns.arg("-conf").arg(corefile);
        Ok(coredns)
    }

    /// Allows CoreDNS to read Services and other objects.
    pub(crate) fn coredns_role_binding() -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": "coredns" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "coredns" }],
        })
    }

    fn kubeconfig(
        &self,
        cluster: &Cluster,
        file: &str,
        user: &str,
        group: Option<&str>,
    ) -> anyhow::Result<PathBuf> {
        write_kubeconfig(&self.dir, cluster, file, user, group)
    }

    fn write(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// The scheduler of a cluster. Its kubeconfig is in `dir`.
pub(crate) fn scheduler(programs: &Programs, dir: &Path, cluster: &Cluster) -> anyhow::Result<Command> {
    let kubeconfig = write_kubeconfig(dir, cluster, "kube-scheduler", "system:kube-scheduler", None)?;
    let mut scheduler = Command::new(programs.kubernetes.join("kube-scheduler"));
    for flag in ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
        scheduler.arg(flag).arg(&kubeconfig);
    }
    scheduler.args(["--secure-port=0", "--leader-elect=false"]);
    Ok(scheduler)
}

fn write_kubeconfig(
    dir: &Path,
    cluster: &Cluster,
    file: &str,
    user: &str,
    group: Option<&str>,
) -> anyhow::Result<PathBuf> {
    let identity = cluster.pki.client(user, group)?;
    let path = dir.join(format!("{file}.kubeconfig"));
    let value = kubeconfig::kubeconfig(cluster.name(), &cluster.server(), cluster.ca_pem(), &identity)?;
    kubeconfig::write(&value, &path)?;
    Ok(path)
}

/// A command of ctr, containerd's client.
pub(crate) fn ctr(folder: &Path, args: &[&str]) -> Command {
    let mut ctr = Command::new(folder.join("ctr"));
    ctr.args(["--address", SOCKET, "--namespace", "k8s.io"]).args(args);
    ctr
}
