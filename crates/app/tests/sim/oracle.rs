//! What is expected: the independent model of every tenant, and what exactly-once adds to it.
//!
//! The model knows one `now`. A node's `now` is never before what the wallets of the command have recorded, so the
//! oracle keeps that instant for each wallet, and plays only the wallets that a command loads. A wallet that is looked
//! at and not written stays where it was.

use super::catalogue;
use crate::model::{Account, Fate, Model, Numbers, Use};
use purser_app::engine::{Job, Route};
use purser_core::catalogue::{Action, Catalogue, Unit};
use purser_core::command::{Command, Movement};
use purser_core::decide::Standing;
use purser_core::entry::{ActorKind, EntryKind};
use purser_core::limit::Limit;
use purser_core::receipt::Receipt;
use purser_core::wallet::Owner;
use purser_core::{Id, Key, TenantNo, WalletId, WalletKey};
use purser_store::KeyDigest;
use std::collections::{BTreeMap, BTreeSet};

/// More due facts than this are booked before the command.
const DUE_MAX: usize = 256;

/// The numbers of some wallets.
pub type Balances = Vec<(WalletId, Numbers)>;

/// A wallet as the oracle knows it.
#[derive(Clone)]
pub struct Place {
    pub key: WalletKey,
    pub owner: Owner,
    pub unit: Unit,
    /// When its last entry was recorded; 0 while it does not exist.
    pub recorded: i64,
}

/// One tenant.
#[derive(Clone)]
pub struct Tenant {
    pub no: TenantNo,
    pub standing: Standing,
    pub places: Vec<Place>,
    pub accounts: Vec<Account>,
    causes: Vec<u128>,
    /// Which wallets a cause has reached.
    reached: BTreeMap<u128, BTreeSet<usize>>,
    /// In which wallet a grant, debit or hold is.
    subjects: BTreeMap<u128, usize>,
    /// What counts against limits.
    uses: Vec<Use>,
}

/// What is kept under a key.
#[derive(Clone)]
pub struct Kept {
    pub digest: [u8; 32],
    /// Unknown while the answer was lost on its way.
    pub receipt: Option<Receipt>,
    pub at: i64,
}

/// What a job is expected to come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Carried out now: at this time, leaving these numbers in the wallets that it wrote.
    Done { now: i64, numbers: Balances },
    /// Carried out before.
    Replayed(Option<Receipt>),
    /// Refused with this code.
    Refused(&'static str),
    /// Its key is not in force.
    Unauthenticated,
    /// It waited too long.
    Late,
}

/// Everything that should be so.
#[derive(Clone)]
pub struct Oracle {
    pub tenants: Vec<Tenant>,
    pub actions: Vec<Action>,
    pub catalogue: Catalogue,
    limits: Vec<Limit>,
    pub keys_in_force: BTreeSet<u64>,
    pub kept: BTreeMap<KeyDigest, Kept>,
    /// How many entries of a kind a subject of a tenant must have.
    pub effects: BTreeMap<(u64, u8, u128), u64>,
    /// Whether something was recorded since this was last set to false.
    pub wrote: bool,
    /// Whether more was due somewhere than one command books.
    pub swept: bool,
    /// Quotes that a debit or hold was made with, by tenant.
    quotes: BTreeSet<(u64, u128)>,
}

impl Tenant {
    /// A tenant with a wallet in each unit for each of these owners.
    pub fn new(no: TenantNo, owners: &[Owner]) -> Tenant {
        let place = |owner: Owner| {
            catalogue::units().map(|unit| Place {
                key: WalletKey::derive(no, owner, &unit),
                owner,
                unit,
                recorded: 0,
            })
        };
        let places: Vec<Place> = owners.iter().flat_map(|owner| place(*owner)).collect();
        let accounts =
            places.iter().map(|place| Account::new(place.key.id, place.unit.code.clone())).collect();
        let standing = Standing::Active;
        let (reached, subjects) = (BTreeMap::new(), BTreeMap::new());
        Tenant { no, standing, places, accounts, causes: Vec::new(), reached, subjects, uses: Vec::new() }
    }

    fn place_of(&self, wanted: impl Fn(&Place) -> bool) -> usize {
        self.places.iter().position(wanted).expect("requests name wallets of the world")
    }

