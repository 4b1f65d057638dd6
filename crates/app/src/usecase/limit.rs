//! Limits on what a tenant's users consume in a day, week or month: set, list, remove.
//!
//! A limit is found by what it is about, so setting it again changes its amount and goes on counting.

use super::catalogue::{audit, find, platform};
use crate::App;
use crate::ask::LimitAsk;
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, field};
use crate::view::{LimitView, Names};
use purser_core::counter::{EVERYBODY, Period, subject_of};
use purser_core::id::Prefix;
use purser_core::limit::{ALERTS_MAX, LIMITS_MAX, Limit, Whose};
use purser_core::{Amount, CounterKey};
use purser_store::AuditRow;
use serde_json::json;

/// Sets a limit: makes it, or changes its amount where there is one about the same. The tenant and the user are made where
/// absent, so that a limit can be there before first use.
pub async fn set(app: &App, caller: &Caller, ask: LimitAsk) -> Result<LimitView, AppError> {
    platform(caller)?;
    let period = period("/period", &ask.period)?;
    let unit = app.unit(ask.unit.as_deref())?;
    let amount = parse::amount("/amount", &ask.amount, &unit)?;
    if amount < Amount::ZERO {
        return Err(field("/amount", "out_of_range", "a limit cannot be negative"));
    }
    if amount > Amount::MAX {
        return Err(field("/amount", "amount_overflow", "more than can be counted"));
    }
    if ask.each_user && ask.user.is_some() {
        return Err(field("/each_user", "not_applicable", "a limit is for one user or for each of them"));
    }
    let alert_at = alert_at(&ask.alert_at)?;
    if amount.is_zero() && !alert_at.is_empty() {
        return Err(field("/alert_at", "not_applicable", "of nothing there is no share"));
    }
    if !ask.enforced && alert_at.is_empty() {
        return Err(field(
            "/alert_at",
            "required",
            "a limit that refuses nothing is there to tell of shares",
        ));
    }
    let owner = app.owner(caller, ask.tenant.as_deref(), ask.user.as_deref())?;
    let action = ask.action.as_deref().map(|key| find(app, key)).transpose()?.map(|view| view.action.no);
    let (tenant, user) = app.ensure_owner(owner).await?;
    let whose = match user {
        Some(user) => Whose::User(user),
        None if ask.each_user => Whose::Each,
        None => Whose::Everybody,
    };
    let id = Limit::id_of(tenant, whose, action, &unit.code, period);
    let enforced = ask.enforced;
    let limit = Limit { id, tenant, whose, action, unit: unit.code, amount, period, enforced, alert_at };
    let subject = purser_core::id::render(Prefix::Limit, tenant, id);
    let (audit, new) = (audit(caller, "limit.set", &subject, app.now()), limit.clone());
    // What is there already is asked of the database: this node's memory may be older than what another one did just now.
    let change = move |batch: &mut purser_store::Batch<'_>| {
        let known = batch.limits_of(tenant)?;
        if known.contains(&new) {
            return Ok((true, false));
        }
        if known.len() >= LIMITS_MAX && known.iter().all(|known| known.id != new.id) {
            return Ok((false, false));
        }
        let before = known.iter().find(|known| known.id == new.id).map(told);
        batch.set_limit(&new, audit.at)?;
        batch.insert_audit(&AuditRow { before, after: Some(told(&new)), ..audit.clone() })?;
        Ok((true, true))
    };
    if !app.inner.engine.change(change).await? {
        return Err(field("/tenant", "out_of_range", format!("at most {LIMITS_MAX} limits of a tenant")));
    }
    view(app, limit).await
}

/// The limits of a tenant, or of the personal tenant of a user, with what counts against them now.
pub async fn list(
    app: &App,
    caller: &Caller,
    tenant: Option<&str>,
    user: Option<&str>,
) -> Result<Vec<LimitView>, AppError> {
    caller.require(Scope::Read)?;
    let tenant = app.find_owner(caller, tenant, user).await?;
    let limits = tenant.map(|tenant| app.config().catalogue.limits(tenant).to_vec()).unwrap_or_default();
    let mut views = Vec::with_capacity(limits.len());
    for limit in limits {
        views.push(view(app, limit).await?);
    }
    Ok(views)
}

/// Removes a limit. What counted against it stays counted, should it be set again in the same period.
pub async fn remove(app: &App, caller: &Caller, id: &str) -> Result<LimitView, AppError> {
    platform(caller)?;
    let (tenant, id) = parse::id(caller, Prefix::Limit, id, "limit")?;
    let subject = purser_core::id::render(Prefix::Limit, tenant, id);
    let audit = audit(caller, "limit.remove", &subject, app.now());
    let change = move |batch: &mut purser_store::Batch<'_>| {
        let Some(known) = batch.limits_of(tenant)?.into_iter().find(|limit| limit.id == id) else {
            return Ok((None, false));
        };
        batch.delete_limit(id)?;
        batch.insert_audit(&AuditRow { before: Some(told(&known)), ..audit.clone() })?;
        Ok((Some(known), true))
    };
    let removed = app.inner.engine.change(change).await?;
    view(app, removed.ok_or(AppError::NotFound { what: "limit" })?).await
}

/// What the audit trail keeps of a limit. Its id says what it is about.
fn told(limit: &Limit) -> String {
    let Limit { unit, amount, enforced, alert_at, .. } = limit;
    json!({"unit": unit.as_str(), "amount": amount.0, "enforced": enforced, "alert_at": alert_at}).to_string()
}

/// A limit with its names, and where one counter says what counts against it, with that.
async fn view(app: &App, limit: Limit) -> Result<LimitView, AppError> {
    let user = match limit.whose {
        Whose::User(user) => Some(user),
        Whose::Everybody | Whose::Each => None,
    };
    let names = app.names(limit.tenant, user).await?;
    let names = Names { action: limit.action.and_then(|no| app.action_key(no)), ..names };
    let span = limit.period.around(app.now());
    let subject = match limit.whose {
        Whose::Everybody => Some(EVERYBODY),
        Whose::User(user) => Some(subject_of(user)),
        Whose::Each => None,
    };
    let key = subject.map(|subject| CounterKey {
        tenant: limit.tenant,
        subject,
        rule: limit.id,
        period_start: span.from,
    });
    let used = match key {
        Some(key) => {
            let found = app.read(move |reader| reader.counters(&[key])).await?;
            Some(Amount(found.first().map_or(0, |(_, used)| *used)))
        }
        None => None,
    };
    let unit = app.unit(Some(limit.unit.as_str()))?;
    Ok(LimitView { limit, names, unit, used, resets_at: span.until })
}

/// The shares at which somebody is told, ascending and each once.
fn alert_at(asked: &[i64]) -> Result<Vec<u8>, AppError> {
    if asked.len() > ALERTS_MAX {
        return Err(field("/alert_at", "out_of_range", format!("at most {ALERTS_MAX} shares")));
    }
    let mut shares = Vec::with_capacity(asked.len());
    for (place, percent) in asked.iter().enumerate() {
        let share = u8::try_from(*percent).ok().filter(|percent| (1..=100).contains(percent));
        let wrong = || field(&format!("/alert_at/{place}"), "out_of_range", "1 to 100 percent of the limit");
        shares.push(share.ok_or_else(wrong)?);
    }
    shares.sort_unstable();
    shares.dedup();
    Ok(shares)
}

/// A period by its name.
pub(super) fn period(pointer: &str, text: &str) -> Result<Period, AppError> {
    let found = Period::ALL.into_iter().find(|period| period.name() == text);
    found.ok_or_else(|| field(pointer, "malformed", "one of day, week and month"))
}
