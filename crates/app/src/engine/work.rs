//! The work of one batch: for each command, look up its key, load its wallets, decide, append.

use super::job::{Done, Job, Outcome, Route, event_of};
use super::known::{known_answer, stored_unit};
use super::live::{Live, LiveWallet};
use crate::config::Config;
use crate::error::AppError;
use purser_core::codec::encode_receipt;
use purser_core::counter;
use purser_core::decide::{DUE_MAX, State, due_count};
use purser_core::entry::{Actor, ActorKind, EntryKind, Target};
use purser_core::wallet::Owner;
use purser_core::{Command, Entry, Id, Movement, Rejection, Timestamp, Wallet, WalletKey, decide};
use purser_store::{Batch, NewAnswer, Position, Recording, StoreError, Touched};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

/// Lots and holds that may change in memory before their wallet is saved.
const TOUCHED_MAX: usize = 256;
/// How often the wallets of a purchase are listed until all of them are held.
const LISTINGS_MAX: usize = 8;

/// A wallet as the batch leaves it.
pub(super) struct Working {
    /// Away only while it is being decided on.
    wallet: Option<Wallet>,
    pub(super) head: Position,
    touched: Touched,
    dirty_since: Option<Position>,
    was_dirty: bool,
    changed: bool,
    used: u64,
}

impl Working {
    pub(super) fn from_live(live: &LiveWallet) -> Working {
        Working {
            wallet: Some(live.wallet.clone()),
            head: live.head,
            touched: live.touched.clone(),
            dirty_since: live.dirty_since,
            was_dirty: live.dirty_since.is_some(),
            changed: false,
            used: live.used,
        }
    }

    fn new(wallet: Wallet, head: Position) -> Working {
        let touched = Touched::default();
        Working {
            wallet: Some(wallet),
            head,
            touched,
            dirty_since: None,
            was_dirty: false,
            changed: false,
            used: 0,
        }
    }

    pub(super) fn into_live(self) -> LiveWallet {
        let Working { wallet, head, touched, dirty_since, used, .. } = self;
        LiveWallet { wallet: wallet.expect("nothing is being decided"), head, touched, dirty_since, used }
    }

    pub(super) fn key(&self) -> WalletKey {
        self.wallet().key
    }

    fn wallet(&self) -> &Wallet {
        self.wallet.as_ref().expect("nothing is being decided on it")
    }

    fn wallet_mut(&mut self) -> &mut Wallet {
        self.wallet.as_mut().expect("nothing is being decided on it")
    }

    /// Since when its rows are behind, if they were not before this batch.
    pub(super) fn newly_dirty(&self) -> Option<(Position, WalletKey)> {
        self.dirty_since.filter(|_| !self.was_dirty).map(|since| (since, self.key()))
    }

    /// Whether so much of it closed since it was saved that copying it with every batch costs more than saving it.
    pub(super) fn is_heavy(&self) -> bool {
        self.touched.lots.len() + self.touched.holds.len() > TOUCHED_MAX
    }

    /// Whether its rows have been behind since exactly then: a wallet that was saved early is queued again later.
    pub(super) fn is_dirty_since(&self, since: Position) -> bool {
        self.dirty_since == Some(since)
    }

    /// Writes its rows; what is closed is forgotten, as only a command that names it needs it again.
    pub(super) fn save(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        batch.save_wallet(self.wallet(), self.head, &self.touched)?;
        self.touched = Touched::default();
        self.dirty_since = None;
        self.was_dirty = false;
        self.wallet_mut().prune();
        Ok(())
    }
}

/// The work of one batch.
pub(super) struct Work<'a> {
    batch: Batch<'a>,
    live: &'a Live,
    config: &'a Config,
    now: Timestamp,
    number: u64,
    wallets: FxHashMap<WalletKey, Working>,
    recorded: bool,
}

/// Why the wallets of a command could not be loaded.
enum Unloadable {
    /// Something it names does not exist.
    Rejected(Rejection),
    /// The store failed, before anything was recorded for this command.
    Fault(StoreError),
}

impl From<StoreError> for Unloadable {
    fn from(error: StoreError) -> Unloadable {
        Unloadable::Fault(error)
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(
        batch: Batch<'a>,
        live: &'a Live,
        config: &'a Config,
        now: Timestamp,
        number: u64,
    ) -> Work<'a> {
        Work { batch, live, config, now, number, wallets: FxHashMap::default(), recorded: false }
    }

