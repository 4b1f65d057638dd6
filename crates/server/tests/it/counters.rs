//! Limits, included quantities and tiers by the month: what counts from one call to the next.

use crate::databases::Kind;
use crate::nodes::{assert_verified, run, two};
use crate::server::{Answer, Server};
use purser_app::database::{Console, DatabaseUrl};
use purser_app::usecase::verify::verify;
use purser_core::time::{DAY, SECOND};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinSet;

async fn limit(server: &Server, body: Value) -> Value {
    server.post("/v1/limits", body).await.expect(201)
}

async fn debit(server: &Server, user: &str, action: &str, quantity: &str) -> Answer {
    server.post("/v1/debits", json!({"user": user, "action": action, "quantity": quantity})).await
}

/// Whether everything that is stored, counters among it, is what the entries make it.
async fn verified(server: &Server) {
    let url = server.home.url();
    let verified = tokio::task::spawn_blocking(move || verify(&url, |_, _| {})).await.expect("no panic");
    verified.expect("it verifies");
}

/// A service on which a `call` costs 1 and `ann` has 1,000 credits.
async fn with_calls() -> Server {
    let server = Server::start().await;
    server.action("call", json!({"model": "per_quantity", "rate": "1"})).await;
    server.grant("ann", "1000").await;
    server
}

async fn used(server: &Server) -> Value {
    server.get("/v1/limits?user=ann").await.expect(200)["data"][0]["used"].clone()
}

#[tokio::test]
async fn a_limit_refuses_what_would_pass_it_until_its_period_is_over() {
    let server = with_calls().await;
    let made = limit(&server, json!({"user": "ann", "amount": "10", "period": "day"})).await;
    let shown = json!({
        "id": made["id"], "tenant": null, "user": "ann", "each_user": false, "action": null, "unit": "credit",
        "amount": "10", "period": "day", "enforced": true, "alert_at": [], "used": "0",
        "resets_at": "2026-01-02T00:00:00Z"
    });
    assert_eq!(made, shown);
    debit(&server, "ann", "call", "7").await.expect(201);
    let refused = debit(&server, "ann", "call", "4").await.problem(403, "limit_reached");
    for (field, value) in [
        ("limit", "10"),
        ("used", "7"),
        ("required", "4"),
        ("unit", "credit"),
        ("resets_at", "2026-01-02T00:00:00Z"),
    ] {
        assert_eq!(refused[field], value, "{refused}");
    }
    assert_eq!(used(&server).await, "7");
    let body = json!({"user": "ann", "action": "call", "quantity": "4"}).to_string();
    let preflight = server.send("POST", "/v1/preflight", &[], &body).await.expect(200);
    assert_eq!((&preflight["allowed"], &preflight["code"]), (&json!(false), &json!("limit_reached")));
    assert_eq!((&preflight["resets_at"], &preflight["cost"]), (&refused["resets_at"], &json!("4")));
    debit(&server, "ann", "call", "3").await.expect(201);
    // What was done already passes it and counts.
    let settled = json!({"user": "ann", "action": "call", "quantity": "5", "mode": "settle"});
    server.post("/v1/debits", settled).await.expect(201);
    assert_eq!(used(&server).await, "15");
    server.clock.advance(DAY - SECOND);
    debit(&server, "ann", "call", "1").await.problem(403, "limit_reached");
    server.clock.advance(SECOND);
    debit(&server, "ann", "call", "10").await.expect(201);
    debit(&server, "ann", "call", "1").await.problem(403, "limit_reached");
    verified(&server).await;
}

