//! Limits: at most so much of a unit in a day, week or month.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::LimitAsk;
use purser_app::usecase::limit;
use purser_app::view::LimitView;
use purser_core::counter::Period;
use purser_core::id::Prefix;
use purser_core::limit::Whose;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ListOut;
use super::refusals::{OfChanges, OfReads};
use crate::http::extract::{JsonBody, NoQuery, PathText, Query, Reader, Writer};
use crate::http::incoming::{DecimalIn, KeyIn, Owned, PercentIn};
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, Params};
use crate::http::reply::Reply;

/// A stretch of time in which something is counted; UTC.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Period)]
pub enum PeriodWire {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// A calendar month.
    Month,
}

impl PeriodWire {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            PeriodWire::Day => Period::Day.name(),
            PeriodWire::Week => Period::Week.name(),
            PeriodWire::Month => Period::Month.name(),
        }
    }
}

impl From<Period> for PeriodWire {
    fn from(period: Period) -> PeriodWire {
        match period {
            Period::Day => PeriodWire::Day,
            Period::Week => PeriodWire::Week,
            Period::Month => PeriodWire::Month,
        }
    }
}

/// A limit to be set: what it is about, and the most it allows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LimitRequest)]
pub struct LimitIn<'a> {
    /// The tenant; the personal one of `user` unless said.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// For this user only.
    #[serde(borrow, default)]
    user: Option<KeyIn<'a>>,
    /// For each user of the tenant by itself; for all of them together unless said.
    #[serde(default)]
    each_user: bool,
    /// For this action only.
    #[serde(borrow, default)]
    action: Option<KeyIn<'a>>,
    /// What is paid in this unit; `credit` unless said.
    #[serde(borrow, default)]
    unit: Option<KeyIn<'a>>,
    /// The most that may be charged in a period.
    #[serde(borrow)]
    amount: DecimalIn<'a>,
    /// In which time.
    period: PeriodWire,
    /// Whether what would pass it is refused. One that refuses nothing is there to tell: it needs `alert_at`.
    #[serde(default = "enforced")]
    #[schema(default = true)]
    enforced: bool,
    /// At which shares of it `limit.alert` is told, in percent.
    #[serde(default)]
    #[schema(max_items = 10)]
    alert_at: Vec<PercentIn>,
}

fn enforced() -> bool {
    true
}

/// A limit.
#[derive(Serialize, ToSchema)]
#[schema(as = Limit)]
pub struct LimitOut {
    /// The limit; it stays the same when the amount changes.
    id: IdOut,
    /// The tenant; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// The one user it is for.
    #[schema(required)]
    user: Option<String>,
    /// Whether it is for each user by itself.
    each_user: bool,
    /// The one action it is for.
    #[schema(required)]
    action: Option<String>,
    /// The unit.
    unit: String,
    /// The most that may be charged in a period.
    amount: AmountOut,
    /// In which time.
    period: PeriodWire,
    /// Whether what would pass it is refused.
    enforced: bool,
    /// At which shares of it `limit.alert` is told, in percent, ascending.
    alert_at: Vec<u8>,
    /// What counts against it in the current period; null where that differs from user to user.
    #[schema(required)]
    used: Option<AmountOut>,
    /// When the next period begins.
    resets_at: TimeOut,
}

impl From<LimitView> for LimitOut {
    fn from(view: LimitView) -> LimitOut {
        let LimitView { limit, names, unit, used, resets_at } = view;
        LimitOut {
            id: IdOut::new(Prefix::Limit, limit.tenant, limit.id),
            tenant: names.tenant.map(|key| key.to_string()),
            user: names.user.map(|key| key.to_string()),
            each_user: limit.whose == Whose::Each,
            action: names.action.map(|key| key.to_string()),
            amount: AmountOut::of(&unit, limit.amount),
            unit: unit.code.to_string(),
            period: limit.period.into(),
            enforced: limit.enforced,
            alert_at: limit.alert_at,
            used: used.map(|used| AmountOut::of(&unit, used)),
            resets_at: TimeOut(resets_at),
        }
    }
}

/// Whose limits: one of the two is required.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhoseQuery {
    /// The tenant.
    pub(super) tenant: Option<String>,
    /// The user of a personal tenant.
    pub(super) user: Option<String>,
}

impl FromQuery for WhoseQuery {
    fn from_query(params: &mut Params) -> Result<WhoseQuery, Problem> {
        Ok(WhoseQuery { tenant: params.take("tenant"), user: params.take("user") })
    }
}

/// Sets a limit
///
/// Strict debits and holds that would pass it are refused with `limit_reached`. One about the same tenant, user, action, unit
/// and period is changed, and what counted against it goes on counting.
#[utoipa::path(post, path = "/v1/limits", tag = "limits", operation_id = "set_limit", request_body = LimitIn,
    responses((status = 201, description = "The limit", body = LimitOut), OfChanges))]
pub async fn set(
    Writer(caller): Writer,
    State(app): State<App>,
    body: JsonBody,
) -> Result<Reply<LimitOut>, Problem> {
    let request = body.parse::<LimitIn<'_>>()?;
    let ask = LimitAsk {
        tenant: request.tenant.owned(),
        user: request.user.owned(),
        each_user: request.each_user,
        action: request.action.owned(),
        unit: request.unit.owned(),
        amount: request.amount.0.into_owned(),
        period: request.period.name().to_string(),
        enforced: request.enforced,
        alert_at: request.alert_at.into_iter().map(|PercentIn(percent)| percent).collect(),
    };
    Ok(Reply::created(limit::set(&app, &caller, ask).await?.into()))
}

/// Lists limits
///
/// Those of one tenant, at most 100, all on one page, with what counts against them.
#[utoipa::path(get, path = "/v1/limits", tag = "limits", operation_id = "list_limits", params(WhoseQuery),
    responses((status = 200, description = "The limits", body = ListOut<LimitOut>), OfReads))]
pub async fn list(
    Reader(caller): Reader,
    State(app): State<App>,
    Query(query): Query<WhoseQuery>,
) -> Result<Reply<ListOut<LimitOut>>, Problem> {
    let limits = limit::list(&app, &caller, query.tenant.as_deref(), query.user.as_deref()).await;
    let limits = limits.map_err(|error| Problem::from(error).in_query())?;
    Ok(Reply::ok(ListOut { data: limits.into_iter().map(LimitOut::from).collect(), next_cursor: None }))
}

/// Removes a limit
///
/// Answers what it was. Set again in the same period, it knows what had counted until it was removed.
#[utoipa::path(delete, path = "/v1/limits/{id}", tag = "limits", operation_id = "remove_limit",
    params(("id" = String, Path, description = "The limit")),
    responses((status = 200, description = "What it was", body = LimitOut), OfReads))]
pub async fn remove(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Reply<LimitOut>, Problem> {
    Ok(Reply::ok(limit::remove(&app, &caller, &id).await?.into()))
}
