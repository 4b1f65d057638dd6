//! Debits, holds and refunds in the model.

use super::limits::Use;
use super::{
    Account, Answer, Bill, Code, DAY, DebtRecord, Fate, HoldRecord, LotRecord, Model, SECOND, Taken,
};
use purser_core::catalogue::{Action, Overage, Price};
use purser_core::command::{CaptureHold, Debit, ExtendHold, PlaceHold, Promise, Quote, Refund};
use purser_core::entry::Usage;
use purser_core::{Key, WalletId};

/// Who pays, how much, at which price.
struct Funded {
    wallet: usize,
    cost: i64,
    price: u128,
    used_before: i64,
    less: u16,
    covered: bool,
    allowed: Answer,
}

/// What is asked, before a wallet is found for it.
struct Ask<'a> {
    action: u64,
    usage: &'a Usage,
    unit: Option<&'a Key>,
    wallet: Option<WalletId>,
    occurred: i64,
    settle: bool,
    quote: Option<&'a Quote>,
}

/// The promise that binds, if one was brought.
fn promised<'a>(ask: &Ask<'a>, now: i64) -> Result<Option<&'a Promise>, Code> {
    match ask.quote {
        None => Ok(None),
        Some(Quote::Invalid) => Err("quote_invalid"),
        Some(Quote::Mismatch) => Err("quote_mismatch"),
        Some(Quote::Promise(promise)) => match promise {
            _ if ask.unit.is_some_and(|unit| *unit != promise.unit) => Err("quote_mismatch"),
            _ if promise.used => Err("quote_used"),
            _ if promise.expires_at.0 <= now => Err("quote_expired"),
            _ => Ok(Some(promise)),
        },
    }
}

impl Model {
    fn action(&self, no: u64) -> Result<&Action, Code> {
        self.catalogue.action(no).map(AsRef::as_ref).filter(|action| action.active).ok_or("action_not_found")
    }

    /// The promises of the stories do not say what had been used, so none of a price that asks for it binds.
    fn still_binds(&self, ask: &Ask<'_>, promise: &Promise) -> Answer {
        let price = self.action(ask.action)?.prices.iter().find(|price| price.id == promise.price);
        let metered = price.is_some_and(|price| price.model.meter().is_some());
        if metered && promise.footing.used_before.is_none() { Err("quote_expired") } else { Ok(()) }
    }

    /// Of the discounts in force the one that began last, one on the action before one on everything.
    fn taken_off(&self, action: u64, at: i64) -> u16 {
        let discounts = self.catalogue.discounts(self.tenant).iter();
        let in_force = discounts
            .filter(|own| own.action.is_none_or(|only| only == action))
            .filter(|own| own.valid_from.0 <= at && own.valid_until.is_none_or(|until| at < until.0));
        let best = in_force.max_by_key(|own| (own.action.is_some(), own.valid_from, own.id));
        best.map_or(0, |own| own.discount.basis_points())
    }

