//! A service of a test's own: database, manual clock, real listener on a free port. The database is that of
//! `PURSER_IT_DATABASE`; on a server several services may share one.
//!
//! The client writes requests byte by byte, so that a test can also send what no library would.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::databases::Kind;
use purser_app::App;
use purser_app::boot::Settings;
use purser_app::boot::database::ScratchDatabase;
use purser_app::caller::Scope;
use purser_app::clock::{Clock, ManualClock, SystemRandom};
use purser_app::usecase::api_key;
use purser_core::Timestamp;
use purser_core::time::SECOND;
use purser_server::http;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// 2026-01-01T00:00:00Z, where every test's clock starts.
const START: Timestamp = Timestamp(1_767_225_600 * SECOND);

/// Where services keep their ledger; gone with the last of them.
#[derive(Clone)]
pub(crate) enum Home {
    Folder(Arc<TempDir>),
    Server(Arc<ScratchDatabase>),
}

impl Home {
    pub(crate) fn new(kind: Kind) -> Home {
        match kind {
            Kind::Sqlite => Home::Folder(Arc::new(tempfile::tempdir().expect("a folder"))),
            Kind::Postgres | Kind::Mysql => {
                let made = ScratchDatabase::migrated(&kind.server_url());
                Home::Server(Arc::new(made.unwrap_or_else(|error| panic!("{kind:?}: {error}"))))
            }
        }
    }

    /// The file of an embedded database.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Home::Folder(folder) => folder.path().join("purser.db"),
            Home::Server(database) => panic!("{} has no file", database.url()),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Home::Folder(_) => format!("sqlite:{}", self.path().display()),
            Home::Server(database) => database.url().to_owned(),
        }
    }

    /// Settings for a node there; nodes of a server share a secret.
    pub(crate) fn settings(&self) -> Settings {
        let secret_keys = match self {
            Home::Folder(_) => Vec::new(),
            Home::Server(_) => vec!["5e".repeat(32)],
        };
        Settings { secret_keys, ..Settings::new(self.url()) }
    }
}

/// A running service.
pub(crate) struct Server {
    pub(crate) app: App,
    /// The clock, if it is one that the test sets.
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
    keys: Arc<AtomicU64>,
    pub(crate) home: Home,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body, after checking the status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// Checks that it is a problem document with this status and code, complete and consistent.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let document = self.expect(status);
        assert_eq!(document["code"], code, "{document}");
        assert_eq!(document["status"], status);
        assert_eq!(document["type"], format!("urn:purser:problem:{code}"));
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(document["request_id"].as_str(), self.header("x-request-id"));
        document
    }

    /// Checks that one field is named as not acceptable.
    #[track_caller]
    pub(crate) fn invalid(&self, pointer: &str, code: &str) {
        let document = self.problem(422, "invalid_request");
        let errors = document["errors"].as_array().expect("errors are listed");
        let found = errors.iter().any(|error| error["pointer"] == pointer && error["code"] == code);
        assert!(found, "{pointer} {code} is not in {document}");
    }
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Server {
        let home = Home::new(Kind::from_environment("PURSER_IT_DATABASE"));
        let mut settings = home.settings();
        change(&mut settings);
        Server::start_on(home, settings).await
    }

    /// A first service there, with a key of its own.
    pub(crate) async fn start_on(home: Home, settings: Settings) -> Server {
        let clock = Arc::new(ManualClock::at(START));
        let mut server = Server::run(home, settings, clock.clone()).await;
        server.clock = clock;
        server.key = api_key::create(&server.app, "tests", Scope::Write, None).await.expect("a key");
        server
    }

    /// Another service on the same database, with a clock of its own and the same key.
    pub(crate) async fn beside(&self) -> Server {
        self.beside_with(self.home.settings()).await
    }

    /// The same with these settings.
    pub(crate) async fn beside_with(&self, settings: Settings) -> Server {
        let clock = Arc::new(ManualClock::at(START));
        let mut server = Server::run(self.home.clone(), settings, clock.clone()).await;
        (server.clock, server.key, server.keys) = (clock, self.key.clone(), self.keys.clone());
        server
    }

    /// A service without a key, on any clock.
    pub(crate) async fn run(home: Home, settings: Settings, clock: Arc<dyn Clock>) -> Server {
        let app = App::open_with(settings, clock, Arc::new(SystemRandom::default())).await;
        let app = app.expect("the database opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(http::serve(app.clone(), listener, 1_000, async {
            // Dropped or sent: either way the test is over.
            let _ = stopped.await;
        }));
        let (stop, serving, keys) = (Some(stop), Some(serving), Arc::default());
        let (clock, key) = (Arc::new(ManualClock::at(START)), String::new());
        Server { app, clock, address, key, stop, serving, keys, home }
    }

    /// Stops it as `purser serve` does on a signal.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        self.serving.take().expect("stopped once").await.expect("no panic");
        self.app.shutdown().await;
    }

    /// A service with a flat price of 5 for `scan`, and 100 credits for the user `ann`.
    pub(crate) async fn with_scan() -> Server {
        let server = Server::start().await;
        server.action("scan", json!({"model": "flat", "amount": "5"})).await;
        server.grant("ann", "100").await;
        server
    }

    pub(crate) async fn action(&self, key: &str, price: Value) {
        self.post("/v1/actions", json!({"key": key, "name": key, "price": price})).await.expect(201);
    }

    pub(crate) async fn grant(&self, user: &str, amount: &str) -> Value {
        let body = json!({"user": user, "amount": amount, "kind": "promotional", "reason": "a test"});
        self.post("/v1/grants", body).await.expect(201)
    }

    pub(crate) fn fresh_key(&self) -> String {
        format!("test-{}", self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// POST with a fresh idempotency key.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_as(path, body, &self.fresh_key()).await
    }

    pub(crate) async fn post_as(&self, path: &str, body: Value, key: &str) -> Answer {
        self.send("POST", path, &[("Idempotency-Key", key)], &body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// Sends with the server's key; JSON where there is a body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let authorization = format!("Bearer {}", self.key);
        let mut all = vec![("Authorization", authorization.as_str())];
        if !body.is_empty() {
            all.push(("Content-Type", "application/json"));
        }
        all.extend(headers);
        self.raw(method, path, &all, body.as_bytes()).await
    }

    /// Sends exactly these headers, beside those that HTTP needs.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.exchange(&bytes).await
    }

    /// Posts a debit with this head and these bytes after it.
    pub(crate) async fn bytes(&self, head: &str, body: &[u8]) -> Answer {
        let mut bytes =
            format!("POST /v1/debits HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{head}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.exchange(&bytes).await
    }

    async fn exchange(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(bytes).await.expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it answers");
        parse(&answer)
    }
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
        .collect();
    Answer { status, headers, text: body.to_string() }
}
