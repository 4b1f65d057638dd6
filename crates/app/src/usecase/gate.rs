//! The gate: may this request to somebody's product pass, and what does it cost? Asked by a proxy in front of it.
//!
//! The proxy names each request; under that name it is charged once, however often nginx asks about it while it redirects
//! inside itself. A while later the same name is refused: a client that learns an old one gets nothing for it.

use super::debit;
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
use std::sync::Arc;

/// How long a request that was charged passes again, in microseconds.
const REPLAY: i64 = 60 * SECOND;
/// The shortest name of a request, in bytes: a shorter one is soon used again by chance.
const REQUEST_ID_MIN: usize = 16;
/// The longest.
const REQUEST_ID_MAX: usize = 64;
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
    if passage.uri.len() > URI_MAX {
        return Err(AppError::Gate(Refusal::Unreadable(Unreadable::Path)));
    }
    let found = app.config().gate_rule(passage.host, passage.uri, passage.method);
    let Some(rule) = found.map_err(|what| AppError::Gate(Refusal::Unreadable(what)))? else {
        return Ok(Passed::Free(None));
    };
    let charging = match &rule.effect {
        Effect::Free => return Ok(Passed::Free(Some(rule))),
        Effect::Deny => return Err(AppError::Gate(Refusal::Denied)),
        Effect::Charge(charging) => charging,
    };
    let (ask, key) = debit_of(&rule.key, charging, passage)?;
    match debit::at_the_gate(app, caller, ask, key).await {
        Ok(answered) if answered.replayed && app.now().0 - answered.receipt.recorded_at.0 > REPLAY => {
            Err(AppError::Gate(Refusal::Repeated))
        }
        Ok(answered) => Ok(Passed::Charged(rule, Box::new(answered))),
        Err(AppError::Unavailable { reason, .. }) if charging.open => Ok(Passed::Unpaid(rule, reason)),
        Err(error) => Err(error),
    }
}

/// The debit of a request, and the key under which it is made once.
fn debit_of(
    rule: &Key,
    charging: &Charging,
    passage: &Passage<'_>,
) -> Result<(DebitAsk, Idempotency), AppError> {
    let request_id = passage.request_id.ok_or(AppError::Gate(Refusal::NoRequestId))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(REQUEST_ID_MIN..=REQUEST_ID_MAX).contains(&request_id.len()) || !request_id.bytes().all(plain) {
        let detail = "16 to 64 letters, digits and - _ . such as nginx's $request_id";
        return Err(field("X-Purser-Request-Id", "malformed", detail));
    }
    let said = (passage.header)(&charging.user_header).filter(|said| !said.is_empty());
    let said = said.ok_or(AppError::Gate(Refusal::NoUser))?;
    let user = match charging.user_is {
        UserIs::Key => said,
        UserIs::Credential => user_of_credential(&said),
    };
    let tenant = match &charging.tenant {
        TenantFrom::Personal => None,
        TenantFrom::Fixed(key) => Some(key.to_string()),
        TenantFrom::Header(name) => {
            let said = (passage.header)(name).filter(|said| !said.is_empty());
            Some(said.ok_or_else(|| field(name, "required", "the rule takes the tenant from this header"))?)
        }
    };
    for (header, key) in
        [(Some(&charging.user_header), Some(&user)), (tenant_header(charging), tenant.as_ref())]
    {
        if let (Some(header), Some(key)) = (header, key)
            && Key::parse(key).is_none()
        {
            return Err(field(
                header,
                "invalid_key",
                "1-128 printable ASCII characters without space / \\ ? # % \" < >",
            ));
        }
    }
    let content = Content::default()
        .option(tenant.as_ref().map(String::as_bytes))
        .part(user.as_bytes())
        .part(passage.host.as_bytes())
        .part(passage.method.as_bytes())
        .part(passage.uri.as_bytes());
    let request = *blake3::hash(content.bytes()).as_bytes();
    let key = Idempotency { key: format!("gate {rule} {request_id}"), request };
    let path = passage.uri.split('?').next().unwrap_or_default();
    let path = &path[..path.floor_char_boundary(PATH_KEPT)];
    let metadata = serde_json::json!({ "gate": rule.as_str(), "method": passage.method, "path": path });
    let ask = DebitAsk {
        whose: Whose { tenant, user },
        action: charging.action.to_string(),
        measure: Measure {
            quantity: Some(render_decimal(charging.quantity.0, Quantity::DECIMALS)),
            ..Measure::default()
        },
        unit: None,
        wallet_id: None,
        settle: false,
        occurred_at: None,
        quote: None,
        return_url: None,
        remarks: Remarks {
            reference: Some(request_id.to_string()),
            metadata: Some(metadata.to_string()),
            reason: None,
        },
    };
    Ok((ask, key))
}

fn tenant_header(charging: &Charging) -> Option<&String> {
    match &charging.tenant {
        TenantFrom::Header(name) => Some(name),
        TenantFrom::Personal | TenantFrom::Fixed(_) => None,
    }
}

/// What a user is called that only its credential tells of: a scheme in front of it (`Bearer`, `Basic`) does not count.
fn user_of_credential(said: &str) -> String {
    let secret = said.split_once(' ').map_or(said, |(_, rest)| rest).trim();
    let digest = blake3::hash(secret.as_bytes()).to_hex();
    format!("key_{}", &digest[..32])
}
