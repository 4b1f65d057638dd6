//! Redis killed, restarted, flushed and paused under load: no debit fails, none waits for it, and every stream ends up right.
//!
//! The real program with a Redis of the test's own, since it is killed. `redis-server` must be installed, which
//! `cargo xtask test` sees to; without it the test fails, because a test that did not run proves nothing.
#![allow(clippy::disallowed_methods, reason = "how long something takes is what these tests measure")]

#[path = "crash/client.rs"]
mod client;
#[path = "crash/server.rs"]
#[allow(dead_code, reason = "other tests kill the server, this one stops it")]
mod server;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::Client;
use serde_json::Value;
use server::Server;

const CLIENTS: usize = 8;
const STREAMS: usize = 4;
/// Debits between two things that happen to Redis.
const STEP: usize = 400;
/// No debit takes longer, whatever happens to Redis. What waits for Redis waits for seconds, or for ever; what a busy
/// machine does to a commit stays far below.
const BOUND: Duration = Duration::from_millis(500);
/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A Redis of our own. Killed when dropped.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start(folder: &Path, port: u16) -> Redis {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!(
                "redis-server: {error}; run `cargo xtask test` or `cargo xtask services`, which install it"
            )
        });
        let redis = Redis { child, port };
        let started = Instant::now();
        while redis.ask("PING").is_err() {
            assert!(started.elapsed() < LONG, "redis-server does not answer");
            std::thread::yield_now();
        }
        redis
    }

    fn ask(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(LONG))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the clients and streams of the load share.
struct Load {
    address: SocketAddr,
    key: String,
    made: AtomicUsize,
    stop: AtomicBool,
    /// For each debit when it was sent, since the load began, and how long it took.
    took: Mutex<Vec<(Duration, Duration)>>,
    started: Instant,
}

impl Load {
    /// Debits without a pause until told to stop.
    fn debit(&self, number: usize) {
        let mut client = Client::connect(self.address, &self.key).expect("the server listens");
        for step in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let body = format!(r#"{{"user":"u{}","action":"scan"}}"#, number % STREAMS);
            let sent = self.started.elapsed();
            let answer = client.post("/v1/debits", &format!("c{number}-{step}"), &body).expect("an answer");
            assert!(answer.status == 201 && !answer.replayed, "{answer:?}");
            self.took.lock().expect("no panic").push((sent, self.started.elapsed() - sent));
            self.made.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for some more debits.
    fn some_more(&self) {
        let enough = self.made.load(Ordering::Relaxed) + STEP;
        let started = Instant::now();
        while self.made.load(Ordering::Relaxed) < enough {
            assert!(started.elapsed() < LONG, "the debits stand still");
            std::thread::yield_now();
        }
    }

    /// Waits until the server says this of Redis. It is ready all the while.
    fn until(&self, word: &str) {
        let mut client = Client::connect(self.address, &self.key).expect("the server listens");
        let started = Instant::now();
        loop {
            let answer = client.get("/readyz").expect("an answer");
            assert_eq!(answer.status, 200, "{answer:?}");
            let checks = answer.body["checks"].as_array().expect("a list");
            let redis = checks.iter().find(|check| check["name"] == "redis").expect("it is noted");
            assert_eq!(redis["ok"], true, "it is a note");
            if redis["detail"].as_str().expect("text").starts_with(word) {
                return;
            }
            assert!(started.elapsed() < LONG, "{redis} never says {word}");
            std::thread::yield_now();
        }
    }

    /// The longest and the middle one of what was sent in this time.
    fn figures(&self, from: Duration, to: Duration) -> (Duration, Duration, usize) {
        let took = self.took.lock().expect("no panic");
        let mut took: Vec<Duration> =
            took.iter().filter(|(sent, _)| (from..to).contains(sent)).map(|(_, took)| *took).collect();
        took.sort_unstable();
        (
            took.last().copied().unwrap_or_default(),
            took.get(took.len() / 2).copied().unwrap_or_default(),
            took.len(),
        )
    }
}

/// A stream, and what it told last.
#[derive(Default)]
struct Told {
    settled: Mutex<String>,
    events: AtomicUsize,
}

/// Reads a stream to its end, which must be in order.
fn listen(address: SocketAddr, key: &str, wallet: &str, told: &Told) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(LONG)).expect("a socket");
    let request = format!(
        "GET /v1/wallets/{wallet}/stream HTTP/1.1\r\nHost: purser\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut last = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.expect("the stream does not break");
        if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).expect("JSON");
            let settled = data["balance"]["settled"].as_str().expect("text");
            *told.settled.lock().expect("no panic") = settled.to_string();
            told.events.fetch_add(1, Ordering::Relaxed);
        }
        if !line.is_empty() {
            last = line;
        }
    }
    assert_eq!(last, "0", "the last chunk says that it is the last");
}

