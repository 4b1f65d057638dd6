//! What a batch on a server has loaded: wallets under lock, answers, and which rows exist.

use super::super::{KeyDigest, LoadedWallet, StoredAnswer, load};
use crate::error::StoreError;
use crate::position::Position;
use purser_core::wallet::{Debt, Freeze, Hold, Lot};
use purser_core::{CounterKey, Id, LotId, TenantNo, Timestamp, Wallet, WalletId, WalletKey};
use rustc_hash::{FxHashMap, FxHashSet};

/// What the commands of a batch are about, as far as it is known before anything is loaded.
#[derive(Clone, Default, Debug)]
pub struct Wanted {
    /// Wallets that they name, by owner or by id; of those that do not exist, nothing comes back.
    pub wallets: Vec<WalletKey>,
    /// Grants, debits, holds and causes whose wallets are not known yet.
    pub subjects: Vec<(TenantNo, Id)>,
    /// The quotes that they bring.
    pub quotes: Vec<(TenantNo, Id)>,
    /// The events that they are made of.
    pub events: Vec<(TenantNo, KeyDigest)>,
    /// The counters that they look at.
    pub counters: Vec<CounterKey>,
    /// The keys they are sent under.
    pub keys: Vec<KeyDigest>,
}

impl Wanted {
    /// The same, and its keys as they are stored where their leads are not known.
    pub(super) fn with_keys_without_lead(&self) -> Wanted {
        let mut wanted = self.clone();
        wanted.keys.extend(self.keys.iter().map(KeyDigest::without_lead));
        wanted
    }

    /// The counters in the order in which every node locks them, each once.
    pub(super) fn counters_in_lock_order(&self) -> Vec<CounterKey> {
        let mut keys = self.counters.clone();
        keys.sort_unstable_by_key(counter_order);
        keys.dedup();
        keys
    }

    /// The wallets in the order in which every node locks them, each once.
    pub(super) fn in_lock_order(&self, owners: &[(TenantNo, Id, WalletId)]) -> Vec<WalletKey> {
        let of_subjects = owners.iter().map(|(tenant, _, id)| WalletKey { tenant: *tenant, id: *id });
        let mut keys: Vec<WalletKey> = self.wallets.iter().copied().chain(of_subjects).collect();
        // As the database sorts them: numbers of tenants are signed there.
        keys.sort_unstable_by_key(|key| (key.tenant.0 as i64, key.id));
        keys.dedup();
        keys
    }
}

/// As the database sorts them: numbers of tenants are signed there.
pub(super) fn counter_order(key: &CounterKey) -> (i64, Id, Id, Timestamp) {
    (key.tenant.0 as i64, key.subject, key.rule, key.period_start)
}

/// The row of a writer's slot, locked.
pub(super) struct SlotRow {
    pub(super) epoch: i64,
    pub(super) seq: u64,
    pub(super) closed_until: Timestamp,
    /// The configuration in force.
    pub(super) config_epoch: u64,
    /// The database's time when it was read.
    pub(super) now: i64,
}

/// The rows of some wallets and of their parts.
#[derive(Default)]
pub(super) struct WalletRows {
    pub(super) wallets: Vec<(Wallet, Position, Timestamp)>,
    pub(super) lots: Vec<(TenantNo, WalletId, Lot)>,
    pub(super) holds: Vec<(WalletKey, Hold)>,
    pub(super) debts: Vec<(WalletKey, Debt)>,
    pub(super) freezes: Vec<(WalletKey, Freeze)>,
}

impl WalletRows {
    /// Takes the parts of wallets whose rows are here.
    pub(super) fn add_parts(&mut self, parts: WalletRows) {
        self.lots.extend(parts.lots);
        self.holds.extend(parts.holds);
        self.debts.extend(parts.debts);
        self.freezes.extend(parts.freezes);
    }
}

/// What the beginning of a batch brought.
pub(super) struct Opened {
    pub(super) slot: SlotRow,
    /// The wallets that were asked for, in the order they were locked.
    pub(super) asked: Vec<WalletKey>,
    /// Those of them whose parts are loaded; the others are known, or will be.
    pub(super) whole: Vec<WalletKey>,
    pub(super) owners: Vec<(TenantNo, Id, WalletId)>,
    pub(super) rows: WalletRows,
    /// Wallets that are as they are remembered.
    pub(super) known: Vec<LoadedWallet>,
    pub(super) answers: Vec<(KeyDigest, StoredAnswer)>,
    /// Of the quotes that were asked for, those that were used.
    pub(super) quotes: Vec<(TenantNo, Id)>,
    /// Of the events that were asked for, those that became debits.
    pub(super) events: Vec<(TenantNo, KeyDigest, Id)>,
    /// The counters that were asked for, locked.
    pub(super) counters: Vec<(CounterKey, i64)>,
}

