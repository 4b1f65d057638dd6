//! The hints that nodes share through a real Redis, and what is left of them when it is gone.
//!
//! Needs the URL of a Redis in `PURSER_TEST_REDIS_URL`; `cargo xtask test` starts one. Without it the tests fail, because a
//! test that did not run proves nothing. Every test is a deployment of its own, so they may run beside each other
//! and beside anything else. `proxy.rs` is the network between a node and Redis, which can be cut and stalled.
#![allow(clippy::disallowed_methods, reason = "how long something takes is what these tests measure")]

mod proxy;

use proxy::{Network, Proxy};
use purser_core::{Id, TenantNo, WalletId, WalletKey};
use purser_store::hint::{Hints, Rate, RedisOptions, Sharing};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::time::{interval, timeout};

/// Longer than anything here takes, on the slowest machine.
const LONG: Duration = Duration::from_secs(30);
/// A deadline that a busy machine does not miss by itself.
const PATIENT: Duration = Duration::from_secs(5);

fn url() -> String {
    std::env::var("PURSER_TEST_REDIS_URL").expect(
        "PURSER_TEST_REDIS_URL names no Redis: run `cargo xtask test`, or `cargo xtask services` and set what it prints",
    )
}

/// A name that no other test, and no earlier run, has.
fn deployment(test: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    format!("test-{test}-{}-{}", std::process::id(), now.as_micros())
}

fn node(url: &str, deployment: &str, deadline: Duration) -> Hints {
    static NODES: AtomicU64 = AtomicU64::new(1);
    let node = NODES.fetch_add(1, Ordering::Relaxed);
    let options = RedisOptions { url: url.to_string(), deployment: deployment.to_string(), node, deadline };
    Hints::start(Some(options), &Handle::current()).expect("the URL is one")
}

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate::new(per_second, burst).expect("a rate")
}

fn wallet(no: u128) -> WalletKey {
    WalletKey { tenant: TenantNo(3), id: WalletId(Id(no)) }
}

async fn until_shared(hints: &Hints) {
    let mut looks = interval(Duration::from_millis(2));
    let shared = async {
        while hints.sharing().await != Sharing::Shared {
            looks.tick().await;
        }
    };
    timeout(LONG, shared).await.expect("Redis takes part");
}

async fn until_away(hints: &Hints) -> String {
    let mut looks = interval(Duration::from_millis(2));
    let away = async {
        loop {
            if let Sharing::Away(why) = hints.sharing().await {
                return why;
            }
            looks.tick().await;
        }
    };
    timeout(LONG, away).await.expect("Redis is away")
}

/// A raw command, as somebody else would send it.
async fn command(words: &[&str]) -> redis::Value {
    let client = redis::Client::open(url()).expect("the URL is one");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is there");
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.expect("it is answered")
}

#[tokio::test]
async fn nodes_share_one_limit() {
    let (url, deployment) = (url(), deployment("limit"));
    let nodes = [node(&url, &deployment, PATIENT), node(&url, &deployment, PATIENT)];
    for node in &nodes {
        assert_eq!(node.sharing().await, Sharing::Shared);
    }
    let started = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for no in 0..400 {
        let node = nodes[no % 2].clone();
        calls.spawn(async move { node.take("key", rate(1, 100), 0).await.allowed });
    }
    let allowed = calls.join_all().await.into_iter().filter(|allowed| *allowed).count();
    let refilled = usize::try_from(started.elapsed().as_secs()).expect("seconds") + 1;
    assert!((100..=100 + refilled).contains(&allowed), "{allowed} of 400 in {refilled} s");
    assert!(nodes.iter().all(Hints::is_healthy));
    // Another deployment in the same Redis, and another key, are not concerned.
    assert!(node_of_another(&url).await.take("key", rate(1, 1), 0).await.allowed);
    assert!(nodes[0].take("other", rate(1, 1), 0).await.allowed);
}

async fn node_of_another(url: &str) -> Hints {
    let hints = node(url, &deployment("another"), PATIENT);
    until_shared(&hints).await;
    hints
}

