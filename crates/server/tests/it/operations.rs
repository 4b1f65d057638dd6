//! Alive, ready, measured, and stopping in order.

use crate::server::Server;
use purser_core::time::SECOND;
use serde_json::json;

#[tokio::test]
async fn it_says_that_it_lives_and_takes_work() {
    let server = Server::start().await;
    assert_eq!(server.raw("GET", "/healthz", &[], b"").await.expect(200)["status"], "ok");
    let ready = server.raw("GET", "/readyz", &[], b"").await.expect(200);
    assert_eq!(ready["ready"], true);
    assert!(ready["checks"].as_array().expect("a list").iter().all(|check| check["ok"] == true), "{ready}");
}

#[tokio::test]
async fn a_clock_that_jumps_back_stops_movements_and_says_so() {
    let server = Server::with_scan().await;
    server.clock.jump(-3_600 * SECOND);
    let refused = server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await;
    refused.problem(503, "clock_unsafe");
    assert!(refused.header("retry-after").expect("when to come back").parse::<u32>().expect("seconds") >= 1);
    let ready = server.raw("GET", "/readyz", &[], b"").await.expect(503);
    assert_eq!(ready["ready"], false);
    assert_eq!(server.raw("GET", "/healthz", &[], b"").await.status, 200);
    server.clock.jump(3_600 * SECOND);
    server.post("/v1/debits", json!({"user": "ann", "action": "scan"})).await.expect(201);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    purser_server::http::metrics::install();
    let server = Server::start().await;
    server.get("/v1/units").await.expect(200);
    server.get("/v1/holds/nope").await.problem(404, "hold_not_found");
    let text = server.raw("GET", "/metrics", &[], b"").await.text;
    for line in [
        r#"purser_http_requests_total{method="GET",route="/v1/units",status="200"}"#,
        r#"purser_http_requests_total{method="GET",route="/v1/holds/{id}",status="404"}"#,
        r#"purser_http_request_seconds_bucket{method="GET",route="/v1/units",le="+Inf"}"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way_and_refuses_the_rest() {
    let mut server = Server::with_scan().await;
    let body = json!({"user": "ann", "action": "scan"});
    server.post_as("/v1/debits", body, "before").await.expect(201);
    let address = server.address;
    server.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "it still listens");
}
