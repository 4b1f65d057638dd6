//! Discounts: what is taken off, of what, when, and that it stays what it was.

use crate::databases::Kind;
use crate::nodes::{assert_verified, run, two};
use crate::server::{Answer, Server};
use purser_app::database::{Console, DatabaseUrl};
use purser_core::time::{DAY, SECOND};
use serde_json::{Value, json};

async fn discount(server: &Server, body: Value) -> Value {
    server.post("/v1/discounts", body).await.expect(201)
}

fn scan(quantity: &str) -> Value {
    json!({"tenant": "acme", "user": "ann", "action": "scan", "quantity": quantity})
}

async fn debit(server: &Server, quantity: &str) -> Answer {
    server.post("/v1/debits", scan(quantity)).await
}

async fn charged(server: &Server, quantity: &str) -> Value {
    debit(server, quantity).await.expect(201)["amount"].clone()
}

async fn explained(server: &Server, debit: &Value) -> Value {
    let id = debit["id"].as_str().expect("an id");
    server.get(&format!("/v1/debits/{id}/explain")).await.expect(200)
}

/// A `scan` costs 0.3 each and 1 at the least; ann of acme has 1,000 credits.
async fn with_scans() -> Server {
    let server = Server::start().await;
    server.action("scan", json!({"model": "per_quantity", "rate": "0.3", "minimum": "1"})).await;
    let gift =
        json!({"tenant": "acme", "user": "ann", "amount": "1000", "kind": "promotional", "reason": "a test"});
    server.post("/v1/grants", gift).await.expect(201);
    server
}

#[tokio::test]
async fn a_discount_is_taken_off_what_the_price_comes_to_and_explained() {
    let server = with_scans().await;
    let made = discount(&server, json!({"tenant": "acme", "percent": "12.5"})).await;
    let shown = json!({
        "id": made["id"], "tenant": "acme", "user": null, "action": null, "percent": "12.5",
        "valid_from": "2026-01-01T00:00:00Z", "valid_until": null, "in_force": true
    });
    assert_eq!(made, shown);
    let asked = server.send("POST", "/v1/preflight", &[], &scan("10").to_string()).await.expect(200);
    assert_eq!(asked["cost"], "2.625");
    let debit = debit(&server, "10").await.expect(201);
    assert_eq!(debit["amount"], "2.625");
    let told = explained(&server, &debit).await;
    let arithmetic = &told["arithmetic"];
    for (field, value) in [("sum", "3"), ("discount", "12.5"), ("exact", "2.625"), ("total", "2.625")] {
        assert_eq!(arithmetic[field], value, "{told}");
    }
    let sentence = told["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("10 × 0.3 = 3, less 12.5 % = 2.625; paid by"), "{sentence}");
    // From the minimum, too; what is left has more digits than the unit, and is rounded once.
    assert_eq!(charged(&server, "1").await, "0.875");
    let third = discount(&server, json!({"tenant": "acme", "action": "scan", "percent": "33.33"})).await;
    let debit = server.post("/v1/debits", scan("3.333333")).await.expect(201);
    assert_eq!(debit["amount"], "0.6667", "the minimum of 1, less a third");
    let debit = server.post("/v1/debits", scan("11.000001")).await.expect(201);
    let arithmetic = explained(&server, &debit).await["arithmetic"].clone();
    assert_eq!((&arithmetic["exact"], &arithmetic["total"]), (&json!("2.20011020001"), &json!("2.200111")));
    assert_eq!(third["in_force"], true);
}

#[tokio::test]
async fn the_discount_on_the_action_counts_before_the_one_on_all_and_the_last_to_begin_before_others() {
    let server = with_scans().await;
    server.action("page", json!({"model": "flat", "amount": "10"})).await;
    let page = json!({"tenant": "acme", "user": "ann", "action": "page"});
    let page = async || server.post("/v1/debits", page.clone()).await.expect(201)["amount"].clone();
    discount(&server, json!({"tenant": "acme", "percent": "10"})).await;
    assert_eq!((charged(&server, "10").await, page().await), (json!("2.7"), json!("9")));
    let none = discount(&server, json!({"tenant": "acme", "action": "scan", "percent": "0"})).await;
    assert_eq!((charged(&server, "10").await, page().await), (json!("3"), json!("9")));
    let week = json!({"tenant": "acme", "percent": "50", "valid_from": "2026-01-02T00:00:00Z",
        "valid_until": "2026-01-09T00:00:00Z"});
    discount(&server, week).await;
    assert_eq!(page().await, "9", "it has not begun");
    server.clock.advance(DAY);
    assert_eq!((charged(&server, "10").await, page().await), (json!("3"), json!("5")));
    let path = format!("/v1/discounts/{}", none["id"].as_str().expect("an id"));
    let ended = server.send("DELETE", &path, &[], "").await.expect(200);
    assert_eq!((&ended["valid_until"], &ended["in_force"]), (&json!("2026-01-02T00:00:00Z"), &json!(false)));
    assert_eq!(charged(&server, "10").await, "1.5");
    server.clock.advance(7 * DAY);
    assert_eq!(page().await, "9", "what began before is still in force");
    // Work of the week that is told of late goes by the week's discount, and by nothing that was ended then.
    let late = json!({"tenant": "acme", "user": "ann", "action": "scan", "quantity": "10", "mode": "settle",
        "occurred_at": "2026-01-08T00:00:00Z"});
    assert_eq!(server.post("/v1/debits", late).await.expect(201)["amount"], "1.5");
    let list = server.get("/v1/discounts?tenant=acme").await.expect(200);
    let in_force: Vec<(&Value, &Value)> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|own| (&own["percent"], &own["in_force"]))
        .collect();
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(in_force, [(&json!("10"), &yes), (&json!("0"), &no), (&json!("50"), &no)]);
}