    /// The first unit and wallet that cover the cost; else the first of all, not covered.
    fn fund(&self, which: &[usize], ask: &Ask<'_>, now: i64) -> Result<Funded, Code> {
        let action = self.action(ask.action)?;
        let promise = promised(ask, now);
        let asked_unit = match &promise {
            Ok(Some(promise)) => Some(&promise.unit),
            _ => ask.unit,
        };
        let mut options = Vec::new();
        for unit in action.units.iter().filter(|unit| asked_unit.is_none_or(|asked| asked == *unit)) {
            let valid = |price: &&Price| price.unit == *unit && price.valid_from.0 <= ask.occurred;
            let price = action.prices.iter().filter(valid).max_by_key(|price| price.valid_from);
            let price = price.expect("the tests' prices are valid from the beginning");
            for &wallet in which {
                let account = &self.accounts[wallet];
                if account.unit != *unit || ask.wallet.is_some_and(|id| id != account.id) {
                    continue;
                }
                let (used_before, less) = match promise.ok().flatten() {
                    Some(promise) => {
                        let footing = promise.footing;
                        (footing.used_before.unwrap_or_default().0, footing.discount.basis_points())
                    }
                    None => {
                        let used = self.used_before(wallet, price, ask.action, now);
                        (used, self.taken_off(ask.action, ask.occurred))
                    }
                };
                let cost = match ask.usage {
                    _ if matches!(promise, Ok(Some(_))) => promise?.expect("just seen").amount.0,
                    Usage::Amount(amount) if amount.0 <= 0 => return Err("amount_not_positive"),
                    Usage::Amount(amount) => amount.0,
                    usage => self.cost(price, usage, used_before, less)?,
                };
                let allowed = self.within_limits(wallet, ask.action, cost, now);
                let covered = cost == 0 || account.available(now) >= cost;
                let version = promise.ok().flatten().map_or(price.id.0, |promise| promise.price.0);
                options.push(Funded { wallet, cost, price: version, used_before, less, covered, allowed });
            }
        }
        if options.is_empty() {
            return Err("unit_mismatch");
        }
        if ask.settle {
            self.open()?;
        } else {
            self.may_spend()?;
        }
        if let Some(promise) = promise? {
            self.still_binds(ask, promise)?;
        }
        let pays = |option: &Funded| option.covered && (ask.settle || option.allowed.is_ok());
        match options.iter().position(pays) {
            Some(index) => {
                let funded = options.swap_remove(index);
                let unit = &self.accounts[funded.wallet].unit;
                let limits = [action.confirm_above.of(unit), self.asked_above.of(unit)];
                let too_much = limits.into_iter().flatten().any(|above| funded.cost > above.0);
                if too_much && !ask.settle && ask.quote.is_none() {
                    return Err("confirmation_required");
                }
                Ok(funded)
            }
            None if ask.settle => Ok(options.swap_remove(0)),
            None if options.iter().any(|option| option.allowed.is_ok()) => Err("insufficient_credits"),
            None => Err("limit_reached"),
        }
    }

    pub(super) fn debit(
        &mut self,
        which: &[usize],
        id: u128,
        debit: &Debit,
        occurred: i64,
        now: i64,
    ) -> Answer {
        if matches!(debit.usage, Usage::Amount(_)) {
            return Err("usage_invalid");
        }
        let ask = Ask {
            action: debit.action,
            usage: &debit.usage,
            unit: debit.unit.as_ref(),
            wallet: debit.wallet,
            occurred,
            settle: debit.settle,
            quote: debit.quote.as_ref(),
        };
        let funded = self.fund(which, &ask, now)?;
        self.used(Use {
            id,
            wallet: funded.wallet,
            action: debit.action,
            at: now,
            amount: funded.cost,
            quantity: self.quantity(funded.price, debit.action, &debit.usage),
            back: Vec::new(),
            is_hold: false,
            gone: false,
        });
        let account = &mut self.accounts[funded.wallet];
        let own = account.burn(funded.cost, now);
        account.bill(id, funded.cost, own);
        Ok(())
    }

    pub(super) fn place(
        &mut self,
        which: &[usize],
        id: u128,
        place: &PlaceHold,
        occurred: i64,
        now: i64,
    ) -> Answer {
        if !(SECOND..=DAY).contains(&place.expires_in) {
            return Err("time_invalid");
        }
        let ask = Ask {
            action: place.action,
            usage: &place.usage,
            unit: place.unit.as_ref(),
            wallet: place.wallet,
            occurred,
            settle: false,
            quote: place.quote.as_ref(),
        };
        let funded = self.fund(which, &ask, now)?;
        self.used(Use {
            id,
            wallet: funded.wallet,
            action: place.action,
            at: now,
            amount: funded.cost,
            quantity: self.quantity(funded.price, place.action, &place.usage),
            back: Vec::new(),
            is_hold: true,
            gone: false,
        });
        let account = &mut self.accounts[funded.wallet];
        let hold = HoldRecord {
            fate: Fate::Active,
            action: place.action,
            price: funded.price,
            expected: place.usage.clone(),
            used_before: funded.used_before,
            less: funded.less,
            pins: Vec::new(),
            placed: 0,
            expires: now + place.expires_in,
            ends: now + DAY,
        };
        account.holds.insert(id, hold);
        account.pin(id, funded.cost, now);
        Ok(())
    }