    /// The wallets that a route leads to, as the funnel loads them; or why there are none.
    fn route(
        &self,
        catalogue: &Catalogue,
        route: &Route,
        command: &Command,
    ) -> Result<Vec<usize>, &'static str> {
        match route {
            Route::Action(owner) => {
                let no = match &command.movement {
                    Movement::Debit(debit) => debit.action,
                    Movement::PlaceHold(place) => place.action,
                    other => panic!("no consumption: {other:?}"),
                };
                let action = catalogue.action(no).ok_or("action_not_found")?;
                let of =
                    |unit: &Key| self.place_of(|place| place.owner == *owner && place.unit.code == *unit);
                Ok(action.units.iter().map(of).collect())
            }
            Route::Wallet(key, owner) => {
                let found = self.place_of(|place| place.key == *key);
                let fits = self.places[found].recorded > 0
                    && owner.is_none_or(|owner| owner == self.places[found].owner);
                if fits { Ok(vec![found]) } else { Err("wallet_not_found") }
            }
            Route::Owned(owner, unit) => {
                Ok(vec![self.place_of(|place| place.owner == *owner && place.unit.code == *unit)])
            }
            // A thing that does not exist is in no wallet; any will do to be told so.
            Route::Subject(id) => Ok(vec![self.subjects.get(&id.0).copied().unwrap_or(0)]),
            Route::Pair(pair) => {
                let mut both = self.route(catalogue, &pair.0, command)?;
                both.extend(self.route(catalogue, &pair.1, command)?);
                if both[0] == both[1] { Err("same_wallet") } else { Ok(both) }
            }
            Route::Origin(origin, buyer) => self.of_purchase(*origin, *buyer, cause_of(command)),
        }
    }

    fn of_purchase(
        &self,
        origin: Id,
        buyer: Option<WalletKey>,
        cause: Option<Id>,
    ) -> Result<Vec<usize>, &'static str> {
        let reached = cause.and_then(|cause| self.reached.get(&cause.0));
        let buyer = buyer.map(|key| self.place_of(|place| place.key == key));
        let has = |index: &usize| {
            let lots = &self.accounts[*index].lots;
            lots.values().any(|lot| lot.origin == Some(origin.0))
                || Some(*index) == buyer
                || reached.is_some_and(|reached| reached.contains(index))
        };
        let mut found: Vec<usize> = (0..self.places.len()).filter(has).collect();
        found.sort_by_key(|index| self.places[*index].key);
        if found.iter().all(|index| self.places[*index].recorded > 0) {
            Ok(found)
        } else {
            Err("wallet_not_found")
        }
    }

    /// Books what is due before the command, where it is too much for one.
    fn sweep_first(&mut self, which: &[usize], now: i64) -> bool {
        let mut swept = false;
        for &index in which {
            let account = &mut self.accounts[index];
            let holds =
                account.holds.values().filter(|hold| hold.fate == Fate::Active && hold.expires <= now);
            let lots = account.lots.iter().filter(|(id, lot)| lot.expires <= now && account.free(**id) > 0);
            if holds.count() + lots.count() > DUE_MAX {
                account.book_due(now);
                for one in self.uses.iter_mut().filter(|one| one.wallet == index && one.is_hold) {
                    one.gone |= account.holds[&one.id].fate == Fate::Expired;
                }
                self.places[index].recorded = now;
                swept = true;
            }
        }
        swept
    }

    /// The other wallets, as far as limits ask for them: what is paid from them counts as well.
    fn others(&self, which: &[usize]) -> Vec<usize> {
        (0..self.places.len()).filter(|index| !which.contains(index)).collect()
    }
}

/// What was used, where the model has its wallets in another order: `order` says which one stands where.
fn seen_from(uses: &[Use], order: &[usize]) -> Vec<Use> {
    let place = |one: &Use| order.iter().position(|index| *index == one.wallet);
    uses.iter().filter_map(|one| Some(Use { wallet: place(one)?, ..one.clone() })).collect()
}

impl Oracle {
    /// A world in which nothing has happened.
    pub fn new(tenants: Vec<Tenant>, actions: Vec<Action>, limits: Vec<Limit>, keys: &[u64]) -> Oracle {
        Oracle {
            tenants,
            catalogue: catalogue::catalogue(&actions).with_limits(limits.clone()),
            limits,
            actions,
            keys_in_force: keys.iter().copied().collect(),
            kept: BTreeMap::new(),
            quotes: BTreeSet::new(),
            effects: BTreeMap::new(),
            wrote: false,
            swept: false,
        }
    }

