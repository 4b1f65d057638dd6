//! What the usage of the last days would have cost at proposed prices: read from the ledger, charged again by the rule book.
//!
//! Nothing here waits for the writer or makes it wait: entries do not change, so they are read in small pieces, each in a
//! snapshot of its own. Who pays a price of its own pays that whatever the list says.

use crate::App;
use crate::error::AppError;
use crate::parse::field;
use crate::view::{Rehearsal, UsageOfAction, UsageOfTenant, UsageSum, UsageSums};
use purser_core::catalogue::{Catalogue, Price, Unit};
use purser_core::counter::Measure;
use purser_core::entry::{Charge, Usage};
use purser_core::pricing::{Footing, Model};
use purser_core::time::{DAY, SECOND};
use purser_core::{Amount, Key, Quantity, Rejection, TenantNo, Timestamp, UserNo};
use purser_store::{Charged, Position};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::time::Duration;

/// Days that may be asked for.
const DAYS: std::ops::RangeInclusive<u32> = 1..=31;
/// Days where none are named.
const DAYS_USUAL: u32 = 7;
/// Debits and captures that are charged again, at the most.
const DEBITS_MAX: u64 = 1_000_000;
/// How long it may take, in microseconds.
const TIME_MAX: i64 = 20 * SECOND;
/// When to come back while another one is at it.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Entries of one snapshot.
const PIECE: usize = 4_000;
/// Tenants that are named for each unit.
const TENANTS_MAX: usize = 20;

/// Proposed prices, by action and unit: each as if it had been in force all along.
#[derive(Default)]
pub(super) struct Proposal(FxHashMap<(u64, Key), Price>);

impl Proposal {
    /// Of several prices for one unit of an action, the one that is valid last counts.
    pub(super) fn new<'a>(prices: impl IntoIterator<Item = (u64, &'a Price)>) -> Proposal {
        let mut proposed = Proposal::default();
        for (action, price) in prices {
            let known = proposed.0.entry((action, price.unit.clone())).or_insert_with(|| price.clone());
            if known.valid_from <= price.valid_from {
                *known = price.clone();
            }
        }
        proposed
    }

    fn model(&self, action: u64, unit: &Key) -> Option<&Model> {
        // A clone of a key is a counter, not a copy.
        self.0.get(&(action, unit.clone())).map(|price| &price.model)
    }
}

/// What a proposal does to one charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    /// It costs this.
    Costs(Amount),
    /// The tenant paid a price of its own.
    OwnPrice,
    /// The caller stated the amount.
    Stated,
    /// It could not be charged: its usage does not fit the proposed price.
    Misfit,
}

fn effect(catalogue: &Catalogue, charge: &Charge, unit: &Unit, model: &Model, used: Quantity) -> Effect {
    let listed = |price| catalogue.action(charge.action).is_some_and(|action| action.price(price).is_some());
    match &charge.usage {
        Usage::Amount(_) => Effect::Stated,
        _ if !charge.price.is_some_and(listed) => Effect::OwnPrice,
        usage => {
            let footing = Footing { used_before: Some(used), ..charge.footing };
            model.cost_on(footing, usage, unit.scale).map_or(Effect::Misfit, Effect::Costs)
        }
    }
}

/// What was charged and what would have been. Wide: each is below [`Amount::MAX`], their sum need not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sum {
    debits: u64,
    before: i128,
    after: i128,
}

impl Sum {
    fn add(&mut self, before: Amount, after: Amount) {
        self.debits += 1;
        self.before += i128::from(before.0);
        self.after += i128::from(after.0);
    }

    fn difference(&self) -> i128 {
        self.after - self.before
    }

    fn view(&self) -> Result<UsageSum, AppError> {
        let amount = |wide: i128| i64::try_from(wide).map_err(|_| Rejection::AmountOverflow);
        Ok(UsageSum {
            debits: self.debits,
            before: Amount(amount(self.before)?),
            after: Amount(amount(self.after)?),
            difference: Amount(amount(self.difference())?),
        })
    }
}

/// Whose sums: the user tells which personal tenant it is.
type Payers = FxHashMap<(Key, TenantNo), (Option<UserNo>, Sum)>;

/// The sums so far.
#[derive(Default)]
struct Tally {
    /// Charges that were looked at, of whatever action.
    seen: u64,
    own_price: u64,
    stated_amount: u64,
    not_priceable: u64,
    actions: FxHashMap<(Key, u64), Sum>,
    payers: Payers,
    /// What was used so far of a proposed price that is metered, by tenant, action and beginning of the period.
    used: FxHashMap<(TenantNo, u64, Timestamp), Quantity>,
}

