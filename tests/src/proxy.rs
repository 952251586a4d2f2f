//! A network between two programs that fails when told to.

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

/// What a [`Proxy`] does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Forwards.
    Pass,
    /// Resets existing connections, and new ones as soon as they are accepted.
    Refuse,
    /// Accepts, and forwards nothing. What arrives is kept, and goes on when the fault ends.
    Hang,
    /// Resets existing connections, once; then it is as `Pass`.
    Cut,
    /// Forwards each chunk, in either direction, after a wait.
    Delay(Duration),
}

/// A TCP proxy on a port of its own. Dropped, it closes its port and all connections.
///
/// It belongs to the async runtime that it was started in.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    route: watch::Sender<Route>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What a connection has to know at each chunk.
#[derive(Clone, Copy, Debug)]
struct Route {
    target: SocketAddr,
    fault: Fault,
    /// Goes up when the connections made so far have to end.
    epoch: u64,
    /// Connections with a smaller number forward nothing any more.
    first_heard: usize,
}

impl Proxy {
    /// Starts a proxy on loopback in front of `target`, passing.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, target).await
    }

    /// Starts a proxy at an address of this machine in front of `target`, passing.
    pub async fn start_at(address: Ipv4Addr, target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await.context("binding a port for a proxy")?;
        let address = listener.local_addr()?;
        let (route, routes) = watch::channel(Route { target, fault: Fault::Pass, epoch: 0, first_heard: 0 });
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, routes, accepted.clone()));
        Ok(Self { address, route, accepted, task })
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The proxy's address, `https://<address>:<port>`; clusters' certificates are valid for it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many connections it has accepted so far, refused ones included.
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// From now on, for existing and new connections.
    pub fn set(&self, fault: Fault) {
        self.route.send_modify(|route| {
            route.epoch += u64::from(matches!(fault, Fault::Refuse | Fault::Cut));
            route.fault = if fault == Fault::Cut { Fault::Pass } else { fault };
        });
    }

    /// Has the connections made so far forward nothing any more, and end never, as when something on
    /// the way has forgotten them. New ones are not concerned.
    pub fn silence(&self) {
        self.route.send_modify(|route| route.first_heard = self.connections());
    }

    /// Leads new connections elsewhere, as a Service does; existing ones stay.
    pub fn lead_to(&self, target: SocketAddr) {
        self.route.send_modify(|route| route.target = target);
    }

    /// Puts something else behind the same address. Existing connections are reset.
    pub fn retarget(&self, target: SocketAddr) {
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

/// A connection: which one it is, and of which epoch.
#[derive(Clone, Copy, Debug)]
struct Which {
    number: usize,
    epoch: u64,
}

async fn accept(listener: TcpListener, routes: watch::Receiver<Route>, accepted: Arc<AtomicUsize>) {
    // Owns the connections, so that they end with this task.
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

/// One connection, from its acceptance to its end. An error ends it, as it would in a real network.
async fn serve(mut client: TcpStream, number: usize, mut routes: watch::Receiver<Route>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let Route { epoch, fault, .. } = *routes.borrow();
    let is = Which { number, epoch };
    if fault == Fault::Refuse {
        return client.set_zero_linger();
    }
    let Some(route) = forwarding(&mut routes, is).await else { return client.set_zero_linger() };
    let ended = forward(&mut client, route.target, &routes, is).await;
    if routes.borrow().epoch != epoch || ended.is_err() {
        // Closed with it set, a socket resets its connection instead of ending it politely.
        client.set_zero_linger()?;
    }
    ended
}

async fn forward(
    client: &mut TcpStream,
    target: SocketAddr,
    routes: &watch::Receiver<Route>,
    is: Which,
) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut changes = routes.clone();
    tokio::select! {
        both = async {
            tokio::try_join!(
                pump(from_client, to_server, routes.clone(), is),
                pump(from_server, to_client, routes.clone(), is),
            )
        } => both.map(drop),
        _ = changes.wait_for(|route| route.epoch != is.epoch) => Ok(()),
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut routes: watch::Receiver<Route>,
    is: Which,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        let Some(route) = forwarding(&mut routes, is).await else {
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

/// Waits until something may be forwarded; none when the connection has to end.
async fn forwarding(routes: &mut watch::Receiver<Route>, is: Which) -> Option<Route> {
    let forwards = |route: &Route| route.fault != Fault::Hang && is.number >= route.first_heard;
    let route = *routes.wait_for(|route| route.epoch != is.epoch || forwards(route)).await.ok()?;
    (route.epoch == is.epoch).then_some(route)
}
