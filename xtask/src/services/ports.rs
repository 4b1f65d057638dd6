//! Ports of the loopback interface for private servers.
//!
//! They come from below the range that the kernel takes for outgoing connections: a server that was
//! killed must find its port free when it starts again, and not taken by a client that called somewhere.

use std::fs;
use std::net::TcpListener;
use std::ops::Range;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below this, ports have names and owners.
const FIRST: u16 = 10_240;

/// Where the kernel's own range begins if it does not say.
const KERNEL_FIRST: u16 = 32_768;

/// A port of the loopback interface that nobody listens on now and that this run did not get before.
pub(crate) fn free_port() -> Result<u16, String> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let range = range(&fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default());
    for _ in range.clone() {
        // Two runs at the same time begin far from each other.
        let number = process::id().wrapping_mul(101).wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed));
        let port = range.start + u16::try_from(number % u32::from(range.end - range.start)).unwrap_or(0);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port of the loopback interface is free".to_string())
}

/// The ports to choose from, by what the kernel says about its own.
fn range(kernel: &str) -> Range<u16> {
    let first = kernel.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(KERNEL_FIRST);
    // A kernel that takes nearly all of them leaves no better choice than its own.
    let end = if first > FIRST + 1_000 { first } else { KERNEL_FIRST };
    FIRST..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lie_below_those_of_outgoing_connections() {
        assert_eq!(range("32768\t60999\n"), 10_240..32_768);
        assert_eq!(range("20000 60999"), 10_240..20_000);
        assert_eq!(range("1024 65535"), 10_240..32_768);
        assert_eq!(range(""), 10_240..32_768);
    }

    #[test]
    fn no_port_is_given_twice_or_while_somebody_listens() {
        let first = free_port().expect("a free port");
        let listener = TcpListener::bind(("127.0.0.1", first)).expect("it is free");
        let others: Vec<u16> = (0..50).map(|_| free_port().expect("a free port")).collect();
        assert!(!others.contains(&first));
        assert!((1..others.len()).all(|at| !others[..at].contains(&others[at])), "{others:?}");
        drop(listener);
    }
}
