//! What was charged since an instant: the debits and captures of the ledger, read in small pieces beside the funnel.
//!
//! Times have no index. Within a slot entries are recorded in the order of their positions, so the place where a time begins is
//! found by halving; wallets that another node wrote last may be some seconds ahead, which [`SLACK`] allows for.

use super::Reader;
use crate::dialect::statements;
use crate::driver::{Columns, values};
use crate::error::StoreError;
use crate::hot::rows::{bytes, int, number, position, small};
use crate::position::Position;
use purser_core::codec::decode_terms;
use purser_core::entry::Charge;
use purser_core::time::SECOND;
use purser_core::{EntryKind, TenantNo, Terms, Timestamp, UserNo};

statements! {
    FIRST_BEHIND = "
        SELECT position, recorded_at FROM entry WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT 1";
    /// Every kind is read, so that a page is a bounded piece of the table whatever is in it.
    CHARGES = "
        SELECT position, kind, tenant_no, user_no, recorded_at, terms FROM entry
         WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3";
    NEWEST_CHARGES = "
        SELECT position, kind, tenant_no, user_no, recorded_at, terms FROM entry
         WHERE position > ?1 AND position <= ?2 ORDER BY position DESC LIMIT ?3";
}

/// By how much an entry may be recorded before one that stands in front of it in its slot, in microseconds.
const SLACK: i64 = 120 * SECOND;

/// A debit or capture, as far as what it cost depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charged {
    /// Who paid.
    pub tenant: TenantNo,
    /// Who consumed.
    pub user: Option<UserNo>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What was consumed and what it cost.
    pub charge: Charge,
    /// Whether a hold was captured.
    pub captured: bool,
}

/// A piece of one slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChargedPage {
    /// The debits and captures in it, in the order in which it was read.
    pub charged: Vec<Charged>,
    /// The last entry that was read, to go on behind; none at the end.
    pub last: Option<Position>,
}

impl Reader<'_> {
    /// A position of the slot of `head` behind which everything up to `head` stands that was recorded at `since` or later,
    /// and little else.
    pub fn before_time(&self, head: Position, since: Timestamp) -> Result<Position, StoreError> {
        let since = Timestamp(since.0.saturating_sub(SLACK));
        let place = |row: &dyn Columns| Ok((position(row, 0)?, Timestamp(int(row, 1)?)));
        let (mut low, mut high) = (0, head.seq());
        // Everything up to `low` is older; the first entry behind `high` is not, or there is none.
        while low < high {
            let middle = low + (high - low) / 2;
            let bounds = values![head.at(middle).to_sql(), head.to_sql()];
            match self.session.first(FIRST_BEHIND, bounds, place)? {
                Some((found, recorded_at)) if recorded_at < since => low = found.seq(),
                Some(_) | None => high = middle,
            }
        }
        Ok(head.at(low))
    }

    /// The debits and captures among the next `limit` entries of a slot, behind `after` and not behind `until`.
    pub fn charged(&self, after: Position, until: Position, limit: usize) -> Result<ChargedPage, StoreError> {
        let rows = self.session.all(CHARGES, values![after.to_sql(), until.to_sql(), limit], read)?;
        Ok(page(rows, limit))
    }

    /// The debits and captures among the last `limit` entries of a slot up to `until`, newest first.
    pub fn newest_charged(&self, until: Position, limit: usize) -> Result<ChargedPage, StoreError> {
        let bounds = values![until.at(0).to_sql(), until.to_sql(), limit];
        let rows = self.session.all(NEWEST_CHARGES, bounds, read)?;
        Ok(page(rows, limit))
    }
}

fn page(rows: Vec<(Position, Option<Charged>)>, limit: usize) -> ChargedPage {
    let last = rows.last().map(|(position, _)| *position).filter(|_| rows.len() == limit);
    ChargedPage { charged: rows.into_iter().filter_map(|(_, charged)| charged).collect(), last }
}

fn read(row: &dyn Columns) -> Result<(Position, Option<Charged>), StoreError> {
    let (position, kind) = (position(row, 0)?, small::<u8>(row, 1)?);
    let captured = match EntryKind::from_number(kind) {
        Some(EntryKind::Debit) => false,
        Some(EntryKind::Capture) => true,
        _ => return Ok((position, None)),
    };
    let unreadable = || StoreError::inconsistent("entry", position, "its terms cannot be read");
    let Ok(Terms::Charge(charge)) = decode_terms(bytes(row, 5)?) else { return Err(unreadable()) };
    let (tenant, user) = (TenantNo(number(row, 2)?), row.int(3)?.map(|no| UserNo(no as u64)));
    let recorded_at = Timestamp(int(row, 4)?);
    Ok((position, Some(Charged { tenant, user, recorded_at, charge, captured })))
}
