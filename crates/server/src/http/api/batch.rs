//! `POST /v1/debits/batch`: up to a thousand debits in one request, each with its own key and its own outcome.
//!
//! The request as a whole is refused only for its shape. The digest behind each key is that of the debit itself,
//! in canonical form, so the same debit may come back in another batch.

use axum::extract::State;
use axum::http::HeaderMap;
use purser_app::App;
use purser_app::ask::{DebitAsk, Idempotency};
use purser_app::error::AppError;
use purser_app::usecase::debit;
use purser_app::view::Answered;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::debits::{DebitIn, DebitOut, ModeIn};
use super::refusals::OfBatches;
use crate::http::body::BATCH_BODY_MAX;
use crate::http::edge::REQUEST_ID;
use crate::http::extract::{JsonBody, Writer, key_unsound, sound_key};
use crate::http::incoming::{
    DecimalIn, DimensionsIn, KeyIn, MetadataIn, TextIn, TimeIn, measured_at, unit_at,
};
use crate::http::object::Strict;
use crate::http::problem::{Problem, ProblemOut, unit_in};
use crate::http::reply::Reply;

/// The most debits of one batch.
pub const BATCH_MAX: usize = 1_000;

/// Debits to charge, each on its own.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchRequest)]
pub struct BatchIn<'a> {
    /// From 1 to 1,000.
    #[serde(borrow)]
    #[schema(min_items = 1, max_items = 1000)]
    #[schema(value_type = Vec<BatchDebitIn<'a>>)]
    debits: Vec<Strict<BatchDebitIn<'a>>>,
}

/// A debit of a batch: that of `POST /v1/debits` with its idempotency key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchDebitRequest)]
pub struct BatchDebitIn<'a> {
    /// New for each debit: 1-255 printable ASCII characters, best a UUIDv7. Not part of the debit's content.
    #[serde(borrow)]
    #[schema(min_length = 1, max_length = 255, pattern = "^[ -~]+$", value_type = String)]
    idempotency_key: TextIn<'a, 255>,
    /// The tenant that pays; the user's personal one unless said.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// Who consumed.
    #[serde(borrow)]
    user: KeyIn<'a>,
    /// The action.
    #[serde(borrow)]
    action: KeyIn<'a>,
    /// How much of it; one unless said.
    #[serde(borrow, default)]
    quantity: Option<DecimalIn<'a>>,
    /// How much by measure, for actions priced per dimension.
    #[serde(borrow, default)]
    dimensions: Option<DimensionsIn<'a>>,
    /// Pay in this unit only.
    #[serde(borrow, default)]
    unit: Option<KeyIn<'a>>,
    /// Pay from this wallet only.
    #[serde(borrow, default)]
    wallet_id: Option<KeyIn<'a>>,
    /// `strict` (unless said) or `settle`.
    #[serde(default)]
    mode: Option<ModeIn>,
    /// Your own reference.
    #[serde(borrow, default)]
    reference: Option<TextIn<'a, 255>>,
    /// Anything of your own.
    #[serde(borrow, default)]
    metadata: Option<MetadataIn<'a>>,
    /// When the work happened.
    #[serde(borrow, default)]
    occurred_at: Option<TimeIn<'a>>,
    /// The token of the quote that a preflight or a refusal gave: the promised price holds, once.
    #[serde(borrow, default)]
    quote: Option<TextIn<'a, 512>>,
    /// Where the page for buying credits leads back to when they lack: an address on a site that the settings allow.
    #[serde(borrow, default)]
    return_url: Option<TextIn<'a, 2048>>,
}

impl<'a> BatchDebitIn<'a> {
    /// The ask and what its key stands for.
    fn into_keyed(self, index: usize) -> Result<(DebitAsk, Idempotency), Problem> {
        let key = sound_key(self.idempotency_key.0.as_bytes())
            .ok_or_else(|| key_unsound(format!("/debits/{index}/idempotency_key")))?
            .to_string();
        let debit = DebitIn {
            tenant: self.tenant,
            user: self.user,
            action: self.action,
            quantity: self.quantity,
            dimensions: self.dimensions,
            unit: self.unit,
            wallet_id: self.wallet_id,
            mode: self.mode,
            reference: self.reference,
            metadata: self.metadata,
            occurred_at: self.occurred_at,
            quote: self.quote,
            return_url: self.return_url,
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"POST\n/v1/debits/batch\n");
        serde_json::to_writer(&mut hasher, &debit).expect("strings serialise, and a hasher takes everything");
        let request = *hasher.finalize().as_bytes();
        let ask = debit.into_ask().map_err(|problem| problem.below(&format!("/debits/{index}")))?;
        Ok((ask, Idempotency { key, request }))
    }
}

/// The outcomes, in the order of the debits.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResults)]
pub struct BatchOut {
    /// One for each debit.
    results: Vec<ResultOut>,
}

/// What became of one debit.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResult)]
pub struct ResultOut {
    /// What `POST /v1/debits` would have answered.
    status: u16,
    /// Whether the debit was made before, under the same key.
    replayed: bool,
    /// The debit, if it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    debit: Option<DebitOut>,
    /// Why it was not. Pointers start at the whole body: `/debits/7/quantity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<ProblemOut>,
}

/// Charges up to 1,000 actions
///
/// Each debit stands alone: it is made or refused by itself, under its own key. There is no `Idempotency-Key` header.
#[utoipa::path(post, path = "/v1/debits/batch", tag = "debits", operation_id = "create_debits",
    request_body = BatchIn,
    responses((status = 200, description = "One outcome for each debit", body = BatchOut), OfBatches))]
pub async fn create(
    Writer(caller): Writer,
    State(app): State<App>,
    headers: HeaderMap,
    body: JsonBody<BATCH_BODY_MAX>,
) -> Result<Reply<BatchOut>, Problem> {
    let asks = asks(&body)?;
    let places: Vec<_> =
        asks.iter().map(|(ask, _)| (unit_at(ask.unit.as_ref()), measured_at(&ask.measure))).collect();
    let outcomes = debit::batch(&app, &caller, asks).await.into_iter().zip(places).enumerate();
    let request_id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let unit_of = unit_in(&app);
    let results = outcomes.map(|(index, (outcome, (unit, amount)))| match charged(outcome) {
        Ok((debit, replayed)) => ResultOut { status: 201, replayed, debit: Some(debit), problem: None },
        Err(problem) => {
            let problem = problem.locate(unit, amount).below(&format!("/debits/{index}"));
            problem.log(request_id);
            let document = problem.document(request_id, &unit_of);
            ResultOut {
                status: problem.status.as_u16(),
                replayed: false,
                debit: None,
                problem: Some(document),
            }
        }
    });
    Ok(Reply::ok(BatchOut { results: results.collect() }))
}

fn charged(outcome: Result<Answered, AppError>) -> Result<(DebitOut, bool), Problem> {
    let answered = outcome?;
    Ok((DebitOut::answer(&answered)?, answered.replayed))
}

fn asks(body: &JsonBody<BATCH_BODY_MAX>) -> Result<Vec<(DebitAsk, Idempotency)>, Problem> {
    let request: BatchIn<'_> = body.parse()?;
    if request.debits.is_empty() {
        return Err(Problem::field("/debits", "too_few", "a batch has at least one debit"));
    }
    if request.debits.len() > BATCH_MAX {
        return Err(Problem::field("/debits", "too_many", "a batch has at most 1,000 debits"));
    }
    request.debits.into_iter().enumerate().map(|(index, Strict(debit))| debit.into_keyed(index)).collect()
}
