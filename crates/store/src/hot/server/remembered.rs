//! Wallets as this writer left them, so that their parts need not be read again while nobody else wrote them.
//!
//! Never an authority: a wallet is locked and its row is read for every batch. The row has the hash of the wallet's last
//! entry, which covers every entry before it, and a wallet follows from its entries alone (law 1): where the hash is the one
//! that is remembered, so is everything else, and lots, holds, debts and freezes are not asked for. Where it is another, they are
//! asked for in a second round trip; a writer that this happens to often stops remembering for a while, as on wallets that
//! several nodes write in turn it would only cost.

use super::super::LoadedWallet;
use super::pending::WalletRow;
use purser_core::wallet::HoldState;
use purser_core::{Wallet, WalletKey};
use rustc_hash::FxHashMap;

/// Wallets of a generation. There are two: when the young one is full it becomes the old one, whose wallets were not
/// written for at least that long and go.
const GENERATION: usize = 25_000;
/// A wallet with more parts than this is not kept: it would be copied for every batch, and a few of them could fill the memory.
const PARTS_MAX: usize = 32;
/// Wallets after which it is judged whether remembering pays.
const JUDGED_AFTER: u32 = 512;
/// Batches for which nothing is remembered after it did not.
const PAUSE: u32 = 256;

/// Some wallets with all their parts, by key.
#[derive(Default)]
pub(super) struct Remembered {
    young: FxHashMap<WalletKey, LoadedWallet>,
    old: FxHashMap<WalletKey, LoadedWallet>,
    /// Wallets that were remembered and asked for, and how many of them others had written, since the last judgement.
    trusted: u32,
    stale: u32,
    /// Batches that are still to be read in full.
    pause: u32,
}

impl Remembered {
    /// Those of `asked` whose parts have to be read with them.
    pub(super) fn unknown(&mut self, asked: &[WalletKey]) -> Vec<WalletKey> {
        if self.pause > 0 {
            self.pause -= 1;
            return asked.to_vec();
        }
        asked.iter().filter(|key| self.find(key).is_none()).copied().collect()
    }

    fn find(&self, key: &WalletKey) -> Option<&LoadedWallet> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The wallet whose row this is, if it is still as it was left.
    pub(super) fn matching(&mut self, row: &Wallet) -> Option<LoadedWallet> {
        let found =
            self.find(&row.key).filter(|known| known.wallet.head == row.head && known.wallet.seq == row.seq);
        let found = found.cloned();
        self.trusted += 1;
        self.stale += u32::from(found.is_none());
        if self.trusted >= JUDGED_AFTER {
            if self.stale > self.trusted / 8 {
                self.pause = PAUSE;
            }
            (self.trusted, self.stale) = (0, 0);
        }
        found
    }

    /// Keeps what a batch has committed.
    pub(super) fn keep(&mut self, written: Vec<WalletRow>) {
        for WalletRow { mut wallet, head, .. } in written {
            // As it would be loaded: what is closed is not.
            wallet.lots.retain(|lot| lot.remaining.is_positive());
            wallet.holds.retain(|hold| hold.state == HoldState::Active);
            let parts = wallet.lots.len() + wallet.holds.len() + wallet.debts.len() + wallet.freezes.len();
            if parts > PARTS_MAX {
                self.young.remove(&wallet.key);
                self.old.remove(&wallet.key);
                continue;
            }
            if self.young.len() >= GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(wallet.key, LoadedWallet { wallet, head });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;
    use purser_core::catalogue::Unit;
    use purser_core::wallet::Owner;
    use purser_core::{TenantNo, Timestamp, UserNo};

    fn wallet(user: u64, seq: u64) -> Wallet {
        let mut wallet = Wallet::new(TenantNo(1), Owner::User(UserNo(user)), Unit::credit());
        (wallet.seq, wallet.head) = (seq, [seq as u8; 32]);
        wallet
    }

    fn written(user: u64, seq: u64) -> WalletRow {
        WalletRow { wallet: wallet(user, seq), head: Position::NONE, before: None, created_at: Timestamp(0) }
    }

    #[test]
    fn a_wallet_counts_while_its_row_has_the_hash_that_it_was_left_with() {
        let mut remembered = Remembered::default();
        let keys = [wallet(1, 0).key, wallet(2, 0).key];
        remembered.keep(vec![written(1, 5)]);
        assert_eq!(remembered.unknown(&keys), [keys[1]]);
        assert_eq!(remembered.matching(&wallet(1, 5)).map(|known| known.wallet), Some(wallet(1, 5)));
        assert!(remembered.matching(&wallet(1, 6)).is_none(), "somebody else wrote it");
        let mut other = wallet(1, 5);
        other.head = [9; 32];
        assert!(remembered.matching(&other).is_none(), "another history of the same length");
    }

    #[test]
    fn a_writer_whose_wallets_others_write_stops_remembering_for_a_while() {
        let mut remembered = Remembered::default();
        let key = [wallet(1, 0).key];
        remembered.keep(vec![written(1, 5)]);
        for _ in 0..JUDGED_AFTER {
            assert!(remembered.unknown(&key).is_empty());
            remembered.matching(&wallet(1, 6));
        }
        for _ in 0..PAUSE {
            assert_eq!(remembered.unknown(&key), key);
        }
        assert!(remembered.unknown(&key).is_empty());
    }

    #[test]
    fn the_wallets_written_last_are_kept_and_there_are_no_more_than_two_generations() {
        let mut remembered = Remembered::default();
        for user in 0..3 * GENERATION as u64 {
            remembered.keep(vec![written(user, 1)]);
        }
        assert!(remembered.young.len() + remembered.old.len() <= 2 * GENERATION);
        let asked = |user: u64| wallet(user, 0).key;
        assert_eq!(remembered.unknown(&[asked(0)]), [asked(0)]);
        assert!(remembered.unknown(&[asked(3 * GENERATION as u64 - 1)]).is_empty());
    }
}
