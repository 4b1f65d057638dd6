//! A decision in the making: books lines on the wallets of the state, and can take all of them back.

use super::{DUE_MAX, Decision, Done, Standing, State, due};
use crate::amount::{Amount, Quantity};
use crate::catalogue::Catalogue;
use crate::chain;
use crate::command::{Command, Movement};
use crate::confirm::Thresholds;
use crate::counter::{self, Counted, CounterKey, Measure};
use crate::entry::{Actor, Allocation, Charge, Entry, EntryKind, Target, Terms};
use crate::id::{Id, UserNo};
use crate::key::Key;
use crate::limit::{Alert, Limit};
use crate::pricing::Meter;
use crate::receipt::{Detail, Receipt};
use crate::rejection::Rejection;
use crate::time::Timestamp;
use crate::wallet::{Fall, Level, Wallet, WalletKey};

/// The parts of an entry that a rule decides; the rest follows from the wallet and the command.
pub(super) struct Line {
    pub(super) kind: EntryKind,
    pub(super) subject: Id,
    pub(super) allocations: Vec<Allocation>,
    pub(super) terms: Terms,
}

/// What has happened to one wallet so far.
#[derive(Default)]
struct Progress {
    /// The wallet as it was, where anything was booked on it.
    before: Option<Wallet>,
    /// What is due has been booked.
    prepared: bool,
    /// How much could be spent before anything was booked: right after the entry before, or once what was due had been booked,
    /// whichever was more, as time alone may have brought some.
    level: Option<Level>,
    /// The command itself wrote here, so the due facts stay.
    written: bool,
    entries: Vec<Entry>,
    /// How its entries move counters.
    counts: Vec<(CounterKey, i64)>,
}

pub(super) struct Draft<'s, 'c> {
    pub(super) catalogue: &'c Catalogue,
    pub(super) standing: Standing,
    pub(super) confirm_above: Option<&'c Thresholds>,
    pub(super) wallets: &'s mut Vec<Wallet>,
    pub(super) command: &'s Command,
    pub(super) now: Timestamp,
    /// The user that the command is for: named by it, or known from the thing it names.
    user: Option<UserNo>,
    history: &'s [Entry],
    counters: &'s [(CounterKey, i64)],
    progress: Vec<Progress>,
    derived: usize,
}

impl<'s, 'c> Draft<'s, 'c> {
    pub(super) fn new(state: &'s mut State<'c>, command: &'s Command, now: Timestamp) -> Draft<'s, 'c> {
        let progress = state.wallets.iter().map(|_| Progress::default()).collect();
        Draft {
            catalogue: state.catalogue,
            standing: state.standing,
            confirm_above: state.confirm_above,
            wallets: &mut state.wallets,
            command,
            now,
            user: command.user,
            history: &state.history,
            counters: &state.counters,
            progress,
            derived: 0,
        }
    }

    /// Books what is due on a wallet, before the command looks at it. Kept only if the command writes there.
    pub(super) fn prepare(&mut self, wallet: usize) {
        if !std::mem::replace(&mut self.progress[wallet].prepared, true)
            && self.wallets[wallet].is_due(self.now)
        {
            due::book(self, wallet, usize::MAX);
        }
    }

    /// Books at most [`DUE_MAX`] due facts of a wallet and keeps them: they are what the command is about.
    pub(super) fn sweep(&mut self, wallet: usize) {
        if self.wallets[wallet].is_due(self.now) {
            due::book(self, wallet, DUE_MAX);
            self.progress[wallet].written = !self.progress[wallet].entries.is_empty();
        }
    }

    /// Books a line of the command itself.
    pub(super) fn book(&mut self, wallet: usize, line: Line) -> &Entry {
        if !std::mem::replace(&mut self.progress[wallet].written, true) {
            let level = self.level_before(wallet);
            self.progress[wallet].level = Some(level);
        }
        let (user, actor, occurred_at) = (self.user, self.command.actor, self.command.occurred_at);
        let text_digest = self.command.text_digest;
        self.seal(wallet, line, user, actor, occurred_at, text_digest)
    }

    /// Books a line that follows from the rules: due facts, repayments, filled freezes. `at` is its instant.
    pub(super) fn book_by_rule(&mut self, wallet: usize, line: Line, at: Timestamp) {
        self.seal(wallet, line, None, Actor::WORKER, at, None);
    }

