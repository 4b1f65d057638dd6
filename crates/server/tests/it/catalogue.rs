//! Units, actions and their price versions.

use crate::server::Server;
use serde_json::json;

#[tokio::test]
async fn a_unit_is_made_once_and_never_changed() {
    let server = Server::start().await;
    let unit = json!({"code": "MYR", "scale": 2, "name": "Ringgit"});
    assert_eq!(server.post("/v1/units", unit.clone()).await.expect(201), unit);
    assert_eq!(server.post("/v1/units", unit.clone()).await.expect(201), unit);
    server
        .post("/v1/units", json!({"code": "MYR", "scale": 3, "name": "Ringgit"}))
        .await
        .problem(409, "unit_exists");
    let all = server.get("/v1/units").await.expect(200);
    assert!(all["data"].as_array().expect("a list").contains(&unit), "{all}");
    server
        .post("/v1/units", json!({"code": "x", "scale": 7, "name": "X"}))
        .await
        .invalid("/scale", "out_of_range");
}

#[tokio::test]
async fn prices_are_shown_as_they_were_given() {
    let server = Server::start().await;
    let rates = json!({"in": {"rate": "0.000000000001", "per": 1}, "out": {"rate": "15", "per": 1000000}});
    let tiers = json!([
        {"up_to": "100", "rate": "1", "per": 10, "flat": "0.5"},
        {"up_to": "100.000001", "rate": "0.8", "per": 1, "flat": "0"},
        {"up_to": null, "rate": "0", "per": 1, "flat": "0"}
    ]);
    let table = [
        ("free", json!({"model": "free"})),
        ("flat", json!({"model": "flat", "amount": "5.5"})),
        (
            "quantity",
            json!({"model": "per_quantity", "rate": "0.5", "per": 3, "minimum": "1", "maximum": "100", "rounding": "half_even"}),
        ),
        ("dimension", json!({"model": "per_dimension", "rates": rates, "minimum": "0", "rounding": "up"})),
        (
            "graduated",
            json!({"model": "graduated", "basis": "call", "tiers": tiers, "maximum": "90", "rounding": "down"}),
        ),
        ("volume", json!({"model": "volume", "tiers": tiers, "minimum": "0.5", "rounding": "half_even"})),
        (
            "package",
            json!({"model": "package", "amount": "2.5", "per": 100, "minimum": "1", "maximum": "50"}),
        ),
    ];
    for (key, price) in table {
        server.action(key, price.clone()).await;
        let read = server.get(&format!("/v1/actions/{key}")).await.expect(200);
        let shown = &read["prices"][0];
        for (name, value) in price.as_object().expect("an object") {
            assert_eq!(&shown[name], value, "{key} {name}");
        }
        assert_eq!(
            (&shown["unit"], &shown["valid_from"]),
            (&json!("credit"), &json!("2026-01-01T00:00:00Z"))
        );
    }
    let page = server.get("/v1/actions?limit=3").await.expect(200);
    let keys: Vec<_> =
        page["data"].as_array().expect("a list").iter().map(|action| action["key"].clone()).collect();
    assert_eq!(keys, ["dimension", "flat", "free"]);
    let rest = server
        .get(&format!("/v1/actions?cursor={}", page["next_cursor"].as_str().expect("more")))
        .await
        .expect(200);
    assert_eq!((&rest["data"][1]["key"], &rest["next_cursor"]), (&json!("package"), &json!(null)));
}

#[tokio::test]
async fn a_new_price_counts_from_its_instant_on() {
    let server = Server::with_scan().await;
    let later = json!({"model": "flat", "amount": "7", "valid_from": "2026-02-01T00:00:00Z"});
    let action = server.post("/v1/actions/scan/prices", later).await.expect(201);
    assert_eq!(action["prices"].as_array().expect("a list").len(), 2);
    assert_eq!(
        server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201)["amount"],
        "5"
    );
    server.clock.advance(32 * purser_core::time::DAY);
    assert_eq!(
        server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201)["amount"],
        "7"
    );
}

