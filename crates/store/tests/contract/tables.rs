//! The cold tables: names and numbers, catalogue, keys, audit.

use crate::databases::Kind;
use crate::home::Home;
use purser_core::catalogue::{Action, Overage, Price, Unit};
use purser_core::decide::Standing;
use purser_core::entry::{Actor, ActorKind};
use purser_core::gate::{Charging, Effect, Pattern, Rule, TenantFrom, UserIs};
use purser_core::pricing::{Bounds, Model, Rate};
use purser_core::{Amount, Decimal, Id, Key, Quantity, Rounding, Scale, TenantNo, Timestamp, UserNo};
use purser_store::{
    ActionRow, AuditRow, CatalogueChange, FreshNumbers, Names, NewApiKey, PreferenceRow, UnitRow,
};

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

fn fresh(number: u64) -> FreshNumbers {
    FreshNumbers { tenant: TenantNo(number), user: UserNo(number + 1) }
}

pub(crate) fn audit_line(what: &str) -> AuditRow {
    AuditRow {
        actor: Actor { kind: ActorKind::ApiKey, no: 4 },
        what: what.into(),
        subject: "sms".into(),
        before: None,
        after: Some("{}".into()),
        reason: Some("because".into()),
        at: Timestamp(9),
    }
}

fn a_user_and_its_tenant_get_numbers_once(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let (acme, ann) = (key("acme"), key("ann"));
    let numbers = batch.ensure_user(Some(&acme), &ann, fresh(u64::MAX - 5), Timestamp(1)).expect("made");
    assert_eq!(numbers, (TenantNo(u64::MAX - 5), UserNo(u64::MAX - 4)));
    assert_eq!(batch.ensure_user(Some(&acme), &ann, fresh(70), Timestamp(2)).expect("found"), numbers);
    assert_eq!(batch.ensure_tenant(&acme, TenantNo(71), Timestamp(2)).expect("found"), numbers.0);
    // Another user of the same tenant; and the same user without a tenant is somebody else.
    let (tenant, bob) = batch.ensure_user(Some(&acme), &key("bob"), fresh(80), Timestamp(3)).expect("made");
    assert_eq!((tenant, bob), (numbers.0, UserNo(81)));
    let personal = batch.ensure_user(None, &ann, fresh(90), Timestamp(4)).expect("made");
    assert_eq!(personal, (TenantNo(90), UserNo(91)));
    batch.commit().expect("commit");
    store
        .read(|reader| {
            assert_eq!(reader.resolve_user(Some(&acme), &ann)?, Some(numbers));
            assert_eq!(reader.resolve_user(None, &ann)?, Some(personal));
            assert_eq!(reader.resolve_user(None, &key("bob"))?, None);
            assert_eq!(reader.resolve_user(Some(&key("ann")), &ann)?, None, "a personal tenant has no name");
            assert_eq!(reader.resolve_tenant(&acme)?, Some(numbers.0));
            assert_eq!(reader.resolve_tenant(&ann)?, None);
            let named = Names { tenant: Some(acme.clone()), user: Some(ann.clone()) };
            assert_eq!(reader.names(numbers.0, Some(numbers.1))?, named);
            assert_eq!(
                reader.names(personal.0, Some(personal.1))?,
                Names { tenant: None, user: Some(ann.clone()) }
            );
            assert_eq!(reader.names(TenantNo(1), Some(UserNo(1)))?, Names::default());
            let counts = reader.counts()?;
            assert_eq!((counts.tenants, counts.users), (2, 3));
            Ok(())
        })
        .expect("read");
}

fn scan() -> ActionRow {
    let rate = Rate { rate: Decimal(3), per: 1_000_000 };
    let bounds = Bounds { minimum: Some(Amount(0)), maximum: Some(Amount(9)), rounding: Rounding::HalfEven };
    let prices = vec![
        Price {
            id: Id::new(1, 1),
            unit: key("credit"),
            valid_from: Timestamp(5),
            model: Model::Flat { amount: Amount(5) },
        },
        Price {
            id: Id::new(1, 2),
            unit: key("sms"),
            valid_from: Timestamp(5),
            model: Model::PerDimension { rates: vec![("input_tokens".into(), rate)], bounds },
        },
    ];
    let action = Action {
        no: u64::MAX - 1,
        key: key("full_scan"),
        active: true,
        confirm_above: [(key("credit"), Amount(7)), (key("sms"), Amount(0))].into_iter().collect(),
        overage: Overage::Allow { percent: 20 },
        units: vec![key("sms"), key("credit")],
        prices,
    };
    ActionRow {
        action,
        name: "Full scan".into(),
        unit_label: Some("scan".into()),
        description: None,
        category: None,
    }
}

