//! The catalogue as decisions see it: units, actions and their price versions, and the limits on their use.
//!
//! A catalogue is a value: it is replaced as a whole when the configuration changes, and a decision uses the one it
//! is given. Versions are never edited once made; a debit names the version it used.

use crate::amount::{Amount, Scale};
use crate::confirm::Thresholds;
use crate::id::{Id, PriceId, TenantNo};
use crate::key::Key;
use crate::limit::Limit;
use crate::pricing::{Discount, Model};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// What a wallet counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unit {
    /// Its code, such as `credit`.
    pub code: Key,
    /// Its decimals, fixed when it was made.
    pub scale: Scale,
}

impl Unit {
    /// The code of the unit that exists from the start.
    pub const CREDIT: &'static str = "credit";

    /// The unit that exists from the start: six decimals.
    pub fn credit() -> Unit {
        Unit { code: Key::parse(Unit::CREDIT).expect("a valid key"), scale: Scale::MAX }
    }

    /// An amount of this unit as decimal text in whole units.
    pub fn render(&self, amount: Amount) -> String {
        crate::amount::render_decimal(amount.0, self.scale.decimals())
    }
}

/// What a capture may take beyond what was held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Overage {
    /// Nothing: the capture is refused.
    #[default]
    Refuse,
    /// Up to this many percent of what was held, if it is available.
    Allow {
        /// Percent of the held amount.
        percent: u16,
    },
    /// Everything: what is not available becomes debt.
    Debt,
}

/// One version of what an action costs in one unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Price {
    /// Named by every debit that used it.
    pub id: PriceId,
    /// The unit it is paid in.
    pub unit: Key,
    /// In force from this instant until the next version of the same unit.
    pub valid_from: Timestamp,
    /// The arithmetic.
    pub model: Model,
}

/// A consumable thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// Stands for the action in entries.
    pub no: u64,
    /// The product's name for it.
    pub key: Key,
    /// Inactive actions are refused as if unknown.
    pub active: bool,
    /// What captures may take beyond the hold.
    pub overage: Overage,
    /// Above which cost a strict debit or hold is asked for its quote first.
    pub confirm_above: Thresholds,
    /// The units it is paid in, in the order they are tried.
    pub units: Vec<Key>,
    /// All versions, by unit in no order, by `valid_from` ascending within a unit.
    pub prices: Vec<Price>,
}

impl Action {
    /// The version for `unit` in force at `time`.
    pub fn price_at(&self, unit: &Key, time: Timestamp) -> Option<&Price> {
        self.prices
            .iter()
            .filter(|price| price.unit == *unit && price.valid_from <= time)
            .max_by_key(|price| (price.valid_from, price.id))
    }

    /// The version with this id.
    pub fn price(&self, id: PriceId) -> Option<&Price> {
        self.prices.iter().find(|price| price.id == id)
    }
}

/// A price version that one tenant has for itself: for it, it takes the place of the action's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantPrice {
    /// Whose.
    pub tenant: TenantNo,
    /// The action's number.
    pub action: u64,
    /// The version.
    pub price: Price,
    /// From this instant the action's own versions are in force again; never when none is given.
    pub valid_until: Option<Timestamp>,
}

/// What one tenant has taken off the price of all. A price that it has for itself is what was agreed: nothing is taken off that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantDiscount {
    /// Names it.
    pub id: Id,
    /// Whose.
    pub tenant: TenantNo,
    /// On this action; on every action that has none for itself where none is named.
    pub action: Option<u64>,
    /// How much.
    pub discount: Discount,
    /// In force from this instant.
    pub valid_from: Timestamp,
    /// From this instant it is not any more; never when none is given.
    pub valid_until: Option<Timestamp>,
}

impl TenantDiscount {
    /// Whether it is in force at `time`.
    pub fn is_in_force(&self, time: Timestamp) -> bool {
        self.valid_from <= time && self.valid_until.is_none_or(|until| time < until)
    }
}

/// What a tenant pays for an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applicable<'a> {
    /// The price version.
    pub price: &'a Price,
    /// What is taken off.
    pub discount: Discount,
}

/// All units and actions of the platform.
#[derive(Clone, Default, Debug)]
pub struct Catalogue {
    units: HashMap<Key, Unit>,
    actions: HashMap<u64, Arc<Action>>,
    numbers: HashMap<Key, u64>,
    tenant_prices: HashMap<(TenantNo, u64), Vec<TenantPrice>>,
    discounts: HashMap<TenantNo, Vec<TenantDiscount>>,
    limits: HashMap<TenantNo, Vec<Limit>>,
    /// Whether any price is metered.
    has_meters: bool,
}

