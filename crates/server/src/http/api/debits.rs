//! Debits: charging an action, giving back, reading. The hot path of the service.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::extract::State;
use purser_app::App;
use purser_app::ask::{DebitAsk, RefundAsk, Remarks, Whose};
use purser_app::usecase::debit;
use purser_app::view::{Answered, DebitView, Names};
use purser_core::catalogue::Unit;
use purser_core::entry::{Charge, Usage};
use purser_core::id::Prefix;
use purser_core::receipt::{Detail, Receipt};
use purser_core::{Amount, Id, Quantity, WalletKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::balance::BalanceOut;
use super::refusals::{OfMovements, OfReads};
use crate::http::extract::{Movement, NoQuery, PathText, Reader};
use crate::http::incoming::{
    DecimalIn, DimensionsIn, KeyIn, MetadataIn, Owned, TextIn, TimeIn, measure, measured_at, unit_at,
};
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// What to charge.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DebitRequest)]
pub struct DebitIn<'a> {
    /// The tenant that pays; the user's personal one unless said.
    #[serde(borrow, default)]
    pub tenant: Option<KeyIn<'a>>,
    /// Who consumed.
    #[serde(borrow)]
    pub user: KeyIn<'a>,
    /// The action.
    #[serde(borrow)]
    pub action: KeyIn<'a>,
    /// How much of it; one unless said.
    #[serde(borrow, default)]
    pub quantity: Option<DecimalIn<'a>>,
    /// How much by measure, for actions priced per dimension.
    #[serde(borrow, default)]
    pub dimensions: Option<DimensionsIn<'a>>,
    /// Pay in this unit only.
    #[serde(borrow, default)]
    pub unit: Option<KeyIn<'a>>,
    /// Pay from this wallet only.
    #[serde(borrow, default)]
    pub wallet_id: Option<KeyIn<'a>>,
    /// `strict` (unless said) is refused when the balance lacks; `settle` records work already done and never is.
    #[serde(default)]
    pub mode: Option<ModeIn>,
    /// Your own reference; statements can be searched for it.
    #[serde(borrow, default)]
    pub reference: Option<TextIn<'a, 255>>,
    /// Anything of your own.
    #[serde(borrow, default)]
    pub metadata: Option<MetadataIn<'a>>,
    /// When the work happened; when the request arrived unless said. At most 5 minutes ahead and 31 days back.
    #[serde(borrow, default)]
    pub occurred_at: Option<TimeIn<'a>>,
    /// The token of the quote that a preflight or a refusal gave: the promised price holds, once.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<TextIn<'a, 512>>,
    /// Where the page for buying credits leads back to when they lack: an address on a site that the settings allow.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<TextIn<'a, 2048>>,
}

/// Whether a lack of credits refuses.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DebitMode)]
pub enum ModeIn {
    /// Refused when the balance lacks.
    Strict,
    /// Work already done: never refused for lack of credit, may make debt.
    Settle,
}

impl DebitIn<'_> {
    /// The ask that this request makes.
    pub fn into_ask(self) -> Result<DebitAsk, Problem> {
        Ok(DebitAsk {
            whose: Whose { tenant: self.tenant.owned(), user: self.user.0.into_owned() },
            action: self.action.0.into_owned(),
            measure: measure(self.quantity, self.dimensions, None),
            unit: self.unit.owned(),
            wallet_id: self.wallet_id.owned(),
            settle: self.mode == Some(ModeIn::Settle),
            occurred_at: self.occurred_at.owned(),
            quote: self.quote.owned(),
            return_url: self.return_url.owned(),
            remarks: Remarks {
                reference: self.reference.owned(),
                metadata: compact(self.metadata)?,
                reason: None,
            },
        })
    }
}

/// Metadata as compact text.
pub fn compact(metadata: Option<MetadataIn<'_>>) -> Result<Option<String>, Problem> {
    let Some(metadata) = metadata else { return Ok(None) };
    let text = metadata.compact().ok_or_else(|| {
        Problem::field("/metadata", "wrong_type", "metadata is a JSON object of at most 16 levels")
    })?;
    Ok(Some(text))
}

/// A debit as it was made.
#[derive(Serialize, ToSchema)]
#[schema(as = Debit)]
pub struct DebitOut {
    /// The debit.
    id: IdOut,
    /// The entry that booked it.
    entry_id: IdOut,
    /// The tenant that paid; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// Who consumed; null once erased.
    #[schema(required)]
    user: Option<String>,
    /// The wallet that paid.
    wallet_id: IdOut,
    /// The action.
    #[schema(required)]
    action: Option<String>,
    /// How much of the action, where it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quantity: Option<AmountOut>,
    /// How much by measure, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dimensions: Option<BTreeMap<String, AmountOut>>,
    /// What it cost.
    amount: AmountOut,
    /// The code of the unit it was paid in.
    unit: String,
    /// The price version; null where the caller stated the amount.
    #[schema(required)]
    price_id: Option<IdOut>,
    /// The wallet's balance right after.
    balance: BalanceOut,
    /// When it was booked.
    created_at: TimeOut,
}

