//! What tenants have taken off the prices of all: give, list, end.
//!
//! A charge keeps how much was taken off, so nothing here reaches back. One that was in force is not removed but ended: what is
//! recorded late is priced as of when the work happened. It is forgotten once no such work can come any more.

use super::catalogue::{audit, find, platform, price};
use crate::App;
use crate::ask::DiscountAsk;
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, BACK_MAX, field};
use crate::view::{DiscountView, Names};
use purser_core::catalogue::TenantDiscount;
use purser_core::id::Prefix;
use purser_core::pricing::Discount;
use purser_core::time::DAY;
use purser_core::{TenantNo, Timestamp};
use purser_store::{AuditRow, Batch, StoreError};
use serde_json::{Value, json};

/// Discounts that one tenant may have, those included that ended a short while ago.
const OWN_MAX: usize = 500;
/// How long an ended one is kept, in microseconds: longer than work may be told of late.
const KEPT: i64 = BACK_MAX + DAY;

/// Gives a tenant a discount; the tenant is made where absent, so that one can be agreed before first use. Asked for again, as
/// by a client that did not hear the answer, it is the same one.
pub async fn add(app: &App, caller: &Caller, ask: DiscountAsk) -> Result<DiscountView, AppError> {
    platform(caller)?;
    let discount = percent(&ask.percent)?;
    let now = app.now();
    let from = ask.valid_from.as_deref().map(|text| parse::time("/valid_from", text)).transpose()?;
    let valid_from = from.unwrap_or(now);
    let valid_until = ask.valid_until.as_deref().map(|text| parse::time("/valid_until", text)).transpose()?;
    if valid_until.is_some_and(|until| until <= valid_from) {
        return Err(field("/valid_until", "out_of_range", "it ends after it begins"));
    }
    if ask.tenant.is_some() && ask.user.is_some() {
        let why = "a discount is for all of a tenant, or for a user without one";
        return Err(field("/user", "not_applicable", why));
    }
    let owner = app.owner(caller, ask.tenant.as_deref(), ask.user.as_deref())?;
    let action = ask.action.as_deref().map(|key| find(app, key)).transpose()?.map(|view| view.action.no);
    // What began before can only be there already: a request that is refused makes nobody.
    let tenant = match valid_from < now {
        true => app.known_owner(&owner).await?.ok_or_else(too_late)?,
        false => app.ensure_owner(owner).await?.0,
    };
    let new = TenantDiscount { id: app.inner.ids.id(), tenant, action, discount, valid_from, valid_until };
    let (node, teller) = (app.clone(), caller.clone());
    let line = move |new: &TenantDiscount| told(&node, &teller, "discount.create", new, (None, Some(new)));
    let change = move |batch: &mut Batch<'_>| give(batch, &new, from, now, &line);
    let own = match app.inner.engine.change(change).await? {
        Added::New(own) | Added::Known(own) => own,
        Added::TooLate => return Err(too_late()),
        Added::TooMany => {
            let whose = if ask.user.is_some() { "/user" } else { "/tenant" };
            return Err(field(whose, "out_of_range", format!("at most {OWN_MAX} discounts of a tenant")));
        }
    };
    let names = whose(app, tenant).await?;
    Ok(view(app, own, &names))
}

fn too_late() -> AppError {
    field("/valid_from", "out_of_range", "a price cannot be changed for the past")
}

/// Adds it, unless it is there. That is asked of the database: a node's memory may be older than what another one did just now.
fn give(
    batch: &mut Batch<'_>,
    new: &TenantDiscount,
    from: Option<Timestamp>,
    now: Timestamp,
    line: &impl Fn(&TenantDiscount) -> AuditRow,
) -> Result<(Added, bool), StoreError> {
    let known = batch.discounts_of(new.tenant)?;
    let begins = |own: &&TenantDiscount| from.map_or(own.is_in_force(now), |from| own.valid_from == from);
    // Only the one that counts: one that another has taken the place of since is not what is asked for.
    let counts = known.iter().filter(|own| own.action == new.action).filter(begins);
    let counts = counts.max_by_key(|own| (own.valid_from, own.id));
    let terms = |own: &TenantDiscount| (own.discount, own.valid_until);
    if let Some(same) = counts.filter(|own| terms(own) == terms(new)) {
        return Ok((Added::Known(same.clone()), false));
    }
    if new.valid_from < now {
        return Ok((Added::TooLate, false));
    }
    let (old, kept): (Vec<_>, Vec<_>) = known.iter().partition(|own| is_forgotten(own, now));
    if kept.len() >= OWN_MAX {
        return Ok((Added::TooMany, false));
    }
    old.iter().try_for_each(|own| batch.delete_discount(own.id))?;
    // Of two that begin at one instant the one that was given later counts.
    let new = TenantDiscount { id: price::behind(new.id, known.iter().map(|own| own.id)), ..new.clone() };
    batch.insert_discount(&new, now)?;
    batch.insert_audit(&line(&new))?;
    Ok((Added::New(new), true))
}

