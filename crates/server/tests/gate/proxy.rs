//! A proxy of a test's own: the real program in front of a folder of files, asked byte by byte.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often a proxy that starts is asked whether it listens.
const ASKED_MAX: usize = 100_000;
/// Longer than any request takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running proxy. Killed when dropped.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The same with a gate that is open while Purser is away; nginx alone.
    pub(crate) open: SocketAddr,
    basic: bool,
}

impl Proxy {
    /// nginx with the shipped configuration; users come from `auth_basic`.
    pub(crate) fn nginx(folder: &Path, files: &Path, purser: &str, key: &str) -> Proxy {
        let (address, open, product) = (free(), free(), free());
        let users = "ann:{PLAIN}pw\nbob:{PLAIN}pw\neve:{PLAIN}pw\n";
        std::fs::write(folder.join("users"), users).expect("a file");
        let (here, deploy) = (folder.display(), deploy("nginx"));
        let server = |port: u16| {
            format!(
                "server {{
                listen 127.0.0.1:{port};
                root {files};
                auth_basic site;
                auth_basic_user_file {here}/users;
                include {deploy}/purser_gate.conf;
                rewrite ^/_ /free.html last;
                proxy_cache site;
                proxy_cache_valid any 1h;
                proxy_ignore_headers Cache-Control Expires;
                proxy_cache_key one;
                error_page 403 = @purser_refused;
                error_page 404 405 /missing.html;
                location /paid/tried/ {{ try_files $uri /paid/page.html; }}
                location /paid/refused {{ deny all; }}
                location /paid/broken/ {{ proxy_pass http://127.0.0.1:1; }}
                location /raw/ {{ proxy_cache off; proxy_pass http://{product}; }}
                }}\n",
                files = files.display(),
                deploy = deploy.display(),
            )
        };
        let config = format!(
            "daemon off; worker_processes 2; pid {here}/nginx.pid; error_log {here}/nginx.log; {user}
            events {{ }}
            http {{
            client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
            uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
            proxy_cache_path {here}/cache keys_zone=site:1m;
            upstream purser {{ server {purser}; keepalive 8; }}
            map \"\" $purser_key {{ default \"{key}\"; }}
            map \"\" $purser_user {{ default $remote_user; }}
            map \"\" $purser_tenant {{ default \"\"; }}
            map $server_port $purser_fail {{ default closed; {} open; }}
            include {}/purser.conf;
            access_log {here}/access.log purser;
            {}{}
            server {{ listen {product}; merge_slashes off; add_header X-Told-User $http_x_purser_user; add_header X-Told-Debit $http_x_purser_debit;
            location / {{ return 200 $request_uri; }} }} }}\n",
            open.port(),
            deploy.display(),
            server(address.port()),
            server(open.port()),
            user = if is_root() { "user root;" } else { "" },
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config).expect("a file");
        let mut command = Command::new(program("nginx"));
        // Before it reads its configuration, nginx tells its default log of it.
        command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(&file);
        Proxy { child: started(command, folder, address), address, open, basic: true }
    }

    /// Caddy with the shipped configuration; users come from a header that whatever stands before it sets.
    pub(crate) fn caddy(folder: &Path, files: &Path, purser: &str, key: &str) -> Proxy {
        let address = free();
        let config = format!(
            "{{
                admin off
                auto_https off
                storage file_system {here}/caddy
            }}
            import {deploy}/Caddyfile
            http://127.0.0.1:{port} {{
                root * {files}
                route {{
                    vars purser_user {{http.request.header.X-Login}}
                    import purser
                    file_server
                }}
            }}\n",
            here = folder.display(),
            deploy = deploy("caddy").display(),
            port = address.port(),
            files = files.display(),
        );
        let file = folder.join("Caddyfile");
        std::fs::write(&file, config).expect("a file");
        let mut command = Command::new(program("caddy"));
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
        command.env("HOME", folder).env("PURSER_GATE_URL", purser).env("PURSER_GATE_KEY", key);
        Proxy { child: started(command, folder, address), address, open: address, basic: false }
    }

    /// What a client sends to be this user.
    pub(crate) fn login(&self, user: &str) -> Vec<(String, String)> {
        let known = [("ann", "YW5uOnB3"), ("bob", "Ym9iOnB3"), ("eve", "ZXZlOnB3")];
        let (_, basic) = known.into_iter().find(|(name, _)| *name == user).expect("a user of this site");
        match self.basic {
            true => vec![("Authorization".to_string(), format!("Basic {basic}"))],
            false => vec![("X-Login".to_string(), user.to_string())],
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // TERM, so that nginx takes its workers along.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One request on a connection of its own, with exactly this path.
pub(crate) fn get(address: SocketAddr, method: &str, path: &str, headers: &[(String, String)]) -> Answer {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").expect("text");
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
        .collect();
    Answer { status, headers, body: body.to_string() }
}

/// Starts it and waits until it listens.
fn started(mut command: Command, folder: &Path, address: SocketAddr) -> Child {
    let log = std::fs::File::create(folder.join("proxy.log")).expect("a log");
    let told = log.try_clone().expect("a log");
    let name = format!("{:?}", command.get_program());
    let mut child =
        command.stdin(Stdio::null()).stdout(told).stderr(log).spawn().expect("the program starts");
    for _ in 0..ASKED_MAX {
        if TcpStream::connect(address).is_ok() {
            return child;
        }
        let ended = child.try_wait().expect("a child of ours");
        let log = || std::fs::read_to_string(folder.join("proxy.log")).unwrap_or_default();
        assert!(ended.is_none(), "{name} ended:\n{}", log());
        std::thread::yield_now();
    }
    drop(child.kill());
    panic!("{name} does not listen");
}

fn deploy(kind: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(kind);
    folder.canonicalize().expect("the shipped configuration")
}

/// Where a program lies; a user's path may lack the folders of servers.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is missing; run `cargo xtask test` or `cargo xtask services`, which install it")
    })
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0\t")))
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
