//! Grants: giving credits, reading what was given, taking back what is unspent.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::{GrantAsk, Remarks, RevokeAsk, Whose};
use purser_app::usecase::grant;
use purser_app::view::{Answered, GrantView};
use purser_core::entry::GrantKind;
use purser_core::id::Prefix;
use purser_core::receipt::Detail;
use purser_core::{Money, WalletKey};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ListOut;
use super::balance::BalanceOut;
use super::debits::unexpected;
use super::refusals::{OfMovements, OfReads};
use crate::http::extract::{Movement, NoQuery, PathText, Query, Reader};
use crate::http::incoming::{DecimalIn, KeyIn, Owned, TextIn, TimeIn};
use crate::http::object::Strict;
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, PageQuery, Params};
use crate::http::reply::Reply;

/// Credits to give.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GrantRequest)]
pub struct GrantIn<'a> {
    /// The tenant; the user's personal one unless said.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// Whose wallet.
    #[serde(borrow)]
    user: KeyIn<'a>,
    /// The unit; `credit` unless said.
    #[serde(borrow, default)]
    unit: Option<KeyIn<'a>>,
    /// How much; more than zero.
    #[serde(borrow)]
    amount: DecimalIn<'a>,
    /// Why.
    kind: GrantKindWire,
    /// Lower burns first; 0 unless said.
    #[serde(default)]
    priority: Option<i32>,
    /// Pending before this instant; at once unless said.
    #[serde(borrow, default)]
    effective_at: Option<TimeIn<'a>>,
    /// Not spendable from this instant; never unless said.
    #[serde(borrow, default)]
    expires_at: Option<TimeIn<'a>>,
    /// What was paid for it, net of tax; with kind `paid` only.
    #[serde(borrow, default)]
    #[schema(value_type = Option<MoneyIn<'a>>)]
    paid: Option<Strict<MoneyIn<'a>>>,
    /// Why, in words.
    #[serde(borrow)]
    #[schema(value_type = String, min_length = 1, max_length = 500)]
    reason: TextIn<'a, 500>,
    /// Your own reference.
    #[serde(borrow, default)]
    reference: Option<TextIn<'a, 255>>,
}

/// Money with exactly its currency's decimals.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MoneyRequest)]
pub struct MoneyIn<'a> {
    /// Decimal text.
    #[serde(borrow)]
    #[schema(value_type = String, pattern = r"^[0-9]{1,16}(\.[0-9]{1,3})?$")]
    amount: TextIn<'a, 20>,
    /// ISO 4217 code in capitals.
    #[serde(borrow)]
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    currency: TextIn<'a, 3>,
}

/// Why credits were given.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = GrantKind)]
pub enum GrantKindWire {
    /// Bought.
    Paid,
    /// A gift.
    Promotional,
    /// A correction.
    Adjustment,
}

impl From<GrantKindWire> for GrantKind {
    fn from(kind: GrantKindWire) -> GrantKind {
        match kind {
            GrantKindWire::Paid => GrantKind::Paid,
            GrantKindWire::Promotional => GrantKind::Promotional,
            GrantKindWire::Adjustment => GrantKind::Adjustment,
        }
    }
}

impl From<GrantKind> for GrantKindWire {
    fn from(kind: GrantKind) -> GrantKindWire {
        match kind {
            GrantKind::Paid => GrantKindWire::Paid,
            GrantKind::Promotional => GrantKindWire::Promotional,
            GrantKind::Adjustment => GrantKindWire::Adjustment,
        }
    }
}

impl GrantIn<'_> {
    fn into_ask(self) -> GrantAsk {
        GrantAsk {
            whose: Whose { tenant: self.tenant.owned(), user: self.user.0.into_owned() },
            unit: self.unit.owned(),
            amount: self.amount.0.into_owned(),
            kind: self.kind.into(),
            priority: self.priority,
            effective_at: self.effective_at.owned(),
            expires_at: self.expires_at.owned(),
            paid: self.paid.map(|Strict(paid)| (paid.amount.0.into_owned(), paid.currency.0.into_owned())),
            remarks: Remarks {
                reference: self.reference.owned(),
                metadata: None,
                reason: Some(self.reason.0.into_owned()),
            },
        }
    }
}

/// Credits that were given.
#[derive(Serialize, ToSchema)]
#[schema(as = Grant)]
pub struct GrantOut {
    /// The grant.
    id: IdOut,
    /// The wallet.
    wallet_id: IdOut,
    /// The lot that it made.
    lot_id: IdOut,
    /// How much was given.
    amount: AmountOut,
    /// The code of the unit.
    unit: String,
    /// Why it was given.
    kind: GrantKindWire,
    /// Not spendable from this instant; null for never.
    #[schema(required)]
    expires_at: Option<TimeOut>,
    /// The wallet's balance right after.
    balance: BalanceOut,
}

