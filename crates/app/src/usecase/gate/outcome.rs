//! What became of a request that passed the gate, told by the proxy once it knows: what failed in the product is given back,
//! what passed unpaid is charged after all.
//!
//! Telling it twice changes nothing: a refund has the debit as its key, and a late charge is the same fact as the charge at the gate.
//! A proxy's key gets about, so what it can do here is little: give back what it took for the very request, and charge what a rule
//! lets pass unpaid.

use super::{Passage, debit_of};
use crate::App;
use crate::ask::{DebitAsk, GateOutcomeAsk, Idempotency};
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, field};
use crate::usecase::debit;
use crate::view::Answered;
use purser_core::Rejection;
use purser_core::gate::Effect;
use purser_core::id::Prefix;

/// Statuses from here on are the product's fault.
const FAILED: u16 = 500;
/// Statuses below are what nobody gets whom the gate refused.
const SERVED: u16 = 400;

/// What was done about it.
#[derive(Debug)]
pub enum Told {
    /// Nothing: it was paid and served, or costs nothing, or was neither paid nor served.
    Nothing,
    /// It failed in the product, and what was paid is given back.
    Refunded(Box<Answered>),
    /// It was served unpaid, and is charged now, into debt if need be.
    Settled(Box<Answered>),
}

/// Makes good what the gate did not know when the request passed.
///
/// # Errors
/// The debit is none of this key's, or the outcome cannot be read.
pub async fn tell(app: &App, caller: &Caller, ask: &GateOutcomeAsk) -> Result<Told, AppError> {
    caller.require(Scope::Gate)?;
    if !(100..=599).contains(&ask.status) {
        return Err(field("/status", "out_of_range", "the status that the client got, from 100 to 599"));
    }
    if ask.request_id == super::ONCE {
        let detail = "such requests have no name that they could be told of by";
        return Err(field("/request_id", "not_allowed", detail));
    }
    match &ask.debit {
        None if ask.status < SERVED => settle(app, caller, ask).await,
        None => Ok(Told::Nothing),
        Some(debit) if ask.status >= FAILED => refund(app, caller, ask, debit).await,
        // Only its shape is looked at: nothing is done about it.
        Some(debit) => parse::id(caller, Prefix::Debit, debit, "debit").map(|_| Told::Nothing),
    }
}

async fn refund(app: &App, caller: &Caller, ask: &GateOutcomeAsk, debit: &str) -> Result<Told, AppError> {
    let request = *blake3::hash(debit.as_bytes()).as_bytes();
    let key = Idempotency { key: format!("gate refund {debit}"), request };
    let reason = format!("the product answered {}", ask.status);
    match debit::give_back_at_the_gate(app, caller, debit, &ask.request_id, reason, key).await {
        Ok(answered) => Ok(Told::Refunded(Box::new(answered))),
        // Somebody gave it back before.
        Err(AppError::Rejected(Rejection::RefundExceedsDebit { .. })) => Ok(Told::Nothing),
        Err(error) => Err(error),
    }
}

async fn settle(app: &App, caller: &Caller, ask: &GateOutcomeAsk) -> Result<Told, AppError> {
    let Some(rule) = super::find(app, &ask.host, &ask.uri, &ask.method)? else { return Ok(Told::Nothing) };
    let Effect::Charge(charging) = &rule.effect else { return Ok(Told::Nothing) };
    if !charging.open {
        let detail = "the rule of this request lets nothing pass unpaid (`fail` is `closed`)";
        return Err(field("/debit", "required", detail));
    }
    let occurred_at = parse::occurred_at(ask.occurred_at.as_deref(), app.now())?;
    if rule.changed_at > occurred_at {
        // Another rule was in force, which nobody remembers.
        let detail = "the rule of this request was made or changed after it";
        return Err(field("/occurred_at", "out_of_range", detail));
    }
    let header = |name: &str| {
        let is_user = name.eq_ignore_ascii_case(&charging.user_header);
        if is_user { ask.user.clone() } else { ask.tenant.clone() }
    };
    let passage = Passage {
        host: &ask.host,
        method: &ask.method,
        uri: &ask.uri,
        request_id: Some(&ask.request_id),
        header: &header,
    };
    let (charge, once) = debit_of(app, &rule.key, charging, &passage)?;
    let charge = DebitAsk { settle: true, occurred_at: ask.occurred_at.clone(), ..charge };
    let answered = debit::at_the_gate(app, caller, charge, &once).await?;
    Ok(Told::Settled(Box::new(answered)))
}