    /// The hold, if it can still be used.
    fn usable(&self, wallet: usize, hold: u128, late: bool) -> Result<HoldRecord, Code> {
        let hold = self.accounts[wallet].holds.get(&hold).ok_or("hold_not_found")?;
        match hold.fate {
            Fate::Active => Ok(hold.clone()),
            Fate::Expired if late => Ok(hold.clone()),
            Fate::Expired => Err("hold_expired"),
            Fate::Captured | Fate::Released => Err("hold_closed"),
        }
    }

    /// The cost of `usage` at the price version the hold was placed under.
    fn hold_cost(&self, hold: &HoldRecord, usage: &Usage) -> Result<i64, Code> {
        match usage {
            Usage::Amount(amount) if amount.0 < 0 => Err("amount_not_positive"),
            Usage::Amount(amount) => Ok(amount.0),
            usage => {
                let action = self.catalogue.action(hold.action).expect("actions are never removed");
                let price = action.prices.iter().find(|price| price.id.0 == hold.price);
                self.cost(price.expect("versions are never removed"), usage, hold.used_before, hold.less)
            }
        }
    }

    pub(super) fn extend(&mut self, wallet: usize, extend: &ExtendHold, now: i64) -> Answer {
        if extend.expires_in.is_some_and(|life| !(SECOND..=DAY).contains(&life)) {
            return Err("time_invalid");
        }
        let id = extend.hold.0;
        let hold = self.accounts[wallet].holds.get(&id).cloned().ok_or("hold_not_found")?;
        let wanted = extend.usage.as_ref().map_or(Ok(0), |usage| self.hold_cost(&hold, usage))?;
        self.may_spend()?;
        let hold = self.usable(wallet, id, false)?;
        let expires = extend.expires_in.map_or(hold.expires, |life| hold.expires.max(now + life));
        if expires > hold.ends {
            return Err("hold_life_exceeded");
        }
        let more = (wanted - hold.held()).max(0);
        let began = self.use_of(id).map_or(now, |one| one.at);
        self.within_limits(wallet, hold.action, more, began)?;
        let quantity = extend.usage.as_ref().and_then(|usage| self.quantity(hold.price, hold.action, usage));
        let account = &mut self.accounts[wallet];
        if more > 0 && account.available(now) < more {
            return Err("insufficient_credits");
        }
        if let (Some(usage), Some(one)) = (&extend.usage, self.use_of(id)) {
            let larger = quantity > one.quantity;
            one.amount += more;
            if larger || more > 0 && (quantity.is_none() || matches!(usage, Usage::Amount(_))) {
                one.quantity = quantity;
                self.accounts[wallet].holds.get_mut(&id).expect("just seen").expected = usage.clone();
            }
        }
        let account = &mut self.accounts[wallet];
        account.holds.get_mut(&id).expect("just seen").expires = expires;
        account.pin(id, more, now);
        Ok(())
    }

