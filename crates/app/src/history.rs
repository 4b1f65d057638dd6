//! What captures of an action have cost: what a hold of unknown cost is placed for when it asks for an estimate by history.
//!
//! The newest entries of the ledger are gone through at most once a minute, for everybody at once. A tenant's figure is made of its
//! own captures. Where it has too few, a caller of the platform hears that of all tenants; a tenant's own key does not, as it
//! would learn something of others.

use crate::App;
use crate::caller::Caller;
use crate::error::AppError;
use crate::parse::field;
use purser_core::entry::{Charge, Usage};
use purser_core::pricing::Discount;
use purser_core::time::SECOND;
use purser_core::{Amount, Key, TenantNo, Timestamp};
use purser_store::Charged;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Captures that a figure is made of, at the least and at the most.
const CAPTURES_MIN: usize = 20;
const CAPTURES_MAX: usize = 1_000;
/// Entries that are gone through.
const ENTRIES_MAX: usize = 200_000;
/// Entries of one snapshot.
const PIECE: usize = 4_000;
/// How long what was found is used, in microseconds.
const KEPT: i64 = 60 * SECOND;

/// What captures have cost, as far as it was looked for.
#[derive(Default)]
pub(crate) struct History(tokio::sync::Mutex<Option<(i64, Arc<Captures>)>>);

/// Costs of captures by action and unit, sorted, before discounts: of each tenant, and of all.
#[derive(Default)]
struct Captures {
    of_tenants: FxHashMap<(TenantNo, u64, Key), Vec<Amount>>,
    of_all: FxHashMap<(u64, Key), Vec<Amount>>,
}

impl App {
    /// What 95 of 100 captures of this action cost at the most, less the discount of today; never nothing, as nothing cannot be
    /// held.
    pub(crate) async fn usual_cost(
        &self,
        caller: &Caller,
        tenant: Option<TenantNo>,
        action: u64,
        unit: &Key,
    ) -> Result<Amount, AppError> {
        let captures = self.captures().await?;
        let own = tenant.and_then(|tenant| captures.of_tenants.get(&(tenant, action, unit.clone())));
        let all = || captures.of_all.get(&(action, unit.clone())).filter(|_| caller.tenant.is_none());
        let usual = own.and_then(|costs| usual(costs)).or_else(|| usual(all()?));
        let discount = tenant.map_or(Discount::NONE, |tenant| self.discount_now(tenant, action, unit));
        let usual = usual.map(|usual| discount.off(usual).max(Amount(1)));
        usual.ok_or_else(|| {
            let why = format!(
                "the last {ENTRIES_MAX} entries of the ledger have fewer than {CAPTURES_MIN} captures of this action in \
                 this unit: give quantity, dimensions or amount"
            );
            field("/estimate", "too_little_history", why)
        })
    }

    fn discount_now(&self, tenant: TenantNo, action: u64, unit: &Key) -> Discount {
        let catalogue = self.catalogue();
        let action = catalogue.action(action);
        let applicable = action.and_then(|action| catalogue.applicable(tenant, action, unit, self.now()));
        applicable.map_or(Discount::NONE, |applicable| applicable.discount)
    }

    /// What is known, looked for anew once a minute; whoever comes meanwhile waits for it.
    async fn captures(&self) -> Result<Arc<Captures>, AppError> {
        let mut kept = self.inner.history.0.lock().await;
        if let Some((at, captures)) = &*kept
            && self.monotonic() - at < KEPT
        {
            return Ok(captures.clone());
        }
        let captures = Arc::new(self.look_for_captures().await?);
        *kept = Some((self.monotonic(), captures.clone()));
        Ok(captures)
    }

    async fn look_for_captures(&self) -> Result<Captures, AppError> {
        let heads = self.read(|reader| reader.heads()).await?;
        // Prices of what was captured up to here are known from now on.
        self.catch_up().await?;
        let heads: Vec<_> = heads.written().collect();
        let each = ENTRIES_MAX.div_ceil(heads.len().max(1));
        let mut found = Vec::new();
        for head in heads {
            let (mut until, mut left) = (Some(head), each);
            while let Some(place) = until.filter(|_| left > 0) {
                let piece = PIECE.min(left);
                let page = self.read(move |reader| reader.newest_charged(place, piece)).await?;
                left -= piece;
                until = page.last.and_then(purser_store::Position::before);
                found.extend(page.charged.into_iter().filter(|charged| charged.captured));
            }
        }
        let catalogue = self.catalogue();
        let unit = |charged: &Charged| {
            let action = catalogue.action(charged.charge.action)?;
            Some(catalogue.price(charged.tenant, action, charged.charge.price?)?.unit.clone())
        };
        Ok(gathered(found, unit))
    }
}

