//! Prices on the wire: one object whose `model` says which of its fields apply, and versions of an action.

use std::collections::BTreeMap;

use purser_app::ask::{IncludedAsk, ModelAsk, PriceAsk, RateAsk, TierAsk};
use purser_core::catalogue::{Catalogue, Price, Unit};
use purser_core::pricing::{Bounds, Model, Rate, Tier};
use purser_core::{Amount, Decimal, Quantity, Rounding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limits::PeriodWire;
use super::rates::RatesIn;
use crate::http::incoming::{DecimalIn, KeyIn, Owned, TimeIn};
use crate::http::object::Strict;
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::Problem;

/// A version of what an action costs in one unit. Which fields apply depends on `model`; others are refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PriceRequest)]
pub struct PriceIn<'a> {
    /// The arithmetic.
    model: ModelWire,
    /// The unit it is paid in; `credit` unless said.
    #[serde(borrow, default)]
    unit: Option<KeyIn<'a>>,
    /// `flat`: what each call costs. `package`: what each started package costs.
    #[serde(borrow, default)]
    amount: Option<DecimalIn<'a>>,
    /// `per_quantity`: what `per` of it cost.
    #[serde(borrow, default)]
    rate: Option<DecimalIn<'a>>,
    /// `per_quantity`: for how many the rate is. `package`: how many are in one. 1 unless said.
    #[serde(default)]
    #[schema(minimum = 1)]
    per: Option<i64>,
    /// `per_dimension`: a rate for each measure.
    #[serde(borrow, default)]
    #[schema(value_type = Option<BTreeMap<Cow<'a, str>, RateIn<'a>>>)]
    rates: Option<RatesIn<'a>>,
    /// `graduated` and `volume`: the tiers, ascending; the last is open.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Vec<TierIn<'a>>>, min_items = 1, max_items = 64)]
    tiers: Option<Vec<Strict<TierIn<'a>>>>,
    /// `graduated` and `volume`: what the tiers count; the quantity of the call unless said.
    #[serde(default)]
    basis: Option<BasisWire>,
    /// Free of charge in each period, for all users of a tenant together.
    #[serde(borrow, default)]
    #[schema(value_type = Option<IncludedIn<'a>>)]
    included: Option<Strict<IncludedIn<'a>>>,
    /// At least this much is charged.
    #[serde(borrow, default)]
    minimum: Option<DecimalIn<'a>>,
    /// At most this much is charged.
    #[serde(borrow, default)]
    maximum: Option<DecimalIn<'a>>,
    /// How a fraction of the unit's smallest part is settled, once per debit; `up` unless said.
    #[serde(default)]
    rounding: Option<RoundingWire>,
    /// In force from this instant; at once unless said; never in the past.
    #[serde(borrow, default)]
    valid_from: Option<TimeIn<'a>>,
}

/// A quantity that is free in each period.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IncludedRequest)]
pub struct IncludedIn<'a> {
    /// How much.
    #[serde(borrow)]
    quantity: DecimalIn<'a>,
    /// How often; `month` unless said, and with the basis `month` nothing else.
    #[serde(default)]
    period: Option<PeriodWire>,
}

/// What `per` of something cost.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RateRequest)]
pub struct RateIn<'a> {
    /// In whole units.
    #[serde(borrow)]
    rate: DecimalIn<'a>,
    /// For how many; 1 unless said.
    #[serde(default)]
    #[schema(minimum = 1)]
    per: Option<i64>,
}

/// A range of the quantity: from behind the tier before, or from nothing, to `up_to`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TierRequest)]
pub struct TierIn<'a> {
    /// The last quantity in it; null in the last tier, and only there.
    #[serde(borrow, default)]
    up_to: Option<DecimalIn<'a>>,
    /// In whole units.
    #[serde(borrow)]
    rate: DecimalIn<'a>,
    /// For how many the rate is; 1 unless said.
    #[serde(default)]
    #[schema(minimum = 1)]
    per: Option<i64>,
    /// Charged once, beside the rate, when the tier is used; nothing unless said.
    #[serde(borrow, default)]
    flat: Option<DecimalIn<'a>>,
}

