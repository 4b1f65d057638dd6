//! The audit trail: administrative changes, append-only, numbered by slot 0.

use crate::dialect::statements;
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::load::all;
use crate::hot::rows::number;
use crate::position::Position;
use purser_core::Timestamp;
use purser_core::entry::{Actor, ActorKind};
use rusqlite::{Connection, params};

statements! {
    NEXT_COLD = "UPDATE slot SET seq = seq + 1 WHERE slot = 0";
    COLD_SEQ = "SELECT seq FROM slot WHERE slot = 0";
    INSERT_AUDIT = "
        INSERT INTO audit (position, actor_kind, actor_no, what, subject, before_json, after_json, reason, at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    AUDIT = "
        SELECT position, actor_kind, actor_no, what, subject, before_json, after_json, reason, at
          FROM audit WHERE position < ?1 ORDER BY position DESC LIMIT ?2";
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

/// Lines of the audit trail, newest first, below `before`.
pub(crate) fn read_audit(
    connection: &Connection,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<(Position, AuditRow)>, StoreError> {
    let before = before.map_or(i64::MAX, Position::to_sql);
    all(connection, AUDIT, params![before, limit as i64], |row| {
        let position = Position::from_sql(row.get(0)?);
        let kind = ActorKind::from_number(row.get(1)?)
            .ok_or_else(|| StoreError::inconsistent("audit", position, "its actor is unknown"))?;
        let line = AuditRow {
            actor: Actor { kind, no: number(row, 2)? },
            what: row.get(3)?,
            subject: row.get(4)?,
            before: row.get(5)?,
            after: row.get(6)?,
            reason: row.get(7)?,
            at: Timestamp(row.get(8)?),
        };
        Ok((position, line))
    })
}

impl Batch<'_> {
    /// Appends a line to the audit trail.
    pub fn insert_audit(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        self.connection.prepare_cached(NEXT_COLD)?.execute([])?;
        let seq = self.connection.prepare_cached(COLD_SEQ)?.query_row([], |row| number(row, 0))?;
        self.connection.prepare_cached(INSERT_AUDIT)?.execute(params![
            Position::new(0, seq).to_sql(),
            row.actor.kind as u8,
            row.actor.no as i64,
            row.what,
            row.subject,
            row.before,
            row.after,
            row.reason,
            row.at.0
        ])?;
        Ok(())
    }
}
