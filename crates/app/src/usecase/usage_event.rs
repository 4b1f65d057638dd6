//! Usage that is reported as events, after the fact: each is charged once for ever, however often it comes.
//!
//! An event is a settle debit, priced at the time it names. What names the event (tenant, source and id) is a unique row in
//! the transaction of its debit, so there is no idempotency key. An event that comes again is answered as the first time,
//! whatever else it says by then: events with the same source and id are one event.

use super::debit::{self, Parsed};
use crate::App;
use crate::ask::UsageEventAsk;
use crate::caller::{Caller, Scope};
use crate::engine::{Done, Job, Outcome, Route};
use crate::error::AppError;
use crate::names::Named;
use crate::parse;
use crate::view::Answered;
use purser_core::receipt::Receipt;
use purser_core::wallet::Owner;
use purser_core::{Command, Entry, Key, Movement, TenantNo};
use purser_store::{EntryText, KeyDigest, Reader, StoreError};
use std::collections::BTreeMap;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The longest source and id of an event, in characters.
pub const NAME_MAX: usize = 1_024;

/// An event in the queue.
struct Queued {
    parsed: Parsed,
    outcome: oneshot::Receiver<Outcome>,
}

/// An event that is not charged.
struct Refused {
    error: Box<AppError>,
    /// Whose it is, where the refusal is none if it was charged before: it is answered as then.
    unless_known: Option<Named>,
}

impl From<AppError> for Refused {
    fn from(error: AppError) -> Refused {
        Refused { error: Box::new(error), unless_known: None }
    }
}

/// Charges one event.
pub async fn record(app: &App, caller: &Caller, ask: UsageEventAsk) -> Result<Answered, AppError> {
    record_all(app, caller, vec![ask]).await.pop().expect("one outcome for one ask")
}

/// Charges up to 1,000 events; each stands alone, outcomes in the order of the asks.
pub async fn record_all(
    app: &App,
    caller: &Caller,
    asks: Vec<UsageEventAsk>,
) -> Vec<Result<Answered, AppError>> {
    let checked: Vec<_> = asks.iter().map(|ask| check(app, caller, ask)).collect();
    make_users(app, &checked).await;
    // All are queued before any is waited for, so that they share their transactions.
    let mut queued = Vec::with_capacity(asks.len());
    for (ask, checked) in asks.iter().zip(checked) {
        queued.push(match checked {
            Ok(parsed) => queue(app, caller, ask, parsed).await.map_err(Refused::from),
            Err(refused) => Err(refused),
        });
    }
    let mut outcomes = Vec::with_capacity(queued.len());
    for item in queued {
        outcomes.push(match item {
            Ok(queued) => answer(app, queued).await.map_err(Refused::from),
            Err(refused) => Err(refused),
        });
    }
    // Last, so that what this batch charged is known.
    look_back(app, &asks, outcomes).await
}

/// What is wrong with an event as it was sent.
fn check(app: &App, caller: &Caller, ask: &UsageEventAsk) -> Result<Parsed, Refused> {
    caller.require(Scope::Write)?;
    name("/source", &ask.source)?;
    name("/id", &ask.id)?;
    let whose = &ask.debit.whose;
    let named = app.named(caller, whose.tenant.as_deref(), &whose.user)?;
    let parsed = debit::parse(app, caller, &ask.debit)
        .and_then(|parsed| parse::in_window(parsed.occurred_at, app.now()).map(|()| parsed));
    parsed.map_err(|error| {
        let unless_known = is_well_formed(&error).then_some(named);
        Refused { error: Box::new(error), unless_known }
    })
}

/// Whether an event is refused for its time or for what it names and is not there: it may have come in time before, and while that was
/// there.
fn is_well_formed(error: &AppError) -> bool {
    match error {
        AppError::Invalid(fields) => {
            fields.iter().all(|field| matches!(field.code, "out_of_range" | "unknown_unit"))
        }
        _ => true,
    }
}

/// Makes the users that were never seen, all at once, so that they share a transaction: one after the other, a batch of strangers would
/// wait for as many. None is made for an event that is refused as it was sent.
async fn make_users(app: &App, checked: &[Result<Parsed, Refused>]) {
    let named = checked.iter().flatten().map(|parsed| &parsed.named);
    let strangers: BTreeMap<(Option<Key>, Key), Named> = named
        .filter(|named| app.known_tenant(named).is_none())
        .map(|named| ((named.tenant.clone(), named.user.clone()), named.clone()))
        .collect();
    let mut made = JoinSet::new();
    for named in strangers.into_values() {
        let app = app.clone();
        made.spawn(async move { app.ensure_user(&named).await.map(drop) });
    }
    // One that was not made is asked for once more with its event, which is answered why not.
    while made.join_next().await.is_some() {}
}