#[tokio::test]
async fn an_action_is_switched_off_and_on() {
    let server = Server::with_scan().await;
    let later = r#"{"from":"2027-01-01T00:00:00Z"}"#;
    let later = server.send("POST", "/v1/actions/scan/deactivate", &[], later).await;
    later.invalid("/from", "unknown_field");
    let off = server.send("POST", "/v1/actions/scan/deactivate", &[], "").await.expect(200);
    server.send("POST", "/v1/actions/scan/deactivate", &[], "{}").await.expect(200);
    assert_eq!(off["active"], false);
    server
        .post("/v1/debits", json!({"user": "ann", "action": "scan"}))
        .await
        .problem(404, "action_not_found");
    assert_eq!(server.send("POST", "/v1/actions/scan/activate", &[], "").await.expect(200)["active"], true);
    server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201);
}

#[tokio::test]
async fn an_action_in_several_units_is_paid_in_the_first_that_covers() {
    let server = Server::start().await;
    server.post("/v1/units", json!({"code": "sms", "scale": 0, "name": "Messages"})).await.expect(201);
    let prices = json!([{"model": "flat", "unit": "sms", "amount": 1}, {"model": "flat", "amount": "0.2"}]);
    let body =
        json!({"key": "send", "name": "Send", "prices": prices, "overage": "allow", "overage_percent": 20});
    let action = server.post("/v1/actions", body.clone()).await.expect(201);
    assert_eq!(action["units"], json!(["sms", "credit"]));
    assert_eq!((&action["overage"], &action["overage_percent"]), (&json!("allow"), &json!(20)));
    server.grant("ann", "1").await;
    let debit = server.post("/v1/debits", json!({"user": "ann", "action": "send"})).await.expect(201);
    assert_eq!((&debit["unit"], &debit["amount"]), (&json!("credit"), &json!("0.2")));
    server.post("/v1/units", json!({"code": "MYR", "scale": 2, "name": "Ringgit"})).await.expect(201);
    assert_eq!(server.post("/v1/actions", body.clone()).await.expect(201), action, "nothing is changed");
    for (name, value) in [
        ("name", json!("Post")),
        ("description", json!("by mail")),
        ("overage_percent", json!(21)),
        (
            "prices",
            json!([{"model": "flat", "amount": "0.2"}, {"model": "flat", "unit": "sms", "amount": 1}]),
        ),
        (
            "prices",
            json!([{"model": "flat", "unit": "sms", "amount": 2}, {"model": "flat", "amount": "0.2"}]),
        ),
        ("prices", json!([{"model": "flat", "unit": "sms", "amount": 1}])),
    ] {
        let mut other = body.clone();
        other[name] = value;
        server.post("/v1/actions", other).await.problem(409, "action_exists");
    }
    server.clock.advance(purser_core::time::SECOND);
    server.post("/v1/actions/send/prices", json!({"model": "flat", "amount": "0.3"})).await.expect(201);
    server.post("/v1/actions", body).await.problem(409, "action_exists");
}

#[tokio::test]
async fn a_price_beyond_what_is_counted_is_told_so() {
    let server = Server::start().await;
    let body = json!({"key": "a", "name": "A", "price": {"model": "flat", "amount": "9000000000000"}});
    server.post("/v1/actions", body).await.invalid("/price/amount", "amount_overflow");
}

