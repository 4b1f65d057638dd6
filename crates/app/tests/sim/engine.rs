//! The threads around the funnel: the bounded queue, the batches, the orderly end. On every database.

use super::house::{House, grant, job, reason, spend_a_thousand_twice, wait_for};
use crate::databases::Kind;
use purser_app::usecase::verify::verify;
use std::collections::BTreeSet;

fn a_full_queue_says_so_at_once_and_keeps_what_it_accepted(kind: Kind) {
    let house = House::new(kind, 8, 1_000);
    let gate = house.hold();
    let accepted: Vec<_> = (0..8).map(|no| house.ask(no, grant(1)).expect("there is room")).collect();
    assert_eq!(reason(&house.ask(8, grant(1))), "overloaded");
    gate.send(()).expect("the writer waits");
    for waiting in accepted {
        waiting.blocking_recv().expect("an answer").expect("granted");
    }
    assert_eq!(house.available(), 8);
    let after = house.ask(9, grant(1)).expect("there is room again");
    after.blocking_recv().expect("an answer").expect("granted");
    house.engine.stop();
}

fn what_waits_is_carried_out_in_as_few_batches_as_the_bound_allows(kind: Kind) {
    for (batch_max, batches) in [(1_000, 1), (50, 4)] {
        let house = House::new(kind, 1_000, batch_max);
        let gate = house.hold();
        let waiting: Vec<_> = (0..200).map(|no| house.ask(no, grant(1)).expect("there is room")).collect();
        gate.send(()).expect("the writer waits");
        let receipts = waiting
            .into_iter()
            .map(|waiting| waiting.blocking_recv().expect("an answer").expect("granted").receipt);
        let times: BTreeSet<i64> = receipts.map(|receipt| receipt.recorded_at.0).collect();
        assert_eq!(times.len(), batches, "200 commands in batches of {batch_max}");
        house.engine.stop();
    }
}

fn stopping_carries_out_what_was_accepted_and_refuses_what_comes_after(kind: Kind) {
    let house = House::new(kind, 1_000, 16);
    let gate = house.hold();
    let accepted: Vec<_> = (0..100).map(|no| house.ask(no, grant(1)).expect("there is room")).collect();
    let engine = house.engine.clone();
    let stopping = std::thread::spawn(move || engine.stop());
    gate.send(()).expect("the writer waits");
    stopping.join().expect("it stops");
    for waiting in accepted {
        waiting.blocking_recv().expect("an answer").expect("granted");
    }
    assert!(!house.engine.is_running());
    assert_eq!(reason(&house.ask(100, grant(1))), "shutting_down");
    assert_eq!(reason(&wait_for(house.engine.carry_out(job(101, grant(1))))), "shutting_down");
    assert_eq!(reason(&wait_for(house.engine.change(|_| Ok(((), false))))), "shutting_down");
    house.engine.stop();
    assert_eq!(verify(&house.place.url(), |_, _| {}).expect("it verifies").entries, 100);
    let (_, mut writer) = house.place.open();
    assert_eq!(writer.recover().expect("the rows are read").entries, 0, "everything was saved");
}

fn sixty_four_threads_cannot_spend_more_than_there_is_nor_less(kind: Kind) {
    let house = House::new(kind, 1_000, 1_000);
    spend_a_thousand_twice(&[&house]);
}

on_every_database! {
    a_full_queue_says_so_at_once_and_keeps_what_it_accepted,
    what_waits_is_carried_out_in_as_few_batches_as_the_bound_allows,
    stopping_carries_out_what_was_accepted_and_refuses_what_comes_after,
    sixty_four_threads_cannot_spend_more_than_there_is_nor_less,
}