#[tokio::test]
async fn whoever_reaches_a_share_of_a_limit_is_told_of_once_and_a_limit_may_be_there_for_that_alone() {
    let server = with_calls().await;
    let made = limit(
        &server,
        json!({"user": "ann", "amount": "10", "period": "day", "enforced": false, "alert_at": [100, 50, 50]}),
    )
    .await;
    assert_eq!((&made["enforced"], &made["alert_at"]), (&json!(false), &json!([50, 100])));
    let alerts = async || {
        let page = server.get("/v1/events?type=limit.alert").await.expect(200);
        let told = page["data"].as_array().expect("a list").iter();
        told.map(|event| (event["alert"]["percent"].clone(), event["alert"]["used"].clone()))
            .collect::<Vec<_>>()
    };
    debit(&server, "ann", "call", "4.999999").await.expect(201);
    assert_eq!(alerts().await, []);
    debit(&server, "ann", "call", "0.000001").await.expect(201);
    assert_eq!(alerts().await, [(json!(50), json!("5"))]);
    // A hold counts when it is placed, and its capture only beyond that.
    let hold = server.post("/v1/holds", json!({"user": "ann", "action": "call", "quantity": "5"})).await;
    let hold = hold.expect(201);
    assert_eq!(alerts().await.len(), 2);
    let path = format!("/v1/holds/{}/capture", hold["id"].as_str().expect("an id"));
    server.post(&path, json!({"quantity": "5"})).await.expect(200);
    // It refuses nothing, and what is beyond it is told of no more.
    debit(&server, "ann", "call", "500").await.expect(201);
    let told = alerts().await;
    assert_eq!(told, [(json!(50), json!("5")), (json!(100), json!("10"))]);
    let events = server.get("/v1/events?type=limit.alert").await.expect(200);
    let alert = json!({"limit_id": made["id"], "user": "ann", "percent": 50, "used": "5", "amount": "10",
        "unit": "credit", "resets_at": "2026-01-02T00:00:00Z"});
    assert_eq!(events["data"][0]["alert"], alert, "{events}");
    // The next day begins with nothing used; one step over both shares tells of both.
    server.clock.advance(DAY);
    debit(&server, "ann", "call", "11").await.expect(201);
    assert_eq!(alerts().await[2..], [(json!(50), json!("11")), (json!(100), json!("11"))]);
    // Setting it again without them is another limit about the same: it refuses, and tells nothing.
    let plain = limit(&server, json!({"user": "ann", "amount": "10", "period": "day"})).await;
    assert_eq!((&plain["id"], &plain["alert_at"]), (&made["id"], &json!([])));
    debit(&server, "ann", "call", "1").await.problem(403, "limit_reached");
    verified(&server).await;
}

