//! One generated story: the real rule book, the model and a rebuild from entries, step by step.

use crate::generate::{self, Known, Op, START, Stride};
use crate::model::{Account, Fate, Model};
use crate::world::World;
use purser_core::catalogue::Catalogue;
use purser_core::command::{Command, Movement};
use purser_core::decide::{Standing, project};
use purser_core::entry::Actor;
use purser_core::wallet::HoldState;
use purser_core::{Decision, Entry, Id, Rejection, Timestamp, Wallet};

/// A story so far.
pub struct Story {
    pub world: World,
    pub model: Model,
    pub known: Known,
    /// The wallets as rebuilt from entries alone.
    pub rebuilt: Vec<Wallet>,
    pub now: i64,
    /// The entries of the last step.
    pub fresh: Vec<Entry>,
    /// The command of the last step.
    pub command: Option<Command>,
    log: Vec<String>,
}

/// A lot: id, then remaining, held, frozen, money, then when it starts and ends, priority, then origin, parent.
type LotLine = (u128, [i64; 4], [i64; 3], [Option<u128>; 2]);
/// An active hold: id, when it runs out, what it pins in which lot.
type HoldLine = (u128, i64, Vec<(u128, i64)>);

/// What can be compared between a wallet and the model: numbers, lots, holds, debts, freezes.
#[derive(PartialEq, Eq, Debug)]
struct Essence {
    numbers: [i64; 7],
    lots: Vec<LotLine>,
    holds: Vec<HoldLine>,
    debts: Vec<(u128, i64)>,
    freezes: Vec<(u128, u128, i64, i64)>,
}

impl Story {
    /// An empty tenant.
    pub fn new(catalogue: Catalogue, count: usize) -> Story {
        let wallets = generate::wallets(count);
        let accounts =
            wallets.iter().map(|wallet| Account::new(wallet.key.id, wallet.unit.code.clone())).collect();
        Story {
            model: Model {
                catalogue: catalogue.clone(),
                standing: Standing::Active,
                asked_above: generate::asked_above(),
                accounts,
                causes: Vec::new(),
                tenant: generate::TENANT,
                uses: Vec::new(),
            },
            rebuilt: wallets.clone(),
            world: World { asked_above: generate::asked_above(), ..World::new(catalogue, wallets) },
            known: Known::default(),
            now: START,
            fresh: Vec::new(),
            command: None,
            log: Vec::new(),
        }
    }

    /// Plays one step on all three; panics where the rule book's answer is not the model's.
    pub fn tell(&mut self, step: &Stride) -> Result<Decision, Rejection> {
        self.now += step.after;
        if let Op::Standing(standing) = step.op {
            self.world.standing = standing;
            self.model.standing = standing;
        }
        let (which, command) = self.known.command(&step.op, &self.world.wallets, self.now);
        let (before, wallets) = (self.world.entries.len(), self.world.wallets.clone());
        let counters = self.world.counters.clone();
        let predicted = self.model.step(&which, &command, self.now);
        let answer = self.world.run(&which, &command, Timestamp(self.now));
        self.fresh = self.world.entries[before..].to_vec();
        if let Ok(decision) = &answer {
            crate::laws::each_fall_is_told_once(&wallets, &self.world.wallets, decision, &command, self.now);
            crate::laws::each_charge_explains_itself(&self.world, decision, &command);
            crate::laws::each_share_that_is_reached_is_told(&self.world, &counters, decision, self.now);
        }
        let told = answer.as_ref().map(drop).map_err(Rejection::code);
        self.log.push(format!(
            "t+{} {which:?} {:x?} -> {told:?}",
            (self.now - START) / 1_000,
            command.movement
        ));
        assert_eq!(told, predicted, "the rule book (left) and the model (right) disagree\n{}", self.trail());
        if let Ok(decision) = &answer {
            let paid = self.world.wallets.iter().position(|wallet| wallet.key.id == decision.receipt.wallet);
            self.known.remember(&command, paid.unwrap_or(which[0]));
        }
        self.command = Some(command);
        answer
    }