impl TierIn<'_> {
    fn into_ask(self) -> TierAsk {
        let rate = RateAsk { rate: self.rate.0.into_owned(), per: self.per };
        TierAsk { up_to: self.up_to.owned(), rate, flat: self.flat.owned() }
    }
}

/// The arithmetic of a price.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PriceModel)]
pub enum ModelWire {
    /// Nothing.
    Free,
    /// The same for every call.
    Flat,
    /// In proportion to the quantity.
    PerQuantity,
    /// In proportion to several measures.
    PerDimension,
    /// Each part of the quantity at the rate of the tier that it lies in.
    Graduated,
    /// The whole quantity at the rate of the tier that it reaches.
    Volume,
    /// So much for every started package.
    Package,
}

impl ModelWire {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ModelWire::Free => "free",
            ModelWire::Flat => "flat",
            ModelWire::PerQuantity => "per_quantity",
            ModelWire::PerDimension => "per_dimension",
            ModelWire::Graduated => "graduated",
            ModelWire::Volume => "volume",
            ModelWire::Package => "package",
        }
    }
}

/// What the tiers of a price count.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TierBasis)]
pub enum BasisWire {
    /// The quantity of the call.
    Call,
    /// What the tenant used in the calendar month: tiers go on from call to call and begin anew with the month.
    Month,
}

/// How a fraction is settled.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Rounding)]
pub enum RoundingWire {
    /// To the next larger.
    Up,
    /// To the nearest, a tie to the even neighbour.
    HalfEven,
    /// To the next smaller.
    Down,
}

impl RoundingWire {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            RoundingWire::Up => "up",
            RoundingWire::HalfEven => "half_even",
            RoundingWire::Down => "down",
        }
    }
}

impl From<Rounding> for RoundingWire {
    fn from(rounding: Rounding) -> RoundingWire {
        match rounding {
            Rounding::Up => RoundingWire::Up,
            Rounding::HalfEven => RoundingWire::HalfEven,
            Rounding::Down => RoundingWire::Down,
        }
    }
}

impl PriceIn<'_> {
    /// The ask that this price makes. Pointers of refusals start at the price itself.
    pub fn into_ask(self) -> Result<PriceAsk, Problem> {
        self.refuse_what_does_not_apply()?;
        let model = match self.model {
            ModelWire::Free => ModelAsk::Free,
            ModelWire::Flat => ModelAsk::Flat { amount: needed(self.amount, "/amount")? },
            ModelWire::PerQuantity => {
                ModelAsk::PerQuantity { rate: RateAsk { rate: needed(self.rate, "/rate")?, per: self.per } }
            }
            ModelWire::PerDimension => {
                let rates = self.rates.filter(|rates| !rates.0.is_empty());
                let RatesIn(rates) = rates.ok_or_else(|| missing("/rates"))?;
                let ask = |rate: RateIn<'_>| RateAsk { rate: rate.rate.0.into_owned(), per: rate.per };
                let rates = rates.into_iter().map(|(name, rate)| (name.into_owned(), ask(rate))).collect();
                ModelAsk::PerDimension { rates }
            }
            ModelWire::Graduated => ModelAsk::Graduated { tiers: tiers(self.tiers)? },
            ModelWire::Volume => ModelAsk::Volume { tiers: tiers(self.tiers)? },
            ModelWire::Package => {
                ModelAsk::Package { amount: needed(self.amount, "/amount")?, per: self.per }
            }
        };
        Ok(PriceAsk {
            unit: self.unit.owned(),
            included: self.included.map(|Strict(included)| IncludedAsk {
                quantity: included.quantity.0.into_owned(),
                period: included.period.map(|period| period.name().to_string()),
            }),
            by_month: self.basis == Some(BasisWire::Month),
            model,
            minimum: self.minimum.owned(),
            maximum: self.maximum.owned(),
            rounding: self.rounding.map(|rounding| rounding.name().to_string()),
            valid_from: self.valid_from.owned(),
        })
    }

    fn refuse_what_does_not_apply(&self) -> Result<(), Problem> {
        use ModelWire::{Flat, Graduated, Package, PerDimension, PerQuantity, Volume};
        let is = |models: &[ModelWire]| models.contains(&self.model);
        let (tiers, rates) = (is(&[Graduated, Volume]), is(&[PerQuantity, PerDimension, Graduated, Volume]));
        let limits = rates || is(&[Package]);
        let fields = [
            ("/amount", self.amount.is_some(), is(&[Flat, Package])),
            ("/rate", self.rate.is_some(), is(&[PerQuantity])),
            ("/per", self.per.is_some(), is(&[PerQuantity, Package])),
            ("/rates", self.rates.is_some(), is(&[PerDimension])),
            ("/tiers", self.tiers.is_some(), tiers),
            ("/basis", self.basis.is_some(), tiers),
            ("/included", self.included.is_some(), is(&[Flat, PerQuantity, Graduated, Volume, Package])),
            ("/minimum", self.minimum.is_some(), limits),
            ("/maximum", self.maximum.is_some(), limits),
            ("/rounding", self.rounding.is_some(), rates),
        ];
        match fields.into_iter().find(|(_, given, applies)| *given && !applies) {
            None => Ok(()),
            Some((pointer, ..)) => {
                Err(Problem::field(pointer, "not_applicable", "the price's model has no such field"))
            }
        }
    }
}

