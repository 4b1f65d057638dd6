//! The whole catalogue as one document: what is read is what is applied, labels change in place, prices by versions.

use crate::server::{Answer, Server};
use purser_core::time::DAY;
use serde_json::{Value, json};

async fn apply(server: &Server, body: &Value) -> Answer {
    server.send("PUT", "/v1/catalogue", &[], &body.to_string()).await
}

async fn compare(server: &Server, body: &Value) -> Value {
    server.send("PUT", "/v1/catalogue?dry_run=true", &[], &body.to_string()).await.expect(200)
}

/// An action with a flat price.
fn flat(key: &str, amount: &str) -> Value {
    json!({"key": key, "name": key, "prices": [{"model": "flat", "unit": "credit", "amount": amount}]})
}

async fn stocked() -> Server {
    let server = Server::with_scan().await;
    let rates = json!({"in": {"rate": "0.000000000001", "per": 1}, "out": {"rate": "15", "per": 1000000}});
    let body = json!({
    "units": [{"code": "MYR", "scale": 2, "name": "Ringgit"}],
    "actions": [
        {"key": "model", "name": "Model", "unit_label": "token", "description": "One \"paragraph\".\nTwo.",
         "category": "ai", "overage": "allow", "overage_percent": 20,
         "confirm_above": {"MYR": "5", "credit": "2.5"}, "prices": [
            {"model": "per_dimension", "rates": rates, "minimum": "0", "rounding": "half_even"},
            {"model": "flat", "unit": "MYR", "amount": "0.5"},
            {"model": "free", "unit": "MYR", "valid_from": "2026-02-01T00:00:00Z"}]},
        {"key": "off", "name": "Off", "active": false, "prices": [
            {"model": "per_quantity", "rate": "0.5", "per": 3, "minimum": "1", "maximum": "100",
             "included": {"quantity": "10", "period": "week"}}]},
    ]});
    let diff = apply(&server, &body).await.expect(200);
    assert_eq!((&diff["dry_run"], &diff["differs"]), (&json!(false), &json!(true)));
    assert_eq!(diff["counts"]["added"], 2);
    assert_eq!(diff["not_in_file"], json!(["scan"]));
    server
}

#[tokio::test]
async fn what_is_read_is_applied_without_a_difference() {
    let server = stocked().await;
    let read = server.get("/v1/catalogue").await.expect(200);
    let again = compare(&server, &read).await;
    assert_eq!((&again["differs"], &again["counts"]["unchanged"]), (&json!(false), &json!(3)), "{again}");
    assert_eq!(again["scheduled_not_in_file"], json!([]));
    assert_eq!(apply(&server, &read).await.expect(200)["differs"], false);
    assert_eq!(server.get("/v1/catalogue").await.expect(200), read);
    // Once the scheduled price is in force, what was read before says the same still.
    server.clock.advance(60 * DAY);
    let later = compare(&server, &read).await;
    assert_eq!(later["differs"], false, "{later}");
    let price = json!({"model": "free", "rounding": null});
    assert_eq!(
        server.get("/v1/catalogue").await.expect(200)["actions"][0]["prices"][1]["model"],
        price["model"]
    );
    let empty = Server::start().await;
    apply(&empty, &read).await.expect(200);
    let copied = empty.get("/v1/catalogue").await.expect(200);
    assert_eq!(copied, read, "another deployment gets the same catalogue");
}

#[tokio::test]
async fn a_comparison_says_what_would_change_and_changes_nothing() {
    let server = stocked().await;
    let read = server.get("/v1/catalogue").await.expect(200);
    let mut file = read.clone();
    file["units"][0]["name"] = json!("Malaysian ringgit");
    file["actions"][0]["name"] = json!("The model");
    file["actions"][0]["category"] = json!(null);
    file["actions"][0]["prices"][0]["rates"]["out"]["rate"] = json!("16");
    file["actions"][0]["prices"].as_array_mut().expect("a list").pop();
    let scan = file["actions"].as_array_mut().expect("a list").pop().expect("the last");
    assert_eq!(scan["key"], "scan");
    file["actions"].as_array_mut().expect("a list").push(flat("new", "3"));
    let diff = compare(&server, &file).await;
    let counts = json!({"added": 1, "changed": 1, "deactivated": 0, "unchanged": 1, "not_in_file": 1, "price_versions": 2});
    assert_eq!(diff["counts"], counts, "{diff}");
    let model = &diff["actions"][0];
    assert_eq!((&model["key"], &model["change"]), (&json!("model"), &json!("changed")));
    let fields = json!([
        {"field": "name", "before": "Model", "after": "The model"},
        {"field": "category", "before": "ai", "after": null},
    ]);
    assert_eq!(model["fields"], fields);
    let price = &model["prices"][0];
    assert_eq!(
        (&price["before"]["rates"]["out"]["rate"], &price["after"]["rates"]["out"]["rate"]),
        (&json!("15"), &json!("16"))
    );
    assert_eq!((&diff["actions"][1]["key"], &diff["actions"][1]["change"]), (&json!("new"), &json!("added")));
    assert_eq!(diff["units"][0]["name_before"], "Ringgit");
    let scheduled = json!([{"key": "model", "unit": "MYR", "valid_from": "2026-02-01T00:00:00Z"}]);
    assert_eq!(diff["scheduled_not_in_file"], scheduled);
    assert_eq!(server.get("/v1/catalogue").await.expect(200), read, "nothing changed");

    server.clock.advance(DAY);
    let pruned = json!({"actions": file["actions"], "prune": true});
    let diff = apply(&server, &pruned).await.expect(200);
    assert_eq!(diff["counts"]["deactivated"], 1);
    assert_eq!(
        server.get("/v1/actions/scan").await.expect(200)["active"],
        false,
        "what the file does not name is switched off"
    );
    let model = server.get("/v1/actions/model").await.expect(200);
    let versions = model["prices"].as_array().expect("a list");
    assert_eq!(versions.len(), 4, "the versions before are all there: {model}");
    assert_eq!(compare(&server, &pruned).await["differs"], false);
}

