//! Usage that is reported as CloudEvents: every mode, once for ever, at the price of its time, each of a batch for itself.

use crate::databases::Kind;
use crate::nodes::{assert_verified, available, run, two};
use crate::server::{Answer, Server};
use purser_app::caller::Scope;
use purser_app::usecase::api_key;
use purser_core::time::{DAY, SECOND};
use serde_json::{Value, json};

const PATH: &str = "/v1/usage_events";
const SINGLE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// One scan by ann.
fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "source": "/crawler", "id": id, "type": "scan", "subject": "ann"})
}

/// The same event with one more attribute, or another value of one.
fn with(mut event: Value, name: &str, value: impl Into<Value>) -> Value {
    event[name] = value.into();
    event
}

async fn sent(server: &Server, media_type: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {}", server.key);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", media_type)];
    server.raw("POST", PATH, &headers, body.to_string().as_bytes()).await
}

async fn one(server: &Server, event: &Value) -> Answer {
    sent(server, SINGLE, event).await
}

async fn all(server: &Server, events: &[Value]) -> Vec<Value> {
    let answer = sent(server, BATCH, &json!(events)).await.expect(200);
    answer["results"].as_array().expect("results").clone()
}

async fn binary(server: &Server, attributes: &[(&str, &str)], body: &str) -> Answer {
    let authorization = format!("Bearer {}", server.key);
    let mut headers = vec![("Authorization", authorization.as_str())];
    headers.extend(attributes);
    server.raw("POST", PATH, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn an_event_is_charged_once_in_whatever_mode_it_comes_again() {
    let server = Server::with_scan().await;
    let first = one(&server, &event("a 1")).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let made = first.expect(201);
    assert_eq!(
        (&made["amount"], &made["action"], &made["user"]),
        (&json!("5"), &json!("scan"), &json!("ann"))
    );
    let again = one(&server, &event("a 1")).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201), made);
    let attributes = [
        ("ce-specversion", "1.0"),
        ("ce-source", "/crawler"),
        ("ce-id", "a%201"),
        ("ce-type", "scan"),
        ("ce-subject", "ann"),
    ];
    let in_headers = binary(&server, &attributes, "").await;
    assert_eq!(in_headers.header("idempotent-replayed"), Some("true"));
    assert_eq!(in_headers.expect(201), made);
    let results = all(&server, &[event("a 1"), event("b"), event("b")]).await;
    let told: Vec<_> = results.iter().map(|result| (&result["status"], &result["replayed"])).collect();
    let (created, yes, no) = (json!(201), json!(true), json!(false));
    assert_eq!(told, [(&created, &yes), (&created, &no), (&created, &yes)]);
    assert_eq!((&results[0]["debit"], &results[1]["debit"]), (&made, &results[2]["debit"]));
    assert_eq!(available(&server, "ann").await, "90");
    // The debit is one like any other.
    let debit = server.get(&format!("/v1/debits/{}", made["id"].as_str().expect("an id"))).await.expect(200);
    assert_eq!((&debit["mode"], &debit["created_at"]), (&json!("settle"), &made["created_at"]));
}

#[tokio::test]
async fn other_content_under_the_same_source_and_id_is_the_same_event() {
    let server = Server::with_scan().await;
    server.action("copy", json!({"model": "per_quantity", "rate": "2"})).await;
    server.grant("bob", "100").await;
    let named = |tenant: &str| with(event("a"), "tenant", tenant);
    let made = one(&server, &named("acme")).await.expect(201);
    let other = with(with(named("acme"), "type", "copy"), "data", json!({"quantity": 7}));
    assert_eq!(one(&server, &other).await.expect(201), made);
    assert_eq!(one(&server, &with(other, "subject", "bob")).await.expect(201), made);
    // Another source, id or tenant is another event.
    for another in
        [with(named("acme"), "source", "/other"), with(named("acme"), "id", "A"), named("umbrella")]
    {
        let another = one(&server, &another).await;
        assert_eq!(another.header("idempotent-replayed"), None);
        assert_ne!(another.expect(201)["id"], made["id"]);
    }
    // What was refused leaves nothing behind: it is taken once it is right.
    one(&server, &with(event("late"), "type", "unknown")).await.problem(404, "action_not_found");
    let taken = one(&server, &event("late")).await;
    assert_eq!(taken.header("idempotent-replayed"), None);
    taken.expect(201);
}

