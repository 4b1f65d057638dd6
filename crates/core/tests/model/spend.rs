//! Debits, holds and refunds in the model.

use super::{Account, Answer, Bill, Code, DAY, DebtRecord, Fate, HoldRecord, LotRecord, Model, SECOND, Taken};
use purser_core::catalogue::{Action, Overage};
use purser_core::command::{CaptureHold, Debit, ExtendHold, PlaceHold, Refund};
use purser_core::entry::Usage;
use purser_core::{Key, WalletId};

/// Who pays, how much, at which price.
struct Funded {
    wallet: usize,
    cost: i64,
    price: Option<u128>,
    covered: bool,
}

/// What is asked, before a wallet is found for it.
struct Ask<'a> {
    action: u64,
    usage: &'a Usage,
    unit: Option<&'a Key>,
    wallet: Option<WalletId>,
    occurred: i64,
    settle: bool,
}

impl Model {
    fn action(&self, no: u64) -> Result<&Action, Code> {
        self.catalogue.action(no).map(AsRef::as_ref).filter(|action| action.active).ok_or("action_not_found")
    }

    /// The first unit and wallet that cover the cost; else the first of all, not covered.
    fn fund(&self, which: &[usize], ask: &Ask<'_>, now: i64) -> Result<Funded, Code> {
        let action = self.action(ask.action)?;
        let named = match ask.wallet {
            Some(id) => Some(*which.iter().find(|index| self.accounts[**index].id == id).ok_or("wallet_not_found")?),
            None => None,
        };
        let fits = |unit: &Key| {
            action.units.contains(unit) && named.is_none_or(|wallet| self.accounts[wallet].unit == *unit)
        };
        let units: Vec<&Key> =
            action.units.iter().filter(|unit| fits(unit) && ask.unit.is_none_or(|asked| asked == *unit)).collect();
        if units.is_empty() {
            return Err("unit_mismatch");
        }
        let mut options = Vec::new();
        for unit in units {
            let valid = |price: &&purser_core::catalogue::Price| price.unit == *unit && price.valid_from.0 <= ask.occurred;
            let Some(price) = action.prices.iter().filter(valid).max_by_key(|price| price.valid_from) else { continue };
            let (cost, price) = match ask.usage {
                Usage::Amount(amount) if amount.0 <= 0 => return Err("amount_not_positive"),
                Usage::Amount(amount) => (amount.0, None),
                usage => (self.cost(price, usage)?, Some(price.id.0)),
            };
            for &wallet in which {
                if self.accounts[wallet].unit == *unit && named.is_none_or(|named| named == wallet) {
                    let covered = cost == 0 || self.accounts[wallet].available(now) >= cost;
                    options.push(Funded { wallet, cost, price, covered });
                }
            }
        }
        if ask.settle {
            self.open()?;
        } else {
            self.may_spend()?;
        }
        match options.iter().position(|option| option.covered) {
            Some(index) => Ok(options.swap_remove(index)),
            None if options.is_empty() => Err("action_not_found"),
            None if ask.settle => Ok(options.swap_remove(0)),
            None => Err("insufficient_credits"),
        }
    }

    pub(super) fn debit(&mut self, which: &[usize], id: u128, debit: &Debit, occurred: i64, now: i64) -> Answer {
        if matches!(debit.usage, Usage::Amount(_)) {
            self.action(debit.action)?;
            return Err("usage_invalid");
        }
        let ask = Ask {
            action: debit.action,
            usage: &debit.usage,
            unit: debit.unit.as_ref(),
            wallet: debit.wallet,
            occurred,
            settle: debit.settle,
        };
        let funded = self.fund(which, &ask, now)?;
        let account = &mut self.accounts[funded.wallet];
        let own = account.burn(funded.cost, now);
        account.bill(id, funded.cost, own);
        Ok(())
    }

    pub(super) fn place(&mut self, which: &[usize], id: u128, place: &PlaceHold, occurred: i64, now: i64) -> Answer {
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
        };
        let funded = self.fund(which, &ask, now)?;
        let account = &mut self.accounts[funded.wallet];
        let hold = HoldRecord {
            fate: Fate::Active,
            action: place.action,
            price: funded.price,
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
        match (usage, hold.price) {
            (Usage::Amount(amount), _) if amount.0 <= 0 => Err("amount_not_positive"),
            (Usage::Amount(amount), _) => Ok(amount.0),
            (_, None) => Err("usage_invalid"),
            (usage, Some(id)) => {
                let action = self.catalogue.action(hold.action).expect("actions are never removed");
                let price = action.prices.iter().find(|price| price.id.0 == id).expect("versions are never removed");
                self.cost(price, usage)
            }
        }
    }

