//! Holds: reserving credits before work of unknown cost, and what becomes of the reservation.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::{CaptureAsk, ExtendAsk, HoldAsk, Remarks, Whose};
use purser_app::usecase::hold;
use purser_app::view::{Answered, HoldView};
use purser_core::WalletKey;
use purser_core::id::Prefix;
use purser_core::receipt::Detail;
use purser_core::wallet::HoldState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::balance::BalanceOut;
use super::debits::{DebitOut, ModeIn, compact, unexpected};
use super::refusals::{OfMovements, OfReads};
use crate::http::extract::{Movement, NoQuery, PathText, Reader};
use crate::http::incoming::{
    DecimalIn, DimensionsIn, KeyIn, MetadataIn, Owned, TextIn, TimeIn, measure, measured_at, unit_at,
};
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// What to reserve.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HoldRequest)]
pub struct HoldIn<'a> {
    /// The tenant that pays; the user's personal one unless said.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// Who will consume.
    #[serde(borrow)]
    user: KeyIn<'a>,
    /// The action.
    #[serde(borrow)]
    action: KeyIn<'a>,
    /// How much of it is expected; one unless said.
    #[serde(borrow, default)]
    quantity: Option<DecimalIn<'a>>,
    /// How much by measure is expected.
    #[serde(borrow, default)]
    dimensions: Option<DimensionsIn<'a>>,
    /// Or an amount of credits, instead of a measure.
    #[serde(borrow, default)]
    amount: Option<DecimalIn<'a>>,
    /// Or an estimate, instead of all of them.
    #[serde(default)]
    estimate: Option<EstimateIn>,
    /// Pay in this unit only.
    #[serde(borrow, default)]
    unit: Option<KeyIn<'a>>,
    /// Pay from this wallet only.
    #[serde(borrow, default)]
    wallet_id: Option<KeyIn<'a>>,
    /// Seconds until it runs out; 900 unless said.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 86400)]
    expires_in: Option<i64>,
    /// The token of the quote that a preflight or a refusal gave: the promised price holds, once.
    #[serde(borrow, default)]
    quote: Option<TextIn<'a, 512>>,
    /// Where the page for buying credits leads back to when they lack: an address on a site that the settings allow.
    #[serde(borrow, default)]
    return_url: Option<TextIn<'a, 2048>>,
    /// Your own reference.
    #[serde(borrow, default)]
    reference: Option<TextIn<'a, 255>>,
    /// Anything of your own.
    #[serde(borrow, default)]
    metadata: Option<MetadataIn<'a>>,
}

/// How a hold's amount is estimated.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Estimate)]
pub enum EstimateIn {
    /// By what 95 of 100 of the last captures of the action cost at the most: those of the tenant, 20 to 1,000 of them; else
    /// those of all tenants, unless the key is a tenant's. Kept for a minute.
    History,
}

/// What to change of a hold.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExtendRequest)]
pub struct ExtendIn<'a> {
    /// Seconds from now until it runs out.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 86400)]
    expires_in: Option<i64>,
    /// The new total expectation.
    #[serde(borrow, default)]
    quantity: Option<DecimalIn<'a>>,
    /// The new total expectation, by measure.
    #[serde(borrow, default)]
    dimensions: Option<DimensionsIn<'a>>,
    /// The new total amount.
    #[serde(borrow, default)]
    amount: Option<DecimalIn<'a>>,
}

/// What the work really was; what was held unless said.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CaptureRequest)]
pub struct CaptureIn<'a> {
    /// How much of the action.
    #[serde(borrow, default)]
    quantity: Option<DecimalIn<'a>>,
    /// How much by measure.
    #[serde(borrow, default)]
    dimensions: Option<DimensionsIn<'a>>,
    /// Or an amount of credits, where the hold was placed for one.
    #[serde(borrow, default)]
    amount: Option<DecimalIn<'a>>,
    /// `settle` records the work even if the hold ran out.
    #[serde(default)]
    mode: Option<ModeIn>,
    /// When the work happened.
    #[serde(borrow, default)]
    occurred_at: Option<TimeIn<'a>>,
    /// Your own reference.
    #[serde(borrow, default)]
    reference: Option<TextIn<'a, 255>>,
    /// Anything of your own.
    #[serde(borrow, default)]
    metadata: Option<MetadataIn<'a>>,
}