impl Catalogue {
    /// A catalogue of these units and actions; `credit` is always part of it.
    pub fn new(
        units: impl IntoIterator<Item = Unit>,
        actions: impl IntoIterator<Item = Action>,
    ) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for unit in std::iter::once(Unit::credit()).chain(units) {
            catalogue.units.insert(unit.code.clone(), unit);
        }
        for action in actions {
            catalogue.has_meters |= action.prices.iter().any(|price| price.model.meter().is_some());
            catalogue.numbers.insert(action.key.clone(), action.no);
            catalogue.actions.insert(action.no, Arc::new(action));
        }
        catalogue
    }

    /// The same with prices that tenants have for themselves.
    pub fn with_tenant_prices(mut self, prices: impl IntoIterator<Item = TenantPrice>) -> Catalogue {
        for price in prices {
            self.has_meters |= price.price.model.meter().is_some();
            self.tenant_prices.entry((price.tenant, price.action)).or_default().push(price);
        }
        self
    }

    /// The same with what tenants have taken off.
    pub fn with_discounts(mut self, discounts: impl IntoIterator<Item = TenantDiscount>) -> Catalogue {
        for discount in discounts {
            self.discounts.entry(discount.tenant).or_default().push(discount);
        }
        self.discounts.values_mut().for_each(|own| own.sort_by_key(|own| (own.valid_from, own.id)));
        self
    }

    /// The same with limits on what tenants use.
    pub fn with_limits(mut self, limits: impl IntoIterator<Item = Limit>) -> Catalogue {
        for limit in limits {
            self.limits.entry(limit.tenant).or_default().push(limit);
        }
        self.limits.values_mut().for_each(|limits| limits.sort_by_key(|limit| limit.id));
        self
    }

    /// Whether anything that a tenant does is counted: most do without, and pay nothing for it.
    pub fn counts(&self, tenant: TenantNo) -> bool {
        self.has_meters || (!self.limits.is_empty() && self.limits.contains_key(&tenant))
    }

    /// The limits of a tenant, by id.
    pub fn limits(&self, tenant: TenantNo) -> &[Limit] {
        self.limits.get(&tenant).map_or(&[], Vec::as_slice)
    }

    /// All versions that a tenant has for itself of an action.
    pub fn tenant_prices(&self, tenant: TenantNo, action: u64) -> &[TenantPrice] {
        self.tenant_prices.get(&(tenant, action)).map_or(&[], Vec::as_slice)
    }

    /// All discounts of a tenant, by the instant they begin.
    pub fn discounts(&self, tenant: TenantNo) -> &[TenantDiscount] {
        self.discounts.get(&tenant).map_or(&[], Vec::as_slice)
    }

    /// What a tenant has taken off the action's own price at `time`: by the discount on this action that began last of those in
    /// force, else by the one on all actions.
    pub fn discount_at(&self, tenant: TenantNo, action: u64, time: Timestamp) -> Discount {
        if self.discounts.is_empty() {
            return Discount::NONE;
        }
        let in_force = |of: Option<u64>| {
            let own = self.discounts(tenant).iter().rev();
            own.filter(|own| own.action == of).find(|own| own.is_in_force(time))
        };
        in_force(Some(action)).or_else(|| in_force(None)).map_or(Discount::NONE, |own| own.discount)
    }

    /// The version for `unit` that a tenant pays at `time`: its own newest one, unless that has ended; else the action's.
    pub fn price_at<'a>(
        &'a self,
        tenant: TenantNo,
        action: &'a Action,
        unit: &Key,
        time: Timestamp,
    ) -> Option<&'a Price> {
        let own = self.tenant_prices(tenant, action.no).iter();
        let own = own.filter(|own| own.price.unit == *unit && own.price.valid_from <= time);
        let newest = own.max_by_key(|own| (own.price.valid_from, own.price.id));
        let in_force = newest.filter(|own| own.valid_until.is_none_or(|until| time < until));
        in_force.map(|own| &own.price).or_else(|| action.price_at(unit, time))
    }

    /// The same with what is taken off it.
    pub fn applicable<'a>(
        &'a self,
        tenant: TenantNo,
        action: &'a Action,
        unit: &Key,
        time: Timestamp,
    ) -> Option<Applicable<'a>> {
        let price = self.price_at(tenant, action, unit, time)?;
        let is_own = !self.discounts.is_empty() && action.price(price.id).is_none();
        let discount = if is_own { Discount::NONE } else { self.discount_at(tenant, action.no, time) };
        Some(Applicable { price, discount })
    }

    /// The version with this id: the action's, or one that the tenant has for itself.
    pub fn price<'a>(&'a self, tenant: TenantNo, action: &'a Action, id: PriceId) -> Option<&'a Price> {
        let own = || self.tenant_prices(tenant, action.no).iter().find(|own| own.price.id == id);
        action.price(id).or_else(|| own().map(|own| &own.price))
    }

    /// The unit with this code.
    pub fn unit(&self, code: &Key) -> Option<&Unit> {
        self.units.get(code)
    }

    /// The unit with this code, borrowed from text.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.values()
    }

    /// The action with this number, active or not.
    pub fn action(&self, no: u64) -> Option<&Arc<Action>> {
        self.actions.get(&no)
    }

    /// The action with this key, active or not.
    pub fn action_by_key(&self, key: &Key) -> Option<&Arc<Action>> {
        self.actions.get(self.numbers.get(key)?)
    }

    /// All actions, in no order.
    pub fn actions(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.actions.values()
    }
}
