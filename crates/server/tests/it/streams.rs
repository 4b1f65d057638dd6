//! Live balances: what is told at once, what later, to whom, and when it ends.

use crate::server::Server;
use purser_app::caller::Scope;
use purser_app::usecase::api_key;
use purser_core::time::SECOND;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// A client of a stream, which reads the body chunk by chunk.
struct Listener {
    stream: TcpStream,
    head: String,
    read: Vec<u8>,
    text: String,
}

/// An event as it came.
#[derive(Debug, PartialEq)]
struct Event {
    id: u64,
    kind: String,
    data: Value,
}

impl Listener {
    /// Opens a stream, which must be taken.
    async fn open(server: &Server, wallet: &str, key: &str) -> Listener {
        Listener::open_at(server.address, wallet, key).await
    }

    async fn open_at(address: SocketAddr, wallet: &str, key: &str) -> Listener {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!(
            "GET /v1/wallets/{wallet}/stream HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let (head, text) = (String::new(), String::new());
        let mut listener = Listener { stream, head, read: Vec::new(), text };
        while !listener.read.windows(4).any(|end| end == b"\r\n\r\n") {
            listener.receive().await.expect("a head");
        }
        let end = listener.read.windows(4).position(|end| end == b"\r\n\r\n").expect("just found") + 4;
        listener.head = String::from_utf8(listener.read.drain(..end).collect()).expect("text");
        assert!(listener.head.starts_with("HTTP/1.1 200"), "{}", listener.head);
        listener
    }

    /// Reads some more; none at the end of the connection.
    async fn receive(&mut self) -> Option<()> {
        let mut buffer = [0; 4_096];
        let read = timeout(LONG, self.stream.read(&mut buffer)).await.expect("something comes");
        let read = read.ok().filter(|read| *read > 0)?;
        self.read.extend_from_slice(&buffer[..read]);
        Some(())
    }

    /// Takes the next chunk off what was read; none when the body ended.
    async fn chunk(&mut self) -> Option<String> {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if let Some((size, rest)) = text.split_once("\r\n") {
                let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
                if rest.len() >= size + 2 {
                    self.read.drain(..text.len() - rest.len() + size + 2);
                    return (size > 0).then(|| rest[..size].to_string());
                }
            }
            self.receive().await?;
        }
    }

    /// The next event; none when the stream ended as it should.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.clone().split_once("\n\n") {
                self.text = rest.to_string();
                if event.starts_with(':') {
                    continue;
                }
                let of = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_else(|| panic!("no {name} in {event}")).to_string()
                };
                let id = of("id").parse().expect("a number");
                let data = serde_json::from_str(&of("data")).expect("JSON");
                return Some(Event { id, kind: of("event"), data });
            }
            let chunk = self.chunk().await?;
            self.text.push_str(&chunk);
        }
    }

    /// The next event, which must come, with what can be spent then.
    async fn balance(&mut self) -> (u64, String) {
        let event = self.next().await.expect("an event");
        assert_eq!(event.kind, "balance");
        (event.id, event.data["balance"]["available"].as_str().expect("text").to_string())
    }
}

async fn wallet_of_ann(server: &Server) -> String {
    let balance = server.get("/v1/balance?user=ann").await.expect(200);
    balance["wallets"][0]["wallet_id"].as_str().expect("an id").to_string()
}

#[tokio::test]
async fn the_present_balance_comes_first_and_then_every_change() {
    let server = Server::with_scan().await;
    let wallet = wallet_of_ann(&server).await;
    let mut listener = Listener::open(&server, &wallet, &server.key).await;
    let head = listener.head.to_ascii_lowercase();
    for line in ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"] {
        assert!(head.contains(line), "{head}");
    }
    let first = listener.next().await.expect("an event");
    let read = server.get(&format!("/v1/wallets/{wallet}")).await.expect(200);
    assert_eq!((first.id, first.kind.as_str()), (1, "balance"));
    let told = json!({
        "wallet_id": wallet, "unit": "credit", "balance": read["balance"], "as_of": "2026-01-01T00:00:00Z",
    });
    assert_eq!(first.data, told);
    let debit = json!({"user": "ann", "action": "scan"});
    let made = server.post("/v1/debits", debit.clone()).await.expect(201);
    let second = listener.next().await.expect("an event");
    assert_eq!((second.id, &second.data["balance"]), (2, &made["balance"]));
    server.post("/v1/holds", debit).await.expect(201);
    let third = listener.next().await.expect("an event");
    assert_eq!((third.id, &third.data["balance"]["held"]), (3, &json!("5")));
    assert_eq!(third.data["balance"]["settled"], "95");
}

