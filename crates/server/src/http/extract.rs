//! What handlers take as arguments: who calls, the key of a movement, a strict body, query and path.
//!
//! Rights are argument types: a handler that takes a [`Writer`] or a [`Movement`] cannot be reached without the scope.
//! They come first, so that 401, 429 and 403 are decided before anything about the request's shape. Everything here
//! refuses with a [`Problem`]; the strings are judged by the use cases.

use std::future::Future;

use axum::RequestPartsExt;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use bytes::Bytes;
use purser_app::App;
use purser_app::ask::Idempotency;
use purser_app::caller::{Caller, Scope};
use purser_app::error::AppError;
use serde::Deserialize;

use super::body::{self, BODY_MAX};
use super::problem::Problem;
use super::query::{FromQuery, Params};

/// Names a call, so that repeating it moves nothing twice.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest idempotency key.
pub const IDEMPOTENCY_KEY_MAX: usize = 255;

/// A caller who may read.
pub struct Reader(pub Caller);

/// A caller who may move credits and change the catalogue.
pub struct Writer(pub Caller);

/// A proxy that asks at the gate.
pub struct Proxy(pub Caller);

/// A strict JSON body of at most `MAX` bytes.
pub struct JsonBody<const MAX: usize = BODY_MAX>(pub Bytes);

/// The same beside query parameters, which another argument takes.
pub struct QueriedBody<const MAX: usize = BODY_MAX>(Bytes);

/// A call that moves credits: a caller who may, the key, and the body.
pub struct Movement {
    /// Who calls.
    pub caller: Caller,
    /// The key, with the digest of method, path and body.
    pub idempotency: Idempotency,
    body: Bytes,
}

/// The variable part of a path.
pub struct PathText(pub String);

/// Strict query parameters.
pub struct Query<T>(pub T);

/// No query parameters at all.
pub struct NoQuery;

/// No query parameters, and no body or an empty object: a call that is told nothing does not overlook what it is told.
pub struct Nothing;

/// What such a body may hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// The bearer token, if the header is there and well formed.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn caller(parts: &Parts, app: &App, scope: Scope) -> Result<Caller, Problem> {
    let token = bearer(&parts.headers).ok_or(AppError::Unauthenticated)?;
    let caller = app.authenticate(token).await?;
    app.admit(&caller).await?;
    caller.require(scope)?;
    Ok(caller)
}

impl FromRequestParts<App> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Reader, Problem> {
        caller(parts, app, Scope::Read).await.map(Reader)
    }
}

impl FromRequestParts<App> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Writer, Problem> {
        caller(parts, app, Scope::Write).await.map(Writer)
    }
}

impl FromRequestParts<App> for Proxy {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Proxy, Problem> {
        caller(parts, app, Scope::Gate).await.map(Proxy)
    }
}

impl<const MAX: usize> JsonBody<MAX> {
    /// The body as a struct that borrows from it.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        body::parse(&self.0)
    }
}

impl<const MAX: usize, S: Sync> FromRequest<S> for JsonBody<MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<JsonBody<MAX>, Problem> {
        let (parts, stream) = request.into_parts();
        Params::read(parts.uri.query())?.finish()?;
        body::require_json(&parts.headers)?;
        Ok(JsonBody(body::read(&parts.headers, stream, MAX).await?))
    }
}

impl<const MAX: usize> QueriedBody<MAX> {
    /// The body as a struct that borrows from it.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        body::parse(&self.0)
    }
}

impl<const MAX: usize, S: Sync> FromRequest<S> for QueriedBody<MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<QueriedBody<MAX>, Problem> {
        let (parts, stream) = request.into_parts();
        body::require_json(&parts.headers)?;
        Ok(QueriedBody(body::read(&parts.headers, stream, MAX).await?))
    }
}

impl Movement {
    /// The body as a struct that borrows from it.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        body::parse(&self.body)
    }

    /// The body of a call that may come without one.
    pub fn parse_or_default<'a, T: Deserialize<'a> + Default>(&'a self) -> Result<T, Problem> {
        if self.body.is_empty() || self.body.trim_ascii() == b"null" {
            Ok(T::default())
        } else {
            self.parse()
        }
    }

    /// The parts that `parse` does not borrow from.
    pub fn into_parts(self) -> (Caller, Idempotency) {
        (self.caller, self.idempotency)
    }
}

impl FromRequest<App> for Movement {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Movement, Problem> {
        let (parts, stream) = request.into_parts();
        let caller = caller(&parts, app, Scope::Write).await?;
        let (idempotency, body) = keyed_body(parts, stream).await?;
        Ok(Movement { caller, idempotency, body })
    }
}

