//! Transfers: credits from one wallet to another of the same tenant and unit.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::{Remarks, TransferAsk, TransferEnd};
use purser_app::usecase::transfer;
use purser_core::WalletKey;
use purser_core::id::Prefix;
use purser_core::receipt::Detail;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::balance::BalanceOut;
use super::debits::unexpected;
use super::refusals::OfMovements;
use crate::http::extract::Movement;
use crate::http::incoming::{DecimalIn, KeyIn, Owned, TextIn};
use crate::http::object::Strict;
use crate::http::outgoing::{AmountOut, IdOut};
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// Credits to move.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TransferRequest)]
pub struct TransferIn<'a> {
    /// The tenant whose wallets they are.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// From where.
    #[serde(borrow)]
    #[schema(value_type = EndIn<'a>)]
    from: Strict<EndIn<'a>>,
    /// Where to.
    #[serde(borrow)]
    #[schema(value_type = EndIn<'a>)]
    to: Strict<EndIn<'a>>,
    /// The unit; `credit` unless said or given by a wallet.
    #[serde(borrow, default)]
    unit: Option<KeyIn<'a>>,
    /// How much; more than zero.
    #[serde(borrow)]
    amount: DecimalIn<'a>,
    /// Why.
    #[serde(borrow, default)]
    reason: Option<TextIn<'a, 500>>,
    /// Your own reference.
    #[serde(borrow, default)]
    reference: Option<TextIn<'a, 255>>,
}

/// One side of a transfer: exactly one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TransferEndRequest)]
pub struct EndIn<'a> {
    /// A wallet.
    #[serde(borrow, default)]
    wallet_id: Option<KeyIn<'a>>,
    /// A user of the tenant.
    #[serde(borrow, default)]
    user: Option<KeyIn<'a>>,
}

/// Credits that were moved.
#[derive(Serialize, ToSchema)]
#[schema(as = Transfer)]
pub struct TransferOut {
    /// The transfer.
    id: IdOut,
    /// How much.
    amount: AmountOut,
    /// The code of the unit.
    unit: String,
    /// The wallet that gave.
    from: EndOut,
    /// The wallet that received.
    to: EndOut,
}

/// A wallet of a transfer.
#[derive(Serialize, ToSchema)]
#[schema(as = TransferEnd)]
pub struct EndOut {
    /// The wallet.
    wallet_id: IdOut,
    /// Its balance right after.
    balance: BalanceOut,
}

impl From<EndIn<'_>> for TransferEnd {
    fn from(end: EndIn<'_>) -> TransferEnd {
        TransferEnd { wallet_id: end.wallet_id.owned(), user: end.user.owned() }
    }
}

/// Moves credits between wallets of one tenant
///
/// The lots keep their kind, expiry and price.
#[utoipa::path(post, path = "/v1/transfers", tag = "transfers", operation_id = "create_transfer",
    params(crate::http::docs::IdempotencyKey), request_body = TransferIn,
    responses((status = 201, description = "Moved", body = TransferOut), OfMovements))]
pub async fn create(State(app): State<App>, movement: Movement) -> Result<Reply<TransferOut>, Problem> {
    let request = movement.parse::<TransferIn<'_>>()?;
    let ask = TransferAsk {
        tenant: request.tenant.owned(),
        from: request.from.0.into(),
        to: request.to.0.into(),
        unit: request.unit.owned(),
        amount: request.amount.0.into_owned(),
        remarks: Remarks {
            reference: request.reference.owned(),
            metadata: None,
            reason: request.reason.owned(),
        },
    };
    let (caller, key) = movement.into_parts();
    let unit = if ask.unit.is_some() { "/unit" } else { "/to" };
    let answered = transfer::transfer(&app, &caller, ask, key).await;
    let answered = answered.map_err(|error| Problem::from(error).locate(unit, "/amount"))?;
    let receipt = &answered.receipt;
    let Detail::Transfer { peer, peer_balance } = &receipt.detail else {
        return Err(unexpected("transfer", &receipt.detail));
    };
    let end = |id, balance| EndOut {
        wallet_id: IdOut::wallet(WalletKey { tenant: receipt.tenant, id }),
        balance: BalanceOut::new(&receipt.unit, balance),
    };
    let transfer = TransferOut {
        id: IdOut::new(Prefix::Transfer, receipt.tenant, receipt.id),
        amount: AmountOut::of(&receipt.unit, receipt.amount),
        unit: receipt.unit.code.to_string(),
        from: end(receipt.wallet, &receipt.balance),
        to: end(*peer, peer_balance),
    };
    Ok(Reply::created(transfer).replayed(answered.replayed))
}
