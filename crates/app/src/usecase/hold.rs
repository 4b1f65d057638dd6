//! Holds: place, extend, capture, release, read.

use super::Order;
use crate::App;
use crate::ask::{CaptureAsk, ExtendAsk, HoldAsk, Idempotency, Measure, Remarks};
use crate::caller::{Caller, Scope};
use crate::engine::Route;
use crate::error::AppError;
use crate::link::{Refused, check_return};
use crate::names::Named;
use crate::parse::{self, field};
use crate::quote::{LIFE_WITH_LINK, Subject};
use crate::view::{Answered, HoldView, Names, Offer};
use purser_core::catalogue::Unit;
use purser_core::command::{CaptureHold, ExtendHold, PlaceHold, Quote};
use purser_core::entry::Usage;
use purser_core::id::Prefix;
use purser_core::time::SECOND;
use purser_core::wallet::{HoldState, Owner};
use purser_core::{Amount, Id, Movement, Quantity, Rejection, TenantNo, WalletId, WalletKey};

/// How long a hold lives that does not say, in seconds.
const EXPIRES_IN: i64 = 900;

/// Pins credits before work of unknown cost.
pub async fn place(app: &App, caller: &Caller, ask: HoldAsk, key: Idempotency) -> Result<Answered, AppError> {
    caller.require(Scope::Write)?;
    let named = app.named(caller, ask.whose.tenant.as_deref(), &ask.whose.user)?;
    let action = parse::action(&ask.action)?;
    let expires_in = duration(ask.expires_in.unwrap_or(EXPIRES_IN))?;
    parse::measure(&ask.measure)?;
    if ask.by_history && ask.measure != Measure::default() {
        return Err(field("/estimate", "not_applicable", "instead of quantity, dimensions or amount"));
    }
    parse::remarks(&ask.remarks)?;
    check_return(ask.return_url.as_deref())?;
    let mut unit = ask.unit.as_deref().map(|code| app.unit(Some(code))).transpose()?;
    let wallet = match &ask.wallet_id {
        None => None,
        Some(text) => Some(parse::id(caller, Prefix::Wallet, text, "wallet")?),
    };
    let action = app.action(&action)?;
    if (ask.measure.amount.is_some() || ask.by_history) && unit.is_none() {
        unit = Some(single_unit(app, &action.units)?);
    }
    let usage = match parse::usage(&ask.measure, unit.as_ref())? {
        None if ask.by_history => {
            match estimated(app, caller, &named, action.no, unit.as_ref(), &ask).await {
                Ok(amount) => Usage::Amount(amount),
                Err(error) => return answered_or(app, &named, &key, error).await,
            }
        }
        usage => usage.unwrap_or(Usage::Quantity(Quantity::ONE)),
    };
    let occurred_at = app.now();
    let mut subject = Subject {
        named: &named,
        action: &action,
        usage: &usage,
        wallet: wallet.map(|(tenant, id)| (tenant, WalletId(id))),
        promise: None,
        return_url: ask.return_url.as_deref(),
    };
    let quote = ask.quote.as_deref().map(|token| app.quoted(&subject, token));
    if let Some(Quote::Promise(promise)) = &quote {
        subject.promise = Some(promise);
    }
    if let Err(error) = app.return_allowed(ask.return_url.as_deref()) {
        return answered_or(app, &named, &key, error).await;
    }
    let (tenant, user) = app.ensure_user(&named).await?;
    let owner = Owner::User(user);
    let (wallet, route) = match wallet {
        None => (None, Route::Action(owner)),
        Some((of, _)) if of != tenant => return Err(AppError::Rejected(Rejection::WalletNotFound)),
        Some((_, id)) => {
            (Some(WalletId(id)), Route::Wallet(WalletKey { tenant, id: WalletId(id) }, Some(owner)))
        }
    };
    let names = Names {
        tenant: named.tenant.clone(),
        user: Some(named.user.clone()),
        action: Some(action.key.clone()),
    };
    let (unit, usage, quote) = (unit.map(|unit| unit.code), usage.clone(), quote.clone());
    let movement =
        Movement::PlaceHold(PlaceHold { action: action.no, usage, unit, wallet, expires_in, quote });
    let order =
        Order { tenant, user: Some(user), occurred_at, movement, route, key: &key, remarks: &ask.remarks };
    let answered = app.carry_out(caller, order, Some(names)).await;
    answered.map_err(|error| {
        app.note_refusal(tenant, action.no, &error);
        app.with_offer(&subject, error)
    })
}

