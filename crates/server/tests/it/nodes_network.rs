//! The network between a node and its database: answers stay definite or ask to be repeated, and the node recovers by itself.

use crate::databases::Kind;
use crate::nodes::{assert_verified, available, run, scan, two};
use crate::relay::{Cut, Relay};
use crate::server::Server;
use std::sync::Arc;

/// A node that is near its database, and one that reaches it by a way that can be cut.
async fn near_and_far(kind: Kind) -> ([Arc<Server>; 2], Relay) {
    let [near, _] = two(kind, "1000").await;
    let relay = Relay::to(&near.home.url());
    let mut settings = near.home.settings();
    settings.database_url = relay.url().to_owned();
    let far = near.beside_with(settings).await;
    far.post("/v1/debits", scan("ann")).await.expect(201);
    ([near, Arc::new(far)], relay)
}

fn a_commit_whose_answer_is_lost_is_answered_all_the_same(kind: Kind) {
    run(async {
        let (nodes, relay) = near_and_far(kind).await;
        for _ in 0..20 {
            // The worker behind the writers commits, too, and may be the one that meets it.
            relay.cut_next_commit(Cut::AfterCommit);
            nodes[1].post("/v1/debits", scan("ann")).await.expect(201);
        }
        assert_eq!(available(&nodes[0], "ann").await, "979");
        assert_verified(&nodes).await;
    });
}

fn a_commit_that_is_lost_asks_to_be_repeated_and_is_made_once(kind: Kind) {
    run(async {
        let (nodes, relay) = near_and_far(kind).await;
        let mut lost = 0;
        for round in 0..20 {
            let key = format!("round-{round}");
            relay.cut_next_commit(Cut::BeforeCommit);
            let answer = nodes[1].post_as("/v1/debits", scan("ann"), &key).await;
            if answer.status != 201 {
                answer.problem(503, "store_unavailable");
                assert!(answer.header("retry-after").is_some());
                lost += 1;
            }
            // Repeated on either node, it is the same request.
            nodes[round % 2].post_as("/v1/debits", scan("ann"), &key).await.expect(201);
        }
        assert!(lost > 5, "{lost} of 20");
        assert_eq!(available(&nodes[0], "ann").await, "979");
        assert_verified(&nodes).await;
    });
}

fn a_node_cut_off_from_its_database_says_so_and_recovers_by_itself(kind: Kind) {
    run(async {
        let (nodes, relay) = near_and_far(kind).await;
        relay.close(true);
        nodes[1].post_as("/v1/debits", scan("ann"), "meanwhile").await.problem(503, "store_unavailable");
        assert_eq!(nodes[1].raw("GET", "/readyz", &[], b"").await.expect(503)["ready"], false);
        assert_eq!(nodes[1].raw("GET", "/healthz", &[], b"").await.status, 200);
        nodes[0].post("/v1/debits", scan("ann")).await.expect(201);
        relay.close(false);
        nodes[1].post_as("/v1/debits", scan("ann"), "meanwhile").await.expect(201);
        let mut ready = (0..10_000).map(|_| nodes[1].raw("GET", "/readyz", &[], b""));
        let recovered = async {
            for ask in &mut ready {
                if ask.await.status == 200 {
                    return true;
                }
            }
            false
        };
        assert!(recovered.await, "it never says that it is ready");
        assert_eq!(available(&nodes[0], "ann").await, "997");
        assert_verified(&nodes).await;
    });
}

on_every_server! {
    a_commit_whose_answer_is_lost_is_answered_all_the_same,
    a_commit_that_is_lost_asks_to_be_repeated_and_is_made_once,
    a_node_cut_off_from_its_database_says_so_and_recovers_by_itself,
}
