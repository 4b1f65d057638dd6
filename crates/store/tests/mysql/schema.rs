//! Migrations, settings, and the cold tables.

use crate::server::Database;
use crate::{connect, migrated, target};
use purser_core::catalogue::{Action, Overage, Price, Unit};
use purser_core::decide::Standing;
use purser_core::entry::{Actor, ActorKind};
use purser_core::pricing::Model;
use purser_core::{Amount, Id, Key, Scale, TenantNo, Timestamp, UserNo};
use purser_store::{
    ActionRow, AuditRow, FreshNumbers, Names, NewApiKey, OpenOptions, Store, StoreError, UnitRow,
    migrate_server,
};
use std::thread;

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

pub(crate) fn audit_line() -> AuditRow {
    AuditRow {
        actor: Actor { kind: ActorKind::ApiKey, no: u64::MAX },
        what: "unit.create".into(),
        subject: "sms".into(),
        before: None,
        after: Some("{\"name\":\"'\\\\\"}".into()),
        reason: Some("because".into()),
        at: Timestamp(9),
    }
}

#[test]
fn nodes_that_migrate_at_once_do_so_one_after_the_other() {
    let database = Database::new();
    let target = target(&database);
    let applied = thread::scope(|scope| {
        let nodes: Vec<_> =
            (0..3).map(|_| scope.spawn(|| migrate_server(&target).expect("migrated"))).collect();
        nodes.into_iter().map(|node| node.join().expect("no panic")).collect::<Vec<_>>()
    });
    let mut first = applied.clone();
    first.sort_by_key(Vec::len);
    assert_eq!(first, [vec![], vec![], vec![1, 2]]);
    connect(&database);
}

#[test]
fn a_migration_that_was_interrupted_is_taken_up_again() {
    let mut database = migrated();
    // As if the server had stopped in the middle of the first: its tables come one by one.
    database.run("DELETE FROM refinery_schema_history");
    database.run("DROP TABLE entry_reference");
    database.run("DROP TABLE wallet_history");
    database.run("DELETE FROM slot WHERE slot >= 0");
    database.run("DROP TRIGGER audit_is_not_deleted");
    assert_eq!(migrate_server(&target(&database)).expect("migrated"), [1, 2]);
    assert_eq!(migrate_server(&target(&database)).expect("nothing is missing"), Vec::<u32>::new());
    assert_eq!(database.value("SELECT COUNT(*) FROM slot"), "64");
    let triggers = "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE()";
    assert_eq!(database.value(triggers), "5");
    connect(&database);
}

