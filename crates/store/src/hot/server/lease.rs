//! The slot that a writer leases: where its positions come from, and what tells it that it was replaced.
//!
//! A slot is free when its lease has ended. Whoever takes it raises its epoch; a writer that finds another epoch on the row
//! it locks has lost the slot and takes a new one. Time is the database's own, so that nodes need not agree on it.

use super::super::rows::{flag, int, number, small};
use super::keeper::begin_writing;
use crate::dialect::{Dialect, statements};
use crate::driver::{Columns, Session, values};
use crate::error::StoreError;
use crate::transport;

statements! {
    /// Whoever is about to take the same one is passed over.
    FREE_SLOT = "
        SELECT slot, epoch, seq FROM slot WHERE slot > 0 AND leased_until < ?1
         ORDER BY slot LIMIT 1 FOR UPDATE SKIP LOCKED";
    TAKE_SLOT = "UPDATE slot SET epoch = epoch + 1, leased_until = ?2 WHERE slot = ?1";
    WITHOUT_LEAD = "SELECT COUNT(*) FROM meta WHERE name = 'answers_without_lead' AND value > 0";
    GIVE_BACK = "UPDATE slot SET leased_until = 0 WHERE slot = ?1 AND epoch = ?2";
}

/// How long a slot stays leased after its writer's last batch, in microseconds. A writer that has nothing to write renews it
/// well before.
const LEASE: i64 = 60 * 1_000_000;

/// A leased slot.
pub(super) struct Lease {
    pub(super) slot: u8,
    pub(super) epoch: i64,
    /// The last sequence that was committed.
    pub(super) seq: u64,
    /// Whether some answers may be stored without the lead of their key: they came from an embedded database. No others come
    /// while somebody has a lease.
    pub(super) without_lead: bool,
}

/// What a commit writes to the slot's row.
pub(super) struct Seal {
    pub(super) slot: u8,
    pub(super) epoch: i64,
    pub(super) seq: u64,
    pub(super) leased_until: i64,
}

impl Lease {
    /// Takes a free slot.
    pub(super) fn take(session: Session<'_>) -> Result<Lease, StoreError> {
        begin_writing(session)?;
        transport::refuse_unfinished(session)?;
        let now = now(session)?;
        let without_lead = session.one(WITHOUT_LEAD, &[], |row| flag(row, 0))?;
        let read = |row: &dyn Columns| {
            Ok(Lease { slot: small(row, 0)?, epoch: int(row, 1)? + 1, seq: number(row, 2)?, without_lead })
        };
        let full =
            || StoreError::Locked { what: "all 63 slots of writers are leased; stop a node first".into() };
        let lease = session.first(FREE_SLOT, values![now], read)?.ok_or_else(full)?;
        session.execute(TAKE_SLOT, values![lease.slot, now + LEASE])?;
        session.script("COMMIT")?;
        Ok(lease)
    }

    /// What the row says after a batch that took sequences up to `seq` and began at `now`.
    pub(super) fn seal(&self, seq: u64, now: i64) -> Seal {
        Seal { slot: self.slot, epoch: self.epoch, seq, leased_until: now + LEASE }
    }

    /// Frees the slot.
    pub(super) fn give_back(&self, session: Session<'_>) -> Result<(), StoreError> {
        session.execute(GIVE_BACK, values![self.slot, self.epoch]).map(|_| ())
    }
}

/// The database's time, in microseconds since 1970.
pub(crate) fn now(session: Session<'_>) -> Result<i64, StoreError> {
    const POSTGRES: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
    // UNIX_TIMESTAMP follows the session's zone back, so the zone plays no part.
    const MYSQL: &str = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)";
    let sql = if session.dialect() == Dialect::Mysql { MYSQL } else { POSTGRES };
    session.one(sql, &[], |row| int(row, 0))
}

/// What a writer hears whose slot has another epoch than its own.
pub(super) fn taken_over() -> StoreError {
    StoreError::Locked { what: "another writer took over the slot".into() }
}
