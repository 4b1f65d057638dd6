//! What became of requests that passed the gate.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::GateOutcomeAsk;
use purser_app::usecase::gate::outcome::{self, Told};
use purser_core::Id;
use purser_core::id::Prefix;
use purser_core::receipt::Detail;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refusals::OfMovements;
use crate::http::extract::{JsonBody, Proxy};
use crate::http::incoming::{KeyIn, Owned, TextIn, TimeIn};
use crate::http::outgoing::{AmountOut, IdOut};
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// What became of a request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GateOutcomeRequest)]
pub struct OutcomeIn<'a> {
    /// The proxy's name for the request, as it gave it to the gate.
    #[serde(borrow)]
    request_id: TextIn<'a, 64>,
    /// The host it was sent to.
    #[serde(borrow)]
    host: TextIn<'a, 260>,
    /// Its method.
    #[serde(borrow)]
    method: TextIn<'a, 32>,
    /// Its path and query, as the client wrote them.
    #[serde(borrow)]
    uri: TextIn<'a, 16384>,
    /// What the proxy gave the gate in the header that names the user.
    #[serde(borrow, default)]
    user: Option<TextIn<'a, 2048>>,
    /// What it gave in the header that names the tenant.
    #[serde(borrow, default)]
    tenant: Option<TextIn<'a, 128>>,
    /// The status that the client got.
    #[schema(minimum = 100, maximum = 599)]
    status: u16,
    /// The debit that the gate answered; none where the request passed unpaid.
    #[serde(borrow, default)]
    debit: Option<KeyIn<'a>>,
    /// When it was; now unless said.
    #[serde(borrow, default)]
    occurred_at: Option<TimeIn<'a>>,
}

/// What was done about it.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = GateOutcomeDone)]
pub enum DoneOut {
    /// It was paid and served, or costs nothing, or was neither paid nor served.
    Nothing,
    /// It failed, and what was paid is given back.
    Refunded,
    /// It was served unpaid, and is charged now.
    Settled,
}

/// What was done about a request.
#[derive(Serialize, ToSchema)]
#[schema(as = GateOutcome)]
pub struct OutcomeOut {
    /// What was done.
    done: DoneOut,
    /// The debit that was given back or made.
    #[schema(required)]
    debit_id: Option<IdOut>,
    /// How much was given back or charged.
    #[schema(required)]
    amount: Option<AmountOut>,
    /// The unit of the amount.
    #[schema(required)]
    unit: Option<String>,
}

impl OutcomeOut {
    fn new(told: &Told) -> OutcomeOut {
        let (done, answered) = match told {
            Told::Nothing => {
                return OutcomeOut { done: DoneOut::Nothing, debit_id: None, amount: None, unit: None };
            }
            Told::Refunded(answered) => (DoneOut::Refunded, answered),
            Told::Settled(answered) => (DoneOut::Settled, answered),
        };
        let receipt = &answered.receipt;
        let debit: Id = match &receipt.detail {
            Detail::Refund { debit, .. } => *debit,
            _ => receipt.id,
        };
        OutcomeOut {
            done,
            debit_id: Some(IdOut::new(Prefix::Debit, receipt.tenant, debit)),
            amount: Some(AmountOut::of(&receipt.unit, receipt.amount)),
            unit: Some(receipt.unit.code.to_string()),
        }
    }
}

/// Tells what became of a request that passed the gate
///
/// What the gate charged and was answered with 500 or more is given back; what passed unpaid and was answered below 400 is charged,
/// into debt if need be. Telling it again changes nothing, so it needs no idempotency key. Not for what the gate let pass free.
#[utoipa::path(post, path = "/v1/gate/outcomes", tag = "gate", operation_id = "tell_gate_outcome",
    request_body = OutcomeIn,
    responses((status = 200, description = "What was done about it", body = OutcomeOut), OfMovements))]
pub async fn tell(
    Proxy(caller): Proxy,
    State(app): State<App>,
    body: JsonBody,
) -> Result<Reply<OutcomeOut>, Problem> {
    let request = body.parse::<OutcomeIn<'_>>()?;
    let ask = GateOutcomeAsk {
        request_id: request.request_id.0.into_owned(),
        host: request.host.0.into_owned(),
        method: request.method.0.into_owned(),
        uri: request.uri.0.into_owned(),
        user: request.user.owned(),
        tenant: request.tenant.owned(),
        status: request.status,
        debit: request.debit.owned().filter(|debit| !debit.is_empty()),
        occurred_at: request.occurred_at.owned(),
    };
    Ok(Reply::ok(OutcomeOut::new(&outcome::tell(&app, &caller, &ask).await?)))
}
