//! CloudEvents 1.0 over HTTP, as they come in: one event or a batch of them in the body (structured), or one whose attributes are
//! headers and whose data is the body (binary).
//!
//! What is wrong is pointed at where it stands: in the body, or by the name of a header. Attributes that nothing here knows are
//! extensions of others, and are let pass; the data is ours, and strict. What an event means is judged by the use case.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use purser_app::ask::{DebitAsk, Remarks, UsageEventAsk, Whose};
use serde::Deserialize;
use serde::de::IgnoredAny;
use utoipa::ToSchema;

use super::api::debits::compact;
use super::body::{self, BATCH_BODY_MAX, BODY_MAX};
use super::incoming::{DecimalIn, DimensionsIn, KeyIn, MetadataIn, Owned, TextIn, TimeIn, measure};
use super::object::Strict;
use super::problem::Problem;
use super::query::Params;

/// The media type of one event.
pub const EVENT_JSON: &str = "application/cloudevents+json";
/// The media type of a batch.
pub const BATCH_JSON: &str = "application/cloudevents-batch+json";
/// The most events of one batch.
pub const BATCH_MAX: usize = 1_000;
/// What headers begin with that carry attributes.
const PREFIX: &str = "ce-";

/// One event as CloudEvents writes it in JSON. Attributes that are not listed are extensions, which are let pass.
#[derive(Deserialize, ToSchema)]
#[schema(as = UsageEventIn)]
pub struct EventIn<'a> {
    /// `1.0`.
    #[serde(borrow)]
    #[schema(value_type = String, pattern = "^1\\.0$")]
    specversion: TextIn<'a, 16>,
    /// Names the event among those of its source.
    #[serde(borrow)]
    #[schema(value_type = String, min_length = 1, max_length = 1024)]
    id: TextIn<'a, 1024>,
    /// Who made it. Source and id together are charged once, for ever.
    #[serde(borrow)]
    #[schema(value_type = String, min_length = 1, max_length = 1024)]
    source: TextIn<'a, 1024>,
    /// The action, unless the data names it.
    #[serde(borrow, rename = "type")]
    kind: TextIn<'a, 1024>,
    /// The user who consumed.
    #[serde(borrow)]
    subject: KeyIn<'a>,
    /// The tenant that pays, an extension attribute; the user's personal one unless said.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// When the work happened, which selects the price; when it arrived unless said. At most 5 minutes ahead and 31 days back.
    #[serde(borrow, default)]
    time: Option<TimeIn<'a>>,
    /// The media type of the data: JSON, which it is unless said.
    #[serde(borrow, default)]
    datacontenttype: Option<TextIn<'a, 256>>,
    /// What was consumed: one of the action unless said.
    #[serde(borrow, default)]
    #[schema(value_type = Option<UsageIn<'a>>)]
    data: Option<Strict<UsageIn<'a>>>,
    /// Bytes are no usage.
    #[serde(default)]
    #[schema(ignore)]
    data_base64: Option<IgnoredAny>,
}

/// The data of a usage event.
#[derive(Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
#[schema(as = UsageData)]
pub struct UsageIn<'a> {
    /// The action; the event's type unless said.
    #[serde(borrow, default)]
    action: Option<KeyIn<'a>>,
    /// How much of it; one unless said.
    #[serde(borrow, default)]
    quantity: Option<DecimalIn<'a>>,
    /// How much by measure, for actions priced per dimension.
    #[serde(borrow, default)]
    dimensions: Option<DimensionsIn<'a>>,
    /// Pay in this unit only.
    #[serde(borrow, default)]
    unit: Option<KeyIn<'a>>,
    /// Your own reference; statements can be searched for it.
    #[serde(borrow, default)]
    reference: Option<TextIn<'a, 255>>,
    /// Anything of your own.
    #[serde(borrow, default)]
    metadata: Option<MetadataIn<'a>>,
}

/// Where the parts of an event stand, for pointing at them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Places {
    binary: bool,
    /// Whether the data names the action, rather than the type.
    action_in_data: bool,
}

/// An event that can be read, and where its parts stand.
pub type Read = (UsageEventAsk, Places);

/// The request of a call that takes events, read but not understood yet.
pub struct EventRequest {
    headers: HeaderMap,
    body: Bytes,
    mode: Mode,
}

/// How events are laid into a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Single,
    Batch,
    Binary,
}

/// What a request carries.
pub enum Events {
    /// One event, which the request stands and falls with.
    One(Box<Read>),
    /// Events that stand for themselves.
    Many(Vec<Result<Read, Problem>>),
}

