//! The load generator against a server of a few lines, which keeps the keys that it was sent.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

/// Every key a fake server was sent, with how often.
type Seen = Arc<Mutex<HashMap<String, u64>>>;

/// A server that answers every request on every connection by `answer`.
fn fake<F>(answer: F) -> (SocketAddr, Seen)
where
    F: Fn(&str) -> String + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let (seen, answer) = (Seen::default(), Arc::new(answer));
    let kept = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (seen, answer) = (kept.clone(), answer.clone());
            std::thread::spawn(move || serve(&stream, &seen, &*answer));
        }
    });
    (address, seen)
}

fn serve(stream: &TcpStream, seen: &Seen, answer: &dyn Fn(&str) -> String) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    let mut stream = stream;
    loop {
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim().split_once(": ") {
                Some(("Idempotency-Key", value)) => key = value.to_string(),
                Some(("Content-Length", value)) => length = value.parse().ok()?,
                _ if line.trim().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        *seen.lock().expect("no panic").entry(key.clone()).or_default() += 1;
        let reply = answer(&key);
        // In two pieces, so that the client has to put an answer together.
        let (head, rest) = reply.as_bytes().split_at(reply.len() / 2);
        stream.write_all(head).ok()?;
        stream.flush().ok()?;
        stream.write_all(rest).ok()?;
    }
}

fn created(_: &str) -> String {
    "HTTP/1.1 201 Created\r\ncontent-length: 11\r\n\r\n{\"id\":\"d\"} ".to_string()
}

/// Debits, at most `count` of them.
fn debits(count: u64) -> impl FnMut(&mut Vec<u8>) -> bool + Send {
    let (mut keys, mut left) = (Keys::new(Order::Time), count);
    move |out| {
        if left == 0 {
            return false;
        }
        left -= 1;
        out.extend_from_slice(b"POST /v1/debits HTTP/1.1\r\nIdempotency-Key: ");
        keys.append_next(out);
        out.extend_from_slice(b"\r\nContent-Length: 2\r\n\r\n{}");
        true
    }
}

fn load(address: &SocketAddr, pace: Pace, measured_ms: u64) -> Load<'_> {
    let measured = Duration::from_millis(measured_ms);
    Load { addresses: std::slice::from_ref(address), connections: 8, pace, warm_up: Duration::ZERO, measured }
}

#[test]
fn every_request_is_sent_once_under_its_own_key_and_every_answer_counted() {
    let (address, seen) = fake(created);
    let outcome =
        run(&load(&address, Pace::Closed, 60_000), vec![debits(1_500), debits(700)]).expect("it runs");
    assert_eq!(outcome.answered(), 2_200);
    outcome.all(201).expect("only 201");
    let seen = seen.lock().expect("no panic");
    assert_eq!(seen.len(), 2_200);
    assert!(seen.values().all(|times| *times == 1), "a key was sent twice");
}

#[test]
fn connections_are_spread_over_all_addresses() {
    let ((one, of_one), (other, of_other)) = (fake(created), fake(created));
    let addresses = [one, other];
    let all = Load { addresses: &addresses, ..load(&one, Pace::Closed, 60_000) };
    assert_eq!(run(&all, vec![debits(400), debits(400)]).expect("it runs").answered(), 800);
    let seen = |seen: &Seen| seen.lock().expect("no panic").len();
    assert!(seen(&of_one) > 0 && seen(&of_one) + seen(&of_other) == 800 && seen(&of_other) > 0);
}

#[test]
fn a_run_that_ends_by_the_clock_waits_for_what_is_in_flight() {
    let (address, seen) = fake(created);
    let outcome =
        run(&load(&address, Pace::Closed, 200), vec![debits(u64::MAX), debits(u64::MAX)]).expect("it runs");
    assert!(outcome.measured > 0 && outcome.measured <= outcome.answered());
    assert_eq!(seen.lock().expect("no panic").len() as u64, outcome.answered());
    assert!(outcome.latency.percentile(500) > Duration::ZERO);
}

#[test]
fn a_refusal_among_the_answers_is_told() {
    let (address, _) = fake(|key| match key.ends_with('0') {
        true => "HTTP/1.1 402 Payment Required\r\nContent-Length: 0\r\n\r\n".to_string(),
        false => created(key),
    });
    let outcome = run(&load(&address, Pace::Closed, 60_000), vec![debits(160)]).expect("it runs");
    assert_eq!(outcome.statuses.keys().copied().collect::<Vec<_>>(), [201, 402]);
    let told = outcome.all(201).expect_err("not all were 201");
    assert!(told.contains("402"), "{told}");
}

#[test]
fn a_paced_run_asks_at_its_rate() {
    let (address, _) = fake(created);
    let outcome = run(&load(&address, Pace::PerSecond(400), 500), vec![debits(u64::MAX), debits(u64::MAX)]);
    // 400 a second for half a second: the timetable fixes the number, however slow the machine.
    assert_eq!(outcome.expect("it runs").answered(), 200);
}

#[test]
fn a_stall_of_the_server_shows_in_the_requests_that_were_due_meanwhile() {
    let stalled = Mutex::new(false);
    let (address, _) = fake(move |key| {
        let mut stalled = stalled.lock().expect("no panic");
        if !*stalled {
            *stalled = true;
            std::thread::park_timeout(Duration::from_millis(300));
        }
        created(key)
    });
    let outcome = run(&load(&address, Pace::PerSecond(500), 600), vec![debits(u64::MAX)]).expect("it runs");
    // About half of all requests were due while nothing was answered, though few were on the wire.
    let late = outcome.latency.percentile(700);
    assert!(late > Duration::from_millis(50), "p70 is {late:?}");
}

#[test]
fn an_answer_that_cannot_be_understood_fails_the_run() {
    let (address, _) = fake(|_| "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_string());
    let told = run(&load(&address, Pace::Closed, 60_000), vec![debits(10)]).err().expect("no content-length");
    assert!(told.contains("content-length"), "{told}");
}

#[test]
fn a_server_that_hangs_up_fails_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            drop(stream);
        }
    });
    let mut one = load(&address, Pace::Closed, 60_000);
    one.connections = 1;
    assert!(run(&one, vec![debits(1_000)]).is_err());
}
