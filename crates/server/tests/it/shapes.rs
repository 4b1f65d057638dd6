//! Requests that are not what they should be: each is named, and none moves anything.

use crate::server::Server;
use serde_json::json;

const DEBIT: &str = r#"{"user":"ann","action":"scan"}"#;

async fn debit(server: &Server, body: &str) -> crate::server::Answer {
    server.send("POST", "/v1/debits", &[("Idempotency-Key", &server.fresh_key())], body).await
}

#[tokio::test]
async fn fields_are_refused_by_pointer() {
    let server = Server::with_scan().await;
    let with = |field: &str| format!(r#"{{"user":"ann","action":"scan",{field}}}"#);
    debit(&server, &with(r#""colour":"red""#)).await.invalid("/colour", "unknown_field");
    debit(&server, &with(r#""quantity":1.5"#)).await.invalid("/quantity", "fraction_as_number");
    debit(&server, &with(r#""quantity":1e3"#)).await.invalid("/quantity", "fraction_as_number");
    debit(&server, &with(r#""quantity":123456789012345678901234567890"#))
        .await
        .invalid("/quantity", "fraction_as_number");
    debit(&server, &with(r#""quantity":true"#)).await.invalid("/quantity", "wrong_type");
    debit(&server, &with(r#""quantity":"1.0000001""#)).await.invalid("/quantity", "too_fine");
    debit(&server, &with(r#""quantity":"many""#)).await.invalid("/quantity", "malformed");
    debit(&server, &with(r#""quantity":"99999999999999999999""#))
        .await
        .invalid("/quantity", "amount_overflow");
    debit(&server, &with(r#""mode":"loose""#)).await.invalid("/mode", "unknown_value");
    debit(&server, &with(r#""mode":1"#)).await.invalid("/mode", "wrong_type");
    debit(&server, &with(r#""metadata":[1]"#)).await.invalid("/metadata", "wrong_type");
    debit(&server, &with(r#""dimensions":{"a":1,"a":2}"#)).await.invalid("/dimensions", "duplicate_field");
    debit(&server, &with(r#""dimensions":{"a":{}}"#)).await.invalid("/dimensions/a", "wrong_type");
    debit(&server, &with(r#""user":"bob""#)).await.invalid("/user", "duplicate_field");
    debit(&server, &with(r#""occurred_at":"soon""#)).await.invalid("/occurred_at", "malformed");
    debit(&server, &with(r#""occurred_at":"2026-01-01T00:06:00Z""#))
        .await
        .invalid("/occurred_at", "out_of_range");
    debit(&server, r#"{"user":"ann"}"#).await.invalid("/action", "required");
    debit(&server, r#"{"user":7,"action":"scan"}"#).await.invalid("/user", "wrong_type");
    debit(&server, r#"{"user":"a b","action":"scan"}"#).await.invalid("/user", "invalid_key");
    debit(&server, "[]").await.invalid("", "wrong_type");
    debit(&server, r#"[null,"ann","scan"]"#).await.invalid("", "wrong_type");
    let ends = json!({"from": [null, "ann"], "to": {"user": "bob"}, "amount": 1});
    server.post("/v1/transfers", ends).await.invalid("/from", "wrong_type");
    assert_eq!(
        server.get("/v1/balance?user=ann").await.expect(200)["wallets"][0]["balance"]["available"],
        "100"
    );
}

#[tokio::test]
async fn amounts_that_cannot_be_are_refused() {
    let server = Server::start().await;
    let grant = async |amount: serde_json::Value| {
        let body = json!({"user": "ann", "amount": amount, "kind": "promotional", "reason": "x"});
        server.post("/v1/grants", body).await
    };
    grant(json!(0)).await.problem(422, "amount_not_positive");
    grant(json!("-1")).await.problem(422, "amount_not_positive");
    grant(json!("9000000000000")).await.problem(422, "amount_overflow");
    grant(json!("99999999999999999999")).await.invalid("/amount", "amount_overflow");
    grant(json!("0.0000001")).await.invalid("/amount", "too_fine");
    grant(json!(null)).await.invalid("/amount", "wrong_type");
    let unit = json!({"user": "ann", "amount": 1, "unit": "gold", "kind": "promotional", "reason": "x"});
    server.post("/v1/grants", unit).await.invalid("/unit", "unknown_unit");
    let paid = json!({"user": "ann", "amount": 1, "kind": "paid", "reason": "x", "paid": {"amount": "5.0", "currency": "MYR"}});
    server.post("/v1/grants", paid).await.invalid("/paid/amount", "malformed");
}

#[tokio::test]
async fn refusals_of_the_rule_book_name_their_field_too() {
    let server = Server::with_scan().await;
    server.post("/v1/units", json!({"code": "sms", "scale": 0, "name": "Messages"})).await.expect(201);
    server.action("pages", json!({"model": "per_quantity", "rate": "1"})).await;
    server.action("chat", json!({"model": "per_dimension", "rates": {"in": {"rate": "1"}}})).await;
    let sms = json!({"user": "ann", "unit": "sms", "amount": 3, "kind": "promotional", "reason": "gift"});
    let sms = server.post("/v1/grants", sms).await.expect(201)["wallet_id"].clone();
    let wallet = server.grant("ann", "1").await["wallet_id"].clone();
    let points = async |path: &str, body: serde_json::Value, code: &str, pointer: &str| {
        let problem = server.post(path, body).await.problem(422, code);
        let error = &problem["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)), "{problem}");
    };
    let grant = |more: serde_json::Value| {
        let mut body = json!({"user": "ann", "amount": 1, "kind": "promotional", "reason": "x"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    points("/v1/grants", grant(json!({"amount": 0})), "amount_not_positive", "/amount").await;
    points("/v1/grants", grant(json!({"amount": "9000000000000"})), "amount_overflow", "/amount").await;
    let past = json!({"expires_at": "2025-01-01T00:00:00Z"});
    points("/v1/grants", grant(past), "time_invalid", "/expires_at").await;
    let debit = |action: &str, field: &str, value: serde_json::Value| json!({"user": "ann", "action": action, field: value});
    points("/v1/debits", debit("scan", "quantity", json!(2)), "usage_invalid", "/quantity").await;
    points("/v1/debits", debit("scan", "dimensions", json!({"a": 1})), "usage_invalid", "/dimensions").await;
    points("/v1/debits", debit("chat", "quantity", json!(1)), "usage_invalid", "/dimensions").await;
    points("/v1/debits", debit("chat", "dimensions", json!({"a": 1})), "usage_invalid", "/dimensions/a")
        .await;
    let huge = json!("9000000000000");
    points("/v1/debits", debit("pages", "quantity", huge.clone()), "amount_overflow", "/quantity").await;
    points("/v1/holds", debit("pages", "amount", huge), "amount_overflow", "/amount").await;
    points("/v1/debits", debit("scan", "unit", json!("sms")), "unit_mismatch", "/unit").await;
    points("/v1/preflight", debit("scan", "wallet_id", sms.clone()), "unit_mismatch", "/wallet_id").await;
    let between = json!({"from": {"wallet_id": wallet}, "to": {"wallet_id": sms}, "amount": 1});
    points("/v1/transfers", between, "unit_mismatch", "/to").await;
    let itself = json!({"from": {"wallet_id": wallet}, "to": {"wallet_id": wallet}, "amount": 1});
    points("/v1/transfers", itself, "same_wallet", "/to").await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_words_of_json_and_does_not_echo_the_request() {
    let server = Server::with_scan().await;
    let said = async |path: &str, body: &str| {
        let key = server.fresh_key();
        let answer = server.send("POST", path, &[("Idempotency-Key", &key)], body).await;
        answer.problem(422, "invalid_request")["errors"][0]["detail"].as_str().expect("text").to_string()
    };
    assert_eq!(said("/v1/debits", "[]").await, "an object is expected, not an array");
    let hold = r#"{"user":"ann","action":"scan","expires_in":"60"}"#;
    assert_eq!(said("/v1/holds", hold).await, "a whole number is expected, not string \"60\"");
    let unit = r#"{"code":"x","scale":300,"name":"X"}"#;
    assert_eq!(said("/v1/units", unit).await, "integer `300` is out of range");
    let mode = r#"{"user":"ann","action":"scan","mode":"loose"}"#;
    assert!(said("/v1/debits", mode).await.starts_with("unknown value `loose`, expected"));
    let long = format!(r#"{{"user":"ann","action":"scan","expires_in":"{}"}}"#, "x".repeat(100_000));
    assert!(said("/v1/holds", &long).await.len() < 1_000);
}

#[tokio::test]
async fn numbers_and_texts_that_json_can_write_and_nothing_can_hold_are_named() {
    let server = Server::with_scan().await;
    debit(&server, r#"{"user":"ann","action":"scan","quantity":1e999}"#)
        .await
        .invalid("/quantity", "fraction_as_number");
    let lone = debit(&server, r#"{"user":"ann","action":"scan","reference":"\ud800"}"#).await;
    assert!(lone.problem(400, "malformed_json")["detail"].as_str().expect("text").contains("hex escape"));
    let head = format!(
        "Authorization: Bearer {}\r\nContent-Type: application/json\r\nIdempotency-Key: u\r\n",
        server.key
    );
    let body = b"{\"user\":\"ann\",\"action\":\"\xff\"}";
    let bytes = server.bytes(&format!("{head}Content-Length: {}\r\n", body.len()), body).await;
    let detail = bytes.problem(400, "malformed_json")["detail"].clone();
    assert_eq!(detail, "The body is not JSON: byte 25 is not UTF-8.");
}

#[tokio::test]
async fn times_are_those_of_rfc_3339_and_of_the_calendar() {
    let server = Server::with_scan().await;
    let expiring = async |time: &str| {
        let body =
            json!({"user": "ann", "amount": 1, "kind": "promotional", "reason": "x", "expires_at": time});
        server.post("/v1/grants", body).await
    };
    for time in [
        "2027-01-31",
        "2027-01-31T08:00Z",
        "2027-01-31T08:00:00",
        "2027-01-31T08:00:00.Z",
        "20270131T080000Z",
        "+002027-01-31T08:00:00Z",
        "2027-01-31T08:00:00+08",
        "2027-01-31T08:00:00Z[UTC]",
        "tomorrow",
        "",
    ] {
        expiring(time).await.invalid("/expires_at", "malformed");
    }
    for time in ["2027-02-30T00:00:00Z", "9999-12-31T23:59:59Z"] {
        expiring(time).await.invalid("/expires_at", "out_of_range");
    }
    for time in ["2027-01-31t08:00:00z", "2027-01-31T08:00:00.123456789+08:00", "9999-12-30T00:00:00Z"] {
        expiring(time).await.expect(201);
    }
    let wallet = server.grant("ann", "1").await["wallet_id"].as_str().expect("text").to_string();
    let plus = server.get(&format!("/v1/wallets/{wallet}/at?time=2026-01-01T08:00:00+08:00")).await;
    plus.invalid("?time", "malformed");
    assert!(plus.text.contains("%2B"), "{}", plus.text);
}

#[tokio::test]
async fn texts_are_measured_in_characters_and_hold_no_nul() {
    let server = Server::with_scan().await;
    let with = |name: &str, text: String| json!({"user": "ann", "action": "scan", name: text});
    server.post("/v1/debits", with("reference", "漢".repeat(255))).await.expect(201);
    server.post("/v1/debits", with("reference", "漢".repeat(256))).await.invalid("/reference", "too_long");
    server.post("/v1/debits", with("reference", "a\0b".to_string())).await.invalid("/reference", "malformed");
    let named = |name: String| json!({"code": "x", "scale": 0, "name": name});
    server.post("/v1/units", named("漢\0".to_string())).await.invalid("/name", "malformed");
    server.post("/v1/units", named("漢".repeat(201))).await.invalid("/name", "too_long");
    server.post("/v1/units", named("漢".repeat(200))).await.expect(201);
}

#[tokio::test]
async fn what_is_wrong_with_the_request_comes_before_what_is_not_there() {
    let server = Server::with_scan().await;
    let sent = async |path: &str, body: serde_json::Value| server.post(path, body).await;
    let bad = |more: serde_json::Value| {
        let mut body = json!({"user": "ann", "action": "none"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    sent("/v1/debits", bad(json!({"quantity": "x"}))).await.invalid("/quantity", "malformed");
    sent("/v1/debits", bad(json!({"wallet_id": "wal_x", "action": "a b"})))
        .await
        .invalid("/action", "invalid_key");
    sent("/v1/holds", bad(json!({"amount": "x"}))).await.invalid("/amount", "malformed");
    sent("/v1/holds", bad(json!({"quantity": -1}))).await.invalid("/quantity", "out_of_range");
    sent("/v1/holds", bad(json!({"wallet_id": "wal_x", "reference": "x".repeat(256)})))
        .await
        .invalid("/reference", "too_long");
    for path in ["/v1/holds/hol_x/capture", "/v1/holds/hol_x/extend"] {
        sent(path, json!({"amount": "x"})).await.invalid("/amount", "malformed");
        sent(path, json!({"quantity": 1, "amount": 1})).await.invalid("", "ambiguous");
    }
    sent("/v1/holds/hol_x/extend", json!({})).await.invalid("", "required");
    for path in ["/v1/debits/deb_x/refund", "/v1/grants/gra_x/revoke"] {
        sent(path, json!({"amount": "x", "reason": "x"})).await.invalid("/amount", "malformed");
        sent(path, json!({"reason": "x".repeat(501)})).await.invalid("/reason", "too_long");
    }
    let ends = |more: serde_json::Value| {
        let mut body = json!({"from": {"wallet_id": "wal_x"}, "to": {"user": "ann"}, "amount": 1});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    sent("/v1/transfers", ends(json!({"amount": "x"}))).await.invalid("/amount", "malformed");
    sent("/v1/transfers", ends(json!({"to": {}}))).await.invalid("/to", "ambiguous");
    sent("/v1/transfers", ends(json!({"unit": "gold"}))).await.invalid("/unit", "unknown_unit");
}

#[tokio::test]
async fn a_body_that_was_compressed_is_refused_as_that() {
    let server = Server::with_scan().await;
    let key = server.fresh_key();
    let headers = [("Idempotency-Key", key.as_str()), ("Content-Encoding", "gzip")];
    let answer = server.send("POST", "/v1/debits", &headers, DEBIT).await;
    let problem = answer.problem(415, "unsupported_media_type");
    assert!(problem["detail"].as_str().expect("text").contains("Content-Encoding"), "{problem}");
    let headers = [("Idempotency-Key", key.as_str()), ("Content-Encoding", "identity")];
    assert_eq!(server.send("POST", "/v1/debits", &headers, DEBIT).await.status, 201);
}

#[tokio::test]
async fn what_is_not_json_is_400_and_what_is_not_declared_as_json_415() {
    let server = Server::with_scan().await;
    for body in ["{", "nonsense", r#"{"user":"ann",}"#, r#"{"user":"ann","action":"scan"} {}"#, "\u{feff}{}"]
    {
        debit(&server, body).await.problem(400, "malformed_json");
    }
    let deep = format!(r#"{{"user":{}"#, "[".repeat(200_000));
    let status = debit(&server, &deep).await.status;
    assert!([400, 422].contains(&status), "{status}");
    let key = server.fresh_key();
    debit(&server, "").await.problem(400, "malformed_json");
    let authorization = format!("Bearer {}", server.key);
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Idempotency-Key", key.as_str()),
            ("Content-Type", kind),
        ];
        server
            .raw("POST", "/v1/debits", &headers, DEBIT.as_bytes())
            .await
            .problem(415, "unsupported_media_type");
    }
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Idempotency-Key", key.as_str()),
        ("Content-Type", "Application/JSON; charset=utf-8"),
    ];
    assert_eq!(server.raw("POST", "/v1/debits", &headers, DEBIT.as_bytes()).await.status, 201);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_with_an_answer() {
    let server = Server::with_scan().await;
    let long = format!(r#"{{"user":"ann","action":"scan","reference":"{}"}}"#, "x".repeat(10 << 20));
    debit(&server, &long).await.problem(413, "body_too_large");
    let two = format!(r#"{{"debits":[{{"user":"{}"}}]}}"#, "x".repeat((2 << 20) - 100));
    server.send("POST", "/v1/debits/batch", &[], &two).await.problem(422, "invalid_request");
    let more = format!(r#"{{"debits":[{{"user":"{}"}}]}}"#, "x".repeat(2 << 20));
    server.send("POST", "/v1/debits/batch", &[], &more).await.problem(413, "body_too_large");
    let reference = format!(r#"{{"user":"ann","action":"scan","reference":"{}"}}"#, "x".repeat(256));
    debit(&server, &reference).await.invalid("/reference", "too_long");
}

#[tokio::test]
async fn a_refusal_arrives_however_long_the_body_is_that_nobody_reads() {
    let server = Server::with_scan().await;
    let long = format!(r#"{{"user":"ann","action":"scan","reference":"{}"}}"#, "x".repeat(8 << 20));
    let json = ("Content-Type", "application/json");
    let wrong = [json, ("Authorization", "Bearer psk_none"), ("Idempotency-Key", "a")];
    server.raw("POST", "/v1/debits", &wrong, long.as_bytes()).await.problem(401, "unauthenticated");
    server.send("POST", "/v1/debits", &[], &long).await.problem(400, "idempotency_key_required");
    server.send("POST", "/v1/nothing", &[], &long).await.problem(404, "route_not_found");
    server.send("PUT", "/v1/debits", &[], &long).await.problem(405, "method_not_allowed");
    let head = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let chunks = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    server.bytes(head, chunks.as_bytes()).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_chunked_body_is_measured_as_it_comes() {
    let server = Server::with_scan().await;
    let authorization = format!("Bearer {}", server.key);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "chunks"),
        ("Transfer-Encoding", "chunked"),
    ];
    let head = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
    let mut chunks = format!("{:x}\r\n{DEBIT}\r\n0\r\n\r\n", DEBIT.len()).into_bytes();
    assert_eq!(server.bytes(&head, &chunks).await.status, 201);
    chunks = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20)).into_bytes();
    chunks.extend_from_slice(format!("{:x}\r\n{DEBIT}\r\n0\r\n\r\n", DEBIT.len()).as_bytes());
    server.bytes(&head, &chunks).await.problem(413, "body_too_large");
}

#[tokio::test]
async fn a_movement_needs_a_key_that_can_be_one() {
    let server = Server::with_scan().await;
    server.send("POST", "/v1/debits", &[], DEBIT).await.problem(400, "idempotency_key_required");
    let long = "k".repeat(256);
    for key in ["", &long, "tab\tinside", "caf\u{e9}"] {
        let answer = server.send("POST", "/v1/debits", &[("Idempotency-Key", key)], DEBIT).await;
        answer.invalid("Idempotency-Key", "malformed");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    let twice = server.send("POST", "/v1/debits", &twice, DEBIT).await;
    twice.invalid("Idempotency-Key", "duplicate_field");
    let longest = "k".repeat(255);
    let answer = server.send("POST", "/v1/debits", &[("Idempotency-Key", &longest)], DEBIT).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn a_batch_is_refused_as_a_whole_for_its_shape_alone() {
    let server = Server::with_scan().await;
    let send = async |debits: Vec<serde_json::Value>| {
        server.send("POST", "/v1/debits/batch", &[], &json!({"debits": debits}).to_string()).await
    };
    let item = |key: &str| json!({"idempotency_key": key, "user": "ann", "action": "scan", "quantity": 1});
    send((0..1001).map(|at| item(&at.to_string())).collect()).await.invalid("/debits", "too_many");
    send(vec![]).await.invalid("/debits", "too_few");
    send(vec![item("a"), item("")]).await.invalid("/debits/1/idempotency_key", "malformed");
    send(vec![item("a"), json!({"user": "ann", "action": "scan"})])
        .await
        .invalid("/debits/1/idempotency_key", "required");
    send(vec![item("a"), json!({"idempotency_key": "b", "user": "ann", "action": "scan", "x": 1})])
        .await
        .invalid("/debits/1/x", "unknown_field");
    send(vec![json!({"idempotency_key": "b", "user": "ann", "action": "scan", "metadata": 1})])
        .await
        .invalid("/debits/0/metadata", "wrong_type");
    assert_eq!(
        server.get("/v1/balance?user=ann").await.expect(200)["wallets"][0]["balance"]["available"],
        "100"
    );
}

#[tokio::test]
async fn query_parameters_are_as_strict_as_bodies() {
    let server = Server::with_scan().await;
    server.get("/v1/balance").await.invalid("?user", "required");
    server.get("/v1/balance?user=ann&colour=red").await.invalid("?colour", "unknown_field");
    server.get("/v1/balance?user=ann&user=bob").await.invalid("?user", "duplicate_field");
    server.get("/v1/balance?user=%ff").await.invalid("?user", "malformed");
    server.get("/v1/wallets?limit=0").await.invalid("?limit", "out_of_range");
    server.get("/v1/wallets?limit=501").await.invalid("?limit", "out_of_range");
    server.get("/v1/wallets?limit=x").await.invalid("?limit", "out_of_range");
    server.get("/v1/wallets?cursor=x").await.invalid("?cursor", "malformed");
    server.get("/v1/units?x=1").await.invalid("?x", "unknown_field");
    server.get("/v1/balance?user=ann&unit=gold").await.invalid("?unit", "unknown_unit");
    server.get("/v1/balance?user=a%20b").await.invalid("?user", "invalid_key");
    server.get("/v1/wallets?tenant=a%20b").await.invalid("?tenant", "invalid_key");
    let key = server.fresh_key();
    server
        .send("POST", "/v1/debits?x=1", &[("Idempotency-Key", &key)], DEBIT)
        .await
        .invalid("?x", "unknown_field");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let server = Server::start().await;
    server.get("/v1/nothing").await.problem(404, "route_not_found");
    server.get("/").await.problem(404, "route_not_found");
    server.get("/v1/wallets/%ff").await.problem(404, "route_not_found");
    let answer = server.send("DELETE", "/v1/debits", &[], "").await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    server.send("DELETE", "/v1/actions/scan", &[], "").await.problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_request_is_named_by_its_client_or_by_the_server() {
    let server = Server::start().await;
    let named = server.send("GET", "/healthz", &[("X-Request-Id", "trace-7")], "").await;
    assert_eq!(named.header("x-request-id"), Some("trace-7"));
    let refused = server.send("GET", "/v1/nothing", &[("X-Request-Id", "trace-8")], "").await;
    assert_eq!(refused.problem(404, "route_not_found")["request_id"], "trace-8");
    let odd = server.send("GET", "/healthz", &[("X-Request-Id", "a b")], "").await;
    assert!(odd.header("x-request-id").expect("one of ours").starts_with("req_"));
}