/// What was answered under this key before, or else the error: what came out differently since refuses no repetition.
async fn answered_or(
    app: &App,
    named: &Named,
    key: &Idempotency,
    error: AppError,
) -> Result<Answered, AppError> {
    let Some((tenant, _)) = app.find_user(named).await? else { return Err(error) };
    let before = app.answered_before(tenant, key).await?.ok_or(error)?;
    app.named_answer(before, None).await
}

/// What a hold by history is placed for: what its quote promises, where it brings one, as history goes on meanwhile.
async fn estimated(
    app: &App,
    caller: &Caller,
    named: &Named,
    action: u64,
    unit: Option<&Unit>,
    ask: &HoldAsk,
) -> Result<Amount, AppError> {
    if let Some(amount) = ask.quote.as_deref().and_then(|token| app.promised_amount(token)) {
        return Ok(amount);
    }
    let tenant = match app.find_user(named).await? {
        Some((tenant, _)) => Some(tenant),
        None => app.find_tenant(named).await?,
    };
    let unit = unit.expect("it is said, or the only one of the action");
    app.usual_cost(caller, tenant, action, &unit.code).await
}

/// Makes a hold longer or larger.
pub async fn extend(
    app: &App,
    caller: &Caller,
    ask: ExtendAsk,
    key: Idempotency,
) -> Result<Answered, AppError> {
    caller.require(Scope::Write)?;
    let expires_in = ask.expires_in.map(duration).transpose()?;
    parse::measure(&ask.measure)?;
    if expires_in.is_none() && ask.measure == Measure::default() {
        return Err(field("", "required", "give expires_in, or quantity, dimensions or amount"));
    }
    let (tenant, hold) = parse::id(caller, Prefix::Hold, &ask.hold, "hold")?;
    let unit = if ask.measure.amount.is_some() {
        Some(app.unit_of_subject(tenant, hold, "hold").await?)
    } else {
        None
    };
    let usage = parse::usage(&ask.measure, unit.as_ref())?;
    let movement = Movement::ExtendHold(ExtendHold { hold, expires_in, usage });
    let (route, occurred_at, remarks) = (Route::Subject(hold), app.now(), Remarks::default());
    let order = Order { tenant, user: None, occurred_at, movement, route, key: &key, remarks: &remarks };
    let answered = app.carry_out(caller, order, None).await;
    with_link(app, tenant, hold, answered).await
}

/// A lack of credits with the link for buying some. Without a quote: what lacks is a part of the cost, and the hold that it
/// is for keeps its price anyway.
async fn with_link(
    app: &App,
    tenant: TenantNo,
    hold: Id,
    answered: Result<Answered, AppError>,
) -> Result<Answered, AppError> {
    let Err(AppError::Rejected(rejection @ Rejection::InsufficientCredits { .. })) = answered else {
        return answered;
    };
    let HoldView { names, .. } = look_up(app, tenant, hold).await?;
    let (tenant, user, action) = (names.tenant.as_ref(), names.user.as_ref(), names.action.as_ref());
    let link = user.zip(action).and_then(|(user, action)| {
        let refused = Refused { tenant, user, action, return_url: None };
        app.topup_url(&refused, &rejection, app.now().plus(LIFE_WITH_LINK))
    });
    Err(match link {
        Some(topup_url) => {
            AppError::OutOfCredit { rejection, offer: Box::new(Offer { quote: None, topup_url }) }
        }
        // Its user was erased: nobody is left to buy anything.
        None => AppError::Rejected(rejection),
    })
}