    fn seal(
        &mut self,
        index: usize,
        line: Line,
        user: Option<UserNo>,
        actor: Actor,
        occurred_at: Timestamp,
        text_digest: Option<crate::entry::Digest>,
    ) -> &Entry {
        let wallet = &mut self.wallets[index];
        let progress = &mut self.progress[index];
        progress.level.get_or_insert_with(|| wallet.level(wallet.recorded_at));
        let (amount, held_delta) = sums(&line.allocations);
        let mut entry = Entry {
            wallet: wallet.key,
            seq: wallet.seq + 1,
            kind: line.kind,
            subject: line.subject,
            amount,
            held_delta,
            settled_after: wallet.settled + amount,
            allocations: line.allocations,
            terms: line.terms,
            user,
            actor,
            occurred_at,
            recorded_at: self.now,
            text_digest,
            hash: [0; 32],
        };
        entry.hash = chain::hash(&wallet.head, &entry);
        // A refusal can only follow what is due, as commands check everything before they book; so the copy is rare.
        if progress.before.is_none() && !progress.written {
            progress.before = Some(wallet.clone());
        }
        counter::changes(wallet, &entry, |key, change| progress.counts.push((key, change)));
        wallet.apply(&entry).expect("a decision books only what its wallet can bear");
        progress.entries.push(entry);
        progress.entries.last().expect("just pushed")
    }

    /// How much could be spent before the command's first line. Most wallets have plenty now, and need not be looked at again.
    fn level_before(&self, wallet: usize) -> Level {
        let (known, wallet) = (self.progress[wallet].level, &self.wallets[wallet]);
        match wallet.level(self.now) {
            Level::Plenty => Level::Plenty,
            now => known.unwrap_or_else(|| wallet.level(wallet.recorded_at)).max(now),
        }
    }

    /// What there is to tell of a wallet in which something was booked.
    fn fall_of(&self, wallet: usize) -> Option<(WalletKey, Fall)> {
        let (before, wallet) = (self.progress[wallet].level?, &self.wallets[wallet]);
        Some((wallet.key, Fall::between(before, wallet.level(self.now), wallet.last_topup)?))
    }

    /// Notes what a refund that was just booked gives back to the counters of its debit.
    pub(super) fn give_back_counts(&mut self, wallet: usize, charge: &Charge, amount: Amount, is_all: bool) {
        let counts = &mut self.progress[wallet].counts;
        let tell = |key, change| counts.push((key, change));
        counter::given_back(self.command.tenant, charge, amount, is_all, self.now, tell);
    }

    /// What a counter says to a command that a wallet pays for. What was due in that wallet has been counted back; what is due
    /// in others counts until it is booked.
    fn counter(&self, wallet: usize, key: CounterKey) -> i64 {
        let due = self.progress[wallet].counts.iter().filter(|(known, _)| *known == key);
        counter::value(self.counters, key) + due.map(|(_, change)| change).sum::<i64>()
    }

    /// What was used of a metered price before a charge that a wallet pays; none where nothing is metered.
    pub(super) fn used_before(&self, wallet: usize, counted: &[Counted]) -> Option<Quantity> {
        let meter = counted.iter().find(|counted| counted.measure == Measure::Quantity)?;
        Some(Quantity(self.counter(wallet, meter.key(self.command.tenant))))
    }

    /// The counters that a charge of this action counts in now.
    pub(super) fn counted(&self, action: u64, unit: &Key, meter: Option<&Meter>) -> Vec<Counted> {
        let who = (self.command.tenant, self.user);
        counter::applying(self.catalogue, who, action, unit, meter, self.now)
    }

    /// Refuses what no counter can add up.
    pub(super) fn require_countable(&self, charge: &Charge) -> Result<(), Rejection> {
        for counted in &charge.counted {
            let used = counter::value(self.counters, counted.key(self.command.tenant));
            used.checked_add(counted.measure.of(charge)).ok_or(Rejection::AmountOverflow)?;
        }
        Ok(())
    }

    /// The limit that `more` would pass if it counted in these counters: of several, the one that lasts longest.
    pub(super) fn limit_reached(
        &self,
        wallet: usize,
        counted: &[Counted],
        more: Amount,
    ) -> Option<Rejection> {
        if !more.is_positive() {
            return None;
        }
        let tenant = self.command.tenant;
        let amounts = counted.iter().filter(|counted| counted.measure == Measure::Amount);
        let passed = amounts.filter_map(|counted| {
            let limit = self.limit(counted)?;
            let used = self.counter(wallet, counted.key(tenant));
            let passes = i128::from(used) + i128::from(more.0) > i128::from(limit.amount.0);
            (limit.enforced && passes).then_some((counted.span.until, limit, used))
        });
        let (resets_at, limit, used) = passed.max_by_key(|(until, limit, _)| (*until, limit.id))?;
        Some(Rejection::LimitReached {
            limit: limit.id,
            amount: limit.amount,
            used: Amount(used),
            required: more,
            unit: limit.unit.clone(),
            resets_at,
        })
    }