#[tokio::test]
async fn what_is_no_alert_names_its_field() {
    let server = with_calls().await;
    let set = async |body: Value| server.post("/v1/limits", body).await;
    let with = |alert_at: Value, enforced: bool| json!({"user": "ann", "amount": "10", "period": "day", "alert_at": alert_at, "enforced": enforced});
    set(with(json!([50, 0]), true)).await.invalid("/alert_at/1", "out_of_range");
    set(with(json!([101]), true)).await.invalid("/alert_at/0", "out_of_range");
    set(with(json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), true)).await.invalid("/alert_at", "out_of_range");
    set(with(json!([]), false)).await.invalid("/alert_at", "required");
    assert_eq!(server.get("/v1/limits?user=ann").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_limit_that_is_changed_goes_on_counting_and_one_that_is_removed_refuses_nothing() {
    let server = with_calls().await;
    let body = |amount: &str| json!({"user": "ann", "action": "call", "amount": amount, "period": "week"});
    let made = limit(&server, body("5")).await;
    debit(&server, "ann", "call", "5").await.expect(201);
    let changed = limit(&server, body("8")).await;
    assert_eq!((&changed["id"], &changed["used"]), (&made["id"], &json!("5")));
    debit(&server, "ann", "call", "4").await.problem(403, "limit_reached");
    debit(&server, "ann", "call", "3").await.expect(201);
    let path = format!("/v1/limits/{}", made["id"].as_str().expect("an id"));
    let removed = server.send("DELETE", &path, &[], "").await.expect(200);
    assert_eq!((&removed["id"], &removed["used"]), (&made["id"], &json!("8")));
    server.send("DELETE", &path, &[], "").await.problem(404, "limit_not_found");
    debit(&server, "ann", "call", "50").await.expect(201);
    assert_eq!(server.get("/v1/limits?user=ann").await.expect(200)["data"], json!([]));
    verified(&server).await;
}

#[tokio::test]
async fn limits_are_for_all_users_each_of_them_one_of_them_or_an_action() {
    let server = Server::start().await;
    for action in ["call", "scan"] {
        server.action(action, json!({"model": "per_quantity", "rate": "1"})).await;
    }
    let spend = async |user: &str, action: &str, quantity: &str| {
        let body = json!({"tenant": "acme", "user": user, "action": action, "quantity": quantity});
        server.post("/v1/debits", body).await
    };
    for user in ["ann", "bob"] {
        let grant = json!({"tenant": "acme", "user": user, "amount": "100", "kind": "promotional", "reason": "a test"});
        server.post("/v1/grants", grant).await.expect(201);
    }
    let set = async |body: Value| limit(&server, body).await;
    set(json!({"tenant": "acme", "amount": "20", "period": "month"})).await;
    set(json!({"tenant": "acme", "each_user": true, "amount": "9", "period": "day"})).await;
    set(json!({"tenant": "acme", "action": "scan", "amount": "5", "period": "day"})).await;
    set(json!({"tenant": "acme", "user": "bob", "action": "call", "amount": "2", "period": "day"})).await;
    spend("ann", "scan", "5").await.expect(201);
    spend("bob", "scan", "1").await.problem(403, "limit_reached");
    spend("bob", "call", "3").await.problem(403, "limit_reached");
    spend("bob", "call", "2").await.expect(201);
    spend("ann", "call", "5").await.problem(403, "limit_reached");
    spend("ann", "call", "4").await.expect(201);
    server.clock.advance(DAY);
    spend("ann", "call", "9").await.expect(201);
    let refused = spend("bob", "scan", "1").await.problem(403, "limit_reached");
    // Of several limits the one that lasts longest is named.
    assert_eq!((&refused["limit"], &refused["resets_at"]), (&json!("20"), &json!("2026-02-01T00:00:00Z")));
    let listed = server.get("/v1/limits?tenant=acme").await.expect(200);
    let mut used: Vec<_> =
        listed["data"].as_array().expect("a list").iter().map(|limit| limit["used"].to_string()).collect();
    used.sort();
    assert_eq!(used, ["\"0\"", "\"0\"", "\"20\"", "null"]);
    // Other tenants are not concerned.
    server.grant("ann", "100").await;
    debit(&server, "ann", "call", "100").await.expect(201);
    verified(&server).await;
}

#[tokio::test]
async fn holds_count_when_placed_captures_correct_and_refunds_give_back_in_the_same_period() {
    let server = with_calls().await;
    limit(&server, json!({"user": "ann", "amount": "10", "period": "day"})).await;
    let hold = async |quantity: &str| {
        let body = json!({"user": "ann", "action": "call", "quantity": quantity, "expires_in": 600});
        server.post("/v1/holds", body).await
    };
    let of = |thing: &Value, what: &str| format!("/v1/holds/{}/{what}", thing["id"].as_str().expect("an id"));
    let first = hold("8").await.expect(201);
    assert_eq!(used(&server).await, "8");
    hold("3").await.problem(403, "limit_reached");
    server.post(&of(&first, "extend"), json!({"quantity": "11"})).await.problem(403, "limit_reached");
    server.post(&of(&first, "extend"), json!({"quantity": "9"})).await.expect(200);
    assert_eq!(used(&server).await, "9");
    let captured = server.post(&of(&first, "capture"), json!({"quantity": "4"})).await.expect(200);
    assert_eq!(used(&server).await, "4");
    let second = hold("6").await.expect(201);
    server.post(&of(&second, "release"), json!({})).await.expect(200);
    assert_eq!(used(&server).await, "4");
    hold("6").await.expect(201);
    // It runs out; the next command of the wallet knows.
    server.clock.advance(601 * SECOND);
    let debited = debit(&server, "ann", "call", "6").await.expect(201);
    assert_eq!(used(&server).await, "10");
    let refund = |debit: &Value, amount: &str| {
        let id = debit["id"].as_str().expect("an id").to_string();
        (format!("/v1/debits/{id}/refund"), json!({"amount": amount, "reason": "a test"}))
    };
    let (path, body) = refund(&captured["debit"], "3");
    server.post(&path, body).await.expect(200);
    assert_eq!(used(&server).await, "7");
    server.clock.advance(DAY);
    let (path, body) = refund(&debited, "5");
    server.post(&path, body).await.expect(200);
    assert_eq!(used(&server).await, "0");
    debit(&server, "ann", "call", "10").await.expect(201);
    verified(&server).await;
}

#[tokio::test]
async fn a_preflight_counts_a_hold_that_ran_out_as_little_as_the_debit_does() {
    let server = with_calls().await;
    let included = json!({"quantity": "10", "period": "day"});
    server.action("some", json!({"model": "per_quantity", "rate": "2", "included": included})).await;
    limit(&server, json!({"user": "ann", "action": "call", "amount": "10", "period": "day"})).await;
    for action in ["call", "some"] {
        let body = json!({"user": "ann", "action": action, "quantity": "8", "expires_in": 60});
        server.post("/v1/holds", body).await.expect(201);
    }
    server.clock.advance(61 * SECOND);
    for (action, cost) in [("call", "9"), ("some", "0")] {
        let body = json!({"user": "ann", "action": action, "quantity": "9"});
        let preflight = server.send("POST", "/v1/preflight", &[], &body.to_string()).await.expect(200);
        assert_eq!((&preflight["allowed"], &preflight["cost"]), (&json!(true), &json!(cost)), "{preflight}");
    }
    // Nothing was booked by asking; what is debited is what was said.
    for (action, cost) in [("call", "9"), ("some", "0")] {
        assert_eq!(debit(&server, "ann", action, "9").await.expect(201)["amount"], cost);
    }
    verified(&server).await;
}

#[tokio::test]
async fn a_hundred_limits_are_the_most_however_many_are_set_at_once_and_each_is_removed_once() {
    let server = Arc::new(Server::start().await);
    let mut setting = JoinSet::new();
    for user in 0..130 {
        let server = server.clone();
        setting.spawn(async move {
            let body = json!({"tenant": "acme", "user": format!("u{user}"), "amount": "1", "period": "day"});
            let answer = server.post("/v1/limits", body).await;
            match answer.status {
                201 => answer.expect(201)["id"].as_str().map(str::to_string),
                _ => {
                    answer.invalid("/tenant", "out_of_range");
                    None
                }
            }
        });
    }
    let made: Vec<String> = setting.join_all().await.into_iter().flatten().collect();
    assert_eq!(made.len(), 100);
    let mut removing = JoinSet::new();
    for id in made.iter().take(4).flat_map(|id| std::iter::repeat_n(id, 4)) {
        let (server, path) = (server.clone(), format!("/v1/limits/{id}"));
        removing.spawn(async move { server.send("DELETE", &path, &[], "").await.status });
    }
    let mut told = removing.join_all().await;
    told.sort_unstable();
    assert_eq!(told, [[200; 4].as_slice(), &[404; 12]].concat());
    assert_eq!(
        server.get("/v1/limits?tenant=acme").await.expect(200)["data"].as_array().map(Vec::len),
        Some(96)
    );
}

#[tokio::test]
async fn a_damaged_counter_is_the_trouble_of_the_commands_that_count_in_it_alone() {
    let server = with_calls().await;
    if server.home.settings().sqlite_path().is_none() {
        // The damage is a change of the schema, which on a server is not this role's to make; what meets it is one code.
        return;
    }
    // A writer that panics carries the batch out again one by one: the answers are the same, the panic is not meant to be.
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.fetch_or(panic.to_string().contains("nothing is being decided"), Ordering::SeqCst);
        before(panic);
    }));
    server.action("scan", json!({"model": "flat", "amount": "1"})).await;
    limit(&server, json!({"user": "ann", "action": "call", "amount": "10", "period": "day"})).await;
    debit(&server, "ann", "call", "1").await.expect(201);
    let url = server.home.url();
    let damage = tokio::task::spawn_blocking(move || {
        let console = Console::connect(&DatabaseUrl::parse(&url).expect("a URL")).expect("it is there");
        let sql = "
            ALTER TABLE counter RENAME TO sound;
            CREATE TABLE counter (
                tenant_no INTEGER, subject BLOB, rule BLOB, period_start INTEGER, used INTEGER,
                PRIMARY KEY (tenant_no, subject, rule, period_start)
            );
            INSERT INTO counter SELECT tenant_no, subject, rule, period_start, NULL FROM sound;
        ";
        console.run(sql).expect("a hand at the database");
    });
    damage.await.expect("no panic");
    // What was written beside it is noticed by the first who writes.
    let mut tries = 0;
    while debit(&server, "ann", "scan", "1").await.status != 201 {
        tries += 1;
        assert!(tries < 10, "it takes writes again");
    }
    // A batch is queued as one and its debits share transactions: the same wallet is charged before and behind the one that
    // cannot be counted.
    for round in 0..10 {
        let item = |place: u32| {
            let action = if place % 3 == 1 { "call" } else { "scan" };
            json!({"user": "ann", "action": action, "idempotency_key": format!("{round} {place}")})
        };
        let batch = json!({"debits": (0..30).map(item).collect::<Vec<_>>()});
        let answer = server.send("POST", "/v1/debits/batch", &[], &batch.to_string()).await.expect(200);
        for place in 0..30 {
            let expected = if place % 3 == 1 { 500 } else { 201 };
            assert_eq!(answer["results"][place]["status"], expected, "{answer}");
        }
    }
    assert!(!PANICKED.load(Ordering::SeqCst), "a writer panicked");
}

