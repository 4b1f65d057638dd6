//! Every answer that is not a success: an RFC 9457 problem document with a stable code.
//!
//! A handler answers `Err(Problem)` and never writes one out: `edge.rs` does, once, with the request's id and the
//! units that its amounts are counted in. All codes are listed by the test at the end of `tests/it/problems.rs`.
//! Faults are opaque here and logged there. What the rule book refuses is put into words in `problem/refused.rs`.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use purser_app::App;
use purser_app::error::{AppError, FieldError};
use purser_app::view::{Offer, QuoteView, ToConfirm};
use purser_core::catalogue::Unit;
use purser_core::{Key, Rejection};
use serde::Serialize;
use utoipa::ToSchema;

use super::outgoing::{AmountOut, IdOut, TimeOut};

mod refused;
mod titles;

/// The code of requests with fields that are not acceptable.
const INVALID: &str = "invalid_request";
/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// How many calls of one key may come at once.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
/// How many more may come now.
pub const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
/// In how many seconds the whole limit is there again.
pub const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Why a request did not succeed. Becomes a document at the edge.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code.
    pub code: Cow<'static, str>,
    detail: String,
    errors: Vec<FieldError>,
    more: More,
}

/// What some problems say beside code and detail.
#[derive(Clone, Debug)]
enum More {
    Nothing,
    /// Its amounts, or what became of a hold.
    Rejected(Box<Rejection>),
    /// The amounts of a lack of credits, and what can be done about it.
    OutOfCredit(Box<Rejection>, Box<Offer>),
    /// What it costs, and with what it goes on once somebody was asked.
    Unconfirmed(Box<Rejection>, Box<ToConfirm>),
    RetryAfter(Duration),
    /// Too many calls.
    RateLimited {
        limit: u32,
        retry_after: Duration,
        reset_after: Duration,
    },
    /// The cause of a fault, for the log alone.
    Fault(String),
}

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemOut {
    /// Identifies the kind of problem: `urn:purser:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// One line for people, the same for every problem of this kind.
    title: Cow<'static, str>,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// Stable code to decide by.
    #[schema(pattern = "^[a-z0-9_]+$")]
    code: Cow<'static, str>,
    /// Fields that are not acceptable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldProblem>,
    /// The request, as in the header `X-Request-Id`.
    request_id: String,
    /// `insufficient_credits`, `capture_exceeds_hold`, `limit_reached`: what the request needs; `confirmation_required`: what it costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    required: Option<AmountOut>,
    /// `insufficient_credits`: what can be spent; negative when there is debt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    available: Option<AmountOut>,
    /// `insufficient_credits`: what is missing, debt included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shortfall: Option<AmountOut>,
    /// `capture_exceeds_hold`: what is pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    held: Option<AmountOut>,
    /// `capture_exceeds_hold`: the most that the action's overage rule lets a capture of this hold take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    capturable: Option<AmountOut>,
    /// `refund_exceeds_debit`: what can still be given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refundable: Option<AmountOut>,
    /// `revoke_exceeds_unspent`: what can still be taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revocable: Option<AmountOut>,
    /// `limit_reached`: the most that may be used in a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limit: Option<AmountOut>,
    /// `limit_reached`: what counts against it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    used: Option<AmountOut>,
    /// `limit_reached`: when the next period begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    resets_at: Option<TimeOut>,
    /// The unit of the problem's amounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unit: Option<String>,
    /// `insufficient_credits`: what could be bought, smallest sufficient first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    packages: Option<Vec<PackageOut>>,
    /// `insufficient_credits`: where credits can be bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    topup_url: Option<String>,
    /// `confirmation_required`: what may be spent without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    confirm_above: Option<AmountOut>,
    /// `confirmation_required`: a page that tells whoever is asked what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    confirm_url: Option<String>,
    /// `insufficient_credits`: the promise with which the refused request can be made, at this price, once there are credits;
    /// `confirmation_required`: that with which it is made once somebody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quote: Option<QuoteOut>,
    /// `hold_closed`: what became of the hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    state: Option<&'static str>,
}

/// Something that can be bought. None can be defined in this version, so lists of packages are empty.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Package)]
pub struct PackageOut {}

/// A signed promise of what an action will cost.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quote)]
pub struct QuoteOut {
    /// Names it: the explanation of what was paid with it names it, too.
    id: IdOut,
    /// To be given to the debit or hold.
    token: String,
    /// Until when it binds.
    expires_at: TimeOut,
}

