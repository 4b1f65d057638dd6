//! The configuration a node works with: catalogue, keys, standings. One value, replaced as a whole.
//!
//! The writer replaces it in the transaction that changes it, before anybody is answered; whoever holds an older one keeps
//! a consistent one. Money is decided under the value the writer holds.

use crate::caller::{Caller, Scope};
use parking_lot::RwLock;
use purser_core::catalogue::Catalogue;
use purser_core::confirm::Thresholds;
use purser_core::decide::Standing;
use purser_core::gate::{Rule, Table, Unreadable};
use purser_core::{Key, TenantNo, UserNo};
use purser_store::{ActionRow, ConfigRows, UnitRow};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Everything that is configured.
#[derive(Default)]
pub struct Config {
    /// The epoch it belongs to.
    pub epoch: u64,
    /// Units, actions and prices, as decisions see them.
    pub catalogue: Arc<Catalogue>,
    /// Units with their names, by code.
    pub units: Vec<UnitRow>,
    /// Actions with their labels, by key.
    pub actions: Vec<ActionRow>,
    /// All rules of the gate, by key.
    pub gate_rules: Vec<Arc<Rule>>,
    gate: Gate,
    keys: FxHashMap<u64, ApiKey>,
    standings: FxHashMap<TenantNo, Standing>,
    asked_above: FxHashMap<(TenantNo, UserNo), Thresholds>,
}

/// The rules of the gate that are active, ready to be looked up in.
#[derive(Default)]
struct Gate {
    table: Table,
    rules: Vec<Arc<Rule>>,
}

struct ApiKey {
    hash: [u8; 32],
    scope: Scope,
    tenant: Option<(Key, TenantNo)>,
}

impl Config {
    /// Builds it from its rows.
    pub fn new(rows: ConfigRows) -> Config {
        let mut units = rows.units;
        units.sort_by(|a, b| a.unit.code.cmp(&b.unit.code));
        let mut actions = rows.actions;
        actions.sort_by(|a, b| a.action.key.cmp(&b.action.key));
        let catalogue = Catalogue::new(
            units.iter().map(|row| row.unit.clone()),
            actions.iter().map(|row| row.action.clone()),
        )
        .with_tenant_prices(rows.tenant_prices)
        .with_discounts(rows.discounts)
        .with_limits(rows.limits);
        let keys = rows.api_keys.into_iter().filter(|row| row.revoked_at.is_none()).filter_map(|row| {
            let scope = Scope::parse(&row.scope)?;
            Some((row.no, ApiKey { hash: row.hash, scope, tenant: row.tenant }))
        });
        let gate_rules: Vec<Arc<Rule>> = rows.gate_rules.into_iter().map(Arc::new).collect();
        Config {
            epoch: rows.epoch,
            catalogue: Arc::new(catalogue),
            keys: keys.collect(),
            asked_above: rows
                .preferences
                .into_iter()
                .map(|row| ((row.tenant, row.user), row.confirm_above))
                .collect(),
            standings: rows.standings.into_iter().collect(),
            gate: Gate::new(&gate_rules),
            gate_rules,
            units,
            actions,
        }
    }

    /// The rule of the gate that a request falls under, if there is one.
    ///
    /// # Errors
    /// What of the request cannot be read.
    pub fn gate_rule(&self, host: &str, path: &str, method: &str) -> Result<Option<Arc<Rule>>, Unreadable> {
        Ok(self.gate.table.find(host, path, method)?.map(|place| self.gate.rules[place].clone()))
    }

    /// Whether the tenant may spend.
    pub fn standing(&self, tenant: TenantNo) -> Standing {
        self.standings.get(&tenant).copied().unwrap_or_default()
    }

    /// Above which costs a user wants to be asked first; none where it never said.
    pub fn asked_above(&self, tenant: TenantNo, user: UserNo) -> Option<&Thresholds> {
        self.asked_above.get(&(tenant, user))
    }

    /// How many users said so.
    pub fn users_asked(&self) -> usize {
        self.asked_above.len()
    }

    /// Whether the key with this number is in force.
    pub fn has_key(&self, no: u64) -> bool {
        self.keys.contains_key(&no)
    }

    /// The caller behind a key's number and the hash of its text, compared in constant time.
    pub fn caller(&self, no: u64, hash: &[u8; 32]) -> Option<Caller> {
        use subtle::ConstantTimeEq;
        let key = self.keys.get(&no)?;
        let same: bool = key.hash.ct_eq(hash).into();
        same.then(|| Caller { key_no: no, scope: key.scope, tenant: key.tenant.clone() })
    }
}

impl Gate {
    fn new(rules: &[Arc<Rule>]) -> Gate {
        let rules: Vec<Arc<Rule>> = rules.iter().filter(|rule| rule.active).cloned().collect();
        let table = Table::new(rules.iter().map(|rule| (rule.pattern.clone(), rule.priority)).collect());
        Gate { table, rules }
    }
}

/// The configuration in force, shared.
#[derive(Clone, Default)]
pub struct SharedConfig {
    current: Arc<RwLock<Arc<Config>>>,
}

impl SharedConfig {
    /// The one in force.
    pub fn get(&self) -> Arc<Config> {
        self.current.read().clone()
    }

    /// Puts another one in force, unless a newer one is: several threads read it, and the slowest must not have the last
    /// word. Answers the one that is in force then.
    pub fn set(&self, config: Config) -> Arc<Config> {
        let mut current = self.current.write();
        if config.epoch >= current.epoch {
            *current = Arc::new(config);
        }
        current.clone()
    }
}
