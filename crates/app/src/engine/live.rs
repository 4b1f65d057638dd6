//! Wallets in memory: the writer's working state, and what reads see of wallets whose rows are behind the ledger.
//!
//! The writer replaces a wallet here after its batch is committed, never before. A reader that finds nothing here reads
//! the rows, which are exact for every wallet that is not here.

use parking_lot::RwLock;
use purser_core::{TenantNo, Wallet, WalletKey};
use purser_store::{Position, Touched};
use rustc_hash::FxHashMap;
use std::sync::Arc;

const SHARDS: usize = 16;

/// A wallet as of the last committed batch.
#[derive(Clone)]
pub struct LiveWallet {
    /// Its state. Lots and holds that closed since it was last saved are still part of it.
    pub wallet: Wallet,
    /// The position of its last entry.
    pub head: Position,
    /// What changed since it was last saved.
    pub(super) touched: Touched,
    /// The position before which its rows reflect everything; none when the rows are exact.
    pub(super) dirty_since: Option<Position>,
    /// The last batch that used it.
    pub(super) used: u64,
}

type Shard = RwLock<FxHashMap<WalletKey, Arc<LiveWallet>>>;

/// All wallets in memory.
#[derive(Clone)]
pub struct Live {
    shards: Arc<[Shard; SHARDS]>,
}

impl Default for Live {
    fn default() -> Live {
        Live { shards: Arc::new(std::array::from_fn(|_| Shard::default())) }
    }
}

impl Live {
    /// The wallet, if it is in memory.
    pub fn get(&self, key: WalletKey) -> Option<Arc<LiveWallet>> {
        self.shard(key).read().get(&key).cloned()
    }

    pub(super) fn put(&self, wallet: Arc<LiveWallet>) {
        let key = wallet.wallet.key;
        self.shard(key).write().insert(key, wallet);
    }

    /// The wallets of a tenant that satisfy `wanted`.
    pub(super) fn of_tenant(&self, tenant: TenantNo, wanted: impl Fn(&Wallet) -> bool) -> Vec<WalletKey> {
        let shard = self.shards[tenant.0 as usize % SHARDS].read();
        shard
            .iter()
            .filter(|(key, live)| key.tenant == tenant && wanted(&live.wallet))
            .map(|(key, _)| *key)
            .collect()
    }

    pub(super) fn clear(&self) {
        self.shards.iter().for_each(|shard| shard.write().clear());
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Forgets wallets whose rows are exact and which no batch since `used_before` needed.
    pub(super) fn evict(&self, used_before: u64) {
        for shard in self.shards.iter() {
            shard.write().retain(|_, live| live.dirty_since.is_some() || live.used >= used_before);
        }
    }

    fn shard(&self, key: WalletKey) -> &Shard {
        &self.shards[key.tenant.0 as usize % SHARDS]
    }
}