/// Key and body of a movement. The body may be empty; whether that is enough is the handler's to say.
pub async fn keyed_body(parts: Parts, stream: axum::body::Body) -> Result<(Idempotency, Bytes), Problem> {
    Params::read(parts.uri.query())?.finish()?;
    let mut keys = parts.headers.get_all(IDEMPOTENCY_KEY).into_iter();
    let key = keys.next().ok_or_else(key_missing)?.as_bytes();
    if keys.next().is_some() {
        return Err(Problem::field(IDEMPOTENCY_HEADER, "duplicate_field", "the header is given twice"));
    }
    let key = sound_key(key).ok_or_else(|| key_unsound(IDEMPOTENCY_HEADER))?.to_string();
    let length = parts.headers.get(header::CONTENT_LENGTH).map(|value| value.as_bytes());
    let empty =
        length.map_or(!parts.headers.contains_key(header::TRANSFER_ENCODING), |length| length == b"0");
    if !empty {
        body::require_json(&parts.headers)?;
    }
    let body = body::read(&parts.headers, stream, BODY_MAX).await?;
    let request = digest(&parts.method, &parts.uri, &body);
    Ok((Idempotency { key, request }, body))
}

/// How the header is named in problems.
const IDEMPOTENCY_HEADER: &str = "Idempotency-Key";

fn key_missing() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "idempotency_key_required",
        "Calls that move credits need the header Idempotency-Key: any text that is new for each movement, best a UUIDv7.",
    )
}

/// 422 for a key that cannot be one.
pub fn key_unsound(pointer: impl Into<String>) -> Problem {
    Problem::field(pointer, "malformed", "an idempotency key is 1-255 printable ASCII characters")
}

/// The key as text, when it is 1-255 printable ASCII characters.
pub fn sound_key(key: &[u8]) -> Option<&str> {
    let printable = |byte: &u8| (0x20..0x7f).contains(byte);
    let sound = (1..=IDEMPOTENCY_KEY_MAX).contains(&key.len()) && key.iter().all(printable);
    if sound { std::str::from_utf8(key).ok() } else { None }
}

/// What a key stands for: method, path and raw body, each ended so that none runs into the next.
fn digest(method: &Method, uri: &Uri, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(method.as_str().as_bytes()).update(b"\n");
    hasher.update(uri.path().as_bytes()).update(b"\n");
    *hasher.update(body).finalize().as_bytes()
}

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<PathText, Problem> {
        let path = parts.extract::<Path<String>>().await;
        // What does not decode to text names nothing.
        path.map(|Path(text)| PathText(text)).map_err(|_| super::router::route_not_found())
    }
}

impl<T: FromQuery, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Query<T>, Problem>> + Send {
        let read = || {
            let mut params = Params::read(parts.uri.query())?;
            let query = T::from_query(&mut params)?;
            params.finish()?;
            Ok(Query(query))
        };
        std::future::ready(read())
    }
}

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<NoQuery, Problem>> + Send {
        let read = || Params::read(parts.uri.query())?.finish().map(|()| NoQuery);
        std::future::ready(read())
    }
}

impl<S: Sync> FromRequest<S> for Nothing {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Nothing, Problem> {
        let (parts, stream) = request.into_parts();
        Params::read(parts.uri.query())?.finish()?;
        let body = body::read(&parts.headers, stream, BODY_MAX).await?;
        if !body.is_empty() {
            body::require_json(&parts.headers)?;
            let NoFields {} = body::parse(&body)?;
        }
        Ok(Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_read_from_its_header_alone() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header value"));
            bearer(&headers).map(str::to_string)
        };
        assert_eq!(with("Bearer psk_1"), Some("psk_1".to_string()));
        assert_eq!(with("bearer  psk_1 "), Some("psk_1".to_string()));
        assert_eq!(with("Basic psk_1"), None);
        assert_eq!(with("psk_1"), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn keys_are_printable_and_not_too_long() {
        assert_eq!(sound_key(b"a key, with space"), Some("a key, with space"));
        for bad in [&b""[..], b"\x07", "é".as_bytes(), &[b'x'; 256]] {
            assert_eq!(sound_key(bad), None);
        }
        assert!(sound_key(&[b'x'; 255]).is_some());
    }

    #[test]
    fn method_path_and_body_all_count_for_a_key() {
        let of =
            |method: Method, path: &'static str, body: &[u8]| digest(&method, &Uri::from_static(path), body);
        let first = of(Method::POST, "/v1/debits", b"{}");
        assert_eq!(first, of(Method::POST, "/v1/debits?x=1", b"{}"));
        assert_ne!(first, of(Method::PUT, "/v1/debits", b"{}"));
        assert_ne!(first, of(Method::POST, "/v1/holds", b"{}"));
        assert_ne!(first, of(Method::POST, "/v1/debits", b"{ }"));
    }
}
