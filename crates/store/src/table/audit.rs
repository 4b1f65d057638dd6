//! The audit trail: administrative changes, append-only, numbered by slot 0.

use crate::dialect::statements;
use crate::driver::bulk::{Cell, Kind, Row, Shape};
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{int, number, position, small, text, text_option};
use crate::position::Position;
use purser_core::Timestamp;
use purser_core::entry::{Actor, ActorKind};

statements! {
    NEXT_COLD = "UPDATE slot SET seq = seq + 1 WHERE slot = 0";
    NEXT_COLD_BY = "UPDATE slot SET seq = seq + ?1 WHERE slot = 0";
    COLD_SEQ = "SELECT seq FROM slot WHERE slot = 0";
    INSERT_AUDIT = "
        INSERT INTO audit (position, actor_kind, actor_no, what, subject, before_json, after_json, reason, at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    AUDIT = "
        SELECT position, actor_kind, actor_no, what, subject, before_json, after_json, reason, at
          FROM audit WHERE position < ?1 ORDER BY position DESC LIMIT ?2";
}

const AUDIT_LINE: Shape = Shape {
    table: "audit",
    columns: &[
        ("position", Kind::Int),
        ("actor_kind", Kind::Int),
        ("actor_no", Kind::Int),
        ("what", Kind::Text),
        ("subject", Kind::Text),
        ("before_json", Kind::Text),
        ("after_json", Kind::Text),
        ("reason", Kind::Text),
        ("at", Kind::Int),
    ],
};

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
    session: Session<'_>,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<(Position, AuditRow)>, StoreError> {
    let before = before.map_or(i64::MAX, Position::to_sql);
    session.all(AUDIT, values![before, limit], |row| {
        let place = position(row, 0)?;
        let kind = ActorKind::from_number(small(row, 1)?)
            .ok_or_else(|| StoreError::inconsistent("audit", place, "its actor is unknown"))?;
        let line = AuditRow {
            actor: Actor { kind, no: number(row, 2)? },
            what: text(row, 3)?,
            subject: text(row, 4)?,
            before: text_option(row, 5)?,
            after: text_option(row, 6)?,
            reason: text_option(row, 7)?,
            at: Timestamp(int(row, 8)?),
        };
        Ok((place, line))
    })
}

/// Appends lines to the audit trail, in their order, many at a time.
pub(super) fn insert_audit_rows(session: Session<'_>, rows: &[AuditRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    session.execute(NEXT_COLD_BY, values![rows.len()])?;
    let last = session.one(COLD_SEQ, &[], |row| number(row, 0))?;
    let first = last - (rows.len() as u64 - 1);
    let text = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Text);
    let line = |(seq, row): (u64, &AuditRow)| {
        vec![
            Cell::Int(Position::new(0, seq).to_sql()),
            Cell::Int(row.actor.kind as i64),
            Cell::Int(row.actor.no as i64),
            Cell::Text(row.what.clone()),
            Cell::Text(row.subject.clone()),
            text(&row.before),
            text(&row.after),
            text(&row.reason),
            Cell::Int(row.at.0),
        ]
    };
    let lines: Vec<Row> = (first..).zip(rows).map(line).collect();
    session.insert_rows(&AUDIT_LINE, &lines)
}

impl Batch<'_> {
    /// Appends a line to the audit trail.
    pub fn insert_audit(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        let session = self.session();
        session.execute(NEXT_COLD, &[])?;
        let seq = session.one(COLD_SEQ, &[], |row| number(row, 0))?;
        let values = values![
            Position::new(0, seq).to_sql(),
            row.actor.kind as u8,
            row.actor.no,
            &row.what,
            &row.subject,
            row.before.as_ref(),
            row.after.as_ref(),
            row.reason.as_ref(),
            row.at.0
        ];
        session.execute(INSERT_AUDIT, values).map(|_| ())
    }
}
