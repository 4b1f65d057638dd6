//! One keep-alive connection: at most one request under way, the answer read as far as needed.
//!
//! Understands what Purser answers: HTTP/1.1 with a content length. Anything else is an error, never a guess.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::{Interest, Registry, Token};

/// An answer longer than this is not one of a debit.
const ANSWER_MAX: usize = 1 << 20;

pub(super) struct Connection {
    stream: mio::net::TcpStream,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    filled: usize,
    due: Option<Instant>,
}

/// A complete answer to the request that was due at `due`.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) due: Instant,
}

impl Connection {
    pub(super) fn open(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection { stream, out: Vec::new(), sent: 0, input: vec![0; 8192], filled: 0, due: None })
    }

    /// Where the next request is written to, emptied.
    pub(super) fn request(&mut self) -> &mut Vec<u8> {
        self.out.clear();
        self.sent = 0;
        &mut self.out
    }

    /// Sends what `request` was given, which counts as asked at `due`.
    pub(super) fn send(&mut self, due: Instant) -> io::Result<()> {
        self.due = Some(due);
        self.write()
    }

    /// Reads what has arrived; an answer once it is complete.
    pub(super) fn progress(&mut self) -> io::Result<Option<Answer>> {
        let Some(due) = self.due else {
            // Nothing is asked: either the first wake-up of a new connection, or the server has closed.
            return self.expect_silence();
        };
        self.write()?;
        loop {
            if self.filled == self.input.len() {
                self.input.resize(self.filled * 2, 0);
            }
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
                }
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let Some((status, length)) = parse(&self.input[..self.filled])? else { return Ok(None) };
        if self.filled != length {
            return Err(bad("more bytes than the answer announced"));
        }
        self.filled = 0;
        self.due = None;
        Ok(Some(Answer { status, due }))
    }

    fn write(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn expect_silence(&mut self) -> io::Result<Option<Answer>> {
        match self.stream.read(&mut self.input) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed an idle connection")),
            Ok(_) => Err(bad("an answer to no request")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_string())
}

/// Status and total length of the answer in `bytes`, once all of it is there.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > ANSWER_MAX { Err(bad("a head without an end")) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("a head that is not text"))?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status =
        first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| bad("not an HTTP/1.1 answer"))?;
    let mut length = None;
    for line in lines {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let length = length.filter(|length| *length <= ANSWER_MAX);
    let total = end + 4 + length.ok_or_else(|| bad("an answer without a sane content-length"))?;
    Ok((bytes.len() >= total).then_some((status, total)))
}