/// What a batch knows of the database.
pub(super) struct Loaded {
    /// Wallets under lock; none for those that do not exist.
    pub(super) wallets: FxHashMap<WalletKey, Option<LoadedWallet>>,
    /// The wallets of subjects.
    pub(super) owners: FxHashMap<(TenantNo, Id), WalletId>,
    /// Answers that were looked up, found or not.
    pub(super) answers: FxHashMap<KeyDigest, Option<StoredAnswer>>,
    /// Quotes that were looked up, and whether they were used.
    pub(super) quotes: FxHashMap<(TenantNo, Id), bool>,
    /// Events that were looked up, and the debits made of them.
    pub(super) events: FxHashMap<(TenantNo, KeyDigest), Option<Id>>,
    /// Counters under lock.
    pub(super) counters: FxHashMap<CounterKey, i64>,
    /// Lots and holds that have rows.
    pub(super) lots: FxHashSet<(TenantNo, LotId)>,
    pub(super) holds: FxHashSet<(TenantNo, Id)>,
}

impl Loaded {
    pub(super) fn new(wanted: &Wanted, opened: Opened) -> Result<(SlotRow, Loaded), StoreError> {
        let mut loaded = Loaded {
            wallets: FxHashMap::default(),
            owners: opened.owners.into_iter().map(|(tenant, subject, id)| ((tenant, subject), id)).collect(),
            answers: wanted.keys.iter().map(|key| (*key, None)).collect(),
            quotes: wanted.quotes.iter().map(|quote| (*quote, false)).collect(),
            events: wanted.events.iter().map(|event| (*event, None)).collect(),
            counters: opened.counters.into_iter().collect(),
            lots: FxHashSet::default(),
            holds: FxHashSet::default(),
        };
        loaded.answers.extend(opened.answers.into_iter().map(|(key, answer)| (key, Some(answer))));
        loaded.quotes.extend(opened.quotes.into_iter().map(|quote| (quote, true)));
        for known in opened.known {
            let (tenant, wallet) = (known.wallet.key.tenant, &known.wallet);
            loaded.lots.extend(wallet.lots.iter().map(|lot| (tenant, lot.terms.id)));
            loaded.holds.extend(wallet.holds.iter().map(|hold| (tenant, hold.id)));
            loaded.wallets.insert(wallet.key, Some(known));
        }
        let events = opened.events.into_iter().map(|(tenant, event, debit)| ((tenant, event), Some(debit)));
        loaded.events.extend(events);
        loaded.add_wallets(&opened.whole, opened.rows)?;
        Ok((opened.slot, loaded))
    }

    /// Puts wallets and their parts together. Those that were asked for and not found do not exist.
    pub(super) fn add_wallets(&mut self, asked: &[WalletKey], rows: WalletRows) -> Result<(), StoreError> {
        let mut found: FxHashMap<WalletKey, (Wallet, Position)> =
            rows.wallets.into_iter().map(|(wallet, head, _)| (wallet.key, (wallet, head))).collect();
        for (tenant, id, lot) in rows.lots {
            self.lots.insert((tenant, lot.terms.id));
            if let Some((wallet, _)) = found.get_mut(&WalletKey { tenant, id }) {
                wallet.lots.push(lot);
            }
        }
        for (key, hold) in rows.holds {
            self.holds.insert((key.tenant, hold.id));
            if let Some((wallet, _)) = found.get_mut(&key) {
                wallet.holds.push(hold);
            }
        }
        for (key, debt) in rows.debts {
            if let Some((wallet, _)) = found.get_mut(&key) {
                wallet.debts.push(debt);
            }
        }
        for (key, freeze) in rows.freezes {
            if let Some((wallet, _)) = found.get_mut(&key) {
                wallet.freezes.push(freeze);
            }
        }
        for key in asked {
            let loaded = match found.remove(key) {
                Some((wallet, head)) => Some(load::restored(wallet, head)?),
                None => None,
            };
            self.wallets.insert(*key, loaded);
        }
        Ok(())
    }

    /// The wallet as it was when it was loaded.
    pub(super) fn before(&self, key: WalletKey) -> Option<&Wallet> {
        self.wallets.get(&key).and_then(Option::as_ref).map(|loaded| &loaded.wallet)
    }
}
