//! An independent reference model of one tenant's wallets, written from the rules and in the plainest way.
//!
//! It shares only plain data types with the rule book (commands, kinds, usage), none of its code: every number is
//! recomputed from single records each time, nothing is cached, and what is due is booked whenever anybody looks. It
//! never sees an entry. Read `due.rs` for time, `spend.rs` for debits, holds and refunds, `purchase.rs` for money
//! that goes back.

mod due;
mod limits;
mod price;
mod purchase;
mod spend;

pub use limits::Use;
use purser_core::catalogue::Catalogue;
use purser_core::command::{Command, Grant, Movement, Revoke};
use purser_core::confirm::Thresholds;
use purser_core::decide::Standing;
use purser_core::entry::{GrantKind, Usage};
use purser_core::{Amount, Key, TenantNo, WalletId};
use std::collections::BTreeMap;

/// The code of a refusal.
pub type Code = &'static str;
/// What a step of the model answers.
pub type Answer = Result<(), Code>;

/// Stands for "never expires".
pub const NEVER: i64 = i64::MAX;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// One lot.
#[derive(Clone, PartialEq, Debug)]
pub struct LotRecord {
    pub kind: GrantKind,
    pub priority: i32,
    pub effective: i64,
    pub expires: i64,
    pub granted: i64,
    pub paid: Option<i64>,
    pub origin: Option<u128>,
    pub parent: Option<u128>,
    pub remaining: i64,
    pub money: i64,
    pub expired: i64,
}

/// What became of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Active,
    Captured,
    Released,
    Expired,
}

/// One hold.
#[derive(Clone, PartialEq, Debug)]
pub struct HoldRecord {
    pub fate: Fate,
    pub action: u64,
    pub price: u128,
    /// The largest usage that was expected.
    pub expected: Usage,
    /// What its action had been used when it was placed.
    pub used_before: i64,
    /// What was taken off its price, in hundredths of a percent.
    pub less: u16,
    pub pins: Vec<(u128, i64)>,
    /// What it pinned in all before it closed.
    pub placed: i64,
    pub expires: i64,
    pub ends: i64,
}

impl HoldRecord {
    /// What it pins.
    pub fn held(&self) -> i64 {
        self.pins.iter().map(|(_, amount)| amount).sum()
    }
}

/// Credit of one lot wanted by one cause.
#[derive(Clone, PartialEq, Debug)]
pub struct FreezeRecord {
    pub cause: u128,
    pub lot: u128,
    pub wanted: i64,
    pub taken: i64,
}

/// Credit owed.
#[derive(Clone, PartialEq, Debug)]
pub struct DebtRecord {
    pub subject: u128,
    pub reversal_of: Option<u128>,
    pub amount: i64,
}

/// Credit that left a lot with its money, and how much of both came back.
#[derive(Clone, PartialEq, Debug)]
pub struct Taken {
    pub lot: u128,
    pub amount: i64,
    pub money: i64,
    pub back: i64,
}

/// One debit, or what one reversal took from one wallet: from lots at once, and later by repaying its debt.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bill {
    pub cost: i64,
    pub refunded: i64,
    pub own: Vec<Taken>,
    pub repaid: Vec<Taken>,
}

/// What one cause reversed in one wallet.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reversal {
    pub bill: Bill,
    pub breakage: Vec<(u128, i64)>,
    pub undone: bool,
}

/// One wallet.
#[derive(Clone, PartialEq, Debug)]
pub struct Account {
    pub id: WalletId,
    pub unit: Key,
    pub lots: BTreeMap<u128, LotRecord>,
    pub holds: BTreeMap<u128, HoldRecord>,
    pub freezes: Vec<FreezeRecord>,
    pub debts: Vec<DebtRecord>,
    pub bills: BTreeMap<u128, Bill>,
    pub reversals: BTreeMap<u128, Reversal>,
    pub last_topup: i64,
    /// Everything due until here is booked.
    pub seen: i64,
}

/// The six numbers and the last top-up.
pub type Numbers = [i64; 7];

impl Account {
    /// An empty wallet.
    pub fn new(id: WalletId, unit: Key) -> Account {
        Account {
            id,
            unit,
            lots: BTreeMap::new(),
            holds: BTreeMap::new(),
            freezes: Vec::new(),
            debts: Vec::new(),
            bills: BTreeMap::new(),
            reversals: BTreeMap::new(),
            last_topup: 0,
            seen: 0,
        }
    }

    /// Pinned in a lot by active holds.
    pub fn held(&self, lot: u128) -> i64 {
        self.holds.values().flat_map(|hold| &hold.pins).filter(|pin| pin.0 == lot).map(|pin| pin.1).sum()
    }

