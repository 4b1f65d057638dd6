//! The slots that writers lease: taken, kept, given back, taken over.

use crate::databases::Kind;
use crate::home::{Home, refusal};
use crate::world::Account;
use purser_store::{Position, StoreError, Writer};

/// Ends the lease of a slot, as time would.
const END_LEASE: &str = "UPDATE slot SET leased_until = 0 WHERE slot = 1";

/// Grants something to a user that is new; the position of that.
fn grant(writer: &mut Writer, user: u64) -> Position {
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, user);
    let grant = [account.grant(user, 10)];
    let position = account.record_and_save(&mut batch, &grant);
    batch.commit().expect("commit");
    position
}

fn place(position: Position) -> (u8, u64) {
    (position.slot(), position.seq())
}

fn each_writer_has_a_slot_of_its_own_and_gives_it_back(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, _) = home.node(3);
    let places = [0, 1, 2].map(|no| place(grant(&mut writers[no], no as u64 + 1)));
    assert_eq!(places, [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(place(grant(&mut writers[1], 4)), (2, 2));
    writers.remove(1).close().expect("close");
    let mut next = home.open().1;
    assert_eq!(place(grant(&mut next, 5)), (2, 3));
    assert_eq!(place(writers[0].position()), (1, 1));
    let heads = store.read(|reader| reader.heads()).expect("read");
    assert_eq!(heads.written().map(place).collect::<Vec<_>>(), [(1, 1), (2, 3), (3, 1)]);
}

fn a_slot_whose_lease_ended_is_taken_over_and_its_old_writer_starts_anew(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, _) = home.node(2);
    let [old, new] = &mut writers[..] else { unreachable!("two were asked for") };
    assert_eq!(place(grant(old, 1)), (1, 1));
    home.hand().must(END_LEASE);
    assert_eq!(place(grant(new, 2)), (1, 2));
    // It hears that the slot is another's, takes a free one, and loses nothing.
    assert_eq!(place(grant(old, 3)), (2, 1));
    assert_eq!(place(grant(new, 4)), (1, 3));
    assert_eq!(store.read(|reader| reader.counts()).expect("read").entries, 4);
}

fn a_slot_whose_lease_ended_stays_with_a_writer_that_comes_back_first(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writers, _) = home.node(2);
    let [old, new] = &mut writers[..] else { unreachable!("two were asked for") };
    grant(old, 1);
    home.hand().must(END_LEASE);
    let mut batch = old.begin().expect("begin");
    // It is at work: whoever looks for a slot passes over it.
    assert_eq!(place(grant(new, 2)), (2, 1));
    let mut account = Account::open(&mut batch, 1, 3);
    let entry = [account.grant(3, 10)];
    assert_eq!(place(account.record_and_save(&mut batch, &entry)), (1, 2));
    batch.commit().expect("commit");
    assert!(home.hand().number("SELECT leased_until FROM slot WHERE slot = 1") > 0, "the lease is renewed");
}

fn a_writer_that_was_replaced_in_the_midst_of_a_batch_keeps_nothing(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writers, _) = home.node(2);
    let [old, new] = &mut writers[..] else { unreachable!("two were asked for") };
    grant(old, 1);
    let mut batch = old.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 2);
    let entry = [account.grant(2, 10)];
    account.record_and_save(&mut batch, &entry);
    // Its connection breaks without its knowledge, the lease ends, another takes the slot and its next position.
    let mut hand = home.hand();
    hand.kill_others();
    hand.must(END_LEASE);
    assert_eq!(place(grant(new, 3)), (1, 2));
    batch.commit().expect_err("its transaction is gone");
    assert_eq!(store.read(|reader| reader.counts()).expect("read").entries, 2);
    assert_eq!(place(grant(old, 2)), (2, 1));
}

fn when_all_slots_are_leased_a_further_writer_is_told_so(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writers, _) = home.node(2);
    home.hand().must("UPDATE slot SET leased_until = 9000000000000000000 WHERE slot > 1");
    let [last, further] = &mut writers[..] else { unreachable!("two were asked for") };
    grant(last, 1);
    let refused = refusal(further.begin().map(drop));
    assert!(matches!(&refused, StoreError::Locked { what } if what.contains("63 slots")), "{refused}");
    grant(last, 2);
    let last = writers.remove(0);
    last.close().expect("close");
    assert_eq!(place(grant(&mut writers[0], 3)), (1, 3));
}

fn an_idle_writer_keeps_its_lease(kind: Kind) {
    let home = Home::new(kind);
    let (_, mut writers, mut keeper) = home.node(1);
    let mut hand = home.hand();
    let leased = "SELECT leased_until FROM slot WHERE slot = 1";
    grant(&mut writers[0], 1);
    hand.must("UPDATE slot SET leased_until = leased_until - 30000000 WHERE slot = 1");
    let before = hand.number(leased);
    writers[0].keep_lease().expect("kept");
    let (after, now) = (hand.number(leased), keeper.observe().expect("observed").now.0);
    assert!(
        after > before && (now + 40_000_000..now + 60_000_001).contains(&after),
        "{before} {after} {now}"
    );
    assert_eq!(place(writers[0].position()), (1, 1));
}

on_every_server! {
    each_writer_has_a_slot_of_its_own_and_gives_it_back,
    a_slot_whose_lease_ended_is_taken_over_and_its_old_writer_starts_anew,
    a_slot_whose_lease_ended_stays_with_a_writer_that_comes_back_first,
    a_writer_that_was_replaced_in_the_midst_of_a_batch_keeps_nothing,
    when_all_slots_are_leased_a_further_writer_is_told_so,
    an_idle_writer_keeps_its_lease,
}