/// Nothing: a release needs no body.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReleaseRequest)]
pub struct ReleaseIn {}

/// A hold.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldOut {
    /// The hold.
    id: IdOut,
    /// The tenant that pays; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// For whom; null once erased.
    #[schema(required)]
    user: Option<String>,
    /// The wallet that pays.
    wallet_id: IdOut,
    /// The action.
    #[schema(required)]
    action: Option<String>,
    /// What became of it.
    state: HoldStateOut,
    /// What is pinned, or was when it closed.
    held: AmountOut,
    /// What the capture charged.
    captured: AmountOut,
    /// The code of the unit.
    unit: String,
    /// From this instant it pins nothing.
    expires_at: TimeOut,
    /// The wallet's balance.
    balance: BalanceOut,
    /// What the capture booked; in answers to captures only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    debit: Option<DebitOut>,
}

/// What became of a hold.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = HoldState)]
pub enum HoldStateOut {
    /// It pins credits.
    Active,
    /// It was charged.
    Captured,
    /// It was given up.
    Released,
    /// Its time ran out.
    Expired,
}

impl From<HoldState> for HoldStateOut {
    fn from(state: HoldState) -> HoldStateOut {
        match state {
            HoldState::Active => HoldStateOut::Active,
            HoldState::Captured => HoldStateOut::Captured,
            HoldState::Released => HoldStateOut::Released,
            HoldState::Expired => HoldStateOut::Expired,
        }
    }
}

impl HoldOut {
    fn answer(answered: &Answered) -> Result<HoldOut, Problem> {
        let (receipt, names) = (&answered.receipt, &answered.names);
        let Detail::Hold { state, held, captured, expires_at, charge } = &receipt.detail else {
            return Err(unexpected("hold", &receipt.detail));
        };
        let debit = (*state == HoldState::Captured).then(|| DebitOut::new(receipt, names, charge, *captured));
        Ok(HoldOut {
            id: IdOut::new(Prefix::Hold, receipt.tenant, receipt.id),
            tenant: names.tenant.as_ref().map(ToString::to_string),
            user: names.user.as_ref().map(ToString::to_string),
            wallet_id: IdOut::wallet(WalletKey { tenant: receipt.tenant, id: receipt.wallet }),
            action: names.action.as_ref().map(ToString::to_string),
            state: (*state).into(),
            held: AmountOut::of(&receipt.unit, *held),
            captured: AmountOut::of(&receipt.unit, *captured),
            unit: receipt.unit.code.to_string(),
            expires_at: TimeOut(*expires_at),
            balance: BalanceOut::new(&receipt.unit, &receipt.balance),
            debit,
        })
    }
}

impl From<HoldView> for HoldOut {
    fn from(view: HoldView) -> HoldOut {
        HoldOut {
            id: IdOut::new(Prefix::Hold, view.wallet.tenant, view.hold.id),
            tenant: view.names.tenant.map(|key| key.to_string()),
            user: view.names.user.map(|key| key.to_string()),
            wallet_id: IdOut::wallet(view.wallet),
            action: view.names.action.map(|key| key.to_string()),
            state: view.hold.state.into(),
            held: AmountOut::of(&view.unit, view.hold.held),
            captured: AmountOut::of(&view.unit, view.hold.captured),
            unit: view.unit.code.to_string(),
            expires_at: TimeOut(view.hold.terms.expires_at),
            balance: BalanceOut::new(&view.unit, &view.balance),
            debit: None,
        }
    }
}

/// Reserves credits
///
/// Pins lots in burn order, so that the work can be charged later whatever else is spent meanwhile.
#[utoipa::path(post, path = "/v1/holds", tag = "holds", operation_id = "place_hold", request_body = HoldIn,
    params(crate::http::docs::IdempotencyKey),
    responses((status = 201, description = "Reserved", body = HoldOut), OfMovements))]