/// Charges what the work really cost.
pub async fn capture(
    app: &App,
    caller: &Caller,
    ask: CaptureAsk,
    key: Idempotency,
) -> Result<Answered, AppError> {
    caller.require(Scope::Write)?;
    let occurred_at = parse::occurred_at(ask.occurred_at.as_deref(), app.now())?;
    parse::measure(&ask.measure)?;
    parse::remarks(&ask.remarks)?;
    let (tenant, hold) = parse::id(caller, Prefix::Hold, &ask.hold, "hold")?;
    if let Err(error) = parse::in_window(occurred_at, app.now()) {
        let before = app.answered_before(tenant, &key).await?.ok_or(error)?;
        return app.named_answer(before, None).await;
    }
    let unit = if ask.measure.amount.is_some() {
        Some(app.unit_of_subject(tenant, hold, "hold").await?)
    } else {
        None
    };
    let usage = parse::usage(&ask.measure, unit.as_ref())?;
    let movement = Movement::CaptureHold(CaptureHold { hold, usage, settle: ask.settle });
    let route = Route::Subject(hold);
    let order = Order { tenant, user: None, occurred_at, movement, route, key: &key, remarks: &ask.remarks };
    let answered = app.carry_out(caller, order, None).await;
    with_link(app, tenant, hold, answered).await
}

/// Gives a hold up.
pub async fn release(
    app: &App,
    caller: &Caller,
    hold_id: &str,
    key: Idempotency,
) -> Result<Answered, AppError> {
    caller.require(Scope::Write)?;
    let (tenant, hold) = parse::id(caller, Prefix::Hold, hold_id, "hold")?;
    let (route, occurred_at, remarks) = (Route::Subject(hold), app.now(), Remarks::default());
    let movement = Movement::ReleaseHold { hold };
    let order = Order { tenant, user: None, occurred_at, movement, route, key: &key, remarks: &remarks };
    app.carry_out(caller, order, None).await
}

/// One hold.
pub async fn read(app: &App, caller: &Caller, hold_id: &str) -> Result<HoldView, AppError> {
    caller.require(Scope::Read)?;
    let (tenant, id) = parse::id(caller, Prefix::Hold, hold_id, "hold")?;
    look_up(app, tenant, id).await
}

async fn look_up(app: &App, tenant: TenantNo, id: Id) -> Result<HoldView, AppError> {
    let missing = || AppError::NotFound { what: "hold" };
    let owner = app.read(move |reader| reader.wallet_of(tenant, id)).await?.ok_or_else(missing)?;
    let key = WalletKey { tenant, id: owner };
    let found = app.wallet_now(key).await?.ok_or_else(missing)?;
    let wallet = found.wallet;
    let hold = match wallet.hold(id) {
        Some(hold) => hold.clone(),
        // It closed and its row is exact, as it is not in memory any more.
        None => app.read(move |reader| reader.hold(tenant, id)).await?.ok_or_else(missing)?.1,
    };
    let now = app.now().max(wallet.recorded_at);
    let projected = purser_core::decide::project(&wallet, now);
    let hold = projected.hold(id).cloned().unwrap_or(hold);
    let mut names = app.names(tenant, hold.user).await?;
    names.action = app.action_key(hold.terms.charge.action);
    Ok(HoldView { hold, wallet: key, unit: wallet.unit.clone(), names, balance: projected.balance(now) })
}

/// The active holds of a wallet as they are at this instant.
pub(super) fn active(wallet: &purser_core::Wallet) -> impl Iterator<Item = &purser_core::wallet::Hold> {
    wallet.holds.iter().filter(|hold| hold.state == HoldState::Active)
}

fn duration(seconds: i64) -> Result<i64, AppError> {
    let range = 1..=86_400;
    if range.contains(&seconds) {
        Ok(seconds * SECOND)
    } else {
        Err(field("/expires_in", "out_of_range", "1 to 86400 seconds"))
    }
}

/// The unit of an action that is paid in one unit only.
fn single_unit(app: &App, units: &[purser_core::Key]) -> Result<Unit, AppError> {
    match units {
        [unit] => app.unit(Some(unit.as_str())),
        _ => Err(field(
            "/unit",
            "required",
            "the action is paid in several units: say which one the amount is in",
        )),
    }
}