impl Tally {
    fn add(&mut self, catalogue: &Catalogue, proposal: &Proposal, charged: &Charged) {
        let charge = &charged.charge;
        let Some(action) = catalogue.action(charge.action) else { return };
        // The price version tells the unit.
        let price = charge.price.and_then(|id| catalogue.price(charged.tenant, action, id));
        let Some(unit) = price.and_then(|price| catalogue.unit(&price.unit)) else { return };
        let Some(model) = proposal.model(charge.action, &unit.code) else { return };
        let used = model.meter().map_or(Quantity::default(), |meter| {
            let period = meter.period.around(charged.recorded_at).from;
            let used = self.used.entry((charged.tenant, charge.action, period)).or_default();
            let before = *used;
            used.0 = used.0.saturating_add(Measure::Quantity.of(charge));
            before
        });
        let after = match effect(catalogue, charge, unit, model, used) {
            Effect::Costs(amount) => amount,
            effect => {
                match effect {
                    Effect::OwnPrice => self.own_price += 1,
                    Effect::Stated => self.stated_amount += 1,
                    Effect::Misfit | Effect::Costs(_) => self.not_priceable += 1,
                }
                charge.cost
            }
        };
        self.actions.entry((unit.code.clone(), charge.action)).or_default().add(charge.cost, after);
        let payer = self.payers.entry((unit.code.clone(), charged.tenant)).or_default();
        payer.0 = charged.user.or(payer.0);
        payer.1.add(charge.cost, after);
    }
}

/// One slot's entries, as far as they are read.
struct Cursor {
    /// Where to go on; none when everything is read.
    after: Option<Position>,
    until: Position,
    read: VecDeque<Charged>,
}

/// Charges what was recorded in the last `days` again.
pub(super) async fn rehearse(app: &App, days: u32, proposal: &Proposal) -> Result<Rehearsal, AppError> {
    // One at a time: what serves comes first.
    let busy = |_| AppError::Unavailable { reason: "overloaded", retry_after: RETRY_AFTER };
    let _alone = app.inner.rehearsals.try_acquire().map_err(busy)?;
    let (until, started) = (app.now(), app.monotonic());
    let from = Timestamp(until.0.saturating_sub(i64::from(days) * DAY));
    let mut cursors = cursors(app, from).await?;
    // What was charged up to here was charged at prices that are known from now on.
    app.catch_up().await?;
    let catalogue = app.catalogue();
    let mut walk = Walk { from, last: from, most: DEBITS_MAX, truncated: false, tally: Tally::default() };
    while !walk.truncated && fill(app, &mut cursors).await? {
        walk.on(&mut cursors, |tally, charged| tally.add(&catalogue, proposal, charged));
        let late = app.monotonic() - started >= TIME_MAX;
        walk.truncated |= late && cursors.iter().any(|cursor| !cursor.is_done());
    }
    let Walk { last, truncated, tally, .. } = walk;
    let until = if truncated { last } else { until };
    let units = summed(app, &catalogue, &tally).await?;
    Ok(Rehearsal {
        days,
        from,
        until,
        truncated,
        own_price: tally.own_price,
        stated_amount: tally.stated_amount,
        not_priceable: tally.not_priceable,
        units,
    })
}

/// How far the charges were gone through, in the order in which they were recorded.
struct Walk {
    from: Timestamp,
    /// The last one that counts.
    last: Timestamp,
    /// How many count, at the most.
    most: u64,
    /// Whether there was one more.
    truncated: bool,
    tally: Tally,
}

impl Walk {
    /// Goes through what is in hand.
    fn on(&mut self, cursors: &mut [Cursor], mut add: impl FnMut(&mut Tally, &Charged)) {
        while let Some(charged) = next(cursors) {
            if charged.recorded_at < self.from {
                continue;
            }
            if self.tally.seen == self.most {
                self.truncated = true;
                return;
            }
            self.tally.seen += 1;
            self.last = self.last.max(charged.recorded_at);
            add(&mut self.tally, &charged);
        }
    }
}

/// The days that are asked for, if they may be.
pub(super) fn days(asked: Option<u32>) -> Result<u32, AppError> {
    let days = asked.unwrap_or(DAYS_USUAL);
    if DAYS.contains(&days) { Ok(days) } else { Err(field("?days", "out_of_range", "1 to 31 days")) }
}

async fn cursors(app: &App, from: Timestamp) -> Result<Vec<Cursor>, AppError> {
    app.read(move |reader| {
        let mut cursors = Vec::new();
        for until in reader.heads()?.written() {
            let after = Some(reader.before_time(until, from)?);
            cursors.push(Cursor { after, until, read: VecDeque::new() });
        }
        Ok(cursors)
    })
    .await
}

