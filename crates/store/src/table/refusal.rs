//! How often what was asked for was refused, by quarter of an hour. Added up by every node; some may be lost.

use crate::dialect::statements;
use crate::driver::{Columns, Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{int, key, key_option, number};
use crate::query::Reader;
use purser_core::{Key, TenantNo, Timestamp};

statements! {
    ADD_REFUSALS = "
        UPDATE refusal_count SET refused = refused + ?5
         WHERE tenant_no = ?1 AND quarter = ?2 AND action_no = ?3 AND code = ?4";
    /// Another node may be first: then the transaction is made again, and finds the row.
    INSERT_REFUSALS = "
        INSERT INTO refusal_count (tenant_no, quarter, action_no, code, refused) VALUES (?1, ?2, ?3, ?4, ?5)";
    REFUSALS_OVER = "
        SELECT tenant_no, quarter, action_no, code FROM refusal_count WHERE quarter < ?1 ORDER BY quarter LIMIT ?2";
    FORGET_REFUSALS = "
        DELETE FROM refusal_count WHERE tenant_no = ?1 AND quarter = ?2 AND action_no = ?3 AND code = ?4";
    REFUSALS = "
        SELECT refusal_count.tenant_no, quarter, action_no, code, refused, kind, tenant_key
          FROM refusal_count LEFT JOIN tenant ON tenant.tenant_no = refusal_count.tenant_no
         WHERE quarter >= ?1 AND quarter < ?2 AND action_no >= ?3 AND action_no <= ?4
           AND (quarter > ?5 OR quarter = ?5 AND (refusal_count.tenant_no > ?6
                OR refusal_count.tenant_no = ?6 AND (action_no > ?7 OR action_no = ?7 AND code > ?8)))
         ORDER BY quarter, refusal_count.tenant_no, action_no, code LIMIT ?9";
    REFUSALS_OF_TENANT = "
        SELECT refusal_count.tenant_no, quarter, action_no, code, refused, kind, tenant_key
          FROM refusal_count LEFT JOIN tenant ON tenant.tenant_no = refusal_count.tenant_no
         WHERE quarter >= ?1 AND quarter < ?2 AND action_no >= ?3 AND action_no <= ?4
           AND (quarter > ?5 OR quarter = ?5 AND (action_no > ?7 OR action_no = ?7 AND code > ?8))
           AND refusal_count.tenant_no = ?6
         ORDER BY quarter, action_no, code LIMIT ?9";
}

/// What refusals are counted by, in the order of their lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RefusalKey<C> {
    /// When the quarter of an hour began.
    pub quarter: Timestamp,
    /// Whose request it was.
    pub tenant: TenantNo,
    /// The action's number.
    pub action: u64,
    /// The code of the refusal.
    pub code: C,
}

/// How often something was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusalRow {
    /// What was refused, whose it was, and when.
    pub key: RefusalKey<Key>,
    /// How often.
    pub refused: u64,
    /// The tenant's key; none for a personal one.
    pub tenant: Option<Key>,
    /// For a personal tenant, its user; none once erased.
    pub user: Option<Key>,
}

/// Which refusals to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusalFilter {
    /// Quarters that began at this instant or later.
    pub from: Timestamp,
    /// Quarters that began before this instant.
    pub to: Timestamp,
    /// Of this tenant only.
    pub tenant: Option<TenantNo>,
    /// Of this action only.
    pub action: Option<u64>,
}

/// Kind of a tenant that is an organisation.
const ORGANISATION: i64 = 1;

impl Batch<'_> {
    /// Adds to what was refused. Sorted by key, so that nodes that add at the same time do not wait for each other in a ring.
    pub fn add_refusals(&mut self, counts: &[(RefusalKey<&'static str>, u64)]) -> Result<(), StoreError> {
        for (RefusalKey { quarter, tenant, action, code }, refused) in counts {
            let values = values![tenant.0, quarter.0, *action, *code, *refused];
            if self.session().execute(ADD_REFUSALS, values)? == 0 {
                self.session().execute(INSERT_REFUSALS, values)?;
            }
        }
        Ok(())
    }
}

/// Forgets counts of quarters that began before `before`, at most so many; whether some are left.
pub(crate) fn prune_refusals(
    session: Session<'_>,
    before: Timestamp,
    budget_rows: usize,
) -> Result<bool, StoreError> {
    let read = |row: &dyn Columns| Ok((int(row, 0)?, int(row, 1)?, int(row, 2)?, key(row, 3)?));
    let over = session.all(REFUSALS_OVER, values![before.0, budget_rows], read)?;
    for (tenant, quarter, action, code) in &over {
        session.execute(FORGET_REFUSALS, values![*tenant, *quarter, *action, code.as_str()])?;
    }
    Ok(over.len() == budget_rows)
}

impl Reader<'_> {
    /// Refusals by quarter, tenant, action and code, behind `after`.
    pub fn refusals(
        &self,
        filter: &RefusalFilter,
        after: Option<&RefusalKey<Key>>,
        limit: usize,
    ) -> Result<Vec<RefusalRow>, StoreError> {
        let (first, last) = filter.action.map_or((i64::MIN, i64::MAX), |no| (no as i64, no as i64));
        let from = after.map_or(filter.from, |after| after.quarter.max(filter.from));
        // Before the first row there can be.
        let (quarter, action, code) = after
            .map_or((i64::MIN, i64::MIN, ""), |key| (key.quarter.0, key.action as i64, key.code.as_str()));
        let behind = after.map_or(i64::MIN, |key| key.tenant.0 as i64);
        let (sql, tenant) = match filter.tenant {
            Some(tenant) => (REFUSALS_OF_TENANT, tenant.0 as i64),
            None => (REFUSALS, behind),
        };
        let values = values![from.0, filter.to.0, first, last, quarter, tenant, action, code, limit];
        self.session.all(sql, values, read_refusal)
    }
}

fn read_refusal(row: &dyn Columns) -> Result<RefusalRow, StoreError> {
    let quarter = Timestamp(int(row, 1)?);
    let key = RefusalKey {
        quarter,
        tenant: TenantNo(number(row, 0)?),
        action: number(row, 2)?,
        code: key(row, 3)?,
    };
    let (kind, name) = (row.int(5)?, key_option(row, 6)?);
    let (tenant, user) = if kind == Some(ORGANISATION) { (name, None) } else { (None, name) };
    Ok(RefusalRow { key, refused: number(row, 4)?, tenant, user })
}