/// What was consumed: a quantity or dimensions, or neither where the caller stated an amount.
pub fn shown(usage: &Usage) -> (Option<AmountOut>, Option<BTreeMap<String, AmountOut>>) {
    let number = |quantity: &Quantity| AmountOut::new(quantity.0, Quantity::DECIMALS);
    match usage {
        Usage::Quantity(quantity) => (Some(number(quantity)), None),
        Usage::Dimensions(measures) => {
            (None, Some(measures.iter().map(|(name, value)| (name.clone(), number(value))).collect()))
        }
        Usage::Amount(_) => (None, None),
    }
}

impl DebitOut {
    /// A debit, from the receipt of the debit or capture that made it.
    pub fn new(receipt: &Receipt, names: &Names, charge: &Charge, amount: Amount) -> DebitOut {
        let (quantity, dimensions) = shown(&charge.usage);
        let text = |key: &Option<purser_core::Key>| key.as_ref().map(ToString::to_string);
        DebitOut {
            id: IdOut::new(Prefix::Debit, receipt.tenant, receipt.id),
            entry_id: IdOut::new(Prefix::Entry, receipt.tenant, receipt.entry),
            tenant: text(&names.tenant),
            user: text(&names.user),
            wallet_id: IdOut::wallet(WalletKey { tenant: receipt.tenant, id: receipt.wallet }),
            action: text(&names.action),
            quantity,
            dimensions,
            amount: AmountOut::of(&receipt.unit, amount),
            unit: receipt.unit.code.to_string(),
            price_id: charge.price.map(IdOut::price),
            balance: BalanceOut::new(&receipt.unit, &receipt.balance),
            created_at: TimeOut(receipt.recorded_at),
        }
    }

    /// The answer to a debit.
    pub fn answer(answered: &Answered) -> Result<DebitOut, Problem> {
        match &answered.receipt.detail {
            Detail::Debit { charge } => {
                Ok(DebitOut::new(&answered.receipt, &answered.names, charge, answered.receipt.amount))
            }
            other => Err(unexpected("debit", other)),
        }
    }
}

/// A receipt of another kind of movement than was asked for: the service is broken, not the request.
pub fn unexpected(wanted: &str, detail: &Detail) -> Problem {
    Problem::fault(format!("bug: a {wanted} was answered with the receipt {detail:?}"))
}

/// A debit, read back.
#[derive(Serialize, ToSchema)]
#[schema(as = DebitRecord)]
pub struct DebitRecordOut {
    /// The debit.
    id: IdOut,
    /// The entry that booked it.
    entry_id: IdOut,
    /// The tenant that paid; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// Who consumed; null once erased.
    #[schema(required)]
    user: Option<String>,
    /// The wallet that paid.
    wallet_id: IdOut,
    /// The action.
    #[schema(required)]
    action: Option<String>,
    /// How much of the action, where it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quantity: Option<AmountOut>,
    /// How much by measure, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dimensions: Option<BTreeMap<String, AmountOut>>,
    /// What it cost.
    amount: AmountOut,
    /// What was given back so far.
    refunded: AmountOut,
    /// The code of the unit it was paid in.
    unit: String,
    /// The price version; null where the caller stated the amount.
    #[schema(required)]
    price_id: Option<IdOut>,
    /// Whether a lack of credits would have refused it.
    mode: ModeIn,
    /// Your reference.
    #[schema(required)]
    reference: Option<String>,
    /// Your metadata.
    #[schema(required, value_type = Option<MetadataIn<'static>>)]
    metadata: Option<Box<RawValue>>,
    /// When the work happened.
    occurred_at: TimeOut,
    /// When it was booked.
    created_at: TimeOut,
}

/// Stored JSON as part of an answer.
pub fn raw(metadata: Option<String>) -> Result<Option<Box<RawValue>>, Problem> {
    let parsed = metadata.map(RawValue::from_string).transpose();
    parsed.map_err(|error| Problem::fault(format!("stored metadata is not JSON: {error}")))
}

impl DebitRecordOut {
    fn new(view: DebitView) -> Result<DebitRecordOut, Problem> {
        let (entry, tenant) = (&view.entry, view.entry.wallet.tenant);
        let (quantity, dimensions) = shown(&view.charge.usage);
        Ok(DebitRecordOut {
            id: IdOut::new(Prefix::Debit, tenant, entry.subject),
            entry_id: IdOut::new(Prefix::Entry, tenant, entry.id()),
            tenant: view.names.tenant.map(|key| key.to_string()),
            user: view.names.user.map(|key| key.to_string()),
            wallet_id: IdOut::wallet(entry.wallet),
            action: view.names.action.map(|key| key.to_string()),
            quantity,
            dimensions,
            amount: AmountOut::of(&view.unit, view.charge.cost),
            refunded: AmountOut::of(&view.unit, view.refunded),
            unit: view.unit.code.to_string(),
            price_id: view.charge.price.map(IdOut::price),
            mode: if view.charge.settle { ModeIn::Settle } else { ModeIn::Strict },
            reference: view.reference,
            metadata: raw(view.metadata)?,
            occurred_at: TimeOut(entry.occurred_at),
            created_at: TimeOut(entry.recorded_at),
        })
    }
}

