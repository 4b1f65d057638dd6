//! The network between a node and Redis: it passes everything on, stalls, or is cut.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Network {
    /// It passes everything on.
    Sound,
    /// It takes everything and passes nothing on.
    Stalled,
    /// Connections end, and new ones do, too.
    Cut,
}

/// A way to Redis that can be bad. Ends with the test's runtime.
pub(crate) struct Proxy {
    /// Where to find it, instead of Redis.
    pub(crate) url: String,
    network: watch::Sender<Network>,
}

impl Proxy {
    /// A way to the Redis at `url`.
    pub(crate) async fn start(url: &str) -> Proxy {
        let rest = url.strip_prefix("redis://").expect("a plain URL");
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let at = if user.is_empty() { "" } else { "@" };
        let (network, changes) = watch::channel(Network::Sound);
        tokio::spawn(serve(listener, host.to_string(), changes));
        Proxy { url: format!("redis://{user}{at}{address}/{path}"), network }
    }

    /// Changes the network.
    pub(crate) fn turn(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn serve(listener: TcpListener, host: String, network: watch::Receiver<Network>) {
    while let Ok((client, _)) = listener.accept().await {
        let (host, network) = (host.clone(), network.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(&host).await else { return };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let cut = {
                let mut network = network.clone();
                async move { network.wait_for(|network| *network == Network::Cut).await.map(drop) }
            };
            tokio::select! {
                _ = cut => {}
                () = pass(from_client, to_server, network.clone()) => {}
                () = pass(from_server, to_client, network.clone()) => {}
            }
        });
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut network: watch::Receiver<Network>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let sound = network.wait_for(|network| *network == Network::Sound).await.map(drop);
        if sound.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
