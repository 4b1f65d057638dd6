//! The whole URL map.
//!
//! Router and API document come from the same table, so a route without documentation cannot exist. Everything below
//! `/v1` needs a key; what does not is listed in `OPEN`, which `tests/it/authorization.rs` holds against the server.

use axum::Router;
use axum::http::StatusCode;
use purser_app::App;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{
    actions, balance, batch, catalogue, debits, discounts, events, explain, gate, gate_outcomes, gate_rules,
    grants, holds, limits, preferences, preflight, reports, reprice, stream, tenant_prices, transfers, units,
    usage_events, wallets,
};
use super::edge::EdgeLayer;
use super::problem::Problem;
use super::{docs, operations, pages};

/// What is answered without a key; beside it the pages of `pages.rs`, to which signed links lead.
pub const OPEN: [&str; 5] = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"];

/// Every route, with its part of the API document.
fn table() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(docs::frame())
        .routes(routes!(preflight::ask))
        .routes(routes!(debits::create))
        .routes(routes!(batch::create))
        .routes(routes!(debits::read))
        .routes(routes!(explain::read))
        .routes(routes!(debits::refund))
        .routes(routes!(usage_events::record))
        .routes(routes!(holds::place))
        .routes(routes!(holds::read))
        .routes(routes!(holds::extend))
        .routes(routes!(holds::capture))
        .routes(routes!(holds::release))
        .routes(routes!(balance::read))
        .routes(routes!(wallets::search))
        .routes(routes!(wallets::read))
        .routes(routes!(stream::open))
        .routes(routes!(wallets::at))
        .routes(routes!(wallets::entries))
        .routes(routes!(wallets::lots))
        .routes(routes!(wallets::holds))
        .routes(routes!(grants::create, grants::list))
        .routes(routes!(grants::read))
        .routes(routes!(grants::revoke))
        .routes(routes!(transfers::create))
        .routes(routes!(preferences::read, preferences::set))
        .routes(routes!(units::create, units::list))
        .routes(routes!(actions::create, actions::list))
        .routes(routes!(actions::read, actions::change))
        .routes(routes!(actions::activate))
        .routes(routes!(actions::deactivate))
        .routes(routes!(reprice::create))
        .routes(routes!(tenant_prices::create, tenant_prices::list))
        .routes(routes!(discounts::create, discounts::list))
        .routes(routes!(discounts::end))
        .routes(routes!(catalogue::read, catalogue::put))
        .routes(routes!(events::list))
        .routes(routes!(reports::refusals))
        .routes(routes!(gate::ask))
        .routes(routes!(gate::ask_for_nginx))
        .routes(routes!(gate_outcomes::tell))
        .routes(routes!(gate_rules::create, gate_rules::list))
        .routes(routes!(gate_rules::read, gate_rules::put, gate_rules::delete))
        .routes(routes!(limits::set, limits::list))
        .routes(routes!(limits::remove))
        .routes(routes!(operations::alive))
        .routes(routes!(operations::ready))
        .routes(routes!(operations::measured))
}

/// The API document.
pub fn document() -> OpenApi {
    docs::finished(table().into_openapi())
}

/// The routes of a running service.
pub fn router(app: App) -> Router {
    let (routes, api) = table().split_for_parts();
    routes
        .merge(docs::pages(&docs::finished(api)))
        .merge(pages::pages())
        .fallback(async || route_not_found())
        .method_not_allowed_fallback(async || method_not_allowed())
        .with_state(app.clone())
        .layer(EdgeLayer::new(Some(app)))
}

/// 404: nothing is at this path.
pub fn route_not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "route_not_found",
        "There is nothing at this path; GET /openapi.json lists all.",
    )
}

fn method_not_allowed() -> Problem {
    let detail = "The path exists, but not for this method; the header Allow lists those it takes.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
