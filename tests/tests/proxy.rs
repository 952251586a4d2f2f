//! Each fault of `Proxy`, in front of an echo server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mcsa_tests::{Cluster, Fault, Proxy, kubectl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Longer than a response on loopback takes, and short enough to wait for one that must not arrive.
const MOMENT: Duration = Duration::from_millis(300);

/// Starts a server that replies to each byte with that byte plus `offset`.
async fn server(offset: u8) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(byte) = stream.read_u8().await {
                    if stream.write_u8(byte + offset).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(address)
}

async fn connect(proxy: &Proxy) -> anyhow::Result<TcpStream> {
    Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await?)
}

async fn send(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    stream.write_u8(byte).await?;
    stream.read_u8().await
}

#[tokio::test]
async fn pass_forwards_and_counts_connections() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    assert_eq!(send(&mut connect(&proxy).await?, 1).await?, 2);
    assert_eq!(send(&mut connect(&proxy).await?, 5).await?, 6);
    assert_eq!(proxy.connections(), 2);
    Ok(())
}

#[tokio::test]
async fn refuse_resets_existing_and_new_connections() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut old = connect(&proxy).await?;
    send(&mut old, 1).await?;
    proxy.set(Fault::Refuse);
    assert!(send(&mut old, 1).await.is_err());
    // The reset may arrive before or after the client is connected.
    if let Ok(mut new) = connect(&proxy).await {
        assert!(send(&mut new, 1).await.is_err());
    }
    proxy.set(Fault::Pass);
    assert_eq!(send(&mut connect(&proxy).await?, 1).await?, 2);
    Ok(())
}

#[tokio::test]
async fn hang_delays_data_until_the_fault_ends() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut old = connect(&proxy).await?;
    send(&mut old, 1).await?;
    proxy.set(Fault::Hang);
    let mut new = connect(&proxy).await?;
    for stream in [&mut old, &mut new] {
        assert!(timeout(MOMENT, send(stream, 7)).await.is_err(), "a response arrived");
    }
    proxy.set(Fault::Pass);
    assert_eq!(old.read_u8().await?, 8);
    assert_eq!(new.read_u8().await?, 8);
    Ok(())
}

#[tokio::test]
async fn cut_resets_existing_connections_once() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut old = connect(&proxy).await?;
    send(&mut old, 1).await?;
    proxy.set(Fault::Cut);
    assert!(send(&mut old, 1).await.is_err());
    assert_eq!(send(&mut connect(&proxy).await?, 1).await?, 2);
    Ok(())
}

#[tokio::test]
async fn delay_applies_in_both_directions() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut stream = connect(&proxy).await?;
    proxy.set(Fault::Delay(MOMENT));
    let start = Instant::now();
    assert_eq!(send(&mut stream, 1).await?, 2);
    assert!(start.elapsed() >= 2 * MOMENT, "the round trip took {:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn replaced_target_serves_the_same_address() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut old = connect(&proxy).await?;
    send(&mut old, 1).await?;
    proxy.replace_target(server(2).await?);
    assert!(send(&mut old, 1).await.is_err());
    assert_eq!(send(&mut connect(&proxy).await?, 1).await?, 3);
    Ok(())
}

#[tokio::test]
async fn dropped_proxy_closes_port_and_connections() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let port = proxy.port();
    let mut old = connect(&proxy).await?;
    send(&mut old, 1).await?;
    drop(proxy);
    assert!(send(&mut old, 1).await.is_err());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
    Ok(())
}

#[tokio::test]
async fn cluster_is_reachable_through_a_proxy() -> anyhow::Result<()> {
    let cluster = Cluster::start("c6").await?;
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port()))).await?;
    let server = format!("--server={}", proxy.url());
    let ready = kubectl(cluster.kubeconfig(), ["get", "--raw=/readyz", &server]).await?;
    assert_eq!(ready, "ok");
    assert!(proxy.connections() > 0);
    Ok(())
}