impl Cursor {
    fn is_done(&self) -> bool {
        self.after.is_none() && self.read.is_empty()
    }
}

/// Reads on wherever nothing is left in hand; whether there is anything.
async fn fill(app: &App, cursors: &mut [Cursor]) -> Result<bool, AppError> {
    for cursor in &mut *cursors {
        while cursor.read.is_empty()
            && let Some(after) = cursor.after
        {
            let until = cursor.until;
            let page = app.read(move |reader| reader.charged(after, until, PIECE)).await?;
            (cursor.after, cursor.read) = (page.last, page.charged.into());
        }
    }
    Ok(cursors.iter().any(|cursor| !cursor.read.is_empty()))
}

/// The one that was recorded first, while it is certain which that is: every slot that has more has it in hand.
fn next(cursors: &mut [Cursor]) -> Option<Charged> {
    if cursors.iter().any(|cursor| cursor.read.is_empty() && cursor.after.is_some()) {
        return None;
    }
    let waiting = cursors.iter_mut().filter(|cursor| !cursor.read.is_empty());
    waiting.min_by_key(|cursor| cursor.read[0].recorded_at)?.read.pop_front()
}

/// The sums for people: by unit, its actions by key, and the tenants for whom most changes.
async fn summed(app: &App, catalogue: &Catalogue, tally: &Tally) -> Result<Vec<UsageSums>, AppError> {
    let mut codes: Vec<&Key> = tally.actions.keys().map(|(unit, _)| unit).collect();
    codes.sort_unstable();
    codes.dedup();
    let mut units = Vec::with_capacity(codes.len());
    for code in codes {
        let unit = catalogue.unit(code).expect("its charges were priced in it").clone();
        let (mut all, mut by_action) = (Sum::default(), Vec::new());
        for ((_, no), sum) in tally.actions.iter().filter(|((unit, _), _)| unit == code) {
            all.debits += sum.debits;
            (all.before, all.after) = (all.before + sum.before, all.after + sum.after);
            let action = catalogue.action(*no).expect("its charges were priced by it").key.clone();
            by_action.push(UsageOfAction { action, sum: sum.view()? });
        }
        by_action.sort_by(|a, b| a.action.cmp(&b.action));
        let mut by_tenant = Vec::new();
        for (tenant, user, sum) in most_affected(code, &tally.payers) {
            let known = app.names(tenant, user).await?;
            // An organisation is one whoever of it consumed.
            let user = known.user.filter(|_| known.tenant.is_none());
            by_tenant.push(UsageOfTenant { tenant: known.tenant, user, sum: sum.view()? });
        }
        units.push(UsageSums { unit, sum: all.view()?, by_action, by_tenant });
    }
    Ok(units)
}

fn most_affected(code: &Key, payers: &Payers) -> Vec<(TenantNo, Option<UserNo>, Sum)> {
    let affected = payers.iter().filter(|((unit, _), (_, sum))| unit == code && sum.difference() != 0);
    let mut affected: Vec<_> = affected.map(|((_, tenant), (user, sum))| (*tenant, *user, *sum)).collect();
    affected.sort_by_key(|(tenant, _, sum)| (std::cmp::Reverse(sum.difference().unsigned_abs()), *tenant));
    affected.truncate(TENANTS_MAX);
    affected
}

#[cfg(test)]
mod tests {
    use super::*;
    use purser_core::catalogue::{Action, Overage, TenantPrice};
    use purser_core::confirm::Thresholds;
    use purser_core::counter::Period;
    use purser_core::id::Id;
    use purser_core::pricing::{Discount, Meter};

    fn price(id: u128, valid_from: i64, amount: i64) -> Price {
        let model = Model::Flat { amount: Amount(amount) };
        Price { id: Id(id), unit: Unit::credit().code, valid_from: Timestamp(valid_from), model }
    }

    /// One action that costs 5; the tenant 9 pays 4 of its own.
    fn catalogue() -> Catalogue {
        let action = Action {
            no: 1,
            key: Key::parse("scan").expect("a key"),
            active: true,
            overage: Overage::Refuse,
            confirm_above: Thresholds::default(),
            units: vec![Unit::credit().code],
            prices: vec![price(1, 0, 5)],
        };
        let own = TenantPrice { tenant: TenantNo(9), action: 1, price: price(2, 0, 4), valid_until: None };
        Catalogue::new([], [action]).with_tenant_prices([own])
    }

