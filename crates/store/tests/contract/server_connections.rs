//! Connections that break, at every moment at which they can.

use crate::databases::Kind;
use crate::home::{Hand, Home, refusal, target};
use crate::relay::{Cut, Relay};
use crate::world::{Account, Request, lot};
use purser_core::TenantNo;
use purser_store::{Batch, CommitError, Keeper, KeyDigest, Store, StoreError, Wanted, Writer};

/// A node that reaches its database by a way that can be cut. Tests bind all of it: what is left out would be dropped.
struct Away {
    home: Home,
    relay: Relay,
    store: Store,
    writer: Writer,
    keeper: Keeper,
    account: Account,
}

/// With 10 credits granted, and the slot leased.
fn away(kind: Kind) -> Away {
    let home = Home::new(kind);
    let relay = Relay::to(&home.url_text());
    let (store, mut writers, keeper) =
        Store::connect(&target(relay.url()), &home.options, 1).expect("the server answers");
    let mut writer = writers.remove(0);
    let mut batch = writer.begin().expect("begin");
    let mut account = Account::open(&mut batch, 1, 1);
    let grant = [account.grant(1, 10)];
    account.record_and_save(&mut batch, &grant);
    batch.commit().expect("commit");
    Away { home, relay, store, writer, keeper, account }
}

/// Records a debit of 3 under the key `k`.
fn debit(batch: &mut Batch<'_>, account: &Account) -> Account {
    let mut account = account.clone();
    let take = [account.debit(2, lot(1), 3)];
    account.record_request(batch, &take, None, Some(Request { key: "k", receipt: b"r" }));
    account.save(batch);
    account
}

fn is_answered(writer: &mut Writer) -> bool {
    writer.begin().expect("begin").answer(KeyDigest::of(TenantNo(1), "k")).expect("read").is_some()
}

fn settled(store: &Store, account: &Account) -> i64 {
    let stored = store.read(|reader| reader.wallet(account.wallet.key)).expect("read").expect("there");
    stored.loaded.wallet.settled.0
}

fn assert_unknown(outcome: Result<(), CommitError>) {
    assert!(matches!(outcome, Err(CommitError::Unknown(StoreError::Unavailable { .. }))), "{outcome:?}");
}

#[test]
fn a_postgresql_on_the_same_machine_is_reached_over_its_socket() {
    let home = Home::new(Kind::Postgres);
    let mut hand = home.hand();
    let over_a_network = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'purser' AND client_addr IS NOT NULL";
    let over_the_socket = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'purser' AND client_addr IS NULL";
    let Hand::Postgres(runtime, client) = &hand else { unreachable!("it is PostgreSQL's") };
    let asked = runtime.block_on(client.query_one("SHOW unix_socket_directories", &[]));
    let folder: String = asked.expect("it has a socket").get(0);
    let socket = target(&format!("{}?host={folder}", home.url_text()));
    let (_store, mut writers, _keeper) = Store::connect(&socket, &home.options, 1).expect("it answers");
    writers[0].begin().expect("begin").commit().expect("commit");
    assert!(hand.number(over_the_socket) > 0);
    assert_eq!(hand.number(over_a_network), 0);
}

fn a_connection_killed_between_statements_keeps_nothing(kind: Kind) {
    let Away { home, relay: _relay, store, mut writer, keeper: _keeper, account } = away(kind);
    let mut batch = writer.begin().expect("begin");
    debit(&mut batch, &account);
    assert!(home.hand().kill_others() > 0);
    assert_unknown(batch.commit());
    assert!(!is_answered(&mut writer));
    assert_eq!(settled(&store, &account), 10);
    // The node goes on by itself.
    let mut batch = writer.begin().expect("begin");
    debit(&mut batch, &account);
    batch.commit().expect("commit");
    assert_eq!((is_answered(&mut writer), settled(&store, &account)), (true, 7));
}

fn a_commit_that_does_not_arrive_is_unknown_and_found_to_be_nothing(kind: Kind) {
    let Away { home: _home, relay, store, mut writer, keeper: _keeper, account } = away(kind);
    let mut batch = writer.begin().expect("begin");
    let before = batch.begun_at();
    debit(&mut batch, &account);
    relay.cut_next_commit(Cut::BeforeCommit);
    assert_unknown(batch.commit());
    assert!(!relay.is_armed());
    assert_eq!(writer.begin().expect("begin").begun_at(), before);
    assert!(!is_answered(&mut writer));
    assert_eq!(settled(&store, &account), 10);
}

