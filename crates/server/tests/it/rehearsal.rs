//! A dry run charges the usage of the last days again at proposed prices: held against sums made by hand, on every database.

use crate::databases::Kind;
use crate::nodes::{available, run};
use crate::server::{Answer, Home, Server};
use purser_app::caller::Scope;
use purser_app::usecase::api_key;
use purser_core::time::DAY;
use serde_json::{Value, json};

async fn debit(server: &Server, tenant: Option<&str>, user: &str, action: &str, quantity: &str) -> Value {
    let mut body = json!({"user": user, "action": action, "quantity": quantity});
    if let Some(tenant) = tenant {
        body["tenant"] = json!(tenant);
    }
    server.post("/v1/debits", body).await.expect(201)
}

async fn captured(server: &Server, hold: Value, captured: Value) {
    let hold = server.post("/v1/holds", hold).await.expect(201);
    let path = format!("/v1/holds/{}/capture", hold["id"].as_str().expect("an id"));
    server.post(&path, captured).await.expect(200);
}

async fn grant(server: &Server, tenant: Option<&str>, user: &str, unit: &str) {
    let mut body =
        json!({"user": user, "unit": unit, "amount": "100", "kind": "promotional", "reason": "a test"});
    if let Some(tenant) = tenant {
        body["tenant"] = json!(tenant);
    }
    server.post("/v1/grants", body).await.expect(201);
}

/// Eight days ago one scan; since then, half of it by another node where there can be one:
///
/// | who | what | how much | cost |
/// | --- | --- | --- | --- |
/// | ann | scan | 2 × 1 | 10 credits |
/// | bob of acme | copy | 3 | 6 credits |
/// | eve of own, who pays 4 for a scan | scan | 1 | 4 credits |
/// | ann, captured | copy | 4 | 8 credits |
/// | ann, captured by amount | copy | | 7 credits |
/// | ann, settled | copy | 1 | 2 credits |
/// | ann | text | 1 | 0.10 MYR |
async fn used(kind: Kind) -> Server {
    let home = Home::new(kind);
    let settings = home.settings();
    let server = Server::start_on(home, settings).await;
    server.post("/v1/units", json!({"code": "MYR", "scale": 2, "name": "Ringgit"})).await.expect(201);
    server.action("scan", json!({"model": "flat", "amount": "5"})).await;
    server.action("copy", json!({"model": "per_quantity", "rate": "2"})).await;
    server.action("text", json!({"model": "flat", "amount": "0.10", "unit": "MYR"})).await;
    let own = json!({"tenant": "own", "price": {"model": "flat", "amount": "4"}});
    server.post("/v1/actions/scan/tenant_prices", own).await.expect(201);
    for (tenant, user, unit) in [
        (None, "ann", "credit"),
        (None, "ann", "MYR"),
        (Some("acme"), "bob", "credit"),
        (Some("own"), "eve", "credit"),
    ] {
        grant(&server, tenant, user, unit).await;
    }
    debit(&server, None, "ann", "scan", "1").await;
    server.clock.advance(8 * DAY);
    let beside = match kind {
        Kind::Sqlite => None,
        Kind::Postgres | Kind::Mysql => Some(server.beside().await),
    };
    let other = beside.as_ref().unwrap_or(&server);
    if beside.is_some() {
        other.clock.advance(8 * DAY);
    }
    let scan = debit(&server, None, "ann", "scan", "1").await;
    debit(other, None, "ann", "scan", "1").await;
    debit(other, Some("acme"), "bob", "copy", "3").await;
    debit(&server, Some("own"), "eve", "scan", "1").await;
    let hold = json!({"user": "ann", "action": "copy", "quantity": "5"});
    captured(other, hold, json!({"quantity": "4"})).await;
    let stated = json!({"user": "ann", "action": "copy", "amount": "9"});
    captured(&server, stated, json!({"amount": "7"})).await;
    let settled = json!({"user": "ann", "action": "copy", "quantity": "1", "mode": "settle"});
    other.post("/v1/debits", settled).await.expect(201);
    debit(&server, None, "ann", "text", "1").await;
    // What is given back is no usage.
    let refund = format!("/v1/debits/{}/refund", scan["id"].as_str().expect("an id"));
    server.post(&refund, json!({"reason": "a test"})).await.expect(200);
    server
}

async fn price(server: &Server, query: &str) -> Answer {
    let body = json!({"model": "per_quantity", "rate": "3"});
    server.send("POST", &format!("/v1/actions/copy/prices{query}"), &[], &body.to_string()).await
}

async fn catalogue(server: &Server, days: u32) -> Value {
    let flat = |key: &str, amount: &str, unit: &str| json!({"key": key, "name": key, "prices": [{"model": "flat", "amount": amount, "unit": unit}]});
    let body = json!({"actions": [
        flat("scan", "6", "credit"), flat("copy", "10", "credit"), flat("text", "0.25", "MYR"),
        flat("new", "1", "credit")]});
    let path = format!("/v1/catalogue?dry_run=true&days={days}");
    server.send("PUT", &path, &[], &body.to_string()).await.expect(200)["usage"].clone()
}

