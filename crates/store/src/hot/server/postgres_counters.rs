//! Counters on PostgreSQL: made where absent, locked, and added to.

use super::super::rows::read_counter;
use super::pending::Pending;
use super::postgres_call::{Call, send};
use crate::driver::postgres::{PostgresLink, classify};
use crate::error::StoreError;
use purser_core::CounterKey;
use tokio_postgres::Row;

/// A row that is not there cannot be locked: so each is made first, and whoever comes second waits here for the first.
const MAKE_COUNTERS: &str = "
    INSERT INTO counter (tenant_no, subject, rule, period_start, used)
    SELECT of_tenant, of_subject, of_rule, of_period, 0
      FROM (SELECT unnest($1) AS of_tenant, unnest($2) AS of_subject, unnest($3) AS of_rule,
                   unnest($4) AS of_period) AS asked
        ON CONFLICT (tenant_no, subject, rule, period_start) DO NOTHING";
const COUNTERS: &str = "
    SELECT counter.*
      FROM (SELECT unnest($1) AS of_tenant, unnest($2) AS of_subject, unnest($3) AS of_rule,
                   unnest($4) AS of_period) AS asked
     CROSS JOIN LATERAL (
           SELECT tenant_no, subject, rule, period_start, used FROM counter
            WHERE tenant_no = of_tenant AND subject = of_subject AND rule = of_rule AND period_start = of_period
              FOR UPDATE) AS counter";
const COUNT: &str = "
    INSERT INTO counter (tenant_no, subject, rule, period_start, used)
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5)
        ON CONFLICT (tenant_no, subject, rule, period_start) DO UPDATE SET used = counter.used + excluded.used";

/// Counters under lock, within a transaction, in the order in which every node locks them.
pub(super) fn counters(
    link: &PostgresLink,
    asked: &[CounterKey],
) -> Result<Vec<(CounterKey, i64)>, StoreError> {
    let mut answers = send(link, None, &loads(asked), None)?.into_iter();
    read(&mut || answers.next().expect("one answer for each call").map_err(|error| classify(&error)))
}

pub(super) fn loads(asked: &[CounterKey]) -> Vec<Call<'static>> {
    [MAKE_COUNTERS, COUNTERS].into_iter().map(|sql| keyed(Call::new(sql), asked.iter())).collect()
}

fn keyed<'a, 'k>(call: Call<'a>, keys: impl Iterator<Item = &'k CounterKey> + Clone) -> Call<'a> {
    call.ints(keys.clone().map(|key| key.tenant.0 as i64))
        .fixed(keys.clone().map(|key| key.subject.to_bytes()))
        .fixed(keys.clone().map(|key| key.rule.to_bytes()))
        .ints(keys.map(|key| key.period_start.0))
}

pub(super) fn read(
    next: &mut impl FnMut() -> Result<Vec<Row>, StoreError>,
) -> Result<Vec<(CounterKey, i64)>, StoreError> {
    // The answer to making them.
    next()?;
    next()?.iter().map(|row| read_counter(row)).collect()
}

/// Adds what a batch counts; nothing where it counts nothing.
pub(super) fn counts(pending: &Pending) -> Option<Call<'_>> {
    let counts = pending.counts_in_lock_order();
    let call = keyed(Call::new(COUNT), counts.iter().map(|(key, _)| key));
    (!counts.is_empty()).then(|| call.ints(counts.iter().map(|(_, change)| *change)))
}
