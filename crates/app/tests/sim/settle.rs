//! The world in which every seed begins: a catalogue, two keys, two people, and an organisation with two users and a pool.

use super::catalogue;
use super::node::Node;
use super::oracle::Tenant;
use super::rng::Rng;
use purser_app::engine::ColdJob;
use purser_core::catalogue::Unit;
use purser_core::counter::Period;
use purser_core::limit::{Limit, Whose};
use purser_core::wallet::Owner;
use purser_core::{Amount, Key, TenantNo, Timestamp, UserNo};
use purser_store::{ActionRow, FreshNumbers, NewApiKey, UnitRow};

/// Where every seed starts: far from the ends of time.
pub const START: i64 = 1_700_000_000_000_000;

/// Publishes the catalogue and keys, and makes the tenants: two people, and an organisation with two users and a pool.
pub fn settle_in(
    node: &mut Node,
    rng: &mut Rng,
    actions: &[purser_core::catalogue::Action],
) -> (Vec<Tenant>, Vec<Limit>) {
    let now = Timestamp(START);
    let rows: Vec<ActionRow> = actions
        .iter()
        .map(|action| ActionRow {
            action: action.clone(),
            name: action.key.to_string(),
            unit_label: None,
            description: None,
            category: None,
        })
        .collect();
    let publish: ColdJob = Box::new(move |batch| {
        batch.insert_unit(&UnitRow { unit: catalogue::sms(), name: "Messages".into() }, now)?;
        for row in &rows {
            batch.insert_action(row, now)?;
        }
        for no in [1, 2] {
            let (name, scope) = (format!("key {no}"), "write".to_string());
            batch.insert_api_key(&NewApiKey { no, name, hash: [no as u8; 32], scope, tenant: None }, now)?;
        }
        Ok(true)
    });
    let mut fresh = || FreshNumbers { tenant: TenantNo(rng.number()), user: UserNo(rng.number()) };
    let people = [("ann", fresh()), ("bob", fresh())];
    let (first, second) = (fresh(), fresh());
    let members = [("cat", first), ("dan", FreshNumbers { tenant: first.tenant, ..second })];
    // A month of ann's and a user of the organisation are never kept from anything: whether all is counted is what `verify` looks at.
    let (never, rarely, often) = (Amount::MAX, Amount(1_500), Amount(rng.range(60, 400)));
    let limits = [
        (people[0].1.tenant, Whose::Everybody, Period::Month, never),
        (first.tenant, Whose::Each, Period::Day, never),
        (first.tenant, Whose::Everybody, Period::Month, rarely),
        (people[1].1.tenant, Whose::Each, Period::Day, often),
        (people[1].1.tenant, Whose::Everybody, Period::Week, rarely),
    ]
    .map(|(tenant, whose, period, amount)| {
        let (action, unit, enforced, alert_at) = (None, Unit::credit().code, true, vec![50, 100]);
        let id = Limit::id_of(tenant, whose, action, &unit, period);
        Limit { id, tenant, whose, action, unit, amount, period, enforced, alert_at }
    })
    .to_vec();
    let set = limits.clone();
    let meet: ColdJob = Box::new(move |batch| {
        for (name, fresh) in people {
            batch.ensure_user(None, &Key::parse(name).expect("a key"), fresh, now)?;
        }
        for (name, fresh) in members {
            let organisation = Key::parse("acme").expect("a key");
            batch.ensure_user(Some(&organisation), &Key::parse(name).expect("a key"), fresh, now)?;
        }
        set.iter().try_for_each(|limit| batch.set_limit(limit, now))?;
        Ok(true)
    });
    for changed in node.funnel.change(vec![publish, meet]) {
        changed.expect("the world is set up");
    }
    let mut tenants: Vec<Tenant> =
        people.iter().map(|(_, fresh)| Tenant::new(fresh.tenant, &[Owner::User(fresh.user)])).collect();
    let owners = [Owner::User(first.user), Owner::User(second.user), Owner::Pool(7)];
    tenants.push(Tenant::new(first.tenant, &owners));
    (tenants, limits)
}
