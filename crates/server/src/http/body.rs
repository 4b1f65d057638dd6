//! Reading JSON bodies strictly: every field is known, every type is right, and what is wrong is named by a pointer.
//!
//! A good body is parsed once, into structs that borrow from it. Only a bad one is parsed a second time, with the path
//! tracked, to say where it is bad: the price of a good message is paid by the request that needs it. Nothing here
//! knows what a field means. Read next: `incoming.rs`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use purser_app::error::FieldError;
use serde::Deserialize;
use serde::de::Error;
use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment, Track};

use super::object;
use super::problem::Problem;

/// The longest body of a single call.
pub const BODY_MAX: usize = 1 << 20;
/// The longest body of a batch.
pub const BATCH_BODY_MAX: usize = 2 << 20;
/// How much of a body that is refused for its length is read and thrown away, so that the client gets the answer
/// instead of a broken connection.
const DRAIN_MAX: usize = 64 << 20;
/// The longest body that fits into what a connection buffers.
const SHORT_MAX: u64 = 16 << 10;
/// How long a body may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// Parts a stable code from the sentence in messages of our own deserializers.
const MARK: char = '\u{1f}';

/// An error of a deserializer of ours, with a stable code of its own.
pub(super) fn coded<E: Error>(code: &'static str, detail: &str) -> E {
    E::custom(format_args!("{code}{MARK}{detail}"))
}

/// The codes that `coded` is called with.
const OWN_CODES: [&str; 3] = [FRACTION, "duplicate_field", "too_many"];
/// The code of numbers that have been through a float.
pub(super) const FRACTION: &str = "fraction_as_number";
/// What to do instead.
pub(super) const FRACTION_DETAIL: &str =
    "fractions and very large numbers are given as strings, such as \"12.5\"";

/// Reads the whole body, at most `max` bytes of it.
pub async fn read(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, Problem> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max as u64) {
        // Whoever asked before sending has not sent anything that would be in the way.
        if !headers.contains_key(header::EXPECT) {
            drain(body).await;
        }
        return Err(too_large(max));
    }
    match tokio::time::timeout(ARRIVAL_MAX, collect(body, max)).await {
        Ok(collected) => collected,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The body did not arrive within 30 seconds.",
        )),
    }
}

async fn collect(mut body: Body, max: usize) -> Result<Bytes, Problem> {
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "The body broke off before its end.")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() + whole.len() + first.as_ref().map_or(0, Bytes::len) > max {
            drain(body).await;
            return Err(too_large(max));
        }
        // Nearly every body is one frame, which needs no copy.
        match first.take() {
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(before) => {
                whole.extend_from_slice(&before);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// The request with a body that is read to its end even when it is refused before anybody looked at it: a client that
/// writes everything before it reads would otherwise find a broken connection instead of the answer. Short bodies, which
/// the system takes in by itself, are left as they are.
pub fn read_to_its_end(request: Request) -> Request {
    let headers = request.headers();
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let long = length.map_or(headers.contains_key(header::TRANSFER_ENCODING), |length| length > SHORT_MAX);
    // Whoever asked before sending has not sent anything that would be in the way.
    if !long || headers.contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| Body::new(ToItsEnd { body, ended: false }))
}

struct ToItsEnd {
    body: Body,
    ended: bool,
}

impl HttpBody for ToItsEnd {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.ended |= matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ToItsEnd {
    fn drop(&mut self) {
        if !self.ended
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(drain(std::mem::take(&mut self.body)));
        }
    }
}

async fn drain(mut body: Body) {
    let reading = async {
        let mut left = DRAIN_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // Whether it all came or not, the answer is the same.
    let _ = tokio::time::timeout(ARRIVAL_MAX, reading).await;
}

fn too_large(max: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("The body is longer than {} MiB.", max >> 20),
    )
}

/// Refuses bodies that do not say they are JSON.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err(unsupported("The body has to be JSON, with Content-Type: application/json."));
    }
    require_plain(headers)
}

/// Refuses bodies that are compressed.
pub fn require_plain(headers: &HeaderMap) -> Result<(), Problem> {
    let encoded = headers.get_all(header::CONTENT_ENCODING).into_iter();
    if encoded.map(|value| value.as_bytes()).any(|value| !value.eq_ignore_ascii_case(b"identity")) {
        return Err(unsupported("The body has to come as it is, without Content-Encoding."));
    }
    Ok(())
}