#[test]
fn a_schema_that_is_not_the_one_this_program_knows_is_refused() {
    let mut database = Database::new();
    let refusal = |database: &Database| match Store::connect(&target(database), &OpenOptions::default(), 1) {
        Ok(_) => panic!("it was connected to"),
        Err(error) => error,
    };
    assert!(matches!(refusal(&database), StoreError::Older { .. }));
    migrate_server(&target(&database)).expect("migrated");
    database.run("UPDATE refinery_schema_history SET version = 99 WHERE version = 2");
    assert!(matches!(refusal(&database), StoreError::Newer { found: 99, .. }));
    assert!(matches!(migrate_server(&target(&database)), Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn a_database_or_password_that_is_wrong_is_told_from_a_server_that_is_away() {
    let refusal = |url: &str| {
        let purser_store::DatabaseUrl::Server(target) = purser_store::DatabaseUrl::parse(url).expect("a URL")
        else {
            panic!("{url} is a file")
        };
        match Store::connect(&target, &OpenOptions::default(), 1) {
            Ok(_) => panic!("{url} was connected to"),
            Err(error) => error,
        }
    };
    let database = Database::new();
    let url = database.url();
    let absent = refusal(&format!("{url}_absent"));
    assert!(matches!(absent, StoreError::Denied { .. }), "{absent}");
    let address = url.split('@').nth(1).expect("an address");
    let stranger = refusal(&format!("mysql://stranger:secret@{address}"));
    assert!(matches!(stranger, StoreError::Denied { .. }), "{stranger}");
    // Nobody listens on the first; the second of the hosts is taken.
    let (server, name) = address.split_once('/').expect("a database");
    let away = refusal("mysql://purser@127.0.0.1:1/purser");
    assert!(matches!(away, StoreError::Unavailable { .. }), "{away}");
    let second = refusal(&format!("mysql://purser@127.0.0.1:1,{server}/{name}"));
    assert!(matches!(second, StoreError::Older { .. }), "{second}");
}

#[test]
fn names_get_numbers_once() {
    let database = migrated();
    let mut node = connect(&database);
    let fresh = |number| FreshNumbers { tenant: TenantNo(number), user: UserNo(number + 1) };
    let (acme, ann) = (key("acme"), key("ann"));
    let mut batch = node.writer.begin().expect("begin");
    let numbers = batch.ensure_user(Some(&acme), &ann, fresh(u64::MAX - 5), Timestamp(1)).expect("made");
    assert_eq!(numbers, (TenantNo(u64::MAX - 5), UserNo(u64::MAX - 4)));
    assert_eq!(batch.ensure_user(Some(&acme), &ann, fresh(70), Timestamp(2)).expect("found"), numbers);
    // Case counts; and the same user without a tenant is somebody else.
    let other = batch.ensure_user(Some(&key("Acme")), &ann, fresh(80), Timestamp(3)).expect("made");
    assert_eq!(other, (TenantNo(80), UserNo(81)));
    let personal = batch.ensure_user(None, &ann, fresh(90), Timestamp(4)).expect("made");
    assert!(batch.set_standing(personal.0, Standing::Frozen).expect("set"));
    assert!(batch.set_standing(personal.0, Standing::Frozen).expect("set"), "it is there");
    assert!(!batch.set_standing(TenantNo(5), Standing::Frozen).expect("set"));
    batch.commit().expect("commit");
    node.store
        .read(|reader| {
            assert_eq!(reader.resolve_user(Some(&acme), &ann)?, Some(numbers));
            assert_eq!(reader.resolve_user(None, &ann)?, Some(personal));
            assert_eq!(reader.resolve_tenant(&ann)?, None);
            let named = Names { tenant: Some(acme.clone()), user: Some(ann.clone()) };
            assert_eq!(reader.names(numbers.0, Some(numbers.1))?, named);
            assert_eq!(reader.config()?.standings, vec![(personal.0, Standing::Frozen)]);
            Ok(())
        })
        .expect("read");
}

#[test]
fn the_catalogue_keys_and_audit_trail_come_back() {
    let database = migrated();
    let mut node = connect(&database);
    let price = |id| Price {
        id: Id::new(1, id),
        unit: key("credit"),
        valid_from: Timestamp(5),
        model: Model::Flat { amount: Amount(5) },
    };
    let action = ActionRow {
        action: Action {
            no: u64::MAX,
            key: key("scan"),
            active: true,
            overage: Overage::Allow { percent: 20 },
            units: vec![key("credit")],
            prices: vec![price(1)],
        },
        name: "Scan \u{1F600}".into(),
        unit_label: None,
        description: Some("it's".into()),
        category: Some(String::new()),
    };
    let sms = UnitRow {
        unit: Unit { code: key("sms"), scale: Scale::new(0).expect("a scale") },
        name: "SMS".into(),
    };
    let api_key =
        NewApiKey { no: 7, name: "till".into(), hash: [0xff; 32], scope: "spend".into(), tenant: None };
    let mut batch = node.writer.begin().expect("begin");
    assert!(batch.insert_action(&action, Timestamp(1)).expect("inserted"));
    assert!(!batch.insert_action(&action, Timestamp(1)).expect("its key is taken"));
    assert!(batch.insert_unit(&sms, Timestamp(1)).expect("inserted"));
    assert!(!batch.insert_unit(&sms, Timestamp(1)).expect("its code is taken"));
    let in_sms = Price { unit: key("sms"), ..price(2) };
    batch.insert_price(u64::MAX, &in_sms, Timestamp(2)).expect("inserted");
    assert!(batch.set_action_active(u64::MAX, true).expect("it was so already"));
    batch.insert_api_key(&api_key, Timestamp(3)).expect("inserted");
    batch.set_secret_fingerprint(u64::MAX).expect("set");
    batch.set_secret_fingerprint(5).expect("set again");
    assert_eq!(batch.secret_fingerprint().expect("read"), Some(5));
    batch.insert_audit(&audit_line()).expect("inserted");
    batch.bump_config_epoch().expect("bumped");
    batch.commit().expect("commit");

    let config = node.store.read(|reader| reader.config()).expect("read");
    assert_eq!((config.epoch, config.units.len(), config.api_keys.len()), (2, 2, 1));
    let mut expected = action;
    expected.action.units.push(key("sms"));
    expected.action.prices.push(in_sms);
    assert_eq!(config.actions, vec![expected]);
    assert_eq!(config.api_keys[0].hash, [0xff; 32]);
    let audit = node.store.read(|reader| reader.audit(None, 10)).expect("read");
    assert_eq!(audit.into_iter().map(|(_, line)| line).collect::<Vec<_>>(), vec![audit_line()]);

    let mut batch = node.writer.begin().expect("begin");
    assert!(batch.revoke_api_key(7, Timestamp(4)).expect("revoked"));
    assert!(!batch.revoke_api_key(7, Timestamp(5)).expect("it was so already"));
    batch.commit().expect("commit");
    assert_eq!(node.store.read(|reader| reader.config()).expect("read").api_keys, vec![]);
    assert_eq!(node.store.read(|reader| reader.api_keys()).expect("read")[0].revoked_at, Some(Timestamp(4)));
}