#[tokio::test]
async fn what_was_agreed_promised_or_held_is_not_touched_by_a_discount() {
    let server = with_scans().await;
    let hold = server.post("/v1/holds", scan("10")).await.expect(201);
    let asked = server.send("POST", "/v1/preflight", &[], &scan("10").to_string()).await.expect(200);
    let given = discount(&server, json!({"tenant": "acme", "percent": "50"})).await;
    let under = server.post("/v1/holds", scan("10")).await.expect(201);
    assert_eq!((&hold["held"], &under["held"]), (&json!("3"), &json!("1.5")));
    let cheap = server.send("POST", "/v1/preflight", &[], &scan("10").to_string()).await.expect(200);
    let path = format!("/v1/discounts/{}", given["id"].as_str().expect("an id"));
    server.clock.advance(SECOND);
    server.send("DELETE", &path, &[], "").await.expect(200);
    // Each at what it was placed or promised at, whatever is in force now.
    let capture = async |hold: &Value| {
        let path = format!("/v1/holds/{}/capture", hold["id"].as_str().expect("an id"));
        server.post(&path, json!({"quantity": "6"})).await.expect(200)["captured"].clone()
    };
    assert_eq!((capture(&hold).await, capture(&under).await), (json!("1.8"), json!("0.9")));
    for (asked, amount) in [(&asked, "3"), (&cheap, "1.5")] {
        let mut quoted = scan("10");
        quoted["quote"] = asked["quote"]["token"].clone();
        let debit = server.post("/v1/debits", quoted).await.expect(201);
        assert_eq!(debit["amount"], amount);
        let told = explained(&server, &debit).await;
        assert_eq!((&told["quote_id"], &told["amount"]), (&asked["quote"]["id"], &json!(amount)), "{told}");
        let sentence = told["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains("as a quote promised"), "{sentence}");
    }
    let plain = debit(&server, "10").await.expect(201);
    assert_eq!(
        (&plain["amount"], &explained(&server, &plain).await["quote_id"]),
        (&json!("3"), &json!(null))
    );
    // A price of its own is what was agreed.
    discount(&server, json!({"tenant": "acme", "percent": "50"})).await;
    let own = json!({"tenant": "acme", "price": {"model": "per_quantity", "rate": "0.2"}});
    server.post("/v1/actions/scan/tenant_prices", own).await.expect(201);
    assert_eq!(charged(&server, "10").await, "2");
}

#[tokio::test]
async fn a_user_without_a_tenant_has_discounts_too_and_everybody_else_pays_as_before() {
    let server = with_scans().await;
    server.grant("bob", "100").await;
    server.grant("eve", "100").await;
    let made = discount(&server, json!({"user": "bob", "percent": "100"})).await;
    assert_eq!((&made["tenant"], &made["user"]), (&json!(null), &json!("bob")));
    let pays = async |user: &str| {
        let body = json!({"user": user, "action": "scan", "quantity": "10"});
        server.post("/v1/debits", body).await.expect(201)["amount"].clone()
    };
    assert_eq!((pays("bob").await, pays("eve").await), (json!("0"), json!("3")));
    assert_eq!(charged(&server, "10").await, "3");
    assert_eq!(server.get("/v1/discounts?user=bob").await.expect(200)["data"], json!([made]));
    assert_eq!(server.get("/v1/discounts?tenant=acme").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_discount_that_is_asked_for_again_is_the_same_one_until_it_is_ended() {
    let server = with_scans().await;
    let half = json!({"tenant": "acme", "percent": "50"});
    let first = discount(&server, half.clone()).await;
    server.clock.advance(SECOND);
    assert_eq!(discount(&server, half.clone()).await, first);
    let later = json!({"tenant": "acme", "percent": "50", "valid_from": "2026-02-01T00:00:00Z"});
    assert_eq!(discount(&server, later.clone()).await, discount(&server, later).await);
    let path = format!("/v1/discounts/{}", first["id"].as_str().expect("an id"));
    server.send("DELETE", &path, &[], "").await.expect(200);
    assert_eq!(charged(&server, "10").await, "3", "nothing is left behind that nobody knows of");
    assert_ne!(discount(&server, half).await["id"], first["id"]);
    assert_eq!(
        server.get("/v1/discounts?tenant=acme").await.expect(200)["data"].as_array().map(Vec::len),
        Some(3)
    );
}

#[tokio::test]
async fn a_discount_that_another_took_the_place_of_is_given_anew() {
    let server = with_scans().await;
    let of = |percent: &str| json!({"tenant": "acme", "percent": percent});
    let first = discount(&server, of("10")).await;
    discount(&server, of("30")).await;
    assert_eq!(charged(&server, "10").await, "2.1");
    let again = discount(&server, of("10")).await;
    assert_ne!(again["id"], first["id"]);
    assert_eq!((&again["in_force"], charged(&server, "10").await), (&json!(true), json!("2.7")));
    // Those of a day to come as well.
    let on =
        |percent: &str| json!({"tenant": "acme", "percent": percent, "valid_from": "2026-01-02T00:00:00Z"});
    for percent in ["10", "30", "10"] {
        discount(&server, on(percent)).await;
    }
    server.clock.advance(DAY);
    assert_eq!(charged(&server, "10").await, "2.7");
}

#[tokio::test]
async fn what_ended_so_long_ago_that_nothing_asks_for_it_makes_room() {
    let server = with_scans().await;
    let day = |until: &str| json!({"tenant": "acme", "percent": "50", "valid_until": until});
    discount(&server, day("2026-01-02T00:00:00Z")).await;
    let count = async || {
        let list = server.get("/v1/discounts?tenant=acme").await.expect(200);
        list["data"].as_array().expect("a list").len()
    };
    server.clock.advance(32 * DAY);
    discount(&server, day("2026-02-03T00:00:00Z")).await;
    assert_eq!(count().await, 2, "work of the first day can still be told of");
    server.clock.advance(3 * DAY);
    discount(&server, day("2026-02-06T00:00:00Z")).await;
    assert_eq!(count().await, 2);
}

#[tokio::test]
async fn what_one_tenant_has_taken_off_says_nothing_of_what_holds_of_others_are_for() {
    let server = with_scans().await;
    let gift = |user: &str| json!({"tenant": user, "user": user, "amount": "900", "kind": "promotional", "reason": "a test"});
    server.post("/v1/grants", gift("rich")).await.expect(201);
    server.post("/v1/grants", gift("poor")).await.expect(201);
    let half = discount(&server, json!({"tenant": "rich", "percent": "50"})).await;
    let hold = async |tenant: &str, measure: Value| {
        let mut body = json!({"tenant": tenant, "user": tenant, "action": "scan"});
        body.as_object_mut().expect("an object").extend(measure.as_object().expect("an object").clone());
        server.post("/v1/holds", body).await.expect(201)
    };
    for _ in 0..20 {
        let placed = hold("rich", json!({"quantity": "10"})).await;
        assert_eq!(placed["held"], "1.5");
        let path = format!("/v1/holds/{}/capture", placed["id"].as_str().expect("an id"));
        server.post(&path, json!({})).await.expect(200);
    }
    let usual = json!({"estimate": "history"});
    assert_eq!(hold("rich", usual.clone()).await["held"], "1.5", "with what it has taken off today");
    assert_eq!(hold("poor", usual.clone()).await["held"], "3");
    server.clock.advance(SECOND);
    let path = format!("/v1/discounts/{}", half["id"].as_str().expect("an id"));
    server.send("DELETE", &path, &[], "").await.expect(200);
    assert_eq!(hold("rich", usual).await["held"], "3");
}

#[tokio::test]
async fn what_is_no_discount_names_its_field() {
    let server = with_scans().await;
    let add = async |body: Value| server.post("/v1/discounts", body).await;
    for (body, pointer, code) in [
        (json!({"tenant": "acme", "percent": "100.01"}), "/percent", "out_of_range"),
        (json!({"tenant": "acme", "percent": "-1"}), "/percent", "out_of_range"),
        (json!({"tenant": "acme", "percent": "1.005"}), "/percent", "too_fine"),
        (json!({"percent": "1"}), "/user", "required"),
        (json!({"tenant": "acme", "user": "ann", "percent": "1"}), "/user", "not_applicable"),
        (
            json!({"tenant": "acme", "percent": "1", "valid_from": "2025-12-31T23:59:59Z"}),
            "/valid_from",
            "out_of_range",
        ),
        (
            json!({"tenant": "acme", "percent": "1", "valid_until": "2026-01-01T00:00:00Z"}),
            "/valid_until",
            "out_of_range",
        ),
    ] {
        add(body).await.invalid(pointer, code);
    }
    add(json!({"tenant": "acme", "action": "none", "percent": "1"})).await.problem(404, "action_not_found");
    let tenants = async || {
        let url = DatabaseUrl::parse(&server.home.url()).expect("a URL");
        let asked = tokio::task::spawn_blocking(move || {
            let console = Console::connect(&url).expect("a hand at the database");
            console.texts("SELECT tenant_key FROM tenant ORDER BY 1").expect("the tenants")
        });
        asked.await.expect("no panic")
    };
    let before = tenants().await;
    let late = json!({"tenant": "unheard-of", "percent": "1", "valid_from": "2025-12-31T00:00:00Z"});
    add(late).await.invalid("/valid_from", "out_of_range");
    assert_eq!(tenants().await, before, "what is refused makes nobody");
    assert_eq!(server.get("/v1/discounts?tenant=acme").await.expect(200)["data"], json!([]));
}

fn a_discount_of_one_node_is_taken_off_on_the_other(kind: Kind) {
    run(async {
        let nodes = two(kind, "10000").await;
        let gift = json!({"tenant": "acme", "user": "ann", "amount": "100", "kind": "promotional", "reason": "a test"});
        nodes[0].post("/v1/grants", gift).await.expect(201);
        let pays = async |node: usize| {
            let body = json!({"tenant": "acme", "user": "ann", "action": "scan"});
            nodes[node].post("/v1/debits", body).await.expect(201)["amount"].clone()
        };
        assert_eq!((pays(0).await, pays(1).await), (json!("1"), json!("1")));
        let made = discount(&nodes[0], json!({"tenant": "acme", "percent": "50"})).await;
        assert_eq!((pays(0).await, pays(1).await), (json!("0.5"), json!("0.5")));
        let again = discount(&nodes[1], json!({"tenant": "acme", "percent": "50"})).await;
        assert_eq!(again["id"], made["id"]);
        let path = format!("/v1/discounts/{}", made["id"].as_str().expect("an id"));
        nodes[1].send("DELETE", &path, &[], "").await.expect(200);
        assert_eq!((pays(0).await, pays(1).await), (json!("1"), json!("1")));
        assert_verified(&nodes).await;
    });
}

on_every_server! {
    a_discount_of_one_node_is_taken_off_on_the_other,
}
