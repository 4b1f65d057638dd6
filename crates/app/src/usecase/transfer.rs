//! Transfers between wallets of one tenant and unit.

use super::Order;
use crate::App;
use crate::ask::{Idempotency, TransferAsk, TransferEnd};
use crate::caller::{Caller, Scope};
use crate::engine::Route;
use crate::error::AppError;
use crate::names::Named;
use crate::parse::{self, field};
use crate::view::Answered;
use purser_core::catalogue::Unit;
use purser_core::id::Prefix;
use purser_core::wallet::Owner;
use purser_core::{Id, Key, Movement, Rejection, TenantNo, WalletId, WalletKey};

/// One side as the request says it: exactly one of the two.
enum Said<'a> {
    Wallet(&'a str),
    User(Key),
}

/// One side, as far as it can be read without numbers.
enum End {
    Wallet(TenantNo, Id),
    User(Key),
}

/// Moves credits.
pub async fn transfer(
    app: &App,
    caller: &Caller,
    ask: TransferAsk,
    key: Idempotency,
) -> Result<Answered, AppError> {
    caller.require(Scope::Write)?;
    let tenant_key = app.tenant_key(caller, ask.tenant.as_deref())?;
    parse::well_formed("/amount", &ask.amount)?;
    parse::remarks(&ask.remarks)?;
    ask.unit.as_deref().map_or(Ok(()), |code| app.unit(Some(code)).map(drop))?;
    let (from, to) = (said("/from", &ask.from)?, said("/to", &ask.to)?);
    let (from, to) = (end(caller, from)?, end(caller, to)?);
    let (unit, tenant) = unit_and_tenant(app, &ask, &tenant_key, [&from, &to]).await?;
    let amount = parse::amount("/amount", &ask.amount, &unit)?;
    let from = route(app, &tenant_key, tenant, from, &unit).await?;
    let to = route(app, &tenant_key, tenant, to, &unit).await?;
    let (movement, occurred_at) = (Movement::Transfer { amount }, app.now());
    let route = Route::Pair(Box::new((from, to)));
    let order = Order { tenant, user: None, occurred_at, movement, route, key: &key, remarks: &ask.remarks };
    app.carry_out(caller, order, None).await
}

fn said<'a>(pointer: &str, end: &'a TransferEnd) -> Result<Said<'a>, AppError> {
    match (&end.wallet_id, &end.user) {
        (Some(text), None) => Ok(Said::Wallet(text)),
        (None, Some(user)) => Key::parse(user)
            .map(Said::User)
            .ok_or_else(|| crate::names::invalid_key(&format!("{pointer}/user"))),
        _ => Err(field(pointer, "ambiguous", "give exactly one of wallet_id and user")),
    }
}

fn end(caller: &Caller, said: Said<'_>) -> Result<End, AppError> {
    match said {
        Said::Wallet(text) => {
            parse::id(caller, Prefix::Wallet, text, "wallet").map(|(tenant, id)| End::Wallet(tenant, id))
        }
        Said::User(user) => Ok(End::User(user)),
    }
}

/// The unit that is moved and the tenant inside which it moves: as named, else as the wallets say.
async fn unit_and_tenant(
    app: &App,
    ask: &TransferAsk,
    tenant: &Option<Key>,
    ends: [&End; 2],
) -> Result<(Unit, TenantNo), AppError> {
    let mut wallets = ends.iter().filter_map(|end| match end {
        End::Wallet(tenant, id) => Some(WalletKey { tenant: *tenant, id: WalletId(*id) }),
        End::User(_) => None,
    });
    let Some(wallet) = wallets.next() else {
        let Some(name) = tenant else {
            // Two users without a tenant have personal tenants of their own, and credits never leave a tenant.
            return Err(field("/tenant", "required", "name the tenant whose users these are"));
        };
        let name = name.clone();
        let found = app.read(move |reader| reader.resolve_tenant(&name)).await?;
        let tenant = found.ok_or(AppError::Rejected(Rejection::WalletNotFound))?;
        return Ok((app.unit(ask.unit.as_deref())?, tenant));
    };
    let missing = || AppError::Rejected(Rejection::WalletNotFound);
    if wallets.any(|other| other.tenant != wallet.tenant) {
        return Err(missing());
    }
    if let Some(name) = tenant.clone() {
        let named = app.read(move |reader| reader.resolve_tenant(&name)).await?;
        if named != Some(wallet.tenant) {
            return Err(missing());
        }
    }
    let unit = app.wallet_now(wallet).await?.ok_or_else(missing)?.wallet.unit;
    match &ask.unit {
        Some(code) if *code != unit.code.as_str() => Err(AppError::Rejected(Rejection::UnitMismatch)),
        _ => Ok((unit, wallet.tenant)),
    }
}

async fn route(
    app: &App,
    tenant_key: &Option<Key>,
    tenant: TenantNo,
    end: End,
    unit: &Unit,
) -> Result<Route, AppError> {
    match end {
        End::Wallet(tenant, id) => Ok(Route::Wallet(WalletKey { tenant, id: WalletId(id) }, None)),
        End::User(user) => {
            let named = Named { tenant: tenant_key.clone(), user };
            let (of, user) = app.ensure_user(&named).await?;
            if of == tenant {
                Ok(Route::Owned(Owner::User(user), unit.code.clone()))
            } else {
                // Without a tenant's name a user means its personal tenant, which is not the wallet's.
                Err(AppError::Rejected(Rejection::WalletNotFound))
            }
        }
    }
}
