//! API keys: a hash of the secret, what it may do, and whose it is. The secret itself is never here.

use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{array, int, key_option, number, text};
use purser_core::{Key, TenantNo, Timestamp};

statements! {
    INSERT_API_KEY = "
        INSERT INTO api_key (key_no, hash, name, scope, tenant_no, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    REVOKE_API_KEY = "UPDATE api_key SET revoked_at = ?2 WHERE key_no = ?1 AND revoked_at IS NULL";
    API_KEYS = "
        SELECT key_no, hash, api_key.name, scope, api_key.tenant_no, api_key.created_at, revoked_at, tenant_key
          FROM api_key LEFT JOIN tenant ON tenant.tenant_no = api_key.tenant_no
         ORDER BY api_key.created_at DESC, key_no";
}

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

/// All API keys, newest first.
pub(crate) fn read_api_keys(session: Session<'_>) -> Result<Vec<ApiKeyRow>, StoreError> {
    session.all(API_KEYS, &[], |row| {
        let no = number(row, 0)?;
        let tenant_no = row.int(4)?.map(|no| TenantNo(no as u64));
        let tenant_key = key_option(row, 7)?;
        let tenant = match (tenant_key, tenant_no) {
            (Some(key), Some(tenant)) => Some((key, tenant)),
            (None, None) => None,
            // Never read as a platform key: that would hand a tenant's key the whole platform.
            (Some(_), None) | (None, Some(_)) => {
                return Err(StoreError::inconsistent("api_key", no, "its tenant is unknown"));
            }
        };
        Ok(ApiKeyRow {
            no,
            name: text(row, 2)?,
            hash: array(row, 1)?,
            scope: text(row, 3)?,
            tenant,
            created_at: Timestamp(int(row, 5)?),
            revoked_at: row.int(6)?.map(Timestamp),
        })
    })
}

impl Batch<'_> {
    /// Inserts an API key; only its hash is kept.
    pub fn insert_api_key(&mut self, key: &NewApiKey, now: Timestamp) -> Result<(), StoreError> {
        let tenant = key.tenant.map(|tenant| tenant.0);
        let values = values![key.no, &key.hash, &key.name, &key.scope, tenant, now.0];
        self.session().execute(INSERT_API_KEY, values).map(|_| ())
    }

    /// Revokes an API key; false when there is none that is not revoked.
    pub fn revoke_api_key(&mut self, no: u64, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.session().execute(REVOKE_API_KEY, values![no, now.0])? == 1)
    }
}
