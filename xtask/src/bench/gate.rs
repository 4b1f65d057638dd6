//! What the gate adds to a request: one nginx in front of one file, asked with the gate and without it in turn, at the same pace.
//!
//! Every gated answer must have its debit: the ledger is counted afterwards.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Effort;
use super::debits::entries_of;
use crate::guard::{Process, TempFolder};
use crate::load::{Histogram, Load, Outcome, Pace, run};
use crate::server::Server;
use crate::services::free_port;
use crate::test::build_server;
use crate::{http, packages, repo, step};

/// Requests a second, which both ways manage with ease.
const RATE: u64 = 500;
/// Connections over which they are spread.
const CONNECTIONS: usize = 16;
/// Users that ask in turn, each with more credit than it can spend.
const USERS: u64 = 100;
/// How long nginx may take until it listens.
const START_MAX: Duration = Duration::from_secs(20);

/// Measures and prints; writes nothing.
pub(crate) fn command(root: &Path, effort: Effort) -> Result<(), String> {
    let program = build_server(root, &repo::target_folder(root)?, "release")?;
    let purser = Server::start(&program)?;
    let key = prepare(&purser)?;
    let site = Site::start(root, purser.address, &key)?;
    let (mut alone, mut gated, mut charged) = (Histogram::default(), Histogram::default(), 0);
    for round in 1..=effort.rounds {
        step::announce(&format!("round {round} of {}", effort.rounds));
        alone.add(&asked(site.alone, effort)?.latency);
        let outcome = asked(site.gated, effort)?;
        charged += outcome.answered();
        gated.add(&outcome.latency);
    }
    let of = |latency: &Histogram| [500, 990].map(|part| latency.percentile(part).as_secs_f64() * 1e3);
    let (without, with) = (of(&alone), of(&gated));
    let added = [with[0] - without[0], with[1] - without[1]];
    for (what, [p50, p99]) in [("nginx alone", without), ("with the gate", with), ("added", added)] {
        println!("{what:<14} p50 {p50:.2} ms, p99 {p99:.2} ms");
    }
    drop(site);
    let entries = entries_of(&purser.stop_and_run(&["--json", "verify"])?)?;
    if entries != charged + USERS {
        return Err(format!(
            "{charged} requests were charged and {USERS} grants made; the ledger has {entries} entries"
        ));
    }
    println!("{charged} requests at {RATE} a second, each with its debit");
    Ok(())
}

/// Publishes an action and a rule, gives credits, and makes the key of the proxy.
fn prepare(purser: &Server) -> Result<String, String> {
    let authorization = format!("Bearer {}", purser.key("bench")?);
    let post = |path: &str, body: &str| {
        let headers = [("Authorization", &*authorization), ("Idempotency-Key", body)];
        let answer = http::ask(purser.address, "POST", path, &headers, body)?;
        if answer.status == 201 { Ok(()) } else { Err(format!("{path}: {} {}", answer.status, answer.body)) }
    };
    post("/v1/actions", r#"{"key":"page","name":"Page","price":{"model":"flat","amount":"1"}}"#)?;
    post("/v1/gate/rules", r#"{"key":"all","path":"/**","action":"page"}"#)?;
    for user in 0..USERS {
        let body =
            format!(r#"{{"user":"u{user}","amount":"1000000","kind":"promotional","reason":"bench"}}"#);
        post("/v1/grants", &body)?;
    }
    let made = purser.command(&["key", "create", "--name", "nginx", "--scope", "gate"])?;
    Ok(made.trim().to_string())
}

/// Asks for the file as every user in turn, at the pace.
fn asked(address: SocketAddr, effort: Effort) -> Result<Outcome, String> {
    let addresses = [address];
    let load = Load {
        addresses: &addresses,
        connections: CONNECTIONS,
        pace: Pace::PerSecond(RATE),
        warm_up: effort.warm_up,
        measured: effort.measured,
    };
    let mut asked = 0_u64;
    let source = |request: &mut Vec<u8>| {
        let user = asked % USERS;
        asked += 1;
        request.extend_from_slice(
            format!("GET /page HTTP/1.1\r\nHost: {address}\r\nX-Login: u{user}\r\n\r\n").as_bytes(),
        );
        true
    };
    let outcome = run(&load, vec![source])?;
    outcome.all(200).map(|()| outcome)
}

/// nginx with the file behind two ports.
struct Site {
    // Stopped before its folder goes: fields drop in this order.
    _nginx: Process,
    _folder: TempFolder,
    alone: SocketAddr,
    gated: SocketAddr,
}

impl Site {
    fn start(root: &Path, purser: SocketAddr, key: &str) -> Result<Site, String> {
        let program = packages::find_or_install(|| packages::find_program("nginx"), &["nginx"], "nginx")?;
        let folder = TempFolder::new("gate")?;
        let [alone, gated] = [free_port()?, free_port()?];
        let (here, deploy) = (folder.path().display(), root.join("deploy/nginx"));
        let deploy = deploy.display();
        let user = if packages::is_root() { "user root;" } else { "" };
        let config = format!(
            "daemon off; worker_processes 1; pid {here}/pid; error_log {here}/log; {user} events {{ }}
            http {{
            client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
            uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi; access_log off; keepalive_requests 1000000000;
            upstream purser {{ server {purser}; keepalive {CONNECTIONS}; keepalive_requests 1000000000; }}
            map \"\" $purser_key {{ default \"{key}\"; }} map \"\" $purser_user {{ default $http_x_login; }}
            map \"\" $purser_tenant {{ default \"\"; }} map \"\" $purser_fail {{ default closed; }}
            include {deploy}/purser.conf;
            server {{ listen 127.0.0.1:{alone}; root {here}/files; }}
            server {{ listen 127.0.0.1:{gated}; root {here}/files; include {deploy}/purser_gate.conf; }}
            }}\n"
        );
        let written = fs::create_dir(folder.path().join("files"))
            .and_then(|()| fs::write(folder.path().join("files/page"), "page\n"))
            .and_then(|()| fs::write(folder.path().join("nginx.conf"), config));
        written.map_err(|error| format!("{here}: {error}"))?;
        let mut command = Command::new(program);
        command
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let nginx = Process::start(command, "TERM")?;
        let [alone, gated] = [alone, gated].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let give_up = Instant::now() + START_MAX;
        while http::ask(alone, "GET", "/page", &[], "").is_err() {
            if Instant::now() > give_up {
                let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                return Err(format!("nginx does not answer:\n{log}"));
            }
            std::thread::yield_now();
        }
        Ok(Site { _nginx: nginx, _folder: folder, alone, gated })
    }
}