impl GrantOut {
    fn answer(answered: &Answered) -> Result<GrantOut, Problem> {
        let receipt = &answered.receipt;
        let Detail::Grant { kind, expires_at } = &receipt.detail else {
            return Err(unexpected("grant", &receipt.detail));
        };
        Ok(GrantOut {
            id: IdOut::new(Prefix::Grant, receipt.tenant, receipt.id),
            wallet_id: IdOut::wallet(WalletKey { tenant: receipt.tenant, id: receipt.wallet }),
            lot_id: IdOut::new(Prefix::Lot, receipt.tenant, receipt.id),
            amount: AmountOut::of(&receipt.unit, receipt.amount),
            unit: receipt.unit.code.to_string(),
            kind: (*kind).into(),
            expires_at: expires_at.map(TimeOut),
            balance: BalanceOut::new(&receipt.unit, &receipt.balance),
        })
    }
}

/// A grant, read back.
#[derive(Serialize, ToSchema)]
#[schema(as = GrantRecord)]
pub struct GrantRecordOut {
    /// The grant.
    id: IdOut,
    /// The entry that booked it.
    entry_id: IdOut,
    /// The tenant; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// Whose wallet; null once erased.
    #[schema(required)]
    user: Option<String>,
    /// The wallet.
    wallet_id: IdOut,
    /// The lot that it made.
    lot_id: IdOut,
    /// How much was given.
    amount: AmountOut,
    /// What is left of it.
    remaining: AmountOut,
    /// The code of the unit.
    unit: String,
    /// Why it was given.
    kind: GrantKindWire,
    /// Lower burns first.
    priority: i32,
    /// Pending before this instant.
    effective_at: TimeOut,
    /// Not spendable from this instant; null for never.
    #[schema(required)]
    expires_at: Option<TimeOut>,
    /// What was paid for it.
    #[schema(required)]
    paid: Option<MoneyOut>,
    /// Why it was given, in words; null once erased.
    #[schema(required)]
    reason: Option<String>,
    /// Your reference.
    #[schema(required)]
    reference: Option<String>,
    /// When it was booked.
    created_at: TimeOut,
}

/// Money with exactly its currency's decimals.
#[derive(Serialize, ToSchema)]
#[schema(as = Money)]
pub struct MoneyOut {
    /// Decimal text.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    amount: String,
    /// ISO 4217 code.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
}

impl From<Money> for MoneyOut {
    fn from(money: Money) -> MoneyOut {
        let digits = usize::from(money.currency.exponent());
        let sign = if money.minor < 0 { "-" } else { "" };
        let size = money.minor.unsigned_abs();
        let factor = 10_u64.pow(u32::from(money.currency.exponent()));
        let amount = if digits == 0 {
            format!("{sign}{size}")
        } else {
            format!("{sign}{}.{:0digits$}", size / factor, size % factor)
        };
        MoneyOut { amount, currency: money.currency.code().to_string() }
    }
}

impl From<GrantView> for GrantRecordOut {
    fn from(view: GrantView) -> GrantRecordOut {
        let (entry, tenant, terms) = (&view.entry, view.entry.wallet.tenant, &view.lot.terms);
        GrantRecordOut {
            id: IdOut::new(Prefix::Grant, tenant, entry.subject),
            entry_id: IdOut::new(Prefix::Entry, tenant, entry.id()),
            tenant: view.names.tenant.map(|key| key.to_string()),
            user: view.names.user.map(|key| key.to_string()),
            wallet_id: IdOut::wallet(entry.wallet),
            lot_id: IdOut::new(Prefix::Lot, tenant, terms.id),
            amount: AmountOut::of(&view.unit, terms.granted),
            remaining: AmountOut::of(&view.unit, view.lot.remaining),
            unit: view.unit.code.to_string(),
            kind: view.kind.into(),
            priority: terms.priority,
            effective_at: TimeOut(terms.effective_at),
            expires_at: terms.expires_at.map(TimeOut),
            paid: terms.paid.map(MoneyOut::from),
            reason: view.reason,
            reference: view.reference,
            created_at: TimeOut(entry.recorded_at),
        }
    }
}

/// What to take back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RevokeRequest)]
pub struct RevokeIn<'a> {
    /// How much; everything that is unspent and unpinned unless said.
    #[serde(borrow, default)]
    amount: Option<DecimalIn<'a>>,
    /// Why.
    #[serde(borrow)]
    #[schema(value_type = String, min_length = 1, max_length = 500)]
    reason: TextIn<'a, 500>,
}

