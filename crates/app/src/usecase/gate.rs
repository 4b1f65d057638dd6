//! The gate: may this request to somebody's product pass, and what does it cost? Asked by a proxy in front of it.
//!
//! The proxy names each request; under that name it is charged once, however often nginx asks about it while it redirects
//! inside itself. A while later the same name is refused: a client that learns an old one gets nothing for it.

pub mod outcome;

use super::debit::{self, Once};
use crate::App;
use crate::ask::{DebitAsk, Idempotency, Measure, Remarks, Whose};
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::field;
use crate::signed::Content;
use crate::view::Answered;
use purser_core::amount::render_decimal;
use purser_core::gate::{Charging, Effect, Refusal, Rule, TenantFrom, Unreadable, UserIs};
use purser_core::time::SECOND;
use purser_core::{Key, Quantity};
use serde_json::json;
use std::sync::Arc;

/// How long a request that was charged passes again, in microseconds.
const REPLAY: i64 = 60 * SECOND;
/// The shortest name of a request, in bytes: a shorter one is soon used again by chance.
const REQUEST_ID_MIN: usize = 16;
/// The longest.
const REQUEST_ID_MAX: usize = 64;
/// What a proxy gives as the name that cannot name requests, and asks once for each: every ask is a request of its own.
const ONCE: &str = "once";
/// The longest address that is looked at, query included, in bytes.
const URI_MAX: usize = 16_384;
/// The longest path that is kept beside a debit, in bytes.
const PATH_KEPT: usize = 512;

/// A request at the gate, as the proxy tells of it.
pub struct Passage<'a> {
    /// The host it was sent to.
    pub host: &'a str,
    /// Its method.
    pub method: &'a str,
    /// Its path and query, as the client wrote them.
    pub uri: &'a str,
    /// The proxy's name for it.
    pub request_id: Option<&'a str>,
    /// The headers that the proxy sets, by name in lower case.
    pub header: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

