//! Quotes, the refusal that says where credits can be bought, and the page behind its link.

use crate::databases::Kind;
use crate::nodes::{assert_verified, available, run, scan, two};
use crate::server::{Answer, Server};
use purser_core::time::SECOND;
use serde_json::{Value, json};

async fn preflight(server: &Server, body: Value) -> Value {
    server.send("POST", "/v1/preflight", &[], &body.to_string()).await.expect(200)
}

/// The token of a fresh quote for this request.
async fn quote(server: &Server, body: Value) -> String {
    preflight(server, body).await["quote"]["token"].as_str().expect("a token").to_string()
}

/// The same request with one more field.
fn with(mut body: Value, field: &str, value: impl Into<Value>) -> Value {
    body[field] = value.into();
    body
}

async fn reprice(server: &Server, action: &str, amount: &str) {
    // Of two versions that are valid from the same instant, either may be in force.
    server.clock.advance(SECOND);
    server
        .post(&format!("/v1/actions/{action}/prices"), json!({"model": "flat", "amount": amount}))
        .await
        .expect(201);
    server.clock.advance(SECOND);
}

#[tokio::test]
async fn a_quote_is_honoured_once_at_the_promised_price_and_names_its_version() {
    let server = Server::with_scan().await;
    let before = server.post("/v1/debits", scan("ann")).await.expect(201);
    let token = quote(&server, scan("ann")).await;
    reprice(&server, "scan", "9").await;
    let quoted = with(scan("ann"), "quote", token);
    let made = server.post_as("/v1/debits", quoted.clone(), "once").await.expect(201);
    assert_eq!((&made["amount"], &made["price_id"]), (&json!("5"), &before["price_id"]));
    let replayed = server.post_as("/v1/debits", quoted.clone(), "once").await;
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    assert_eq!(replayed.expect(201), made);
    let used = server.post("/v1/debits", quoted.clone()).await.problem(409, "quote_used");
    assert_eq!(used["errors"][0]["pointer"], "/quote");
    server.post("/v1/holds", quoted).await.problem(409, "quote_used");
    assert_eq!(server.post("/v1/debits", scan("ann")).await.expect(201)["amount"], "9");
    assert_eq!(available(&server, "ann").await, "81");
}

#[tokio::test]
async fn a_hold_keeps_the_promised_price_through_its_capture() {
    let server = Server::with_scan().await;
    let token = quote(&server, scan("ann")).await;
    reprice(&server, "scan", "9").await;
    let hold = server.post("/v1/holds", with(scan("ann"), "quote", token)).await.expect(201);
    assert_eq!(hold["held"], "5");
    let path = format!("/v1/holds/{}/capture", hold["id"].as_str().expect("an id"));
    assert_eq!(server.post(&path, json!({})).await.expect(200)["captured"], "5");
}

#[tokio::test]
async fn a_quote_is_good_for_five_minutes() {
    let server = Server::with_scan().await;
    let quotes = [quote(&server, scan("ann")).await, quote(&server, scan("ann")).await];
    let [early, late] = quotes.map(|token| with(scan("ann"), "quote", token));
    server.clock.advance(299 * SECOND);
    server.post("/v1/debits", early).await.expect(201);
    server.clock.advance(SECOND);
    server.post("/v1/debits", late).await.problem(409, "quote_expired");
    assert_eq!(available(&server, "ann").await, "95");
}