/// The newest of each, sorted by cost. The price version of a capture tells its unit.
fn gathered(mut found: Vec<Charged>, unit: impl Fn(&Charged) -> Option<Key>) -> Captures {
    found.sort_by_key(|charged| std::cmp::Reverse::<Timestamp>(charged.recorded_at));
    let mut captures = Captures::default();
    for charged in &found {
        let Some(unit) = unit(charged) else { continue };
        let Some(cost) = before_discount(&charged.charge) else { continue };
        let action = charged.charge.action;
        let of_tenant = captures.of_tenants.entry((charged.tenant, action, unit.clone())).or_default();
        let of_all = captures.of_all.entry((action, unit)).or_default();
        for costs in [of_tenant, of_all] {
            if costs.len() < CAPTURES_MAX {
                costs.push(cost);
            }
        }
    }
    let all = captures.of_tenants.values_mut().chain(captures.of_all.values_mut());
    all.for_each(|costs| costs.sort_unstable());
    captures
}

/// What a capture would have cost without a discount; none where nothing is left to tell. What one tenant had taken off says nothing of
/// what it costs others, nor itself once that is over. From a stated amount nothing was taken.
fn before_discount(charge: &Charge) -> Option<Amount> {
    match charge.usage {
        Usage::Amount(_) => Some(charge.cost),
        Usage::Quantity(_) | Usage::Dimensions(_) => charge.footing.discount.undone(charge.cost),
    }
}

/// The smallest cost that 95 of 100 do not pass.
fn usual(sorted: &[Amount]) -> Option<Amount> {
    if sorted.len() < CAPTURES_MIN {
        return None;
    }
    let rank = (sorted.len() * 95).div_ceil(100);
    Some(sorted[rank - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use purser_core::Quantity;

    fn captured(at: i64, tenant: u64, cost: i64) -> Charged {
        let usage = Usage::Quantity(Quantity::ONE);
        let charge = Charge::plain(1, None, usage, Amount(cost));
        let (tenant, recorded_at) = (TenantNo(tenant), Timestamp(at));
        Charged { tenant, user: None, recorded_at, charge, captured: true }
    }

    fn key() -> Key {
        Key::parse("credit").expect("a key")
    }

    #[test]
    fn ninety_five_of_a_hundred_do_not_pass_it_and_twenty_are_needed() {
        let upto = |most: i64| (1..=most).map(Amount).collect::<Vec<_>>();
        assert_eq!(usual(&upto(19)), None);
        assert_eq!(usual(&upto(20)), Some(Amount(19)));
        assert_eq!(usual(&upto(21)), Some(Amount(20)));
        assert_eq!(usual(&upto(100)), Some(Amount(95)));
        assert_eq!(usual(&upto(1_000)), Some(Amount(950)));
        assert_eq!(usual(&[Amount(0); 30]), Some(Amount(0)));
    }

    #[test]
    fn the_newest_thousand_count_each_with_its_tenant() {
        let old = (0..500).map(|at| captured(at, 1, 900));
        let new = (500..1_500).map(|at| captured(at, 1, 5));
        let other = (0..20).map(|at| captured(2_000 + at, 2, 7));
        let captures = gathered(old.chain(new).chain(other).collect(), |_| Some(key()));
        let of = |tenant| &captures.of_tenants[&(TenantNo(tenant), 1, key())];
        assert_eq!((of(1).len(), of(1).last()), (CAPTURES_MAX, Some(&Amount(5))));
        assert_eq!(usual(of(2)), Some(Amount(7)));
        let all = &captures.of_all[&(1, key())];
        assert_eq!((all.len(), all.iter().filter(|cost| cost.0 == 7).count()), (CAPTURES_MAX, 20));
        assert!(gathered(vec![captured(1, 1, 5)], |_| None).of_all.is_empty());
        // Half price, and for nothing: of the first it is known what it would have cost.
        let less = |points: u16, cost| {
            let mut charged = captured(1, 3, cost);
            charged.charge.footing.discount = Discount::new(points).expect("a part");
            charged
        };
        let mut stated = less(5_000, 7);
        stated.charge.usage = Usage::Amount(Amount(7));
        let captures = gathered(vec![less(5_000, 5), less(10_000, 0), stated], |_| Some(key()));
        assert_eq!(captures.of_all[&(1, key())], [Amount(7), Amount(10)]);
    }
}
