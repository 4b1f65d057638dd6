//! Arbitrary catalogues and command sequences.
//!
//! A generated step says what to do with things chosen by small numbers ("the third hold"); it becomes a command when
//! its turn comes and it is known which holds, debits and lots exist. So most commands meet something real, and
//! shrinking keeps sequences meaningful.

mod ops;

pub use ops::{Op, Pick, Stride, any_steps};

use proptest::prelude::*;
use purser_core::catalogue::{Action, Catalogue, Overage, Price, TenantDiscount, Unit};
use purser_core::command::{
    CaptureHold, Command, Debit, ExtendHold, Freeze, Grant, Movement, PlaceHold, Promise, Quote, Refund,
    Reverse, Revoke,
};
use purser_core::confirm::Thresholds;
use purser_core::counter::Period;
use purser_core::entry::{Actor, ActorKind, Usage};
use purser_core::limit::{Limit, Whose};
use purser_core::pricing::{Bounds, Discount, Footing, Meter, Model, Rate, Tier};
use purser_core::wallet::Owner;
use purser_core::{
    Amount, Currency, Decimal, Id, Key, Money, Quantity, Rounding, Scale, TenantNo, Timestamp, UserNo, Wallet,
};

/// Where every generated story starts: far from the ends of time.
pub const START: i64 = 1_700_000_000_000_000;
/// The tenant of all stories.
pub const TENANT: TenantNo = TenantNo(0x0123_4567_89ab_cdef);
const USER: UserNo = UserNo(42);

/// One to three wallets: a user's credits, a pool's credits, the user's text messages.
pub fn wallets(count: usize) -> Vec<Wallet> {
    let all =
        [(Owner::User(USER), Unit::credit()), (Owner::Pool(7), Unit::credit()), (Owner::User(USER), sms())];
    all.into_iter().take(count).map(|(owner, unit)| Wallet::new(TENANT, owner, unit)).collect()
}

fn sms() -> Unit {
    Unit { code: Key::parse("sms").expect("a valid key"), scale: Scale::new(0).expect("a scale") }
}

/// What the user of all stories wants to be asked about: costs of more than fifty credits' smallest parts, seven messages.
pub fn asked_above() -> Thresholds {
    [(Unit::credit().code, Amount(50)), (sms().code, Amount(7))].into_iter().collect()
}

/// Six actions: flat, per quantity in two units, per dimension, free, switched off, and one whose price changes.
pub fn any_catalogue() -> impl Strategy<Value = Catalogue> {
    let rounding = prop_oneof![Just(Rounding::Up), Just(Rounding::HalfEven), Just(Rounding::Down)];
    let bounds = (rounding, prop::option::of(0..9_i64), prop::option::of(10..60_i64));
    let bounds = bounds.prop_map(|(rounding, minimum, maximum)| Bounds {
        minimum: minimum.map(Amount),
        maximum: maximum.map(Amount),
        rounding,
    });
    let rules = (any_limits(), any_discounts());
    (1..15_i64, 1..9_000_000_i64, 1..5_i64, bounds, 0..300_u16, 0..9_u8, rules).prop_map(
        |(base, rate, per, bounds, percent, shape, (limits, discounts))| {
            let rate = Rate { rate: Decimal(rate), per };
            // The same number of smallest parts a message as a credit has at six decimals.
            let coarse = Rate { rate: Decimal(rate.rate.0 * 1_000_000), per };
            let dimensions = vec![("input".into(), rate), ("output".into(), Rate { per: per + 1, ..rate })];
            let credit = Unit::credit().code;
            let flat = |amount: i64| Model::Flat { amount: Amount(amount) };
            let price = |no: u64, unit: &Key, from: i64, model: Model| Price {
                id: Id(u128::from(no)),
                unit: unit.clone(),
                valid_from: Timestamp(from),
                model,
            };
            let one = |no: u64, model: Model, overage: Overage| {
                let prices = vec![price(no * 10, &credit, 0, model)];
                // Between what is asked about for the user's sake, and what is rarely reached at all.
                let asked = (no == 2).then(|| (credit.clone(), Amount(base * 4)));
                Action {
                    no,
                    key: key(no),
                    active: no != 5,
                    confirm_above: asked.into_iter().collect(),
                    overage,
                    units: vec![credit.clone()],
                    prices,
                }
            };
            let mut two_units = one(2, counted(shape, rate, base, bounds), Overage::Allow { percent });
            // Text messages first, though the wallet of credits comes first: the action's order counts before the wallets'.
            two_units.units.insert(0, sms().code);
            two_units.prices.push(price(21, &sms().code, 0, Model::PerQuantity { rate: coarse, bounds }));
            let mut changing = one(6, flat(base), Overage::Refuse);
            changing.prices.push(price(61, &credit, START + 30_000_000, flat(base + 3)));
            let actions = [
                one(1, flat(base), Overage::Refuse),
                two_units,
                one(3, Model::PerDimension { rates: dimensions, bounds }, Overage::Debt),
                one(4, Model::Free, Overage::Debt),
                one(5, flat(1), Overage::Debt),
                changing,
            ];
            Catalogue::new([sms()], actions).with_limits(limits).with_discounts(discounts)
        },
    )
}

