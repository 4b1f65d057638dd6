//! What users prefer: above which costs they want to be asked first.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::{PreferencesAsk, Whose};
use purser_app::usecase::preference;
use purser_app::view::PreferencesView;
use purser_core::catalogue::Catalogue;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::refusals::{OfQuestions, OfReads};
use crate::http::confirm::{ConfirmIn, ConfirmOut};
use crate::http::extract::{JsonBody, PathText, Query, Reader, Writer};
use crate::http::incoming::{KeyIn, Owned};
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, Params};
use crate::http::reply::Reply;

/// What a user prefers from now on. What is not given is not preferred any more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PreferencesRequest)]
pub struct PreferencesIn<'a> {
    /// The user's tenant; its personal one unless said.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// Above which costs the user wants to be asked, by unit: a debit or hold that costs more needs its quote. The lower of this
    /// and what the action says counts.
    #[serde(borrow, default)]
    confirm_above: Option<ConfirmIn<'a>>,
}

/// What a user prefers.
#[derive(Serialize, ToSchema)]
#[schema(as = Preferences)]
pub struct PreferencesOut {
    /// The user's tenant; null for its personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// The user.
    user: String,
    /// Above which costs the user wants to be asked, by unit; empty where it never said.
    confirm_above: ConfirmOut,
}

impl PreferencesOut {
    fn new(view: PreferencesView, catalogue: &Catalogue) -> Result<PreferencesOut, Problem> {
        Ok(PreferencesOut {
            tenant: view.tenant.map(|key| key.to_string()),
            user: view.user.to_string(),
            confirm_above: ConfirmOut::new(&view.confirm_above, catalogue)?,
        })
    }
}

/// Whose preferences.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfTenantQuery {
    /// The user's tenant; its personal one unless said.
    #[param(nullable = false)]
    tenant: Option<String>,
}

impl FromQuery for OfTenantQuery {
    fn from_query(params: &mut Params) -> Result<OfTenantQuery, Problem> {
        Ok(OfTenantQuery { tenant: params.take("tenant") })
    }
}

/// Reads what a user prefers
///
/// A user that was never seen prefers nothing.
#[utoipa::path(get, path = "/v1/users/{key}/preferences", tag = "users", operation_id = "read_preferences",
    params(("key" = String, Path, description = "The user"), OfTenantQuery),
    responses((status = 200, description = "What the user prefers", body = PreferencesOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(key): PathText,
    Query(query): Query<OfTenantQuery>,
) -> Result<Reply<PreferencesOut>, Problem> {
    let whose = Whose { tenant: query.tenant, user: key };
    let view =
        preference::read(&app, &caller, &whose).await.map_err(|error| Problem::from(error).in_query())?;
    Ok(Reply::ok(PreferencesOut::new(view, &app.catalogue())?))
}

/// Sets what a user prefers
///
/// The user need not have been seen before.
#[utoipa::path(put, path = "/v1/users/{key}/preferences", tag = "users", operation_id = "set_preferences",
    params(("key" = String, Path, description = "The user")), request_body = PreferencesIn,
    responses((status = 200, description = "What the user prefers", body = PreferencesOut), OfQuestions))]
pub async fn set(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(key): PathText,
    body: JsonBody,
) -> Result<Reply<PreferencesOut>, Problem> {
    let request = body.parse::<PreferencesIn<'_>>()?;
    let whose = Whose { tenant: request.tenant.owned(), user: key };
    let ask = PreferencesAsk { whose, confirm_above: request.confirm_above.map(ConfirmIn::into_ask) };
    let view = preference::set(&app, &caller, ask).await?;
    Ok(Reply::ok(PreferencesOut::new(view, &app.catalogue())?))
}
