//! Units: what wallets count.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::UnitAsk;
use purser_app::usecase::catalogue;
use purser_app::view::{Page, UnitView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ListOut;
use super::refusals::{OfChanges, OfReads};
use crate::http::extract::{JsonBody, NoQuery, Reader, Writer};
use crate::http::incoming::{KeyIn, TextIn};
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// A unit to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UnitRequest)]
pub struct UnitIn<'a> {
    /// Its code, such as `sms` or `MYR`.
    #[serde(borrow)]
    code: KeyIn<'a>,
    /// Its decimals; fixed for ever.
    #[schema(maximum = 6)]
    scale: u8,
    /// What people call it.
    #[serde(borrow)]
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    name: TextIn<'a, 200>,
}

impl UnitIn<'_> {
    /// The ask that it makes.
    pub fn into_ask(self) -> UnitAsk {
        UnitAsk { code: self.code.0.into_owned(), scale: self.scale, name: self.name.0.into_owned() }
    }
}

/// A unit.
#[derive(Serialize, ToSchema)]
#[schema(as = Unit)]
pub struct UnitOut {
    /// Its code.
    code: String,
    /// Its decimals.
    scale: u8,
    /// What people call it.
    name: String,
}

impl From<UnitView> for UnitOut {
    fn from(view: UnitView) -> UnitOut {
        UnitOut { code: view.unit.code.to_string(), scale: view.unit.scale.decimals(), name: view.name }
    }
}

/// Lists the units
#[utoipa::path(get, path = "/v1/units", tag = "catalogue", operation_id = "list_units",
    responses((status = 200, description = "All units", body = ListOut<UnitOut>), OfReads))]
pub async fn list(
    Reader(caller): Reader,
    State(app): State<App>,
    _: NoQuery,
) -> Result<Reply<ListOut<UnitOut>>, Problem> {
    let data = catalogue::units(&app, &caller).await?;
    Ok(Reply::ok(ListOut::of(Page { data, next_cursor: None }, UnitOut::from)))
}

/// Makes a unit
///
/// Saying the same again changes nothing.
#[utoipa::path(post, path = "/v1/units", tag = "catalogue", operation_id = "create_unit", request_body = UnitIn,
    responses((status = 201, description = "The unit", body = UnitOut), OfChanges))]
pub async fn create(
    Writer(caller): Writer,
    State(app): State<App>,
    body: JsonBody,
) -> Result<Reply<UnitOut>, Problem> {
    let request: UnitIn<'_> = body.parse()?;
    Ok(Reply::created(catalogue::add_unit(&app, &caller, request.into_ask()).await?.into()))
}