#[tokio::test]
async fn a_price_with_fields_of_another_model_is_refused_where_it_is_wrong() {
    let server = Server::start().await;
    let make = async |price: serde_json::Value| {
        server.post("/v1/actions", json!({"key": "a", "name": "A", "price": price})).await
    };
    make(json!({"model": "flat"})).await.invalid("/price/amount", "required");
    make(json!({"model": "free", "amount": 1})).await.invalid("/price/amount", "not_applicable");
    make(json!({"model": "per_dimension", "rates": {}})).await.invalid("/price/rates", "required");
    let primes = json!({"a": {"rate": "1", "per": 999_999_937}, "b": {"rate": "1", "per": 999_999_929}});
    make(json!({"model": "per_dimension", "rates": primes})).await.invalid("/price/rates", "out_of_range");
    let tiers = json!([{"up_to": "1", "rate": "1", "per": 999_999_937}, {"rate": "1", "per": 999_999_929}]);
    make(json!({"model": "graduated", "tiers": tiers})).await.invalid("/price/tiers", "out_of_range");
    make(json!({"model": "stairs"})).await.invalid("/price/model", "unknown_value");
    make(json!({"model": "flat", "amount": 1.5})).await.invalid("/price/amount", "fraction_as_number");
    let rates = json!({"a/b~c": {"rate": 1, "per": "x"}});
    make(json!({"model": "per_dimension", "rates": rates}))
        .await
        .invalid("/price/rates/a~1b~0c/per", "wrong_type");
    let twice = r#"{"key":"a","name":"A","price":{"model":"per_dimension","rates":{"t":{"rate":"1"},"t":{"rate":"2"}}}}"#;
    server.send("POST", "/v1/actions", &[], twice).await.invalid("/price/rates", "duplicate_field");
    let inapplicable = make(json!({"model": "free", "amount": 1})).await;
    let detail = inapplicable.problem(422, "invalid_request")["detail"].clone();
    assert!(detail.as_str().expect("text").starts_with("/price/amount: "), "{detail}");
    let body = json!({"key": "a", "name": "A", "prices": [{"model": "free"}, {"model": "flat"}]});
    server.post("/v1/actions", body).await.invalid("/prices/1/amount", "required");
    server.post("/v1/actions", json!({"key": "a", "name": "A"})).await.invalid("/price", "required");
    let both = json!({"key": "a", "name": "A", "price": {"model": "free"}, "prices": [{"model": "free"}]});
    server.post("/v1/actions", both).await.invalid("/prices", "not_applicable");
}

#[tokio::test]
async fn a_tenant_pays_its_own_price_while_that_is_in_force() {
    let server = Server::with_scan().await;
    let until = "2026-01-03T00:00:00Z";
    let own = json!({"tenant": "acme", "price": {"model": "flat", "amount": "3"}, "valid_until": until});
    let made = server.post("/v1/actions/scan/tenant_prices", own).await.expect(201);
    assert_eq!(
        (&made["tenant"], &made["price"]["amount"], &made["valid_until"]),
        (&json!("acme"), &json!("3"), &json!(until))
    );
    let later = json!({"tenant": "acme", "price": {"model": "flat", "amount": "4", "valid_from": "2026-01-02T00:00:00Z"}});
    server.post("/v1/actions/scan/tenant_prices", later.clone()).await.expect(201);
    let list = server.get("/v1/actions/scan/tenant_prices?tenant=acme").await.expect(200);
    assert_eq!(list["data"].as_array().expect("a list").len(), 2, "{list}");
    assert_eq!((&list["data"][0], &list["next_cursor"]), (&made, &json!(null)));
    let others = server.get("/v1/actions/scan/tenant_prices?tenant=umbrella").await.expect(200);
    assert_eq!(others["data"], json!([]));
    let pays = async |tenant: Option<&str>| {
        let debit = json!({"tenant": tenant, "user": "ann", "action": "scan", "mode": "settle"});
        let mut debit = debit;
        if tenant.is_none() {
            debit.as_object_mut().expect("an object").remove("tenant");
        }
        server.post("/v1/debits", debit).await.expect(201)
    };
    let debit = pays(Some("acme")).await;
    assert_eq!((&debit["amount"], &debit["price_id"]), (&json!("3"), &made["price"]["id"]));
    let ask = json!({"tenant": "acme", "user": "ann", "action": "scan"});
    assert_eq!(server.post("/v1/preflight", ask).await.expect(200)["cost"], "3");
    assert_eq!(pays(None).await["amount"], "5", "the user's personal tenant is another");
    assert_eq!(pays(Some("umbrella")).await["amount"], "5");
    // A hold keeps the version it was placed at, also after the tenant's version was replaced.
    server.post("/v1/grants", json!({"tenant": "acme", "user": "ann", "amount": "90", "kind": "promotional", "reason": "a gift"})).await.expect(201);
    let hold = server
        .post("/v1/holds", json!({"tenant": "acme", "user": "ann", "action": "scan", "expires_in": 86400}))
        .await
        .expect(201);
    server.clock.advance(purser_core::time::DAY - purser_core::time::SECOND);
    assert_eq!(pays(Some("acme")).await["amount"], "3");
    server.clock.advance(purser_core::time::SECOND / 2);
    let captured = format!("/v1/holds/{}/capture", hold["id"].as_str().expect("an id"));
    let captured = server.post(&captured, json!({"quantity": 1})).await.expect(200);
    assert_eq!(captured["debit"]["amount"], "3");
    server.clock.advance(purser_core::time::SECOND);
    assert_eq!(pays(Some("acme")).await["amount"], "4");
    server.clock.advance(5 * purser_core::time::DAY);
    assert_eq!(pays(Some("acme")).await["amount"], "4", "the newest version counts, and it has no end");
    let explained = format!("/v1/debits/{}/explain", debit["id"].as_str().expect("an id"));
    assert_eq!(server.get(&explained).await.expect(200)["price"], made["price"]);
}