fn tiers(given: Option<Vec<Strict<TierIn<'_>>>>) -> Result<Vec<TierAsk>, Problem> {
    let given = given.filter(|tiers| !tiers.is_empty()).ok_or_else(|| missing("/tiers"))?;
    Ok(given.into_iter().map(|Strict(tier)| tier.into_ask()).collect())
}

fn needed(field: Option<DecimalIn<'_>>, pointer: &str) -> Result<String, Problem> {
    field.owned().ok_or_else(|| missing(pointer))
}

fn missing(pointer: &str) -> Problem {
    Problem::field(pointer, "required", "the price's model needs the field")
}

/// A version of what an action costs in one unit.
#[derive(Serialize, ToSchema)]
#[schema(as = Price)]
pub struct PriceOut {
    /// The version; every debit names the one it used.
    id: IdOut,
    /// The unit it is paid in.
    unit: String,
    /// In force from this instant until the next version of the same unit.
    valid_from: TimeOut,
    /// The arithmetic.
    model: ModelWire,
    /// `flat`: what each call costs. `package`: what each started package costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    amount: Option<AmountOut>,
    /// `per_quantity`: what `per` of it cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rate: Option<AmountOut>,
    /// `per_quantity`: for how many the rate is. `package`: how many are in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    per: Option<i64>,
    /// `per_dimension`: a rate for each measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rates: Option<BTreeMap<String, RateOut>>,
    /// `graduated` and `volume`: the tiers, ascending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tiers: Option<Vec<TierOut>>,
    /// `graduated` and `volume`: what the tiers count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    basis: Option<BasisWire>,
    /// Free of charge in each period.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    included: Option<IncludedOut>,
    /// At least this much is charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    minimum: Option<AmountOut>,
    /// At most this much is charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    maximum: Option<AmountOut>,
    /// How a fraction of the unit's smallest part is settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rounding: Option<RoundingWire>,
}

/// A quantity that is free in each period.
#[derive(Serialize, ToSchema)]
#[schema(as = Included)]
pub struct IncludedOut {
    /// How much.
    quantity: AmountOut,
    /// How often.
    period: PeriodWire,
}

/// What `per` of something cost.
#[derive(Serialize, ToSchema)]
#[schema(as = Rate)]
pub struct RateOut {
    /// In whole units.
    rate: AmountOut,
    /// For how many.
    per: i64,
}

/// A range of the quantity, with a rate of its own.
#[derive(Serialize, ToSchema)]
#[schema(as = Tier)]
pub struct TierOut {
    /// The last quantity in it; null in the last tier.
    #[schema(required)]
    up_to: Option<AmountOut>,
    /// In whole units.
    rate: AmountOut,
    /// For how many the rate is.
    per: i64,
    /// Charged once, beside the rate, when the tier is used.
    flat: AmountOut,
}

