//! The only way a wallet changes: one entry at a time.
//!
//! Decisions, start-up replay and audits all come through here, so a rebuild from entries is equal to the live state by
//! construction. An entry that does not fit is a bug or damage, never a business refusal: it is reported, not applied.

use super::{Debt, Freeze, Hold, HoldState, Lot, Pin, Wallet};
use crate::amount::Amount;
use crate::entry::{Allocation, Entry, EntryKind, GrantKind, Target, Terms};

impl Wallet {
    /// Applies the wallet's next entry.
    ///
    /// # Errors
    /// Names the rule the entry breaks; the wallet is then in no defined state and must be thrown away.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), &'static str> {
        if entry.wallet != self.key || entry.seq != self.seq + 1 {
            return Err("the entry is not the next one of this wallet");
        }
        if entry.recorded_at < self.recorded_at {
            return Err("the entry was recorded before the one it follows");
        }
        for terms in entry.terms.new_lots() {
            self.insert_lot(Lot::new(terms.clone()));
        }
        for allocation in &entry.allocations {
            self.apply_allocation(entry, allocation)?;
        }
        self.apply_terms(entry)?;
        self.settled += entry.amount;
        self.held += entry.held_delta;
        if self.settled != entry.settled_after {
            return Err("the settled balance after the entry is not what the entry says");
        }
        self.seq = entry.seq;
        self.head = entry.hash;
        self.recorded_at = entry.recorded_at;
        self.debts.retain(|debt| !debt.amount.is_zero());
        Ok(())
    }

    fn apply_allocation(&mut self, entry: &Entry, allocation: &Allocation) -> Result<(), &'static str> {
        match allocation.target {
            Target::Lot(id) => {
                let index = self.lots.iter().position(|lot| lot.terms.id == id);
                let index = index.ok_or("the entry names an unknown lot")?;
                let lot = &mut self.lots[index];
                lot.remaining += allocation.amount;
                lot.held += allocation.held;
                lot.frozen += allocation.frozen;
                lot.money += allocation.money;
                if lot.held < Amount::ZERO
                    || lot.frozen < Amount::ZERO
                    || lot.spendable() < Amount::ZERO
                    || lot.money < 0
                {
                    return Err("the entry takes more of a lot than there is");
                }
                if lot.remaining > lot.terms.granted {
                    return Err("the entry puts more into a lot than was granted");
                }
                if entry.kind == EntryKind::Expire {
                    lot.expired -= allocation.amount;
                    lot.expired_money -= allocation.money;
                }
                if allocation.amount - allocation.held - allocation.frozen > Amount::ZERO {
                    let lot = &self.lots[index];
                    if let Some(at) = self.next_instant_of(lot) {
                        self.expect_due(at);
                    }
                }
                self.frozen += allocation.frozen;
                self.apply_freeze(entry, id, allocation.frozen);
            }
            Target::Debt(seq) => {
                self.debt += allocation.amount;
                let known = self.debts.iter_mut().find(|debt| debt.seq == seq);
                match known {
                    Some(debt) if debt.amount + allocation.amount >= Amount::ZERO => {
                        debt.amount += allocation.amount
                    }
                    None if seq == entry.seq && allocation.amount.is_positive() => {
                        let origin = match &entry.terms {
                            Terms::Reverse { origin, .. } => Some(*origin),
                            _ => None,
                        };
                        let (cause, subject, amount) = (entry.kind, entry.subject, allocation.amount);
                        self.debts.push(Debt { seq, cause, subject, origin, amount });
                    }
                    Some(_) | None => return Err("the entry pays more of a debt than is owed"),
                }
            }
        }
        Ok(())
    }

    /// Keeps what the entry's cause has taken of a lot; the freeze rows of a cause come into being in `apply_terms`.
    fn apply_freeze(&mut self, entry: &Entry, lot: crate::LotId, frozen: Amount) {
        if let (EntryKind::Freeze, Terms::Freeze { wants }) = (entry.kind, &entry.terms) {
            for &(_, wanted) in wants.iter().filter(|(wanted_lot, _)| *wanted_lot == lot) {
                self.freezes.push(Freeze { cause: entry.subject, lot, wanted, taken: Amount::ZERO });
            }
        }
        if let Some(freeze) =
            self.freezes.iter_mut().find(|freeze| freeze.cause == entry.subject && freeze.lot == lot)
        {
            freeze.taken += frozen;
        }
    }

    fn apply_terms(&mut self, entry: &Entry) -> Result<(), &'static str> {
        match (entry.kind, &entry.terms) {
            (EntryKind::Grant, Terms::Grant(lot)) => {
                if lot.kind == GrantKind::Paid {
                    self.last_topup = lot.granted;
                }
            }
            (EntryKind::Hold, Terms::Hold(terms)) => {
                let pins = pins_of(entry);
                let hold = Hold {
                    id: entry.subject,
                    state: HoldState::Active,
                    terms: terms.clone(),
                    user: entry.user,
                    held: entry.held_delta,
                    pins,
                    captured: Amount::ZERO,
                    placed_at: entry.recorded_at,
                };
                match self.holds.binary_search_by_key(&hold.id, |known| known.id) {
                    Ok(_) => return Err("a hold is placed once"),
                    Err(index) => self.holds.insert(index, hold),
                }
                self.expect_due(terms.expires_at);
            }
            (EntryKind::Extend, Terms::Hold(terms)) => {
                let more = pins_of(entry);
                let hold = self.active_hold(entry)?;
                for pin in more {
                    match hold.pins.iter_mut().find(|known| known.lot == pin.lot) {
                        Some(known) => known.amount += pin.amount,
                        None => hold.pins.push(pin),
                    }
                }
                hold.held += entry.held_delta;
                hold.terms = terms.clone();
            }
            // A capture in settle mode may find its hold expired: then it is recorded as captured all the same.
            (EntryKind::Capture, Terms::Charge(charge)) => {
                let hold = self.named_hold(entry)?;
                hold.state = HoldState::Captured;
                hold.captured = charge.cost;
                hold.pins.clear();
            }
            (EntryKind::Release, _) => self.close_hold(entry, HoldState::Released)?,
            (EntryKind::HoldExpire, _) => self.close_hold(entry, HoldState::Expired)?,
            (EntryKind::Thaw, _) => self.freezes.retain(|freeze| freeze.cause != entry.subject),
            (EntryKind::Reverse, Terms::Reverse { breakage, .. }) => {
                for part in breakage {
                    let lot = self
                        .lots
                        .iter_mut()
                        .find(|lot| lot.terms.id == part.lot)
                        .ok_or("breakage of an unknown lot")?;
                    lot.expired -= part.amount;
                    lot.expired_money -= part.money;
                }
                self.freezes.retain(|freeze| freeze.cause != entry.subject || freeze.taken.is_positive());
            }
            (EntryKind::Reinstate, Terms::Reinstate { breakage, .. }) => {
                for part in breakage {
                    let lot = self
                        .lots
                        .iter_mut()
                        .find(|lot| lot.terms.id == part.lot)
                        .ok_or("breakage of an unknown lot")?;
                    lot.expired += part.amount;
                    lot.expired_money += part.money;
                }
            }
            (EntryKind::Freeze, Terms::Freeze { wants }) => {
                // Lots of which nothing can be taken yet have no allocation, but their wants are rows too.
                for &(lot, wanted) in wants {
                    if !self.freezes.iter().any(|freeze| freeze.cause == entry.subject && freeze.lot == lot) {
                        self.freezes.push(Freeze { cause: entry.subject, lot, wanted, taken: Amount::ZERO });
                    }
                }
            }
            (
                EntryKind::Debit
                | EntryKind::Refund
                | EntryKind::Expire
                | EntryKind::Revoke
                | EntryKind::Repay
                | EntryKind::TransferOut
                | EntryKind::TransferIn
                | EntryKind::ConvertOut
                | EntryKind::ConvertIn,
                _,
            ) => {}
            (
                EntryKind::Grant
                | EntryKind::Hold
                | EntryKind::Extend
                | EntryKind::Capture
                | EntryKind::Freeze
                | EntryKind::Reverse
                | EntryKind::Reinstate,
                _,
            ) => return Err("the entry's terms do not belong to its kind"),
        }
        Ok(())
    }

    fn close_hold(&mut self, entry: &Entry, state: HoldState) -> Result<(), &'static str> {
        let hold = self.active_hold(entry)?;
        hold.state = state;
        hold.pins.clear();
        Ok(())
    }

    fn active_hold(&mut self, entry: &Entry) -> Result<&mut Hold, &'static str> {
        let hold = self.named_hold(entry)?;
        if hold.state == HoldState::Active {
            Ok(hold)
        } else {
            Err("the entry changes a hold that is closed")
        }
    }

    fn named_hold(&mut self, entry: &Entry) -> Result<&mut Hold, &'static str> {
        let index = self.holds.binary_search_by_key(&entry.subject, |hold| hold.id);
        index.map(|index| &mut self.holds[index]).map_err(|_| "the entry names an unknown hold")
    }
}

fn pins_of(entry: &Entry) -> Vec<Pin> {
    let pinned = entry.allocations.iter().filter(|allocation| allocation.held.is_positive());
    pinned
        .filter_map(|allocation| match allocation.target {
            Target::Lot(lot) => Some(Pin { lot, amount: allocation.held }),
            Target::Debt(_) => None,
        })
        .collect()
}