#[tokio::test]
async fn a_price_of_its_own_that_ends_gives_way_to_the_price_of_all() {
    let server = Server::with_scan().await;
    let of = |price: serde_json::Value| json!({"tenant": "acme", "price": price, "valid_until": "2026-01-02T00:00:00Z"});
    let add = async |body: serde_json::Value| server.post("/v1/actions/scan/tenant_prices", body).await;
    add(of(json!({"model": "free"}))).await.expect(201);
    let debit = json!({"tenant": "acme", "user": "ann", "action": "scan", "mode": "settle"});
    assert_eq!(server.post("/v1/debits", debit.clone()).await.expect(201)["amount"], "0");
    server.clock.advance(purser_core::time::DAY);
    assert_eq!(server.post("/v1/debits", debit).await.expect(201)["amount"], "5");
    let free = json!({"model": "free"});
    add(of(free.clone())).await.invalid("/valid_until", "out_of_range");
    add(json!({"tenant": "a/b", "price": free})).await.invalid("/tenant", "invalid_key");
    add(json!({"tenant": "acme"})).await.invalid("/price", "required");
    add(json!({"tenant": "acme", "price": {"model": "flat"}})).await.invalid("/price/amount", "required");
    add(json!({"tenant": "acme", "price": {"model": "flat", "amount": "-1"}}))
        .await
        .invalid("/price/amount", "out_of_range");
    let past = json!({"model": "free", "valid_from": "2025-12-31T00:00:00Z"});
    add(json!({"tenant": "acme", "price": past})).await.invalid("/price/valid_from", "out_of_range");
    server.post("/v1/units", json!({"code": "sms", "scale": 0, "name": "Messages"})).await.expect(201);
    let other = json!({"model": "free", "unit": "sms"});
    add(json!({"tenant": "acme", "price": other})).await.invalid("/price/unit", "unit_mismatch");
    let unknown = json!({"tenant": "acme", "price": free});
    server.post("/v1/actions/none/tenant_prices", unknown).await.problem(404, "action_not_found");
    server.get("/v1/actions/scan/tenant_prices").await.invalid("?tenant", "required");
}

#[tokio::test]
async fn of_two_prices_from_one_instant_on_the_later_made_counts() {
    // Time stands still here, so all of them are from one instant on.
    let server = Server::with_scan().await;
    let of_acme = json!({"tenant": "acme", "user": "ann", "action": "scan"}).to_string();
    for amount in 6..30 {
        let price = json!({"model": "flat", "amount": amount});
        server.post("/v1/actions/scan/prices", price).await.expect(201);
        let all = json!({"user": "ann", "action": "scan"}).to_string();
        let asked = server.send("POST", "/v1/preflight", &[], &all).await.expect(200);
        assert_eq!(asked["cost"], amount.to_string());
        let own = json!({"tenant": "acme", "price": {"model": "flat", "amount": amount + 100}});
        server.post("/v1/actions/scan/tenant_prices", own).await.expect(201);
        let asked = server.send("POST", "/v1/preflight", &[], &of_acme).await.expect(200);
        assert_eq!(asked["cost"], (amount + 100).to_string());
    }
}