#[tokio::test]
async fn a_capture_beyond_its_hold_keeps_the_limit_where_its_rule_is_strict() {
    let server = Server::start().await;
    server.grant("ann", "1000").await;
    let price = json!({"model": "per_quantity", "rate": "1"});
    for (key, overage) in [
        ("strict", json!({"overage": "allow", "overage_percent": 100})),
        ("loose", json!({"overage": "debt"})),
    ] {
        let mut action = json!({"key": key, "name": key, "price": price});
        action.as_object_mut().expect("an object").extend(overage.as_object().expect("an object").clone());
        server.post("/v1/actions", action).await.expect(201);
    }
    limit(&server, json!({"user": "ann", "amount": "10", "period": "day"})).await;
    let hold = async |action: &str, quantity: &str| {
        let body = json!({"user": "ann", "action": action, "quantity": quantity});
        let held = server.post("/v1/holds", body).await.expect(201);
        format!("/v1/holds/{}/capture", held["id"].as_str().expect("an id"))
    };
    let (strict, loose) = (hold("strict", "6").await, hold("loose", "2").await);
    server.post(&strict, json!({"quantity": "9"})).await.problem(403, "limit_reached");
    server.post(&strict, json!({"quantity": "8"})).await.expect(200);
    server.post(&loose, json!({"quantity": "7"})).await.expect(200);
    assert_eq!(used(&server).await, "15");
    verified(&server).await;
}