    pub(super) fn extend(&mut self, wallet: usize, extend: &ExtendHold, now: i64) -> Answer {
        if extend.expires_in.is_some_and(|life| !(SECOND..=DAY).contains(&life)) {
            return Err("time_invalid");
        }
        let id = extend.hold.0;
        if !self.accounts[wallet].holds.contains_key(&id) {
            return Err("hold_not_found");
        }
        self.may_spend()?;
        let hold = self.usable(wallet, id, false)?;
        let expires = extend.expires_in.map_or(hold.expires, |life| now + life);
        if expires > hold.ends {
            return Err("hold_life_exceeded");
        }
        let wanted = extend.usage.as_ref().map_or(Ok(0), |usage| self.hold_cost(&hold, usage))?;
        let more = (wanted - hold.held()).max(0);
        let account = &mut self.accounts[wallet];
        if more > 0 && account.available(now) < more {
            return Err("insufficient_credits");
        }
        account.holds.get_mut(&id).expect("just seen").expires = expires;
        account.pin(id, more, now);
        Ok(())
    }

    pub(super) fn capture(&mut self, wallet: usize, capture: &CaptureHold, now: i64) -> Answer {
        let id = capture.hold.0;
        if !self.accounts[wallet].holds.contains_key(&id) {
            return Err("hold_not_found");
        }
        self.open()?;
        let hold = self.usable(wallet, id, capture.settle)?;
        let held = hold.held();
        let cost = match &capture.usage {
            Some(usage) => self.hold_cost(&hold, usage)?,
            None => self.accounts[wallet].placed(id),
        };
        let over = (cost - held).max(0);
        if over > 0 && hold.fate == Fate::Active {
            let action = self.catalogue.action(hold.action).expect("actions are never removed");
            match action.overage {
                Overage::Refuse => return Err("capture_exceeds_hold"),
                Overage::Allow { percent } => {
                    if i128::from(over) * 100 > i128::from(held) * i128::from(percent) {
                        return Err("capture_exceeds_hold");
                    }
                    if self.accounts[wallet].available(now) < over {
                        return Err("insufficient_credits");
                    }
                }
                Overage::Debt => {}
            }
        }
        let account = &mut self.accounts[wallet];
        let record = account.holds.get_mut(&id).expect("just seen");
        record.fate = Fate::Captured;
        record.pins.clear();
        let mut own = Vec::new();
        let mut missing = cost;
        for (lot, pinned) in hold.pins {
            let part = pinned.min(missing);
            if part > 0 {
                own.push(account.draw(lot, part));
                missing -= part;
            }
        }
        own.extend(account.burn(missing, now));
        account.bill(id, cost, own);
        Ok(())
    }

    pub(super) fn release(&mut self, wallet: usize, hold: u128) -> Answer {
        self.usable(wallet, hold, false)?;
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
        let mut missing = amount;
        for debt in account.debts.iter_mut().filter(|debt| debt.subject == refund.debit.0 && debt.reversal_of.is_none()) {
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
        account.put_back(id, back, now);
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
    /// What a closed hold had pinned, or an active one pins.
    fn placed(&self, hold: u128) -> i64 {
        self.holds[&hold].placed
    }

    fn pin(&mut self, hold: u128, amount: i64, now: i64) {
        let mut missing = amount;
        for lot in self.spendable(now) {
            let part = missing.min(self.free(lot));
            if part > 0 {
                self.holds.get_mut(&hold).expect("just made").pins.push((lot, part));
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

    /// Gives credits back to the lots they came from. A lot whose purchase was reversed pays the debt of that first;
    /// a lot that ran out comes back as a new one with seven days.
    pub fn put_back(&mut self, id: u128, back: Vec<(u128, i64, i64)>, now: i64) {
        let mut number = 0;
        for (lot, mut amount, mut money) in back {
            let origin = self.lots[&lot].origin;
            for index in 0..self.debts.len() {
                let debt = &mut self.debts[index];
                if origin.is_some() && debt.reversal_of == origin {
                    let part = debt.amount.min(amount);
                    debt.amount -= part;
                    let share = i64::try_from(i128::from(money) * i128::from(part) / i128::from(amount.max(1)));
                    money -= share.expect("a part of an i64");
                    amount -= part;
                    let subject = debt.subject;
                    let reversal = self.reversals.get_mut(&subject).expect("a reversal made the debt");
                    reversal.forgiven.push((lot, part));
                }
            }
            self.debts.retain(|debt| debt.amount > 0);
            if amount == 0 {
                continue;
            }
            if self.lots[&lot].expires > now {
                let record = self.lots.get_mut(&lot).expect("just seen");
                record.remaining += amount;
                record.money += money;
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
        }
    }
}
