//! What became of a request that passed the gate, told by the proxy once it knows: what failed in the product is given back,
//! what passed unpaid is charged after all.
//!
//! Telling it twice changes nothing: a refund has the debit as its key, and a late charge the key that the charge at the gate had.

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
    match &ask.debit {
        None if ask.status < SERVED => settle(app, caller, ask).await,
        None => Ok(Told::Nothing),
        Some(debit) if ask.status >= FAILED => refund(app, caller, debit, ask.status).await,
        // Only its shape is looked at: nothing is done about it.
        Some(debit) => parse::id(caller, Prefix::Debit, debit, "debit").map(|_| Told::Nothing),
    }
}

async fn refund(app: &App, caller: &Caller, debit: &str, status: u16) -> Result<Told, AppError> {
    let request = *blake3::hash(debit.as_bytes()).as_bytes();
    let key = Idempotency { key: format!("gate refund {debit}"), request };
    let reason = format!("the product answered {status}");
    match debit::give_back_at_the_gate(app, caller, debit, reason, key).await {
        Ok(answered) => Ok(Told::Refunded(Box::new(answered))),
        // Somebody gave it back before.
        Err(AppError::Rejected(Rejection::RefundExceedsDebit { .. })) => Ok(Told::Nothing),
        Err(error) => Err(error),
    }
}

async fn settle(app: &App, caller: &Caller, ask: &GateOutcomeAsk) -> Result<Told, AppError> {
    let Some(rule) = super::find(app, &ask.host, &ask.uri, &ask.method)? else { return Ok(Told::Nothing) };
    let Effect::Charge(charging) = &rule.effect else { return Ok(Told::Nothing) };
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
    let (charge, key) = debit_of(app, &rule.key, charging, &passage)?;
    let charge = DebitAsk { settle: true, occurred_at: ask.occurred_at.clone(), ..charge };
    let answered = debit::at_the_gate(app, caller, charge, key).await?;
    Ok(Told::Settled(Box::new(answered)))
}