#[tokio::test]
async fn a_limit_that_cannot_be_is_refused_by_its_field() {
    let server = with_calls().await;
    let cases = [
        (json!({"amount": "1", "period": "day"}), "/user", "required"),
        (json!({"user": "ann", "amount": "-1", "period": "day"}), "/amount", "out_of_range"),
        (json!({"user": "ann", "amount": "1", "period": "day", "unit": "gold"}), "/unit", "unknown_unit"),
        (
            json!({"user": "ann", "amount": "1", "period": "day", "each_user": true}),
            "/each_user",
            "not_applicable",
        ),
        (json!({"user": "a b", "amount": "1", "period": "day"}), "/user", "invalid_key"),
    ];
    for (body, pointer, code) in cases {
        server.post("/v1/limits", body).await.invalid(pointer, code);
    }
    let unknown = json!({"user": "ann", "action": "nothing", "amount": "1", "period": "day"});
    server.post("/v1/limits", unknown).await.problem(404, "action_not_found");
    server.get("/v1/limits").await.invalid("?tenant", "required");
    server
        .post("/v1/limits", json!({"user": "ann", "amount": "1", "period": "year"}))
        .await
        .problem(422, "invalid_request");
}

#[tokio::test]
async fn a_counter_that_was_changed_by_hand_is_found() {
    let server = with_calls().await;
    limit(&server, json!({"user": "ann", "amount": "10", "period": "day"})).await;
    debit(&server, "ann", "call", "7").await.expect(201);
    verified(&server).await;
    let url = server.home.url();
    let found = tokio::task::spawn_blocking(move || {
        let database = DatabaseUrl::parse(&url).expect("a URL");
        let console = Console::connect(&database).expect("it is there");
        console.run("UPDATE counter SET used = used - 1;\n").expect("a hand at the database");
        verify(&url, |_, _| {})
    });
    let said = found.await.expect("no panic").expect_err("it is found").to_string();
    assert!(
        said.contains("counter")
            && said.contains("it says 6999999, the entries of its period come to 7000000"),
        "{said}"
    );
}

