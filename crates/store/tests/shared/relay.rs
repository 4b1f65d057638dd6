//! The network between a node and its database server, which can be cut at the worst moment.
//!
//! It passes bytes on in both directions and looks into those of the node: every database's driver commits by the word itself.
//! A cut is for one connection, once. Shared by the tests of several crates.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Where a connection is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// The words that commit never reach the server.
    BeforeCommit,
    /// The server has committed, and nobody hears of it.
    AfterCommit,
}

const WORDS: &[u8] = b"COMMIT";

/// A way to a server.
pub(crate) struct Relay {
    url: String,
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    planned: Mutex<Option<Cut>>,
    /// Both ends of every connection there was.
    ends: Mutex<Vec<TcpStream>>,
    /// Whether nobody gets through.
    closed: AtomicBool,
}

#[allow(dead_code, reason = "not every suite needs all of it")]
impl Relay {
    /// A way to the server of this URL, which names one host and its port.
    pub(crate) fn to(url: &str) -> Relay {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (authority, path) = rest.split_once('/').expect("a URL that names a database");
        let (credentials, host) = authority.rsplit_once('@').expect("a URL that names a user");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (state, host) = (Arc::new(State::default()), host.to_owned());
        let shared = state.clone();
        std::thread::spawn(move || accept(&listener, &host, &shared));
        Relay { url: format!("{scheme}://{credentials}@{address}/{path}"), address, state }
    }

    /// The URL that leads through here.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The next commit on any connection is cut like this.
    pub(crate) fn cut_next_commit(&self, cut: Cut) {
        *self.state.planned.lock().expect("no panic while it is locked") = Some(cut);
    }

    /// Whether a cut still waits for its commit.
    pub(crate) fn is_armed(&self) -> bool {
        self.state.planned.lock().expect("no panic while it is locked").is_some()
    }

    /// Ends every connection; new ones get through.
    pub(crate) fn cut_all(&self) {
        let ends = std::mem::take(&mut *self.state.ends.lock().expect("no panic while it is locked"));
        ends.iter().for_each(end);
    }

    /// Lets nobody through, or everybody again.
    pub(crate) fn close(&self, closed: bool) {
        self.state.closed.store(closed, Ordering::SeqCst);
        if closed {
            self.cut_all();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.close(true);
        // One more visitor wakes the thread that listens, which finds it closed; where that fails, it has ended.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, host: &str, state: &Arc<State>) {
    for client in listener.incoming() {
        if Arc::strong_count(state) == 1 {
            return;
        }
        let Ok(client) = client else { return };
        if state.closed.load(Ordering::SeqCst) {
            continue;
        }
        let Ok(server) = TcpStream::connect(host) else { continue };
        let copy = |stream: &TcpStream| stream.try_clone().expect("a handle");
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("a socket");
            state.ends.lock().expect("no panic while it is locked").push(copy(stream));
        }
        let swallowing = Arc::new(AtomicBool::new(false));
        let (up, down) = ((copy(&client), copy(&server)), (server, client));
        let (shared, asked) = (state.clone(), swallowing.clone());
        std::thread::spawn(move || ask(up.0, up.1, &shared, &asked));
        std::thread::spawn(move || answer(down.0, down.1, &swallowing));
    }
}

/// From the node to the server.
fn ask(mut from: TcpStream, mut to: TcpStream, state: &State, swallowing: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    // The words may lie across two pieces.
    let mut seen: Vec<u8> = Vec::new();
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..length]);
        if contains(&seen) {
            match state.planned.lock().expect("no panic while it is locked").take() {
                Some(Cut::BeforeCommit) => break,
                Some(Cut::AfterCommit) => swallowing.store(true, Ordering::SeqCst),
                None => {}
            }
            seen.clear();
        }
        seen.drain(..seen.len().saturating_sub(WORDS.len() - 1));
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    end(&from);
    end(&to);
}

/// From the server to the node. PostgreSQL answers what came before the commit first, and then names it; MySQL is asked one
/// thing at a time.
fn answer(mut from: TcpStream, mut to: TcpStream, swallowing: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    let mut swallowed: Vec<u8> = Vec::new();
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if swallowing.load(Ordering::SeqCst) {
            swallowed.extend_from_slice(&buffer[..length]);
            // An answer of MySQL begins with its length in three bytes and the number of the answer, 1.
            if contains(&swallowed) || swallowed.get(1..4) == Some(&[0, 0, 1]) {
                break;
            }
        } else if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    end(&from);
    end(&to);
}

/// Whether the words are there, and not as the beginning of `COMMITTED`, which is a level of isolation.
fn contains(bytes: &[u8]) -> bool {
    let starts = bytes.windows(WORDS.len()).enumerate().filter(|(_, window)| *window == WORDS);
    starts.into_iter().any(|(start, _)| bytes.get(start + WORDS.len()) != Some(&b'T'))
}

fn end(stream: &TcpStream) {
    // It may have ended already.
    let _ = stream.shutdown(Shutdown::Both);
}
