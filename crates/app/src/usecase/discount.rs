//! What tenants have taken off the prices of all: give, list, end.
//!
//! A charge keeps how much was taken off, so nothing here reaches back. One that was in force is not removed but ended: what is
//! recorded late is priced as of when the work happened.

use super::catalogue::{audit, find, platform};
use crate::App;
use crate::ask::DiscountAsk;
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, field};
use crate::view::{DiscountView, Names};
use purser_core::Timestamp;
use purser_core::catalogue::TenantDiscount;
use purser_core::id::Prefix;
use purser_core::pricing::Discount;

/// Discounts that one tenant may have, ended ones included.
const OWN_MAX: usize = 500;

/// Gives a tenant a discount; the tenant is made where absent, so that one can be agreed before first use.
pub async fn add(app: &App, caller: &Caller, ask: DiscountAsk) -> Result<DiscountView, AppError> {
    platform(caller)?;
    let discount = percent(&ask.percent)?;
    let now = app.now();
    let valid_from = ask.valid_from.as_deref().map(|text| parse::time("/valid_from", text)).transpose()?;
    if valid_from.is_some_and(|from| from < now) {
        return Err(field("/valid_from", "out_of_range", "a price cannot be changed for the past"));
    }
    let valid_from = valid_from.unwrap_or(now);
    let valid_until = ask.valid_until.as_deref().map(|text| parse::time("/valid_until", text)).transpose()?;
    if valid_until.is_some_and(|until| until <= valid_from) {
        return Err(field("/valid_until", "out_of_range", "it ends after it begins"));
    }
    if ask.tenant.is_some() && ask.user.is_some() {
        return Err(field(
            "/user",
            "not_applicable",
            "a discount is for all of a tenant, or for a user without one",
        ));
    }
    let owner = app.owner(caller, ask.tenant.as_deref(), ask.user.as_deref())?;
    let action = ask.action.as_deref().map(|key| find(app, key)).transpose()?.map(|view| view.action.no);
    let (tenant, _) = app.ensure_owner(owner).await?;
    let own = TenantDiscount { id: app.inner.ids.id(), tenant, action, discount, valid_from, valid_until };
    let subject = purser_core::id::render(Prefix::Discount, tenant, own.id);
    let (audit, new) = (audit(caller, "discount.create", &subject, now), own.clone());
    // What is there already is asked of the database: this node's memory may be older than what another one did just now.
    let change = move |batch: &mut purser_store::Batch<'_>| {
        if batch.discounts_of(tenant)?.len() >= OWN_MAX {
            return Ok((false, false));
        }
        batch.insert_discount(&new, now)?;
        batch.insert_audit(&audit)?;
        Ok((true, true))
    };
    if !app.inner.engine.change(change).await? {
        return Err(field("/tenant", "out_of_range", format!("at most {OWN_MAX} discounts of a tenant")));
    }
    view(app, own).await
}

/// The discounts of a tenant, or of the personal tenant of a user, by when they begin.
pub async fn list(
    app: &App,
    caller: &Caller,
    tenant: Option<&str>,
    user: Option<&str>,
) -> Result<Vec<DiscountView>, AppError> {
    caller.require(Scope::Read)?;
    let tenant = app.find_owner(caller, tenant, user).await?;
    let own = tenant.map(|tenant| app.config().catalogue.discounts(tenant).to_vec()).unwrap_or_default();
    let mut views = Vec::with_capacity(own.len());
    for own in own {
        views.push(view(app, own).await?);
    }
    Ok(views)
}

/// Ends a discount now; one that has not begun is removed. One that is over stays as it is.
pub async fn end(app: &App, caller: &Caller, id: &str) -> Result<DiscountView, AppError> {
    platform(caller)?;
    let (tenant, id) = parse::id(caller, Prefix::Discount, id, "discount")?;
    let subject = purser_core::id::render(Prefix::Discount, tenant, id);
    let now = app.now();
    let audit = audit(caller, "discount.end", &subject, now);
    let change = move |batch: &mut purser_store::Batch<'_>| {
        let Some(mut own) = batch.discounts_of(tenant)?.into_iter().find(|own| own.id == id) else {
            return Ok((None, false));
        };
        if own.valid_until.is_some_and(|until| until <= now) {
            return Ok((Some(own), false));
        }
        own.valid_until = Some(now.max(own.valid_from));
        match own.valid_from < now {
            true => batch.end_discount(id, now)?,
            false => batch.delete_discount(id)?,
        }
        batch.insert_audit(&audit)?;
        Ok((Some(own), true))
    };
    let ended = app.inner.engine.change(change).await?;
    view(app, ended.ok_or(AppError::NotFound { what: "discount" })?).await
}

/// A discount with its names.
async fn view(app: &App, own: TenantDiscount) -> Result<DiscountView, AppError> {
    let tenant = own.tenant;
    let user = app.read(move |reader| reader.personal_user(tenant)).await?;
    let names = app.names(tenant, user).await?;
    let names = Names { action: own.action.and_then(|no| app.action_key(no)), ..names };
    let in_force = in_force(app, &own, app.now());
    Ok(DiscountView { discount: own, names, in_force })
}

/// Whether this one is what counts at `now`, of those about the same action.
fn in_force(app: &App, own: &TenantDiscount, now: Timestamp) -> bool {
    let catalogue = app.catalogue();
    let same = catalogue.discounts(own.tenant).iter().filter(|other| other.action == own.action);
    own.is_in_force(now)
        && same
            .filter(|other| other.is_in_force(now))
            .all(|other| (other.valid_from, other.id) <= (own.valid_from, own.id))
}

/// A part of a price in percent. Nothing is one as well: it takes an action out of a discount on all.
fn percent(text: &str) -> Result<Discount, AppError> {
    let points = parse::decimal("/percent", text, Discount::DECIMALS)?;
    let discount = u16::try_from(points).ok().and_then(Discount::new);
    discount.ok_or_else(|| field("/percent", "out_of_range", "0 to 100 percent"))
}