impl From<QuoteView> for QuoteOut {
    fn from(quote: QuoteView) -> QuoteOut {
        QuoteOut { id: IdOut::quote(quote.id), token: quote.token, expires_at: TimeOut(quote.expires_at) }
    }
}

/// A field that is not acceptable.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FieldProblem)]
pub struct FieldProblem {
    /// JSON pointer into the body; `?name` for a query parameter, the name for a header.
    pointer: String,
    /// Stable code.
    #[schema(pattern = "^[a-z0-9_]+$")]
    code: Cow<'static, str>,
    /// One sentence for people.
    detail: String,
}

impl Problem {
    /// A problem that its code and detail say everything about.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code: Cow::Borrowed(code),
            detail: detail.into(),
            errors: Vec::new(),
            more: More::Nothing,
        }
    }

    /// 422: fields that are not acceptable.
    pub fn invalid(errors: Vec<FieldError>) -> Problem {
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID, summary(&errors));
        problem.errors = errors;
        problem
    }

    /// 422: one field that is not acceptable.
    pub fn field(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::invalid(vec![FieldError { pointer: pointer.into(), code, detail: detail.into() }])
    }

    /// 500: the machine failed; `cause` goes to the log and nowhere else.
    pub fn fault(cause: impl Into<String>) -> Problem {
        let detail =
            "The service failed. Nothing says whether the request took effect: repeat it with the same key.";
        let mut problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail);
        problem.more = More::Fault(cause.into());
        problem
    }

    /// The same problem with its pointers below a prefix.
    pub fn below(self, prefix: &str) -> Problem {
        self.pointing(|pointer| pointer.insert_str(0, prefix))
    }

    /// The same problem of a call whose fields came as query parameters: `/user` is `?user`.
    pub fn in_query(self) -> Problem {
        self.pointing(|pointer| {
            if pointer.starts_with('/') {
                pointer.replace_range(..1, "?");
            }
        })
    }

    /// The same problem with each of its pointers changed.
    pub fn pointing(mut self, change: impl Fn(&mut String)) -> Problem {
        for error in &mut self.errors {
            change(&mut error.pointer);
        }
        if self.code == INVALID {
            self.detail = summary(&self.errors);
        }
        self
    }

    /// Where credits can be bought, for a lack of them.
    pub fn topup_url(&self) -> Option<&str> {
        match &self.more {
            More::OutOfCredit(_, offer) => Some(&offer.topup_url),
            More::Nothing
            | More::Rejected(_)
            | More::Unconfirmed(..)
            | More::RetryAfter(_)
            | More::RateLimited { .. }
            | More::Fault(_) => None,
        }
    }

    /// Names the field behind a refusal that can come from several: `unit` is what said the unit, `amount` what
    /// said how much.
    pub fn locate(mut self, unit: &str, amount: &str) -> Problem {
        let found = match &*self.code {
            "unit_mismatch" => ("unit_mismatch", unit),
            "amount_overflow" => ("amount_overflow", amount),
            _ => return self,
        };
        self.at(found.1, found.0);
        self
    }

    /// Points at the one field that the problem is about.
    fn at(&mut self, pointer: impl Into<String>, code: &'static str) {
        self.errors = vec![FieldError { pointer: pointer.into(), code, detail: self.detail.clone() }];
    }

    /// Logs it once: faults with their cause as errors, refusals for those who look for them.
    pub fn log(&self, request_id: &str) {
        match &self.more {
            More::Fault(cause) => tracing::error!(request_id, cause, "a request failed"),
            More::Nothing
            | More::Rejected(_)
            | More::OutOfCredit(..)
            | More::Unconfirmed(..)
            | More::RetryAfter(_)
            | More::RateLimited { .. } => {
                tracing::debug!(request_id, code = &*self.code, "a request was refused");
            }
        }
    }

    /// The document, with the unit that its amounts are counted in looked up by `unit_of`.
    pub fn document(&self, request_id: &str, unit_of: impl Fn(&Key) -> Option<Unit>) -> ProblemOut {
        let mut document = ProblemOut {
            kind: format!("urn:purser:problem:{}", self.code),
            title: titles::title(&self.code),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code.clone(),
            errors: self.errors.iter().map(FieldProblem::from).collect(),
            request_id: request_id.to_string(),
            required: None,
            available: None,
            shortfall: None,
            held: None,
            capturable: None,
            refundable: None,
            revocable: None,
            limit: None,
            used: None,
            resets_at: None,
            unit: None,
            packages: None,
            topup_url: None,
            confirm_above: None,
            confirm_url: None,
            quote: None,
            state: None,
        };
        match &self.more {
            More::Rejected(rejection) => refused::tell(&mut document, rejection, unit_of),
            More::OutOfCredit(rejection, offer) => {
                refused::tell(&mut document, rejection, unit_of);
                document.topup_url = Some(offer.topup_url.clone());
                document.quote = offer.quote.clone().map(QuoteOut::from);
            }
            More::Unconfirmed(rejection, ask) => {
                refused::tell(&mut document, rejection, unit_of);
                document.confirm_url = Some(ask.confirm_url.clone());
                document.quote = ask.quote.clone().map(QuoteOut::from);
            }
            More::Nothing | More::RetryAfter(_) | More::RateLimited { .. } | More::Fault(_) => {}
        }
        document
    }

    /// The answer with the document as its body.
    pub fn render(&self, request_id: &str, unit_of: impl Fn(&Key) -> Option<Unit>) -> Response {
        let body =
            serde_json::to_vec(&self.document(request_id, unit_of)).expect("strings and numbers serialise");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match &self.more {
            More::RetryAfter(after) => drop(headers.insert(header::RETRY_AFTER, seconds(*after))),
            More::RateLimited { limit, retry_after, reset_after } => {
                headers.insert(header::RETRY_AFTER, seconds(*retry_after));
                headers.insert(RATE_LIMIT, HeaderValue::from(*limit));
                headers.insert(RATE_LIMIT_REMAINING, HeaderValue::from(0));
                headers.insert(RATE_LIMIT_RESET, seconds(*reset_after));
            }
            More::Nothing
            | More::Rejected(_)
            | More::OutOfCredit(..)
            | More::Unconfirmed(..)
            | More::Fault(_) => {}
        }
        response
    }
}