#[tokio::test]
async fn tiers_of_the_month_go_on_from_call_to_call_and_begin_anew() {
    let server = Server::start().await;
    server.grant("ann", "1000").await;
    let tiers =
        json!([{"up_to": "10", "rate": "1"}, {"up_to": "20", "rate": "0.5", "flat": "2"}, {"rate": "0.1"}]);
    server.action("call", json!({"model": "graduated", "basis": "month", "tiers": tiers})).await;
    // By hand: 6; 4 + 2 + 2 × 0.5; 5 × 0.5; 3 × 0.5 + 2 × 0.1; all of it as one: 10 + 2 + 5 + 0.2.
    let mut ids = Vec::new();
    for (quantity, amount) in [("6", "6"), ("6", "7"), ("5", "2.5"), ("5", "1.7")] {
        let made = debit(&server, "ann", "call", quantity).await.expect(201);
        assert_eq!(made["amount"], amount, "{quantity}");
        ids.push(made["id"].as_str().expect("an id").to_string());
    }
    let shown = server.get(&format!("/v1/debits/{}/explain", ids[1])).await.expect(200);
    let lines = json!([
        {"part": "tier", "tier": 1, "quantity": "4", "rate": "1", "per": 1, "flat": "0", "cost": "4"},
        {"part": "tier", "tier": 2, "quantity": "2", "rate": "0.5", "per": 1, "flat": "2", "cost": "3"}
    ]);
    assert_eq!((&shown["used_before"], &shown["arithmetic"]["lines"]), (&json!("6"), &lines), "{shown}");
    assert!(
        shown["sentence"].as_str().expect("text").contains("after 6 used before in the period: tier 1: "),
        "{shown}"
    );
    server.clock.advance(31 * DAY);
    assert_eq!(debit(&server, "ann", "call", "6").await.expect(201)["amount"], "6");
    // Whatever happened since, the arithmetic of a debit stays what it was.
    let again = server.get(&format!("/v1/debits/{}/explain", ids[1])).await.expect(200);
    assert_eq!(again, shown);
    verified(&server).await;
}

#[tokio::test]
async fn an_included_quantity_is_free_in_each_period() {
    let server = Server::start().await;
    server.grant("ann", "1000").await;
    let included = json!({"quantity": "10", "period": "day"});
    let price = json!({"model": "per_quantity", "rate": "2", "minimum": "1", "included": included});
    server.action("call", price.clone()).await;
    server.action("once", json!({"model": "flat", "amount": "5", "included": {"quantity": "1"}})).await;
    let shown = server.get("/v1/actions/call").await.expect(200)["prices"][0].clone();
    for (name, value) in price.as_object().expect("an object") {
        assert_eq!(&shown[name], value, "{name}");
    }
    for (quantity, amount) in [("4", "0"), ("8", "4"), ("1", "2")] {
        let made = debit(&server, "ann", "call", quantity).await.expect(201);
        assert_eq!(made["amount"], amount, "{quantity}");
        let path = format!("/v1/debits/{}/explain", made["id"].as_str().expect("an id"));
        let part = &server.get(&path).await.expect(200)["arithmetic"]["lines"][0]["part"];
        assert_eq!(part, if quantity == "1" { "quantity" } else { "included" });
    }
    server.clock.advance(DAY);
    assert_eq!(debit(&server, "ann", "call", "11").await.expect(201)["amount"], "2");
    for amount in ["0", "5"] {
        assert_eq!(debit(&server, "ann", "once", "1").await.expect(201)["amount"], amount);
    }
    verified(&server).await;
}

