//! Consumption: preflight, debit, batch, refund, reading back.

use super::{Order, require_reason};
use crate::App;
use crate::ask::{DebitAsk, Idempotency, RefundAsk, Remarks};
use crate::caller::{Caller, Scope};
use crate::engine::{Outcome, Route};
use crate::error::AppError;
use crate::link::check_return;
use crate::names::Named;
use crate::parse;
use crate::quote::Subject;
use crate::view::{Answered, DebitView, Names, Preflight, QuoteView};
use purser_core::catalogue::Action;
use purser_core::command::{Debit, Quote, Refund};
use purser_core::counter;
use purser_core::decide::{self, State};
use purser_core::entry::{EntryKind, Terms, Usage};
use purser_core::id::Prefix;
use purser_core::receipt::{Detail, Receipt};
use purser_core::wallet::Owner;
use purser_core::{
    Amount, Command, Entry, Key, Movement, Quantity, Rejection, TenantNo, Timestamp, UserNo, Wallet,
    WalletId, WalletKey,
};
use purser_store::{EntryText, KeyDigest};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A debit as far as it can be read without knowing the user's numbers.
pub(super) struct Parsed {
    pub(super) named: Named,
    action: Arc<Action>,
    usage: Usage,
    unit: Option<Key>,
    wallet: Option<(TenantNo, WalletId)>,
    pub(super) occurred_at: Timestamp,
    quote: Option<Quote>,
    return_url: Option<String>,
}

impl Parsed {
    /// What a quote for it is about.
    fn subject(&self) -> Subject<'_> {
        let promise = match &self.quote {
            Some(Quote::Promise(promise)) => Some(promise),
            _ => None,
        };
        Subject {
            named: &self.named,
            action: &self.action,
            usage: &self.usage,
            wallet: self.wallet,
            promise,
            return_url: self.return_url.as_deref(),
        }
    }
}

/// The source of requests at the gate among events. No event that is reported has an empty one, so none is taken for a request.
const GATE: &str = "";

/// What a request at the gate is charged once under.
pub(super) struct Once {
    /// For as long as keys are kept: tells the same request from another with its name.
    pub(super) key: Idempotency,
    /// For ever.
    pub(super) event: String,
}

/// A debit in the queue.
struct Queued {
    parsed: Parsed,
    tenant: TenantNo,
    settle: bool,
    outcome: oneshot::Receiver<Outcome>,
}

/// What a debit would do now; moves and makes nothing.
pub async fn preflight(app: &App, caller: &Caller, ask: DebitAsk) -> Result<Preflight, AppError> {
    caller.require(Scope::Read)?;
    let parsed = parse(app, caller, &ask)?;
    app.return_allowed(parsed.return_url.as_deref())?;
    let Imagined { decided, wallets, now } = imagine(app, caller, &parsed, ask.settle).await?;
    let offer = decided.as_ref().err().and_then(|rejection| app.offer(&parsed.subject(), rejection));
    let quote = match &decided {
        Ok(decision) => quote_of(app, &parsed, &decision.receipt),
        // With the quote, nothing is asked any more.
        Err(rejection) => app.confirming(&parsed.subject(), rejection),
    };
    let mut answer = outcome(decided, &wallets, now)?;
    (answer.quote, answer.topup_url) = match offer {
        Some(offer) => (offer.quote, Some(offer.topup_url)),
        None => (quote, None),
    };
    Ok(answer)
}

/// What would be decided.
struct Imagined {
    decided: Result<decide::Decision, Rejection>,
    /// The wallets that would be looked at, as they are at `now`.
    wallets: Vec<Wallet>,
    now: Timestamp,
}