/// Whole seconds, rounded up: coming back early would only be refused again.
fn seconds(after: Duration) -> HeaderValue {
    HeaderValue::from((after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1))
}

/// Looks a unit up in the catalogue of a running service.
pub fn unit_in(app: &App) -> impl Fn(&Key) -> Option<Unit> {
    let app = app.clone();
    move |code| app.catalogue().unit(code).cloned()
}

impl IntoResponse for Problem {
    /// Leaves the problem for the edge to write out.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Problem {
        match error {
            AppError::Unauthenticated => Problem::new(
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "A valid key is needed: Authorization: Bearer psk_…",
            ),
            AppError::Denied { scope } => {
                let detail = format!("The key lacks the scope `{scope}`.");
                Problem::new(StatusCode::FORBIDDEN, "scope_missing", detail)
            }
            AppError::PlatformOnly => {
                let detail = "The catalogue is the platform's: this key belongs to a tenant.";
                Problem::new(StatusCode::FORBIDDEN, "platform_key_required", detail)
            }
            AppError::Invalid(errors) => Problem::invalid(errors),
            AppError::Rejected(rejection) => Problem::from(rejection),
            AppError::OutOfCredit { rejection, offer } => {
                let problem = Problem::from(rejection.clone());
                Problem { more: More::OutOfCredit(Box::new(rejection), offer), ..problem }
            }
            AppError::Gate(refusal) => refused::at_the_gate(refusal),
            AppError::Unconfirmed { rejection, ask } => {
                let problem = Problem::from(rejection.clone());
                Problem { more: More::Unconfirmed(Box::new(rejection), ask), ..problem }
            }
            AppError::NotFound { what } => {
                let problem = Problem::new(StatusCode::NOT_FOUND, "", no_such(what));
                Problem { code: Cow::Owned(format!("{what}_not_found")), ..problem }
            }
            AppError::CursorUnknown => {
                let detail = "The cursor is of another database, or ahead of this one, which was restored from a backup. \
                              Begin anew, with start=oldest, and pass over what is known by wallet_id, first_seq and type.";
                Problem::new(StatusCode::GONE, "cursor_unknown", detail)
            }
            AppError::Exists { what } => {
                let detail = format!("The {} exists already, with other content.", what.replace('_', " "));
                let problem = Problem::new(StatusCode::CONFLICT, "", detail);
                Problem { code: Cow::Owned(format!("{what}_exists")), ..problem }
            }
            AppError::Unavailable { reason, retry_after } => {
                let detail = "The service cannot take the request now. Nothing was done.";
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason, detail);
                Problem { more: More::RetryAfter(retry_after), ..problem }
            }
            AppError::RateLimited { limit, retry_after, reset_after } => {
                let detail = "This key calls too often. Nothing was done.";
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
                Problem { more: More::RateLimited { limit, retry_after, reset_after }, ..problem }
            }
            AppError::Fault(cause) => Problem::fault(cause),
        }
    }
}

