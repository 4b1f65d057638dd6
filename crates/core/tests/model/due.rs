//! Time in the model: what happens at which instant, whoever looks and whenever.

use super::{Account, Fate, Taken};

impl Account {
    /// Plays every instant between the last look and `now` at which something falls due, in time order.
    pub fn book_due(&mut self, now: i64) {
        let holds = self.holds.values().filter(|hold| hold.fate == Fate::Active).map(|hold| hold.expires);
        let lots = self.lots.values().flat_map(|lot| [lot.expires, lot.effective]);
        let mut instants: Vec<i64> = holds.chain(lots).filter(|at| *at > self.seen && *at <= now).collect();
        instants.sort_unstable();
        instants.dedup();
        for instant in instants {
            for hold in self.holds.values_mut() {
                if hold.fate == Fate::Active && hold.expires <= instant {
                    hold.fate = Fate::Expired;
                    hold.pins.clear();
                }
            }
            self.calm(instant);
        }
        self.seen = self.seen.max(now);
    }

    /// What follows at once from any change: open freezes fill, what ran out expires, credit repays debt.
    pub fn calm(&mut self, now: i64) {
        self.fill_freezes();
        for id in self.burn_order() {
            let free = self.free(id);
            if self.lots[&id].expires <= now && free > 0 {
                self.draw(id, free);
                self.lots.get_mut(&id).expect("just seen").expired += free;
            }
        }
        self.repay(now);
    }

    /// Freezes that have not got all they want take what is free in their lot, oldest first.
    pub fn fill_freezes(&mut self) {
        for index in 0..self.freezes.len() {
            let free = self.free(self.freezes[index].lot);
            let freeze = &mut self.freezes[index];
            freeze.taken += free.min(freeze.wanted - freeze.taken);
        }
    }

    fn repay(&mut self, now: i64) {
        while let (Some(debt), Some(lot)) =
            (self.debts.first().cloned(), self.spendable(now).first().copied())
        {
            let amount = debt.amount.min(self.free(lot));
            let taken = self.draw(lot, amount);
            self.debts[0].amount -= amount;
            self.debts.retain(|debt| debt.amount > 0);
            let bill = match debt.reversal_of {
                Some(_) => &mut self.reversals.get_mut(&debt.subject).expect("a reversal made the debt").bill,
                None => self.bills.get_mut(&debt.subject).expect("a debit made the debt"),
            };
            bill.repaid.push(taken);
        }
    }

    /// Takes spendable credit in burn order, as much as there is and not more than `amount`.
    pub fn burn(&mut self, amount: i64, now: i64) -> Vec<Taken> {
        let mut missing = amount;
        let mut taken = Vec::new();
        for lot in self.spendable(now) {
            let part = missing.min(self.free(lot));
            if part > 0 {
                taken.push(self.draw(lot, part));
                missing -= part;
            }
        }
        taken
    }
}