    /// The transaction, and the wallets that it changed.
    pub(super) fn into_changed(self) -> (Batch<'a>, Vec<Working>) {
        let changed = self.wallets.into_values().filter(|working| working.changed);
        (self.batch, changed.collect())
    }

    /// Whether there is anything to commit. A command may change no wallet and still have an answer to keep.
    pub(super) fn has_recorded(&self) -> bool {
        self.recorded
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// The store failed while something was being recorded: the whole batch must be given up.
    pub(super) fn carry_out(&mut self, job: &Job) -> Result<Outcome, StoreError> {
        let unit_of = |key: WalletKey| match (self.wallets.get(&key), self.live.get(key)) {
            (Some(working), _) => Ok(Some(working.wallet().unit.clone())),
            (None, Some(live)) => Ok(Some(live.wallet.unit.clone())),
            (None, None) => stored_unit(&self.batch, key),
        };
        match known_answer(&self.batch, job, unit_of) {
            Ok(Some(known)) => return Ok(known.map_err(AppError::from)),
            Ok(None) => {}
            Err(error) => return self.fault(error),
        }
        if job.command.actor.kind == ActorKind::ApiKey && !self.config.has_key(job.command.actor.no) {
            // The key was revoked while the command waited.
            return Ok(Err(AppError::Unauthenticated));
        }
        match self
            .load(&job.route, &job.command)
            .and_then(|keys| Ok((self.history(&job.command, &keys)?, keys)))
        {
            Ok((history, keys)) => self.decide(job, &keys, history),
            Err(Unloadable::Rejected(rejection)) => Ok(Err(rejection.into())),
            Err(Unloadable::Fault(error)) => self.fault(error),
        }
    }

    /// A fault before anything was recorded for this command. A damaged row is this command's trouble alone; after any
    /// other error a server does nothing more in this transaction.
    fn fault(&self, error: StoreError) -> Result<Outcome, StoreError> {
        match error {
            StoreError::Inconsistent { .. } | StoreError::Corrupt { .. } => Ok(Err(fault(&error))),
            error => Err(error),
        }
    }

    fn decide(&mut self, job: &Job, keys: &[WalletKey], history: Vec<Entry>) -> Result<Outcome, StoreError> {
        let now = self.instant(keys);
        self.sweep_first(keys, now)?;
        let command = self.with_quote(&job.command)?;
        let wallets = self.take(keys);
        let asked = counter::looked_at(&self.config.catalogue, &wallets, &command, now);
        let counters = if asked.is_empty() { Ok(Vec::new()) } else { self.batch.counters(&asked) };
        let counters = match counters {
            Ok(counters) => counters,
            Err(error) => {
                // The rest of the batch goes on without this command, and may want its wallets.
                self.put_back(wallets);
                return self.fault(error);
            }
        };
        let standing = self.config.standing(job.command.tenant);
        let confirm_above =
            job.command.user.and_then(|user| self.config.asked_above(job.command.tenant, user));
        let catalogue = &self.config.catalogue;
        let mut state = State { catalogue, standing, confirm_above, wallets, history, counters };
        let decided = decide(&mut state, &command, now);
        self.put_back(state.wallets);
        let decision = match decided {
            Ok(decision) => decision,
            Err(rejection) => return Ok(Err(rejection.into())),
        };
        let receipt = encode_receipt(&decision.receipt);
        let answer = job.key.as_ref().map(|(key, request)| NewAnswer {
            tenant: job.command.tenant,
            key: *key,
            request_digest: request,
            receipt: &receipt,
            created_at: now,
        });
        let event = event_of(&job.command.movement);
        let (entries, falls) = (&decision.entries[..], &decision.falls[..]);
        self.record(&Recording { entries, event, falls, text: job.text.as_ref(), answer })?;
        self.batch.count(&decision.counts)?;
        if let Some(promise) = command.movement.promise() {
            self.batch.use_quote(job.command.tenant, promise.id, promise.expires_at)?;
        }
        if let Some(event) = job.event {
            self.batch.record_event(job.command.tenant, event, job.command.id)?;
        }
        Ok(Ok(Done { receipt: decision.receipt, replayed: false }))
    }

    /// The command with what is known of the quote that it brings.
    fn with_quote<'c>(&self, command: &'c Command) -> Result<Cow<'c, Command>, StoreError> {
        let Some(promise) = command.movement.promise() else { return Ok(Cow::Borrowed(command)) };
        if !self.batch.quote_used(command.tenant, promise.id)? {
            return Ok(Cow::Borrowed(command));
        }
        let movement = command.movement.clone().with_promise_used();
        Ok(Cow::Owned(Command { movement, ..command.clone() }))
    }

    /// The command's one `now`: never before anything its wallets have recorded, nor inside a closed period.
    fn instant(&self, keys: &[WalletKey]) -> Timestamp {
        let recorded = keys.iter().map(|key| self.wallets[key].wallet().recorded_at);
        recorded.fold(self.now.max(self.batch.closed_until()), Timestamp::max)
    }

    /// Books due facts in commands of their own where there are too many for one.
    fn sweep_first(&mut self, keys: &[WalletKey], now: Timestamp) -> Result<(), StoreError> {
        for key in keys {
            while due_count(self.wallets[key].wallet(), now) > DUE_MAX {
                let sweep = Command {
                    id: Id(0),
                    tenant: key.tenant,
                    user: None,
                    actor: Actor::WORKER,
                    occurred_at: now,
                    text_digest: None,
                    movement: Movement::Sweep,
                };
                let wallets = self.take(std::slice::from_ref(key));
                let (catalogue, standing) = (&*self.config.catalogue, self.config.standing(key.tenant));
                let (history, counters) = (Vec::new(), Vec::new());
                let mut state =
                    State { catalogue, standing, confirm_above: None, wallets, history, counters };
                let swept =
                    decide(&mut state, &sweep, now).expect("a sweep of a loaded wallet is never refused");
                self.put_back(state.wallets);
                self.record(&Recording {
                    entries: &swept.entries,
                    event: EntryKind::Expire,
                    falls: &swept.falls,
                    text: None,
                    answer: None,
                })?;
                self.batch.count(&swept.counts)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, recording: &Recording<'_>) -> Result<(), StoreError> {
        if recording.entries.is_empty() && recording.answer.is_none() {
            return Ok(());
        }
        self.recorded = true;
        let mut order: Vec<WalletKey> = Vec::with_capacity(2);
        let mut heads: Vec<Position> = Vec::with_capacity(2);
        for entry in recording.entries.iter() {
            if order.contains(&entry.wallet) {
                continue;
            }
            let working = &self.wallets[&entry.wallet];
            if entry.seq == 1 {
                let wallet = working.wallet();
                let unused = Wallet::new(wallet.key.tenant, wallet.owner, wallet.unit.clone());
                self.batch.insert_wallet(&unused, self.now)?;
            }
            order.push(entry.wallet);
            heads.push(working.head);
        }
        let first = self.batch.append(recording, &mut heads)?;
        for (key, head) in order.iter().zip(heads) {
            let working = self.wallets.get_mut(key).expect("entries are of loaded wallets");
            working.head = head;
            working.used = self.number;
            working.changed = true;
            working.dirty_since.get_or_insert(Position(first.0 - 1));
        }
        for entry in recording.entries {
            self.wallets.get_mut(&entry.wallet).expect("entries are of loaded wallets").touched.add(entry);
        }
        Ok(())
    }

    fn take(&mut self, keys: &[WalletKey]) -> Vec<Wallet> {
        let take = |key| {
            self.wallets
                .get_mut(key)
                .and_then(|working| working.wallet.take())
                .expect("each wallet is loaded once")
        };
        keys.iter().map(take).collect()
    }

    fn put_back(&mut self, wallets: Vec<Wallet>) {
        for wallet in wallets {
            let working = self.wallets.get_mut(&wallet.key).expect("it was taken from there");
            working.wallet = Some(wallet);
        }
    }

    /// Loads the wallets of a route, in the order in which the decision wants them.
    fn load(&mut self, route: &Route, command: &Command) -> Result<Vec<WalletKey>, Unloadable> {
        let tenant = command.tenant;
        match route {
            Route::Action(owner) => {
                let config = self.config;
                let no = match &command.movement {
                    Movement::Debit(debit) => debit.action,
                    Movement::PlaceHold(place) => place.action,
                    _ => return Err(Unloadable::Rejected(Rejection::ActionNotFound)),
                };
                let action =
                    config.catalogue.action(no).ok_or(Unloadable::Rejected(Rejection::ActionNotFound))?;
                action.units.iter().map(|unit| self.load_owned(tenant, *owner, unit)).collect()
            }
            Route::Owned(owner, unit) => Ok(vec![self.load_owned(tenant, *owner, unit)?]),
            Route::Wallet(key, owner) => {
                let found = self.load_wallet(*key)?;
                let fits = found && owner.is_none_or(|owner| self.wallets[key].wallet().owner == owner);
                if fits { Ok(vec![*key]) } else { Err(Unloadable::Rejected(Rejection::WalletNotFound)) }
            }
            Route::Subject(subject) => {
                let Some(id) = self.batch.wallet_of(tenant, *subject)? else { return Ok(Vec::new()) };
                let key = WalletKey { tenant, id };
                self.load_wallet(key)?;
                self.load_named(key, &command.movement)?;
                Ok(vec![key])
            }
            Route::Pair(pair) => {
                let mut keys = self.load(&pair.0, command)?;
                for key in self.load(&pair.1, command)? {
                    if keys.contains(&key) {
                        return Err(Unloadable::Rejected(Rejection::SameWallet));
                    }
                    keys.push(key);
                }
                Ok(keys)
            }
            Route::Origin(origin, buyer) => self.load_origin(command, *origin, *buyer),
        }
    }

    fn load_owned(
        &mut self,
        tenant: purser_core::TenantNo,
        owner: Owner,
        unit: &purser_core::Key,
    ) -> Result<WalletKey, Unloadable> {
        let unit = self.config.catalogue.unit(unit).ok_or(Unloadable::Rejected(Rejection::UnitMismatch))?;
        let key = WalletKey::derive(tenant, owner, unit);
        if !self.load_wallet(key)? {
            let unused = || Working::new(Wallet::new(tenant, owner, unit.clone()), Position::NONE);
            self.wallets.entry(key).or_insert_with(unused);
        }
        Ok(key)
    }

    /// Brings a wallet into the batch; false when there is none.
    fn load_wallet(&mut self, key: WalletKey) -> Result<bool, StoreError> {
        if let Some(working) = self.wallets.get(&key) {
            // One that an earlier command of the batch only looked at does not exist yet.
            return Ok(working.wallet().seq > 0);
        }
        let working = match self.live.get(key) {
            Some(live) => Working::from_live(&live),
            None => match self.batch.wallet(key)? {
                Some(loaded) => Working::new(loaded.wallet, loaded.head),
                None => return Ok(false),
            },
        };
        self.wallets.insert(key, working);
        Ok(true)
    }

    /// Brings the closed hold or spent lot that a command names into its wallet.
    fn load_named(&mut self, key: WalletKey, movement: &Movement) -> Result<(), StoreError> {
        let wallet = self.wallets.get_mut(&key).expect("just loaded").wallet_mut();
        match movement {
            Movement::ExtendHold(extend) => load_hold(&self.batch, wallet, extend.hold),
            Movement::CaptureHold(capture) => load_hold(&self.batch, wallet, capture.hold),
            Movement::ReleaseHold { hold } => load_hold(&self.batch, wallet, *hold),
            Movement::Revoke(revoke) => load_lots(&self.batch, wallet, &[revoke.lot]),
            _ => Ok(()),
        }
    }

    /// Brings all wallets with lots of a purchase, open or not, and those that the cause reached before, into the batch.
    ///
    /// They are listed before they are locked, and a writer that had the tenant until now may have added one in between:
    /// so they are listed again until all of them are held.
    fn load_origin(
        &mut self,
        command: &Command,
        origin: Id,
        buyer: Option<WalletKey>,
    ) -> Result<Vec<WalletKey>, Unloadable> {
        let mut keys: BTreeSet<WalletKey> = buyer.into_iter().collect();
        for key in &keys.clone() {
            self.load_listed(*key)?;
        }
        for _ in 0..LISTINGS_MAX {
            let listed = self.list_origin(command, origin)?;
            let missing: Vec<WalletKey> = listed.difference(&keys).copied().collect();
            if missing.is_empty() {
                for (id, lot) in self.batch.lots_of_origin(command.tenant, origin)? {
                    let key = WalletKey { tenant: command.tenant, id };
                    let working = self.wallets.get_mut(&key).ok_or_else(origin_moves)?;
                    working.wallet_mut().load_lot(lot);
                }
                return Ok(keys.into_iter().collect());
            }
            for key in missing {
                self.load_listed(key)?;
                keys.insert(key);
            }
        }
        Err(origin_moves().into())
    }

    fn load_listed(&mut self, key: WalletKey) -> Result<(), Unloadable> {
        if self.load_wallet(key)? { Ok(()) } else { Err(Unloadable::Rejected(Rejection::WalletNotFound)) }
    }

    /// The wallets that a purchase reached, as far as they are known now. Rows may be behind, so memory is asked, too.
    fn list_origin(&self, command: &Command, origin: Id) -> Result<BTreeSet<WalletKey>, StoreError> {
        let tenant = command.tenant;
        let of_origin = |wallet: &Wallet| wallet.lots.iter().any(|lot| lot.terms.origin == Some(origin));
        let mut keys = BTreeSet::new();
        if let Some(subject) = undone(&command.movement) {
            // A reversal may have left nothing but debt, in a wallet that has no lot of the purchase.
            keys.extend(self.batch.history(tenant, subject)?.iter().map(|entry| entry.wallet));
        }
        keys.extend(
            self.batch.wallets_of_origin(tenant, origin)?.into_iter().map(|id| WalletKey { tenant, id }),
        );
        keys.extend(self.live.of_tenant(tenant, of_origin));
        let working = self.wallets.iter().filter(|(key, w)| key.tenant == tenant && of_origin(w.wallet()));
        keys.extend(working.map(|(key, _)| *key));
        Ok(keys)
    }

    /// The entries that a command undoes, and the spent lots they name.
    fn history(&mut self, command: &Command, keys: &[WalletKey]) -> Result<Vec<Entry>, Unloadable> {
        let Some(subject) = undone(&command.movement) else { return Ok(Vec::new()) };
        let history = self.batch.history(command.tenant, subject)?;
        for key in keys {
            let wallet = self.wallets.get_mut(key).expect("just loaded").wallet_mut();
            let mine =
                history.iter().filter(|entry| entry.wallet == *key).flat_map(|entry| &entry.allocations);
            let lots: Vec<Id> = mine
                .filter_map(|allocation| match allocation.target {
                    Target::Lot(lot) => Some(lot),
                    Target::Debt(_) => None,
                })
                .collect();
            load_lots(&self.batch, wallet, &lots)?;
        }
        Ok(history)
    }
}

/// The wallets of a purchase became more while they were being locked.
fn origin_moves() -> StoreError {
    StoreError::Conflict { what: "the wallets of a purchase became more meanwhile".into() }
}

/// The debit or cause whose earlier entries a command looks at.
fn undone(movement: &Movement) -> Option<Id> {
    match movement {
        Movement::Refund(refund) => Some(refund.debit),
        Movement::Freeze(freeze) => Some(freeze.cause),
        Movement::Reverse(reverse) => Some(reverse.cause),
        Movement::Thaw { cause } | Movement::Reinstate { cause } => Some(*cause),
        _ => None,
    }
}

fn load_hold(batch: &Batch<'_>, wallet: &mut Wallet, id: Id) -> Result<(), StoreError> {
    if wallet.hold(id).is_none()
        && let Some((owner, hold)) = batch.hold(wallet.key.tenant, id)?
        && owner == wallet.key.id
    {
        wallet.load_hold(hold);
    }
    Ok(())
}

fn load_lots(batch: &Batch<'_>, wallet: &mut Wallet, ids: &[Id]) -> Result<(), StoreError> {
    let missing: Vec<Id> = ids.iter().copied().filter(|id| wallet.lot(*id).is_none()).collect();
    if !missing.is_empty() {
        for (owner, lot) in batch.lots(wallet.key.tenant, &missing)? {
            if owner == wallet.key.id {
                wallet.load_lot(lot);
            }
        }
    }
    Ok(())
}

/// A fault of the store as callers see it: what passes by itself is retryable, the rest is opaque.
pub(super) fn fault(error: &StoreError) -> AppError {
    match error {
        StoreError::Busy
        | StoreError::Full
        | StoreError::ReadOnly
        | StoreError::Locked { .. }
        | StoreError::Conflict { .. }
        | StoreError::Unfinished
        | StoreError::Unavailable { .. } => {
            tracing::error!(%error, "the store refuses writes");
            unavailable("store_unavailable", 5)
        }
        StoreError::Corrupt { .. }
        | StoreError::Newer { .. }
        | StoreError::Older { .. }
        | StoreError::Denied { .. }
        | StoreError::Unfit { .. }
        | StoreError::Inconsistent { .. }
        | StoreError::NotCopied { .. }
        | StoreError::Refused { .. }
        | StoreError::Other(_) => AppError::Fault(error.to_string()),
    }
}

pub(crate) fn unavailable(reason: &'static str, seconds: u64) -> AppError {
    AppError::Unavailable { reason, retry_after: Duration::from_secs(seconds) }
}