impl<S: Sync> FromRequest<S> for EventRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<EventRequest, Problem> {
        let (parts, stream) = request.into_parts();
        Params::read(parts.uri.query())?.finish()?;
        let mode = mode(&parts.headers)?;
        body::require_plain(&parts.headers)?;
        let max = if mode == Mode::Batch { BATCH_BODY_MAX } else { BODY_MAX };
        let body = body::read(&parts.headers, stream, max).await?;
        Ok(EventRequest { headers: parts.headers, body, mode })
    }
}

impl EventRequest {
    /// The events that it carries.
    pub fn events(&self) -> Result<Events, Problem> {
        match self.mode {
            Mode::Single => structured(&self.body).map(|read| Events::One(Box::new(read))),
            Mode::Binary => binary(&self.headers, &self.body).map(|read| Events::One(Box::new(read))),
            Mode::Batch => {
                let elements = body::elements(&self.body, BATCH_MAX)?.into_iter().enumerate();
                let read = elements.map(|(index, element)| {
                    structured(element.get().as_bytes())
                        .map_err(|problem| problem.below(&format!("/{index}")))
                });
                Ok(Events::Many(read.collect()))
            }
        }
    }
}

impl Places {
    /// The same problem, which the use case found, pointing at the event as it was sent.
    pub fn locate(self, problem: Problem) -> Problem {
        problem.pointing(|pointer| {
            let place = match pointer.as_str() {
                "/user" => "/subject".to_string(),
                "/occurred_at" => "/time".to_string(),
                "/action" if !self.action_in_data => "/type".to_string(),
                "/tenant" | "/source" | "/id" => pointer.clone(),
                of_data => format!("/data{of_data}"),
            };
            *pointer = match (self.binary, place.strip_prefix("/data")) {
                (false, _) => place,
                (true, Some(of_data)) => of_data.to_string(),
                (true, None) => place.replacen('/', PREFIX, 1),
            };
        })
    }
}

fn media_type(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn mode(headers: &HeaderMap) -> Result<Mode, Problem> {
    let media_type = media_type(headers);
    if media_type.eq_ignore_ascii_case(EVENT_JSON.as_bytes()) {
        return Ok(Mode::Single);
    }
    if media_type.eq_ignore_ascii_case(BATCH_JSON.as_bytes()) {
        return Ok(Mode::Batch);
    }
    let is_binary = headers.keys().any(|name| name.as_str().starts_with(PREFIX));
    if is_binary && (media_type.is_empty() || is_json(media_type)) {
        return Ok(Mode::Binary);
    }
    Err(body::unsupported(
        "The body has to be application/cloudevents+json or application/cloudevents-batch+json, or JSON beside attributes \
         in headers such as ce-id.",
    ))
}

/// Whether a media type without parameters is JSON, or something that is written in JSON.
fn is_json(media_type: &[u8]) -> bool {
    let lower = media_type.to_ascii_lowercase();
    [&b"application/json"[..], b"text/json"].contains(&&lower[..])
        || (lower.ends_with(b"+json") && !lower.starts_with(b"application/cloudevents"))
}

/// One event that is a JSON object.
fn structured(bytes: &[u8]) -> Result<Read, Problem> {
    let event: EventIn<'_> = body::parse(bytes)?;
    require_version(&event.specversion.0, "/specversion")?;
    if event.data_base64.is_some() {
        return Err(Problem::field("/data_base64", "unsupported", "usage is JSON: give it as data"));
    }
    if let Some(kind) = &event.datacontenttype {
        let media_type = kind.0.split(';').next().unwrap_or_default().trim();
        if !is_json(media_type.as_bytes()) {
            return Err(Problem::field("/datacontenttype", "unsupported", "usage is JSON"));
        }
    }
    let attributes = Attributes {
        id: event.id.0.into_owned(),
        source: event.source.0.into_owned(),
        kind: event.kind.0.into_owned(),
        subject: event.subject.0.into_owned(),
        tenant: event.tenant.owned(),
        time: event.time.owned(),
    };
    attributes.with(event.data.map(|Strict(data)| data).unwrap_or_default(), false)
}

/// One event whose attributes are headers.
fn binary(headers: &HeaderMap, body: &[u8]) -> Result<Read, Problem> {
    let required = |name: &str| {
        attribute(headers, name)?
            .ok_or_else(|| Problem::field(format!("{PREFIX}{name}"), "required", "the header is required"))
    };
    require_version(&required("specversion")?, "ce-specversion")?;
    let attributes = Attributes {
        id: required("id")?,
        source: required("source")?,
        kind: required("type")?,
        subject: required("subject")?,
        tenant: attribute(headers, "tenant")?,
        time: attribute(headers, "time")?,
    };
    let data = if body.trim_ascii().is_empty() { UsageIn::default() } else { body::parse(body)? };
    attributes.with(data, true)
}

/// The attributes of an event that are used.
struct Attributes {
    id: String,
    source: String,
    kind: String,
    subject: String,
    tenant: Option<String>,
    time: Option<String>,
}

impl Attributes {
    fn with(self, data: UsageIn<'_>, binary: bool) -> Result<Read, Problem> {
        let places = Places { binary, action_in_data: data.action.is_some() };
        let metadata = compact(data.metadata).map_err(|problem| places.locate(problem))?;
        let debit = DebitAsk {
            whose: Whose { tenant: self.tenant, user: self.subject },
            action: data.action.owned().unwrap_or(self.kind),
            measure: measure(data.quantity, data.dimensions, None),
            unit: data.unit.owned(),
            wallet_id: None,
            settle: true,
            occurred_at: self.time,
            quote: None,
            return_url: None,
            remarks: Remarks { reference: data.reference.owned(), metadata, reason: None },
        };
        Ok((UsageEventAsk { source: self.source, id: self.id, debit }, places))
    }
}

fn require_version(found: &str, pointer: &str) -> Result<(), Problem> {
    match found {
        "1.0" => Ok(()),
        _ => Err(Problem::field(pointer, "unsupported", "CloudEvents of version 1.0 are taken")),
    }
}

/// The value of an attribute in its header, if it is there.
fn attribute(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let name = format!("{PREFIX}{name}");
    let mut values = headers.get_all(&name).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::field(name, "duplicate_field", "the header is given twice"));
    }
    match String::from_utf8(decoded(&unquoted(value.as_bytes()))) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Problem::field(name, "malformed", "not percent-encoded UTF-8")),
    }
}

