//! The embedded database: bringing wallet, lot and hold rows up to the ledger after a crash.
//!
//! Rows are saved lazily, so after a crash they may be behind. The entries after the flush position are replayed,
//! checked against their hash chain, on the rows that have not seen them. Each chunk is one transaction that moves
//! the position; a crash in between repeats at most one chunk, and an entry that a row has seen is skipped.

use super::{SqliteBatch, SqliteWriter};
use crate::dialect::statements;
use crate::driver::values;
use crate::error::StoreError;
use crate::hot::rows::{entry_columns, read_entry};
use crate::hot::{LoadedWallet, Recovered, Touched, load};
use crate::position::Position;
use purser_core::audit::replay;
use purser_core::{Entry, WalletKey};
use rustc_hash::FxHashMap;

statements! {
    ENTRIES_AFTER = concat!(
        "SELECT ", entry_columns!(), " FROM entry WHERE position > ?1 ORDER BY position LIMIT ?2");
}

/// Entries replayed in one transaction.
const CHUNK_ENTRIES: i64 = 20_000;

/// A wallet while entries are replayed on it.
struct Rebuilt {
    loaded: LoadedWallet,
    touched: Touched,
    replayed: bool,
}

impl SqliteWriter {
    /// Brings wallet, lot and hold rows up to the ledger. Call it once, after opening and before the first batch.
    pub(crate) fn recover(&mut self) -> Result<Recovered, StoreError> {
        let mut recovered = Recovered::default();
        loop {
            let after = self.flushed();
            let mut batch = self.begin()?;
            let entries =
                batch.session().all(ENTRIES_AFTER, values![after.to_sql(), CHUNK_ENTRIES], read_entry)?;
            let Some(last) = entries.last().map(|(position, ..)| *position) else { return Ok(recovered) };
            let rebuilt = replay_chunk(&batch, &entries)?;
            recovered.entries += entries.len() as u64;
            for Rebuilt { loaded, touched, .. } in rebuilt.values() {
                batch.save_wallet(&loaded.wallet, loaded.head, touched)?;
                recovered.wallets += 1;
            }
            batch.set_flushed(last)?;
            batch.commit().map_err(|error| StoreError::Other(error.to_string()))?;
        }
    }
}

fn replay_chunk(
    batch: &SqliteBatch<'_>,
    entries: &[(Position, Position, Entry)],
) -> Result<FxHashMap<WalletKey, Rebuilt>, StoreError> {
    let mut wallets: FxHashMap<WalletKey, Rebuilt> = FxHashMap::default();
    for (position, _, entry) in entries {
        let rebuilt = match wallets.entry(entry.wallet) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let loaded = batch.wallet(entry.wallet)?.ok_or_else(|| {
                    StoreError::inconsistent("wallet", entry.wallet, "it has entries but no row")
                })?;
                place.insert(Rebuilt { loaded, touched: Touched::default(), replayed: false })
            }
        };
        if entry.seq > rebuilt.loaded.wallet.seq {
            rebuilt.replay(batch, *position, entry)?;
        }
    }
    wallets.retain(|_, rebuilt| rebuilt.replayed);
    Ok(wallets)
}

impl Rebuilt {
    fn replay(
        &mut self,
        batch: &SqliteBatch<'_>,
        position: Position,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        let wallet = &mut self.loaded.wallet;
        let mut named = Touched::default();
        named.add(entry);
        // Spent lots and closed holds are not loaded with a wallet; an entry may name them all the same.
        for id in named.lots.iter().filter(|id| !entry.terms.new_lots().iter().any(|lot| lot.id == **id)) {
            if wallet.lot(*id).is_none()
                && let Some((owner, lot)) = load::lot(batch.session(), entry.wallet.tenant, *id)?
                && owner == entry.wallet.id
            {
                wallet.load_lot(lot);
            }
        }
        for id in &named.holds {
            if wallet.hold(*id).is_none()
                && let Some(hold) = load::hold_in(batch.session(), entry.wallet, *id)?
            {
                wallet.load_hold(hold);
            }
        }
        replay(wallet, entry).map_err(|what| StoreError::inconsistent("entry", position, what))?;
        self.touched.add(entry);
        self.loaded.head = position;
        self.replayed = true;
        Ok(())
    }
}
