//! Alive, ready, measured, and stopping in order.

use crate::server::Server;
use purser_core::time::SECOND;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
    server.raw("GET", "/docs", &[], b"").await;
    server.grant("ann", "1").await;
    let text = server.raw("GET", "/metrics", &[], b"").await.text;
    for line in [
        r#"purser_http_requests_total{method="GET",route="/v1/units",status="200"}"#,
        r#"purser_http_requests_total{method="GET",route="/v1/holds/{id}",status="404"}"#,
        r#"purser_http_request_seconds_bucket{method="GET",route="/v1/units",le="+Inf"}"#,
        r#"purser_http_requests_total{method="GET",route="/docs",status="308"}"#,
        r#"purser_batch_size_bucket{le="1"}"#,
        "# HELP purser_commands_total ",
        "# HELP purser_batch_seconds ",
        "# HELP purser_queue_wait_seconds ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn an_answer_does_not_wait_for_what_the_client_sends_next() {
    let server = Server::start().await;
    for more in ["\r\n", "G", "GET /healthz HTTP/1.1\r\nHo"] {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        let request = format!("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n{more}");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut start = [0; 12];
        let answer = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut start)).await;
        answer.expect("an answer in time").expect("an answer");
        assert_eq!(&start, b"HTTP/1.1 200", "{more:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_told_so() {
    let server = Server::start().await;
    let many = format!("GET /healthz HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: x\r\n".repeat(200));
    for (request, status) in [("nonsense\r\n\r\n", "400"), (many.as_str(), "431")] {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.expect("an answer");
        assert_eq!(start[..9], *b"HTTP/1.1 ");
        assert_eq!(&start[9..], status.as_bytes());
    }
}

#[tokio::test]
async fn stopping_refuses_what_is_new_and_finishes_what_is_under_way() {
    let mut server = Server::with_scan().await;
    let (address, key) = (server.address, server.key.clone());
    let body = r#"{"user":"ann","action":"scan"}"#;
    let head = format!(
        "POST /v1/debits HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\nIdempotency-Key: late\r\n\
         Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The handler is at work once it asks for the body.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.expect("asked for the body");
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    let finishing = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        stream.write_all(body.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    };
    let ((), answer) = tokio::join!(server.stop(), finishing);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