/// Decides a debit without making it, on what can be read.
async fn imagine(app: &App, caller: &Caller, parsed: &Parsed, settle: bool) -> Result<Imagined, AppError> {
    // A user who was never seen has nothing; its wallets are looked at as if they were there, in its tenant if that is.
    let numbers = app.find_user(&parsed.named).await?;
    let (tenant, user) = match numbers {
        Some(numbers) => numbers,
        None => (app.find_tenant(&parsed.named).await?.unwrap_or(TenantNo(0)), UserNo(0)),
    };
    let config = app.config();
    let mut wallets = Vec::new();
    if let Some(id) = wallet_of(parsed, tenant)? {
        let found = app.wallet_now(WalletKey { tenant, id }).await?;
        let found = found.filter(|found| found.wallet.owner == Owner::User(user));
        wallets.push(found.ok_or(AppError::Rejected(Rejection::WalletNotFound))?.wallet);
    } else {
        for code in &parsed.action.units {
            let unit = config.catalogue.unit(code).ok_or(AppError::Rejected(Rejection::UnitMismatch))?;
            let key = WalletKey::derive(tenant, Owner::User(user), unit);
            let found = if numbers.is_some() { app.wallet_now(key).await? } else { None };
            wallets.push(
                found.map_or_else(
                    || Wallet::new(tenant, Owner::User(user), unit.clone()),
                    |found| found.wallet,
                ),
            );
        }
    }
    let recorded = wallets.iter().map(|wallet| wallet.recorded_at).max().unwrap_or_default();
    let now = app.now().max(recorded);
    let command = Command {
        id: app.inner.ids.id(),
        tenant,
        user: Some(user),
        actor: caller.actor(),
        occurred_at: parsed.occurred_at,
        text_digest: None,
        movement: Movement::Debit(debit_of(parsed, settle, None)),
    };
    let projected: Vec<Wallet> = wallets.iter().map(|wallet| decide::project(wallet, now)).collect();
    let standing = config.standing(tenant);
    let asked = counter::looked_at(&config.catalogue, &wallets, &command, now);
    let counters = match asked.is_empty() {
        true => Vec::new(),
        false => app.read(move |reader| reader.counters(&asked)).await?,
    };
    // As they are recorded: what is due in them is counted back by the decision that books it, here as for a debit.
    let mut state = State {
        catalogue: &config.catalogue,
        standing,
        confirm_above: config.asked_above(tenant, user),
        wallets,
        history: Vec::new(),
        counters,
    };
    let decided = decide::decide(&mut state, &command, now);
    Ok(Imagined { decided, wallets: projected, now })
}

/// The promise of what a debit would have cost just now.
fn quote_of(app: &App, parsed: &Parsed, receipt: &Receipt) -> Option<QuoteView> {
    let Detail::Debit { charge } = &receipt.detail else { return None };
    app.promise(&parsed.subject(), charge, &receipt.unit)
}

/// What the answer of a preflight says: of the wallet that would pay, or of the one that was asked first.
fn outcome(
    decided: Result<decide::Decision, Rejection>,
    wallets: &[Wallet],
    now: Timestamp,
) -> Result<Preflight, AppError> {
    let of = |wallet: &Wallet, cost: Amount, code: Option<&'static str>| {
        let balance = wallet.balance(now);
        let available_after = balance.available - cost;
        let missing = code.is_some() && available_after < Amount::ZERO;
        Preflight {
            allowed: code.is_none(),
            code,
            resets_at: None,
            cost,
            unit: wallet.unit.clone(),
            wallet: (wallet.seq > 0).then_some(wallet.key),
            balance,
            available_after,
            confirmation_required: false,
            shortfall: missing.then_some(-available_after),
            quote: None,
            topup_url: None,
        }
    };
    match decided {
        Ok(decision) => {
            let paying = wallets.iter().find(|wallet| wallet.key.id == decision.receipt.wallet);
            Ok(of(paying.expect("the paying wallet was among them"), decision.receipt.amount, None))
        }
        Err(Rejection::ConfirmationRequired { required, wallet, .. }) => {
            let paying = wallets.iter().find(|known| known.key.id == wallet);
            let paying = of(paying.expect("the paying wallet was among them"), required, None);
            Ok(Preflight { confirmation_required: true, ..paying })
        }
        Err(rejection @ Rejection::InsufficientCredits { required, .. }) => {
            let Rejection::InsufficientCredits { unit, .. } = &rejection else {
                unreachable!("matched above")
            };
            let asked = wallets.iter().find(|wallet| wallet.unit.code == *unit);
            Ok(of(asked.expect("the refused wallet was among them"), required, Some(rejection.code())))
        }
        Err(Rejection::LimitReached { required, ref unit, resets_at, .. }) => {
            let asked = wallets.iter().find(|wallet| wallet.unit.code == *unit);
            let asked = asked.expect("the refused wallet was among them");
            let refused = of(asked, required, Some("limit_reached"));
            Ok(Preflight { resets_at: Some(resets_at), ..refused })
        }
        Err(
            rejection @ (Rejection::TenantSuspended | Rejection::SpendingFrozen | Rejection::TenantClosed),
        ) => Ok(of(&wallets[0], Amount::ZERO, Some(rejection.code()))),
        Err(rejection) => Err(rejection.into()),
    }
}

