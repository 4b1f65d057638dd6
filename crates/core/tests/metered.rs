//! Prices that go by what was used before: what holds count and what quotes promise.

#![allow(unreachable_pub, reason = "the modules of a test are read nowhere else")]

mod world;

use proptest::prelude::*;
use purser_core::catalogue::{Action, Catalogue, Overage, Price, Unit};
use purser_core::command::{CaptureHold, Command, Debit, ExtendHold, Movement, PlaceHold, Promise, Quote};
use purser_core::counter::Period;
use purser_core::entry::{Actor, LotTerms};
use purser_core::entry::{GrantKind, Usage};
use purser_core::pricing::{Bounds, Footing, Meter, Model, Rate, Tier};
use purser_core::time::{DAY, SECOND};
use purser_core::wallet::{Lot, Owner};
use purser_core::{
    Amount, Decimal, Decision, Id, Key, Quantity, Rejection, TenantNo, Timestamp, UserNo, Wallet,
};
use world::World;

const TENANT: TenantNo = TenantNo(1);
const ONE: i64 = 1_000_000;
const PRICE: Id = Id(70);

fn rate(whole: i64) -> Rate {
    Rate { rate: Decimal(whole * 1_000_000_000_000), per: 1 }
}

/// So much a day is included, what is beyond it costs by `model`.
fn metered(included: i64, continued: bool, model: Model) -> Model {
    let meter = Meter { period: Period::Day, included: Quantity(included * ONE), continued };
    Model::Metered { meter, model: Box::new(model) }
}

/// 2 for each beyond the first 10 of a day.
fn ten_included() -> Model {
    metered(10, false, Model::PerQuantity { rate: rate(2), bounds: Bounds::default() })
}

/// A tenant with one wallet of 1,000 and one action at this price.
struct Day {
    world: World,
    now: i64,
    number: u64,
}

impl Day {
    fn new(model: Model) -> Day {
        let unit = Unit::credit();
        let price = Price { id: PRICE, unit: unit.code.clone(), valid_from: Timestamp(0), model };
        let action = Action {
            no: 1,
            key: Key::parse("scan").expect("a key"),
            active: true,
            overage: Overage::Refuse,
            confirm_above: Default::default(),
            units: vec![unit.code.clone()],
            prices: vec![price],
        };
        let mut wallet = Wallet::new(TENANT, Owner::User(UserNo(42)), unit);
        let granted = Amount(1_000 * ONE);
        let terms = LotTerms {
            id: Id(1),
            kind: GrantKind::Promotional,
            priority: 0,
            effective_at: Timestamp(0),
            expires_at: None,
            granted,
            paid: None,
            origin: None,
            parent: None,
        };
        wallet.lots = vec![Lot { remaining: granted, ..Lot::new(terms) }];
        wallet.settled = granted;
        Day { world: World::new(Catalogue::new([], [action]), vec![wallet]), now: DAY, number: 0 }
    }

    fn run(&mut self, movement: Movement) -> Result<Decision, Rejection> {
        self.number += 1;
        let command = Command {
            id: Id::new(u64::try_from(self.now / 1_000).expect("after 1970"), self.number),
            tenant: TENANT,
            user: Some(UserNo(42)),
            actor: Actor::WORKER,
            occurred_at: Timestamp(self.now),
            text_digest: None,
            movement,
        };
        self.world.run(&[0], &command, Timestamp(self.now))
    }

