//! `POST /v1/actions/{key}/prices`: a new price version, or what it would have done to the usage of the last days.

use axum::extract::State;
use purser_app::App;
use purser_app::usecase::catalogue;
use purser_app::view::{FilePrice, PriceRehearsed};
use purser_core::catalogue::Catalogue;
use serde::Serialize;
use utoipa::ToSchema;

use super::actions::ActionOut;
use super::catalogue::file_price;
use super::prices::{PriceIn, PriceOut};
use super::refusals::OfChanges;
use super::usage::{DryRunQuery, UsageOut};
use crate::http::extract::{PathText, QueriedBody, Query, Writer};
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// What a price version would be, and what it would have done.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceDryRun)]
pub struct PriceDryRunOut {
    /// Nothing was changed.
    dry_run: bool,
    /// The version whose place it would take; null where there is none.
    #[schema(required)]
    before: Option<PriceOut>,
    /// The new one.
    #[schema(value_type = PriceIn<'static>)]
    after: serde_json::Value,
    /// What the usage of the last days would have cost.
    usage: UsageOut,
}

impl PriceDryRunOut {
    fn new(rehearsed: PriceRehearsed, catalogue: &Catalogue) -> Result<PriceDryRunOut, Problem> {
        let PriceRehearsed { before, after, usage } = rehearsed;
        let before = before.map(|price| PriceOut::new(&price, catalogue)).transpose()?;
        let after = file_price(&FilePrice { price: after, scheduled: true }, catalogue)?;
        Ok(PriceDryRunOut { dry_run: true, before, after, usage: usage.into() })
    }
}

/// The action with its new version, or what that would have done.
#[derive(Serialize)]
#[serde(untagged)]
pub enum PricedOut {
    /// It was made.
    Made(Box<ActionOut>),
    /// It was not.
    DryRun(Box<PriceDryRunOut>),
}

/// Adds a price version
///
/// History and balances never change; debits use the version in force when the work happened. With `dry_run` nothing is made, and
/// the debits of the last days (7 unless `days` says otherwise) are charged again at the new price.
#[utoipa::path(post, path = "/v1/actions/{key}/prices", tag = "catalogue", operation_id = "create_price",
    params(("key" = String, Path, description = "The action"), DryRunQuery), request_body = PriceIn,
    responses((status = 201, description = "The action with its prices", body = ActionOut),
        (status = 200, description = "With `dry_run`: what the price would have done", body = PriceDryRunOut), OfChanges))]
pub async fn create(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(key): PathText,
    Query(query): Query<DryRunQuery>,
    body: QueriedBody,
) -> Result<Reply<PricedOut>, Problem> {
    let ask = body.parse::<PriceIn<'_>>()?.into_ask()?;
    if query.dry_run == Some(true) {
        let rehearsed = catalogue::rehearse_price(&app, &caller, &key, ask, query.days).await?;
        let out = PriceDryRunOut::new(rehearsed, &app.catalogue())?;
        return Ok(Reply::ok(PricedOut::DryRun(Box::new(out))));
    }
    let view = catalogue::add_price(&app, &caller, &key, ask).await?;
    Ok(Reply::created(PricedOut::Made(Box::new(ActionOut::new(view, &app.catalogue())?))))
}