    /// Books what is due at an instant on the real wallets only.
    pub fn sweep_at(&mut self, at: i64) {
        let which: Vec<usize> = (0..self.world.wallets.len()).collect();
        let command = Command {
            id: Id::new(1, self.world.entries.len() as u64),
            tenant: generate::TENANT,
            user: None,
            actor: Actor::WORKER,
            occurred_at: Timestamp(at),
            text_digest: None,
            movement: Movement::Sweep,
        };
        self.world.run(&which, &command, Timestamp(at)).expect("sweeps are never refused");
    }

    /// The balances now, whatever is booked.
    pub fn numbers(&self) -> Vec<[i64; 7]> {
        let now = Timestamp(self.now);
        self.world.wallets.iter().map(|wallet| real(&project(wallet, now), now).numbers).collect()
    }

    /// Panics unless every wallet, with all that is due booked, is what the model says.
    pub fn agrees_with_the_model(&self) {
        let now = Timestamp(self.now);
        for (wallet, account) in self.world.wallets.iter().zip(&self.model.accounts) {
            let (real, imagined) = (real(&project(wallet, now), now), imagined(account, self.now));
            assert!(real == imagined, "rule book\n{real:x?}\nmodel\n{imagined:x?}\n{}", self.trail());
        }
    }

    /// All steps so far, for the message of a failure.
    pub fn trail(&self) -> String {
        self.log.join("\n")
    }
}

fn real(wallet: &Wallet, now: Timestamp) -> Essence {
    let balance = wallet.balance(now);
    let numbers = [
        balance.settled,
        balance.held,
        balance.available,
        balance.pending,
        balance.frozen,
        balance.debt,
        balance.last_topup,
    ];
    let mut lots: Vec<_> = wallet
        .lots
        .iter()
        .filter(|lot| lot.remaining.is_positive())
        .map(|lot| {
            let terms = &lot.terms;
            let ends = terms.expires_at.unwrap_or(Timestamp::NEVER).0;
            let state = [lot.remaining.0, lot.held.0, lot.frozen.0, lot.money];
            let line = [terms.origin.map(|id| id.0), terms.parent.map(|id| id.0)];
            (terms.id.0, state, [terms.effective_at.0, ends, i64::from(terms.priority)], line)
        })
        .collect();
    lots.sort();
    let active = wallet.holds.iter().filter(|hold| hold.state == HoldState::Active);
    Essence {
        numbers: numbers.map(|amount| amount.0),
        lots,
        holds: active
            .map(|hold| {
                let mut pins: Vec<_> = hold.pins.iter().map(|pin| (pin.lot.0, pin.amount.0)).collect();
                pins.sort_unstable();
                (hold.id.0, hold.terms.expires_at.0, pins)
            })
            .collect(),
        debts: wallet.debts.iter().map(|debt| (debt.subject.0, debt.amount.0)).collect(),
        freezes: by_lot(
            wallet.freezes.iter().map(|row| (row.cause.0, row.lot.0, row.wanted.0, row.taken.0)).collect(),
        ),
    }
}

/// Only the order of the causes within a lot has a meaning.
fn by_lot(mut rows: Vec<(u128, u128, i64, i64)>) -> Vec<(u128, u128, i64, i64)> {
    rows.sort_by_key(|row| row.1);
    rows
}

fn imagined(account: &Account, now: i64) -> Essence {
    let open = account.lots.iter().filter(|(_, lot)| lot.remaining > 0);
    let active = account.holds.iter().filter(|(_, hold)| hold.fate == Fate::Active);
    Essence {
        numbers: account.numbers(now),
        lots: open
            .map(|(id, lot)| {
                let state = [lot.remaining, account.held(*id), account.frozen(*id), lot.money];
                (*id, state, [lot.effective, lot.expires, i64::from(lot.priority)], [lot.origin, lot.parent])
            })
            .collect(),
        holds: active
            .map(|(id, hold)| {
                let mut pins = hold.pins.clone();
                pins.sort_unstable();
                (*id, hold.expires, pins)
            })
            .collect(),
        debts: account.debts.iter().map(|debt| (debt.subject, debt.amount)).collect(),
        freezes: by_lot(
            account.freezes.iter().map(|row| (row.cause, row.lot, row.wanted, row.taken)).collect(),
        ),
    }
}
