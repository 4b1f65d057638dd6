//! Prices by tier and package as callers meet them, and debits that explain themselves.

use crate::databases::Kind;
use crate::nodes::{run, two};
use crate::server::Server;
use serde_json::{Value, json};

async fn debit(server: &Server, action: &str, quantity: &str) -> Value {
    let body = json!({"user": "ann", "action": action, "quantity": quantity, "mode": "settle"});
    server.post("/v1/debits", body).await.expect(201)
}

async fn explained(server: &Server, debit: &Value) -> Value {
    let id = debit["id"].as_str().expect("an id");
    server.get(&format!("/v1/debits/{id}/explain")).await.expect(200)
}

#[tokio::test]
async fn a_graduated_debit_is_explained_tier_by_tier() {
    let server = Server::start().await;
    let tiers = json!([{"up_to": 10, "rate": "1"}, {"up_to": "100", "rate": "0.8", "flat": "2"}, {"rate": "1", "per": 3}]);
    server.action("pages", json!({"model": "graduated", "tiers": tiers})).await;
    server.grant("ann", "50").await;
    let debit = debit(&server, "pages", "101").await;
    // 10 × 1 + 90 × 0.8 + 2 + 1 ÷ 3
    assert_eq!(debit["amount"], "84.333334");
    let shown = explained(&server, &debit).await;
    let lines = json!([
        {"part": "tier", "tier": 1, "quantity": "10", "rate": "1", "per": 1, "flat": "0", "cost": "10"},
        {"part": "tier", "tier": 2, "quantity": "90", "rate": "0.8", "per": 1, "flat": "2", "cost": "74"},
        {"part": "tier", "tier": 3, "quantity": "1", "rate": "1", "per": 3, "flat": "0", "cost": "1/3"}
    ]);
    let arithmetic = json!({
        "lines": lines, "sum": "253/3", "limit": null, "discount": null, "exact": "253/3", "rounding": "up", "total": "84.333334"
    });
    assert_eq!(shown["arithmetic"], arithmetic);
    assert_eq!((&shown["price"]["id"], &shown["price"]["model"]), (&debit["price_id"], &json!("graduated")));
    assert_eq!((&shown["quantity"], &shown["amount"]), (&json!("101"), &debit["amount"]));
    assert_eq!((&shown["lots"][0]["amount"], &shown["debt"]), (&json!("50"), &json!("34.333334")));
    let sentence = "pages was charged 84.333334 credit by its graduated price valid from 2026-01-01T00:00:00Z: \
        tier 1: 10 × 1 = 10; tier 2: 90 × 0.8 + 2 = 74; tier 3: 1 × 1 ÷ 3 = 1/3; together 253/3, rounded up to 84.333334";
    assert!(shown["sentence"].as_str().expect("text").starts_with(sentence), "{shown}");
    assert!(shown["sentence"].as_str().expect("text").ends_with("34.333334 credit as debt."), "{shown}");
}

#[tokio::test]
async fn money_limits_and_refunds_are_part_of_the_explanation() {
    let server = Server::start().await;
    server.action("files", json!({"model": "package", "amount": "2.5", "per": 100, "maximum": "6"})).await;
    let paid = json!({"amount": "10.00", "currency": "MYR"});
    let grant = json!({"user": "ann", "amount": "20", "kind": "paid", "paid": paid, "reason": "bought"});
    server.post("/v1/grants", grant).await.expect(201);
    let debit = debit(&server, "files", "200.5").await;
    let id = debit["id"].as_str().expect("an id");
    let back = json!({"amount": "1", "reason": "one was broken"});
    server.post(&format!("/v1/debits/{id}/refund"), back).await.expect(200);
    let shown = explained(&server, &debit).await;
    let arithmetic = json!({
        "lines": [{"part": "packages", "quantity": "3", "flat": "2.5", "cost": "7.5"}],
        "sum": "7.5", "limit": "maximum", "discount": null, "exact": "6", "rounding": null, "total": "6"
    });
    assert_eq!(shown["arithmetic"], arithmetic);
    let lot = &shown["lots"][0];
    assert_eq!((&lot["kind"], &lot["amount"]), (&json!("paid"), &json!("6")));
    assert_eq!(lot["money"], json!({"amount": "3.00", "currency": "MYR"}));
    assert_eq!((&shown["refunded"], &shown["refunds"][0]["amount"]), (&json!("1"), &json!("1")));
    let sentence = shown["sentence"].as_str().expect("text");
    assert!(
        sentence.ends_with(
            "cut to the maximum of 6; paid by 6 credit from a paid lot; 1 credit was given back since."
        ),
        "{sentence}"
    );
}

