//! Which lots and holds a wallet's entries changed, so that their rows can be written.

use super::Touched;
use purser_core::entry::{EntryKind, Target, Terms};
use purser_core::{Entry, LotId};

impl Touched {
    /// Adds what `entry` changes.
    pub fn add(&mut self, entry: &Entry) {
        for allocation in &entry.allocations {
            if let Target::Lot(lot) = allocation.target {
                self.add_lot(lot);
            }
        }
        for lot in entry.terms.new_lots() {
            self.add_lot(lot.id);
        }
        if let Terms::Reverse { breakage, .. } | Terms::Reinstate { breakage, .. } = &entry.terms {
            for part in breakage {
                self.add_lot(part.lot);
            }
        }
        let of_hold = matches!(
            entry.kind,
            EntryKind::Hold
                | EntryKind::Extend
                | EntryKind::Capture
                | EntryKind::Release
                | EntryKind::HoldExpire
        );
        if of_hold && !self.holds.contains(&entry.subject) {
            self.holds.push(entry.subject);
        }
    }

    fn add_lot(&mut self, lot: LotId) {
        if !self.lots.contains(&lot) {
            self.lots.push(lot);
        }
    }
}