    fn debit(&mut self, wholes: i64, quote: Option<Promise>) -> Result<i64, &'static str> {
        let usage = Usage::Quantity(Quantity(wholes * ONE));
        let quote = quote.map(Quote::Promise);
        let debit = Debit { action: 1, usage, unit: None, wallet: None, settle: false, quote };
        let made = self.run(Movement::Debit(debit));
        made.map(|decision| decision.receipt.amount.0 / ONE).map_err(|rejection| rejection.code())
    }

    fn hold(&mut self, wholes: i64) -> Id {
        let usage = Usage::Quantity(Quantity(wholes * ONE));
        let (unit, wallet, quote) = (None, None, None);
        let place = PlaceHold { action: 1, usage, unit, wallet, expires_in: 3_600 * SECOND, quote };
        self.run(Movement::PlaceHold(place)).expect("there is enough").receipt.id
    }

    fn extend(&mut self, hold: Id, wholes: i64) {
        let usage = Some(Usage::Quantity(Quantity(wholes * ONE)));
        self.run(Movement::ExtendHold(ExtendHold { hold, usage, expires_in: None })).expect("extended");
    }

    fn capture(&mut self, hold: Id, wholes: Option<i64>) -> i64 {
        let usage = wholes.map(|wholes| Usage::Quantity(Quantity(wholes * ONE)));
        let captured = self.run(Movement::CaptureHold(CaptureHold { hold, usage, settle: false }));
        captured.expect("captured").receipt.amount.0 / ONE
    }

    fn used(&self) -> i64 {
        self.world.counters.values().sum::<i64>() / ONE
    }

    /// What a preflight would promise now for so much, after so much was used.
    fn promise(&mut self, used: i64, cost: i64) -> Promise {
        self.number += 1;
        Promise {
            id: Id::new(u64::try_from(self.now / 1_000).expect("after 1970"), self.number),
            price: PRICE,
            unit: Unit::credit().code,
            amount: Amount(cost * ONE),
            footing: Footing { used_before: Some(Quantity(used * ONE)), ..Footing::default() },
            expires_at: Timestamp(self.now + DAY),
            used: false,
        }
    }
}

#[test]
fn an_extension_counts_what_is_expected_also_where_it_is_free() {
    let mut day = Day::new(ten_included());
    let hold = day.hold(1);
    day.extend(hold, 9);
    assert_eq!(day.used(), 9);
    // A smaller expectation gives nothing back.
    day.extend(hold, 3);
    assert_eq!(day.used(), 9);
    assert_eq!(day.debit(5, None), Ok(8));
    assert_eq!((day.capture(hold, None), day.used()), (0, 14));
}

#[test]
fn where_more_may_cost_less_an_extension_shrinks_neither_what_is_held_nor_what_counts() {
    let tiers = vec![
        Tier { up_to: Some(Quantity(10 * ONE)), rate: rate(9), flat: Amount::ZERO },
        Tier { up_to: None, rate: rate(1), flat: Amount::ZERO },
    ];
    let volume = || metered(0, true, Model::Volume { tiers: tiers.clone(), bounds: Bounds::default() });
    let mut day = Day::new(volume());
    let hold = day.hold(10);
    day.extend(hold, 20);
    let held = |day: &Day| day.world.wallets[0].held.0 / ONE;
    assert_eq!((held(&day), day.used()), (90, 20));
    // What it is captured for is what the expected usage costs, so that it can be explained.
    assert_eq!((day.capture(hold, None), held(&day)), (20, 0));
    let mut day = Day::new(volume());
    let hold = day.hold(20);
    day.extend(hold, 9);
    assert_eq!((held(&day), day.used()), (81, 20));
    assert_eq!((day.capture(hold, Some(9)), day.used()), (81, 9));
}

#[test]
fn a_promise_of_a_metered_price_binds_while_today_costs_no_more_in_the_same_period() {
    let mut day = Day::new(ten_included());
    let (first, second, third) = (day.promise(0, 0), day.promise(0, 0), day.promise(0, 0));
    assert_eq!(day.debit(6, Some(first)), Ok(0));
    assert_eq!(day.debit(6, Some(second.clone())), Err("quote_expired"));
    // Of a smaller quantity there is enough left.
    assert_eq!(day.debit(4, Some(third.clone())), Ok(0));
    assert_eq!(day.used(), 10);
    day.now += DAY;
    assert_eq!(day.debit(6, Some(second)), Err("quote_expired"), "another day");
    let dear = day.promise(10, 12);
    assert_eq!(
        day.debit(6, Some(dear)),
        Ok(12),
        "what was promised is charged, also where it would cost less"
    );
}

proptest! {
    /// However many promises were given at whatever moment, what is included is free once.
    #[test]
    fn promises_do_not_multiply_what_is_included(
        steps in prop::collection::vec((1_i64..8, any::<bool>()), 1..12),
    ) {
        let mut day = Day::new(ten_included());
        let quoted: Vec<Option<Promise>> = steps
            .iter()
            .map(|(wholes, quote)| quote.then(|| day.promise(0, (wholes - 10).max(0) * 2)))
            .collect();
        let (mut used, mut charged) = (0, 0);
        for ((wholes, _), promise) in steps.iter().zip(quoted) {
            match day.debit(*wholes, promise) {
                Ok(cost) => (used, charged) = (used + wholes, charged + cost),
                Err(code) => prop_assert_eq!(code, "quote_expired"),
            }
        }
        prop_assert_eq!(charged, (used - 10).max(0) * 2);
    }
}
