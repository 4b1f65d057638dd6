//! The cold tables.

use purser_core::catalogue::{Action, Unit};
use purser_core::decide::Standing;
use purser_core::entry::Actor;
use purser_core::{Key, TenantNo, Timestamp, UserNo};

/// Numbers for a tenant and a user that may have to be made.
#[derive(Clone, Copy, Debug)]
pub struct FreshNumbers {
    /// For the tenant.
    pub tenant: TenantNo,
    /// For the user.
    pub user: UserNo,
}

/// A unit with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitRow {
    /// The unit.
    pub unit: Unit,
    /// What people call it.
    pub name: String,
}

/// An action with what the catalogue says beside its prices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActionRow {
    /// Number, key, overage, units and prices.
    pub action: Action,
    /// What people call it.
    pub name: String,
    /// What one of it is.
    pub unit_label: Option<String>,
    /// One paragraph.
    pub description: Option<String>,
    /// For grouping.
    pub category: Option<String>,
}

/// A new action is written as it will be read.
pub type NewAction = ActionRow;

/// An API key to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewApiKey {
    /// The actor number of what it does.
    pub no: u64,
    /// What people call it.
    pub name: String,
    /// The hash of its secret.
    pub hash: [u8; 32],
    /// What it may do, by name.
    pub scope: String,
    /// The tenant whose key it is; none for a platform key.
    pub tenant: Option<TenantNo>,
}

/// A stored API key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKeyRow {
    /// The actor number of what it does.
    pub no: u64,
    /// What people call it.
    pub name: String,
    /// The hash of its secret.
    pub hash: [u8; 32],
    /// What it may do, by name.
    pub scope: String,
    /// The tenant whose key it is; none for a platform key.
    pub tenant: Option<(Key, TenantNo)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A line of the audit trail: an administrative change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRow {
    /// Who.
    pub actor: Actor,
    /// What was done, such as `action.create`.
    pub what: String,
    /// To what: a key or public id.
    pub subject: String,
    /// How it was before, as compact JSON.
    pub before: Option<String>,
    /// How it is after, as compact JSON.
    pub after: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Everything that is configured: what a node caches.
#[derive(Clone, Debug, Default)]
pub struct ConfigRows {
    /// The epoch these rows belong to.
    pub epoch: u64,
    /// Units beside `credit`, and `credit` itself.
    pub units: Vec<UnitRow>,
    /// Actions with all price versions.
    pub actions: Vec<ActionRow>,
    /// API keys that are not revoked.
    pub api_keys: Vec<ApiKeyRow>,
    /// Tenants that may not do everything.
    pub standings: Vec<(TenantNo, Standing)>,
}
