//! When somebody is told that less can be spent: once for each threshold, and again only after there was more.

#![allow(unreachable_pub, reason = "the modules of a test are read nowhere else")]

mod world;

use purser_core::catalogue::{Action, Catalogue, Overage, Price, Unit};
use purser_core::command::{Command, Debit, Grant, Movement, PlaceHold};
use purser_core::entry::{Actor, GrantKind, Usage};
use purser_core::pricing::{Bounds, Model, Rate};
use purser_core::wallet::{Fall, Owner};
use purser_core::{Amount, Decimal, Id, Key, Quantity, TenantNo, Timestamp, UserNo, Wallet};
use world::World;

const SECOND: i64 = 1_000_000;
const NOTHING: [Fall; 0] = [];
const LOW: [Fall; 1] = [Fall { low: true, depleted: false }];
const DEPLETED: [Fall; 1] = [Fall { low: false, depleted: true }];
const BOTH: [Fall; 1] = [Fall { low: true, depleted: true }];

struct Tale {
    world: World,
    now: i64,
}

impl Tale {
    /// A user with nothing, and an action that costs a credit a piece.
    fn new() -> Tale {
        let credit = Unit::credit();
        let rate = Rate { rate: Decimal(1_000_000_000_000), per: 1 };
        let price = Price {
            id: Id(1),
            unit: credit.code.clone(),
            valid_from: Timestamp(0),
            model: Model::PerQuantity { rate, bounds: Bounds::default() },
        };
        let action = Action {
            no: 1,
            key: Key::parse("piece").expect("a key"),
            active: true,
            overage: Overage::Refuse,
            confirm_above: Default::default(),
            units: vec![credit.code.clone()],
            prices: vec![price],
        };
        let wallets = vec![Wallet::new(TenantNo(1), Owner::User(UserNo(1)), credit)];
        let catalogue = Catalogue::new([], [action]);
        let world = World::new(catalogue, wallets);
        Tale { world, now: 1_000 * SECOND }
    }

    fn run(&mut self, movement: Movement) -> Vec<Fall> {
        let command = Command {
            id: Id::new(self.world.entries.len() as u64 + 1, 0),
            tenant: TenantNo(1),
            user: Some(UserNo(1)),
            actor: Actor::WORKER,
            occurred_at: Timestamp(self.now),
            text_digest: None,
            movement,
        };
        let decided = self.world.run(&[0], &command, Timestamp(self.now)).expect("nothing here is refused");
        decided.falls.into_iter().map(|(_, fall)| fall).collect()
    }

    fn grant(&mut self, kind: GrantKind, amount: i64, starts: i64, ends: Option<i64>) -> Vec<Fall> {
        self.run(Movement::Grant(Grant {
            amount: Amount(amount * 1_000_000),
            kind,
            priority: 0,
            effective_at: Some(Timestamp(self.now + starts * SECOND)),
            expires_at: ends.map(|ends| Timestamp(self.now + ends * SECOND)),
            paid: None,
            origin: None,
        }))
    }

    /// Spends; what lacks becomes debt.
    fn spend(&mut self, amount: i64) -> Vec<Fall> {
        let usage = Usage::Quantity(Quantity(amount * 1_000_000));
        self.run(Movement::Debit(Debit {
            action: 1,
            usage,
            unit: None,
            wallet: None,
            settle: true,
            quote: None,
        }))
    }

    fn hold(&mut self, amount: i64, expires_in: i64) -> Vec<Fall> {
        let usage = Usage::Quantity(Quantity(amount * 1_000_000));
        let expires_in = expires_in * SECOND;
        self.run(Movement::PlaceHold(PlaceHold {
            action: 1,
            usage,
            unit: None,
            wallet: None,
            expires_in,
            quote: None,
        }))
    }

    fn wait(&mut self, seconds: i64) {
        self.now += seconds * SECOND;
    }
}

#[test]
fn each_threshold_is_told_when_it_is_crossed_and_not_with_each_debit_below() {
    let mut tale = Tale::new();
    assert_eq!(tale.grant(GrantKind::Paid, 100, 0, None), NOTHING);
    assert_eq!(tale.spend(79), NOTHING);
    assert_eq!(tale.spend(1), LOW, "a fifth is left");
    assert_eq!(tale.spend(5), NOTHING);
    assert_eq!(tale.spend(14), NOTHING);
    assert_eq!(tale.spend(1), DEPLETED);
    assert_eq!(tale.spend(7), NOTHING, "debt is no further fall");
    assert_eq!(tale.grant(GrantKind::Paid, 50, 0, None), NOTHING);
    assert_eq!(tale.spend(33), LOW, "of 50, less the debt, a fifth is left: it is told again");
    assert_eq!(tale.grant(GrantKind::Promotional, 50, 0, None), NOTHING);
    assert_eq!(tale.spend(1_000), BOTH);
}

#[test]
fn where_nothing_was_paid_for_there_is_no_low() {
    let mut tale = Tale::new();
    assert_eq!(tale.spend(3), NOTHING, "there was nothing before");
    assert_eq!(tale.grant(GrantKind::Promotional, 100, 0, None), NOTHING);
    assert_eq!(tale.spend(96), NOTHING);
    assert_eq!(tale.spend(1), DEPLETED);
}

#[test]
fn credits_that_are_pinned_cannot_be_spent_and_come_back_by_time_alone() {
    let mut tale = Tale::new();
    tale.grant(GrantKind::Paid, 100, 0, None);
    assert_eq!(tale.hold(85, 60), LOW);
    tale.wait(61);
    // The hold ran out meanwhile: there was plenty again, whether anybody looked or not.
    assert_eq!(tale.spend(81), LOW);
}

#[test]
fn what_expires_is_told_with_the_next_entry() {
    let mut tale = Tale::new();
    tale.grant(GrantKind::Paid, 100, 0, Some(60));
    tale.grant(GrantKind::Promotional, 10, 0, None);
    tale.wait(61);
    assert_eq!(tale.run(Movement::Sweep), LOW);
    assert_eq!(tale.run(Movement::Sweep), NOTHING);
    assert_eq!(tale.spend(1), NOTHING);
}

#[test]
fn a_top_up_that_starts_later_may_make_what_is_left_little() {
    let mut tale = Tale::new();
    tale.grant(GrantKind::Paid, 10, 0, None);
    assert_eq!(tale.grant(GrantKind::Paid, 100, 60, None), LOW, "10 is less than a fifth of 100");
    tale.wait(60);
    assert_eq!(tale.spend(89), NOTHING, "21 are left");
    assert_eq!(tale.spend(1), LOW);
}