/// Charges an action.
pub async fn debit(
    app: &App,
    caller: &Caller,
    ask: DebitAsk,
    key: Idempotency,
) -> Result<Answered, AppError> {
    let queued = queue(app, caller, &ask, &key).await?;
    queued.answer(app).await
}

/// Charges a request at the gate, for which the caller was found to have the right. Whoever knocks there may be anybody: a
/// user who was never seen is refused without being made.
pub(super) async fn at_the_gate(
    app: &App,
    caller: &Caller,
    ask: DebitAsk,
    once: &Once,
) -> Result<Answered, AppError> {
    let parsed = parse(app, caller, &ask)?;
    if app.find_user(&parsed.named).await?.is_none() {
        let imagined = imagine(app, caller, &parsed, ask.settle).await?;
        if let Err(rejection) = imagined.decided {
            return Err(app.with_offer(&parsed.subject(), rejection.into()));
        }
    }
    enqueue(app, caller, parsed, &ask, &once.key, Some(&once.event)).await?.answer(app).await
}

impl Queued {
    /// Waits for what becomes of it.
    async fn answer(self, app: &App) -> Result<Answered, AppError> {
        let Queued { parsed, tenant, settle, outcome } = self;
        let answered = app.answer(outcome, Some(names_of(&parsed))).await;
        answered.map_err(|error| {
            if !settle {
                app.note_refusal(tenant, parsed.action.no, &error);
            }
            app.with_offer(&parsed.subject(), error)
        })
    }
}

/// Charges up to 1,000 actions; each stands alone, outcomes in the order of the asks.
pub async fn batch(
    app: &App,
    caller: &Caller,
    asks: Vec<(DebitAsk, Idempotency)>,
) -> Vec<Result<Answered, AppError>> {
    // All are queued before any is waited for, so that they share their transactions.
    let mut queued = Vec::with_capacity(asks.len());
    for (ask, key) in &asks {
        queued.push(queue(app, caller, ask, key).await);
    }
    let mut outcomes = Vec::with_capacity(queued.len());
    for item in queued {
        outcomes.push(match item {
            Ok(queued) => queued.answer(app).await,
            Err(error) => Err(error),
        });
    }
    outcomes
}

async fn queue(app: &App, caller: &Caller, ask: &DebitAsk, key: &Idempotency) -> Result<Queued, AppError> {
    caller.require(Scope::Write)?;
    enqueue(app, caller, parse(app, caller, ask)?, ask, key, None).await
}

