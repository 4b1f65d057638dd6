//! Used quotes: known from the batch that used them on, once for each tenant, until their time is long over.

use crate::databases::Kind;
use crate::home::Home;
use crate::world::{Account, lot};
use purser_core::{Id, TenantNo, Timestamp};
use purser_store::{Store, Writer};

/// The numbers of these quotes that are known as used.
fn used(writer: &mut Writer, tenant: TenantNo, quotes: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    let batch = writer.begin().expect("begin");
    quotes.filter(|quote| batch.quote_used(tenant, Id::new(1, *quote)).expect("read")).collect()
}

/// An account with a grant, and five debits in one batch that used quotes 1 to 5, which bind until 10, 20, 30, 40 and 50.
fn spent(store: &mut (Store, Writer)) -> Account {
    let mut batch = store.1.begin().expect("begin");
    let mut account = Account::open(&mut batch, 7, 1);
    let grant = [account.grant(1, 100)];
    account.record_and_save(&mut batch, &grant);
    batch.commit().expect("commit");
    let mut batch = store.1.begin().expect("begin");
    for quote in 1..=5 {
        let (tenant, id) = (account.tenant(), Id::new(1, quote));
        assert!(!batch.quote_used(tenant, id).expect("read"), "{quote}");
        let debit = [account.debit(quote + 10, lot(1), 1)];
        account.record(&mut batch, &debit);
        batch.use_quote(tenant, id, Timestamp(quote as i64 * 10)).expect("used");
        assert!(batch.quote_used(tenant, id).expect("read"), "in its own batch, too: {quote}");
    }
    account.save(&mut batch);
    batch.commit().expect("commit");
    account
}

fn a_used_quote_is_known_until_it_is_forgotten_after_its_time(kind: Kind) {
    let home = Home::new(kind);
    let mut open = home.open();
    let account = spent(&mut open);
    let tenant = account.tenant();
    let writer = &mut open.1;
    assert_eq!(used(writer, tenant, 0..=6), [1, 2, 3, 4, 5]);
    assert_eq!(used(writer, TenantNo(tenant.0 + 1), 0..=6), [0_u64; 0], "another tenant's is another quote");
    // What was over before, and nothing whose time ended just then; more than one step takes.
    home.prune_quotes(writer, Timestamp(10));
    assert_eq!(used(writer, tenant, 0..=6), [1, 2, 3, 4, 5]);
    home.prune_quotes(writer, Timestamp(41));
    assert_eq!(used(writer, tenant, 0..=6), [5]);
    home.prune_quotes(writer, Timestamp(51));
    assert_eq!(used(writer, tenant, 0..=6), [0_u64; 0]);
}

fn a_quote_that_is_used_in_a_batch_that_is_given_up_was_not_used(kind: Kind) {
    let home = Home::new(kind);
    let mut open = home.open();
    let mut account = spent(&mut open);
    let writer = &mut open.1;
    let mut batch = writer.begin().expect("begin");
    let debit = [account.debit(20, lot(1), 1)];
    account.record(&mut batch, &debit);
    batch.use_quote(account.tenant(), Id::new(1, 6), Timestamp(60)).expect("used");
    drop(batch);
    assert_eq!(used(writer, account.tenant(), 5..=6), [5]);
}

on_every_database! {
    a_used_quote_is_known_until_it_is_forgotten_after_its_time,
    a_quote_that_is_used_in_a_batch_that_is_given_up_was_not_used,
}