    pub(super) fn capture(&mut self, wallet: usize, capture: &CaptureHold, now: i64) -> Answer {
        let id = capture.hold.0;
        let hold = self.accounts[wallet].holds.get(&id).cloned().ok_or("hold_not_found")?;
        let cost = match (&capture.usage, self.quantity(hold.price, hold.action, &hold.expected)) {
            (Some(usage), _) => self.hold_cost(&hold, usage)?,
            (None, Some(_)) if !matches!(hold.expected, Usage::Amount(_)) => {
                self.hold_cost(&hold, &hold.expected)?
            }
            (None, _) => hold.placed,
        };
        let hold = self.usable(wallet, id, capture.settle)?;
        if hold.fate == Fate::Expired {
            self.open()?;
        }
        let held = hold.held();
        let over = (cost - held).max(0);
        if over > 0 && hold.fate == Fate::Active {
            let action = self.catalogue.action(hold.action).expect("actions are never removed");
            match action.overage {
                Overage::Refuse => return Err("capture_exceeds_hold"),
                Overage::Allow { percent } => {
                    if i128::from(over) * 100 > i128::from(held) * i128::from(percent) {
                        return Err("capture_exceeds_hold");
                    }
                    let began = self.use_of(id).map_or(now, |one| one.at);
                    self.within_limits(wallet, hold.action, over, began)?;
                    if self.accounts[wallet].available(now) < over {
                        return Err("insufficient_credits");
                    }
                }
                Overage::Debt => {}
            }
        }
        let quantity = capture.usage.as_ref().and_then(|usage| self.quantity(hold.price, hold.action, usage));
        if let Some(one) = self.use_of(id) {
            (one.amount, one.is_hold, one.gone) = (cost, false, false);
            one.quantity = quantity.or(one.quantity);
        }
        let account = &mut self.accounts[wallet];
        let record = account.holds.get_mut(&id).expect("just seen");
        record.fate = Fate::Captured;
        record.pins.clear();
        // Pins first, in the order they were taken; what is beyond them burns like any spending, and counts with the
        // pin where both come from one lot.
        let mut parts = Vec::new();
        let mut missing = cost;
        for (lot, pinned) in hold.pins {
            parts.push((lot, pinned.min(missing)));
            missing -= pinned.min(missing);
        }
        for lot in account.spendable(now) {
            let pinned = parts.iter().find(|part| part.0 == lot).map_or(0, |part| part.1);
            let part = missing.min(account.free(lot) - pinned);
            missing -= part;
            match parts.iter_mut().find(|known| known.0 == lot) {
                Some(known) => known.1 += part,
                None => parts.push((lot, part)),
            }
        }
        let own =
            parts.into_iter().filter(|part| part.1 > 0).map(|(lot, part)| account.draw(lot, part)).collect();
        account.bill(id, cost, own);
        Ok(())
    }

    pub(super) fn release(&mut self, wallet: usize, hold: u128) -> Answer {
        self.usable(wallet, hold, false)?;
        if let Some(one) = self.use_of(hold) {
            one.gone = true;
        }
        let record = self.accounts[wallet].holds.get_mut(&hold).expect("just seen");
        record.fate = Fate::Released;
        record.pins.clear();
        Ok(())
    }

    pub(super) fn refund(&mut self, wallet: usize, id: u128, refund: &Refund, now: i64) -> Answer {
        if refund.amount.is_some_and(|amount| amount.0 <= 0) {
            return Err("amount_not_positive");
        }
        let account = &mut self.accounts[wallet];
        let Some(bill) = account.bills.get_mut(&refund.debit.0) else { return Err("debit_not_found") };
        let left = bill.cost - bill.refunded;
        let amount = refund.amount.map_or(left, |amount| amount.0);
        if amount > left || amount == 0 {
            return Err("refund_exceeds_debit");
        }
        bill.refunded += amount;
        if let Some(one) = self.use_of(refund.debit.0) {
            one.back.push((now, amount));
        }
        let account = &mut self.accounts[wallet];
        let mut missing = amount;
        for debt in account
            .debts
            .iter_mut()
            .filter(|debt| debt.subject == refund.debit.0 && debt.reversal_of.is_none())
        {
            let part = debt.amount.min(missing);
            debt.amount -= part;
            missing -= part;
        }
        account.debts.retain(|debt| debt.amount > 0);
        let mut bill = account.bills[&refund.debit.0].clone();
        let mut back = Vec::new();
        for taken in bill.repaid.iter_mut().rev().chain(bill.own.iter_mut().rev()) {
            let (part, money) = taken.give_back(missing);
            missing -= part;
            if part > 0 {
                back.push((taken.lot, part, money));
            }
        }
        assert_eq!(missing, 0, "the model's bill does not add up");
        account.bills.insert(refund.debit.0, bill);
        let given = account.put_back(id, back, now);
        account.honour_reversals(given);
        Ok(())
    }
}