/// Most tenants have none.
fn any_limits() -> impl Strategy<Value = Vec<Limit>> {
    let whose = prop_oneof![
        3 => Just(Whose::Everybody), 2 => Just(Whose::Each), 2 => Just(Whose::User(USER)), 1 => Just(Whose::User(UserNo(5)))
    ];
    let one = (
        whose,
        prop::option::of(1..=3_u64),
        any::<bool>(),
        10..120_i64,
        prop::sample::select(&Period::ALL[..]),
        prop::bool::weighted(0.8),
        prop::collection::btree_set(1..=100_u8, 0..4),
    );
    let limit = |(place, (whose, action, second, amount, period, enforced, alert_at)): (usize, _)| Limit {
        id: Id(0x1111 + place as u128),
        tenant: TENANT,
        whose,
        action,
        unit: unit_code(second),
        amount: Amount(amount),
        period,
        enforced,
        alert_at: std::collections::BTreeSet::into_iter(alert_at).collect(),
    };
    let some = prop::collection::vec(one, 1..4);
    prop::option::weighted(0.5, some)
        .prop_map(move |limits| limits.into_iter().flatten().enumerate().map(limit).collect())
}

/// Most tenants have none, and some have several at once.
fn any_discounts() -> impl Strategy<Value = Vec<TenantDiscount>> {
    let instant = || START + 60_000_000 * 8..START + 60_000_000 * 400;
    let one = (prop::option::of(1..=6_u64), 0..=10_000_u16, instant(), prop::option::of(instant()));
    let discount =
        |(place, (action, basis_points, from, until)): (usize, (_, _, i64, Option<i64>))| TenantDiscount {
            id: Id(0x2222 + place as u128),
            tenant: TENANT,
            action,
            discount: Discount::new(basis_points).expect("at most all of it"),
            valid_from: Timestamp(if place == 0 { 0 } else { from }),
            valid_until: until.map(Timestamp),
        };
    let some = prop::collection::vec(one, 1..4);
    prop::option::weighted(0.4, some)
        .prop_map(move |own| own.into_iter().flatten().enumerate().map(discount).collect())
}

/// A price by quantity: in proportion, by tiers, by volume or by package, of the call or of a period.
fn counted(shape: u8, rate: Rate, base: i64, bounds: Bounds) -> Model {
    let tier = |up_to: Option<i64>, per: i64, flat: i64| Tier {
        up_to: up_to.map(Quantity),
        rate: Rate { per: rate.per * per, ..rate },
        flat: Amount(flat),
    };
    let tiers = vec![tier(Some(1_000_000), 1, 0), tier(Some(2_500_000 * base), 2, base), tier(None, 3, 1)];
    let metered = |period: Period, included: i64, continued: bool, model: Model| Model::Metered {
        meter: Meter { period, included: Quantity(included * 1_000_000), continued },
        model: Box::new(model),
    };
    let (open, plain) = (tiers.clone(), Model::PerQuantity { rate, bounds });
    match shape {
        4 => metered(Period::Month, 0, true, Model::Graduated { tiers: open, bounds }),
        5 => metered(Period::Day, 0, true, Model::Volume { tiers: open, bounds }),
        6 => metered(Period::Week, base, false, plain),
        7 => metered(Period::Day, base, true, Model::Graduated { tiers: open, bounds }),
        8 => metered(
            Period::Month,
            base,
            false,
            Model::Package { amount: Amount(base), per: rate.per, bounds },
        ),
        0 => Model::PerQuantity { rate, bounds },
        1 => Model::Graduated { tiers, bounds },
        2 => Model::Volume { tiers, bounds },
        _ => Model::Package { amount: Amount(base), per: rate.per, bounds },
    }
}

