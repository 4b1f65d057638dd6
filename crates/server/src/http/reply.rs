//! Successful answers: a status and a struct, written once into one buffer.
//!
//! Refusals and faults are [`super::problem::Problem`]s and never come here.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Says that a movement was made before, under the same key, and not again.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Most answers fit; a longer one grows.
const CAPACITY: usize = 1024;

/// A successful answer.
pub struct Reply<T> {
    status: StatusCode,
    body: T,
    replayed: bool,
}

impl<T> Reply<T> {
    /// 200.
    pub fn ok(body: T) -> Reply<T> {
        Reply { status: StatusCode::OK, body, replayed: false }
    }

    /// 201.
    pub fn created(body: T) -> Reply<T> {
        Reply { status: StatusCode::CREATED, body, replayed: false }
    }

    /// Marks the answer to a key that was used before.
    pub fn replayed(self, replayed: bool) -> Reply<T> {
        Reply { replayed, ..self }
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        let mut buffer = Vec::with_capacity(CAPACITY);
        serde_json::to_writer(&mut buffer, &self.body).expect("strings, numbers and maps of them serialise");
        let mut response = Response::new(axum::body::Body::from(buffer));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}