#[tokio::test]
async fn a_quote_is_for_its_own_request_alone() {
    let server = Server::with_scan().await;
    server.grant("bob", "100").await;
    server.action("copy", json!({"model": "per_quantity", "rate": "2"})).await;
    server.action("other", json!({"model": "per_quantity", "rate": "2"})).await;
    let copy = json!({"user": "ann", "action": "copy", "quantity": "3"});
    let answer = preflight(&server, copy.clone()).await;
    let (token, wallet) = (&answer["quote"]["token"], &answer["wallet_id"]);
    let changes = [
        ("user", json!("bob")),
        ("action", json!("other")),
        ("quantity", json!("4")),
        ("tenant", json!("acme")),
        ("wallet_id", wallet.clone()),
    ];
    for (field, value) in changes {
        let other = with(with(copy.clone(), field, value), "quote", token.clone());
        let refused = server.post("/v1/debits", other).await;
        // A tenant has wallets of its own: that there are none is found later.
        refused.problem(409, "quote_mismatch");
    }
    server.post("/v1/units", json!({"code": "sms", "scale": 0, "name": "SMS"})).await.expect(201);
    let sms = json!({"model": "flat", "unit": "sms", "amount": "1"});
    server.post("/v1/actions/scan/prices", sms).await.expect(201);
    server.clock.advance(SECOND);
    let scanned = with(scan("ann"), "quote", quote(&server, scan("ann")).await);
    server.post("/v1/debits", with(scanned.clone(), "unit", "sms")).await.problem(409, "quote_mismatch");
    // To say the unit that was promised anyway is no other request, nor is a number written otherwise.
    server.post("/v1/debits", with(scanned, "unit", "credit")).await.expect(201);
    let same = with(with(copy, "quantity", "3.0"), "quote", token.clone());
    server.post("/v1/debits", same).await.expect(201);
}

#[tokio::test]
async fn what_is_no_quote_of_ours_is_refused_after_what_the_tenant_may_not() {
    let server = Server::with_scan().await;
    let token = quote(&server, scan("ann")).await;
    for other in ["", "x", "quote", &token[1..], &format!("{token}A"), &token.to_lowercase()] {
        let body = with(scan("ann"), "quote", other);
        server.post("/v1/debits", body).await.problem(409, "quote_invalid");
    }
    let body = with(with(scan("ann"), "quote", "x"), "action", "nothing");
    server.post("/v1/debits", body).await.problem(404, "action_not_found");
    // Before the lack of credits: who has none and brings a bad quote hears of the quote.
    server.post("/v1/debits", with(scan("poor"), "quote", "x")).await.problem(409, "quote_invalid");
}

#[tokio::test]
async fn in_a_batch_one_quote_pays_for_one_debit() {
    let server = Server::with_scan().await;
    let token = quote(&server, scan("ann")).await;
    let item = |key: &str| with(with(scan("ann"), "quote", token.clone()), "idempotency_key", key);
    let body = json!({"debits": [item("a"), item("b"), item("a")]});
    let answer = server.send("POST", "/v1/debits/batch", &[], &body.to_string()).await.expect(200);
    let status = |index: usize| answer["results"][index]["status"].clone();
    assert_eq!([status(0), status(1), status(2)], [json!(201), json!(409), json!(201)]);
    let problem = &answer["results"][1]["problem"];
    assert_eq!(
        (&problem["code"], &problem["errors"][0]["pointer"]),
        (&json!("quote_used"), &json!("/debits/1/quote"))
    );
    assert_eq!(available(&server, "ann").await, "95");
}