    /// The actions changed.
    pub fn reprice(&mut self) {
        self.catalogue = catalogue::catalogue(&self.actions).with_limits(self.limits.clone());
    }

    /// The latest instant that any wallet has recorded.
    pub fn latest(&self) -> i64 {
        let places = self.tenants.iter().flat_map(|tenant| &tenant.places);
        places.map(|place| place.recorded).max().unwrap_or(0)
    }

    /// What becomes of a job that is carried out at `clock`, and plays it.
    pub fn expect(&mut self, job: &Job, clock: i64, late: bool) -> Expected {
        if late {
            return Expected::Late;
        }
        let identity = job.event.or(job.key.map(|(key, _)| key));
        if let Some(kept) = identity.and_then(|identity| self.kept.get(&identity)) {
            // Whatever else it says, an event is the same one.
            let same = job.event.is_some() || job.key.is_some_and(|(_, digest)| digest == kept.digest);
            return if same {
                Expected::Replayed(kept.receipt.clone())
            } else {
                Expected::Refused("idempotency_conflict")
            };
        }
        let actor = job.command.actor;
        if actor.kind == ActorKind::ApiKey && !self.keys_in_force.contains(&actor.no) {
            return Expected::Unauthenticated;
        }
        match self.carry_out(job, clock) {
            Ok((now, numbers)) => {
                self.wrote |= job.key.is_some();
                if let Some((key, digest)) = job.key {
                    self.kept.insert(key, Kept { digest, receipt: None, at: now });
                }
                if let Some(event) = job.event {
                    // It is never forgotten.
                    self.kept.insert(event, Kept { digest: [0; 32], receipt: None, at: i64::MAX });
                }
                if let Some((kind, subject)) = effect(&job.command) {
                    *self.effects.entry((job.command.tenant.0, kind as u8, subject.0)).or_default() += 1;
                }
                Expected::Done { now, numbers }
            }
            Err(code) => Expected::Refused(code),
        }
    }

    fn carry_out(&mut self, job: &Job, clock: i64) -> Result<(i64, Balances), &'static str> {
        let promised = job.command.movement.promise().map(|promise| (job.command.tenant.0, promise.id.0));
        let known = promised.is_some_and(|promised| self.quotes.contains(&promised));
        let mut command = job.command.clone();
        if known {
            command.movement = command.movement.with_promise_used();
        }
        let command = &command;
        let place = self.tenants.iter().position(|tenant| tenant.no == command.tenant);
        let tenant = &mut self.tenants[place.expect("requests are of known tenants")];
        let which = tenant.route(&self.catalogue, &job.route, command)?;
        let now = which.iter().map(|index| tenant.places[*index].recorded).fold(clock, i64::max);
        let nowhere = matches!(&job.route, Route::Subject(id) if !tenant.subjects.contains_key(&id.0));
        if !nowhere && tenant.sweep_first(&which, now) {
            self.wrote = true;
            self.swept = true;
        }
        let before: Vec<Account> = which.iter().map(|index| tenant.accounts[*index].clone()).collect();
        // A sweep is of its wallets alone; for anything else the others are there empty, for what was used of them.
        let others = if matches!(command.movement, Movement::Sweep) { vec![] } else { tenant.others(&which) };
        let empty = |index: &usize| {
            let place = &tenant.places[*index];
            Account::new(place.key.id, place.unit.code.clone())
        };
        let order: Vec<usize> = which.iter().chain(&others).copied().collect();
        let mut part = Model {
            asked_above: Default::default(),
            catalogue: self.catalogue.clone(),
            standing: tenant.standing,
            accounts: before.iter().cloned().chain(others.iter().map(empty)).collect(),
            causes: tenant.causes.clone(),
            tenant: command.tenant,
            uses: seen_from(&tenant.uses, &order),
        };
        let inside: Vec<usize> = (0..which.len()).collect();
        part.step(&inside, command, now)?;
        tenant.uses.retain(|one| !order.contains(&one.wallet));
        tenant.uses.extend(part.uses.iter().map(|one| Use { wallet: order[one.wallet], ..one.clone() }));
        self.quotes.extend(promised);
        let mut numbers = Vec::new();
        tenant.causes = part.causes;
        for ((index, before), after) in which.into_iter().zip(before).zip(part.accounts) {
            if written(command, &job.route, before, &after, now) {
                if let Some(subject) = subject_made(command, &after) {
                    tenant.subjects.insert(subject.0, index);
                }
                numbers.push((after.id, after.numbers(now)));
                if let Some(cause) = cause_of(command) {
                    tenant.reached.entry(cause.0).or_default().insert(index);
                }
                tenant.accounts[index] = after;
                tenant.places[index].recorded = now;
                self.wrote = true;
            }
        }
        Ok((now, numbers))
    }
}

