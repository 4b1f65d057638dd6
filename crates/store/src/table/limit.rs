//! Limits on what tenants use. What counts against them is kept apart (`hot`), and stays when one is changed or removed.

use super::catalogue::lock_config;
use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{id, int, key, number, small, text_option};
use purser_core::counter::Period;
use purser_core::limit::{Limit, Whose};
use purser_core::{Amount, Id, TenantNo, Timestamp, UserNo};

statements! {
    INSERT_LIMIT = "
        INSERT INTO limit_rule (limit_id, tenant_no, whose, user_no, action_no, unit_code, amount, period, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    INSERT_ALERT = "INSERT INTO limit_alert (limit_id, alert_at, enforced) VALUES (?1, ?2, ?3)";
    DELETE_LIMIT = "DELETE FROM limit_rule WHERE limit_id = ?1";
    DELETE_ALERT = "DELETE FROM limit_alert WHERE limit_id = ?1";
    LIMITS = "
        SELECT limit_rule.limit_id, tenant_no, whose, user_no, action_no, unit_code, amount, period, alert_at, enforced
          FROM limit_rule LEFT JOIN limit_alert ON limit_alert.limit_id = limit_rule.limit_id ORDER BY limit_rule.limit_id";
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
            enforced: row.int(9)?.is_none_or(|enforced| enforced != 0),
            alert_at: percents_from(text_option(row, 8)?.as_deref())
                .ok_or_else(|| wrong("the shares that it tells of cannot be read"))?,
        })
    })
}

/// Percents as one text.
fn percents_text(percents: &[u8]) -> String {
    percents.iter().map(u8::to_string).collect::<Vec<_>>().join(" ")
}

/// The same read back; none when it is not what was written.
fn percents_from(text: Option<&str>) -> Option<Vec<u8>> {
    text.unwrap_or_default().split_terminator(' ').map(|percent| percent.parse().ok()).collect()
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
        self.session().execute(INSERT_LIMIT, values)?;
        if limit.enforced && limit.alert_at.is_empty() {
            return Ok(());
        }
        let alert_at = percents_text(&limit.alert_at);
        self.session().execute(INSERT_ALERT, values![&id, alert_at.as_str(), limit.enforced]).map(|_| ())
    }

    /// Removes a limit. What counted against it stays counted.
    pub fn delete_limit(&mut self, limit: Id) -> Result<(), StoreError> {
        let id = limit.to_bytes();
        self.session().execute(DELETE_ALERT, values![&id])?;
        self.session().execute(DELETE_LIMIT, values![&id]).map(|_| ())
    }
}