#[tokio::test]
async fn captures_are_explained_by_their_holds_price_and_stated_amounts_by_none() {
    let server = Server::start().await;
    let tiers = json!([{"up_to": "10", "rate": "1"}, {"up_to": null, "rate": "0.5"}]);
    server.action("calls", json!({"model": "volume", "tiers": tiers})).await;
    server.grant("ann", "50").await;
    let capture = async |hold: Value, capture: Value| {
        let hold = server.post("/v1/holds", hold).await.expect(201);
        let id = hold["id"].as_str().expect("an id").to_string();
        server.clock.advance(purser_core::time::SECOND);
        server.post("/v1/actions/calls/prices", json!({"model": "free"})).await.expect(201);
        let captured = server.post(&format!("/v1/holds/{id}/capture"), capture).await.expect(200);
        explained(&server, &captured["debit"]).await
    };
    let hold = json!({"user": "ann", "action": "calls", "quantity": "10"});
    let shown = capture(hold, json!({"quantity": "12"})).await;
    assert_eq!((&shown["amount"], &shown["price"]["model"]), (&json!("6"), &json!("volume")));
    assert_eq!(shown["arithmetic"]["lines"][0]["tier"], 2);
    let shown =
        capture(json!({"user": "ann", "action": "calls", "amount": "3"}), json!({"amount": "2"})).await;
    assert_eq!(
        (&shown["price"], &shown["arithmetic"], &shown["amount"]),
        (&json!(null), &json!(null), &json!("2"))
    );
    assert!(shown["sentence"].as_str().expect("text").contains("no price applies"), "{shown}");
    let missing = server.get("/v1/debits/deb_000/explain").await;
    assert_eq!(missing.status, 404, "{missing:?}");
}

#[tokio::test]
async fn tiers_and_packages_that_make_no_sense_are_refused_where_they_are_wrong() {
    let server = Server::start().await;
    let many: Vec<Value> = (1..=65).map(|tier| json!({"up_to": tier, "rate": 1})).collect();
    let open = json!([{"rate": 1}]);
    let of = |tiers: Value| json!({"model": "graduated", "tiers": tiers});
    let table = [
        (json!({"model": "volume"}), "/tiers", "required"),
        (of(json!([])), "/tiers", "required"),
        (of(json!(many)), "/tiers", "out_of_range"),
        (of(json!([{"rate": 1}, {"rate": 1}])), "/tiers/0/up_to", "required"),
        (of(json!([{"up_to": 5, "rate": 1}])), "/tiers/0/up_to", "out_of_range"),
        (of(json!([{"up_to": 0, "rate": 1}, {"rate": 1}])), "/tiers/0/up_to", "out_of_range"),
        (
            of(json!([{"up_to": 5, "rate": 1}, {"up_to": 5, "rate": 1}, {"rate": 1}])),
            "/tiers/1/up_to",
            "out_of_range",
        ),
        (of(json!([{"up_to": "0.0000001", "rate": 1}, {"rate": 1}])), "/tiers/0/up_to", "too_fine"),
        (of(json!([{"up_to": 5, "rate": 1}, {"rate": "-1"}])), "/tiers/1/rate", "out_of_range"),
        (of(json!([{"rate": 1, "per": 0}])), "/tiers/0/per", "out_of_range"),
        (of(json!([{"rate": 1, "flat": "-1"}])), "/tiers/0/flat", "out_of_range"),
        (of(json!([{"up_to": 5}])), "/tiers/0/rate", "required"),
        (json!({"model": "volume", "tiers": open, "rate": 1}), "/rate", "not_applicable"),
        (json!({"model": "flat", "amount": 1, "tiers": open}), "/tiers", "not_applicable"),
        (json!({"model": "free", "basis": "call"}), "/basis", "not_applicable"),
        (json!({"model": "flat", "amount": 1, "basis": "month"}), "/basis", "not_applicable"),
        (json!({"model": "free", "included": {"quantity": 1}}), "/included", "not_applicable"),
        (
            json!({"model": "flat", "amount": 1, "included": {"quantity": 0}}),
            "/included/quantity",
            "out_of_range",
        ),
        (
            json!({"model": "flat", "amount": 1, "included": {"quantity": "0.5"}}),
            "/included/quantity",
            "out_of_range",
        ),
        (json!({"model": "flat", "amount": 1, "included": {}}), "/included/quantity", "required"),
        (
            json!({"model": "volume", "tiers": open, "basis": "month", "included": {"quantity": 1, "period": "day"}}),
            "/included/period",
            "not_applicable",
        ),
        (json!({"model": "package", "per": 5}), "/amount", "required"),
        (json!({"model": "package", "amount": 1, "per": 0}), "/per", "out_of_range"),
        (json!({"model": "package", "amount": 1, "rounding": "up"}), "/rounding", "not_applicable"),
    ];
    for (price, pointer, code) in table {
        let answer = server.post("/v1/actions", json!({"key": "a", "name": "A", "price": price})).await;
        answer.invalid(&format!("/price{pointer}"), code);
    }
    let long = json!({"user": "ann", "action": "b", "dimensions": {"tokens": "1"}});
    server.action("b", json!({"model": "package", "amount": 1, "per": 5})).await;
    server.post("/v1/debits", long).await.problem(422, "usage_invalid");
}

fn what_one_node_made_and_charged_is_explained_by_the_other_at_once(kind: Kind) {
    run(async {
        let nodes = two(kind, "1000").await;
        for round in 0..20 {
            let key = format!("made-{round}");
            nodes[0].action(&key, json!({"model": "flat", "amount": "2"})).await;
            let debit = debit(&nodes[0], &key, "1").await;
            // A stranger made it look a moment ago: that must not keep it from looking for whoever has a debit to ask about.
            let stranger = [("Authorization", "Bearer psk_wrong")];
            nodes[1].raw("GET", "/v1/units", &stranger, b"").await.problem(401, "unauthenticated");
            assert_eq!(explained(&nodes[1], &debit).await["amount"], "2", "round {round}");
        }
    });
}

on_every_server! {
    what_one_node_made_and_charged_is_explained_by_the_other_at_once,
}
