//! Two nodes on one database, and clients of both: whatever they do together, it is as if there were one.

use crate::databases::Kind;
use crate::server::{Answer, Home, Server};
use purser_app::caller::Scope;
use purser_app::usecase::api_key;
use purser_app::usecase::verify::verify;
use purser_core::time::SECOND;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;

/// How often something is asked that another node hears of within a second.
const ASKED_MAX: usize = 10_000;

/// Runs a test on threads of its own.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

/// Two nodes, an action that costs 1, and so many credits for `ann`.
pub(crate) async fn two(kind: Kind, credits: &str) -> [Arc<Server>; 2] {
    let home = Home::new(kind);
    let settings = home.settings();
    let one = Server::start_on(home, settings).await;
    one.action("scan", json!({"model": "flat", "amount": "1"})).await;
    one.grant("ann", credits).await;
    let other = one.beside().await;
    [Arc::new(one), Arc::new(other)]
}

pub(crate) fn scan(user: &str) -> Value {
    json!({"user": user, "action": "scan"})
}

pub(crate) async fn available(server: &Server, user: &str) -> Value {
    server.get(&format!("/v1/balance?user={user}")).await.expect(200)["wallets"][0]["balance"]["available"]
        .clone()
}

/// Both nodes are asked the same at once.
async fn both(nodes: &[Arc<Server>; 2], path: &str, bodies: [Value; 2], keys: [&str; 2]) -> [Answer; 2] {
    let [one, other] = nodes;
    let [first, second] = bodies;
    let (one, other) = tokio::join!(one.post_as(path, first, keys[0]), other.post_as(path, second, keys[1]));
    [one, other]
}

/// Asks until the answer is this: what another node changed is heard of within a second.
async fn asked_until(status: u16, ask: impl AsyncFn() -> Answer) -> Answer {
    for _ in 0..ASKED_MAX {
        let answer = ask().await;
        if answer.status == status {
            return answer;
        }
    }
    panic!("it was never answered {status}")
}

/// The ledger is what every law says, after everything.
pub(crate) async fn assert_verified(nodes: &[Arc<Server>; 2]) {
    let url = nodes[0].home.url();
    tokio::task::spawn_blocking(move || verify(&url, |_, _| {}))
        .await
        .expect("no panic")
        .expect("it verifies");
}

fn sixty_four_clients_of_both_spend_one_wallet_to_the_last_credit(kind: Kind) {
    run(async {
        let nodes = two(kind, "1000").await;
        let (next, mut clients) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        for client in 0..64 {
            let (node, next) = (nodes[client % 2].clone(), next.clone());
            clients.spawn(async move {
                let (mut done, mut refused) = (0, 0);
                while next.fetch_add(1, Ordering::SeqCst) < 2_000 {
                    let answer = node.post("/v1/debits", scan("ann")).await;
                    match answer.status {
                        201 => done += 1,
                        _ => {
                            answer.problem(402, "insufficient_credits");
                            refused += 1;
                        }
                    }
                }
                (done, refused)
            });
        }
        let counts = clients.join_all().await;
        let sums = counts.iter().fold((0, 0), |sums, one| (sums.0 + one.0, sums.1 + one.1));
        assert_eq!(sums, (1_000, 1_000));
        for node in &nodes {
            assert_eq!(available(node, "ann").await, "0");
        }
        assert_verified(&nodes).await;
    });
}

fn one_key_sent_to_both_at_once_moves_once_and_answers_both_alike(kind: Kind) {
    run(async {
        let nodes = two(kind, "1000").await;
        for round in 0..200 {
            let key = format!("round-{round}");
            let answers = both(&nodes, "/v1/debits", [scan("ann"), scan("ann")], [&key, &key]).await;
            assert_eq!(answers[0].expect(201), answers[1].expect(201));
            let replayed = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_some());
            assert_eq!(replayed.count(), 1, "round {round}");
        }
        assert_eq!(available(&nodes[0], "ann").await, "800");
        assert_verified(&nodes).await;
    });
}

fn one_key_with_two_requests_answers_one_and_refuses_the_other(kind: Kind) {
    run(async {
        let nodes = two(kind, "1000").await;
        nodes[0].grant("bob", "1000").await;
        for round in 0..50 {
            // Two wallets, so that nothing but the key is in the way.
            let key = format!("round-{round}");
            let answers = both(&nodes, "/v1/debits", [scan("ann"), scan("bob")], [&key, &key]).await;
            // Personal tenants are two, and each has keys of its own.
            assert_eq!(answers.map(|answer| answer.status), [201, 201]);
            let of = |user: &str| json!({"tenant": "acme", "user": user, "amount": "1", "kind": "promotional", "reason": "x"});
            let answers = both(&nodes, "/v1/grants", [of("cat"), of("dan")], [&key, &key]).await;
            let done = answers.iter().filter(|answer| answer.status == 201).count();
            let refused = answers.iter().find(|answer| answer.status != 201).expect("one of them");
            refused.problem(422, "idempotency_conflict");
            assert_eq!(done, 1);
        }
        assert_eq!(available(&nodes[1], "ann").await, "950");
        assert_verified(&nodes).await;
    });
}

