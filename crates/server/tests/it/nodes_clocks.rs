//! The clocks of nodes that share a database: one that is wrong stops its own node, and no other.

use crate::databases::Kind;
use crate::nodes::{assert_verified, run, scan, two};
use crate::server::{Home, Server};
use purser_app::caller::Scope;
use purser_app::clock::{Clock, SystemClock};
use purser_app::usecase::api_key;
use purser_core::Timestamp;
use purser_core::time::SECOND;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The machine's clock, and by how much it is set wrong.
struct Wrong(SystemClock, AtomicI64);

impl Clock for Wrong {
    fn wall(&self) -> Timestamp {
        Timestamp(self.0.wall().0 + self.1.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> i64 {
        self.0.monotonic()
    }
}

/// A node on the machine's clock, this much off from its start.
async fn node(home: &Home, off: i64) -> (Server, Arc<Wrong>) {
    let clock = Arc::new(Wrong(SystemClock::default(), AtomicI64::new(off)));
    (Server::run(home.clone(), home.settings(), clock.clone()).await, clock)
}

fn a_clock_that_jumps_stops_its_own_node_alone(kind: Kind) {
    run(async {
        let nodes = two(kind, "100").await;
        let [one, other] = &nodes;
        for jump in [-3_600 * SECOND, 3_600 * SECOND] {
            one.clock.jump(jump);
            one.post("/v1/debits", scan("ann")).await.problem(503, "clock_unsafe");
            assert_eq!(one.raw("GET", "/readyz", &[], b"").await.expect(503)["ready"], false);
            other.post("/v1/debits", scan("ann")).await.expect(201);
            assert_eq!(other.raw("GET", "/readyz", &[], b"").await.expect(200)["ready"], true);
            one.clock.jump(-jump);
            one.post("/v1/debits", scan("ann")).await.expect(201);
        }
        assert_verified(&nodes).await;
    });
}

fn time_in_a_wallet_never_runs_backwards_whichever_node_writes(kind: Kind) {
    run(async {
        let nodes = two(kind, "100").await;
        // Within what is followed: one node is four seconds ahead of the other.
        nodes[1].clock.jump(4 * SECOND);
        let mut times = Vec::new();
        for round in 0..10 {
            let debit = nodes[round % 2].post("/v1/debits", scan("ann")).await.expect(201);
            times.push(debit["created_at"].as_str().expect("text").to_owned());
        }
        assert!(times.is_sorted(), "{times:?}");
        assert_verified(&nodes).await;
    });
}

fn a_node_whose_clock_is_not_the_databases_moves_nothing_until_it_is(kind: Kind) {
    run(async {
        let home = Home::new(kind);
        let (mut right, _) = node(&home, 0).await;
        right.key = api_key::create(&right.app, "tests", Scope::Write, None).await.expect("a key");
        right.action("scan", json!({"model": "flat", "amount": "1"})).await;
        right.grant("ann", "100000").await;
        for off in [-30 * SECOND, 3_600 * SECOND] {
            let (mut wrong, clock) = node(&home, off).await;
            wrong.key = right.key.clone();
            let stopped = async |status: u16| {
                for _ in 0..100_000 {
                    if wrong.raw("GET", "/readyz", &[], b"").await.status == status {
                        return;
                    }
                }
                panic!("it never said {status}");
            };
            // It finds out within a second.
            stopped(503).await;
            wrong.post("/v1/debits", scan("ann")).await.problem(503, "clock_unsafe");
            right.post("/v1/debits", scan("ann")).await.expect(201);
            // Set right, it is a jump of this clock, which only a restart believes; see what it says.
            clock.1.store(0, Ordering::SeqCst);
            wrong.post("/v1/debits", scan("ann")).await.problem(503, "clock_unsafe");
            wrong.stop().await;
            let (mut again, _) = node(&home, 0).await;
            again.key = right.key.clone();
            again.post("/v1/debits", scan("ann")).await.expect(201);
        }
    });
}

on_every_server! {
    a_clock_that_jumps_stops_its_own_node_alone,
    time_in_a_wallet_never_runs_backwards_whichever_node_writes,
    a_node_whose_clock_is_not_the_databases_moves_nothing_until_it_is,
}