fn key(no: u64) -> Key {
    Key::parse(&format!("action_{no}")).expect("a valid key")
}

/// What exists so far, for later steps to choose from.
#[derive(Default)]
pub struct Known {
    pub lots: Vec<(Id, usize)>,
    pub holds: Vec<(Id, usize)>,
    pub debits: Vec<(Id, usize)>,
    made: u64,
}

impl Known {
    /// Turns a step into a command and the wallets it is about.
    pub fn command(&mut self, op: &Op, wallets: &[Wallet], now: i64) -> (Vec<usize>, Command) {
        self.made += 1;
        let id = Id::new(1_700_000_000_000 + self.made, self.made);
        let all: Vec<usize> = (0..wallets.len()).collect();
        // The candidates of spending as they are loaded: by the order of the action's units, then in funding order.
        let candidates = |action: u64| {
            let mut which = all.clone();
            if action == 2 {
                which.sort_by_key(|index| wallets[*index].unit.code != sms().code);
            }
            which
        };
        let at = |wallet: u8| usize::from(wallet) % wallets.len();
        let mut occurred_at = now;
        let (which, movement) = match op {
            Op::Grant(grant) => {
                let origin = grant.origin.map(|no| Id(u128::from(no)));
                let paid = grant
                    .paid
                    .map(|minor| Money { minor, currency: Currency::parse("MYR").expect("listed") });
                let grant_terms = Grant {
                    amount: Amount(grant.amount),
                    kind: grant.kind,
                    priority: grant.priority,
                    effective_at: grant.effective_in.map(|after| Timestamp(now + after)),
                    expires_at: grant.expires_in.map(|after| Timestamp(now + after)),
                    paid,
                    origin,
                };
                (vec![at(grant.wallet)], Movement::Grant(grant_terms))
            }
            Op::Revoke { lot, amount } => {
                let (lot, wallet) = choose(&self.lots, *lot);
                (vec![wallet], Movement::Revoke(Revoke { lot, amount: amount.map(Amount) }))
            }
            Op::Debit { action, usage, unit, wallet, settle, late, quote } => {
                occurred_at = now - late;
                let (unit, wallet) = (unit.map(unit_code), wallet.map(|wallet| wallets[at(wallet)].key.id));
                let (usage, quote) = (usage.fit(*action), quote.map(|quote| quote.made(*action, now)));
                let debit = Debit { action: *action, usage, unit, wallet, settle: *settle, quote };
                (candidates(*action), Movement::Debit(debit))
            }
            Op::Refund { debit, amount } => {
                let (debit, wallet) = choose(&self.debits, *debit);
                (vec![wallet], Movement::Refund(Refund { debit, amount: amount.map(Amount) }))
            }
            Op::Place { action, usage, wallet, expires_in, quote } => {
                let wallet = wallet.map(|wallet| wallets[at(wallet)].key.id);
                let place = PlaceHold {
                    action: *action,
                    usage: usage.fit(*action),
                    unit: None,
                    wallet,
                    expires_in: *expires_in,
                    quote: quote.map(|quote| quote.made(*action, now)),
                };
                (candidates(*action), Movement::PlaceHold(place))
            }
            Op::Extend { hold, expires_in, usage } => {
                let (hold, wallet) = choose(&self.holds, *hold);
                let usage = usage.map(Amount).map(Usage::Amount);
                (vec![wallet], Movement::ExtendHold(ExtendHold { hold, expires_in: *expires_in, usage }))
            }
            Op::Capture { hold, usage, settle } => {
                let (hold, wallet) = choose(&self.holds, *hold);
                // As often stated as measured.
                let usage = usage.map(|number| match number % 2 {
                    1 => Usage::Quantity(Quantity(number * 70_000)),
                    _ => Usage::Amount(Amount(number)),
                });
                (vec![wallet], Movement::CaptureHold(CaptureHold { hold, usage, settle: *settle }))
            }
            Op::Release { hold } => {
                let (hold, wallet) = choose(&self.holds, *hold);
                (vec![wallet], Movement::ReleaseHold { hold })
            }
            Op::Transfer { from, to, amount } => {
                (vec![at(*from), at(*to)], Movement::Transfer { amount: Amount(*amount) })
            }
            Op::Freeze { cause, origin, amount } => (
                all,
                Movement::Freeze(Freeze {
                    cause: cause_id(*cause),
                    origin: no(*origin),
                    amount: Amount(*amount),
                }),
            ),
            Op::Thaw { cause } => (all, Movement::Thaw { cause: cause_id(*cause) }),
            Op::Reverse { cause, origin, amount, buyer } => {
                let buyer = wallets[at(*buyer)].key.id;
                let (cause, origin, amount) = (cause_id(*cause), no(*origin), Amount(*amount));
                (all, Movement::Reverse(Reverse { cause, origin, amount, buyer }))
            }
            Op::Reinstate { cause } => (all, Movement::Reinstate { cause: cause_id(*cause) }),
            Op::Sweep | Op::Standing(_) => (all, Movement::Sweep),
        };
        let actor = Actor { kind: ActorKind::ApiKey, no: 1 };
        let occurred_at = Timestamp(occurred_at);
        (
            which,
            Command { id, tenant: TENANT, user: Some(USER), actor, occurred_at, text_digest: None, movement },
        )
    }