/// What was taken back.
#[derive(Serialize, ToSchema)]
#[schema(as = Revocation)]
pub struct RevocationOut {
    /// The revocation.
    id: IdOut,
    /// The grant.
    grant_id: IdOut,
    /// The entry that booked it.
    entry_id: IdOut,
    /// The wallet.
    wallet_id: IdOut,
    /// How much was taken back.
    amount: AmountOut,
    /// The code of the unit.
    unit: String,
    /// The wallet's balance right after.
    balance: BalanceOut,
    /// When it was booked.
    created_at: TimeOut,
}

/// Which grants.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GrantsQuery {
    /// The wallet.
    wallet_id: String,
}

impl FromQuery for GrantsQuery {
    fn from_query(params: &mut Params) -> Result<GrantsQuery, Problem> {
        Ok(GrantsQuery { wallet_id: params.required("wallet_id")? })
    }
}

/// Gives credits
///
/// The user and the wallet are made on first use.
#[utoipa::path(post, path = "/v1/grants", tag = "grants", operation_id = "create_grant", request_body = GrantIn,
    params(crate::http::docs::IdempotencyKey),
    responses((status = 201, description = "Given", body = GrantOut), OfMovements))]
pub async fn create(State(app): State<App>, movement: Movement) -> Result<Reply<GrantOut>, Problem> {
    let ask = movement.parse::<GrantIn<'_>>()?.into_ask();
    let (caller, key) = movement.into_parts();
    let answered = grant::grant(&app, &caller, ask, key).await;
    let answered = answered.map_err(|error| Problem::from(error).locate("/unit", "/amount"))?;
    Ok(Reply::created(GrantOut::answer(&answered)?).replayed(answered.replayed))
}

/// Lists the grants of a wallet
///
/// Newest first.
#[utoipa::path(get, path = "/v1/grants", tag = "grants", operation_id = "list_grants", params(GrantsQuery, PageQuery),
    responses((status = 200, description = "A page of grants", body = ListOut<GrantRecordOut>), OfReads))]
pub async fn list(
    Reader(caller): Reader,
    State(app): State<App>,
    Query((query, page)): Query<(GrantsQuery, PageQuery)>,
) -> Result<Reply<ListOut<GrantRecordOut>>, Problem> {
    let page = grant::list(&app, &caller, &query.wallet_id, page.into()).await?;
    Ok(Reply::ok(ListOut::of(page, GrantRecordOut::from)))
}

/// Reads a grant
#[utoipa::path(get, path = "/v1/grants/{id}", tag = "grants", operation_id = "read_grant",
    params(("id" = String, Path, description = "The grant")),
    responses((status = 200, description = "The grant", body = GrantRecordOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Reply<GrantRecordOut>, Problem> {
    Ok(Reply::ok(grant::read(&app, &caller, &id).await?.into()))
}

/// Takes back what is unspent of a grant
///
/// At most what is neither spent nor pinned by a hold.
#[utoipa::path(post, path = "/v1/grants/{id}/revoke", tag = "grants", operation_id = "revoke_grant",
    params(("id" = String, Path, description = "The grant"), crate::http::docs::IdempotencyKey),
    request_body = RevokeIn,
    responses((status = 200, description = "Taken back", body = RevocationOut), OfMovements))]
pub async fn revoke(
    State(app): State<App>,
    PathText(id): PathText,
    movement: Movement,
) -> Result<Reply<RevocationOut>, Problem> {
    let request = movement.parse::<RevokeIn<'_>>()?;
    let remarks = Remarks { reason: Some(request.reason.0.into_owned()), ..Remarks::default() };
    let ask = RevokeAsk { grant: id, amount: request.amount.owned(), remarks };
    let (caller, key) = movement.into_parts();
    let answered = grant::revoke(&app, &caller, ask, key).await?;
    let receipt = &answered.receipt;
    let Detail::Revoke { grant } = &receipt.detail else {
        return Err(unexpected("revocation", &receipt.detail));
    };
    let revocation = RevocationOut {
        id: IdOut::new(Prefix::Revocation, receipt.tenant, receipt.id),
        grant_id: IdOut::new(Prefix::Grant, receipt.tenant, *grant),
        entry_id: IdOut::new(Prefix::Entry, receipt.tenant, receipt.entry),
        wallet_id: IdOut::wallet(WalletKey { tenant: receipt.tenant, id: receipt.wallet }),
        amount: AmountOut::of(&receipt.unit, receipt.amount),
        unit: receipt.unit.code.to_string(),
        balance: BalanceOut::new(&receipt.unit, &receipt.balance),
        created_at: TimeOut(receipt.recorded_at),
    };
    Ok(Reply::ok(revocation).replayed(answered.replayed))
}