    /// The limit that a counter counts for; none for a meter, and once the limit was removed.
    fn limit(&self, counted: &Counted) -> Option<&'c Limit> {
        self.catalogue.limits(self.command.tenant).iter().find(|limit| limit.id == counted.rule)
    }

    /// What is made known when a charge that counts in these counters adds `more` to them: the shares that they had not reached
    /// before the command, whatever it counts back first. Of a period that is over nobody is told.
    pub(super) fn alerts(&self, wallet: usize, counted: &[Counted], more: Amount) -> Vec<Alert> {
        let amounts = counted.iter().filter(|counted| counted.measure == Measure::Amount);
        let current = amounts.filter(|counted| self.now < counted.span.until);
        let limited = current.filter_map(|counted| Some((counted, self.limit(counted)?)));
        let alerts = limited.flat_map(|(counted, limit)| {
            let key = counted.key(self.command.tenant);
            let after = self.counter(wallet, key).saturating_add(more.0);
            limit.alerts(Amount(counter::value(self.counters, key)), Amount(after))
        });
        alerts.collect()
    }

    /// How the decision moves counters, each once.
    fn counts(&self) -> Vec<(CounterKey, i64)> {
        let mut all: Vec<(CounterKey, i64)> =
            self.progress.iter().flat_map(|progress| &progress.counts).copied().collect();
        all.sort_unstable();
        all.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        all.retain(|(_, change)| *change != 0);
        all
    }

    /// Names the user of the hold or debit that the command is about, where the command itself names none.
    pub(super) fn on_behalf_of(&mut self, user: Option<UserNo>) {
        self.user = self.user.or(user);
    }

    /// The seq that the next entry of a wallet gets.
    pub(super) fn next_seq(&self, wallet: usize) -> u64 {
        self.wallets[wallet].seq + 1
    }

    /// A fresh id that belongs to the command.
    pub(super) fn derive_id(&mut self) -> Id {
        self.derived += 1;
        self.command.id.derived(self.derived)
    }

    /// The entries of `subject` in one wallet, earlier ones and those of this decision, by seq.
    pub(super) fn history_of(&self, wallet: usize, subject: Id) -> impl Iterator<Item = &Entry> {
        let key = self.wallets[wallet].key;
        let earlier = self.history.iter().filter(move |entry| entry.wallet == key);
        earlier.chain(&self.progress[wallet].entries).filter(move |entry| entry.subject == subject)
    }

    /// Deals with what the command freed and closes the decision.
    pub(super) fn finish(mut self, done: Done) -> Decision {
        for wallet in 0..self.wallets.len() {
            if !self.progress[wallet].written {
                self.restore(wallet);
            } else if !matches!(self.command.movement, Movement::Sweep) {
                // A sweep frees nothing but at the due instants, where it is dealt with; what it left for the next
                // sweep has instants of its own, before `now`.
                let now = self.now;
                due::settle(&mut self, wallet, now);
            }
        }
        let balance_of = |wallet: usize| self.wallets[wallet].balance(self.now);
        let wallet = &self.wallets[done.wallet];
        let detail = match (done.peer, done.detail) {
            (Some(peer), Detail::Transfer { peer: id, .. }) => {
                Detail::Transfer { peer: id, peer_balance: balance_of(peer) }
            }
            (_, detail) => detail,
        };
        let receipt = Receipt {
            tenant: wallet.key.tenant,
            id: done.id,
            wallet: wallet.key.id,
            unit: wallet.unit.clone(),
            entry: done.entry,
            user: self.user,
            amount: done.amount,
            balance: balance_of(done.wallet),
            recorded_at: self.now,
            detail,
        };
        let counts = self.counts();
        let fallen = |wallet: &usize| self.progress[*wallet].written;
        let falls =
            (0..self.wallets.len()).filter(fallen).filter_map(|wallet| self.fall_of(wallet)).collect();
        let entries = self.progress.into_iter().flat_map(|progress| progress.entries).collect();
        Decision { entries, falls, receipt, counts }
    }

    /// Takes back whatever was booked: a refused command leaves no trace.
    pub(super) fn abandon(mut self) {
        for wallet in 0..self.wallets.len() {
            let progress = &self.progress[wallet];
            assert!(!progress.written, "a command checks everything before it books anything");
            self.restore(wallet);
        }
    }

    fn restore(&mut self, wallet: usize) {
        let progress = &mut self.progress[wallet];
        progress.entries.clear();
        progress.counts.clear();
        if let Some(before) = progress.before.take() {
            self.wallets[wallet] = before;
        }
    }
}

/// The entry's own deltas: the sums over its allocations.
fn sums(allocations: &[Allocation]) -> (Amount, Amount) {
    let mut amount = Amount::ZERO;
    let mut held = Amount::ZERO;
    for allocation in allocations {
        match allocation.target {
            Target::Lot(_) => amount += allocation.amount,
            Target::Debt(_) => amount -= allocation.amount,
        }
        held += allocation.held;
    }
    (amount, held)
}