#[tokio::test]
async fn what_was_charged_keeps_its_price_when_a_file_changes_it() {
    let server = Server::with_scan().await;
    let debit = server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201);
    server.clock.advance(DAY);
    let mut changed = flat("scan", "7");
    changed["prices"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"model": "flat", "amount": "9", "valid_from": "2026-01-10T00:00:00Z"}));
    apply(&server, &json!({"actions": [changed]})).await.expect(200);
    let charge = |occurred_at: Option<&str>| {
        let mut body = json!({"user": "ann", "action": "scan"});
        if let Some(at) = occurred_at {
            body["occurred_at"] = json!(at);
        }
        let (server, body) = (&server, body);
        async move { server.post("/v1/debits", body).await.expect(201)["amount"].clone() }
    };
    assert_eq!((debit["amount"].clone(), charge(None).await), (json!("5"), json!("7")));
    assert_eq!(
        charge(Some("2026-01-01T12:00:00Z")).await,
        "5",
        "work of yesterday at the price of yesterday"
    );
    server.clock.advance(20 * DAY);
    assert_eq!(charge(None).await, "9");
    let id = debit["id"].as_str().expect("an id");
    assert_eq!(server.get(&format!("/v1/debits/{id}")).await.expect(200)["price_id"], debit["price_id"]);
}

#[tokio::test]
async fn a_file_with_one_mistake_changes_nothing_and_is_told_where() {
    let server = stocked().await;
    let read = server.get("/v1/catalogue").await.expect(200);
    let with = |action: Value| json!({"actions": [flat("new", "3"), action]});
    let price = |price: Value| with(json!({"key": "b", "name": "B", "prices": [price]}));
    let two = |second: Value| {
        let first = json!({"model": "flat", "amount": "1"});
        with(json!({"key": "b", "name": "B", "prices": [first, second]}))
    };
    let table = [
        (with(flat("new", "4")), "/actions/1/key", "repeated"),
        (with(flat("a b", "4")), "/actions/1/key", "invalid_key"),
        (
            with(json!({"key": "b", "name": " ", "prices": [{"model": "free"}]})),
            "/actions/1/name",
            "required",
        ),
        (with(json!({"key": "b", "name": "B", "prices": []})), "/actions/1/prices", "out_of_range"),
        (with(json!({"key": "b", "name": "B"})), "/actions/1/prices", "required"),
        (
            with(json!({"key": "b", "name": "B", "price": 1, "prices": []})),
            "/actions/1/price",
            "unknown_field",
        ),
        (
            with(json!({"key": "b", "name": "B", "overage": "allow", "prices": [{"model": "free"}]})),
            "/actions/1/overage_percent",
            "required",
        ),
        (
            with(
                json!({"key": "b", "name": "B", "confirm_above": {"MYR": "5"}, "prices": [{"model": "free"}]}),
            ),
            "/actions/1/confirm_above/MYR",
            "unit_mismatch",
        ),
        (price(json!({"model": "flat", "amount": "-1"})), "/actions/1/prices/0/amount", "out_of_range"),
        (price(json!({"model": "flat", "rate": "1"})), "/actions/1/prices/0/rate", "not_applicable"),
        (price(json!({"model": "free", "unit": "EUR"})), "/actions/1/prices/0/unit", "unknown_unit"),
        (
            price(json!({"model": "free", "valid_from": "soon"})),
            "/actions/1/prices/0/valid_from",
            "malformed",
        ),
        (two(json!({"model": "free"})), "/actions/1/prices/1", "repeated"),
        (
            json!({"actions": [flat("new", "3")], "units": [{"code": "MYR", "scale": 3, "name": "R"}]}),
            "/units/0/scale",
            "not_allowed",
        ),
        (
            json!({"actions": [], "units": [{"code": "x", "scale": 0, "name": "X"}, {"code": "x", "scale": 0, "name": "X"}]}),
            "/units/1/code",
            "repeated",
        ),
        (
            json!({"actions": [], "units": [
                {"code": "credit", "scale": 6, "name": "Credit"}, {"code": "credit", "scale": 6, "name": "Other"}]}),
            "/units/1/code",
            "repeated",
        ),
        (
            with(json!({"key": "model", "name": "M", "prices": [
                {"model": "free", "unit": "MYR"}, {"model": "free", "unit": "credit"}]})),
            "/actions/1/prices",
            "not_allowed",
        ),
    ];
    for (body, pointer, code) in table {
        apply(&server, &body).await.invalid(pointer, code);
    }
    let many: Vec<Value> = (0..10_001).map(|number| flat(&format!("a{number}"), "1")).collect();
    apply(&server, &json!({"actions": many})).await.invalid("/actions", "out_of_range");
    server
        .send("PUT", "/v1/catalogue?dry_run=perhaps", &[], &json!({"actions": []}).to_string())
        .await
        .invalid("?dry_run", "malformed");
    let long = format!("{{\"actions\": [{}]}}", " ".repeat(16 << 20));
    server.send("PUT", "/v1/catalogue", &[], &long).await.problem(413, "body_too_large");
    assert_eq!(server.get("/v1/catalogue").await.expect(200), read);
}

