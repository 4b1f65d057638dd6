//! The API document: committed, complete, honest.

use crate::server::Server;
use purser_server::http::{docs, router};
use serde_json::Value;

#[test]
fn the_committed_document_is_what_the_code_says() {
    let committed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi.json"));
    let committed = committed.expect("openapi.json stands at the root of the repository");
    assert!(committed == docs::text(&router::document()), "stale: run `cargo run -- openapi > openapi.json`");
}

#[test]
fn every_operation_says_what_else_it_can_answer() {
    let document = serde_json::to_value(router::document()).expect("a document");
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let responses = operation["responses"].as_object().expect("responses");
            if router::OPEN.contains(&path.as_str()) {
                continue;
            }
            for status in ["401", "403", "422", "429", "500", "503"] {
                // nginx understands no other refusals than 401 and 403.
                if (path.as_str(), status) == ("/v1/gate/nginx", "422") {
                    continue;
                }
                let problem = &responses[status]["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(problem, "#/components/schemas/Problem", "{method} {path} {status}");
            }
            assert!(
                operation["operationId"].is_string() && operation["summary"].is_string(),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn requests_take_no_unknown_fields_and_every_reference_leads_somewhere() {
    let document = serde_json::to_value(router::document()).expect("a document");
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (name, schema) in schemas {
        if name.ends_with("Request") {
            assert_eq!(schema["additionalProperties"], false, "{name}");
        }
    }
    let mut waiting = vec![&document];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                    let name = target.strip_prefix("#/components/schemas/").expect("a schema");
                    assert!(schemas.contains_key(name), "{target} leads nowhere");
                }
                waiting.extend(fields.values());
            }
            Value::Array(items) => waiting.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

#[tokio::test]
async fn the_document_is_served_and_browsable_without_the_internet() {
    let server = Server::start().await;
    let served = server.raw("GET", "/openapi.json", &[], b"").await;
    assert_eq!(served.text, docs::text(&router::document()));
    assert_eq!(served.header("content-type"), Some("application/json"));
    let moved = server.raw("GET", "/docs", &[], b"").await;
    assert_eq!(moved.header("location"), Some("/docs/"));
    let page = server.raw("GET", "/docs/", &[], b"").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").expect("a policy").contains("script-src 'self';"));
    let mut scripts = 0;
    for part in page.text.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        assert!(!part.contains("//"), "{part} comes from elsewhere");
        let file = server.raw("GET", &format!("/docs/{}", part.trim_start_matches("./")), &[], b"").await;
        assert_eq!(file.status, 200, "{part}");
        scripts += usize::from(part.ends_with(".js"));
    }
    assert!(scripts >= 2, "{}", page.text);
    let settings = server.raw("GET", "/docs/swagger-initializer.js", &[], b"").await.text;
    assert!(settings.contains(r#""validatorUrl": "none""#), "{settings}");
    assert!(!page.text.contains("<script>"), "the policy would stop an inline script");
    server.raw("GET", "/docs/../Cargo.toml", &[], b"").await.problem(404, "route_not_found");
}
