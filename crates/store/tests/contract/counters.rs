//! Counters and the limits they count against.

use crate::databases::Kind;
use crate::home::Home;
use purser_core::catalogue::TenantDiscount;
use purser_core::counter::Period;
use purser_core::limit::{Limit, Whose};
use purser_core::pricing::Discount;
use purser_core::{Amount, CounterKey, Id, Key, TenantNo, Timestamp, UserNo};
use purser_store::Wanted;

fn counter(tenant: u64, subject: u128, rule: u128, day: i64) -> CounterKey {
    CounterKey {
        tenant: TenantNo(tenant),
        subject: Id(subject),
        rule: Id(rule),
        period_start: Timestamp(day * 86_400_000_000),
    }
}

fn what_is_counted_adds_up_within_a_batch_and_over_batches(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let (one, other) = (counter(u64::MAX - 3, u128::MAX, 7, 20_000), counter(5, 0, 8, -1));
    let of = |counted: Vec<(CounterKey, i64)>, key: CounterKey| {
        counted.iter().find(|(known, _)| *known == key).map_or(0, |(_, used)| *used)
    };
    for (asked, before) in [(false, 0), (true, 5)] {
        let counters = if asked { vec![one, other] } else { Vec::new() };
        let mut batch = writer.begin_for(&Wanted { counters, ..Wanted::default() }).expect("begin");
        assert_eq!(of(batch.counters(&[one, other]).expect("read"), one), before);
        batch.count(&[(one, 9), (other, 1)]).expect("counted");
        assert_eq!(of(batch.counters(&[one]).expect("read"), one), before + 9);
        batch.count(&[(one, -4)]).expect("counted");
        assert_eq!(of(batch.counters(&[other, one]).expect("read"), one), before + 5);
        batch.commit().expect("commit");
    }
    let mut given_up = writer.begin().expect("begin");
    given_up.count(&[(one, 100)]).expect("counted");
    drop(given_up);
    let missing = counter(5, 0, 9, -1);
    let read = store.read(|reader| reader.counters(&[one, missing, other])).expect("read");
    assert_eq!(read, [(one, 10), (other, 2)]);
}

fn all_counters_are_read_in_pages_in_the_order_of_their_keys(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut keys = Vec::new();
    for tenant in [1, u64::MAX] {
        for subject in [0, 1, u128::MAX] {
            for rule in [2, 3] {
                keys.extend([-5, 0, 40].map(|day| counter(tenant, subject, rule, day)));
            }
        }
    }
    let mut batch = writer.begin().expect("begin");
    let counts: Vec<(CounterKey, i64)> = keys.iter().copied().zip(1..).collect();
    batch.count(&counts).expect("counted");
    batch.commit().expect("commit");
    for size in [1, 4, 5, 100] {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = store.read(|reader| reader.every_counter(after, size)).expect("read");
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            read.extend(page);
        }
        let order = |key: &CounterKey| (key.tenant.0 as i64, key.subject, key.rule, key.period_start);
        assert!(read.windows(2).all(|pair| order(&pair[0].0) < order(&pair[1].0)), "{size}");
        let mut found = read;
        found.sort_by_key(|(_, used)| *used);
        assert_eq!(found, counts, "pages of {size}");
    }
}