/// 415: the body is of a kind that the call does not take.
pub fn unsupported(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

/// Parses a body, which is an object.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = object::read(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| explain::<T>(bytes, &error))
}

/// Parses a body that is an array into the texts of its elements, at most `max` of them.
pub fn elements(bytes: &[u8], max: usize) -> Result<Vec<&RawValue>, Problem> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(malformed(&format!("byte {} is not UTF-8", error.valid_up_to() + 1)));
    }
    let elements: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(|error| match error.is_data() {
        true => Problem::field("", "wrong_type", "an array is expected"),
        false => malformed(&error.to_string()),
    })?;
    if elements.len() > max {
        return Err(Problem::field("", "too_many", format!("at most {max} elements")));
    }
    Ok(elements)
}

/// Parses once more to find the place that is wrong.
#[cold]
fn explain<'a, T: Deserialize<'a>>(bytes: &'a [u8], found: &serde_json::Error) -> Problem {
    if let Err(error) = std::str::from_utf8(bytes) {
        return malformed(&format!("byte {} is not UTF-8", error.valid_up_to() + 1));
    }
    let mut track = Track::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let Err(error) = object::read::<T, _>(tracked) else { return malformed(&found.to_string()) };
    let path = track.path();
    if error.is_data() {
        return Problem::invalid(vec![field_error(&path, &error)]);
    }
    // Two things are mistakes of syntax to the parser and none to the grammar: a number in the place of a name
    // (`"mode": 1`), and one that no float can hold (`1e999`).
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(_) => Problem::field(pointer_to(&path), "wrong_type", "a value of another type is expected"),
        Err(error) if error.to_string().starts_with("number out of range") => {
            Problem::field(pointer_to(&path), FRACTION, FRACTION_DETAIL)
        }
        Err(error) => malformed(&error.to_string()),
    }
}

fn malformed(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("The body is not JSON: {why}."))
}

fn field_error(path: &Path, error: &serde_json::Error) -> FieldError {
    let mut pointer = pointer_to(path);
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    if let Some((code, detail)) = message.split_once(MARK) {
        let code = OWN_CODES.into_iter().find(|known| *known == code).expect("a code that we gave");
        return FieldError { pointer, code, detail: detail.to_string() };
    }
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        push_segment(&mut pointer, name);
        return FieldError { pointer, code: "required", detail: "the field is required".to_string() };
    }
    if let Some(name) = message.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
        push_segment(&mut pointer, name);
        return FieldError {
            pointer,
            code: "duplicate_field",
            detail: "the field is given twice".to_string(),
        };
    }
    let codes = [
        ("unknown field", "unknown_field"),
        ("unknown variant", "unknown_value"),
        ("invalid type", "wrong_type"),
        ("invalid value", "out_of_range"),
        ("invalid length", "out_of_range"),
    ];
    let code =
        codes.iter().find(|(start, _)| message.starts_with(start)).map_or("malformed", |(_, code)| code);
    FieldError { pointer, code, detail: shortened(&plain(message)) }
}

/// What serde says, without the names that only Rust has.
fn plain(message: &str) -> String {
    if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
    {
        return format!("{} is expected, not {}", json_name(expected), json_name(found));
    }
    if let Some((found, _)) =
        message.strip_prefix("invalid value: ").and_then(|rest| rest.rsplit_once(", expected "))
    {
        return format!("{found} is out of range");
    }
    message
        .strip_prefix("unknown variant ")
        .map_or_else(|| message.to_string(), |rest| format!("unknown value {rest}"))
}

fn json_name(name: &str) -> &str {
    match name {
        "u8" | "u16" | "u32" | "u64" | "i32" | "i64" => "a whole number",
        "sequence" | "a sequence" => "an array",
        "map" | "a map" => "an object",
        name if name.starts_with("struct ") => "an object",
        name => name,
    }
}

/// Without the middle of what a client sent too much of: an answer does not carry the request back.
fn shortened(detail: &str) -> String {
    const ENDS: usize = 300;
    let count = detail.chars().count();
    if count <= 2 * ENDS {
        return detail.to_string();
    }
    let head: String = detail.chars().take(ENDS).collect();
    let tail: String = detail.chars().skip(count - ENDS).collect();
    format!("{head}…{tail}")
}

fn pointer_to(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => push_segment(&mut pointer, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn push_segment(pointer: &mut String, name: &str) {
    pointer.push('/');
    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
}
