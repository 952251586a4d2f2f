//! A TCP proxy that simulates network failures.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How a [`Proxy`] handles connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Forwards all data.
    Pass,
    /// Resets existing connections, and accepts and resets new ones.
    Refuse,
    /// Accepts connections, and forwards nothing until the fault ends. Data that arrives meanwhile is not lost.
    Hang,
    /// Resets existing connections once, then behaves like `Pass`.
    Cut,
    /// Delays each chunk, in both directions.
    Delay(Duration),
}

/// A TCP proxy. When this value is dropped, its port and all connections are closed.
///
/// It runs in the async runtime that it was started in.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    route: watch::Sender<Route>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// How to forward the next chunk.
#[derive(Clone, Copy, Debug)]
struct Route {
    target: SocketAddr,
    fault: Fault,
    /// Incremented to reset all existing connections.
    epoch: u64,
    /// Connections with a smaller number are frozen.
    first_live: usize,
}

impl Proxy {
    /// Starts a proxy to `target` on loopback.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, target).await
    }

    /// Starts a proxy to `target` on an address of this machine.
    pub async fn start_at(address: Ipv4Addr, target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await.context("binding a port for a proxy")?;
        let address = listener.local_addr()?;
        let (route, routes) = watch::channel(Route { target, fault: Fault::Pass, epoch: 0, first_live: 0 });
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, routes, accepted.clone()));
        Ok(Self { address, route, accepted, task })
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The proxy's address, `https://<address>:<port>`, for which clusters' certificates are valid.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many connections the proxy has accepted, including those that it reset.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Sets the fault for existing and new connections.
    pub fn set(&self, fault: Fault) {
        self.route.send_modify(|route| {
            route.epoch += u64::from(matches!(fault, Fault::Refuse | Fault::Cut));
            route.fault = if fault == Fault::Cut { Fault::Pass } else { fault };
        });
    }

    /// Freezes existing connections: they forward nothing and never close, as if a firewall had dropped their state.
    /// New connections are not affected.
    pub fn freeze_connections(&self) {
        self.route.send_modify(|route| route.first_live = self.connections());
    }

    /// Forwards new connections to another target, as a Service does. Existing connections stay.
    pub fn redirect_new_connections(&self, target: SocketAddr) {
        self.route.send_modify(|route| route.target = target);
    }

    /// Forwards to another target, and resets existing connections.
    pub fn replace_target(&self, target: SocketAddr) {
        self.route.send_modify(|route| {
            route.epoch += 1;
            route.target = target;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Identifies a connection.
#[derive(Clone, Copy, Debug)]
struct ConnectionId {
    number: usize,
    epoch: u64,
}

async fn accept(listener: TcpListener, routes: watch::Receiver<Route>, accepted: Arc<AtomicUsize>) {
    // Owns the connections, so that they close when this task ends.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            connection = listener.accept() => {
                let Ok((client, _)) = connection else { continue };
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(client, number, routes.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves a connection until it closes or fails.
async fn serve(mut client: TcpStream, number: usize, mut routes: watch::Receiver<Route>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let Route { epoch, fault, .. } = *routes.borrow();
    let id = ConnectionId { number, epoch };
    if fault == Fault::Refuse {
        return client.set_zero_linger();
    }
    let Some(route) = forwarding(&mut routes, id).await else { return client.set_zero_linger() };
    let ended = forward(&mut client, route.target, &routes, id).await;
    if routes.borrow().epoch != epoch || ended.is_err() {
        // Without lingering, closing the socket resets the connection.
        client.set_zero_linger()?;
    }
    ended
}

async fn forward(
    client: &mut TcpStream,
    target: SocketAddr,
    routes: &watch::Receiver<Route>,
    id: ConnectionId,
) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut changes = routes.clone();
    tokio::select! {
        both = async {
            tokio::try_join!(
                pump(from_client, to_server, routes.clone(), id),
                pump(from_server, to_client, routes.clone(), id),
            )
        } => both.map(drop),
        _ = changes.wait_for(|route| route.epoch != id.epoch) => Ok(()),
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut routes: watch::Receiver<Route>,
    id: ConnectionId,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        let Some(route) = forwarding(&mut routes, id).await else {
            return Err(io::ErrorKind::ConnectionReset.into());
        };
        if length == 0 {
            return to.shutdown().await;
        }
        if let Fault::Delay(wait) = route.fault {
            tokio::time::sleep(wait).await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

/// Waits until data may be forwarded. `None`: the connection must be reset.
async fn forwarding(routes: &mut watch::Receiver<Route>, id: ConnectionId) -> Option<Route> {
    let forwards = |route: &Route| route.fault != Fault::Hang && id.number >= route.first_live;
    let route = *routes.wait_for(|route| route.epoch != id.epoch || forwards(route)).await.ok()?;
    (route.epoch == id.epoch).then_some(route)
}