    fn charged(at: i64, tenant: u64, price: u128, usage: Usage) -> Charged {
        let cost = Amount(if price == 2 { 4 } else { 5 });
        let charge = Charge::plain(1, Some(Id(price)), usage, cost);
        Charged { tenant: TenantNo(tenant), user: None, recorded_at: Timestamp(at), charge, captured: false }
    }

    fn one(at: i64) -> Charged {
        charged(at, 1, 1, Usage::Quantity(Quantity::ONE))
    }

    fn cursor(more: bool, read: impl IntoIterator<Item = i64>) -> Cursor {
        let after = more.then_some(Position::NONE);
        Cursor { after, until: Position::NONE, read: read.into_iter().map(one).collect() }
    }

    #[test]
    fn the_last_of_several_prices_counts_and_what_it_cannot_change_stays() {
        let proposal = Proposal::new([(1, &price(3, 20, 7)), (1, &price(4, 10, 6))]);
        let mut tally = Tally::default();
        let usages = [
            (1, 1, Usage::Quantity(Quantity::ONE)),
            (1, 1, Usage::Amount(Amount(5))),
            (1, 1, Usage::Quantity(Quantity(2 * Quantity::ONE.0))),
            (9, 2, Usage::Quantity(Quantity::ONE)),
        ];
        for (tenant, price, usage) in usages {
            tally.add(&catalogue(), &proposal, &charged(1, tenant, price, usage));
        }
        let sum = tally.actions[&(Unit::credit().code, 1)];
        assert_eq!((sum.debits, sum.before, sum.after), (4, 19, 21));
        assert_eq!((tally.own_price, tally.stated_amount, tally.not_priceable), (1, 1, 1));
        let affected = most_affected(&Unit::credit().code, &tally.payers);
        assert_eq!(affected.iter().map(|(tenant, ..)| tenant.0).collect::<Vec<_>>(), vec![1]);
    }

    #[test]
    fn a_discount_of_the_time_is_taken_off_the_proposed_price_as_well() {
        let proposal = Proposal::new([(1, &price(3, 20, 8))]);
        let mut tally = Tally::default();
        let mut half = one(1);
        half.charge.footing.discount = Discount::new(5_000).expect("a part");
        half.charge.cost = Amount(3);
        tally.add(&catalogue(), &proposal, &half);
        let sum = tally.actions[&(Unit::credit().code, 1)];
        assert_eq!((sum.before, sum.after), (3, 4));
    }

    #[test]
    fn what_a_proposed_price_includes_is_used_up_as_the_period_goes_on_and_by_each_tenant() {
        let flat = Box::new(Model::Flat { amount: Amount(7) });
        let meter = Meter { period: Period::Day, included: Quantity(2 * Quantity::ONE.0), continued: false };
        let metered = Price { model: Model::Metered { meter, model: flat }, ..price(3, 20, 7) };
        let proposal = Proposal::new([(1, &metered)]);
        let mut tally = Tally::default();
        for (at, tenant) in [(1, 1), (2, 1), (3, 1), (4, 2), (DAY + 1, 1)] {
            tally.add(&catalogue(), &proposal, &charged(at, tenant, 1, Usage::Quantity(Quantity::ONE)));
        }
        let sum = tally.actions[&(Unit::credit().code, 1)];
        assert_eq!((sum.debits, sum.before, sum.after), (5, 25, 7), "the third of the first day and tenant");
    }

    #[test]
    fn slots_are_gone_through_in_the_order_of_time_as_far_as_it_is_known() {
        let walk = |most| {
            let tally = Tally::default();
            Walk { from: Timestamp(2), last: Timestamp(2), most, truncated: false, tally }
        };
        let seen = |walk: &mut Walk, cursors: &mut [Cursor]| {
            let mut times = Vec::new();
            walk.on(cursors, |_, charged| times.push(charged.recorded_at.0));
            times
        };
        // What the first slot has behind 4 is not in hand: the rest of the second has to wait for it.
        let mut cursors = [cursor(true, [1, 4]), cursor(false, [2, 3, 5])];
        let mut whole = walk(9);
        assert_eq!(seen(&mut whole, &mut cursors), vec![2, 3, 4]);
        cursors[0].after = None;
        assert_eq!(seen(&mut whole, &mut cursors), vec![5]);
        assert!(!whole.truncated && cursors.iter().all(Cursor::is_done));
        let mut cut = walk(2);
        assert_eq!(seen(&mut cut, &mut [cursor(false, [2, 3, 4])]), vec![2, 3]);
        assert_eq!((cut.truncated, cut.last), (true, Timestamp(3)));
        let mut just = walk(3);
        seen(&mut just, &mut [cursor(false, [2, 3, 4])]);
        assert!(!just.truncated, "all of them were looked at");
    }
}
