//! The engine without HTTP: how many debits a second the funnel books when it never has to wait for work.
//!
//! Nothing is left out of what a debit costs behind the handler: keys, chain, allocations, answers, fsync. What it writes
//! is an ordinary ledger, which `serve` and `verify` take as any other. It measures and decides nothing.

use crate::App;
use crate::engine::{Done, Job, Outcome, Route};
use crate::error::AppError;
use purser_core::amount::Scale;
use purser_core::catalogue::{Action, Overage, Price, Unit};
use purser_core::command::{Debit, Grant};
use purser_core::confirm::Thresholds;
use purser_core::entry::{Actor, GrantKind, Usage};
use purser_core::pricing::Model;
use purser_core::wallet::Owner;
use purser_core::{Amount, Command, Key, Movement, Quantity, TenantNo, UserNo};
use purser_store::{ActionRow, AuditRow, FreshNumbers, KeyDigest};
use tokio::sync::oneshot::Receiver;

/// The action that is debited, at one credit.
const ACTION: &str = "bench_engine";
/// How many users or grants are under way while wallets are made.
const SETUP_STEP: u64 = 1_000;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct EngineBench {
    /// Debits to make; at least 1.
    pub debits: u64,
    /// Debits of one submission. Two are in flight: one that is being booked and one that waits.
    pub batch: usize,
    /// Wallets to spread the debits over; at least 1.
    pub wallets: u64,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineFigures {
    /// Debits made.
    pub debits: u64,
    /// From the first submission to the last answer, in microseconds.
    pub took: i64,
    /// Debits per second, rounded down.
    pub debits_per_second: u64,
}

type Waiter = Receiver<Outcome>;

/// Makes users `u0`, `u1`, … with credits, then debits them by chance.
///
/// # Errors
/// The first command that is not carried out: the bench makes none that could be refused.
pub async fn engine(app: &App, bench: EngineBench) -> Result<EngineFigures, AppError> {
    assert!(bench.debits > 0 && bench.batch > 0 && bench.wallets > 0, "there is something to measure");
    let action = ensure_action(app).await?;
    let owners = ensure_owners(app, bench).await?;
    let app = app.clone();
    let measured = tokio::task::spawn_blocking(move || measure(&app, bench, action, &owners)).await;
    measured.map_err(|error| AppError::Fault(error.to_string()))?
}

fn measure(
    app: &App,
    bench: EngineBench,
    action: u64,
    owners: &[(TenantNo, UserNo)],
) -> Result<EngineFigures, AppError> {
    let started = app.monotonic();
    let mut left = bench.debits;
    let mut earlier = Vec::new();
    while left > 0 || !earlier.is_empty() {
        let count = left.min(bench.batch as u64);
        left -= count;
        // Built while the writer books the one before.
        let jobs: Vec<Job> = (0..count).map(|_| debit(app, action, owners)).collect();
        let later: Vec<Waiter> = jobs.into_iter().map(|job| submit(app, job)).collect::<Result<_, _>>()?;
        for waiter in std::mem::replace(&mut earlier, later) {
            done(waiter.blocking_recv().map_err(|_| stopped())?)?;
        }
    }
    let took = app.monotonic() - started;
    let per_second = u128::from(bench.debits) * 1_000_000 / u128::from(took.max(1).unsigned_abs());
    let debits_per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
    Ok(EngineFigures { debits: bench.debits, took, debits_per_second })
}

fn debit(app: &App, action: u64, owners: &[(TenantNo, UserNo)]) -> Job {
    let ids = &app.inner.ids;
    let index = usize::try_from(ids.number() % owners.len() as u64).expect("an index of a list in memory");
    let (tenant, user) = owners[index];
    let usage = Usage::Quantity(Quantity::ONE);
    let debit = Debit { action, usage, unit: None, wallet: None, settle: false, quote: None };
    let key = uuid(ids.id().0 | u128::from(ids.number() as u16));
    let request = *blake3::hash(key.as_bytes()).as_bytes();
    let key = Some((KeyDigest::of(tenant, &key), request));
    job(app, tenant, user, Movement::Debit(debit), Route::Action(Owner::User(user)), key)
}

fn job(
    app: &App,
    tenant: TenantNo,
    user: UserNo,
    movement: Movement,
    route: Route,
    key: Option<(KeyDigest, [u8; 32])>,
) -> Job {
    let command = Command {
        id: app.inner.ids.id(),
        tenant,
        user: Some(user),
        // Nobody called: there is no key that could be revoked.
        actor: Actor::WORKER,
        occurred_at: app.now(),
        text_digest: None,
        movement,
    };
    Job { command, route, key, event: None, text: None, queued_at: app.monotonic() }
}

/// A key in the form that clients are told to use: a UUID whose first bits are the time.
fn uuid(id: u128) -> String {
    let digits = format!("{id:032x}");
    format!("{}-{}-7{}-8{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..])
}

fn submit(app: &App, job: Job) -> Result<Waiter, AppError> {
    app.inner.engine.submit(job)
}

fn done(outcome: Outcome) -> Result<Done, AppError> {
    match outcome {
        Ok(done) if done.replayed => Err(AppError::Fault("a key was used twice".into())),
        outcome => outcome,
    }
}

fn stopped() -> AppError {
    AppError::Fault("the engine stopped".into())
}

async fn ensure_action(app: &App) -> Result<u64, AppError> {
    let key = Key::parse(ACTION).expect("letters and an underscore");
    if let Some(action) = app.catalogue().action_by_key(&key) {
        return Ok(action.no);
    }
    let (no, now, unit) = (app.inner.ids.number(), app.now(), Unit::credit());
    let model = Model::Flat { amount: credits(1) };
    let price = Price { id: app.inner.ids.id(), unit: unit.code.clone(), valid_from: now, model };
    let (units, prices) = (vec![unit.code], vec![price]);
    let action = Action {
        no,
        key,
        active: true,
        confirm_above: Thresholds::default(),
        overage: Overage::Refuse,
        units,
        prices,
    };
    let name = "Bench of the engine".to_string();
    let row = ActionRow { action, name, unit_label: None, description: None, category: None };
    let (actor, what, subject) = (Actor::WORKER, "action.create".to_string(), ACTION.to_string());
    let audit = AuditRow { actor, what, subject, before: None, after: None, reason: None, at: now };
    let change = move |batch: &mut purser_store::Batch<'_>| {
        batch.insert_action(&row, now)?;
        batch.insert_audit(&audit)?;
        Ok((no, true))
    };
    app.inner.engine.change(change).await
}

/// Users with credits for every debit, should chance pick the same one each time.
async fn ensure_owners(app: &App, bench: EngineBench) -> Result<Vec<(TenantNo, UserNo)>, AppError> {
    let plenty = i64::try_from(bench.debits).unwrap_or(i64::MAX).min(Amount::MAX.0 / Scale::MAX.factor() / 2);
    let mut owners = Vec::new();
    for first in (0..bench.wallets).step_by(SETUP_STEP as usize) {
        // Started together, so that they share their transactions.
        let mut users = tokio::task::JoinSet::new();
        for number in first..bench.wallets.min(first + SETUP_STEP) {
            let app = app.clone();
            users.spawn(async move { ensure_user(&app, number).await });
        }
        let mut made = Vec::new();
        while let Some(user) = users.join_next().await {
            made.push(user.map_err(|error| AppError::Fault(error.to_string()))??);
        }
        let mut waiters = Vec::new();
        for (tenant, user) in &made {
            waiters.push(submit(app, grant(app, *tenant, *user, credits(plenty)))?);
        }
        for waiter in waiters {
            done(waiter.await.map_err(|_| stopped())?)?;
        }
        owners.extend(made);
    }
    Ok(owners)
}

async fn ensure_user(app: &App, number: u64) -> Result<(TenantNo, UserNo), AppError> {
    let user = Key::parse(&format!("u{number}")).expect("a letter and digits");
    let ids = &app.inner.ids;
    let (fresh, now) =
        (FreshNumbers { tenant: TenantNo(ids.number()), user: UserNo(ids.number()) }, app.now());
    let change = move |batch: &mut purser_store::Batch<'_>| {
        batch.ensure_user(None, &user, fresh, now).map(|numbers| (numbers, false))
    };
    app.inner.engine.change(change).await
}