/// Queues what was parsed; the right to it was looked at.
async fn enqueue(
    app: &App,
    caller: &Caller,
    parsed: Parsed,
    ask: &DebitAsk,
    key: &Idempotency,
    event: Option<&str>,
) -> Result<Queued, AppError> {
    let in_time = parse::in_window(parsed.occurred_at, app.now());
    if let Err(error) = in_time.and_then(|()| app.return_allowed(parsed.return_url.as_deref())) {
        let Some((tenant, _)) = app.find_user(&parsed.named).await? else { return Err(error) };
        let before = app.answered_before(tenant, key).await?.ok_or(error)?;
        return Ok(Queued { parsed, tenant, settle: ask.settle, outcome: answered(before) });
    }
    let (tenant, user) = app.ensure_user(&parsed.named).await?;
    let wallet = wallet_of(&parsed, tenant)?;
    let owner = Owner::User(user);
    let route =
        wallet.map_or(Route::Action(owner), |id| Route::Wallet(WalletKey { tenant, id }, Some(owner)));
    let (occurred_at, movement) =
        (parsed.occurred_at, Movement::Debit(debit_of(&parsed, ask.settle, wallet)));
    let order = Order { tenant, user: Some(user), occurred_at, movement, route, key, remarks: &ask.remarks };
    let event = event.map(|name| KeyDigest::of_event(tenant, GATE, name));
    let outcome = app.submit_once(caller, order, event)?;
    Ok(Queued { parsed, tenant, settle: ask.settle, outcome })
}

/// The names that a debit's answer repeats.
pub(super) fn names_of(parsed: &Parsed) -> Names {
    Names {
        tenant: parsed.named.tenant.clone(),
        user: Some(parsed.named.user.clone()),
        action: Some(parsed.action.key.clone()),
    }
}

/// An outcome that is there already, for those who wait for one.
pub(super) fn answered(outcome: Outcome) -> oneshot::Receiver<Outcome> {
    let (sender, receiver) = oneshot::channel();
    // The receiver is in hand.
    drop(sender.send(outcome));
    receiver
}

/// Gives back all or part of a debit.
pub async fn refund(
    app: &App,
    caller: &Caller,
    ask: RefundAsk,
    key: Idempotency,
) -> Result<Answered, AppError> {
    caller.require(Scope::Write)?;
    require_reason(&ask.remarks)?;
    parse::remarks(&ask.remarks)?;
    ask.amount.as_deref().map_or(Ok(()), |text| parse::well_formed("/amount", text))?;
    let (tenant, debit) = parse::id(caller, Prefix::Debit, &ask.debit, "debit")?;
    let amount = match &ask.amount {
        None => None,
        Some(text) => {
            let unit = app.unit_of_subject(tenant, debit, "debit").await?;
            Some(parse::amount("/amount", text, &unit)?)
        }
    };
    let movement = Movement::Refund(Refund { debit, amount });
    let (route, occurred_at) = (Route::Subject(debit), app.now());
    let order = Order { tenant, user: None, occurred_at, movement, route, key: &key, remarks: &ask.remarks };
    app.carry_out(caller, order, None).await
}

/// Gives back all that is left of a debit whose request failed behind the gate. A proxy's key gives back what it took and
/// nothing else, and only for the request that it was taken for.
pub(super) async fn give_back_at_the_gate(
    app: &App,
    caller: &Caller,
    debit_id: &str,
    request_id: &str,
    reason: String,
    key: Idempotency,
) -> Result<Answered, AppError> {
    let (tenant, debit) = parse::id(caller, Prefix::Debit, debit_id, "debit")?;
    let history = app.read(move |reader| reader.history(tenant, debit)).await?;
    let charged = history.iter().find(|stored| stored.entry.kind == EntryKind::Debit);
    let of_request = |text: &EntryText| {
        let metadata = text.metadata.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        text.reference.as_deref() == Some(request_id)
            && metadata.is_some_and(|said| said.get("gate").is_some())
    };
    let taken = charged.filter(|stored| stored.entry.actor == caller.actor());
    // A client may have told the product of a debit of another request, which was served.
    if !taken.and_then(|stored| stored.text.as_ref()).is_some_and(of_request) {
        return Err(AppError::NotFound { what: "debit" });
    }
    let movement = Movement::Refund(Refund { debit, amount: None });
    let remarks = Remarks { reason: Some(reason), ..Remarks::default() };
    let (route, occurred_at) = (Route::Subject(debit), app.now());
    let order = Order { tenant, user: None, occurred_at, movement, route, key: &key, remarks: &remarks };
    app.carry_out(caller, order, None).await
}

