//! Two units and six actions: every price model and every rule for what a capture may take beyond its hold.

use super::rng::Rng;
use purser_core::catalogue::{Action, Catalogue, Overage, Price, Unit};
use purser_core::confirm::Thresholds;
use purser_core::pricing::{Bounds, Model, Rate};
use purser_core::{Amount, Decimal, Id, Key, Rounding, Scale, Timestamp};

/// A price for each use.
pub const FLAT: u64 = 1;
/// A price for each piece; paid in messages first, then in credits.
pub const PIECES: u64 = 2;
/// Two measures.
pub const MEASURES: u64 = 3;
/// Costs nothing.
pub const FREE: u64 = 4;
/// Switched off and on.
pub const SWITCHED: u64 = 5;
/// Its price changes.
pub const CHANGING: u64 = 6;
/// There is none.
pub const UNKNOWN: u64 = 99;

/// The second unit.
pub fn sms() -> Unit {
    Unit { code: Key::parse("sms").expect("a key"), scale: Scale::new(0).expect("a scale") }
}

/// The two units, in a fixed order.
pub fn units() -> [Unit; 2] {
    [Unit::credit(), sms()]
}

/// One price version.
pub fn price(id: u128, unit: &Unit, valid_from: i64, model: Model) -> Price {
    Price { id: Id(id), unit: unit.code.clone(), valid_from: Timestamp(valid_from), model }
}

/// A price of so much.
pub fn flat(amount: i64) -> Model {
    Model::Flat { amount: Amount(amount) }
}

/// The actions of a seed.
pub fn actions(rng: &mut Rng) -> Vec<Action> {
    let bounds = Bounds {
        minimum: rng.maybe(50, |rng| Amount(rng.range(0, 8))),
        maximum: rng.maybe(50, |rng| Amount(rng.range(10, 59))),
        rounding: rng.pick(&[Rounding::Up, Rounding::HalfEven, Rounding::Down]),
    };
    let (rate, per) = (rng.range(1, 9_000_000), rng.range(1, 4));
    let fine = Rate { rate: Decimal(rate), per };
    // As many smallest parts a message as a credit has at six decimals.
    let coarse = Rate { rate: Decimal(rate * 1_000_000), per };
    let measures = vec![("input".into(), fine), ("output".into(), Rate { per: per + 1, ..fine })];
    let credit = Unit::credit();
    let one = |no: u64, model: Model, overage: Overage| Action {
        no,
        key: Key::parse(&format!("action_{no}")).expect("a key"),
        active: true,
        confirm_above: Thresholds::default(),
        overage,
        units: vec![credit.code.clone()],
        prices: vec![price(u128::from(no) * 10, &credit, 0, model)],
    };
    let mut pieces = one(
        PIECES,
        Model::PerQuantity { rate: fine, bounds },
        Overage::Allow { percent: rng.range(0, 200) as u16 },
    );
    pieces.confirm_above = [(credit.code.clone(), Amount(rng.range(0, 20)))].into_iter().collect();
    pieces.units.insert(0, sms().code);
    pieces.prices.push(price(21, &sms(), 0, Model::PerQuantity { rate: coarse, bounds }));
    vec![
        one(FLAT, flat(rng.range(1, 14)), Overage::Refuse),
        pieces,
        one(MEASURES, Model::PerDimension { rates: measures, bounds }, Overage::Debt),
        one(FREE, Model::Free, Overage::Debt),
        one(SWITCHED, flat(1), Overage::Debt),
        one(CHANGING, flat(rng.range(1, 14)), Overage::Refuse),
    ]
}

/// The catalogue as the model sees it.
pub fn catalogue(actions: &[Action]) -> Catalogue {
    Catalogue::new([sms()], actions.iter().cloned())
}