#[tokio::test]
async fn redis_answers_what_a_node_alone_would_answer() {
    let hints = node(&url(), &deployment("answers"), PATIENT);
    until_shared(&hints).await;
    let alone = Hints::start(None, &Handle::current()).expect("nothing to get wrong");
    // Rates whose gap is no whole number of microseconds, too. The slow ones refill nothing while this runs.
    for (no, (per_second, burst)) in [(1, 1), (1, 3), (1, 1_000_000), (3, 2), (7, 4)].into_iter().enumerate()
    {
        let (rate, key) = (rate(per_second, burst), format!("key-{no}"));
        for call in 0..=burst.min(5) {
            let (shared, own) = tokio::join!(hints.take(&key, rate, 0), alone.take(&key, rate, 0));
            assert_eq!((shared.allowed, shared.remaining), (own.allowed, own.remaining), "{rate:?} {call}");
            assert!(shared.retry_after <= own.retry_after + Duration::from_micros(1), "{shared:?} {own:?}");
            assert!(own.retry_after <= shared.retry_after + Duration::from_millis(300), "{shared:?} {own:?}");
            assert!(shared.reset_after <= own.reset_after + Duration::from_micros(1), "{shared:?} {own:?}");
            assert!(own.reset_after <= shared.reset_after + Duration::from_millis(300), "{shared:?} {own:?}");
        }
    }
    // The fastest refills between two calls: it must be taken, and count.
    let fastest = hints.take("fastest", rate(1_000_000, 1_000_000), 0).await;
    assert_eq!((fastest.allowed, fastest.remaining), (true, 999_999));
    assert!(hints.is_healthy());
}

#[tokio::test]
async fn a_bucket_refills_in_redis_own_time() {
    let hints = node(&url(), &deployment("refill"), PATIENT);
    until_shared(&hints).await;
    assert!(hints.take("key", rate(20, 1), 0).await.allowed);
    let refused = loop {
        let taken = hints.take("key", rate(20, 1), 0).await;
        if !taken.allowed {
            break taken;
        }
    };
    assert!(refused.retry_after <= Duration::from_millis(50), "{refused:?}");
    let since = Instant::now();
    while !hints.take("key", rate(20, 1), 0).await.allowed {}
    // Redis counts from when it refused, which was a little before we heard of it.
    let waited = since.elapsed() + Duration::from_millis(20);
    assert!(waited >= refused.retry_after && waited < LONG, "{waited:?} for {refused:?}");
}

#[tokio::test]
async fn a_change_on_one_node_wakes_the_others_of_its_deployment() {
    let (url, deployment) = (url(), deployment("wake"));
    let (one, other) = (node(&url, &deployment, PATIENT), node(&url, &deployment, PATIENT));
    let stranger = node_of_another(&url).await;
    until_shared(&one).await;
    until_shared(&other).await;
    let (mut here, mut there) = (one.subscribe(wallet(1)), other.subscribe(wallet(1)));
    let (mut elsewhere, mut another) = (stranger.subscribe(wallet(1)), other.subscribe(wallet(2)));
    one.wake(&[wallet(1)]);
    timeout(LONG, here.next()).await.expect("on the node itself");
    timeout(LONG, there.next()).await.expect("on the other node");
    // More wallets than one message takes, and the last of them.
    let many: Vec<WalletKey> = (10..5_000).map(wallet).collect();
    let mut last = other.subscribe(wallet(4_999));
    one.wake(&many);
    timeout(LONG, last.next()).await.expect("of the last message");
    other.wake(&[wallet(1)]);
    timeout(LONG, here.next()).await.expect("and the other way round");
    for quiet in [&mut elsewhere, &mut another] {
        assert!(timeout(Duration::ZERO, quiet.next()).await.is_err(), "nobody else is woken");
    }
}

#[tokio::test]
async fn a_flushed_redis_forgives_and_goes_on() {
    let name = deployment("flush");
    let hints = node(&url(), &name, PATIENT);
    until_shared(&hints).await;
    assert!(hints.take("key", rate(1, 1), 0).await.allowed);
    assert!(!hints.take("key", rate(1, 1), 0).await.allowed);
    command(&["SCRIPT", "FLUSH"]).await;
    command(&["DEL", &format!("purser:{{{name}}}:rate:key")]).await;
    assert!(hints.take("key", rate(1, 1), 0).await.allowed, "an empty Redis knows of no calls");
    assert!(!hints.take("key", rate(1, 1), 0).await.allowed);
    assert!(hints.is_healthy());
}

#[tokio::test]
async fn keys_do_not_outlive_what_they_say() {
    let name = deployment("expiry");
    let hints = node(&url(), &name, PATIENT);
    until_shared(&hints).await;
    hints.take("key", rate(1, 5), 0).await;
    let left = command(&["PTTL", &format!("purser:{{{name}}}:rate:key")]).await;
    assert!(matches!(left, redis::Value::Int(1..=1_000)), "{left:?}");
}