fn the_catalogue_comes_back_as_it_was_written_and_keys_are_taken_once(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let epoch = batch.config_epoch().expect("epoch");
    let sms = UnitRow {
        unit: Unit { code: key("sms"), scale: Scale::new(0).expect("a scale") },
        name: "SMS".into(),
    };
    assert!(batch.insert_unit(&sms, Timestamp(1)).expect("inserted"));
    assert!(!batch.insert_unit(&sms, Timestamp(1)).expect("taken"));
    let credit = UnitRow { unit: Unit::credit(), name: "Credits".into() };
    assert!(!batch.insert_unit(&credit, Timestamp(1)).expect("there from the start"));
    let mut action = scan();
    assert!(batch.insert_action(&action, Timestamp(2)).expect("inserted"));
    assert!(!batch.insert_action(&action, Timestamp(2)).expect("taken"));
    let later = Price { id: Id::new(2, 1), unit: key("MYR"), valid_from: Timestamp(6), model: Model::Free };
    batch.insert_price(action.action.no, &later, Timestamp(3)).expect("inserted");
    assert!(batch.set_action_active(action.action.no, false).expect("changed"));
    assert!(!batch.set_action_active(1, false).expect("unknown"));
    let preference = |user: u64, above: &[(Key, Amount)]| PreferenceRow {
        tenant: TenantNo(7),
        user: UserNo(user),
        confirm_above: above.iter().cloned().collect(),
    };
    let both = preference(u64::MAX, &[(key("sms"), Amount(3)), (key("credit"), Amount(0))]);
    for row in [preference(u64::MAX, &[(key("sms"), Amount(9))]), preference(8, &[(key("sms"), Amount(1))])] {
        batch.set_preference(&row, Timestamp(3)).expect("inserted");
    }
    for row in [&both, &preference(8, &[])] {
        batch.set_preference(row, Timestamp(4)).expect("changed");
    }
    assert_eq!(batch.bump_config_epoch().expect("bumped"), epoch + 1);
    batch.commit().expect("commit");
    let config = store.read(|reader| reader.config()).expect("read");
    assert_eq!(config.epoch, epoch + 1);
    assert_eq!(config.units, vec![credit, sms]);
    assert_eq!(config.preferences, vec![both], "who prefers nothing is not listed");
    action.action.units.push(key("MYR"));
    action.action.prices.insert(0, later);
    action.action.active = false;
    assert_eq!(config.actions, vec![action]);
}

fn a_catalogue_is_changed_whole_or_not_at_all_once_the_configuration_moved(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let sms = UnitRow {
        unit: Unit { code: key("sms"), scale: Scale::new(0).expect("a scale") },
        name: "SMS".into(),
    };
    let epoch = store.read(|reader| reader.config()).expect("read").epoch;
    let made = CatalogueChange {
        epoch,
        new_units: vec![sms.clone()],
        new_actions: vec![scan()],
        audit: vec![audit_line("one"), audit_line("two")],
        ..CatalogueChange::default()
    };
    let mut batch = writer.begin().expect("begin");
    assert!(batch.change_catalogue(&made, Timestamp(2)).expect("made"));
    batch.insert_audit(&audit_line("three")).expect("appended");
    assert_eq!(batch.bump_config_epoch().expect("bumped"), epoch + 1);
    batch.commit().expect("commit");
    let mut changed = scan();
    changed.name = "Other".into();
    changed.action.active = false;
    let later = Price { id: Id::new(2, 1), unit: key("sms"), valid_from: Timestamp(6), model: Model::Free };
    let renamed = UnitRow { name: "Texts".into(), ..sms };
    let no = changed.action.no;
    let next = CatalogueChange {
        epoch,
        renamed_units: vec![renamed.clone()],
        set_actions: vec![changed.clone()],
        new_action_units: vec![(no, changed.action.units.len(), key("sms"))],
        new_prices: vec![(no, later.clone())],
        ..CatalogueChange::default()
    };
    let mut batch = writer.begin().expect("begin");
    assert!(
        !batch.change_catalogue(&next, Timestamp(3)).expect("refused"),
        "it was worked out from what is over"
    );
    batch.commit().expect("commit");
    let config = store.read(|reader| reader.config()).expect("read");
    assert_eq!(config.actions, vec![scan()]);
    let mut batch = writer.begin().expect("begin");
    let now = CatalogueChange { epoch: epoch + 1, ..next };
    assert!(batch.change_catalogue(&now, Timestamp(3)).expect("made"));
    batch.commit().expect("commit");
    let config = store.read(|reader| reader.config()).expect("read");
    changed.action.units.push(key("sms"));
    changed.action.prices.push(later);
    assert_eq!(config.actions, vec![changed]);
    assert!(config.units.contains(&renamed));
    let lines = store.read(|reader| reader.audit(None, 9)).expect("read");
    let told: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    assert_eq!(told, ["three", "two", "one"].map(audit_line));
}