fn a_key_revoked_on_one_spends_on_none_from_the_answer_on(kind: Kind) {
    run(async {
        let [one, other] = two(kind, "1000").await;
        for _ in 0..5 {
            let key = api_key::create(&one.app, "soon gone", Scope::Write, None).await.expect("a key");
            let authorization = format!("Bearer {key}");
            let ask = async |node: &Server, number: &str| {
                let headers = [
                    ("Authorization", authorization.as_str()),
                    ("Idempotency-Key", number),
                    ("Content-Type", "application/json"),
                ];
                node.raw("POST", "/v1/debits", &headers, scan("ann").to_string().as_bytes()).await
            };
            asked_until(201, async || ask(&other, &other.fresh_key()).await).await;
            let before = available(&one, "ann").await;
            api_key::revoke(&one.app, &key[..16]).await.expect("revoked");
            for node in [&other, &one] {
                ask(node, &node.fresh_key()).await.problem(401, "unauthenticated");
                assert_eq!(available(node, "ann").await, before);
            }
            // Reads follow.
            let read =
                async || other.raw("GET", "/v1/units", &[("Authorization", &authorization)], b"").await;
            asked_until(401, read).await;
        }
    });
}

fn a_price_published_on_one_is_charged_on_the_other_from_the_answer_on(kind: Kind) {
    run(async {
        let [one, other] = two(kind, "1000").await;
        for price in ["2", "3", "4", "5"] {
            // Of two versions from one instant it would be left to chance which is in force.
            [&one, &other].into_iter().for_each(|node| node.clock.advance(SECOND));
            one.post("/v1/actions/scan/prices", json!({"model": "flat", "amount": price})).await.expect(201);
            assert_eq!(other.post("/v1/debits", scan("ann")).await.expect(201)["amount"], price);
            assert_eq!(one.post("/v1/debits", scan("ann")).await.expect(201)["amount"], price);
        }
        // Switched off on one, it is not consumed on the other.
        other.send("POST", "/v1/actions/scan/deactivate", &[], "").await.expect(200);
        one.post("/v1/debits", scan("ann")).await.problem(404, "action_not_found");
    });
}

fn what_is_made_on_one_is_known_on_the_other_within_a_moment(kind: Kind) {
    run(async {
        let [one, other] = two(kind, "1000").await;
        one.post("/v1/units", json!({"code": "sms", "scale": 0, "name": "Messages"})).await.expect(201);
        one.action("send", json!({"model": "flat", "unit": "sms", "amount": 1})).await;
        let grant = json!({"user": "ann", "unit": "sms", "amount": 3, "kind": "promotional", "reason": "x"});
        asked_until(201, async || other.post("/v1/grants", grant.clone()).await).await;
        let send = json!({"user": "ann", "action": "send"});
        let debit = asked_until(201, async || other.post("/v1/debits", send.clone()).await).await;
        assert_eq!(
            (&debit.json()["unit"], &debit.json()["balance"]["available"]),
            (&json!("sms"), &json!("2"))
        );
        other.action("scan2", json!({"model": "free"})).await;
        let again = json!({"key": "scan2", "name": "Other", "price": {"model": "flat", "amount": "1"}});
        one.post("/v1/actions", again).await.problem(409, "action_exists");
    });
}

fn a_user_first_met_on_both_at_once_is_one_user_with_one_wallet(kind: Kind) {
    run(async {
        let nodes = two(kind, "1").await;
        for round in 0..25 {
            let tenant = if round % 2 == 0 { json!(null) } else { json!(format!("tenant-{round}")) };
            let user = format!("user-{round}");
            let grant =
                json!({"tenant": tenant, "user": user, "amount": "3", "kind": "promotional", "reason": "x"});
            let keys = [nodes[0].fresh_key(), nodes[1].fresh_key()];
            let answers = both(&nodes, "/v1/grants", [grant.clone(), grant], [&keys[0], &keys[1]]).await;
            let [first, second] = answers.map(|answer| answer.expect(201));
            assert_eq!(first["wallet_id"], second["wallet_id"]);
            let wallet = first["wallet_id"].as_str().expect("text");
            for node in &nodes {
                let read = node.get(&format!("/v1/wallets/{wallet}")).await.expect(200);
                assert_eq!((&read["user"], &read["balance"]["settled"]), (&json!(user), &json!("6")));
            }
        }
        let all = nodes[0].get("/v1/wallets?limit=500").await.expect(200);
        assert_eq!(all["data"].as_array().expect("a list").len(), 26);
        assert_verified(&nodes).await;
    });
}

