//! Reports.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::RefusalsAsk;
use purser_app::usecase::report;
use purser_app::view::RefusalView;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::ListOut;
use super::refusals::OfReads;
use crate::http::extract::{Query, Reader};
use crate::http::outgoing::TimeOut;
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, PageQuery, Params};
use crate::http::reply::Reply;

/// How often something was refused within a quarter of an hour.
#[derive(Serialize, ToSchema)]
#[schema(as = RefusalCount)]
pub struct RefusalsOut {
    /// When the quarter of an hour began.
    from: TimeOut,
    /// Whose requests; null for a personal tenant.
    #[schema(required)]
    tenant: Option<String>,
    /// For a personal tenant, its user; else null.
    #[schema(required)]
    user: Option<String>,
    /// What was asked for.
    #[schema(required)]
    action: Option<String>,
    /// The code of the refusal.
    code: String,
    /// How often.
    refused: u64,
}

impl From<RefusalView> for RefusalsOut {
    fn from(view: RefusalView) -> RefusalsOut {
        let RefusalView { row, action } = view;
        let text = |key: Option<purser_core::Key>| key.map(|key| key.to_string());
        RefusalsOut {
            from: TimeOut(row.key.quarter),
            tenant: text(row.tenant),
            user: text(row.user),
            action: text(action),
            code: row.key.code.to_string(),
            refused: row.refused,
        }
    }
}

/// Which refusals.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RefusalsQuery {
    /// From the quarter of an hour in which this instant lies; a day ago unless said.
    #[param(nullable = false, format = "date-time")]
    from: Option<String>,
    /// Quarters that began before this instant; now unless said.
    #[param(nullable = false, format = "date-time")]
    to: Option<String>,
    /// Of this tenant only.
    #[param(nullable = false)]
    tenant: Option<String>,
    /// Of this action only.
    #[param(nullable = false)]
    action: Option<String>,
}

impl FromQuery for RefusalsQuery {
    fn from_query(params: &mut Params) -> Result<RefusalsQuery, Problem> {
        Ok(RefusalsQuery {
            from: params.take("from"),
            to: params.take("to"),
            tenant: params.take("tenant"),
            action: params.take("action"),
        })
    }
}

/// Counts refused debits and holds
///
/// By quarter of an hour, tenant, action and code, oldest first: strict debits (those of batches, too) and holds that were refused by
/// the rules, such as for lack of credits; not previews, not malformed requests (`usage_invalid` among them) and not those that reuse a
/// key (`idempotency_conflict`). Counted beside the ledger and kept for 90 days: the last minute is missing, and some are lost when a
/// node dies or the database does not answer.
#[utoipa::path(get, path = "/v1/reports/refusals", tag = "reports", operation_id = "count_refusals",
    params(RefusalsQuery, PageQuery),
    responses((status = 200, description = "A page of counts", body = ListOut<RefusalsOut>), OfReads))]
pub async fn refusals(
    Reader(caller): Reader,
    State(app): State<App>,
    Query((query, page)): Query<(RefusalsQuery, PageQuery)>,
) -> Result<Reply<ListOut<RefusalsOut>>, Problem> {
    let RefusalsQuery { from, to, tenant, action } = query;
    let page = report::refusals(&app, &caller, RefusalsAsk { from, to, tenant, action }, page.into()).await;
    let page = page.map_err(|error| Problem::from(error).in_query())?;
    Ok(Reply::ok(ListOut::of(page, RefusalsOut::from)))
}
