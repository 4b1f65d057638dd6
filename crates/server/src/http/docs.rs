//! The API document: its frame, `/openapi.json`, and a page that makes it browsable without the internet.
//!
//! What the document says of each call stands beside the call's handler. The committed `openapi.json` is printed by
//! `purser openapi`; a test fails when it is stale.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use purser_app::App;
use std::sync::Arc;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa::{IntoParams, ToSchema};

use super::problem::{Problem, ProblemOut};

/// The header of calls that move credits.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only documents the header that `Movement` reads")]
pub struct IdempotencyKey {
    /// New for each movement: 1-255 printable ASCII characters, best a UUIDv7. Repeating a call with the same key and
    /// content answers the same and moves nothing; other content under the same key is refused.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")]
    key: String,
}

/// Title, version and security; the routes bring the rest.
pub fn frame() -> OpenApi {
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0"));
    let info = InfoBuilder::new()
        .title("Purser")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .contact(Some(ContactBuilder::new().name(Some("The operators of this service")).build()))
        .license(Some(license.build()));
    let requirement = SecurityRequirement::new("bearer", Vec::<String>::new());
    OpenApiBuilder::new().info(info.build()).security(Some([requirement])).build()
}

const ABOUT: &str = "Prepaid credits: grants, debits, holds, balances and prices. Amounts are decimal strings in whole \
    units; times are RFC 3339 in UTC; errors are problem documents (RFC 9457) with a stable `code`.";

/// Adds what no single route brings: the scheme of the keys, and the problem document.
pub fn finished(mut api: OpenApi) -> OpenApi {
    let components = api.components.get_or_insert_default();
    let scheme =
        SecurityScheme::Http(Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("psk_…").build());
    components.add_security_scheme("bearer", scheme);
    let mut schemas = Vec::new();
    <ProblemOut as ToSchema>::schemas(&mut schemas);
    schemas.push((ProblemOut::name().into_owned(), <ProblemOut as utoipa::PartialSchema>::schema()));
    components.schemas.extend(schemas);
    api
}

/// The document as it is committed and served.
pub fn text(api: &OpenApi) -> String {
    let mut text = api.to_pretty_json().expect("a document of strings, numbers and maps");
    text.push('\n');
    text
}

/// `/openapi.json` and `/docs`.
pub fn pages(api: &OpenApi) -> Router<App> {
    let document = Bytes::from(text(api));
    let browser = utoipa_swagger_ui::Config::from("/openapi.json").try_it_out_enabled(true);
    // Else the page asks a validator on the internet about every document that is not served on the loopback interface.
    let browser = Arc::new(browser.validator_url("none"));
    Router::new()
        .route("/openapi.json", get(async move || ([(header::CONTENT_TYPE, "application/json")], document)))
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route(
            "/docs/",
            get({
                let browser = browser.clone();
                async move || asset("index.html", browser)
            }),
        )
        .route("/docs/{*file}", get(async move |Path(file): Path<String>| asset(&file, browser)))
}

/// Scripts only from here; the page's own library sets styles inline, and draws its icons from data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn asset(file: &str, browser: Arc<utoipa_swagger_ui::Config<'static>>) -> Result<Response, Problem> {
    let found = utoipa_swagger_ui::serve(file, browser);
    let found = found.map_err(|error| Problem::fault(format!("the docs page's {file}: {error}")))?;
    let found = found.ok_or_else(super::router::route_not_found)?;
    let kind = HeaderValue::from_str(&found.content_type);
    let kind = kind.map_err(|_| Problem::fault(format!("the docs page's {file} has an odd media type")))?;
    let mut response = (StatusCode::OK, found.bytes.into_owned()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