#[tokio::test]
async fn thousands_of_actions_are_applied_at_once_and_can_be_charged() {
    let server = Server::with_scan().await;
    let actions: Vec<Value> = (0..4_500).map(|number| flat(&format!("a{number}"), "3")).collect();
    let file = json!({"actions": actions});
    assert_eq!(apply(&server, &file).await.expect(200)["counts"]["added"], 4_500);
    let charged = server.post("/v1/debits", json!({"user": "ann", "action": "a4499"})).await.expect(201);
    assert_eq!(charged["amount"], "3");
    let again = apply(&server, &file).await.expect(200);
    assert_eq!((&again["differs"], &again["counts"]["unchanged"]), (&json!(false), &json!(4_500)));
    let none = json!({"actions": [], "prune": true});
    assert_eq!(apply(&server, &none).await.expect(200)["counts"]["deactivated"], 4_501);
    server
        .post("/v1/debits", json!({"user": "ann", "action": "a4499"}))
        .await
        .problem(404, "action_not_found");
}

#[tokio::test]
async fn labels_of_an_action_change_one_by_one() {
    let server = stocked().await;
    let patch = |body: Value| {
        let server = &server;
        async move { server.send("PATCH", "/v1/actions/model", &[], &body.to_string()).await }
    };
    let before = server.get("/v1/actions/model").await.expect(200);
    let after = patch(json!({"name": "Other", "category": null, "active": false})).await.expect(200);
    let mut expected = before.clone();
    expected["name"] = json!("Other");
    expected["category"] = json!(null);
    expected["active"] = json!(false);
    assert_eq!(after, expected);
    assert_eq!(patch(json!({})).await.expect(200), expected);
    let after = patch(json!({"overage": "debt"})).await.expect(200);
    assert_eq!((&after["overage"], &after["overage_percent"]), (&json!("debt"), &json!(null)));
    let after = patch(json!({"confirm_above": {"credit": 3}})).await.expect(200);
    assert_eq!(after["confirm_above"], json!({"credit": "3"}), "the whole of it is said");
    assert_eq!(patch(json!({"name": "Again"})).await.expect(200)["confirm_above"], json!({"credit": "3"}));
    assert_eq!(patch(json!({"confirm_above": null})).await.expect(200)["confirm_above"], json!({}));
    patch(json!({"confirm_above": "3"})).await.invalid("/confirm_above", "unit_required");
    patch(json!({"confirm_above": {"credit": "-1"}})).await.invalid("/confirm_above/credit", "out_of_range");
    patch(json!({"confirm_above": {"MYR": "0.001"}})).await.invalid("/confirm_above/MYR", "too_fine");
    patch(json!({"overage_percent": 3})).await.invalid("/overage_percent", "not_allowed");
    patch(json!({"name": ""})).await.invalid("/name", "required");
    patch(json!({"description": "x".repeat(2_001)})).await.invalid("/description", "too_long");
    patch(json!({"key": "other"})).await.invalid("/key", "unknown_field");
    let missing = server.send("PATCH", "/v1/actions/nothing", &[], "{\"name\":\"N\"}").await;
    missing.problem(404, "action_not_found");
}
