//! Confirmation: what costs more than an action or a user says is asked for its quote, last of all refusals.

use crate::databases::Kind;
use crate::nodes::{assert_verified, available, run, scan, two};
use crate::server::Server;
use purser_core::time::SECOND;
use serde_json::{Value, json};

/// A scan costs 5 and is asked about above so much; Ann has 100.
async fn asked_above(above: Value) -> Server {
    let server = Server::start_with(|settings| {
        settings.public_url = "https://credits.example.com".to_string();
        settings.return_origins = vec!["https://app.example.com".to_string()];
    })
    .await;
    let price = json!({"model": "flat", "amount": "5"});
    let action = json!({"key": "scan", "name": "Scan", "confirm_above": above, "price": price});
    server.post("/v1/actions", action.clone()).await.expect(201);
    server.post("/v1/actions", action).await.expect(201);
    server.grant("ann", "100").await;
    server
}

fn with(mut body: Value, field: &str, value: impl Into<Value>) -> Value {
    body[field] = value.into();
    body
}

async fn prefer(server: &Server, user: &str, body: Value) -> Value {
    let path = format!("/v1/users/{user}/preferences");
    server.send("PUT", &path, &[], &body.to_string()).await.expect(200)
}

#[tokio::test]
async fn what_costs_more_than_the_action_says_is_asked_for_its_quote() {
    let server = asked_above(json!("4.999999")).await;
    let shown = server.get("/v1/actions/scan").await.expect(200);
    assert_eq!(shown["confirm_above"], json!({"credit": "4.999999"}));
    let asked = server.send("POST", "/v1/preflight", &[], &scan("ann").to_string()).await.expect(200);
    assert_eq!((&asked["allowed"], &asked["confirmation_required"]), (&json!(true), &json!(true)));
    assert_eq!((&asked["cost"], &asked["balance_after"]), (&json!("5"), &json!("95")));
    for path in ["/v1/debits", "/v1/holds"] {
        let refused = server.post(path, scan("ann")).await.problem(409, "confirmation_required");
        assert_eq!((&refused["required"], &refused["unit"]), (&json!("5"), &json!("credit")));
        assert_eq!(refused["confirm_above"], "4.999999");
        let quoted = with(scan("ann"), "quote", refused["quote"]["token"].clone());
        server.post(path, quoted).await.expect(201);
    }
    assert_eq!(available(&server, "ann").await, "90");
    let quoted = with(scan("ann"), "quote", asked["quote"]["token"].clone());
    server.post("/v1/debits", quoted).await.expect(201);
    // Work that is done already is not asked about.
    server.post("/v1/debits", with(scan("ann"), "mode", "settle")).await.expect(201);
    // Exactly as much is not more.
    let patch = json!({"confirm_above": "5"}).to_string();
    server.send("PATCH", "/v1/actions/scan", &[], &patch).await.expect(200);
    server.post("/v1/debits", scan("ann")).await.expect(201);
}

#[tokio::test]
async fn items_of_a_batch_are_asked_each_for_itself() {
    let server = asked_above(json!({"credit": "0"})).await;
    let asked = server.send("POST", "/v1/preflight", &[], &scan("ann").to_string()).await.expect(200);
    let item = |key: &str, body: Value| with(body, "idempotency_key", key);
    let quoted = with(scan("ann"), "quote", asked["quote"]["token"].clone());
    let settled = with(scan("ann"), "mode", "settle");
    let body = json!({"debits": [item("a", scan("ann")), item("b", quoted), item("c", settled)]});
    let answer = server.send("POST", "/v1/debits/batch", &[], &body.to_string()).await.expect(200);
    let statuses: Vec<_> =
        answer["results"].as_array().expect("results").iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, [&json!(409), &json!(201), &json!(201)], "{answer}");
    let problem = &answer["results"][0]["problem"];
    assert_eq!(problem["code"], "confirmation_required");
    assert!(problem["confirm_url"].is_string() && problem["quote"]["token"].is_string(), "{problem}");
}

#[tokio::test]
async fn a_confirmation_is_asked_for_after_credits_are() {
    let server = asked_above(json!("0")).await;
    server.post("/v1/debits", scan("poor")).await.problem(402, "insufficient_credits");
    server.grant("poor", "5").await;
    server.post("/v1/debits", scan("poor")).await.problem(409, "confirmation_required");
}