    /// Remembers what an accepted command made in which wallet.
    pub fn remember(&mut self, command: &Command, wallet: usize) {
        match &command.movement {
            Movement::Grant(_) => self.lots.push((command.id, wallet)),
            Movement::Debit(_) => self.debits.push((command.id, wallet)),
            Movement::PlaceHold(_) => self.holds.push((command.id, wallet)),
            Movement::CaptureHold(capture) => self.debits.push((capture.hold, wallet)),
            _ => {}
        }
    }
}

/// One of the known things, mostly one of the last; now and then one that does not exist.
fn choose(known: &[(Id, usize)], pick: Pick) -> (Id, usize) {
    let place = usize::from(pick.0 >> 2);
    match pick.0 % 4 {
        _ if known.is_empty() || pick.0 == 255 => (Id(0xdead), 0),
        0 => known[place % known.len()],
        _ => known[known.len() - 1 - place % known.len().min(3)],
    }
}

fn no(small: u8) -> Id {
    Id(u128::from(small))
}

fn cause_id(small: u8) -> Id {
    Id(0xcc00 + u128::from(small))
}

fn unit_code(second: bool) -> Key {
    if second { sms().code } else { Unit::credit().code }
}

/// Usage as generated: fitted to the action it is for, most of the time.
#[derive(Clone, Copy, Debug)]
pub struct UsageSeed {
    pub one: i64,
    pub two: i64,
    pub odd: u8,
}

impl UsageSeed {
    fn fit(self, action: u64) -> Usage {
        let dimensions = |names: [&str; 2]| {
            let [one, two] = names.map(String::from);
            Usage::Dimensions(vec![(one, Quantity(self.one)), (two, Quantity(self.two))])
        };
        match (self.odd, action) {
            (0, _) => dimensions(["input", "unknown"]),
            (1..=3, _) => Usage::Amount(Amount(self.one / 300_000)),
            (4, _) => Usage::Quantity(Quantity(self.two)),
            (_, 3) => dimensions(["input", "output"]),
            (_, 2) => Usage::Quantity(Quantity(self.one)),
            _ => Usage::Quantity(Quantity::ONE),
        }
    }
}

/// A quote as generated: mostly one that binds, at a price of its own.
#[derive(Clone, Copy, Debug)]
pub struct QuoteSeed {
    pub amount: i64,
    pub odd: u8,
    pub messages: bool,
}

impl QuoteSeed {
    fn made(self, action: u64, now: i64) -> Quote {
        let unit = unit_code(self.messages && action == 2);
        let promise = Promise {
            id: Id::new(u64::try_from(now / 1_000).expect("after 1970"), u64::from(self.odd)),
            price: Id(u128::from(action * 10)),
            unit,
            amount: Amount(self.amount),
            expires_at: Timestamp(now + 1),
            footing: Footing {
                discount: Discount::new(u16::from(self.odd) * 500).expect("a part"),
                used_before: None,
            },
            used: false,
        };
        match self.odd {
            0 => Quote::Invalid,
            1 => Quote::Mismatch,
            2 => Quote::Promise(Promise { used: true, ..promise }),
            3 => Quote::Promise(Promise { expires_at: Timestamp(now), ..promise }),
            _ => Quote::Promise(promise),
        }
    }
}