impl Taken {
    /// Marks up to `most` of it as given back: how much, and its share of the money (rounded down in sum).
    pub fn give_back(&mut self, most: i64) -> (i64, i64) {
        let part = most.min(self.amount - self.back);
        let share = |back: i64| i128::from(self.money) * i128::from(back) / i128::from(self.amount.max(1));
        let money = share(self.back + part) - share(self.back);
        self.back += part;
        (part, i64::try_from(money).expect("a part of an i64"))
    }
}

impl Account {
    fn pin(&mut self, hold: u128, amount: i64, now: i64) {
        let mut missing = amount;
        for lot in self.spendable(now) {
            let part = missing.min(self.free(lot));
            if part > 0 {
                let pins = &mut self.holds.get_mut(&hold).expect("just made").pins;
                match pins.iter_mut().find(|pin| pin.0 == lot) {
                    Some(pin) => pin.1 += part,
                    None => pins.push((lot, part)),
                }
                missing -= part;
            }
        }
        assert_eq!(missing, 0, "the model pinned more than there is");
        self.holds.get_mut(&hold).expect("just made").placed += amount;
    }

    /// Writes a debit down; what its lots did not cover is owed.
    fn bill(&mut self, id: u128, cost: i64, own: Vec<Taken>) {
        let missing = cost - own.iter().map(|taken| taken.amount).sum::<i64>();
        if missing > 0 {
            self.debts.push(DebtRecord { subject: id, reversal_of: None, amount: missing });
        }
        self.bills.insert(id, Bill { cost, refunded: 0, own, repaid: Vec::new() });
    }

    /// Gives credits back to the lots they came from; a lot that ran out comes back as a new one with seven days.
    /// Answers where they went.
    pub fn put_back(&mut self, id: u128, back: Vec<(u128, i64, i64)>, now: i64) -> Vec<(u128, i64)> {
        let mut number = 0;
        let mut given: Vec<(u128, i64)> = Vec::new();
        for (lot, amount, money) in back {
            if self.lots[&lot].expires > now {
                let record = self.lots.get_mut(&lot).expect("just seen");
                record.remaining += amount;
                record.money += money;
                match given.iter_mut().find(|known| known.0 == lot) {
                    Some(known) => known.1 += amount,
                    None => given.push((lot, amount)),
                }
                continue;
            }
            number += 1;
            let parent = self.lots[&lot].clone();
            let child = LotRecord {
                effective: now,
                expires: now + 7 * DAY,
                granted: amount,
                paid: parent.paid.map(|_| money),
                parent: Some(lot),
                remaining: amount,
                money,
                expired: 0,
                ..parent
            };
            self.lots.insert(id + number, child);
            given.push((id + number, amount));
        }
        given
    }

    /// Credit that came back although the money of its purchase went back before: once open freezes have theirs, it
    /// lowers the debt which that left, before any other debt.
    fn honour_reversals(&mut self, given: Vec<(u128, i64)>) {
        self.fill_freezes();
        for (lot, mut most) in given {
            let Some(origin) = self.lots[&lot].origin else { continue };
            for index in 0..self.debts.len() {
                let part = self.debts[index].amount.min(self.free(lot)).min(most);
                if self.debts[index].reversal_of == Some(origin) && part > 0 {
                    let taken = self.draw(lot, part);
                    let debt = &mut self.debts[index];
                    debt.amount -= part;
                    most -= part;
                    let reversal = self.reversals.get_mut(&debt.subject).expect("a reversal made the debt");
                    reversal.bill.repaid.push(taken);
                }
            }
            self.debts.retain(|debt| debt.amount > 0);
        }
    }
}
