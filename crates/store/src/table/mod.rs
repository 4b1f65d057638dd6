//! The cold tables: identity, catalogue, keys and the audit trail. One file per table or pair of tables, SQL on top.
//!
//! Cold rows are written as bounded jobs through a writer, in batches of their own; they are read back through
//! [`ConfigRows`] as a whole, whenever the configuration's epoch moved.

mod action;
mod api_key;
mod audit;
mod catalogue;
mod gate_rule;
mod ledger_id;
mod limit;
mod preference;
mod price;
mod refusal;
mod secret;
mod tenant;
mod tenant_discount;
mod tenant_price;
mod unit;

pub use action::{ActionRow, NewAction};
pub use api_key::{ApiKeyRow, NewApiKey};
pub use audit::AuditRow;
pub use catalogue::CatalogueChange;
pub use preference::PreferenceRow;
pub(crate) use refusal::prune_refusals;
pub use refusal::{RefusalFilter, RefusalKey, RefusalRow};
pub use tenant::{FreshNumbers, Names};
pub use unit::UnitRow;

pub(crate) use action::read_actions;
pub(crate) use api_key::read_api_keys;
pub(crate) use audit::read_audit;
pub(crate) use tenant::{names, personal_user, read_standings, resolve_tenant, resolve_user};
pub(crate) use unit::read_units;

use crate::dialect::statements;
use crate::driver::Session;
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::number;
use purser_core::TenantNo;
use purser_core::catalogue::{TenantDiscount, TenantPrice};
use purser_core::decide::Standing;
use purser_core::gate::Rule;
use purser_core::limit::Limit;

statements! {
    BUMP_CONFIG_EPOCH = "UPDATE config_epoch SET epoch = epoch + 1 WHERE one = 1";
    CONFIG_EPOCH = "SELECT epoch FROM config_epoch WHERE one = 1";
}

/// The statements of all cold tables.
#[cfg(test)]
pub(crate) const ALL: [&[(&str, &str)]; 16] = [
    STATEMENTS,
    action::STATEMENTS,
    api_key::STATEMENTS,
    audit::STATEMENTS,
    catalogue::STATEMENTS,
    gate_rule::STATEMENTS,
    ledger_id::STATEMENTS,
    limit::STATEMENTS,
    preference::STATEMENTS,
    price::STATEMENTS,
    refusal::STATEMENTS,
    secret::STATEMENTS,
    tenant::STATEMENTS,
    tenant_discount::STATEMENTS,
    tenant_price::STATEMENTS,
    unit::STATEMENTS,
];

/// Everything that is configured: what a node caches.
#[derive(Clone, Debug, Default)]
pub struct ConfigRows {
    /// The epoch these rows belong to.
    pub epoch: u64,
    /// All units, `credit` among them.
    pub units: Vec<UnitRow>,
    /// Actions with all price versions.
    pub actions: Vec<ActionRow>,
    /// Price versions that tenants have for themselves.
    pub tenant_prices: Vec<TenantPrice>,
    /// What tenants have taken off.
    pub discounts: Vec<TenantDiscount>,
    /// Limits on what tenants use.
    pub limits: Vec<Limit>,
    /// What users prefer.
    pub preferences: Vec<PreferenceRow>,
    /// API keys that are not revoked.
    pub api_keys: Vec<ApiKeyRow>,
    /// Rules of the gate, by key.
    pub gate_rules: Vec<Rule>,
    /// Tenants that may not do everything.
    pub standings: Vec<(TenantNo, Standing)>,
}

/// How often the configuration is read again while it moves.
const READS_MAX: usize = 4;

/// Reads everything that is configured, of one epoch: where each statement sees what is committed by then, it is read again while
/// it moves. At worst it carries an epoch that is over, and is loaded again soon.
pub(crate) fn read_config(session: Session<'_>) -> Result<ConfigRows, StoreError> {
    let mut rows = read_config_once(session)?;
    for _ in 1..READS_MAX {
        if read_config_epoch(session)? == rows.epoch {
            break;
        }
        rows = read_config_once(session)?;
    }
    Ok(rows)
}

fn read_config_once(session: Session<'_>) -> Result<ConfigRows, StoreError> {
    let epoch = read_config_epoch(session)?;
    let mut api_keys = read_api_keys(session)?;
    api_keys.retain(|key| key.revoked_at.is_none());
    Ok(ConfigRows {
        epoch,
        units: read_units(session)?,
        actions: read_actions(session)?,
        tenant_prices: tenant_price::read_tenant_prices(session)?,
        discounts: tenant_discount::read_discounts(session)?,
        limits: limit::read_limits(session)?,
        preferences: preference::read_preferences(session)?,
        api_keys,
        gate_rules: gate_rule::read_gate_rules(session)?,
        standings: read_standings(session)?,
    })
}

impl Batch<'_> {
    /// Everything that is configured, as this transaction sees it.
    pub fn config(&self) -> Result<ConfigRows, StoreError> {
        read_config(self.session())
    }

    /// Moves the configuration's epoch; answers the new one.
    pub fn bump_config_epoch(&mut self) -> Result<u64, StoreError> {
        self.session().execute(BUMP_CONFIG_EPOCH, &[])?;
        read_config_epoch(self.session())
    }
}

/// The epoch of the configuration in force.
pub(crate) fn read_config_epoch(session: Session<'_>) -> Result<u64, StoreError> {
    session.one(CONFIG_EPOCH, &[], |row| number(row, 0))
}