impl TierOut {
    fn new(unit: &Unit, tier: &Tier) -> TierOut {
        let RateOut { rate, per } = RateOut::from(&tier.rate);
        let up_to = tier.up_to.map(|up_to| AmountOut::new(up_to.0, Quantity::DECIMALS));
        TierOut { up_to, rate, per, flat: AmountOut::of(unit, tier.flat) }
    }
}

impl From<&Rate> for RateOut {
    fn from(rate: &Rate) -> RateOut {
        RateOut { rate: AmountOut::new(rate.rate.0, Decimal::DECIMALS), per: rate.per }
    }
}

impl PriceOut {
    /// Renders a version; its amounts are counted in a unit of the catalogue.
    pub fn new(price: &Price, catalogue: &Catalogue) -> Result<PriceOut, Problem> {
        let unit = catalogue.unit(&price.unit);
        let unit =
            unit.ok_or_else(|| Problem::fault(format!("the price's unit {} is unknown", price.unit)))?;
        let mut out = PriceOut {
            id: IdOut::price(price.id),
            unit: price.unit.to_string(),
            valid_from: TimeOut(price.valid_from),
            model: ModelWire::Free,
            amount: None,
            rate: None,
            per: None,
            rates: None,
            tiers: None,
            basis: None,
            included: None,
            minimum: None,
            maximum: None,
            rounding: None,
        };
        out.fill(&price.model, unit);
        Ok(out)
    }

    /// What the model has.
    fn fill(&mut self, model: &Model, unit: &Unit) {
        match model {
            Model::Metered { meter, model } => {
                self.fill(model, unit);
                if meter.continued {
                    self.basis = Some(BasisWire::Month);
                }
                self.included = (meter.included.0 > 0).then(|| IncludedOut {
                    quantity: AmountOut::new(meter.included.0, Quantity::DECIMALS),
                    period: meter.period.into(),
                });
            }
            Model::Free => {}
            Model::Flat { amount } => {
                self.model = ModelWire::Flat;
                self.amount = Some(AmountOut::of(unit, *amount));
            }
            Model::PerQuantity { rate, bounds } => {
                self.model = ModelWire::PerQuantity;
                let RateOut { rate, per } = RateOut::from(rate);
                (self.rate, self.per) = (Some(rate), Some(per));
                self.bound(unit, bounds);
            }
            Model::PerDimension { rates, bounds } => {
                self.model = ModelWire::PerDimension;
                self.rates = Some(rates.iter().map(|(name, rate)| (name.clone(), rate.into())).collect());
                self.bound(unit, bounds);
            }
            Model::Graduated { tiers, bounds } => {
                self.model = ModelWire::Graduated;
                self.tier(unit, tiers, bounds);
            }
            Model::Volume { tiers, bounds } => {
                self.model = ModelWire::Volume;
                self.tier(unit, tiers, bounds);
            }
            Model::Package { amount, per, bounds } => {
                self.model = ModelWire::Package;
                (self.amount, self.per) = (Some(AmountOut::of(unit, *amount)), Some(*per));
                self.bound(unit, bounds);
                self.rounding = None;
            }
        }
    }

    /// The name of its model.
    pub fn model(&self) -> &'static str {
        self.model.name()
    }

    fn tier(&mut self, unit: &Unit, tiers: &[Tier], bounds: &Bounds) {
        self.tiers = Some(tiers.iter().map(|tier| TierOut::new(unit, tier)).collect());
        self.basis = Some(BasisWire::Call);
        self.bound(unit, bounds);
    }

    fn bound(&mut self, unit: &Unit, bounds: &Bounds) {
        let amount = |amount: Amount| AmountOut::of(unit, amount);
        self.minimum = bounds.minimum.map(amount);
        self.maximum = bounds.maximum.map(amount);
        self.rounding = Some(bounds.rounding.into());
    }
}