#[tokio::test]
async fn a_late_event_costs_what_it_cost_at_its_time_and_makes_debt_rather_than_be_refused() {
    let server = Server::with_scan().await;
    server.clock.advance(DAY);
    server.post("/v1/actions/scan/prices", json!({"model": "flat", "amount": "98"})).await.expect(201);
    server.clock.advance(DAY);
    let late = with(event("late"), "time", "2026-01-01T12:00:00.5+00:00");
    assert_eq!(one(&server, &late).await.expect(201)["amount"], "5");
    assert_eq!(one(&server, &event("now")).await.expect(201)["amount"], "98");
    let balance = server.get("/v1/balance?user=ann").await.expect(200);
    assert_eq!(balance["wallets"][0]["balance"]["debt"], "3");
}

#[tokio::test]
async fn what_is_too_old_or_ahead_is_refused_by_name_unless_it_came_in_time_before() {
    let server = Server::with_scan().await;
    let early = with(event("early"), "time", "2026-01-01T00:00:00Z");
    let made = one(&server, &early).await.expect(201);
    server.clock.advance(31 * DAY);
    one(&server, &with(event("edge"), "time", "2026-01-01T00:00:01Z")).await.expect(201);
    server.clock.advance(2 * SECOND);
    let old = with(event("old"), "time", "2026-01-01T00:00:00Z");
    one(&server, &old).await.invalid("/time", "out_of_range");
    one(&server, &with(event("ahead"), "time", "2026-02-01T00:05:03Z"))
        .await
        .invalid("/time", "out_of_range");
    one(&server, &with(event("soon"), "time", "2026-02-01T00:05:02Z")).await.expect(201);
    let again = one(&server, &early).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201), made);
}

/// Events that would be refused now are answered as the first time, all of a batch together, and also one that the same batch
/// charged.
#[tokio::test]
async fn what_was_charged_is_answered_so_whatever_it_says_by_then() {
    let server = Server::with_scan().await;
    let early = |id: String| with(with(event(&id), "time", "2026-01-01T00:00:00Z"), "tenant", "acme");
    let first: Vec<Value> = (0..1_000).map(|number| early(format!("e{number}"))).collect();
    let made = all(&server, &first[..500]).await;
    let none = with(event("e0"), "type", "gone");
    one(&server, &none).await.problem(404, "action_not_found");
    let of_acme = |name: &str, value: Value| with(early("e0".into()), name, value);
    for other in [
        of_acme("type", json!("gone")),
        of_acme("data", json!({"unit": "gold"})),
        of_acme("data", json!({"quantity": 2})),
        with(of_acme("type", json!("gone")), "subject", "nobody"),
        of_acme("time", json!("2020-01-01T00:00:00Z")),
    ] {
        let again = one(&server, &other).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{other}");
        assert_eq!(again.expect(201), made[0]["debit"]);
    }
    one(&server, &of_acme("data", json!({"quantity": "x"}))).await.invalid("/data/quantity", "malformed");
    server.clock.advance(32 * DAY);
    let mut late = first.clone();
    late[998] = with(early("new".into()), "time", "2026-02-01T12:00:00Z");
    late[999] = early("new".into());
    let results = all(&server, &late).await;
    for (number, result) in results.iter().enumerate() {
        match number {
            0..500 => {
                assert_eq!((&result["status"], &result["replayed"]), (&json!(201), &json!(true)), "{number}");
                assert_eq!(result["debit"], made[number]["debit"]);
            }
            998 => assert_eq!((&result["status"], &result["replayed"]), (&json!(201), &json!(false))),
            999 => {
                assert_eq!((&result["debit"], &result["replayed"]), (&results[998]["debit"], &json!(true)))
            }
            _ => {
                assert_eq!(result["status"], 422, "{number}");
                assert_eq!(result["problem"]["errors"][0]["pointer"], format!("/{number}/time"));
            }
        }
    }
    // Nobody is made for what is refused, not even its tenant.
    one(&server, &with(early("x".into()), "tenant", "late-tenant")).await.invalid("/time", "out_of_range");
    let before = "/v1/wallets?tenant=late-tenant";
    assert_eq!(server.get(before).await.expect(200)["data"], json!([]));
    // Nothing of that takes a writer.
    server.app.shutdown().await;
    let results = all(&server, &first[..500]).await;
    assert!(
        results.iter().zip(&made).all(|(again, made)| again["debit"] == made["debit"]),
        "{:?}",
        results[0]
    );
}