fn a_commit_whose_answer_is_lost_is_unknown_and_found_by_its_key(kind: Kind) {
    let Away { home: _home, relay, store, mut writer, keeper: _keeper, account } = away(kind);
    let mut batch = writer.begin().expect("begin");
    let before = batch.begun_at();
    let account = debit(&mut batch, &account);
    relay.cut_next_commit(Cut::AfterCommit);
    assert_unknown(batch.commit());
    assert!(!relay.is_armed());
    let after = writer.begin().expect("begin").begun_at();
    assert_eq!((after.slot(), after.seq()), (before.slot(), before.seq() + 1));
    assert!(is_answered(&mut writer));
    assert_eq!(settled(&store, &account), 7);
    let loaded = writer.begin().expect("begin").wallet(account.wallet.key).expect("read").expect("there");
    assert_eq!((loaded.wallet, loaded.head), (account.pruned(), account.head));
}

fn what_was_idle_while_its_connection_was_killed_goes_on_unnoticed(kind: Kind) {
    let Away { home, relay: _relay, store, mut writer, mut keeper, account } = away(kind);
    keeper.observe().expect("observed");
    settled(&store, &account);
    home.hand().kill_others();
    assert_eq!(settled(&store, &account), 10);
    let mut batch = writer.begin().expect("begin");
    debit(&mut batch, &account);
    batch.commit().expect("commit");
    // The worker notices, and gets another connection for its next look.
    assert!((0..2).any(|_| keeper.observe().is_ok()));
    assert_eq!(keeper.fold().expect("fold"), 2);
}

fn a_connection_killed_while_it_waits_for_a_lock_is_replaced(kind: Kind) {
    let Away { home, relay: _relay, store, mut writer, keeper: _keeper, account } = away(kind);
    let (mut holder, mut killer) = (home.hand(), home.hand());
    holder.must("BEGIN");
    holder.must("UPDATE wallet SET created_at = created_at");
    let wanted = Wanted { wallets: vec![account.wallet.key], ..Wanted::default() };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut batch = writer.begin_for(&wanted).expect("it begins once more");
            debit(&mut batch, &account);
            batch.commit().expect("commit");
        });
        killer.wait_for_somebody_who_waits();
        assert_eq!(killer.kill_those_who_wait(), 1);
        holder.must("ROLLBACK");
        waiting.join().expect("no panic");
    });
    assert_eq!(settled(&store, &account), 7);
}

fn a_server_that_is_away_is_said_to_be_and_is_found_again(kind: Kind) {
    let Away { home: _home, relay, store, mut writer, mut keeper, account } = away(kind);
    relay.close(true);
    let said = [
        refusal(writer.begin().map(drop)),
        refusal(store.read(|reader| reader.counts())),
        refusal(keeper.observe()),
        refusal(keeper.fold()),
        refusal(writer.keep_lease()),
    ];
    for error in said {
        assert!(matches!(&error, StoreError::Unavailable { .. }), "{error}");
    }
    relay.close(false);
    let mut batch = writer.begin().expect("begin");
    debit(&mut batch, &account);
    batch.commit().expect("commit");
    assert_eq!(settled(&store, &account), 7);
    keeper.observe().expect("observed");
}

fn a_read_whose_connection_breaks_gives_its_place_back(kind: Kind) {
    let home = Home::with_one_reader(kind);
    let relay = Relay::to(&home.url_text());
    let (store, ..) = Store::connect(&target(relay.url()), &home.options, 1).expect("the server answers");
    for _ in 0..3 {
        let broken = refusal(store.read(|reader| {
            reader.counts()?;
            relay.cut_all();
            reader.counts()
        }));
        assert!(matches!(&broken, StoreError::Unavailable { .. }), "{broken}");
        assert_eq!(store.read(|reader| reader.counts()).expect("the only place is free").entries, 0);
    }
}

fn a_writer_whose_connection_broke_gives_its_slot_back_all_the_same(kind: Kind) {
    let Away { home, relay, store: _store, writer, keeper: _keeper, account: _account } = away(kind);
    relay.cut_all();
    writer.close().expect("close");
    assert_eq!(home.open().1.begin().expect("begin").begun_at().slot(), 1);
}

on_every_server! {
    a_writer_whose_connection_broke_gives_its_slot_back_all_the_same,
    a_connection_killed_between_statements_keeps_nothing,
    a_commit_that_does_not_arrive_is_unknown_and_found_to_be_nothing,
    a_commit_whose_answer_is_lost_is_unknown_and_found_by_its_key,
    what_was_idle_while_its_connection_was_killed_goes_on_unnoticed,
    a_connection_killed_while_it_waits_for_a_lock_is_replaced,
    a_server_that_is_away_is_said_to_be_and_is_found_again,
    a_read_whose_connection_breaks_gives_its_place_back,
}