#[tokio::test]
async fn a_quote_promises_what_it_costs_at_that_moment_of_the_period() {
    let server = Server::start().await;
    server.grant("ann", "1000").await;
    let tiers = json!([{"up_to": "10", "rate": "1"}, {"rate": "5"}]);
    server.action("call", json!({"model": "graduated", "basis": "month", "tiers": tiers})).await;
    let body = json!({"user": "ann", "action": "call", "quantity": "10"});
    let preflight = server.send("POST", "/v1/preflight", &[], &body.to_string()).await.expect(200);
    assert_eq!(preflight["cost"], "10");
    debit(&server, "ann", "call", "10").await.expect(201);
    let mut quoted = body.clone();
    quoted["quote"] = preflight["quote"]["token"].clone();
    // The first tier is there once: what would cost 50 now is not to be had for 10.
    server.post("/v1/debits", quoted.clone()).await.problem(409, "quote_expired");
    assert_eq!(server.post("/v1/debits", body.clone()).await.expect(201)["amount"], "50");
    let preflight = server.send("POST", "/v1/preflight", &[], &body.to_string()).await.expect(200);
    debit(&server, "ann", "call", "1").await.expect(201);
    quoted["quote"] = preflight["quote"]["token"].clone();
    let made = server.post("/v1/debits", quoted).await.expect(201);
    assert_eq!(made["amount"], "50");
    let path = format!("/v1/debits/{}/explain", made["id"].as_str().expect("an id"));
    assert_eq!(server.get(&path).await.expect(200)["used_before"], "20");
    // One that goes with the refusal for lack of credits, too.
    let refused = debit(&server, "bob", "call", "10").await.problem(402, "insufficient_credits");
    server.grant("bob", "1000").await;
    let kept = json!({"user": "bob", "action": "call", "quantity": "10", "quote": refused["quote"]["token"]});
    assert_eq!(server.post("/v1/debits", kept).await.expect(201)["amount"], "10");
    verified(&server).await;
}

fn two_nodes_never_pass_a_limit(kind: Kind) {
    run(async {
        let nodes = two(kind, "10000").await;
        let users: Vec<String> = (0..8).map(|no| format!("user{no}")).collect();
        for user in &users {
            let grant = json!({"tenant": "acme", "user": user, "amount": "1000", "kind": "promotional", "reason": "a test"});
            nodes[0].post("/v1/grants", grant).await.expect(201);
        }
        let all = json!({"tenant": "acme", "amount": "100", "period": "month", "alert_at": [100, 80]});
        let all = limit(&nodes[0], all).await;
        let each =
            json!({"tenant": "acme", "each_user": true, "amount": "17", "period": "month", "alert_at": [50]});
        let each = limit(&nodes[1], each).await;
        let mut clients = JoinSet::new();
        for client in 0..16 {
            let (node, user) = (nodes[client % 2].clone(), users[client % 8].clone());
            clients.spawn(async move {
                let mut done = 0;
                for _ in 0..25 {
                    let body = json!({"tenant": "acme", "user": user, "action": "scan"});
                    let answer = node.post("/v1/debits", body).await;
                    match answer.status {
                        201 => done += 1,
                        _ => _ = answer.problem(403, "limit_reached"),
                    }
                }
                done
            });
        }
        let done: i32 = clients.join_all().await.into_iter().sum();
        assert_eq!(done, 100);
        let listed = nodes[0].get("/v1/limits?tenant=acme").await.expect(200);
        assert!(
            listed["data"].as_array().expect("a list").iter().any(|limit| limit["used"] == "100"),
            "{listed}"
        );
        let alerts = nodes[1].get("/v1/events?type=limit.alert&limit=100").await.expect(200);
        let alerts = alerts["data"].as_array().expect("a list").iter().map(|event| &event["alert"]);
        let of = |limit: &Value| {
            let id = limit["id"].clone();
            alerts.clone().filter(move |alert| alert["limit_id"] == id)
        };
        let mut reached: Vec<String> =
            of(&all).map(|alert| format!("{} at {}", alert["used"], alert["percent"])).collect();
        reached.sort();
        assert_eq!(reached, ["\"100\" at 100", "\"80\" at 80"], "each is told once, by whichever node");
        let mut told: Vec<String> =
            of(&each).map(|alert| format!("{} at {}", alert["user"], alert["used"])).collect();
        told.sort();
        let mut half = Vec::new();
        for user in &users {
            let balance = nodes[0].get(&format!("/v1/balance?tenant=acme&user={user}")).await.expect(200);
            let left: u64 =
                balance["wallets"][0]["balance"]["available"].as_str().expect("text").parse().expect("whole");
            half.extend((1_000 - left >= 9).then(|| format!("\"{user}\" at \"9\"")));
        }
        assert_eq!(told, half, "each who came to half of 17");
        assert_verified(&nodes).await;
    });
}

on_every_server! {
    two_nodes_never_pass_a_limit,
}