/// Why money is disputed or goes back.
fn cause_of(command: &Command) -> Option<Id> {
    match &command.movement {
        Movement::Freeze(freeze) => Some(freeze.cause),
        Movement::Reverse(reverse) => Some(reverse.cause),
        Movement::Thaw { cause } | Movement::Reinstate { cause } => Some(*cause),
        _ => None,
    }
}

/// Whether the command wrote to this wallet, or only looked at it.
fn written(command: &Command, route: &Route, mut before: Account, after: &Account, now: i64) -> bool {
    match &command.movement {
        Movement::Debit(_) => after.bills.contains_key(&command.id.0),
        Movement::PlaceHold(_) => after.holds.contains_key(&command.id.0),
        Movement::Sweep => state_of(&before) != state_of(after),
        _ if matches!(route, Route::Origin(..)) => {
            before.book_due(now);
            before.calm(now);
            state_of(&before) != state_of(after)
        }
        _ => true,
    }
}

/// The grant, debit or hold that the command made in this wallet: later requests find the wallet by it.
fn subject_made(command: &Command, after: &Account) -> Option<Id> {
    match &command.movement {
        Movement::Grant(_) => Some(command.id),
        Movement::Debit(_) => Some(command.id).filter(|id| after.bills.contains_key(&id.0)),
        Movement::PlaceHold(_) => Some(command.id).filter(|id| after.holds.contains_key(&id.0)),
        _ => None,
    }
}

/// The entry that a command leaves: its kind and what it belongs to. Sweeps leave none of their own.
fn effect(command: &Command) -> Option<(EntryKind, Id)> {
    Some(match &command.movement {
        Movement::Grant(_) => (EntryKind::Grant, command.id),
        Movement::Revoke(revoke) => (EntryKind::Revoke, revoke.lot),
        Movement::Debit(_) => (EntryKind::Debit, command.id),
        Movement::Refund(refund) => (EntryKind::Refund, refund.debit),
        Movement::PlaceHold(_) => (EntryKind::Hold, command.id),
        Movement::ExtendHold(extend) => (EntryKind::Extend, extend.hold),
        Movement::CaptureHold(capture) => (EntryKind::Capture, capture.hold),
        Movement::ReleaseHold { hold } => (EntryKind::Release, *hold),
        Movement::Transfer { .. } => (EntryKind::TransferOut, command.id),
        Movement::Freeze(freeze) => (EntryKind::Freeze, freeze.cause),
        Movement::Thaw { cause } => (EntryKind::Thaw, *cause),
        Movement::Reverse(reverse) => (EntryKind::Reverse, reverse.cause),
        Movement::Reinstate { cause } => (EntryKind::Reinstate, *cause),
        Movement::Sweep => return None,
    })
}

/// Everything in an account that an entry can change, one line for each thing.
fn state_of(account: &Account) -> Vec<[i128; 6]> {
    let number = |id: u128| id as i128;
    let lots = account.lots.iter().map(|(id, lot)| {
        let (held, frozen) = (account.held(*id), account.frozen(*id));
        [
            1,
            number(*id),
            i128::from(lot.remaining),
            i128::from(held),
            i128::from(frozen),
            i128::from(lot.expired),
        ]
    });
    let holds = account
        .holds
        .iter()
        .map(|(id, hold)| [2, number(*id), hold.fate as i128, i128::from(hold.held()), 0, 0]);
    let debts = account.debts.iter().map(|debt| [3, number(debt.subject), i128::from(debt.amount), 0, 0, 0]);
    let freezes = account
        .freezes
        .iter()
        .map(|row| [4, number(row.cause), number(row.lot), i128::from(row.wanted), i128::from(row.taken), 0]);
    lots.chain(holds).chain(debts).chain(freezes).collect()
}