    /// Frozen in a lot.
    pub fn frozen(&self, lot: u128) -> i64 {
        self.freezes.iter().filter(|freeze| freeze.lot == lot).map(|freeze| freeze.taken).sum()
    }

    /// Neither pinned nor frozen.
    pub fn free(&self, lot: u128) -> i64 {
        self.lots[&lot].remaining - self.held(lot) - self.frozen(lot)
    }

    /// The same without the records of reversals: some took nothing here, and of those no entry tells.
    fn told(&self) -> Account {
        Account { reversals: BTreeMap::new(), ..self.clone() }
    }

    /// Owed.
    pub fn debt(&self) -> i64 {
        self.debts.iter().map(|debt| debt.amount).sum()
    }

    /// Lots by burn order: priority, expiry, promotional before paid, effective, age.
    pub fn burn_order(&self) -> Vec<u128> {
        let mut ids: Vec<u128> = self.lots.keys().copied().collect();
        ids.sort_by_key(|id| {
            let lot = &self.lots[id];
            let kind = match lot.kind {
                GrantKind::Promotional => 0,
                GrantKind::Adjustment => 1,
                GrantKind::Paid => 2,
            };
            (lot.priority, lot.expires, kind, lot.effective, *id)
        });
        ids
    }

    /// Lots that can be spent at `now`, in burn order.
    pub fn spendable(&self, now: i64) -> Vec<u128> {
        let live =
            |id: &u128| self.lots[id].effective <= now && self.lots[id].expires > now && self.free(*id) > 0;
        self.burn_order().into_iter().filter(live).collect()
    }

    /// What can be spent at `now` less what is owed.
    pub fn available(&self, now: i64) -> i64 {
        self.spendable(now).into_iter().map(|id| self.free(id)).sum::<i64>() - self.debt()
    }

    /// settled, held, available, pending, frozen, debt, last top-up.
    pub fn numbers(&self, now: i64) -> Numbers {
        let remaining: i64 = self.lots.values().map(|lot| lot.remaining).sum();
        let pending = |lot: &&u128| self.lots[*lot].effective > now && self.lots[*lot].expires > now;
        [
            remaining - self.debt(),
            self.lots.keys().map(|lot| self.held(*lot)).sum(),
            self.available(now),
            self.lots.keys().filter(pending).map(|lot| self.free(*lot)).sum(),
            self.lots.keys().map(|lot| self.frozen(*lot)).sum(),
            self.debt(),
            self.last_topup,
        ]
    }

    /// Takes credits and their share of the money out of a lot. What has left a lot has taken the price of it, rounded
    /// down, so that the parts add up to the price paid.
    pub fn draw(&mut self, id: u128, amount: i64) -> Taken {
        let lot = self.lots.get_mut(&id).expect("lots are never forgotten here");
        assert!(amount >= 0 && amount <= lot.remaining, "the model overdrew a lot");
        lot.remaining -= amount;
        let stays = {
            let whole = i128::from(lot.paid.unwrap_or(0)) * i128::from(lot.remaining);
            let granted = i128::from(lot.granted);
            i64::try_from((whole + granted - 1) / granted).expect("at most the price")
        };
        let money = (lot.money - stays).max(0);
        lot.money -= money;
        Taken { lot: id, amount, money, back: 0 }
    }
}

/// One tenant.
#[derive(Clone, Debug)]
pub struct Model {
    pub catalogue: Catalogue,
    pub standing: Standing,
    /// Above which cost the user wants to be asked.
    pub asked_above: Thresholds,
    pub accounts: Vec<Account>,
    /// Causes that have frozen something: each does so once.
    pub causes: Vec<u128>,
    pub tenant: TenantNo,
    /// What was used, debit by debit and hold by hold, for limits and metered prices.
    pub uses: Vec<Use>,
}

impl Model {
    /// What `command` does at `now` to the wallets with these numbers: done, or refused with this code.
    pub fn step(&mut self, which: &[usize], command: &Command, now: i64) -> Answer {
        let before = self.clone();
        for account in &mut self.accounts {
            account.book_due(now);
        }
        let due = self.accounts.clone();
        let answer = self.act(which, command, now);
        if answer.is_ok() {
            // The rule book books what is due, and so what no longer counts, where a command writes.
            let sweeps = matches!(command.movement, Movement::Sweep);
            let written =
                (0..due.len()).filter(|index| sweeps || due[*index].told() != self.accounts[*index].told());
            written.collect::<Vec<_>>().into_iter().for_each(|index| self.forget_expired(index));
        }
        if answer.is_err() {
            *self = before;
        }
        for account in &mut self.accounts {
            account.book_due(now);
            account.calm(now);
        }
        answer
    }