fn grant(app: &App, tenant: TenantNo, user: UserNo, amount: Amount) -> Job {
    let grant = Grant {
        amount,
        kind: GrantKind::Promotional,
        priority: 0,
        effective_at: None,
        expires_at: None,
        paid: None,
        origin: None,
    };
    let route = Route::Owned(Owner::User(user), Unit::credit().code);
    job(app, tenant, user, Movement::Grant(grant), route, None)
}

fn credits(whole: i64) -> Amount {
    Amount(whole * Unit::credit().scale.factor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::Settings;
    use crate::usecase::verify;

    #[tokio::test]
    async fn every_debit_is_booked_and_the_ledger_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.db");
        let app = App::open(Settings::new(format!("sqlite:{}", path.display()))).await.unwrap();
        let bench = EngineBench { debits: 1_050, batch: 100, wallets: 7 };
        let figures = engine(&app, bench).await.unwrap();
        assert_eq!(figures.debits, 1_050);
        // A second run finds its action and users, and gives the users more.
        engine(&app, EngineBench { debits: 1, ..bench }).await.unwrap();
        app.shutdown().await;
        let verified = verify::verify(&format!("sqlite:{}", path.display()), |_, _| ()).unwrap();
        assert_eq!((verified.entries, verified.wallets), (1_050 + 1 + 2 * 7, 7));
    }

    #[test]
    fn keys_look_like_uuids_of_version_7() {
        let key = uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(key, "01234567-89ab-7def-8123-456789abcdef");
    }
}