#[tokio::test]
async fn each_event_of_a_batch_is_answered_for_itself() {
    let server = Server::with_scan().await;
    let tokens = json!({"model": "per_dimension", "rates": {"in": {"rate": "1"}, "out": {"rate": "2"}}});
    server.action("chat", tokens).await;
    let measured = json!({"action": "chat", "dimensions": {"in": 3, "out": "4.5"}, "unit": "credit",
        "reference": "order 7", "metadata": {"model": "m1"}});
    let events = [
        with(event("good"), "data", measured),
        with(event("version"), "specversion", "0.3"),
        with(event("subject"), "subject", 7),
        with(event("type"), "type", "no such"),
        with(event("quantity"), "data", json!({"quantity": "2.5.1"})),
        with(event("field"), "data", json!({"quantities": 2})),
        with(event("flat"), "data", json!({"quantity": 2})),
        with(event("unknown"), "type", "unknown"),
        json!({"specversion": "1.0", "source": "/crawler", "type": "scan", "subject": "ann"}),
        with(event("bytes"), "data_base64", "eA=="),
        with(event("xml"), "datacontenttype", "application/xml"),
        json!(["specversion", "1.0"]),
        with(with(event("extended"), "traceparent", "00-1"), "sequence", 4),
        with(event("time"), "time", "yesterday"),
        with(event("tenant"), "tenant", "a b"),
        with(event("unit"), "data", json!({"unit": "gold"})),
    ];
    let results = all(&server, &events).await;
    let told: Vec<String> = results
        .iter()
        .map(|result| {
            let error = &result["problem"]["errors"][0];
            let text = |value: &Value| value.as_str().unwrap_or("-").to_string();
            let problem = &result["problem"]["code"];
            format!(
                "{} {} {} {}",
                result["status"],
                text(problem),
                text(&error["pointer"]),
                text(&error["code"])
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    201 - - -
    422 invalid_request /1/specversion unsupported
    422 invalid_request /2/subject wrong_type
    422 invalid_request /3/type invalid_key
    422 invalid_request /4/data/quantity malformed
    422 invalid_request /5/data/quantities unknown_field
    422 usage_invalid /6/data/quantity usage_invalid
    404 action_not_found - -
    422 invalid_request /8/id required
    422 invalid_request /9/data_base64 unsupported
    422 invalid_request /10/datacontenttype unsupported
    422 invalid_request /11 wrong_type
    201 - - -
    422 invalid_request /13/time malformed
    422 invalid_request /14/tenant invalid_key
    422 invalid_request /15/data/unit unknown_unit
    ");
    assert_eq!(results[0]["debit"]["dimensions"], json!({"in": "3", "out": "4.5"}));
    assert_eq!(available(&server, "ann").await, "83");
    let path = format!("/v1/debits/{}", results[0]["debit"]["id"].as_str().expect("an id"));
    let debit = server.get(&path).await.expect(200);
    assert_eq!((&debit["reference"], &debit["metadata"]), (&json!("order 7"), &json!({"model": "m1"})));
}

#[tokio::test]
async fn a_batch_may_be_empty_and_not_too_long_and_is_a_list() {
    let server = Server::with_scan().await;
    assert!(all(&server, &[]).await.is_empty());
    let many: Vec<Value> = (0..1_001).map(|number| event(&number.to_string())).collect();
    sent(&server, BATCH, &json!(many)).await.invalid("", "too_many");
    let results = all(&server, &many[..1_000]).await;
    assert!(results.len() == 1_000 && results.iter().all(|result| result["status"] == 201));
    sent(&server, BATCH, &event("a")).await.invalid("", "wrong_type");
    let authorization = format!("Bearer {}", server.key);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", BATCH)];
    server.raw("POST", PATH, &headers, b"[{]").await.problem(400, "malformed_json");
    let (head, tail) = (br#"[{"id": ""#, br#""}]"#);
    server
        .raw("POST", PATH, &headers, &[&head[..], &[0xff], tail].concat())
        .await
        .problem(400, "malformed_json");
}

#[tokio::test]
async fn a_batch_of_strangers_makes_each_of_them_once_and_no_others() {
    let server = Server::with_scan().await;
    let of = |number: usize| {
        let stranger = with(event(&number.to_string()), "subject", format!("new-{}", number % 150));
        let stranger = if number.is_multiple_of(2) { with(stranger, "tenant", "acme") } else { stranger };
        // Who is refused is not made.
        match number {
            300 => with(with(stranger, "subject", "late"), "time", "2025-01-01T00:00:00Z"),
            301 => with(with(stranger, "subject", "wrong"), "type", "unknown"),
            _ => stranger,
        }
    };
    let results = all(&server, &(0..302).map(of).collect::<Vec<_>>()).await;
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64()).collect();
    assert!(statuses[..300].iter().all(|status| *status == Some(201)), "{statuses:?}");
    assert_eq!(statuses[300..], [Some(422), Some(404)]);
    let wallets = server.get("/v1/wallets?limit=500").await.expect(200);
    assert_eq!(
        wallets["data"].as_array().expect("a list").len(),
        151,
        "75 in acme, 75 of their own, and ann's"
    );
}

#[tokio::test]
async fn attributes_in_headers_are_decoded_and_pointed_at_by_name() {
    let server = Server::with_scan().await;
    server.action("copy", json!({"model": "per_quantity", "rate": "2"})).await;
    let base = [("ce-specversion", "1.0"), ("ce-source", "/crawler"), ("ce-id", "1"), ("ce-type", "copy")];
    let and = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    let json = ("Content-Type", "application/json; charset=utf-8");
    let made = binary(&server, &and(&[("ce-subject", "ann"), json]), r#"{"quantity": 3}"#).await.expect(201);
    assert_eq!(made["amount"], "6");
    let refused = binary(&server, &base, "").await;
    refused.invalid("ce-subject", "required");
    binary(&server, &and(&[("ce-subject", "a%20b")]), "").await.invalid("ce-subject", "invalid_key");
    binary(&server, &and(&[("ce-subject", "%ff")]), "").await.invalid("ce-subject", "malformed");
    binary(&server, &and(&[("ce-subject", "ann"), ("ce-subject", "bob")]), "")
        .await
        .invalid("ce-subject", "duplicate_field");
    let subject = ("ce-subject", "ann");
    binary(&server, &and(&[subject, ("ce-time", "now")]), "").await.invalid("ce-time", "malformed");
    binary(&server, &and(&[subject, ("ce-tenant", "%20")]), "").await.invalid("ce-tenant", "invalid_key");
    binary(&server, &and(&[subject, json]), r#"{"quantity": "x"}"#).await.invalid("/quantity", "malformed");
    binary(&server, &and(&[subject, json]), r#"{"much": 1}"#).await.invalid("/much", "unknown_field");
    binary(&server, &base[1..], "").await.invalid("ce-specversion", "required");
    let xml = ("Content-Type", "application/xml");
    binary(&server, &and(&[subject, xml]), "<a/>").await.problem(415, "unsupported_media_type");
    binary(&server, &[json], "{}").await.problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_tenants_key_reports_for_its_own_tenant_alone() {
    let mut server = Server::with_scan().await;
    server.key = api_key::create(&server.app, "acme", Scope::Write, Some("acme")).await.expect("a key");
    one(&server, &event("a")).await.invalid("/tenant", "tenant_required");
    one(&server, &with(event("a"), "tenant", "other")).await.invalid("/tenant", "tenant_required");
    assert_eq!(one(&server, &with(event("a"), "tenant", "acme")).await.expect(201)["tenant"], "acme");
}

/// One event is sent to both nodes at once, by users that were never seen: where no wallet is there to be locked, the key of the
/// row decides. Every other time each names another user, so that their wallets are two.
fn one_event_sent_to_both_nodes_at_once_is_charged_once(kind: Kind) {
    run(async {
        let nodes = two(kind, "1000").await;
        while one(&nodes[1], &event("warm")).await.status != 201 {}
        for round in 0..60 {
            let named =
                |user: String| with(with(event(&format!("e{round}")), "tenant", "acme"), "subject", user);
            let user =
                |node: u32| if round % 2 == 0 { format!("u{round}") } else { format!("u{round}-{node}") };
            let bodies = [json!([named(user(0))]), json!([named(user(1))])];
            let (first, second) =
                tokio::join!(sent(&nodes[0], BATCH, &bodies[0]), sent(&nodes[1], BATCH, &bodies[1]));
            let [first, second] = [first, second].map(|answer| answer.expect(200)["results"][0].clone());
            assert_eq!((&first["status"], &second["status"]), (&json!(201), &json!(201)), "round {round}");
            assert_eq!(first["debit"], second["debit"], "round {round}");
            assert_ne!(first["replayed"], second["replayed"], "round {round}");
        }
        assert_verified(&nodes).await;
    });
}

mod on_postgres {
    use super::Kind;

    #[test]
    fn one_event_sent_to_both_nodes_at_once_is_charged_once() {
        super::one_event_sent_to_both_nodes_at_once_is_charged_once(Kind::Postgres);
    }
}

mod on_mariadb {
    use super::Kind;

    #[test]
    fn one_event_sent_to_both_nodes_at_once_is_charged_once() {
        super::one_event_sent_to_both_nodes_at_once_is_charged_once(Kind::Mysql);
    }
}
