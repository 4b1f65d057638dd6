//! Counters: a few that are named, or every one in the order of their keys.

use super::Reader;
use crate::dialect::statements;
use crate::driver::values;
use crate::error::StoreError;
use crate::hot::load;
use crate::hot::rows::read_counter;
use purser_core::CounterKey;

statements! {
    /// Two columns find the place in the key; of one subject there are few.
    COUNTERS = "
        SELECT tenant_no, subject, rule, period_start, used FROM counter
         WHERE (tenant_no, subject) >= (?1, ?2)
           AND (tenant_no > ?1 OR subject > ?2 OR rule > ?3 OR (rule = ?3 AND period_start > ?4))
         ORDER BY tenant_no, subject, rule, period_start LIMIT ?5";
}

impl Reader<'_> {
    /// What these counters say; those that are not there are left out.
    pub fn counters(&self, wanted: &[CounterKey]) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        load::counters(self.session, wanted)
    }

    /// All counters in the order of their keys, behind `after`.
    pub fn every_counter(
        &self,
        after: Option<CounterKey>,
        limit: usize,
    ) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        let bytes = |id: Option<purser_core::Id>| id.map_or(Vec::new(), |id| id.to_bytes().to_vec());
        let tenant = after.map_or(i64::MIN, |key| key.tenant.0 as i64);
        let (subject, rule) = (bytes(after.map(|key| key.subject)), bytes(after.map(|key| key.rule)));
        let period = after.map_or(i64::MIN, |key| key.period_start.0);
        self.session.all(COUNTERS, values![tenant, &subject, &rule, period, limit], read_counter)
    }
}