fn the_usage_of_the_last_days_is_charged_again_at_a_new_price(kind: Kind) {
    run(async {
        let server = used(kind).await;
        let before = (server.get("/v1/catalogue").await.expect(200), available(&server, "ann").await);
        let answer = price(&server, "?dry_run=true").await.expect(200);
        assert_eq!(
            (&answer["dry_run"], &answer["before"]["rate"], &answer["after"]["rate"]),
            (&json!(true), &json!("2"), &json!("3"))
        );
        let usage = &answer["usage"];
        let counts =
            ["days", "debits", "own_price", "stated_amount", "not_priceable"].map(|name| &usage[name]);
        assert_eq!(counts, [7, 4, 0, 1, 0].map(|count| json!(count)).each_ref(), "{usage}");
        assert_eq!(usage["truncated"], false);
        let credit = json!({
            "unit": "credit", "debits": 4, "before": "23", "after": "31", "difference": "8",
            "by_action": [{"action": "copy", "debits": 4, "before": "23", "after": "31", "difference": "8"}],
            "by_tenant": [
                {"tenant": null, "user": "ann", "debits": 3, "before": "17", "after": "22", "difference": "5"},
                {"tenant": "acme", "user": null, "debits": 1, "before": "6", "after": "9", "difference": "3"},
            ],
        });
        assert_eq!(usage["units"], json!([credit]));
        let after = (server.get("/v1/catalogue").await.expect(200), available(&server, "ann").await);
        assert_eq!(after, before, "nothing was changed");
    });
}

fn a_whole_catalogue_is_compared_by_what_it_would_have_charged(kind: Kind) {
    run(async {
        let server = used(kind).await;
        let usage = catalogue(&server, 7).await;
        let counts = ["debits", "own_price", "stated_amount", "not_priceable"].map(|name| &usage[name]);
        assert_eq!(counts, [8, 1, 1, 2].map(|count| json!(count)).each_ref(), "{usage}");
        let myr = json!({"debits": 1, "before": "0.1", "after": "0.25", "difference": "0.15"});
        let with = |name: &str, value: Value| {
            let mut sum = myr.clone();
            sum[name] = value;
            sum
        };
        let mut ann = with("user", json!("ann"));
        ann["tenant"] = json!(null);
        let mut text = with("unit", json!("MYR"));
        text["by_action"] = json!([with("action", json!("text"))]);
        text["by_tenant"] = json!([ann]);
        // Of four copies two are of more than one, which the new price cannot charge, and one is of a stated amount.
        let credit = json!({
            "unit": "credit", "debits": 7, "before": "37", "after": "47", "difference": "10",
            "by_action": [
                {"action": "copy", "debits": 4, "before": "23", "after": "31", "difference": "8"},
                {"action": "scan", "debits": 3, "before": "14", "after": "16", "difference": "2"},
            ],
            "by_tenant": [
                {"tenant": null, "user": "ann", "debits": 5, "before": "27", "after": "37", "difference": "10"}],
        });
        assert_eq!(usage["units"], json!([text, credit]));
        let longer = catalogue(&server, 31).await;
        let scan = json!({"action": "scan", "debits": 4, "before": "19", "after": "22", "difference": "3"});
        assert_eq!((&longer["debits"], &longer["units"][1]["by_action"][1]), (&json!(9), &scan));
    });
}

#[tokio::test]
async fn only_one_to_31_days_of_a_dry_run_can_be_asked_for_and_only_by_the_platform() {
    let server = Server::with_scan().await;
    server.action("copy", json!({"model": "per_quantity", "rate": "2"})).await;
    for (days, code) in [
        ("0", "out_of_range"),
        ("32", "out_of_range"),
        ("x", "malformed"),
        ("-1", "malformed"),
        ("", "malformed"),
    ] {
        price(&server, &format!("?dry_run=true&days={days}")).await.invalid("?days", code);
    }
    for query in ["?days=7", "?dry_run=false&days=7"] {
        price(&server, query).await.invalid("?days", "not_allowed");
    }
    price(&server, "?dry_run=maybe").await.invalid("?dry_run", "malformed");
    price(&server, "?dry=true").await.invalid("?dry", "unknown_field");
    let nothing = json!({"model": "free"}).to_string();
    let unknown = server.send("POST", "/v1/actions/nothing/prices?dry_run=true", &[], &nothing).await;
    unknown.problem(404, "action_not_found");
    let none = price(&server, "?dry_run=true&days=31").await.expect(200);
    assert_eq!((&none["usage"]["debits"], &none["usage"]["units"]), (&json!(0), &json!([])));
    let mut tenants = server;
    tenants.key = api_key::create(&tenants.app, "acme", Scope::Write, Some("acme")).await.expect("a key");
    price(&tenants, "?dry_run=true").await.problem(403, "platform_key_required");
}

on_every_database!(
    the_usage_of_the_last_days_is_charged_again_at_a_new_price,
    a_whole_catalogue_is_compared_by_what_it_would_have_charged,
);
