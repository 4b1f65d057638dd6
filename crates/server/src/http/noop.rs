//! The no-op handler that the bench compares with: the same stack, parsing and answer as a debit, and nothing behind.
//!
//! It is reached by the hidden `purser bench noop` alone. Read `api/debits.rs` for the real thing.

use axum::Router;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::routing::post;
use purser_app::error::AppError;
use purser_app::view::{Answered, Names};
use purser_core::catalogue::Unit;
use purser_core::entry::{Charge, Usage};
use purser_core::receipt::{Detail, Receipt};
use purser_core::wallet::Balance;
use purser_core::{Amount, Id, Key, Quantity, TenantNo, Timestamp, WalletId};

use super::api::debits::{DebitIn, DebitOut};
use super::edge::EdgeLayer;
use super::extract::{bearer, keyed_body};
use super::problem::Problem;
use super::reply::Reply;
use super::{body, router};

/// The only key it takes.
pub const KEY: &str = "psk_noop";

/// `POST /v1/debits` with nothing behind.
pub fn routes() -> Router {
    Router::new()
        .route("/v1/debits", post(debit))
        .fallback(async || router::route_not_found())
        .layer(EdgeLayer::new(None))
}

/// Key and body of a debit, without anybody who checks the key.
struct Unchecked(bytes::Bytes);

impl<S: Sync> FromRequest<S> for Unchecked {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Unchecked, Problem> {
        let (parts, stream) = request.into_parts();
        is_ours(&parts.headers)?;
        let (_, body) = keyed_body(parts, stream).await?;
        Ok(Unchecked(body))
    }
}

fn is_ours(headers: &HeaderMap) -> Result<(), Problem> {
    if bearer(headers) == Some(KEY) { Ok(()) } else { Err(AppError::Unauthenticated.into()) }
}

async fn debit(body: Unchecked) -> Result<Reply<DebitOut>, Problem> {
    let ask = body::parse::<DebitIn<'_>>(&body.0)?.into_ask()?;
    let answered = answer(Key::parse(&ask.whose.user), Key::parse(&ask.action));
    Ok(Reply::created(DebitOut::answer(&answered)?))
}

/// An answer of the same size as a real one.
fn answer(user: Option<Key>, action: Option<Key>) -> Answered {
    let amount = Amount(1_000_000);
    let id = Id::new(1_700_000_000_000, 0x1234_5678_9abc_def0);
    let charge = Charge::plain(1, Some(id), Usage::Quantity(Quantity::ONE), amount);
    let balance = Balance {
        settled: Amount(999_123_456),
        available: Amount(999_123_456),
        last_topup: Amount(1_000_000_000),
        ..Balance::default()
    };
    let receipt = Receipt {
        tenant: TenantNo(0x0123_4567_89ab_cdef),
        id,
        wallet: WalletId(id),
        unit: Unit::credit(),
        entry: id,
        user: None,
        amount,
        balance,
        recorded_at: Timestamp(1_700_000_000_123_456),
        detail: Detail::Debit { charge },
    };
    Answered { receipt, replayed: false, names: Names { tenant: None, user, action } }
}
