//! `POST /v1/usage_events`: usage after the fact as CloudEvents, single or in batches. How events lie in requests is in
//! `http/cloudevents.rs`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use purser_app::App;
use purser_app::ask::UsageEventAsk;
use purser_app::caller::Caller;
use purser_app::error::AppError;
use purser_app::usecase::usage_event;
use purser_app::view::Answered;
use purser_core::WalletKey;
use purser_core::id::Prefix;
use purser_core::receipt::Detail;
use serde::Serialize;
use utoipa::ToSchema;

use super::debits::{shown, unexpected};
use super::refusals::OfQuestions;
use crate::http::cloudevents::{EventIn, EventRequest, Events, Places, Read, UsageIn};
use crate::http::edge::REQUEST_ID;
use crate::http::extract::Writer;
use crate::http::incoming::measured_at;
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::{Problem, ProblemOut, unit_in};
use crate::http::reply::Reply;

/// An event that was charged. It is answered the same however often it comes, so no balance is told, which is told of a debit.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageEvent)]
pub struct EventOut {
    /// The debit that was made of it.
    id: IdOut,
    /// The entry that booked it.
    entry_id: IdOut,
    /// The tenant that paid; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// Who consumed; null once erased.
    #[schema(required)]
    user: Option<String>,
    /// The wallet that paid.
    wallet_id: IdOut,
    /// The action.
    #[schema(required)]
    action: Option<String>,
    /// How much of the action, where it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quantity: Option<AmountOut>,
    /// How much by measure, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dimensions: Option<BTreeMap<String, AmountOut>>,
    /// What it cost.
    amount: AmountOut,
    /// The code of the unit it was paid in.
    unit: String,
    /// The price version.
    #[schema(required)]
    price_id: Option<IdOut>,
    /// When it was booked.
    created_at: TimeOut,
}

impl EventOut {
    fn new(answered: &Answered) -> Result<EventOut, Problem> {
        let (receipt, names) = (&answered.receipt, &answered.names);
        let Detail::Debit { charge } = &receipt.detail else {
            return Err(unexpected("debit", &receipt.detail));
        };
        let (quantity, dimensions) = shown(&charge.usage);
        let text = |key: &Option<purser_core::Key>| key.as_ref().map(ToString::to_string);
        Ok(EventOut {
            id: IdOut::new(Prefix::Debit, receipt.tenant, receipt.id),
            entry_id: IdOut::new(Prefix::Entry, receipt.tenant, receipt.entry),
            tenant: text(&names.tenant),
            user: text(&names.user),
            wallet_id: IdOut::wallet(WalletKey { tenant: receipt.tenant, id: receipt.wallet }),
            action: text(&names.action),
            quantity,
            dimensions,
            amount: AmountOut::of(&receipt.unit, receipt.amount),
            unit: receipt.unit.code.to_string(),
            price_id: charge.price.map(IdOut::price),
            created_at: TimeOut(receipt.recorded_at),
        })
    }
}

/// The outcomes of a batch, in the order of its events.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageEventResults)]
pub struct EventsOut {
    /// One for each event.
    results: Vec<EventResultOut>,
}

/// What became of one event of a batch.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageEventResult)]
pub struct EventResultOut {
    /// What would have been answered to the event alone.
    status: u16,
    /// Whether it was charged before.
    replayed: bool,
    /// The debit, if one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    debit: Option<EventOut>,
    /// Why none was. Pointers start at the whole body: `/7/data/quantity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<ProblemOut>,
}

/// Charges usage that is reported as CloudEvents 1.0
///
/// Work already done: never refused for lack of credit, priced at the event's `time`. An event is named by its `source` and `id` and
/// charged once for ever: one that comes again is answered as before, with `Idempotent-Replayed: true`, whatever else it says.
/// One event (`application/cloudevents+json`), a batch of at most 1,000 (`application/cloudevents-batch+json`), of which each is
/// answered for itself, or one whose attributes are headers and whose data is the body.
#[utoipa::path(post, path = "/v1/usage_events", tag = "usage_events", operation_id = "record_usage_events",
    request_body(content(
        (EventIn = "application/cloudevents+json"),
        (Vec<EventIn> = "application/cloudevents-batch+json"),
        (UsageIn = "application/json"))),
    params(
        ("ce-specversion" = Option<String>, Header, description = "Binary mode: `1.0`"),
        ("ce-id" = Option<String>, Header, description = "Binary mode: names the event among those of its source"),
        ("ce-source" = Option<String>, Header, description = "Binary mode: who made it"),
        ("ce-type" = Option<String>, Header, description = "Binary mode: the action, unless the data names it"),
        ("ce-subject" = Option<String>, Header, description = "Binary mode: the user who consumed"),
        ("ce-tenant" = Option<String>, Header, description = "Binary mode: the tenant that pays"),
        ("ce-time" = Option<String>, Header, description = "Binary mode: when the work happened")),
    responses(
        (status = 201, description = "The event is charged", body = EventOut),
        (status = 200, description = "One outcome for each event of the batch", body = EventsOut),
        OfQuestions))]
pub async fn record(
    Writer(caller): Writer,
    State(app): State<App>,
    headers: HeaderMap,
    request: EventRequest,
) -> Result<Response, Problem> {
    match request.events()? {
        Events::One(read) => {
            let (ask, places) = *read;
            let measured = measured_at(&ask.debit.measure);
            let answered = usage_event::record(&app, &caller, ask).await;
            let answered = answered.map_err(|error| located(error, places, measured))?;
            Ok(Reply::created(EventOut::new(&answered)?).replayed(answered.replayed).into_response())
        }
        Events::Many(read) => {
            let request_id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
            let unit_of = unit_in(&app);
            let outcomes = charge_all(&app, &caller, read).await.into_iter();
            let results = outcomes.map(|outcome| match outcome {
                Ok((debit, replayed)) => {
                    EventResultOut { status: 201, replayed, debit: Some(debit), problem: None }
                }
                Err(problem) => {
                    problem.log(request_id);
                    let document = problem.document(request_id, &unit_of);
                    let status = problem.status.as_u16();
                    EventResultOut { status, replayed: false, debit: None, problem: Some(document) }
                }
            });
            Ok(Reply::ok(EventsOut { results: results.collect() }).into_response())
        }
    }
}

/// Charges the events that could be read; outcomes in the order of all of them.
async fn charge_all(
    app: &App,
    caller: &Caller,
    read: Vec<Result<Read, Problem>>,
) -> Vec<Result<(EventOut, bool), Problem>> {
    let mut asks: Vec<UsageEventAsk> = Vec::with_capacity(read.len());
    let mut kept = Vec::with_capacity(read.len());
    for event in read {
        kept.push(event.map(|(ask, places)| {
            let measured = measured_at(&ask.debit.measure);
            asks.push(ask);
            (places, measured)
        }));
    }
    let mut outcomes = usage_event::record_all(app, caller, asks).await.into_iter();
    let mut results = Vec::with_capacity(kept.len());
    for (index, event) in kept.into_iter().enumerate() {
        results.push(match event {
            Err(problem) => Err(problem),
            Ok((places, measured)) => {
                let outcome = outcomes.next().expect("an outcome for each event that was read");
                let answered =
                    outcome.map_err(|error| located(error, places, measured).below(&format!("/{index}")));
                answered.and_then(|answered| Ok((EventOut::new(&answered)?, answered.replayed)))
            }
        });
    }
    results
}

/// A refusal of the use case, pointing at the event as it was sent.
fn located(error: AppError, places: Places, measured: &str) -> Problem {
    places.locate(Problem::from(error).locate("/unit", measured))
}