/// How a request passes.
#[derive(Debug)]
pub enum Passed {
    /// It costs nothing; by this rule, or because there is none for it.
    Free(Option<Arc<Rule>>),
    /// It was charged.
    Charged(Arc<Rule>, Box<Answered>),
    /// The ledger could not be asked, and the rule lets it pass then: it is not paid for.
    Unpaid(Arc<Rule>, &'static str),
}

/// Lets a request pass, and charges it where its rule says so.
///
/// # Errors
/// It does not pass: by its rule, because it cannot be read or named, or because the ledger refuses the debit.
pub async fn pass(app: &App, caller: &Caller, passage: &Passage<'_>) -> Result<Passed, AppError> {
    caller.require(Scope::Gate)?;
    let Some(rule) = find(app, passage.host, passage.uri, passage.method)? else {
        return Ok(Passed::Free(None));
    };
    let charging = match &rule.effect {
        Effect::Free => return Ok(Passed::Free(Some(rule))),
        Effect::Deny => return Err(AppError::Gate(Refusal::Denied)),
        Effect::Charge(charging) => charging,
    };
    let (ask, once) = debit_of(app, &rule.key, charging, passage)?;
    match debit::at_the_gate(app, caller, ask, &once).await {
        Ok(answered) if answered.replayed && app.now().0 - answered.receipt.recorded_at.0 > REPLAY => {
            Err(AppError::Gate(Refusal::Repeated))
        }
        Ok(answered) => Ok(Passed::Charged(rule, Box::new(answered))),
        Err(AppError::Unavailable { reason, .. }) if charging.open => Ok(Passed::Unpaid(rule, reason)),
        Err(error) => Err(error),
    }
}

/// The rule that a request falls under.
fn find(app: &App, host: &str, uri: &str, method: &str) -> Result<Option<Arc<Rule>>, AppError> {
    let unreadable = |what| AppError::Gate(Refusal::Unreadable(what));
    if uri.len() > URI_MAX {
        return Err(unreadable(Unreadable::Path));
    }
    app.config().gate_rule(host, uri, method).map_err(unreadable)
}

/// The debit of a request, and what it is made once under. Neither has anything of the rule, which may be another one when a late
/// charge is made.
fn debit_of(
    app: &App,
    rule: &Key,
    charging: &Charging,
    passage: &Passage<'_>,
) -> Result<(DebitAsk, Once), AppError> {
    let request_id = request_id(app, passage)?;
    let whose = whose(charging, passage)?;
    let content = Content::default()
        .option(whose.tenant.as_ref().map(String::as_bytes))
        .part(whose.user.as_bytes())
        .part(passage.host.as_bytes())
        .part(passage.method.as_bytes())
        .part(passage.uri.as_bytes());
    let request = *blake3::hash(content.bytes()).as_bytes();
    let sent = Content::default()
        .part(passage.host.as_bytes())
        .part(passage.method.as_bytes())
        .part(passage.uri.as_bytes());
    let event = format!("{request_id} {}", blake3::hash(sent.bytes()).to_hex());
    let once = Once { key: Idempotency { key: format!("gate {request_id}"), request }, event };
    let path = passage.uri.split('?').next().unwrap_or_default();
    let path = &path[..path.floor_char_boundary(PATH_KEPT)];
    let metadata = json!({ "gate": rule.as_str(), "method": passage.method, "path": path });
    let quantity = render_decimal(charging.quantity.0, Quantity::DECIMALS);
    let ask = DebitAsk {
        whose,
        action: charging.action.to_string(),
        measure: Measure { quantity: Some(quantity), ..Measure::default() },
        unit: None,
        wallet_id: None,
        settle: false,
        occurred_at: None,
        quote: None,
        return_url: None,
        remarks: Remarks { reference: Some(request_id), metadata: Some(metadata.to_string()), reason: None },
    };
    Ok((ask, once))
}

/// The proxy's name for the request.
fn request_id(app: &App, passage: &Passage<'_>) -> Result<String, AppError> {
    let said = passage.request_id.ok_or(AppError::Gate(Refusal::NoRequestId))?;
    if said == ONCE {
        return Ok(format!("{:032x}", app.inner.ids.id().0));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(REQUEST_ID_MIN..=REQUEST_ID_MAX).contains(&said.len()) || !said.bytes().all(plain) {
        let detail = "16 to 64 letters, digits and - _ . such as nginx's $request_id";
        return Err(field("X-Purser-Request-Id", "malformed", detail));
    }
    Ok(said.to_string())
}

/// Who pays, by the headers that the rule names.
fn whose(charging: &Charging, passage: &Passage<'_>) -> Result<Whose, AppError> {
    let said = |name: &str| (passage.header)(name).filter(|said| !said.is_empty());
    let keyed = |name: &str, key: String| {
        let detail = "1-128 printable ASCII characters without space / \\ ? # % \" < >";
        if Key::parse(&key).is_some() { Ok(key) } else { Err(field(name, "invalid_key", detail)) }
    };
    let header = &charging.user_header;
    let user = said(header).ok_or(AppError::Gate(Refusal::NoUser))?;
    let user = match charging.user_is {
        UserIs::Key => keyed(header, user)?,
        UserIs::Credential => user_of_credential(&user),
    };
    let tenant = match &charging.tenant {
        TenantFrom::Personal => None,
        TenantFrom::Fixed(key) => Some(key.to_string()),
        TenantFrom::Header(name) => {
            let missing = || field(name, "required", "the rule takes the tenant from this header");
            Some(keyed(name, said(name).ok_or_else(missing)?)?)
        }
    };
    Ok(Whose { tenant, user })
}

/// What a user is called that only its credential tells of: a scheme in front of it (`Bearer`, `Basic`) does not count.
fn user_of_credential(said: &str) -> String {
    let secret = said.split_once(' ').map_or(said, |(_, rest)| rest).trim();
    let digest = blake3::hash(secret.as_bytes()).to_hex();
    format!("key_{}", &digest[..32])
}