fn no_such(what: &str) -> String {
    format!("There is no such {}.", what.replace('_', " "))
}

/// One line about fields that are not acceptable.
fn summary(errors: &[FieldError]) -> String {
    match errors {
        [one] => {
            format!("{}: {}", if one.pointer.is_empty() { "the body" } else { &one.pointer }, one.detail)
        }
        many => format!("{} fields are not acceptable.", many.len()),
    }
}

impl From<&FieldError> for FieldProblem {
    fn from(error: &FieldError) -> FieldProblem {
        FieldProblem {
            pointer: error.pointer.clone(),
            code: Cow::Borrowed(error.code),
            detail: error.detail.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purser_core::Amount;
    use purser_core::rejection::Misfit;

    fn json(problem: &Problem) -> serde_json::Value {
        let unit = |code: &Key| (code.as_str() == "credit").then(Unit::credit);
        serde_json::to_value(problem.document("req_1", unit)).expect("a document")
    }

    #[test]
    fn out_of_credit_says_what_is_missing_with_the_debt_in_it() {
        let rejection = Rejection::InsufficientCredits {
            required: Amount(5_000_000),
            available: Amount(-1_500_000),
            unit: Unit::credit().code,
            priced: None,
        };
        let document = serde_json::to_string_pretty(&json(&Problem::from(rejection))).expect("JSON");
        insta::assert_snapshot!(document, @r#"
        {
          "available": "-1.5",
          "code": "insufficient_credits",
          "detail": "The balance lacks credits",
          "packages": [],
          "request_id": "req_1",
          "required": "5",
          "shortfall": "6.5",
          "status": 402,
          "title": "The balance lacks credits",
          "type": "urn:purser:problem:insufficient_credits",
          "unit": "credit"
        }
        "#);
    }

    #[test]
    fn a_fault_tells_its_cause_to_nobody() {
        let problem = Problem::from(AppError::Fault("disk 7 is full".to_string()));
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!json(&problem).to_string().contains("disk"));
        assert!(matches!(problem.more, More::Fault(cause) if cause == "disk 7 is full"));
    }

    #[test]
    fn unavailable_says_when_to_come_back_in_whole_seconds_rounded_up() {
        let retry_after = Duration::from_millis(1_200);
        let problem = Problem::from(AppError::Unavailable { reason: "overloaded", retry_after });
        let response = problem.render("req_1", |_| None);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
    }

    #[test]
    fn a_key_that_calls_too_often_hears_how_often_it_may() {
        let (retry_after, reset_after) = (Duration::from_millis(10), Duration::from_millis(2_500));
        let problem = Problem::from(AppError::RateLimited { limit: 25, retry_after, reset_after });
        let response = problem.render("req_1", |_| None);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[RATE_LIMIT], "25");
        assert_eq!(response.headers()[RATE_LIMIT_REMAINING], "0");
        assert_eq!(response.headers()[RATE_LIMIT_RESET], "3");
    }

    #[test]
    fn a_missing_thing_is_named_by_its_code() {
        let document = json(&Problem::from(AppError::NotFound { what: "wallet" }));
        assert_eq!(document["code"], "wallet_not_found");
        assert_eq!(document["title"], "Wallet not found");
        assert_eq!(document["status"], 404);
        let document = json(&Problem::from(AppError::Exists { what: "unit" }));
        assert_eq!(
            (document["code"].as_str(), document["status"].as_u64()),
            (Some("unit_exists"), Some(409))
        );
    }

    #[test]
    fn an_unknown_dimension_is_pointed_at() {
        let misfit = Misfit::UnknownDimension("a/b".to_string());
        let problem = Problem::from(Rejection::UsageInvalid { misfit });
        assert_eq!(json(&problem)["errors"][0]["pointer"], "/dimensions/a~1b");
    }

    #[test]
    fn no_key_is_answered_with_how_to_give_one() {
        let response = Problem::from(AppError::Unauthenticated).render("req_1", |_| None);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