/// What to give back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RefundRequest)]
pub struct RefundIn<'a> {
    /// How much; everything that is left unless said.
    #[serde(borrow, default)]
    amount: Option<DecimalIn<'a>>,
    /// Why.
    #[serde(borrow)]
    #[schema(value_type = String, min_length = 1, max_length = 500)]
    reason: TextIn<'a, 500>,
}

/// What was given back.
#[derive(Serialize, ToSchema)]
#[schema(as = Refund)]
pub struct RefundOut {
    /// The refund.
    id: IdOut,
    /// The debit.
    debit_id: IdOut,
    /// The entry that booked it.
    entry_id: IdOut,
    /// The wallet that got it back.
    wallet_id: IdOut,
    /// How much was given back.
    amount: AmountOut,
    /// How much of the debit was given back so far, this included.
    refunded: AmountOut,
    /// The code of the unit.
    unit: String,
    /// The wallet's balance right after.
    balance: BalanceOut,
    /// When it was booked.
    created_at: TimeOut,
}

impl RefundOut {
    fn new(receipt: &Receipt, unit: &Unit, debit: Id, refunded: Amount) -> RefundOut {
        RefundOut {
            id: IdOut::new(Prefix::Refund, receipt.tenant, receipt.id),
            debit_id: IdOut::new(Prefix::Debit, receipt.tenant, debit),
            entry_id: IdOut::new(Prefix::Entry, receipt.tenant, receipt.entry),
            wallet_id: IdOut::wallet(WalletKey { tenant: receipt.tenant, id: receipt.wallet }),
            amount: AmountOut::of(unit, receipt.amount),
            refunded: AmountOut::of(unit, refunded),
            unit: unit.code.to_string(),
            balance: BalanceOut::new(unit, &receipt.balance),
            created_at: TimeOut(receipt.recorded_at),
        }
    }
}

/// Charges an action
///
/// Moves credits once, whatever is repeated under the same key.
#[utoipa::path(post, path = "/v1/debits", tag = "debits", operation_id = "create_debit", request_body = DebitIn,
    params(crate::http::docs::IdempotencyKey),
    responses((status = 201, description = "Charged", body = DebitOut), OfMovements))]
pub async fn create(State(app): State<App>, movement: Movement) -> Result<Reply<DebitOut>, Problem> {
    let ask = movement.parse::<DebitIn<'_>>()?.into_ask()?;
    let (caller, key) = movement.into_parts();
    let (unit, amount) = (unit_at(ask.unit.as_ref()), measured_at(&ask.measure));
    let answered = debit::debit(&app, &caller, ask, key).await;
    let answered = answered.map_err(|error| Problem::from(error).locate(unit, amount))?;
    Ok(Reply::created(DebitOut::answer(&answered)?).replayed(answered.replayed))
}

/// Reads a debit
#[utoipa::path(get, path = "/v1/debits/{id}", tag = "debits", operation_id = "read_debit",
    params(("id" = String, Path, description = "The debit")),
    responses((status = 200, description = "The debit", body = DebitRecordOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Reply<DebitRecordOut>, Problem> {
    Ok(Reply::ok(DebitRecordOut::new(debit::read(&app, &caller, &id).await?)?))
}

/// Gives back all or part of a debit
///
/// To the lots it was taken from; what it left as debt first.
#[utoipa::path(post, path = "/v1/debits/{id}/refund", tag = "debits", operation_id = "refund_debit",
    params(("id" = String, Path, description = "The debit"), crate::http::docs::IdempotencyKey),
    request_body = RefundIn,
    responses((status = 200, description = "Given back", body = RefundOut), OfMovements))]
pub async fn refund(
    State(app): State<App>,
    PathText(id): PathText,
    movement: Movement,
) -> Result<Reply<RefundOut>, Problem> {
    let request = movement.parse::<RefundIn<'_>>()?;
    let remarks = Remarks { reason: Some(Cow::into_owned(request.reason.0)), ..Remarks::default() };
    let ask = RefundAsk { debit: id, amount: request.amount.owned(), remarks };
    let (caller, key) = movement.into_parts();
    let answered = debit::refund(&app, &caller, ask, key).await?;
    let receipt = &answered.receipt;
    match &receipt.detail {
        Detail::Refund { debit, refunded } => {
            let refund = RefundOut::new(receipt, &receipt.unit, *debit, *refunded);
            Ok(Reply::ok(refund).replayed(answered.replayed))
        }
        other => Err(unexpected("refund", other)),
    }
}
