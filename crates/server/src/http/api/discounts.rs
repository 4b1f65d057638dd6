//! Discounts: what one tenant has taken off the prices of all.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::DiscountAsk;
use purser_app::usecase::discount;
use purser_app::view::DiscountView;
use purser_core::id::Prefix;
use purser_core::pricing::Discount;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ListOut;
use super::limits::WhoseQuery;
use super::refusals::{OfChanges, OfReads};
use crate::http::extract::{JsonBody, NoQuery, PathText, Query, Reader, Writer};
use crate::http::incoming::{DecimalIn, KeyIn, Owned, TimeIn};
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// A discount in percent.
pub(super) fn percent(discount: Discount) -> AmountOut {
    AmountOut::new(discount.basis_points().into(), Discount::DECIMALS)
}

/// A discount to be given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DiscountRequest)]
pub struct DiscountIn<'a> {
    /// The tenant; one of `tenant` and `user` is required.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// The user of a personal tenant.
    #[serde(borrow, default)]
    user: Option<KeyIn<'a>>,
    /// On this action only; on all that have none for themselves unless said.
    #[serde(borrow, default)]
    action: Option<KeyIn<'a>>,
    /// How much, 0 to 100, to the hundredth. 0 takes an action out of a discount on all.
    #[serde(borrow)]
    percent: DecimalIn<'a>,
    /// From this instant; now unless said, and never before.
    #[serde(borrow, default)]
    valid_from: Option<TimeIn<'a>>,
    /// Until this instant; it does not end by itself unless said.
    #[serde(borrow, default)]
    valid_until: Option<TimeIn<'a>>,
}

/// A discount.
#[derive(Serialize, ToSchema)]
#[schema(as = Discount)]
pub struct DiscountOut {
    /// The discount.
    id: IdOut,
    /// The tenant; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// The user of a personal tenant; null for an organisation, and once erased.
    #[schema(required)]
    user: Option<String>,
    /// The one action it is on; null for all that have none for themselves.
    #[schema(required)]
    action: Option<String>,
    /// How much.
    percent: AmountOut,
    /// From this instant.
    valid_from: TimeOut,
    /// Until this instant; null where it does not end by itself.
    #[schema(required)]
    valid_until: Option<TimeOut>,
    /// Whether it is what counts now: of those about the same action that are in force, the one that began last does.
    in_force: bool,
}

impl From<DiscountView> for DiscountOut {
    fn from(view: DiscountView) -> DiscountOut {
        let DiscountView { discount: own, names, in_force } = view;
        DiscountOut {
            id: IdOut::new(Prefix::Discount, own.tenant, own.id),
            tenant: names.tenant.map(|key| key.to_string()),
            user: names.user.map(|key| key.to_string()),
            action: names.action.map(|key| key.to_string()),
            percent: percent(own.discount),
            valid_from: TimeOut(own.valid_from),
            valid_until: own.valid_until.map(TimeOut),
            in_force,
        }
    }
}

/// Gives a tenant a discount
///
/// Asked for again, it is the same one. /// It is taken off what the prices of all come to, after their minimum and maximum. A price that the tenant has for itself is what was
/// agreed: nothing is taken off that.
#[utoipa::path(post, path = "/v1/discounts", tag = "catalogue", operation_id = "create_discount", request_body = DiscountIn,
    responses((status = 201, description = "The discount", body = DiscountOut), OfChanges))]
pub async fn create(
    Writer(caller): Writer,
    State(app): State<App>,
    body: JsonBody,
) -> Result<Reply<DiscountOut>, Problem> {
    let request = body.parse::<DiscountIn<'_>>()?;
    let ask = DiscountAsk {
        tenant: request.tenant.owned(),
        user: request.user.owned(),
        action: request.action.owned(),
        percent: request.percent.0.into_owned(),
        valid_from: request.valid_from.owned(),
        valid_until: request.valid_until.owned(),
    };
    Ok(Reply::created(discount::add(&app, &caller, ask).await?.into()))
}

/// Lists discounts
///
/// Those of one tenant, ended ones included, at most 500, all on one page.
#[utoipa::path(get, path = "/v1/discounts", tag = "catalogue", operation_id = "list_discounts", params(WhoseQuery),
    responses((status = 200, description = "The discounts", body = ListOut<DiscountOut>), OfReads))]
pub async fn list(
    Reader(caller): Reader,
    State(app): State<App>,
    Query(query): Query<WhoseQuery>,
) -> Result<Reply<ListOut<DiscountOut>>, Problem> {
    let own = discount::list(&app, &caller, query.tenant.as_deref(), query.user.as_deref()).await;
    let own = own.map_err(|error| Problem::from(error).in_query())?;
    Ok(Reply::ok(ListOut { data: own.into_iter().map(DiscountOut::from).collect(), next_cursor: None }))
}

/// Ends a discount
///
/// From now on it is not in force; one that has not begun is removed. What was charged stays as it was.
#[utoipa::path(delete, path = "/v1/discounts/{id}", tag = "catalogue", operation_id = "end_discount",
    params(("id" = String, Path, description = "The discount")),
    responses((status = 200, description = "As it ended", body = DiscountOut), OfReads))]
pub async fn end(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Reply<DiscountOut>, Problem> {
    Ok(Reply::ok(discount::end(&app, &caller, &id).await?.into()))
}