fn a_hold_placed_on_one_is_captured_once_though_both_try(kind: Kind) {
    run(async {
        let nodes = two(kind, "1000").await;
        for round in 0..40 {
            let place = json!({"user": "ann", "action": "scan", "amount": "5"});
            let hold = nodes[round % 2].post("/v1/holds", place).await.expect(201);
            let path = format!("/v1/holds/{}", hold["id"].as_str().expect("text"));
            let (capture, release) = (format!("{path}/capture"), format!("{path}/release"));
            let keys = [nodes[0].fresh_key(), nodes[1].fresh_key()];
            let ask = json!({"amount": "2"});
            let answers = if round % 4 < 2 {
                both(&nodes, &capture, [ask.clone(), ask], [&keys[0], &keys[1]]).await
            } else {
                let (captured, released) =
                    tokio::join!(nodes[0].post(&capture, ask), nodes[1].post(&release, json!({})));
                [captured, released]
            };
            let done = answers.iter().filter(|answer| answer.status == 200).count();
            assert_eq!(done, 1, "{answers:?}");
            answers
                .iter()
                .find(|answer| answer.status != 200)
                .expect("the other")
                .problem(409, "hold_closed");
            let read = nodes[(round + 1) % 2].get(&path).await.expect(200);
            assert_ne!(read["state"], "active");
        }
        let balance = nodes[0].get("/v1/balance?user=ann").await.expect(200)["wallets"][0]["balance"].clone();
        assert_eq!(balance["held"], "0");
        assert_verified(&nodes).await;
    });
}

fn transfers_in_opposite_directions_are_all_made(kind: Kind) {
    run(async {
        let home = Home::new(kind);
        let settings = home.settings();
        let one = Server::start_on(home, settings).await;
        let of = |user: &str| json!({"tenant": "acme", "user": user, "amount": "500", "kind": "promotional", "reason": "x"});
        for user in ["ann", "bob", "cat"] {
            one.post("/v1/grants", of(user)).await.expect(201);
        }
        let nodes = [Arc::new(one.beside().await), Arc::new(one)];
        let mut clients = JoinSet::new();
        for client in 0..12 {
            let node = nodes[client % 2].clone();
            let users = ["ann", "bob", "cat"];
            let (from, to) = (users[client % 3], users[(client + 1 + client / 6) % 3]);
            clients.spawn(async move {
                for _ in 0..15 {
                    let body =
                        json!({"tenant": "acme", "from": {"user": from}, "to": {"user": to}, "amount": "1"});
                    node.post("/v1/transfers", body).await.expect(201);
                }
            });
        }
        clients.join_all().await;
        let all = nodes[0].get("/v1/wallets?tenant=acme").await.expect(200);
        let settled = all["data"].as_array().expect("a list").iter().map(|wallet| {
            wallet["balance"]["settled"].as_str().expect("text").parse::<u64>().expect("whole credits")
        });
        assert_eq!(settled.sum::<u64>(), 1_500);
        assert_verified(&nodes).await;
    });
}

fn lists_and_balances_of_one_show_at_once_what_the_other_did(kind: Kind) {
    run(async {
        let [one, other] = two(kind, "100").await;
        for round in 1..=20 {
            let (writes, reads) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
            let body = json!({"user": "ann", "action": "scan", "reference": format!("order-{round}")});
            let debit = writes.post("/v1/debits", body).await.expect(201);
            let wallet = debit["wallet_id"].as_str().expect("text");
            assert_eq!(available(reads, "ann").await, debit["balance"]["available"]);
            let entries = reads.get(&format!("/v1/wallets/{wallet}/entries")).await.expect(200);
            let list = entries["data"].as_array().expect("a list");
            assert_eq!((list.len(), &list[0]["reference"]), (round + 1, &json!(format!("order-{round}"))));
            let found = reads.get(&format!("/v1/wallets/{wallet}/entries?reference=order-{round}")).await;
            assert_eq!(found.expect(200)["data"].as_array().expect("a list").len(), 1);
        }
    });
}

on_every_server! {
    sixty_four_clients_of_both_spend_one_wallet_to_the_last_credit,
    one_key_sent_to_both_at_once_moves_once_and_answers_both_alike,
    one_key_with_two_requests_answers_one_and_refuses_the_other,
    a_key_revoked_on_one_spends_on_none_from_the_answer_on,
    a_price_published_on_one_is_charged_on_the_other_from_the_answer_on,
    what_is_made_on_one_is_known_on_the_other_within_a_moment,
    a_user_first_met_on_both_at_once_is_one_user_with_one_wallet,
    a_hold_placed_on_one_is_captured_once_though_both_try,
    transfers_in_opposite_directions_are_all_made,
    lists_and_balances_of_one_show_at_once_what_the_other_did,
}