    fn act(&mut self, which: &[usize], command: &Command, now: i64) -> Answer {
        let (id, occurred) = (command.id.0, command.occurred_at.0);
        let first = which[0];
        match &command.movement {
            Movement::Grant(grant) => self.grant(first, id, grant, now),
            Movement::Revoke(revoke) => self.revoke(first, revoke),
            Movement::Debit(debit) => self.debit(which, id, debit, occurred, now),
            Movement::Refund(refund) => self.refund(first, id, refund, now),
            Movement::PlaceHold(place) => self.place(which, id, place, occurred, now),
            Movement::ExtendHold(extend) => self.extend(first, extend, now),
            Movement::CaptureHold(capture) => self.capture(first, capture, now),
            Movement::ReleaseHold { hold } => self.release(first, hold.0),
            Movement::Transfer { amount } => self.transfer(which, id, amount.0, now),
            Movement::Freeze(freeze) => self.freeze(which, freeze),
            Movement::Thaw { cause } => self.thaw(which, cause.0),
            Movement::Reverse(reverse) => self.reverse(which, reverse),
            Movement::Reinstate { cause } => self.reinstate(which, id, cause.0, now),
            Movement::Sweep => Ok(()),
        }
    }

    fn grant(&mut self, wallet: usize, id: u128, grant: &Grant, now: i64) -> Answer {
        if grant.amount.0 <= 0 {
            return Err("amount_not_positive");
        }
        if grant.amount > Amount::MAX {
            return Err("amount_overflow");
        }
        let effective = grant.effective_at.map_or(now, |at| at.0);
        let expires = grant.expires_at.map_or(NEVER, |at| at.0);
        if expires <= now.max(effective) {
            return Err("time_invalid");
        }
        self.open()?;
        let account = &mut self.accounts[wallet];
        if account.numbers(now)[0].checked_add(grant.amount.0).is_none_or(|sum| sum > Amount::MAX.0) {
            return Err("amount_overflow");
        }
        let paid = grant.paid.map(|money| money.minor);
        let lot = LotRecord {
            kind: grant.kind,
            priority: grant.priority,
            effective,
            expires,
            granted: grant.amount.0,
            paid,
            origin: grant.origin.map(|origin| origin.0),
            parent: None,
            remaining: grant.amount.0,
            money: paid.unwrap_or(0),
            expired: 0,
        };
        account.lots.insert(id, lot);
        if grant.kind == GrantKind::Paid {
            account.last_topup = grant.amount.0;
        }
        Ok(())
    }

    fn revoke(&mut self, wallet: usize, revoke: &Revoke) -> Answer {
        if revoke.amount.is_some_and(|amount| amount.0 <= 0) {
            return Err("amount_not_positive");
        }
        let account = &mut self.accounts[wallet];
        let lot = revoke.lot.0;
        if !account.lots.contains_key(&lot) {
            return Err("grant_not_found");
        }
        let most = account.free(lot);
        let amount = revoke.amount.map_or(most, |amount| amount.0);
        if amount > most || amount == 0 {
            return Err("revoke_exceeds_unspent");
        }
        account.draw(lot, amount);
        Ok(())
    }

    fn transfer(&mut self, which: &[usize], id: u128, amount: i64, now: i64) -> Answer {
        let (from, to) = (which[0], which[1]);
        if amount <= 0 {
            return Err("amount_not_positive");
        }
        if from == to {
            return Err("same_wallet");
        }
        if self.accounts[from].unit != self.accounts[to].unit {
            return Err("unit_mismatch");
        }
        self.may_spend()?;
        if self.accounts[from].available(now) < amount {
            return Err("insufficient_credits");
        }
        let pieces = self.accounts[from].burn(amount, now);
        for (piece, number) in pieces.into_iter().zip(1..) {
            let parent = &self.accounts[from].lots[&piece.lot];
            let child = LotRecord {
                granted: piece.amount,
                paid: parent.paid.map(|_| piece.money),
                parent: Some(piece.lot),
                remaining: piece.amount,
                money: piece.money,
                expired: 0,
                ..parent.clone()
            };
            self.accounts[to].lots.insert(id + number, child);
        }
        Ok(())
    }

    /// Closed tenants take nothing new.
    fn open(&self) -> Answer {
        if self.standing == Standing::Closed { Err("tenant_closed") } else { Ok(()) }
    }

    /// Only an active tenant spends by its own will.
    fn may_spend(&self) -> Answer {
        match self.standing {
            Standing::Active => Ok(()),
            Standing::Frozen => Err("spending_frozen"),
            Standing::Suspended => Err("tenant_suspended"),
            Standing::Closed => Err("tenant_closed"),
        }
    }
}
