//! A client that blocks: one connection to one node, one request at a time. It never repeats anything;
//! whoever asks decides that. Read next: `load`, which does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request that no answer comes to in this time has lost it: longer than a node waits for its database.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer longer than this is none of ours.
const ANSWER_MAX: usize = 1 << 22;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) replayed: bool,
    pub(super) retry_after: bool,
    pub(super) body: serde_json::Value,
}

impl Answer {
    /// A text inside the body.
    pub(super) fn text(&self, pointer: &str) -> Result<&str, String> {
        let found = self.body.pointer(pointer).and_then(serde_json::Value::as_str);
        found.ok_or_else(|| format!("no text at {pointer} in {self:?}"))
    }

    pub(super) fn expect(self, status: u16) -> Result<Self, String> {
        if self.status == status { Ok(self) } else { Err(format!("expected {status}, got {self:?}")) }
    }
}

/// A connection to a node, with an API key.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    key: String,
}

impl Client {
    pub(super) fn connect(address: SocketAddr, key: &str) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client { stream: BufReader::new(stream), key: key.to_string() })
    }

    pub(super) fn get(&mut self, path: &str) -> Result<Answer, String> {
        self.ask("GET", path, None, "").map_err(|error| format!("GET {path}: {error}"))
    }

    pub(super) fn post(&mut self, path: &str, key: &str, body: &str) -> std::io::Result<Answer> {
        self.ask("POST", path, Some(key), body)
    }

    fn ask(&mut self, method: &str, path: &str, key: Option<&str>, body: &str) -> std::io::Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: purser\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n",
            self.key,
            body.len()
        );
        if !body.is_empty() {
            request.push_str("Content-Type: application/json\r\n");
        }
        if let Some(key) = key {
            request.push_str(&format!("Idempotency-Key: {key}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> std::io::Result<Answer> {
        let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (mut status, mut length, mut replayed, mut retry_after) = (None, 0, false, false);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(broken());
            }
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(": ") {
                None if line.is_empty() => break,
                None => status = line.split(' ').nth(1).and_then(|code| code.parse().ok()),
                Some(("content-length", value)) => length = value.parse().unwrap_or(ANSWER_MAX),
                Some(("idempotent-replayed", value)) => replayed = value == "true",
                Some(("retry-after", value)) => retry_after = value.parse::<u32>().is_ok(),
                Some(_) => {}
            }
        }
        let mut body = vec![0; length.min(ANSWER_MAX)];
        self.stream.read_exact(&mut body)?;
        let body = if body.is_empty() { serde_json::Value::Null } else { serde_json::from_slice(&body)? };
        Ok(Answer { status: status.ok_or_else(broken)?, replayed, retry_after, body })
    }
}
