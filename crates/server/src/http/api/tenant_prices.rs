//! Prices that one tenant has for itself: versions that take the place of the action's own, for that tenant.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::TenantPriceAsk;
use purser_app::usecase::tenant_price;
use purser_core::catalogue::{Catalogue, TenantPrice};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ListOut;
use super::prices::{PriceIn, PriceOut};
use super::refusals::{OfChanges, OfReads};
use crate::http::extract::{JsonBody, PathText, Query, Reader, Writer};
use crate::http::incoming::{KeyIn, Owned, TimeIn};
use crate::http::object::Strict;
use crate::http::outgoing::TimeOut;
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, Params};
use crate::http::reply::Reply;

/// A version that a tenant has for itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantPriceRequest)]
pub struct TenantPriceIn<'a> {
    /// The tenant.
    #[serde(borrow)]
    tenant: KeyIn<'a>,
    /// The version; its unit is one the action is paid in.
    #[serde(borrow)]
    #[schema(value_type = PriceIn<'a>)]
    price: Strict<PriceIn<'a>>,
    /// From this instant the action's own versions are in force again; it does not end by itself unless said.
    #[serde(borrow, default)]
    valid_until: Option<TimeIn<'a>>,
}

/// A version that a tenant has for itself.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantPrice)]
pub struct TenantPriceOut {
    /// The tenant.
    tenant: String,
    /// The version.
    price: PriceOut,
    /// When it ends by itself; null for never.
    #[schema(required)]
    valid_until: Option<TimeOut>,
}

impl TenantPriceOut {
    fn new(tenant: &str, own: &TenantPrice, catalogue: &Catalogue) -> Result<TenantPriceOut, Problem> {
        let price = PriceOut::new(&own.price, catalogue)?;
        Ok(TenantPriceOut { tenant: tenant.to_string(), price, valid_until: own.valid_until.map(TimeOut) })
    }
}

/// Whose versions.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TenantQuery {
    /// The tenant.
    tenant: String,
}

impl FromQuery for TenantQuery {
    fn from_query(params: &mut Params) -> Result<TenantQuery, Problem> {
        Ok(TenantQuery { tenant: params.required("tenant")? })
    }
}

/// Gives a tenant a price of its own
///
/// For this tenant it takes the place of the action's versions from its instant on. Never edited: a later version ends it.
#[utoipa::path(post, path = "/v1/actions/{key}/tenant_prices", tag = "catalogue", operation_id = "create_tenant_price",
    params(("key" = String, Path, description = "The action")), request_body = TenantPriceIn,
    responses((status = 201, description = "The version", body = TenantPriceOut), OfChanges))]
pub async fn create(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(key): PathText,
    body: JsonBody,
) -> Result<Reply<TenantPriceOut>, Problem> {
    let request = body.parse::<TenantPriceIn<'_>>()?;
    let Strict(price) = request.price;
    let price = price.into_ask().map_err(|problem| problem.below("/price"))?;
    let tenant = request.tenant.0.into_owned();
    let ask = TenantPriceAsk { tenant: tenant.clone(), price, valid_until: request.valid_until.owned() };
    let own = tenant_price::add(&app, &caller, &key, ask).await?;
    Ok(Reply::created(TenantPriceOut::new(&tenant, &own, &app.catalogue())?))
}

/// Lists the prices a tenant has of its own
///
/// At most 500, all on one page.
#[utoipa::path(get, path = "/v1/actions/{key}/tenant_prices", tag = "catalogue", operation_id = "list_tenant_prices",
    params(("key" = String, Path, description = "The action"), TenantQuery),
    responses((status = 200, description = "The versions", body = ListOut<TenantPriceOut>), OfReads))]
pub async fn list(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(key): PathText,
    Query(query): Query<TenantQuery>,
) -> Result<Reply<ListOut<TenantPriceOut>>, Problem> {
    let own = tenant_price::list(&app, &caller, &key, &query.tenant).await?;
    let catalogue = app.catalogue();
    let data = own.iter().map(|own| TenantPriceOut::new(&query.tenant, own, &catalogue));
    Ok(Reply::ok(ListOut { data: data.collect::<Result<_, _>>()?, next_cursor: None }))
}