#[tokio::test]
async fn a_refusal_for_lack_of_credits_can_be_resumed_a_day_later_at_its_price() {
    let server = Server::start_with(|settings| {
        settings.public_url = "https://credits.example.com".to_string();
        settings.return_origins = vec!["https://app.example.com".to_string()];
    })
    .await;
    server.action("scan", json!({"model": "flat", "amount": "5"})).await;
    let back = "https://app.example.com/documents?a=1&b=2";
    let body = with(scan("new"), "return_url", back);
    // Also from a preflight, for a user that was never seen.
    let asked = preflight(&server, body.clone()).await;
    assert!(asked["topup_url"].as_str().is_some_and(|url| url.contains("/topup/")), "{asked}");
    let refused = server.post("/v1/debits", body.clone()).await.problem(402, "insufficient_credits");
    assert_eq!((&refused["shortfall"], &refused["packages"]), (&json!("5"), &json!([])));
    let url = refused["topup_url"].as_str().expect("a link");
    let path = url.strip_prefix("https://credits.example.com").expect("what links begin with");
    let page = server.raw("GET", path, &[], b"").await;
    assert_eq!(page.status, 200);
    for said in ["5 credit", "new", "scan", "href=\"https://app.example.com/documents?a=1&amp;b=2\""] {
        assert!(page.text.contains(said), "{said}: {}", page.text);
    }
    assert!(
        page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    reprice(&server, "scan", "9").await;
    server.clock.advance(23 * 3_600 * SECOND);
    server.grant("new", "5").await;
    let kept = with(body, "quote", refused["quote"]["token"].clone());
    assert_eq!(server.post("/v1/debits", kept).await.expect(201)["amount"], "5");
    let first = with(scan("new"), "quote", asked["quote"]["token"].clone());
    let again = server.post("/v1/debits", first).await.problem(402, "insufficient_credits");
    assert_eq!(again["required"], "5", "the price that was promised, not today's");
    server.clock.advance(2 * 3_600 * SECOND);
    let over = server.raw("GET", path, &[], b"").await;
    assert_eq!(over.status, 410);
    for wrong in [&path[..path.len() - 1], "/topup/%ff", "/confirm/%ff"] {
        let page = server.raw("GET", wrong, &[], b"").await;
        assert_eq!((page.status, page.header("content-security-policy").is_some()), (404, true), "{wrong}");
    }
}

#[tokio::test]
async fn a_promise_that_is_refused_again_and_again_stays_one_promise_and_ends_after_a_day() {
    let server = Server::start().await;
    server.action("scan", json!({"model": "flat", "amount": "5"})).await;
    let refused =
        async |body: Value| server.post("/v1/debits", body).await.problem(402, "insufficient_credits");
    let first = refused(scan("new")).await["quote"].clone();
    reprice(&server, "scan", "9").await;
    server.clock.advance(20 * 3_600 * SECOND);
    let brought = with(scan("new"), "quote", first["token"].clone());
    let copies = [refused(brought.clone()).await["quote"].clone(), refused(brought).await["quote"].clone()];
    for copy in &copies {
        assert_eq!(copy["expires_at"], first["expires_at"], "a day after it was first given, at the latest");
    }
    server.grant("new", "100").await;
    let quoted = |quote: &Value| with(scan("new"), "quote", quote["token"].clone());
    assert_eq!(server.post("/v1/debits", quoted(&copies[0])).await.expect(201)["amount"], "5");
    for quote in [&copies[1], &first] {
        server.post("/v1/debits", quoted(quote)).await.problem(409, "quote_used");
    }
}

#[tokio::test]
async fn a_quote_for_a_new_user_of_a_tenant_is_of_the_tenants_own_price() {
    let server = Server::with_scan().await;
    let of = |user: &str| json!({"tenant": "acme", "user": user, "action": "scan"});
    let gift =
        json!({"tenant": "acme", "user": "old", "amount": "9", "kind": "promotional", "reason": "a gift"});
    server.post("/v1/grants", gift.clone()).await.expect(201);
    let own = json!({"tenant": "acme", "price": {"model": "flat", "amount": "3"}});
    let own = server.post("/v1/actions/scan/tenant_prices", own).await.expect(201);
    let asked = preflight(&server, of("fresh")).await;
    assert_eq!((&asked["cost"], &asked["code"]), (&json!("3"), &json!("insufficient_credits")));
    server.post("/v1/grants", with(gift, "user", "fresh")).await.expect(201);
    let quoted = with(of("fresh"), "quote", asked["quote"]["token"].clone());
    let made = server.post("/v1/debits", quoted).await.expect(201);
    assert_eq!((&made["amount"], &made["price_id"]), (&json!("3"), &own["price"]["id"]));
    let explained = format!("/v1/debits/{}/explain", made["id"].as_str().expect("an id"));
    assert_eq!(server.get(&explained).await.expect(200)["price"]["id"], own["price"]["id"]);
    // What was refused names the version it was refused at.
    let refused = server.post("/v1/debits", of("later")).await.problem(402, "insufficient_credits");
    server.post("/v1/grants", json!({"tenant": "acme", "user": "later", "amount": "3", "kind": "promotional", "reason": "a gift"})).await.expect(201);
    let resumed = with(of("later"), "quote", refused["quote"]["token"].clone());
    assert_eq!(server.post("/v1/debits", resumed).await.expect(201)["price_id"], own["price"]["id"]);
}

#[tokio::test]
async fn a_promise_holds_for_work_from_before_the_price() {
    let server = Server::with_scan().await;
    let token = quote(&server, scan("ann")).await;
    let body = with(with(scan("ann"), "quote", token), "occurred_at", "2025-12-31T12:00:00Z");
    assert_eq!(server.post("/v1/debits", body.clone()).await.expect(201)["amount"], "5");
    let unquoted = with(scan("ann"), "occurred_at", "2025-12-31T12:00:00Z");
    server.post("/v1/debits", unquoted).await.problem(404, "action_not_found");
}

#[tokio::test]
async fn a_capture_and_an_extension_that_lack_credits_say_where_to_buy_some() {
    let server = Server::start().await;
    let price = json!({"model": "per_quantity", "rate": "1"});
    let action =
        json!({"key": "work", "name": "Work", "overage": "allow", "overage_percent": 100, "price": price});
    server.post("/v1/actions", action).await.expect(201);
    server.grant("ann", "5").await;
    let hold = json!({"user": "ann", "action": "work", "quantity": 5});
    let hold = server.post("/v1/holds", hold).await.expect(201);
    let path = |what: &str| format!("/v1/holds/{}/{what}", hold["id"].as_str().expect("an id"));
    for what in ["extend", "capture"] {
        let refused = server.post(&path(what), json!({"quantity": 9})).await;
        let refused = refused.problem(402, "insufficient_credits");
        assert_eq!((&refused["required"], &refused["quote"]), (&json!("4"), &json!(null)), "{what}");
        let url = refused["topup_url"].as_str().expect("a link");
        let page = server.raw("GET", &url[url.find("/topup/").expect("a path")..], &[], b"").await;
        assert!(
            page.status == 200 && page.text.contains("ann") && page.text.contains("4 credit"),
            "{}",
            page.text
        );
    }
    assert_eq!(server.post(&path("capture"), json!({"quantity": 5})).await.expect(200)["captured"], "5");
}

#[tokio::test]
async fn what_was_answered_is_answered_again_when_its_site_left_the_settings() {
    let mut server = Server::start_with(|settings| {
        settings.return_origins = vec!["https://app.example.com".to_string()];
    })
    .await;
    server.action("scan", json!({"model": "flat", "amount": "5"})).await;
    server.grant("ann", "100").await;
    let body = with(scan("ann"), "return_url", "https://app.example.com:443/x");
    let debit = server.post_as("/v1/debits", body.clone(), "debit").await.expect(201);
    let hold = server.post_as("/v1/holds", body.clone(), "hold").await.expect(201);
    server.stop().await;
    let mut settings = server.home.settings();
    settings.return_origins = Vec::new();
    let again = server.beside_with(settings).await;
    assert_eq!(again.post_as("/v1/debits", body.clone(), "debit").await.expect(201), debit);
    assert_eq!(again.post_as("/v1/holds", body.clone(), "hold").await.expect(201), hold);
    again.post("/v1/holds", body).await.invalid("/return_url", "origin_not_allowed");
}

#[tokio::test]
async fn a_page_leads_back_to_the_sites_of_the_settings_alone() {
    let server = Server::with_scan().await;
    for (url, code) in [
        ("https://evil.example/", "origin_not_allowed"),
        ("javascript:alert(1)", "malformed"),
        ("/documents", "malformed"),
    ] {
        let body = with(scan("ann"), "return_url", url);
        server.post("/v1/debits", body.clone()).await.invalid("/return_url", code);
        server.post("/v1/holds", body.clone()).await.invalid("/return_url", code);
        server.send("POST", "/v1/preflight", &[], &body.to_string()).await.invalid("/return_url", code);
    }
}

#[tokio::test]
async fn a_quote_outlives_a_restart_and_the_replacement_of_the_secret() {
    let mut server = Server::with_scan().await;
    let (first, second) = (quote(&server, scan("ann")).await, quote(&server, scan("ann")).await);
    server.post("/v1/debits", with(scan("ann"), "quote", first.clone())).await.expect(201);
    server.stop().await;
    let mut settings = server.home.settings();
    let old = match settings.secret_keys.first() {
        Some(key) => key.clone(),
        None => {
            let path = settings.sqlite_path().expect("a file");
            let text = std::fs::read_to_string(purser_app::secret::path_beside(&path)).expect("its key");
            text.trim().to_string()
        }
    };
    settings.secret_keys = vec!["7a".repeat(32), old];
    let again = server.beside_with(settings).await;
    again.post("/v1/debits", with(scan("ann"), "quote", first)).await.problem(409, "quote_used");
    again.post("/v1/debits", with(scan("ann"), "quote", second)).await.expect(201);
}

fn one_quote_sent_to_both_nodes_at_once_is_used_once(kind: Kind) {
    run(async {
        let nodes = two(kind, "1000").await;
        for round in 0..100 {
            let token = quote(&nodes[0], scan("ann")).await;
            let body = with(scan("ann"), "quote", token);
            let (path, keys) = ("/v1/debits", [format!("one-{round}"), format!("two-{round}")]);
            let answers: [Answer; 2] = tokio::join!(
                nodes[0].post_as(path, body.clone(), &keys[0]),
                nodes[1].post_as(path, body.clone(), &keys[1])
            )
            .into();
            let made = answers.iter().filter(|answer| answer.status == 201).count();
            assert_eq!(made, 1, "round {round}: {answers:?}");
            let lost = answers.iter().find(|answer| answer.status != 201).expect("one of two");
            lost.problem(409, "quote_used");
        }
        assert_eq!(available(&nodes[1], "ann").await, "900");
        assert_verified(&nodes).await;
    });
}

/// Where no wallet is there to be locked, the key of the row decides.
fn one_quote_for_a_user_that_was_never_seen_is_used_once(kind: Kind) {
    run(async {
        let nodes = two(kind, "1").await;
        nodes[0].action("gift", json!({"model": "free"})).await;
        let asked = json!({"user": "ann", "action": "gift"}).to_string();
        // What one node makes another hears of within a second.
        while nodes[1].send("POST", "/v1/preflight", &[], &asked).await.status != 200 {}
        for round in 0..40 {
            let body = json!({"user": format!("new-{round}"), "action": "gift"});
            let token = quote(&nodes[0], body.clone()).await;
            let body = with(body, "quote", token);
            let path = "/v1/debits";
            let answers: [Answer; 2] =
                tokio::join!(nodes[0].post(path, body.clone()), nodes[1].post(path, body.clone())).into();
            let mut status = answers.each_ref().map(|answer| answer.status);
            status.sort_unstable();
            assert_eq!(status, [201, 409], "round {round}: {answers:?}");
        }
        assert_verified(&nodes).await;
    });
}

mod on_postgres {
    use super::Kind;

    #[test]
    fn one_quote_sent_to_both_nodes_at_once_is_used_once() {
        super::one_quote_sent_to_both_nodes_at_once_is_used_once(Kind::Postgres);
    }

    #[test]
    fn one_quote_for_a_user_that_was_never_seen_is_used_once() {
        super::one_quote_for_a_user_that_was_never_seen_is_used_once(Kind::Postgres);
    }
}

mod on_mariadb {
    use super::Kind;

    #[test]
    fn one_quote_sent_to_both_nodes_at_once_is_used_once() {
        super::one_quote_sent_to_both_nodes_at_once_is_used_once(Kind::Mysql);
    }

    #[test]
    fn one_quote_for_a_user_that_was_never_seen_is_used_once() {
        super::one_quote_for_a_user_that_was_never_seen_is_used_once(Kind::Mysql);
    }
}
