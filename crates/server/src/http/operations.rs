//! For operators and orchestrators: is it alive, is it ready, what does it measure. No key is needed.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use purser_app::App;
use serde::Serialize;
use utoipa::ToSchema;

use super::metrics;

/// The process lives.
#[derive(Serialize, ToSchema)]
#[schema(as = Alive)]
pub struct AliveOut {
    /// Always `ok`.
    status: &'static str,
    /// The version of the program.
    version: &'static str,
}

/// Whether the node takes work.
#[derive(Serialize, ToSchema)]
#[schema(as = Ready)]
pub struct ReadyOut {
    /// Whether commands are accepted.
    ready: bool,
    /// What was looked at.
    checks: Vec<CheckOut>,
}

/// One thing that was looked at.
#[derive(Serialize, ToSchema)]
#[schema(as = ReadyCheck)]
pub struct CheckOut {
    /// What it is.
    name: &'static str,
    /// Whether it is fine.
    ok: bool,
    /// What is wrong with it, or worth knowing.
    #[schema(required)]
    detail: Option<String>,
}

/// Says that the process lives
#[utoipa::path(get, path = "/healthz", tag = "operations", operation_id = "alive", security(()),
    responses((status = 200, description = "It lives", body = AliveOut)))]
pub async fn alive() -> super::reply::Reply<AliveOut> {
    super::reply::Reply::ok(AliveOut { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Says whether the node takes work
#[utoipa::path(get, path = "/readyz", tag = "operations", operation_id = "ready", security(()),
    responses((status = 200, description = "It takes work", body = ReadyOut),
        (status = 503, description = "It does not, for the reasons given", body = ReadyOut)))]
pub async fn ready(State(app): State<App>) -> Response {
    let readiness = app.readiness().await;
    let checks = readiness.checks.into_iter();
    let checks = checks.map(|(name, detail)| CheckOut { name, ok: detail.is_none(), detail });
    let notes = readiness.notes.into_iter();
    let notes = notes.map(|(name, note)| CheckOut { name, ok: true, detail: Some(note) });
    let checks = checks.chain(notes).collect();
    let body = super::reply::Reply::ok(ReadyOut { ready: readiness.ready, checks });
    let mut response = body.into_response();
    if !readiness.ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// Shows what is measured
///
/// As Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "operations", operation_id = "metrics", security(()),
    responses((status = 200, description = "Measurements", body = String, content_type = "text/plain")))]
pub async fn measured() -> Response {
    let text = metrics::install().render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