fn limits_are_part_of_the_configuration(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let tenant = TenantNo(u64::MAX - 1);
    let limit = |whose, action, period, amount| {
        let unit = Key::parse("credit").expect("a key");
        let id = Limit::id_of(tenant, whose, action, &unit, period);
        Limit {
            id,
            tenant,
            whose,
            action,
            unit,
            amount: Amount(amount),
            period,
            enforced: true,
            alert_at: Vec::new(),
        }
    };
    let mut limits = vec![
        limit(Whose::Everybody, None, Period::Day, 0),
        limit(Whose::Each, Some(u64::MAX), Period::Week, 5),
        limit(Whose::User(UserNo(u64::MAX)), None, Period::Month, Amount::MAX.0),
    ];
    limits.sort_by_key(|limit| limit.id);
    let mut batch = writer.begin().expect("begin");
    for limit in &limits {
        batch.set_limit(limit, Timestamp(1)).expect("set");
    }
    batch.commit().expect("commit");
    assert_eq!(store.read(|reader| reader.config()).expect("read").limits, limits);
    limits[1].amount = Amount(77);
    (limits[1].enforced, limits[1].alert_at) = (false, vec![1, 50, 100]);
    let mut batch = writer.begin().expect("begin");
    batch.set_limit(&limits[1], Timestamp(2)).expect("set again");
    batch.delete_limit(limits[0].id).expect("removed");
    batch.commit().expect("commit");
    assert_eq!(store.read(|reader| reader.config()).expect("read").limits, limits[1..]);
    // Set again as it was made, it is that.
    (limits[1].enforced, limits[1].alert_at) = (true, Vec::new());
    let mut batch = writer.begin().expect("begin");
    batch.set_limit(&limits[1], Timestamp(3)).expect("set again");
    batch.commit().expect("commit");
    assert_eq!(store.read(|reader| reader.config()).expect("read").limits, limits[1..]);
}

fn discounts_are_part_of_the_configuration(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let discount = |no: u64, tenant: u64, action, points, from, valid_until: Option<i64>| TenantDiscount {
        id: Id::new(no, no),
        tenant: TenantNo(tenant),
        action,
        discount: Discount::new(points).expect("a part"),
        valid_from: Timestamp(from),
        valid_until: valid_until.map(Timestamp),
    };
    let mut discounts = vec![
        discount(1, 7, None, 0, 30, None),
        discount(2, 7, Some(u64::MAX), 10_000, 40, Some(i64::MAX)),
        discount(3, 8, Some(3), 1_250, 20, Some(21)),
    ];
    let mut batch = writer.begin().expect("begin");
    for discount in discounts.iter().rev() {
        batch.insert_discount(discount, Timestamp(1)).expect("insert");
    }
    assert_eq!(batch.discounts_of(TenantNo(7)).expect("read"), discounts[..2]);
    batch.commit().expect("commit");
    let stored = || store.read(|reader| reader.config()).expect("read").discounts;
    assert_eq!(stored(), discounts);
    let mut batch = writer.begin().expect("begin");
    batch.end_discount(discounts[0].id, Timestamp(50)).expect("end");
    batch.delete_discount(discounts[1].id).expect("delete");
    batch.commit().expect("commit");
    discounts[0].valid_until = Some(Timestamp(50));
    discounts.remove(1);
    assert_eq!(stored(), discounts);
}

fn a_counter_that_is_not_there_yet_is_waited_for_all_the_same(kind: Kind) {
    for announced in [true, false] {
        let home = Home::new(kind);
        let (_, mut writers, _) = home.node(2);
        let key = counter(1, 0, 7, 20_000);
        let wanted = Wanted { counters: vec![key], ..Wanted::default() };
        let [first, second] = &mut writers[..] else { unreachable!("two were asked for") };
        let mut batch = first.begin_for(&wanted).expect("begin");
        assert_eq!(batch.counters(&[key]).expect("read"), [(key, 0)]);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let wanted = if announced { wanted.clone() } else { Wanted::default() };
                let batch = second.begin_for(&wanted).expect("begin");
                assert_eq!(
                    batch.counters(&[key]).expect("read"),
                    [(key, 3)],
                    "it saw what the first committed"
                );
            });
            home.hand().wait_for_somebody_who_waits();
            batch.count(&[(key, 3)]).expect("counted");
            batch.commit().expect("commit");
            other.join().expect("the other took its turn");
        });
    }
}

on_every_database! {
    what_is_counted_adds_up_within_a_batch_and_over_batches,
    all_counters_are_read_in_pages_in_the_order_of_their_keys,
    limits_are_part_of_the_configuration,
    discounts_are_part_of_the_configuration,
}

mod servers {
    use super::*;

    on_every_server! {
        a_counter_that_is_not_there_yet_is_waited_for_all_the_same,
    }
}
