//! Wallets whose rows are behind the ledger, and the order in which they are saved.
//!
//! Saved in the order in which they changed, each wallet would dirty pages of its own. Here all that wait are taken as a
//! window and saved in order of their keys, a few with every batch, so that neighbours share pages. The position up to
//! which rows are exact moves when a window is done.

use purser_core::WalletKey;
use purser_store::Position;

/// A wallet, and the position up to which its rows are exact.
pub(super) type Behind = (Position, WalletKey);

#[derive(Default)]
pub(super) struct Unsaved {
    /// In the order in which they fell behind.
    waiting: Vec<Behind>,
    /// The window that is being saved, largest key first: the next one is the last.
    window: Vec<Behind>,
}

impl Unsaved {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.window.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes wallets that a committed batch left behind, in the order in which they fell.
    pub(super) fn push(&mut self, fallen: impl IntoIterator<Item = Behind>) {
        self.waiting.extend(fallen);
    }

    /// Up to `count` wallets to be saved next, those of one window.
    pub(super) fn next(&mut self, count: usize) -> &[Behind] {
        if self.window.is_empty() && count > 0 {
            self.window = std::mem::take(&mut self.waiting);
            self.window.sort_unstable_by_key(|(_, key)| std::cmp::Reverse(*key));
        }
        &self.window[self.window.len().saturating_sub(count)..]
    }

    /// The position up to which all rows are exact once the next `count` are saved, in a batch whose first fallen wallet and
    /// last entry are these; none while the window is not done.
    pub(super) fn exact_after(
        &self,
        count: usize,
        fallen: Option<Position>,
        newest: Position,
    ) -> Option<Position> {
        let oldest = self.waiting.first().map(|(since, _)| *since);
        (count > 0 && count == self.window.len()).then(|| oldest.or(fallen).unwrap_or(newest))
    }

    /// Forgets the next `count`: their rows are committed.
    pub(super) fn saved(&mut self, count: usize) {
        self.window.truncate(self.window.len() - count);
    }

    pub(super) fn clear(&mut self) {
        *self = Unsaved::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purser_core::{Id, TenantNo, WalletId};

    fn behind(since: u64, tenant: u64) -> Behind {
        (Position(since), WalletKey { tenant: TenantNo(tenant), id: WalletId(Id(1)) })
    }

    #[test]
    fn a_window_is_saved_in_order_of_keys_and_moves_the_position_at_its_end() {
        let mut unsaved = Unsaved::default();
        unsaved.push([behind(10, 3), behind(11, 1), behind(12, 2)]);
        assert_eq!(unsaved.next(2), [behind(12, 2), behind(11, 1)]);
        assert_eq!(unsaved.exact_after(2, None, Position(15)), None, "wallet 3 is still behind since 10");
        unsaved.saved(2);
        unsaved.push([behind(16, 1)]);
        assert_eq!(unsaved.next(5), [behind(10, 3)], "what fell behind meanwhile waits for the next window");
        assert_eq!(unsaved.exact_after(1, Some(Position(18)), Position(19)), Some(Position(16)));
        unsaved.saved(1);
        assert_eq!((unsaved.len(), unsaved.next(1)), (1, &[behind(16, 1)][..]));
        assert_eq!(unsaved.exact_after(1, Some(Position(18)), Position(19)), Some(Position(18)));
        assert_eq!(unsaved.exact_after(1, None, Position(19)), Some(Position(19)));
        unsaved.saved(1);
        assert!(unsaved.is_empty());
        assert_eq!(unsaved.exact_after(0, None, Position(19)), None, "nothing was saved");
    }
}