pub async fn place(State(app): State<App>, movement: Movement) -> Result<Reply<HoldOut>, Problem> {
    let request = movement.parse::<HoldIn<'_>>()?;
    let ask = HoldAsk {
        whose: Whose { tenant: request.tenant.owned(), user: request.user.0.into_owned() },
        action: request.action.0.into_owned(),
        measure: measure(request.quantity, request.dimensions, request.amount),
        by_history: request.estimate == Some(EstimateIn::History),
        unit: request.unit.owned(),
        wallet_id: request.wallet_id.owned(),
        expires_in: request.expires_in,
        quote: request.quote.owned(),
        return_url: request.return_url.owned(),
        remarks: Remarks {
            reference: request.reference.owned(),
            metadata: compact(request.metadata)?,
            reason: None,
        },
    };
    let (caller, key) = movement.into_parts();
    let (unit, amount) = (unit_at(ask.unit.as_ref()), measured_at(&ask.measure));
    let answered = hold::place(&app, &caller, ask, key).await;
    let answered = answered.map_err(|error| Problem::from(error).locate(unit, amount))?;
    Ok(Reply::created(HoldOut::answer(&answered)?).replayed(answered.replayed))
}

/// Reads a hold
#[utoipa::path(get, path = "/v1/holds/{id}", tag = "holds", operation_id = "read_hold",
    params(("id" = String, Path, description = "The hold")),
    responses((status = 200, description = "The hold", body = HoldOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Reply<HoldOut>, Problem> {
    Ok(Reply::ok(hold::read(&app, &caller, &id).await?.into()))
}

/// Makes a hold longer or larger
///
/// More credit comes strictly from the same wallet. A hold lives 24 hours at the most.
#[utoipa::path(post, path = "/v1/holds/{id}/extend", tag = "holds", operation_id = "extend_hold",
    params(("id" = String, Path, description = "The hold"), crate::http::docs::IdempotencyKey),
    request_body = ExtendIn,
    responses((status = 200, description = "Extended", body = HoldOut), OfMovements))]
pub async fn extend(
    State(app): State<App>,
    PathText(id): PathText,
    movement: Movement,
) -> Result<Reply<HoldOut>, Problem> {
    let request = movement.parse::<ExtendIn<'_>>()?;
    let ask = ExtendAsk {
        hold: id,
        expires_in: request.expires_in,
        measure: measure(request.quantity, request.dimensions, request.amount),
    };
    let (caller, key) = movement.into_parts();
    let amount = measured_at(&ask.measure);
    let answered = hold::extend(&app, &caller, ask, key).await;
    let answered = answered.map_err(|error| Problem::from(error).locate("", amount))?;
    Ok(Reply::ok(HoldOut::answer(&answered)?).replayed(answered.replayed))
}

/// Charges what the work really cost
///
/// Once and finally, at the hold's price; the rest of the hold is released.
#[utoipa::path(post, path = "/v1/holds/{id}/capture", tag = "holds", operation_id = "capture_hold",
    params(("id" = String, Path, description = "The hold"), crate::http::docs::IdempotencyKey),
    request_body = CaptureIn,
    responses((status = 200, description = "Charged", body = HoldOut), OfMovements))]
pub async fn capture(
    State(app): State<App>,
    PathText(id): PathText,
    movement: Movement,
) -> Result<Reply<HoldOut>, Problem> {
    let request = movement.parse::<CaptureIn<'_>>()?;
    let ask = CaptureAsk {
        hold: id,
        measure: measure(request.quantity, request.dimensions, request.amount),
        settle: request.mode == Some(ModeIn::Settle),
        occurred_at: request.occurred_at.owned(),
        remarks: Remarks {
            reference: request.reference.owned(),
            metadata: compact(request.metadata)?,
            reason: None,
        },
    };
    let (caller, key) = movement.into_parts();
    let amount = measured_at(&ask.measure);
    let answered = hold::capture(&app, &caller, ask, key).await;
    let answered = answered.map_err(|error| Problem::from(error).locate("", amount))?;
    Ok(Reply::ok(HoldOut::answer(&answered)?).replayed(answered.replayed))
}

/// Gives a hold up
///
/// The body may be left out.
#[utoipa::path(post, path = "/v1/holds/{id}/release", tag = "holds", operation_id = "release_hold",
    params(("id" = String, Path, description = "The hold"), crate::http::docs::IdempotencyKey),
    request_body = Option<ReleaseIn>,
    responses((status = 200, description = "Released", body = HoldOut), OfMovements))]
pub async fn release(
    State(app): State<App>,
    PathText(id): PathText,
    movement: Movement,
) -> Result<Reply<HoldOut>, Problem> {
    let ReleaseIn {} = movement.parse_or_default()?;
    let (caller, key) = movement.into_parts();
    let answered = hold::release(&app, &caller, &id, key).await?;
    Ok(Reply::ok(HoldOut::answer(&answered)?).replayed(answered.replayed))
}