#[tokio::test]
async fn what_somebody_else_wrote_under_our_name_costs_one_call_its_share_and_nothing_else() {
    let name = deployment("vandal");
    let hints = node(&url(), &name, PATIENT);
    until_shared(&hints).await;
    let key = format!("purser:{{{name}}}:rate:key");
    command(&["SET", &key, "soon"]).await;
    assert!(hints.take("key", rate(1, 1), 0).await.allowed, "no number is no call");
    command(&["SET", &key, "99999999999999999"]).await;
    let refused = hints.take("key", rate(1, 1), 0).await;
    assert!(!refused.allowed && refused.retry_after <= Duration::from_secs(1), "{refused:?}");
    command(&["DEL", &key]).await;
    command(&["RPUSH", &key, "a list"]).await;
    assert!(hints.take("key", rate(1, 1), 0).await.allowed, "counted by the node itself");
    assert!(until_away(&hints).await.contains("WRONGTYPE"));
    until_shared(&hints).await;
}

#[tokio::test]
async fn a_cut_line_is_noticed_costs_nothing_and_heals() {
    let proxy = Proxy::start(&url()).await;
    let name = deployment("cut");
    let (hints, steady) = (node(&proxy.url, &name, PATIENT), node(&url(), &name, PATIENT));
    until_shared(&hints).await;
    until_shared(&steady).await;
    assert!(hints.take("key", rate(1, 1), 0).await.allowed);
    proxy.turn(Network::Cut);
    until_away(&hints).await;
    let started = Instant::now();
    assert!(hints.take("key", rate(1, 1), 0).await.allowed, "the node's own bucket is full");
    assert!(!hints.take("key", rate(1, 1), 0).await.allowed, "and is a limit, too");
    let mut here = hints.subscribe(wallet(1));
    hints.wake(&[wallet(1)]);
    timeout(LONG, here.next()).await.expect("wake-ups within the node go on");
    assert!(started.elapsed() < PATIENT, "nothing waited for Redis");
    proxy.turn(Network::Sound);
    until_shared(&hints).await;
    steady.wake(&[wallet(1)]);
    timeout(LONG, here.next()).await.expect("the new connection listens");
}

#[tokio::test]
async fn a_redis_that_stalls_costs_each_waiting_call_one_deadline_and_later_ones_nothing() {
    let proxy = Proxy::start(&url()).await;
    let deadline = Duration::from_millis(200);
    let hints = node(&proxy.url, &deployment("stall"), deadline);
    until_shared(&hints).await;
    proxy.turn(Network::Stalled);
    let started = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for no in 0..200 {
        let hints = hints.clone();
        calls.spawn(async move { hints.take(&format!("key-{no}"), rate(1, 1), 0).await.allowed });
    }
    assert!(calls.join_all().await.into_iter().all(|allowed| allowed));
    let first = started.elapsed();
    assert!(first >= deadline && first < 5 * deadline, "{first:?}");
    assert_eq!(until_away(&hints).await, "no answer within 200 ms");
    let started = Instant::now();
    for no in 0..1_000 {
        assert!(hints.take(&format!("later-{no}"), rate(1, 1), 0).await.allowed);
    }
    assert!(started.elapsed() < deadline, "a thousand calls took {:?}", started.elapsed());
    proxy.turn(Network::Sound);
    until_shared(&hints).await;
}

#[tokio::test]
async fn an_idle_connection_that_went_silent_is_noticed_without_a_call() {
    let proxy = Proxy::start(&url()).await;
    let hints = node(&proxy.url, &deployment("silent"), PATIENT);
    until_shared(&hints).await;
    proxy.turn(Network::Stalled);
    assert_eq!(until_away(&hints).await, "no answer within 1000 ms");
}

#[tokio::test]
async fn a_redis_that_was_never_there_keeps_nobody_waiting() {
    // A port that listens and never answers is worse than one that refuses.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}/", silent.local_addr().expect("an address"));
    let started = Instant::now();
    let hints = node(&url, &deployment("never"), PATIENT);
    assert!(hints.take("key", rate(1, 1), 0).await.allowed);
    assert!(!hints.take("key", rate(1, 1), 0).await.allowed);
    hints.wake(&[wallet(1)]);
    assert!(started.elapsed() < Duration::from_millis(500));
    assert!(!hints.is_healthy());
    until_away(&hints).await;
}

#[tokio::test]
async fn something_that_is_no_redis_is_just_away() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = listener.accept().await {
            // It may be gone again already.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let hints = node(&url, &deployment("http"), PATIENT);
    until_away(&hints).await;
    assert!(hints.take("key", rate(1, 1), 0).await.allowed);
}
