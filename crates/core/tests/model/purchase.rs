//! Money that goes back, in the model: freeze, thaw, reverse and reinstate over all lots of one purchase.

use super::{Account, Answer, Bill, DebtRecord, FreezeRecord, Model, Reversal};
use purser_core::command::{Freeze, Reverse};
use purser_core::entry::GrantKind;

impl Model {
    /// All lots of a purchase as (wallet, lot): paid ones, then bonus, then what was split from them.
    fn purchase(&self, which: &[usize], origin: u128) -> Vec<(usize, u128)> {
        let mut all = Vec::new();
        for class in 0..3 {
            for &wallet in which {
                let account = &self.accounts[wallet];
                let of_class = |id: &u128| {
                    let lot = &account.lots[id];
                    let own = match (lot.parent, lot.kind) {
                        (Some(_), _) => 2,
                        (None, GrantKind::Paid) => 0,
                        (None, _) => 1,
                    };
                    lot.origin == Some(origin) && own == class
                };
                all.extend(account.burn_order().into_iter().filter(of_class).map(|lot| (wallet, lot)));
            }
        }
        all
    }

    fn knows_cause(&self, which: &[usize], cause: u128) -> bool {
        which.iter().any(|wallet| {
            let account = &self.accounts[*wallet];
            account.freezes.iter().any(|freeze| freeze.cause == cause) || account.reversals.contains_key(&cause)
        })
    }

    pub(super) fn freeze(&mut self, which: &[usize], freeze: &Freeze) -> Answer {
        if freeze.amount.0 <= 0 {
            return Err("amount_not_positive");
        }
        let (cause, lots) = (freeze.cause.0, self.purchase(which, freeze.origin.0));
        if lots.is_empty() {
            return Err("grant_not_found");
        }
        self.open()?;
        if self.knows_cause(which, cause) {
            return Err("cause_repeated");
        }
        let mut missing = freeze.amount.0;
        let mut wants = vec![0; lots.len()];
        // What is free now, then what holds pin and no other cause waits for, then what refunds may bring back.
        for round in 0..3 {
            for (index, &(wallet, lot)) in lots.iter().enumerate() {
                let account = &self.accounts[wallet];
                let waited: i64 =
                    account.freezes.iter().filter(|row| row.lot == lot).map(|row| row.wanted - row.taken).sum();
                let record = &account.lots[&lot];
                let room = match round {
                    0 => account.free(lot),
                    1 => account.free(lot) + account.held(lot) - waited,
                    _ => record.granted - account.frozen(lot) - waited,
                };
                let part = missing.min(room - wants[index]).max(0);
                wants[index] += part;
                missing -= part;
            }
        }
        for (&(wallet, lot), wanted) in lots.iter().zip(wants) {
            if wanted > 0 {
                self.accounts[wallet].freezes.push(FreezeRecord { cause, lot, wanted, taken: 0 });
            }
        }
        Ok(())
    }

    pub(super) fn thaw(&mut self, which: &[usize], cause: u128) -> Answer {
        let mut known = false;
        for &wallet in which {
            let freezes = &mut self.accounts[wallet].freezes;
            let before = freezes.len();
            freezes.retain(|freeze| freeze.cause != cause);
            known |= freezes.len() < before;
        }
        if !known {
            return Err("cause_not_found");
        }
        self.open()
    }

    pub(super) fn reverse(&mut self, which: &[usize], reverse: &Reverse) -> Answer {
        if reverse.amount.0 <= 0 {
            return Err("amount_not_positive");
        }
        let Some(buyer) = which.iter().copied().find(|wallet| self.accounts[*wallet].id == reverse.buyer) else {
            return Err("wallet_not_found");
        };
        let (cause, origin) = (reverse.cause.0, reverse.origin.0);
        let lots = self.purchase(which, origin);
        if lots.is_empty() {
            return Err("grant_not_found");
        }
        self.open()?;
        if which.iter().any(|wallet| self.accounts[*wallet].reversals.contains_key(&cause)) {
            return Err("cause_repeated");
        }
        let mut missing = reverse.amount.0;
        for &(wallet, lot) in &lots {
            missing -= self.accounts[wallet].reverse_frozen(cause, lot, missing);
        }
        for &(wallet, lot) in &lots {
            let account = &mut self.accounts[wallet];
            let part = missing.min(account.free(lot));
            account.reverse_free(cause, lot, part);
            missing -= part;
        }
        for &(wallet, lot) in &lots {
            let account = &mut self.accounts[wallet];
            let record = account.lots.get_mut(&lot).expect("just listed");
            let part = missing.min(record.expired);
            if part > 0 {
                record.expired -= part;
                account.reversals.entry(cause).or_default().breakage.push((lot, part));
                missing -= part;
            }
        }
        let account = &mut self.accounts[buyer];
        account.reversals.entry(cause).or_default();
        if missing > 0 {
            account.debts.push(DebtRecord { subject: cause, reversal_of: Some(origin), amount: missing });
        }
        // What was not there to be frozen is not waited for any longer: it is debt now.
        for &wallet in which {
            for freeze in self.accounts[wallet].freezes.iter_mut().filter(|freeze| freeze.cause == cause) {
                freeze.wanted = freeze.taken;
            }
            self.accounts[wallet].freezes.retain(|freeze| freeze.cause != cause || freeze.taken > 0);
        }
        Ok(())
    }

    pub(super) fn reinstate(&mut self, which: &[usize], id: u128, cause: u128, now: i64) -> Answer {
        let undone = |reversal: &Reversal| reversal.undone;
        let known: Vec<bool> =
            which.iter().filter_map(|wallet| self.accounts[*wallet].reversals.get(&cause).map(undone)).collect();
        if known.is_empty() {
            return Err("cause_not_found");
        }
        self.open()?;
        if known.contains(&true) {
            return Err("cause_repeated");
        }
        for &wallet in which {
            self.accounts[wallet].reinstate(id, cause, now);
        }
        Ok(())
    }
}

impl Account {
    fn reverse_frozen(&mut self, cause: u128, lot: u128, most: i64) -> i64 {
        let mut part = 0;
        for freeze in self.freezes.iter_mut().filter(|freeze| freeze.cause == cause && freeze.lot == lot) {
            part = most.min(freeze.taken);
            freeze.taken -= part;
        }
        self.reverse_free(cause, lot, part);
        part
    }

    fn reverse_free(&mut self, cause: u128, lot: u128, part: i64) {
        if part > 0 {
            let taken = self.draw(lot, part);
            self.reversals.entry(cause).or_default().bill.own.push(taken);
        }
    }

    /// Undoes one reversal: debt that is open goes, credit returns to its lots and to those that repaid.
    fn reinstate(&mut self, id: u128, cause: u128, now: i64) {
        let Some(mut reversal) = self.reversals.remove(&cause) else { return };
        self.debts.retain(|debt| debt.reversal_of.is_none() || debt.subject != cause);
        for taken in &reversal.bill.own {
            let lot = self.lots.get_mut(&taken.lot).expect("lots are never forgotten here");
            lot.remaining += taken.amount;
            lot.money += taken.money;
        }
        for &(lot, amount) in &reversal.breakage {
            self.lots.get_mut(&lot).expect("lots are never forgotten here").expired += amount;
        }
        let Bill { repaid, .. } = &reversal.bill;
        let repaid = repaid.iter().rev().map(|taken| (taken.lot, taken.amount, taken.money)).collect();
        reversal.undone = true;
        self.reversals.insert(cause, reversal);
        self.put_back(id, repaid, now);
    }
}
