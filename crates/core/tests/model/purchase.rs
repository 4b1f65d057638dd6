//! Money that goes back, in the model: freeze, thaw, reverse and reinstate over all lots of one purchase.

use super::{Account, Answer, DebtRecord, FreezeRecord, Model, Reversal};
use purser_core::command::{Freeze, Reverse};
use purser_core::entry::GrantKind;

impl Model {
    /// All lots of a purchase as (wallet, lot): paid ones, then bonus, then what was split from them; older first.
    fn purchase(&self, which: &[usize], origin: u128) -> Vec<(usize, u128)> {
        let mut all = Vec::new();
        for &wallet in which {
            for (id, lot) in self.accounts[wallet].lots.iter().filter(|(_, lot)| lot.origin == Some(origin)) {
                let class = match (lot.parent, lot.kind) {
                    (None, GrantKind::Paid) => 0,
                    (None, GrantKind::Promotional | GrantKind::Adjustment) => 1,
                    (Some(_), _) => 2,
                };
                all.push((class, *id, wallet));
            }
        }
        all.sort_unstable();
        all.into_iter().map(|(_, lot, wallet)| (wallet, lot)).collect()
    }

    pub(super) fn freeze(&mut self, which: &[usize], freeze: &Freeze) -> Answer {
        if freeze.amount.0 <= 0 {
            return Err("amount_not_positive");
        }
        let (cause, lots) = (freeze.cause.0, self.purchase(which, freeze.origin.0));
        if lots.is_empty() {
            return Err("grant_not_found");
        }
        if self.causes.contains(&cause)
            || which.iter().any(|wallet| self.accounts[*wallet].reversals.contains_key(&cause))
        {
            return Err("cause_repeated");
        }
        let mut missing = freeze.amount.0;
        let mut wants = vec![0; lots.len()];
        // What is free now, then what holds pin and no other cause waits for, then what refunds may bring back.
        for round in 0..3 {
            for (index, &(wallet, lot)) in lots.iter().enumerate() {
                let account = &self.accounts[wallet];
                let waited: i64 = account
                    .freezes
                    .iter()
                    .filter(|row| row.lot == lot)
                    .map(|row| row.wanted - row.taken)
                    .sum();
                let record = &account.lots[&lot];
                let (free, held) = (account.free(lot), account.held(lot));
                let pinned = free + (held - waited).max(0);
                let gone = record.granted - record.remaining - record.expired;
                let room = match round {
                    0 => free,
                    1 => pinned,
                    _ => pinned + gone - (waited - held).max(0),
                };
                let part = missing.min(room - wants[index]).max(0);
                wants[index] += part;
                missing -= part;
            }
        }
        for (&(wallet, lot), wanted) in lots.iter().zip(wants) {
            if wanted > 0 {
                self.causes.push(cause);
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
        if known { Ok(()) } else { Err("cause_not_found") }
    }

    pub(super) fn reverse(&mut self, which: &[usize], reverse: &Reverse) -> Answer {
        if reverse.amount.0 <= 0 {
            return Err("amount_not_positive");
        }
        let Some(buyer) = which.iter().copied().find(|wallet| self.accounts[*wallet].id == reverse.buyer)
        else {
            return Err("wallet_not_found");
        };
        let (cause, origin) = (reverse.cause.0, reverse.origin.0);
        let lots = self.purchase(which, origin);
        if lots.is_empty() {
            return Err("grant_not_found");
        }
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
        // The dispute or refund is over, and with it what is left of its freeze.
        for &wallet in which {
            self.accounts[wallet].freezes.retain(|freeze| freeze.cause != cause);
        }
        Ok(())
    }

    pub(super) fn reinstate(&mut self, which: &[usize], id: u128, cause: u128, now: i64) -> Answer {
        let undone = |reversal: &Reversal| reversal.undone;
        let known: Vec<bool> = which
            .iter()
            .filter_map(|wallet| self.accounts[*wallet].reversals.get(&cause).map(undone))
            .collect();
        if known.is_empty() {
            return Err("cause_not_found");
        }
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
        let repaid =
            reversal.bill.repaid.iter().rev().map(|taken| (taken.lot, taken.amount, taken.money)).collect();
        reversal.undone = true;
        self.reversals.insert(cause, reversal);
        self.put_back(id, repaid, now);
    }
}