#[tokio::test]
async fn the_lower_of_the_actions_and_the_users_threshold_counts() {
    let server = asked_above(json!("50")).await;
    let path = "/v1/users/ann/preferences";
    assert_eq!(server.get(path).await.expect(200)["confirm_above"], json!({}));
    server.post("/v1/debits", scan("ann")).await.expect(201);
    let said = prefer(&server, "ann", json!({"confirm_above": {"credit": "4"}})).await;
    assert_eq!(said, json!({"tenant": null, "user": "ann", "confirm_above": {"credit": "4"}}));
    assert_eq!(server.get(path).await.expect(200), said);
    server.post("/v1/debits", scan("ann")).await.problem(409, "confirmation_required");
    // Her preference is hers in her personal tenant, and nobody else's.
    server.grant("bob", "5").await;
    server.post("/v1/debits", scan("bob")).await.expect(201);
    assert_eq!(server.get(&format!("{path}?tenant=acme")).await.expect(200)["confirm_above"], json!({}));
    prefer(&server, "ann", json!({})).await;
    server.post("/v1/debits", scan("ann")).await.expect(201);
}

#[tokio::test]
async fn a_user_that_was_never_seen_may_have_a_preference() {
    let server = asked_above(json!("50")).await;
    prefer(&server, "new", json!({"tenant": "acme", "confirm_above": {"credit": 0}})).await;
    let gift =
        json!({"tenant": "acme", "user": "new", "amount": "9", "kind": "promotional", "reason": "a gift"});
    server.post("/v1/grants", gift).await.expect(201);
    let debit = json!({"tenant": "acme", "user": "new", "action": "scan"});
    server.post("/v1/debits", debit).await.problem(409, "confirmation_required");
}

#[tokio::test]
async fn a_preference_that_cannot_be_is_refused_field_by_field() {
    let server = asked_above(json!("50")).await;
    for (body, pointer, code) in [
        (json!({"confirm_above": "5"}), "/confirm_above", "unit_required"),
        (json!({"confirm_above": {"EUR": "5"}}), "/confirm_above/EUR", "unknown_unit"),
        (json!({"confirm_above": {"credit": "-1"}}), "/confirm_above/credit", "out_of_range"),
        (json!({"confirm_above": {"credit": "0.0000001"}}), "/confirm_above/credit", "too_fine"),
        (json!({"confirm": 1}), "/confirm", "unknown_field"),
        (json!({"tenant": "a b"}), "/tenant", "invalid_key"),
    ] {
        server.send("PUT", "/v1/users/ann/preferences", &[], &body.to_string()).await.invalid(pointer, code);
    }
    let many =
        json!({"key": "two", "name": "Two", "confirm_above": {"EUR": "1"}, "price": {"model": "free"}});
    server.post("/v1/actions", many).await.invalid("/confirm_above/EUR", "unknown_unit");
}

#[tokio::test]
async fn the_page_of_a_confirmation_says_who_what_and_how_much_and_leads_back() {
    let server = asked_above(json!("1")).await;
    let body = with(scan("ann"), "return_url", "https://app.example.com/documents?a=1&b=2");
    let refused = server.post("/v1/debits", body).await.problem(409, "confirmation_required");
    let url = refused["confirm_url"].as_str().expect("a link");
    let path = url.strip_prefix("https://credits.example.com").expect("what links begin with");
    assert!(path.starts_with("/confirm/"), "{path}");
    let page = server.raw("GET", path, &[], b"").await;
    assert_eq!(page.status, 200);
    for said in ["5 credit", "ann", "scan", "href=\"https://app.example.com/documents?a=1&amp;b=2\""] {
        assert!(page.text.contains(said), "{said}: {}", page.text);
    }
    assert!(!page.text.contains("<button") && !page.text.contains("<form"), "{}", page.text);
    let policy = page.header("content-security-policy");
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")), "{policy:?}");
    // A link of one page is none of another.
    let other = path.replace("/confirm/", "/topup/");
    assert_eq!(server.raw("GET", &other, &[], b"").await.status, 404);
    assert_eq!(server.raw("GET", &path[..path.len() - 1], &[], b"").await.status, 404);
    server.clock.advance(300 * SECOND);
    assert_eq!(server.raw("GET", path, &[], b"").await.status, 410, "it ends with its quote");
}

on_every_server!(a_preference_counts_at_once_on_every_node);

fn a_preference_counts_at_once_on_every_node(kind: Kind) {
    run(async {
        let nodes = two(kind, "1000").await;
        let [first, second] = &nodes;
        second.post("/v1/debits", scan("ann")).await.expect(201);
        for _ in 0..10 {
            prefer(first, "ann", json!({"confirm_above": {"credit": "0.5"}})).await;
            let refused = second.post("/v1/debits", scan("ann")).await.problem(409, "confirmation_required");
            let quoted = with(scan("ann"), "quote", refused["quote"]["token"].clone());
            first.post("/v1/debits", quoted.clone()).await.expect(201);
            second.post("/v1/debits", quoted).await.problem(409, "quote_used");
            prefer(second, "ann", json!({})).await;
            first.post("/v1/debits", scan("ann")).await.expect(201);
        }
        assert_verified(&nodes).await;
    });
}