async fn answer(app: &App, queued: Queued) -> Result<Answered, AppError> {
    let Queued { parsed, outcome } = queued;
    let outcome = outcome.await.unwrap_or_else(|_| Err(crate::engine::unavailable("shutting_down", 1)));
    // One that came before may have named another user and action.
    let first = matches!(&outcome, Ok(Done { replayed: false, .. }));
    app.named_answer(outcome, first.then(|| debit::names_of(&parsed))).await
}

async fn queue(app: &App, caller: &Caller, ask: &UsageEventAsk, parsed: Parsed) -> Result<Queued, AppError> {
    let (tenant, user) = app.ensure_user(&parsed.named).await?;
    let text = app.text(&ask.debit.remarks)?;
    let command = Command {
        id: app.inner.ids.id(),
        tenant,
        user: Some(user),
        actor: caller.actor(),
        occurred_at: parsed.occurred_at,
        text_digest: text.as_ref().map(EntryText::digest),
        movement: Movement::Debit(debit::debit_of(&parsed, true, None)),
    };
    let (route, queued_at) = (Route::Action(Owner::User(user)), app.inner.engine.monotonic());
    let event = Some(event_of(tenant, ask));
    let outcome = app.inner.engine.submit(Job { command, route, key: None, event, text, queued_at })?;
    Ok(Queued { parsed, outcome })
}

/// Answers the events that would be refused now and were charged before: all are looked up in one snapshot, which no writer
/// waits for.
async fn look_back(
    app: &App,
    asks: &[UsageEventAsk],
    outcomes: Vec<Result<Answered, Refused>>,
) -> Vec<Result<Answered, AppError>> {
    let wanted: Vec<_> = asks.iter().zip(&outcomes).map(|(ask, outcome)| wanted(ask, outcome)).collect();
    if wanted.iter().all(Option::is_none) {
        return outcomes.into_iter().map(|outcome| outcome.map_err(|refused| *refused.error)).collect();
    }
    let found = app.read(move |reader| {
        let find =
            |wanted: Option<(Named, String, String)>| wanted.map_or(Ok(None), |it| charged(reader, it));
        wanted.into_iter().map(find).collect::<Result<Vec<_>, StoreError>>()
    });
    let found = match found.await {
        Ok(found) => found,
        Err(error) => return unanswered(outcomes, &error),
    };
    let mut answers = Vec::with_capacity(outcomes.len());
    for (outcome, entry) in outcomes.into_iter().zip(found) {
        answers.push(match (outcome, entry) {
            (Ok(answered), _) => Ok(answered),
            (Err(refused), None) => Err(*refused.error),
            (Err(_), Some(entry)) => as_before(app, &entry).await,
        });
    }
    answers
}

/// What names an event that may have been charged before.
fn wanted(ask: &UsageEventAsk, outcome: &Result<Answered, Refused>) -> Option<(Named, String, String)> {
    let named = outcome.as_ref().err()?.unless_known.as_ref()?;
    Some((named.clone(), ask.source.clone(), ask.id.clone()))
}

/// The entry of the debit that was made of an event.
fn charged(
    reader: &Reader<'_>,
    (named, source, id): (Named, String, String),
) -> Result<Option<Entry>, StoreError> {
    let tenant = match &named.tenant {
        Some(key) => reader.resolve_tenant(key)?,
        None => reader.resolve_user(None, &named.user)?.map(|(tenant, _)| tenant),
    };
    let find = |tenant| reader.debit_of_event(tenant, KeyDigest::of_event(tenant, &source, &id));
    tenant.map_or(Ok(None), find)
}

async fn as_before(app: &App, entry: &Entry) -> Result<Answered, AppError> {
    let unit = app.unit_of_wallet(entry.wallet).await?;
    let receipt = Receipt::of_debit(entry, unit);
    let receipt = receipt.ok_or_else(|| AppError::Fault("the debit of an event cannot be read".into()))?;
    app.named_answer(Ok(Done { receipt, replayed: true }), None).await
}

/// Nobody knows of the events that would have been looked up: they are to be sent again.
fn unanswered(outcomes: Vec<Result<Answered, Refused>>, error: &AppError) -> Vec<Result<Answered, AppError>> {
    tracing::warn!(%error, "events that may be known were not looked up");
    let unknown = |refused: Refused| match refused.unless_known {
        Some(_) => crate::engine::unavailable("store_unavailable", 1),
        None => *refused.error,
    };
    outcomes.into_iter().map(|outcome| outcome.map_err(unknown)).collect()
}

fn event_of(tenant: TenantNo, ask: &UsageEventAsk) -> KeyDigest {
    KeyDigest::of_event(tenant, &ask.source, &ask.id)
}

fn name(pointer: &str, text: &str) -> Result<(), AppError> {
    if text.is_empty() {
        return Err(parse::field(pointer, "required", "an event has a source and an id"));
    }
    parse::text(pointer, text, NAME_MAX)
}