/// The text inside of quotation marks, where a value stands in them, without the backslashes before its characters.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inside) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return value.to_vec();
    };
    let mut text = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        text.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    text
}

/// Percent-decoded once. A percent sign that begins nothing is one: senders that encode nothing mean it so.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        let pair = match (first, after) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        match pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => bytes.push(*first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_unquoted_and_decoded_once() {
        let read = |text: &str| String::from_utf8(decoded(&unquoted(text.as_bytes()))).expect("text");
        assert_eq!(read("plain/value"), "plain/value");
        assert_eq!(read("Euro%20%E2%82%AC"), "Euro €");
        assert_eq!(read("%2541"), "%41");
        assert_eq!(read("100%"), "100%");
        assert_eq!(read("%zz%4"), "%zz%4");
        assert_eq!(read("\"a \\\"b\\\" c\""), "a \"b\" c");
        assert_eq!(read("\""), "\"");
    }

    #[test]
    fn problems_point_at_the_event_as_it_was_sent() {
        let at = |pointer: &str, binary, action_in_data| {
            let problem = Problem::field(pointer, "required", "x");
            let document = Places { binary, action_in_data }.locate(problem).document("r", |_| None);
            let document = serde_json::to_value(&document).expect("it serialises");
            document["errors"][0]["pointer"].as_str().expect("a pointer").to_string()
        };
        assert_eq!(at("/user", false, false), "/subject");
        assert_eq!(at("/user", true, false), "ce-subject");
        assert_eq!(at("/action", false, false), "/type");
        assert_eq!(at("/action", true, true), "/action");
        assert_eq!(at("/action", false, true), "/data/action");
        assert_eq!(at("/occurred_at", true, false), "ce-time");
        assert_eq!(at("/dimensions/a", false, false), "/data/dimensions/a");
        assert_eq!(at("/dimensions/a", true, false), "/dimensions/a");
        assert_eq!(at("", false, false), "/data");
        assert_eq!(at("", true, false), "");
    }

    #[test]
    fn the_mode_follows_from_the_headers() {
        let of = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a value"));
            }
            mode(&headers).ok()
        };
        assert!(of(&[("content-type", "application/CloudEvents+json; charset=UTF-8")]) == Some(Mode::Single));
        assert!(of(&[("content-type", BATCH_JSON), ("ce-id", "1")]) == Some(Mode::Batch));
        assert!(of(&[("content-type", "application/json"), ("ce-id", "1")]) == Some(Mode::Binary));
        assert!(of(&[("content-type", "application/vnd.x+json"), ("ce-id", "1")]) == Some(Mode::Binary));
        assert!(of(&[("ce-id", "1")]) == Some(Mode::Binary));
        assert!(of(&[("content-type", "application/json")]).is_none());
        assert!(of(&[("content-type", "application/cloudevents+avro"), ("ce-id", "1")]).is_none());
        assert!(of(&[("content-type", "application/xml"), ("ce-id", "1")]).is_none());
    }
}
