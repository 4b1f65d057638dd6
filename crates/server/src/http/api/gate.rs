//! The gate: what a proxy in front of a product asks before it lets a request pass.
//!
//! Two faces of one question. `/v1/gate` answers a refusal as what it is, as Caddy and Traefik hand it on; `/v1/gate/nginx` as
//! 403 with the status in a header, as nginx' `auth_request` turns every other refusal into 500. The query of the call itself is
//! not looked at: Caddy leaves that of the request there.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use purser_app::App;
use purser_app::caller::Caller;
use purser_app::usecase::gate::{self, Passage, Passed};
use purser_app::view::Answered;
use purser_core::amount::render_decimal;
use purser_core::id::{Prefix, render};
use purser_core::{Amount, Key};
use utoipa::IntoParams;

use super::refusals::{OfGate, OfNginx};
use crate::http::extract::Proxy;
use crate::http::problem::Problem;

/// Headers that tell of the request.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only documents the headers that `pass` takes")]
pub struct PassageHeaders {
    /// The method of the request, in capitals.
    #[param(rename = "X-Forwarded-Method", pattern = "^[A-Z-]{1,32}$")]
    method: String,
    /// The host that it was sent to.
    #[param(rename = "X-Forwarded-Host", pattern = "^[0-9A-Za-z.-]{1,253}$")]
    host: String,
    /// Its path and query, as the client wrote them.
    #[param(rename = "X-Forwarded-Uri", pattern = "^/[!-~]*$")]
    uri: String,
    /// The proxy's name for it, which no client can choose: under it the request is charged once. Needed where a rule
    /// charges. `once` says that the proxy asks once for each request and names none.
    #[param(rename = "X-Purser-Request-Id", pattern = "^([0-9A-Za-z._-]{16,64}|once)$", nullable = false)]
    request_id: Option<String>,
}

const METHOD: &str = "X-Forwarded-Method";
const HOST: &str = "X-Forwarded-Host";
const URI: &str = "X-Forwarded-Uri";
const PURSER_REQUEST_ID: &str = "X-Purser-Request-Id";

/// The status that a refusal has, where the answer has another.
const STATUS: HeaderName = HeaderName::from_static("x-purser-status");
/// The code of a refusal.
const CODE: HeaderName = HeaderName::from_static("x-purser-code");
/// Where credits can be bought.
const TOPUP_URL: HeaderName = HeaderName::from_static("x-purser-topup-url");
/// The rule that the request falls under.
const RULE: HeaderName = HeaderName::from_static("x-purser-rule");
/// The debit that was made.
const DEBIT: HeaderName = HeaderName::from_static("x-purser-debit");
/// What it cost.
const COST: HeaderName = HeaderName::from_static("x-purser-cost");
/// What can be spent after it.
const BALANCE: HeaderName = HeaderName::from_static("x-purser-balance");
/// The unit of both.
const UNIT: HeaderName = HeaderName::from_static("x-purser-unit");
/// Why the request passes unpaid.
const UNPAID: HeaderName = HeaderName::from_static("x-purser-unpaid");

/// Asks whether a request may pass
///
/// Charges it where a rule says so, once for each name that the proxy gives. For `ForwardAuth` of Traefik and `forward_auth` of
/// Caddy. An answer that lets pass says what it cost in `X-Purser-Debit`, `-Cost`, `-Balance` and `-Unit`.
#[utoipa::path(get, path = "/v1/gate", tag = "gate", operation_id = "ask_gate", params(PassageHeaders),
    responses((status = 204, description = "It may pass"), OfGate))]
pub async fn ask(proxy: Result<Proxy, Problem>, State(app): State<App>, headers: HeaderMap) -> Response {
    let Proxy(caller) = match proxy {
        Ok(proxy) => proxy,
        Err(mut problem) => {
            // The proxy's key is no fault of the client's, to whom this answer goes.
            if problem.status != StatusCode::TOO_MANY_REQUESTS {
                problem.status = StatusCode::SERVICE_UNAVAILABLE;
            }
            let told = told(&problem);
            return with_headers(problem.into_response(), told);
        }
    };
    match pass(&app, &caller, &headers).await {
        Ok(response) => response,
        Err(problem) => {
            let told = told(&problem);
            with_headers(problem.into_response(), told)
        }
    }
}

/// Asks whether a request may pass, for nginx
///
/// As `/v1/gate`, for `auth_request`: a refusal is 401 or 403, with the status it would have in `X-Purser-Status`.
#[utoipa::path(get, path = "/v1/gate/nginx", tag = "gate", operation_id = "ask_gate_for_nginx", params(PassageHeaders),
    responses((status = 204, description = "It may pass"), OfNginx))]
pub async fn ask_for_nginx(Proxy(caller): Proxy, State(app): State<App>, headers: HeaderMap) -> Response {
    match pass(&app, &caller, &headers).await {
        Ok(response) => response,
        Err(mut problem) => {
            let mut told = told(&problem);
            if problem.status.is_client_error() && problem.status != StatusCode::TOO_MANY_REQUESTS {
                told.push((STATUS, problem.status.as_str().to_string()));
                if problem.status != StatusCode::UNAUTHORIZED {
                    problem.status = StatusCode::FORBIDDEN;
                }
            }
            with_headers(problem.into_response(), told)
        }
    }
}

/// Headers of a refusal.
fn told(problem: &Problem) -> Vec<(HeaderName, String)> {
    let topup_url = problem.topup_url().map(|url| (TOPUP_URL, url.to_string()));
    std::iter::once((CODE, problem.code.to_string())).chain(topup_url).collect()
}

async fn pass(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<Response, Problem> {
    let (method, host, uri) = (required(headers, METHOD)?, required(headers, HOST)?, required(headers, URI)?);
    let request_id = only(headers, PURSER_REQUEST_ID)?;
    // A header that is there twice has the proxy's value and a client's: neither is taken.
    let header = |name: &str| only(headers, name).ok().flatten().map(str::to_string);
    let passage = Passage { host, method, uri, request_id, header: &header };
    let mut told = Vec::new();
    match gate::pass(app, caller, &passage).await? {
        Passed::Free(rule) => told.extend(rule.map(|rule| (RULE, rule.key.to_string()))),
        Passed::Charged(rule, answered) => told.extend(charged(&rule.key, &answered)),
        Passed::Unpaid(rule, why) => {
            tracing::warn!(rule = %rule.key, why, "a request passes the gate unpaid");
            told.extend([(RULE, rule.key.to_string()), (UNPAID, why.to_string())]);
        }
    }
    Ok(with_headers(StatusCode::NO_CONTENT.into_response(), told))
}

/// What a charge tells the proxy.
fn charged(rule: &Key, answered: &Answered) -> [(HeaderName, String); 5] {
    let receipt = &answered.receipt;
    let shown = |amount: Amount| render_decimal(amount.0, receipt.unit.scale.decimals());
    [
        (RULE, rule.to_string()),
        (DEBIT, render(Prefix::Debit, receipt.tenant, receipt.id)),
        (COST, shown(receipt.amount)),
        (BALANCE, shown(receipt.balance.available)),
        (UNIT, receipt.unit.code.to_string()),
    ]
}

fn with_headers(mut response: Response, told: Vec<(HeaderName, String)>) -> Response {
    // It is for one request, whatever a proxy would like to keep.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in told {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn required<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Problem> {
    only(headers, name)?.ok_or_else(|| Problem::field(name, "required", "the proxy sets this header"))
}

/// The one value of a header.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::field(name, "duplicate_field", "the header is given twice"));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| Problem::field(name, "malformed", "printable ASCII characters are expected"))
}
