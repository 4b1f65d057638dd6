//! The cold tables: identity, catalogue, keys and the audit trail. One file per table or pair of tables, SQL on top.
//!
//! Cold rows are written as bounded jobs through the one writer, in batches of their own; they are read back through
//! [`ConfigRows`] as a whole, whenever the configuration's epoch moved.

mod action;
mod api_key;
mod audit;
mod price;
mod secret;
mod tenant;
mod unit;

pub use action::{ActionRow, NewAction};
pub use api_key::{ApiKeyRow, NewApiKey};
pub use audit::AuditRow;
pub use tenant::{FreshNumbers, Names};
pub use unit::UnitRow;

pub(crate) use action::read_actions;
pub(crate) use api_key::read_api_keys;
pub(crate) use audit::read_audit;
pub(crate) use tenant::{names, read_standings, resolve_tenant, resolve_user};
pub(crate) use unit::read_units;

use crate::dialect::statements;
use crate::error::StoreError;
use crate::hot::Batch;
use purser_core::TenantNo;
use purser_core::decide::Standing;
use rusqlite::Connection;

statements! {
    BUMP_CONFIG_EPOCH = "UPDATE config_epoch SET epoch = epoch + 1 WHERE one = 1";
    CONFIG_EPOCH = "SELECT epoch FROM config_epoch WHERE one = 1";
}

/// The statements of all cold tables.
#[cfg(test)]
pub(crate) const ALL: [&[(&str, &str)]; 8] = [
    STATEMENTS,
    action::STATEMENTS,
    api_key::STATEMENTS,
    audit::STATEMENTS,
    price::STATEMENTS,
    secret::STATEMENTS,
    tenant::STATEMENTS,
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
    /// API keys that are not revoked.
    pub api_keys: Vec<ApiKeyRow>,
    /// Tenants that may not do everything.
    pub standings: Vec<(TenantNo, Standing)>,
}

/// Reads everything that is configured; in one snapshot, so that it is of one epoch.
pub(crate) fn read_config(connection: &Connection) -> Result<ConfigRows, StoreError> {
    let epoch: i64 = connection.prepare_cached(CONFIG_EPOCH)?.query_row([], |row| row.get(0))?;
    let mut api_keys = read_api_keys(connection)?;
    api_keys.retain(|key| key.revoked_at.is_none());
    Ok(ConfigRows {
        epoch: epoch as u64,
        units: read_units(connection)?,
        actions: read_actions(connection)?,
        api_keys,
        standings: read_standings(connection)?,
    })
}

impl Batch<'_> {
    /// Everything that is configured, as this transaction sees it.
    pub fn config(&self) -> Result<ConfigRows, StoreError> {
        read_config(self.connection)
    }

    /// Moves the configuration's epoch; answers the new one.
    pub fn bump_config_epoch(&mut self) -> Result<u64, StoreError> {
        self.connection.prepare_cached(BUMP_CONFIG_EPOCH)?.execute([])?;
        self.config_epoch()
    }
}
