//! Each fault of the proxy, in front of a server that sends back what it gets.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mcsa_tests::{Cluster, Fault, Proxy, kubectl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough for a loopback answer, short enough to wait for one that must not come.
const MOMENT: Duration = Duration::from_millis(300);

/// Answers each byte with that byte plus `offset`.
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

async fn ask(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    stream.write_u8(byte).await?;
    stream.read_u8().await
}

#[tokio::test]
async fn pass_forwards_and_counts() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    assert_eq!(ask(&mut connect(&proxy).await?, 1).await?, 2);
    assert_eq!(ask(&mut connect(&proxy).await?, 5).await?, 6);
    assert_eq!(proxy.connections(), 2);
    Ok(())
}

#[tokio::test]
async fn refuse_resets_old_and_new_connections() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut old = connect(&proxy).await?;
    ask(&mut old, 1).await?;
    proxy.set(Fault::Refuse);
    assert!(ask(&mut old, 1).await.is_err());
    // The reset may come before or after the client knows that it is connected.
    if let Ok(mut new) = connect(&proxy).await {
        assert!(ask(&mut new, 1).await.is_err());
    }
    proxy.set(Fault::Pass);
    assert_eq!(ask(&mut connect(&proxy).await?, 1).await?, 2);
    Ok(())
}

#[tokio::test]
async fn hang_stalls_until_it_passes() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut old = connect(&proxy).await?;
    ask(&mut old, 1).await?;
    proxy.set(Fault::Hang);
    let mut new = connect(&proxy).await?;
    for stream in [&mut old, &mut new] {
        assert!(timeout(MOMENT, ask(stream, 7)).await.is_err(), "an answer came through");
    }
    proxy.set(Fault::Pass);
    assert_eq!(old.read_u8().await?, 8);
    assert_eq!(new.read_u8().await?, 8);
    Ok(())
}

#[tokio::test]
async fn cut_resets_once() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut old = connect(&proxy).await?;
    ask(&mut old, 1).await?;
    proxy.set(Fault::Cut);
    assert!(ask(&mut old, 1).await.is_err());
    assert_eq!(ask(&mut connect(&proxy).await?, 1).await?, 2);
    Ok(())
}

#[tokio::test]
async fn delay_holds_each_chunk() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut stream = connect(&proxy).await?;
    proxy.set(Fault::Delay(MOMENT));
    let start = Instant::now();
    assert_eq!(ask(&mut stream, 1).await?, 2);
    assert!(start.elapsed() >= 2 * MOMENT, "there and back took {:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn another_server_stands_behind_the_same_address() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let mut old = connect(&proxy).await?;
    ask(&mut old, 1).await?;
    proxy.replace_target(server(2).await?);
    assert!(ask(&mut old, 1).await.is_err());
    assert_eq!(ask(&mut connect(&proxy).await?, 1).await?, 3);
    Ok(())
}

#[tokio::test]
async fn dropped_it_closes_everything() -> anyhow::Result<()> {
    let proxy = Proxy::start(server(1).await?).await?;
    let port = proxy.port();
    let mut old = connect(&proxy).await?;
    ask(&mut old, 1).await?;
    drop(proxy);
    assert!(ask(&mut old, 1).await.is_err());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_cluster_answers_through_it() -> anyhow::Result<()> {
    let cluster = Cluster::start("c6").await?;
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port()))).await?;
    let server = format!("--server={}", proxy.url());
    let ready = kubectl(cluster.kubeconfig(), ["get", "--raw=/readyz", &server]).await?;
    assert_eq!(ready, "ok");
    assert!(proxy.connections() > 0);
    Ok(())
}
