//! Usage that is reported as events, after the fact: each is charged once for ever, however often it comes.
//!
//! An event is a settle debit, priced at the time it names. What names the event (tenant, source and id) is a unique row in
//! the transaction of its debit, so there is no idempotency key. An event that comes again is answered as the first time,
//! whatever else it says by then: events with the same source and id are one event.

use super::debit::{self, Parsed};
use crate::App;
use crate::ask::UsageEventAsk;
use crate::caller::{Caller, Scope};
use crate::engine::{Done, Job, Outcome, Route, known_event, stored_unit};
use crate::error::AppError;
use crate::names::Named;
use crate::parse;
use crate::view::Answered;
use purser_core::wallet::Owner;
use purser_core::{Command, Key, Movement, TenantNo};
use purser_store::{EntryText, KeyDigest};
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

/// Charges one event.
pub async fn record(app: &App, caller: &Caller, ask: UsageEventAsk) -> Result<Answered, AppError> {
    answer(app, queue(app, caller, &ask).await?).await
}

/// Charges up to 1,000 events; each stands alone, outcomes in the order of the asks.
pub async fn record_all(
    app: &App,
    caller: &Caller,
    asks: Vec<UsageEventAsk>,
) -> Vec<Result<Answered, AppError>> {
    make_users(app, caller, &asks).await;
    // All are queued before any is waited for, so that they share their transactions.
    let mut queued = Vec::with_capacity(asks.len());
    for ask in &asks {
        queued.push(queue(app, caller, ask).await);
    }
    let mut outcomes = Vec::with_capacity(queued.len());
    for item in queued {
        outcomes.push(match item {
            Ok(queued) => answer(app, queued).await,
            Err(error) => Err(error),
        });
    }
    outcomes
}

/// Makes the users that were never seen, all at once, so that they share a transaction: one after the other, a batch of strangers would
/// wait for as many. What is wrong is found when each event has its turn.
async fn make_users(app: &App, caller: &Caller, asks: &[UsageEventAsk]) {
    let stranger = |ask: &UsageEventAsk| {
        let whose = &ask.debit.whose;
        let named = app.named(caller, whose.tenant.as_deref(), &whose.user).ok()?;
        if app.known_tenant(&named).is_some() {
            return None;
        }
        let parsed = debit::parse(app, caller, &ask.debit).ok()?;
        parse::in_window(parsed.occurred_at, app.now()).ok()?;
        Some(((named.tenant.clone(), named.user.clone()), named))
    };
    let strangers: BTreeMap<(Option<Key>, Key), Named> = asks.iter().filter_map(stranger).collect();
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

async fn queue(app: &App, caller: &Caller, ask: &UsageEventAsk) -> Result<Queued, AppError> {
    caller.require(Scope::Write)?;
    name("/source", &ask.source)?;
    name("/id", &ask.id)?;
    let parsed = debit::parse(app, caller, &ask.debit)?;
    if let Err(error) = parse::in_window(parsed.occurred_at, app.now()) {
        // It may have come in time before.
        let Some((tenant, _)) = app.find_user(&parsed.named).await? else { return Err(error) };
        let before = recorded_before(app, tenant, event_of(tenant, ask)).await?.ok_or(error)?;
        return Ok(Queued { parsed, outcome: debit::answered(Ok(before)) });
    }
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

fn event_of(tenant: TenantNo, ask: &UsageEventAsk) -> KeyDigest {
    KeyDigest::of_event(tenant, &ask.source, &ask.id)
}

fn name(pointer: &str, text: &str) -> Result<(), AppError> {
    if text.is_empty() {
        return Err(parse::field(pointer, "required", "an event has a source and an id"));
    }
    parse::text(pointer, text, NAME_MAX)
}

/// What was made of an event that would not be taken any more.
async fn recorded_before(app: &App, tenant: TenantNo, event: KeyDigest) -> Result<Option<Done>, AppError> {
    // Rows of wallets are the writer's; this is rare enough to ask there.
    let asked = move |batch: &mut purser_store::Batch<'_>| {
        known_event(batch, tenant, event, |key| stored_unit(batch, key)).map(|known| (known, false))
    };
    app.inner.engine.change(asked).await
}