/// What became of a discount that was to be given.
enum Added {
    New(TenantDiscount),
    Known(TenantDiscount),
    /// It would have begun before.
    TooLate,
    TooMany,
}

/// Whether nothing that is priced from now on can ask for it.
fn is_forgotten(own: &TenantDiscount, now: Timestamp) -> bool {
    own.valid_until.is_some_and(|until| until.plus(KEPT) < now)
}

/// The discounts of a tenant, or of the personal tenant of a user, by when they begin.
pub async fn list(
    app: &App,
    caller: &Caller,
    tenant: Option<&str>,
    user: Option<&str>,
) -> Result<Vec<DiscountView>, AppError> {
    caller.require(Scope::Read)?;
    let Some(tenant) = app.find_owner(caller, tenant, user).await? else { return Ok(Vec::new()) };
    let names = whose(app, tenant).await?;
    let own = app.config().catalogue.discounts(tenant).to_vec();
    Ok(own.into_iter().map(|own| view(app, own, &names)).collect())
}

/// Ends a discount now; one that has not begun is removed. One that is over stays as it is.
pub async fn end(app: &App, caller: &Caller, id: &str) -> Result<DiscountView, AppError> {
    platform(caller)?;
    let (tenant, id) = parse::id(caller, Prefix::Discount, id, "discount")?;
    let (node, caller) = (app.clone(), caller.clone());
    let change = move |batch: &mut Batch<'_>| {
        let Some(before) = batch.discounts_of(tenant)?.into_iter().find(|own| own.id == id) else {
            return Ok((None, false));
        };
        // What it is worth is decided as it is ended, however long that took to come to its turn.
        let now = node.now();
        if before.valid_until.is_some_and(|until| until <= now) {
            return Ok((Some(before), false));
        }
        let ended = TenantDiscount { valid_until: Some(now.max(before.valid_from)), ..before.clone() };
        match before.valid_from <= now {
            true => batch.end_discount(id, now)?,
            false => batch.delete_discount(id)?,
        }
        batch.insert_audit(&told(&node, &caller, "discount.end", &before, (Some(&before), Some(&ended))))?;
        Ok((Some(ended), true))
    };
    let ended = app.inner.engine.change(change).await?.ok_or(AppError::NotFound { what: "discount" })?;
    let names = whose(app, tenant).await?;
    Ok(view(app, ended, &names))
}

/// Names of the tenant, or of the user whose personal one it is.
async fn whose(app: &App, tenant: TenantNo) -> Result<Names, AppError> {
    let user = app.read(move |reader| reader.personal_user(tenant)).await?;
    app.names(tenant, user).await
}

fn view(app: &App, own: TenantDiscount, names: &Names) -> DiscountView {
    let names = Names { action: own.action.and_then(|no| app.action_key(no)), ..names.clone() };
    let in_force = counts(app, &own);
    DiscountView { discount: own, names, in_force }
}

/// Whether this one is what counts now, of those about the same action.
fn counts(app: &App, own: &TenantDiscount) -> bool {
    let (now, catalogue) = (app.now(), app.catalogue());
    let others = catalogue.discounts(own.tenant).iter().filter(|other| other.action == own.action);
    let last = others.filter(|other| other.is_in_force(now)).map(|other| (other.valid_from, other.id)).max();
    own.is_in_force(now) && last.is_none_or(|last| last <= (own.valid_from, own.id))
}

/// The line of the audit trail that says what it was and what it is.
fn told(
    app: &App,
    caller: &Caller,
    what: &str,
    own: &TenantDiscount,
    (before, after): (Option<&TenantDiscount>, Option<&TenantDiscount>),
) -> AuditRow {
    let subject = purser_core::id::render(Prefix::Discount, own.tenant, own.id);
    let text = |own: &TenantDiscount| -> Value {
        json!({
            "action": own.action.and_then(|no| app.action_key(no)).map(|key| key.to_string()),
            "basis_points": own.discount.basis_points(),
            "valid_from": own.valid_from.0,
            "valid_until": own.valid_until.map(|until| until.0),
        })
    };
    let line = audit(caller, what, &subject, app.now());
    AuditRow {
        before: before.map(|own| text(own).to_string()),
        after: after.map(|own| text(own).to_string()),
        ..line
    }
}

/// A part of a price in percent. Nothing is one as well: it takes an action out of a discount on all.
fn percent(text: &str) -> Result<Discount, AppError> {
    let points = parse::decimal("/percent", text, Discount::DECIMALS)?;
    let discount = u16::try_from(points).ok().and_then(Discount::new);
    discount.ok_or_else(|| field("/percent", "out_of_range", "0 to 100 percent"))
}