/// One debit.
pub async fn read(app: &App, caller: &Caller, debit_id: &str) -> Result<DebitView, AppError> {
    look_up(app, caller, debit_id).await.map(|(debit, _)| debit)
}

/// One debit, with the entries that gave something of it back.
pub(super) async fn look_up(
    app: &App,
    caller: &Caller,
    debit_id: &str,
) -> Result<(DebitView, Vec<Entry>), AppError> {
    caller.require(Scope::Read)?;
    let missing = || AppError::NotFound { what: "debit" };
    let (tenant, debit) = parse::id(caller, Prefix::Debit, debit_id, "debit")?;
    let history = app.read(move |reader| reader.history(tenant, debit)).await?;
    let charged =
        history.iter().find(|stored| matches!(stored.entry.kind, EntryKind::Debit | EntryKind::Capture));
    let charged = charged.ok_or_else(missing)?;
    let Terms::Charge(charge) = charged.entry.terms.clone() else { return Err(missing()) };
    let refunds = history.iter().filter(|stored| stored.entry.kind == EntryKind::Refund);
    let refunds: Vec<Entry> = refunds.map(|stored| stored.entry.clone()).collect();
    let refunded = refunds.iter().map(|entry| entry.amount).sum();
    let entry = charged.entry.clone();
    let mut names = app.names(tenant, entry.user).await?;
    names.action = app.action_key(charge.action);
    let unit = app.unit_of_wallet(entry.wallet).await?;
    let (reference, metadata) =
        charged.text.clone().map_or((None, None), |text| (text.reference, text.metadata));
    Ok((DebitView { entry, charge, refunded, unit, names, reference, metadata }, refunds))
}

pub(super) fn parse(app: &App, caller: &Caller, ask: &DebitAsk) -> Result<Parsed, AppError> {
    let named = app.named(caller, ask.whose.tenant.as_deref(), &ask.whose.user)?;
    if ask.measure.amount.is_some() {
        return Err(parse::field(
            "/amount",
            "unknown_field",
            "a debit is priced by its action; only holds state an amount",
        ));
    }
    // Everything that is wrong with the request itself comes before anything that it names and that is not there.
    let action = parse::action(&ask.action)?;
    let usage = parse::usage(&ask.measure, None)?.unwrap_or(Usage::Quantity(Quantity::ONE));
    let unit = ask.unit.as_deref().map(|code| app.unit(Some(code))).transpose()?.map(|unit| unit.code);
    let occurred_at = parse::occurred_at(ask.occurred_at.as_deref(), app.now())?;
    parse::remarks(&ask.remarks)?;
    let wallet = match &ask.wallet_id {
        None => None,
        Some(text) => {
            let (tenant, id) = parse::id(caller, Prefix::Wallet, text, "wallet")?;
            Some((tenant, WalletId(id)))
        }
    };
    check_return(ask.return_url.as_deref())?;
    let action = app.action(&action)?;
    let return_url = ask.return_url.clone();
    let mut parsed = Parsed { named, action, usage, unit, wallet, occurred_at, quote: None, return_url };
    parsed.quote = ask.quote.as_deref().map(|token| app.quoted(&parsed.subject(), token));
    Ok(parsed)
}

/// The wallet a request names, which must be of the tenant it names.
fn wallet_of(parsed: &Parsed, tenant: TenantNo) -> Result<Option<WalletId>, AppError> {
    match parsed.wallet {
        Some((owner, _)) if owner != tenant => Err(AppError::Rejected(Rejection::WalletNotFound)),
        Some((_, id)) => Ok(Some(id)),
        None => Ok(None),
    }
}

pub(super) fn debit_of(parsed: &Parsed, settle: bool, wallet: Option<WalletId>) -> Debit {
    let (usage, unit, quote) = (parsed.usage.clone(), parsed.unit.clone(), parsed.quote.clone());
    Debit { action: parsed.action.no, usage, unit, wallet, settle, quote }
}
