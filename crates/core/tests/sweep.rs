//! A wallet with more due facts than one command may book: swept in bounded steps, it ends where booking all of them
//! at once would.

#![allow(unreachable_pub, reason = "the modules of a test are read nowhere else")]

mod world;

use purser_core::catalogue::{Action, Catalogue, Overage, Price, Unit};
use purser_core::command::{Command, Debit, Grant, Movement, PlaceHold};
use purser_core::confirm::Thresholds;
use purser_core::decide::{DUE_MAX, project};
use purser_core::entry::{Actor, GrantKind, Usage};
use purser_core::pricing::Model;
use purser_core::wallet::Owner;
use purser_core::{Amount, Id, Key, Quantity, TenantNo, Timestamp, UserNo, Wallet};
use world::World;

const SECOND: i64 = 1_000_000;
const START: i64 = 1_000 * SECOND;

fn world() -> World {
    let price = Price {
        id: Id(1),
        unit: Unit::credit().code,
        valid_from: Timestamp(0),
        model: Model::Flat { amount: Amount(1_000) },
    };
    let action = Action {
        no: 1,
        key: Key::parse("scan").expect("a valid key"),
        active: true,
        confirm_above: Thresholds::default(),
        overage: Overage::Debt,
        units: vec![Unit::credit().code],
        prices: vec![price],
    };
    let wallet = Wallet::new(TenantNo(1), Owner::User(UserNo(1)), Unit::credit());
    World::new(Catalogue::new([], [action]), vec![wallet])
}

fn run(world: &mut World, movement: Movement, at: i64) {
    let command = Command {
        id: Id::new(world.entries.len() as u64 + 1, 0),
        tenant: TenantNo(1),
        user: Some(UserNo(1)),
        actor: Actor::WORKER,
        occurred_at: Timestamp(at),
        text_digest: None,
        movement,
    };
    world.run(&[0], &command, Timestamp(at)).expect("nothing here is refused");
}

fn grant(amount: i64, effective_at: Option<i64>, expires_at: Option<i64>) -> Movement {
    Movement::Grant(Grant {
        amount: Amount(amount),
        kind: GrantKind::Promotional,
        priority: 0,
        effective_at: effective_at.map(Timestamp),
        expires_at: expires_at.map(Timestamp),
        paid: None,
        origin: None,
    })
}

#[test]
fn what_is_due_is_the_same_whether_it_is_swept_in_steps_or_booked_at_once() {
    // The second wallet has exactly one sweep full of due facts before the lot that repays.
    for (holds, ends) in [(400, Some(START + 200 * SECOND)), (DUE_MAX as i64 / 2, None)] {
        swept_in_steps_and_booked_at_once(holds, ends);
    }
}

fn swept_in_steps_and_booked_at_once(holds: i64, ends: Option<i64>) {
    let mut world = world();
    run(&mut world, grant(holds, None, None), START);
    for number in 0..holds {
        let place = PlaceHold {
            action: 1,
            usage: Usage::Amount(Amount(1)),
            unit: None,
            wallet: None,
            expires_in: 60 * SECOND + number * 1_000,
            quote: None,
        };
        run(&mut world, Movement::PlaceHold(place), START);
    }
    let settle = Debit {
        action: 1,
        usage: Usage::Quantity(Quantity::ONE),
        unit: None,
        wallet: None,
        settle: true,
        quote: None,
    };
    run(&mut world, Movement::Debit(settle), START);
    // Starts after the holds ran out and may end before anybody looks: in between it repays debt.
    run(&mut world, grant(300, Some(START + 100 * SECOND), ends), START);
    let now = Timestamp(START + 300 * SECOND);
    let at_once = project(&world.wallets[0], now).balance(now);
    assert_eq!((at_once.debt, at_once.held), (Amount(700 - holds), Amount(0)));
    let mut sweeps = 0;
    while world.wallets[0].is_due(now) {
        run(&mut world, Movement::Sweep, now.0);
        sweeps += 1;
        assert_eq!(project(&world.wallets[0], now).balance(now), at_once, "after sweep {sweeps}");
    }
    assert!(sweeps > 1, "so much takes several sweeps");
    assert_eq!(world.wallets[0].balance(now), at_once);
}
