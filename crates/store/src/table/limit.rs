//! Limits on what tenants use. What counts against them is kept apart (`hot`), and stays when one is changed or removed.

use super::catalogue::lock_config;
use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{id, int, key, number, small};
use purser_core::counter::Period;
use purser_core::limit::{Limit, Whose};
use purser_core::{Amount, Id, TenantNo, Timestamp, UserNo};

statements! {
    INSERT_LIMIT = "
        INSERT INTO limit_rule (limit_id, tenant_no, whose, user_no, action_no, unit_code, amount, period, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    DELETE_LIMIT = "DELETE FROM limit_rule WHERE limit_id = ?1";
    LIMITS = "
        SELECT limit_id, tenant_no, whose, user_no, action_no, unit_code, amount, period
          FROM limit_rule ORDER BY limit_id";
}

/// All of them.
pub(super) fn read_limits(session: Session<'_>) -> Result<Vec<Limit>, StoreError> {
    session.all(LIMITS, &[], |row| {
        let limit_id = id(row, 0)?;
        let wrong = |what: &str| StoreError::inconsistent("limit_rule", limit_id, what);
        let user = row.int(3)?.map(|no| UserNo(no as u64));
        let whose = match (int(row, 2)?, user) {
            (1, None) => Whose::Everybody,
            (2, None) => Whose::Each,
            (3, Some(user)) => Whose::User(user),
            _ => return Err(wrong("nobody knows whose usage it counts")),
        };
        let period = Period::from_number(small(row, 7)?).ok_or_else(|| wrong("its period is unknown"))?;
        Ok(Limit {
            id: limit_id,
            tenant: TenantNo(number(row, 1)?),
            whose,
            action: row.int(4)?.map(|no| no as u64),
            unit: key(row, 5)?,
            amount: Amount(int(row, 6)?),
            period,
        })
    })
}

impl Batch<'_> {
    /// The limits of a tenant as they are, whatever a node remembers; they stay so until the batch ends.
    pub fn limits_of(&mut self, tenant: TenantNo) -> Result<Vec<Limit>, StoreError> {
        lock_config(self.session())?;
        let mut limits = read_limits(self.session())?;
        limits.retain(|limit| limit.tenant == tenant);
        Ok(limits)
    }

    /// Adds a limit, in the place of one with the same id.
    pub fn set_limit(&mut self, limit: &Limit, now: Timestamp) -> Result<(), StoreError> {
        self.delete_limit(limit.id)?;
        let (whose, user) = match limit.whose {
            Whose::Everybody => (1_u8, None),
            Whose::Each => (2, None),
            Whose::User(user) => (3, Some(user.0 as i64)),
        };
        let id = limit.id.to_bytes();
        let values = values![
            &id,
            limit.tenant.0,
            whose,
            user,
            limit.action.map(|no| no as i64),
            limit.unit.as_str(),
            limit.amount.0,
            limit.period as u8,
            now.0
        ];
        self.session().execute(INSERT_LIMIT, values).map(|_| ())
    }

    /// Removes a limit. What counted against it stays counted.
    pub fn delete_limit(&mut self, limit: Id) -> Result<(), StoreError> {
        self.session().execute(DELETE_LIMIT, values![&limit.to_bytes()]).map(|_| ())
    }
}
