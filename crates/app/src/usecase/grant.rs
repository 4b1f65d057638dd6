//! Giving credits, taking back what is unspent, reading grants.

use super::{Order, require_reason};
use crate::App;
use crate::ask::{GrantAsk, Idempotency, PageAsk, RevokeAsk};
use crate::caller::{Caller, Scope};
use crate::engine::Route;
use crate::error::AppError;
use crate::parse::{self, field};
use crate::view::{Answered, GrantView, Names, Page};
use purser_core::amount::Currency;
use purser_core::command::{Grant, Revoke};
use purser_core::entry::{EntryKind, GrantKind};
use purser_core::id::Prefix;
use purser_core::wallet::{Lot, Owner};
use purser_core::{Id, LotId, Money, Movement, TenantNo, WalletId, WalletKey};

/// Gives credits to a wallet; makes user and wallet on first use.
pub async fn grant(
    app: &App,
    caller: &Caller,
    ask: GrantAsk,
    key: Idempotency,
) -> Result<Answered, AppError> {
    caller.require(Scope::Write)?;
    let named = app.named(caller, ask.whose.tenant.as_deref(), &ask.whose.user)?;
    let unit = app.unit(ask.unit.as_deref())?;
    let amount = parse::amount("/amount", &ask.amount, &unit)?;
    let at =
        |pointer, text: &Option<String>| text.as_deref().map(|text| parse::time(pointer, text)).transpose();
    let effective_at = at("/effective_at", &ask.effective_at)?;
    let expires_at = at("/expires_at", &ask.expires_at)?;
    let paid = paid(&ask)?;
    require_reason(&ask.remarks)?;
    parse::remarks(&ask.remarks)?;
    let (tenant, user) = app.ensure_user(&named).await?;
    let priority = ask.priority.unwrap_or(0);
    let grant = Grant { amount, kind: ask.kind, priority, effective_at, expires_at, paid, origin: None };
    let route = Route::Owned(Owner::User(user), unit.code);
    let names = Names { tenant: named.tenant, user: Some(named.user), action: None };
    let (movement, occurred_at) = (Movement::Grant(grant), app.now());
    let order =
        Order { tenant, user: Some(user), occurred_at, movement, route, key: &key, remarks: &ask.remarks };
    app.carry_out(caller, order, Some(names)).await
}

/// The money of a paid grant, in exactly its currency's digits.
fn paid(ask: &GrantAsk) -> Result<Option<Money>, AppError> {
    let Some((text, code)) = &ask.paid else { return Ok(None) };
    if ask.kind != GrantKind::Paid {
        return Err(field("/paid", "not_allowed", "only a grant of kind paid was paid for"));
    }
    let currency = Currency::parse(code).ok_or_else(|| {
        field("/paid/currency", "unknown_currency", "an ISO 4217 code in capitals is expected")
    })?;
    let minor = parse::decimal("/paid/amount", text, currency.exponent())?;
    let digits = text.split_once('.').map_or(0, |(_, part)| part.len());
    if digits != usize::from(currency.exponent()) {
        let detail = format!("{code} has exactly {} decimals", currency.exponent());
        return Err(field("/paid/amount", "malformed", detail));
    }
    if minor < 0 {
        return Err(field("/paid/amount", "out_of_range", "what was paid cannot be negative"));
    }
    Ok(Some(Money { minor, currency }))
}

/// Takes back what is unspent of a grant.
pub async fn revoke(
    app: &App,
    caller: &Caller,
    ask: RevokeAsk,
    key: Idempotency,
) -> Result<Answered, AppError> {
    caller.require(Scope::Write)?;
    require_reason(&ask.remarks)?;
    parse::remarks(&ask.remarks)?;
    ask.amount.as_deref().map_or(Ok(()), |text| parse::well_formed("/amount", text))?;
    let (tenant, lot) = parse::id(caller, Prefix::Grant, &ask.grant, "grant")?;
    let amount = match &ask.amount {
        None => None,
        Some(text) => {
            let unit = app.unit_of_subject(tenant, lot, "grant").await?;
            Some(parse::amount("/amount", text, &unit)?)
        }
    };
    let movement = Movement::Revoke(Revoke { lot, amount });
    let (route, occurred_at) = (Route::Subject(lot), app.now());
    let order = Order { tenant, user: None, occurred_at, movement, route, key: &key, remarks: &ask.remarks };
    app.carry_out(caller, order, None).await
}

/// The grants of a wallet's lots, newest first.
pub async fn list(
    app: &App,
    caller: &Caller,
    wallet_id: &str,
    page: PageAsk,
) -> Result<Page<GrantView>, AppError> {
    caller.require(Scope::Read)?;
    let limit = parse::limit(&page)?;
    let before: Option<u128> = parse::cursor(&page)?;
    let (tenant, id) = parse::id(caller, Prefix::Wallet, wallet_id, "wallet")?;
    let key = WalletKey { tenant, id: WalletId(id) };
    app.wallet_now(key).await?.ok_or(AppError::NotFound { what: "wallet" })?;
    let lots = app.lots_newest_first(key, before.map(Id), limit).await?;
    let next_cursor = lots.last().filter(|_| lots.len() == limit).map(|lot| lot.terms.id.0.to_string());
    let mut data = Vec::with_capacity(lots.len());
    for lot in lots.into_iter().filter(|lot| lot.terms.parent.is_none()) {
        data.push(view(app, tenant, lot).await?);
    }
    Ok(Page { data, next_cursor })
}

/// One grant.
pub async fn read(app: &App, caller: &Caller, grant_id: &str) -> Result<GrantView, AppError> {
    caller.require(Scope::Read)?;
    let (tenant, grant) = parse::id(caller, Prefix::Grant, grant_id, "grant")?;
    let lot = app.lot_now(tenant, grant).await?.filter(|lot| lot.terms.parent.is_none());
    view(app, tenant, lot.ok_or(AppError::NotFound { what: "grant" })?).await
}

async fn view(app: &App, tenant: TenantNo, lot: Lot) -> Result<GrantView, AppError> {
    let id: LotId = lot.terms.id;
    let history = app.read(move |reader| reader.history(tenant, id)).await?;
    let granted = history.into_iter().find(|stored| stored.entry.kind == EntryKind::Grant);
    let granted = granted.ok_or(AppError::NotFound { what: "grant" })?;
    let names = app.names(tenant, granted.entry.user).await?;
    let unit = app.unit_of_wallet(granted.entry.wallet).await?;
    let (reason, reference) = granted.text.map_or((None, None), |text| (text.reason, text.reference));
    Ok(GrantView { kind: lot.terms.kind, entry: granted.entry, lot, unit, names, reason, reference })
}