fn keys_are_found_with_their_tenant_until_they_are_revoked(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    let acme = batch.ensure_tenant(&key("acme"), TenantNo(7), Timestamp(1)).expect("made");
    let platform =
        NewApiKey { no: u64::MAX, name: "ops".into(), hash: [1; 32], scope: "write".into(), tenant: None };
    let tenant = NewApiKey { no: 2, hash: [2; 32], tenant: Some(acme), ..platform.clone() };
    batch.insert_api_key(&platform, Timestamp(1)).expect("inserted");
    batch.insert_api_key(&tenant, Timestamp(2)).expect("inserted");
    batch.commit().expect("commit");
    let keys = store.read(|reader| reader.config()).expect("read").api_keys;
    let found: Vec<_> = keys.iter().map(|row| (row.no, row.hash, row.tenant.clone())).collect();
    assert_eq!(found, vec![(2, [2; 32], Some((key("acme"), acme))), (u64::MAX, [1; 32], None)]);
    let mut batch = writer.begin().expect("begin");
    assert!(batch.revoke_api_key(u64::MAX, Timestamp(5)).expect("revoked"));
    assert!(!batch.revoke_api_key(u64::MAX, Timestamp(6)).expect("revoked already"));
    batch.commit().expect("commit");
    assert_eq!(store.read(|reader| reader.config()).expect("read").api_keys.len(), 1);
    let all = store.read(|reader| reader.api_keys()).expect("read");
    assert_eq!(all.iter().find(|row| row.no == u64::MAX).expect("listed").revoked_at, Some(Timestamp(5)));
}

fn only_tenants_that_may_not_do_everything_are_part_of_the_configuration(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    for number in 1..4 {
        batch.ensure_tenant(&key(&format!("t{number}")), TenantNo(number), Timestamp(1)).expect("made");
    }
    assert!(batch.set_standing(TenantNo(2), Standing::Suspended).expect("set"));
    assert!(!batch.set_standing(TenantNo(9), Standing::Frozen).expect("unknown"));
    batch.commit().expect("commit");
    let standings = store.read(|reader| reader.config()).expect("read").standings;
    assert_eq!(standings, vec![(TenantNo(2), Standing::Suspended)]);
}

fn rules_of_the_gate_come_back_as_they_were_written_and_keys_are_taken_once(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let charging = Charging {
        action: key("scan"),
        quantity: Quantity(2_500_000),
        tenant: TenantFrom::Fixed(key("acme")),
        user_header: "X-Who".into(),
        user_is: UserIs::Credential,
        open: true,
    };
    let rule = |name: &str, host, methods: &[&str], effect| {
        let pattern = Pattern::parse(host, "/a/*/\u{e9}/**", methods).expect("a pattern");
        let (created_at, changed_at) = (Timestamp(3), Timestamp(4));
        Rule { key: key(name), pattern, priority: -7, active: true, effect, created_at, changed_at }
    };
    let by_header = Charging {
        tenant: TenantFrom::Header("X-Org".into()),
        user_is: UserIs::Key,
        open: false,
        ..charging.clone()
    };
    let personal = Charging { tenant: TenantFrom::Personal, ..by_header.clone() };
    let mut rules = vec![
        rule("A", Some("*.example.com"), &["GET", "POST"], Effect::Charge(charging)),
        rule("a", None, &[], Effect::Charge(by_header)),
        rule("b", Some("h"), &[], Effect::Charge(personal)),
        Rule { active: false, ..rule("c", None, &["PUT"], Effect::Free) },
        rule("d", None, &[], Effect::Deny),
    ];
    let mut batch = writer.begin().expect("begin");
    for rule in rules.iter().rev() {
        assert!(batch.insert_gate_rule(rule).expect("inserted"));
    }
    assert!(!batch.insert_gate_rule(&rules[0]).expect("taken"));
    batch.commit().expect("commit");
    assert_eq!(store.read(|reader| reader.config()).expect("read").gate_rules, rules);
    let mut batch = writer.begin().expect("begin");
    assert_eq!(batch.gate_rule(&key("d")).expect("read").as_ref(), rules.last());
    assert!(batch.delete_gate_rule(&key("d")).expect("deleted"));
    assert_eq!(batch.gate_rule(&key("d")).expect("read"), None);
    assert!(!batch.delete_gate_rule(&key("d")).expect("gone already"));
    batch.commit().expect("commit");
    rules.pop();
    assert_eq!(store.read(|reader| reader.config()).expect("read").gate_rules, rules);
}

fn the_audit_trail_is_read_newest_first(kind: Kind) {
    let home = Home::new(kind);
    let (store, mut writer) = home.open();
    let mut batch = writer.begin().expect("begin");
    for what in ["one", "two", "three"] {
        batch.insert_audit(&audit_line(what)).expect("appended");
    }
    batch.commit().expect("commit");
    let lines = store.read(|reader| reader.audit(None, 2)).expect("read");
    assert_eq!(
        lines.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>(),
        ["three", "two"].map(audit_line)
    );
    let rest = store.read(|reader| reader.audit(Some(lines[1].0), 2)).expect("read");
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].1, audit_line("one"));
}

on_every_database! {
    a_user_and_its_tenant_get_numbers_once,
    the_catalogue_comes_back_as_it_was_written_and_keys_are_taken_once,
    a_catalogue_is_changed_whole_or_not_at_all_once_the_configuration_moved,
    keys_are_found_with_their_tenant_until_they_are_revoked,
    only_tenants_that_may_not_do_everything_are_part_of_the_configuration,
    rules_of_the_gate_come_back_as_they_were_written_and_keys_are_taken_once,
    the_audit_trail_is_read_newest_first,
}