/// Waits until every stream told what is left of its wallet.
fn until_told(load: &Load, wallets: &[String], told: &[Told]) {
    let left = balances(load, wallets);
    let started = Instant::now();
    for (told, left) in told.iter().zip(&left) {
        while *told.settled.lock().expect("no panic") != *left {
            assert!(started.elapsed() < LONG, "the stream does not tell {left}");
            std::thread::yield_now();
        }
    }
    let events: usize = told.iter().map(|told| told.events.load(Ordering::Relaxed)).sum();
    println!("figure: {events} events on {} streams in {:?}", told.len(), load.started.elapsed());
}

#[test]
fn redis_killed_restarted_flushed_and_paused_fails_and_delays_no_debit() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let settings = format!(
        "redis_url = \"redis://127.0.0.1:{port}/\"\nrate_limit_per_second = 1000000\nrate_limit_burst = 1000000\n"
    );
    std::fs::write(folder.path().join("purser.toml"), settings).expect("written");
    let redis = Redis::start(folder.path(), port);
    let key = server::key(folder.path());
    let running = Server::start(folder.path());
    let wallets = set_up(&running, &key);
    let load = Load {
        address: running.address,
        key,
        made: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        took: Mutex::default(),
        started: Instant::now(),
    };
    let told: [Told; STREAMS] = Default::default();
    std::thread::scope(|scope| {
        let load = &load;
        for (wallet, told) in wallets.iter().zip(&told) {
            scope.spawn(move || listen(load.address, &load.key, wallet, told));
        }
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || load.debit(number))).collect();
        let phases = torment(load, redis, folder.path());
        load.stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("every debit was made"));
        report(load, &phases);
        until_told(load, &wallets, &told);
        running.stop();
    });
    assert_eq!(server::verify(folder.path()), (STREAMS + load.made.into_inner()) as u64);
}

/// Does to Redis what may happen to it. When each thing began.
fn torment(load: &Load, redis: Redis, folder: &Path) -> Vec<(&'static str, Duration)> {
    let mut phases = Vec::new();
    let mut begin = |what| phases.push((what, load.started.elapsed()));
    begin("shared");
    load.until("shares");
    load.some_more();
    begin("flushed");
    assert_eq!(redis.ask("FLUSHALL").expect("it answers"), "+OK\r\n");
    assert_eq!(redis.ask("SCRIPT FLUSH").expect("it answers"), "+OK\r\n");
    load.some_more();
    begin("paused");
    redis.signal("-STOP");
    load.until("away");
    load.some_more();
    begin("goes on");
    redis.signal("-CONT");
    load.until("shares");
    load.some_more();
    begin("killed");
    let port = redis.port;
    drop(redis);
    load.until("away");
    load.some_more();
    begin("restarted");
    let redis = Redis::start(folder, port);
    load.until("shares");
    load.some_more();
    begin("killed and restarted at once");
    drop(redis);
    let redis = Redis::start(folder, port);
    load.some_more();
    load.until("shares");
    begin("the end");
    drop(redis);
    phases
}

/// Prints what the debits of each phase took, and checks that none was delayed.
fn report(load: &Load, phases: &[(&str, Duration)]) {
    for pair in phases.windows(2) {
        let (longest, middle, count) = load.figures(pair[0].1, pair[1].1);
        println!("figure: {}: {count} debits, median {middle:?}, longest {longest:?}", pair[0].0);
        assert!(longest < BOUND, "{}: a debit took {longest:?}", pair[0].0);
    }
}

/// A flat price, and credits for a user of each stream; the wallets.
fn set_up(running: &Server, key: &str) -> Vec<String> {
    let mut client = Client::connect(running.address, key).expect("the server listens");
    let action = r#"{"key":"scan","name":"Scan","price":{"model":"flat","amount":"1"}}"#;
    assert_eq!(client.post("/v1/actions", "unused", action).expect("an answer").status, 201);
    let grant = |user| {
        let body =
            format!(r#"{{"user":"u{user}","amount":"1000000","kind":"promotional","reason":"a test"}}"#);
        let answer = client.post("/v1/grants", &format!("grant-{user}"), &body).expect("an answer");
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.text("/wallet_id").to_string()
    };
    (0..STREAMS).map(grant).collect()
}

fn balances(load: &Load, wallets: &[String]) -> Vec<String> {
    let mut client = Client::connect(load.address, &load.key).expect("the server listens");
    let read = |wallet: &String| {
        let answer = client.get(&format!("/v1/wallets/{wallet}")).expect("an answer");
        answer.text("/balance/settled").to_string()
    };
    wallets.iter().map(read).collect()
}
