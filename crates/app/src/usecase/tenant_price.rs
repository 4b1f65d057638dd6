//! Price versions that tenants have for themselves: what one tenant pays instead of what all pay.

use super::catalogue::{audit, find, platform, price};
use crate::App;
use crate::ask::TenantPriceAsk;
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, field};
use purser_core::catalogue::TenantPrice;
use purser_core::{Key, TenantNo};

/// Versions that one tenant may have of one action.
const OWN_MAX: usize = 500;

/// Gives a tenant a version of its own; the tenant is made where absent, so that a price can be agreed before first use.
pub async fn add(
    app: &App,
    caller: &Caller,
    action: &str,
    ask: TenantPriceAsk,
) -> Result<TenantPrice, AppError> {
    platform(caller)?;
    let tenant = Key::parse(&ask.tenant).ok_or_else(|| crate::names::invalid_key("/tenant"))?;
    let now = app.now();
    let found = find(app, action)?;
    let mut price = price::price(app, "/price", &ask.price, now)?;
    if !found.action.units.contains(&price.unit) {
        return Err(field("/price/unit", "unit_mismatch", "the action is not paid in this unit"));
    }
    let valid_until = ask.valid_until.as_deref().map(|text| parse::time("/valid_until", text)).transpose()?;
    if valid_until.is_some_and(|until| until <= price.valid_from) {
        return Err(field("/valid_until", "out_of_range", "it ends after it begins"));
    }
    let (action_no, fresh) = (found.action.no, TenantNo(app.inner.ids.number()));
    let known = resolved(app, &tenant).await?;
    let catalogue = app.catalogue();
    let own = known.map_or(&[][..], |known| catalogue.tenant_prices(known, action_no));
    price.id = price::behind(price.id, own.iter().map(|own| own.price.id));
    if own.len() >= OWN_MAX {
        return Err(field("/tenant", "out_of_range", format!("at most {OWN_MAX} versions of its own")));
    }
    let audit = audit(caller, "tenant_price.create", &format!("{action} {tenant}"), now);
    let change = move |batch: &mut purser_store::Batch<'_>| {
        let tenant = batch.ensure_tenant(&tenant, fresh, now)?;
        let own = TenantPrice { tenant, action: action_no, price: price.clone(), valid_until };
        batch.insert_tenant_price(&own, now)?;
        batch.insert_audit(&audit)?;
        Ok((own, true))
    };
    app.inner.engine.change(change).await
}

/// The versions that a tenant has for itself of an action.
pub async fn list(
    app: &App,
    caller: &Caller,
    action: &str,
    tenant: &str,
) -> Result<Vec<TenantPrice>, AppError> {
    caller.require(Scope::Read)?;
    let tenant = app.tenant_key(caller, Some(tenant))?.ok_or_else(|| crate::names::invalid_key("/tenant"))?;
    let no = find(app, action)?.action.no;
    let known = resolved(app, &tenant).await?;
    let catalogue = app.catalogue();
    Ok(known.map(|known| catalogue.tenant_prices(known, no).to_vec()).unwrap_or_default())
}

async fn resolved(app: &App, tenant: &Key) -> Result<Option<TenantNo>, AppError> {
    let tenant = tenant.clone();
    app.read(move |reader| reader.resolve_tenant(&tenant)).await
}
