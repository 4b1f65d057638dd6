//! Holds that are placed for what past captures have cost.

use crate::databases::Kind;
use crate::nodes::run;
use crate::server::{Home, Server};
use purser_app::caller::Scope;
use purser_app::usecase::api_key;
use purser_core::time::SECOND;
use serde_json::{Value, json};

async fn grant(server: &Server, tenant: Option<&str>, user: &str) {
    let mut body = json!({"user": user, "amount": "1000", "kind": "promotional", "reason": "a test"});
    if let Some(tenant) = tenant {
        body["tenant"] = json!(tenant);
    }
    server.post("/v1/grants", body).await.expect(201);
}

/// Captures so many copies of bob of acme, a credit each.
async fn captured(server: &Server, copies: u32) {
    let hold = json!({"tenant": "acme", "user": "bob", "action": "copy", "quantity": "30"});
    let hold = server.post("/v1/holds", hold).await.expect(201);
    let path = format!("/v1/holds/{}/capture", hold["id"].as_str().expect("an id"));
    server.post(&path, json!({"quantity": copies.to_string()})).await.expect(200);
}

fn estimated(tenant: Option<&str>, user: &str) -> Value {
    let mut body = json!({"user": user, "action": "copy", "estimate": "history"});
    if let Some(tenant) = tenant {
        body["tenant"] = json!(tenant);
    }
    body
}

async fn copies(kind: Kind, captures: u32) -> Server {
    let home = Home::new(kind);
    let settings = home.settings();
    let server = Server::start_on(home, settings).await;
    server.action("copy", json!({"model": "per_quantity", "rate": "1"})).await;
    grant(&server, Some("acme"), "bob").await;
    for copies in 1..=captures {
        captured(&server, copies).await;
    }
    server
}

fn a_hold_by_history_is_for_what_95_of_100_captures_cost(kind: Kind) {
    run(async {
        let mut server = copies(kind, 19).await;
        let bob = estimated(Some("acme"), "bob");
        server.post("/v1/holds", bob.clone()).await.invalid("/estimate", "too_little_history");
        captured(&server, 20).await;
        // What was found is used for a minute.
        server.post("/v1/holds", bob.clone()).await.invalid("/estimate", "too_little_history");
        server.clock.advance(60 * SECOND);
        let hold = server.post_as("/v1/holds", bob.clone(), "one").await.expect(201);
        assert_eq!(hold["held"], "19");
        // A key tells what it told, whatever history says by now.
        captured(&server, 30).await;
        captured(&server, 30).await;
        server.clock.advance(60 * SECOND);
        let again = server.post_as("/v1/holds", bob.clone(), "one").await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.expect(201)["id"], hold["id"]);
        assert_eq!(server.post("/v1/holds", bob).await.expect(201)["held"], "30");
        // The platform may know what it costs elsewhere; the key of another tenant may not.
        grant(&server, None, "zoe").await;
        assert_eq!(server.post("/v1/holds", estimated(None, "zoe")).await.expect(201)["held"], "30");
        grant(&server, Some("other"), "eve").await;
        let platform = server.key.clone();
        server.key = api_key::create(&server.app, "other", Scope::Write, Some("other")).await.expect("a key");
        let eve = estimated(Some("other"), "eve");
        server.post("/v1/holds", eve.clone()).await.invalid("/estimate", "too_little_history");
        server.key = platform;
        assert_eq!(server.post("/v1/holds", eve).await.expect(201)["held"], "30");
    });
}

#[tokio::test]
async fn an_estimate_takes_the_place_of_a_measure_and_is_in_one_unit() {
    let server = copies(Kind::from_environment("PURSER_IT_DATABASE"), 0).await;
    for (field, value) in
        [("quantity", json!("1")), ("amount", json!("5")), ("dimensions", json!({"in": "5"}))]
    {
        let mut body = estimated(Some("acme"), "bob");
        body[field] = value;
        server.post("/v1/holds", body).await.invalid("/estimate", "not_applicable");
    }
    let mut guess = estimated(Some("acme"), "bob");
    guess["estimate"] = json!("guess");
    assert_eq!(server.post("/v1/holds", guess).await.status, 422);
    let mut nothing = estimated(Some("acme"), "bob");
    nothing["action"] = json!("nothing");
    server.post("/v1/holds", nothing).await.problem(404, "action_not_found");
    let sms = json!({"code": "sms", "scale": 0, "name": "SMS"});
    server.post("/v1/units", sms).await.expect(201);
    let second = json!({"model": "flat", "unit": "sms", "amount": "1"});
    server.post("/v1/actions/copy/prices", second).await.expect(201);
    server.post("/v1/holds", estimated(Some("acme"), "bob")).await.invalid("/unit", "required");
}

#[tokio::test]
async fn a_hold_by_history_that_was_confirmed_is_for_what_was_confirmed() {
    let server = copies(Kind::from_environment("PURSER_IT_DATABASE"), 20).await;
    let asked = json!({"confirm_above": "10"}).to_string();
    server.send("PATCH", "/v1/actions/copy", &[], &asked).await.expect(200);
    let mut bob = estimated(Some("acme"), "bob");
    let refused = server.post("/v1/holds", bob.clone()).await.problem(409, "confirmation_required");
    assert_eq!(refused["required"], "19");
    let preferred = json!({"confirm_above": null}).to_string();
    server.send("PATCH", "/v1/actions/copy", &[], &preferred).await.expect(200);
    captured(&server, 30).await;
    captured(&server, 30).await;
    server.clock.advance(60 * SECOND);
    bob["quote"] = refused["quote"]["token"].clone();
    assert_eq!(server.post("/v1/holds", bob).await.expect(201)["held"], "19");
}

on_every_database!(a_hold_by_history_is_for_what_95_of_100_captures_cost);