#[tokio::test]
async fn a_change_is_told_soon_and_many_as_one() {
    let server = Server::with_scan().await;
    let wallet = wallet_of_ann(&server).await;
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(Listener::open(&server, &wallet, &server.key).await);
    }
    for listener in &mut listeners {
        assert_eq!(listener.balance().await, (1, "100".to_string()));
    }
    let started = Instant::now();
    for _ in 0..20 {
        server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201);
    }
    for listener in &mut listeners {
        let mut events = 1;
        let (mut id, mut left) = listener.balance().await;
        while id < 21 {
            let (next, after) = listener.balance().await;
            assert!(next > id, "{next} after {id}");
            (id, left, events) = (next, after, events + 1);
        }
        assert_eq!(left, "0");
        // Ten a second, one at once, and one at the end.
        let most = started.elapsed().as_millis() / 100 + 2;
        assert!(events <= most, "{events} events in {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_balance_that_changes_by_itself_is_told_without_anybody_saying_so() {
    let server = Server::start().await;
    let grant = json!({"user": "ann", "amount": "7", "kind": "promotional", "reason": "a test",
        "expires_at": "2026-01-01T01:00:00Z"});
    server.post("/v1/grants", grant).await.expect(201);
    let wallet = wallet_of_ann(&server).await;
    let mut listener = Listener::open(&server, &wallet, &server.key).await;
    assert_eq!(listener.balance().await, (1, "7".to_string()));
    // No entry is written and nobody is woken: only looking finds it.
    server.clock.advance(3_600 * SECOND);
    assert_eq!(listener.balance().await, (1, "0".to_string()));
}

#[tokio::test]
async fn only_who_may_read_the_wallet_hears_of_it() {
    let server = Server::with_scan().await;
    let wallet = wallet_of_ann(&server).await;
    let path = format!("/v1/wallets/{wallet}/stream");
    let with = |key: String| {
        let (server, path) = (&server, path.clone());
        async move { server.raw("GET", &path, &[("Authorization", &format!("Bearer {key}"))], b"").await }
    };
    server.raw("GET", &path, &[], b"").await.problem(401, "unauthenticated");
    let tenant = api_key::create(&server.app, "acme", Scope::Write, Some("acme")).await.expect("a key");
    with(tenant).await.problem(404, "wallet_not_found");
    server.get("/v1/wallets/wal_0/stream").await.problem(404, "wallet_not_found");
    server.get(&format!("{path}?since=1")).await.problem(422, "invalid_request");
    let reading = api_key::create(&server.app, "reader", Scope::Read, None).await.expect("a key");
    assert_eq!(Listener::open(&server, &wallet, &reading).await.balance().await.1, "100");
}

#[tokio::test]
async fn a_revoked_key_hears_nothing_more() {
    let server = Server::with_scan().await;
    let wallet = wallet_of_ann(&server).await;
    let reading = api_key::create(&server.app, "reader", Scope::Read, None).await.expect("a key");
    let (mut revoked, mut other) = (
        Listener::open(&server, &wallet, &reading).await,
        Listener::open(&server, &wallet, &server.key).await,
    );
    assert_eq!((revoked.balance().await.0, other.balance().await.0), (1, 1));
    api_key::revoke(&server.app, &reading[..16]).await.expect("revoked");
    server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201);
    assert_eq!(other.balance().await, (2, "95".to_string()));
    assert_eq!(revoked.next().await, None, "the stream ends");
}

#[tokio::test]
async fn streams_are_bounded_and_a_place_is_free_again_once_its_client_is_gone() {
    let server = Server::start_with(|settings| settings.streams_max = 2).await;
    server.grant("ann", "100").await;
    let wallet = wallet_of_ann(&server).await;
    let path = format!("/v1/wallets/{wallet}/stream");
    let (mut first, mut second) = (
        Listener::open(&server, &wallet, &server.key).await,
        Listener::open(&server, &wallet, &server.key).await,
    );
    assert_eq!((first.balance().await.0, second.balance().await.0), (1, 1));
    let refused = server.get(&path).await;
    refused.problem(503, "too_many_streams");
    assert_eq!(refused.header("retry-after"), Some("5"));
    // Other calls are not concerned, and the one that stays goes on.
    drop(first);
    let again = async {
        while server.send("HEAD", &path, &[], "").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, again).await.expect("the server notices that the client is gone");
    server.grant("ann", "1").await;
    assert_eq!(second.balance().await, (2, "101".to_string()));
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let mut server = Server::with_scan().await;
    let wallet = wallet_of_ann(&server).await;
    let mut listener = Listener::open(&server, &wallet, &server.key).await;
    assert_eq!(listener.balance().await.0, 1);
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < LONG, "it did not wait for the stream");
    // The body ended: a chunk of size 0, and not just a broken connection.
    assert_eq!(listener.next().await, None);
    assert!(listener.read.is_empty(), "{:?}", String::from_utf8_lossy(&listener.read));
}
