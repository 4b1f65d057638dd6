//! Two engines side by side on one database, as two nodes have them.

use super::house::{House, TENANT, debit, grant, job, spend_a_thousand_twice, wait_for};
use crate::databases::Kind;
use purser_app::engine::Route;
use purser_app::error::AppError;
use purser_app::usecase::verify::verify;
use purser_core::catalogue::Unit;
use purser_core::command::Movement;
use purser_core::decide::Standing;
use purser_core::entry::{Actor, ActorKind};
use purser_core::wallet::Owner;
use purser_core::{Key, Rejection, Timestamp, UserNo};
use purser_store::{EntryText, NewApiKey};

fn sixty_four_threads_on_two_nodes_cannot_spend_more_than_there_is_nor_less(kind: Kind) {
    let house = House::new(kind, 1_000, 1_000);
    let other = house.beside();
    spend_a_thousand_twice(&[&house, &other]);
}

fn one_key_on_two_nodes_at_once_has_one_effect_and_one_answer(kind: Kind) {
    let house = House::new(kind, 1_000, 1_000);
    let other = house.beside();
    house.outcome(0, grant(1_000)).expect("granted");
    let mut replayed = 0;
    for no in 1..=200 {
        let both = [&house, &other].map(|house| house.ask(no, debit()).expect("there is room"));
        let both = both.map(|waiting| waiting.blocking_recv().expect("an answer").expect("debited"));
        assert_eq!(both[0].receipt, both[1].receipt);
        replayed += both.iter().filter(|done| done.replayed).count();
    }
    assert_eq!((replayed, house.available()), (200, 800));
    [house, other].iter().for_each(|house| house.engine.stop());
}

fn a_wallet_first_used_on_two_nodes_at_once_is_one_wallet(kind: Kind) {
    let house = House::new(kind, 1_000, 1_000);
    let other = house.beside();
    for no in 0..60 {
        let owner = Owner::User(UserNo(1_000 + no));
        let first_use = |house: &House, no: u64| {
            let mut job = job(no, grant(2));
            job.route = Route::Owned(owner, Unit::credit().code);
            house.engine.submit(job).expect("there is room")
        };
        let both = [first_use(&house, 2 * no), first_use(&other, 2 * no + 1)];
        let both = both.map(|waiting| waiting.blocking_recv().expect("an answer").expect("granted").receipt);
        assert_eq!(both[0].wallet, both[1].wallet);
        let mut settled = both.map(|receipt| receipt.balance.settled.0);
        settled.sort_unstable();
        assert_eq!(settled, [2, 4]);
    }
    [house, other].iter().for_each(|house| house.engine.stop());
}

fn a_tenant_that_another_node_suspended_spends_nothing_from_the_next_batch_on(kind: Kind) {
    let house = House::new(kind, 1_000, 1_000);
    let other = house.beside();
    let set = |house: &House, standing: Standing| {
        let change = house.engine.change(move |batch| {
            batch.ensure_tenant(&Key::parse("acme").expect("a key"), TENANT, Timestamp(1))?;
            batch.set_standing(TENANT, standing).map(|set| (set, true))
        });
        assert!(wait_for(change).expect("changed"), "the tenant is there");
    };
    other.outcome(0, grant(10)).expect("granted");
    for round in 0..4 {
        set(&house, Standing::Suspended);
        for (house, no) in [(&other, 100), (&house, 101)] {
            let refused = house.outcome(no, debit());
            assert!(matches!(refused, Err(AppError::Rejected(Rejection::TenantSuspended))), "{refused:?}");
        }
        set(&other, Standing::Active);
        house.outcome(10 + round, debit()).expect("debited");
    }
    assert_eq!(other.available(), 6);
    [house, other].iter().for_each(|house| house.engine.stop());
}

fn a_key_that_another_node_revoked_moves_nothing_from_the_next_batch_on(kind: Kind) {
    let house = House::new(kind, 1_000, 1_000);
    let other = house.beside();
    let key = NewApiKey { no: 7, name: "k".into(), hash: [7; 32], scope: "write".into(), tenant: None };
    wait_for(house.engine.change(move |batch| batch.insert_api_key(&key, Timestamp(1)).map(|()| ((), true))))
        .expect("a key");
    let by_key = |house: &House, no: u64, movement: Movement| {
        let mut job = job(no, movement);
        job.command.actor = Actor { kind: ActorKind::ApiKey, no: 7 };
        wait_for(house.engine.carry_out(job))
    };
    // The other node has not heard of the key by itself: its batch looks.
    by_key(&other, 0, grant(10)).expect("granted");
    for no in 1..4 {
        by_key(&house, 10 * no, debit()).expect("debited");
        by_key(&other, 10 * no + 1, debit()).expect("debited");
    }
    wait_for(house.engine.change(|batch| batch.revoke_api_key(7, Timestamp(2)).map(|_| ((), true))))
        .expect("revoked");
    for house in [&other, &house] {
        assert!(matches!(by_key(house, 99, debit()), Err(AppError::Unauthenticated)));
        assert_eq!(house.available(), 4);
    }
    // What was answered before is answered again, whoever asks.
    assert!(by_key(&other, 10, debit()).expect("known").replayed);
    [house, other].iter().for_each(|house| house.engine.stop());
}

/// Whatever gets past the checks at the door fails alone, although a server says its "no" against a whole batch.
fn a_value_that_the_database_refuses_fails_its_own_command_only(kind: Kind) {
    let house = House::new(kind, 1_000, 1_000);
    // PostgreSQL keeps no zero byte, MariaDB nothing that is this long.
    let reference = Some(format!("\0{}", "x".repeat(2_000)));
    let text = EntryText { salt: [1; 16], reference, metadata: None, reason: None };
    let bad = || {
        let mut job = job(1, grant(1));
        job.command.text_digest = Some(text.digest());
        job.text = Some(text.clone());
        house.engine.submit(job).expect("there is room")
    };
    let gate = house.hold();
    let before = house.ask(0, grant(10)).expect("there is room");
    let refused = bad();
    let after = house.ask(2, grant(100)).expect("there is room");
    gate.send(()).expect("the writer waits");
    before.blocking_recv().expect("an answer").expect("granted");
    after.blocking_recv().expect("an answer").expect("granted");
    for refused in [refused, bad()] {
        let refused = refused.blocking_recv().expect("an answer");
        assert!(matches!(refused, Err(AppError::Fault(_))), "{refused:?}");
    }
    assert_eq!(house.engine.trouble(), None, "the next one may be taken");
    assert_eq!(house.available(), 110);
    house.engine.stop();
    assert_eq!(verify(&house.place.url(), |_, _| {}).expect("it verifies").entries, 2);
}

on_every_server! {
    a_value_that_the_database_refuses_fails_its_own_command_only,
    a_tenant_that_another_node_suspended_spends_nothing_from_the_next_batch_on,
    a_wallet_first_used_on_two_nodes_at_once_is_one_wallet,
    sixty_four_threads_on_two_nodes_cannot_spend_more_than_there_is_nor_less,
    one_key_on_two_nodes_at_once_has_one_effect_and_one_answer,
    a_key_that_another_node_revoked_moves_nothing_from_the_next_batch_on,
}
