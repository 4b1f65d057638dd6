//! What happened, as it is told to others: the outbox, by writer and within each in the order of its commits.
//!
//! Readers keep one position for each slot and read up to the heads of one snapshot: what stands below a head is all there, and
//! nothing is added there later. Of one wallet the order is that of its entries.

use super::Reader;
use crate::dialect::statements;
use crate::driver::{Columns, values};
use crate::error::StoreError;
use crate::hot::recording::told;
use crate::hot::rows::{int, number, position, wallet_key};
use crate::position::{Heads, Position};
use purser_core::wallet::Fall;
use purser_core::{EntryKind, Timestamp, UserNo, WalletKey};

statements! {
    /// The first entry of a row stands at its position; its wallet has a row since before that.
    ANNOUNCED = "
        SELECT outbox.position, outbox.tenant_no, outbox.wallet_id, outbox.event, outbox.first_seq, outbox.entries,
               entry.recorded_at, wallet.owner_kind, wallet.owner_no
          FROM outbox JOIN entry ON entry.position = outbox.position AND entry.tenant_no = outbox.tenant_no
          JOIN wallet ON wallet.tenant_no = outbox.tenant_no AND wallet.wallet_id = outbox.wallet_id
         WHERE outbox.position > ?1 AND outbox.position <= ?2 ORDER BY outbox.position LIMIT ?3";
}

/// What one decision did to one wallet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Where it stands.
    pub position: Position,
    /// The wallet.
    pub wallet: WalletKey,
    /// The user whose wallet it is; none for a pool.
    pub user: Option<UserNo>,
    /// What was asked for.
    pub kind: EntryKind,
    /// The thresholds that it fell below.
    pub fall: Fall,
    /// The seq of its first entry there.
    pub first_seq: u64,
    /// How many entries it made there.
    pub entries: u64,
    /// When they were recorded.
    pub recorded_at: Timestamp,
}

impl Reader<'_> {
    /// At most `limit` rows behind `after`, and how far they reach: up to the heads where there are no more.
    pub fn announced(&self, after: &Heads, limit: usize) -> Result<(Vec<Announced>, Heads), StoreError> {
        let (heads, mut reached) = (self.heads()?, after.clone());
        let mut rows: Vec<Announced> = Vec::new();
        for head in heads.written() {
            let (from, room) = (after.of(head.slot()), limit - rows.len());
            if room == 0 || from >= head {
                continue;
            }
            let found =
                self.session.all(ANNOUNCED, values![from.to_sql(), head.to_sql(), room], read_announced)?;
            // Answers that moved nothing take positions, too.
            let last = if found.len() < room { Some(head) } else { found.last().map(|row| row.position) };
            reached.set(last.unwrap_or(from));
            rows.extend(found);
        }
        Ok((rows, reached))
    }
}

fn read_announced(row: &dyn Columns) -> Result<Announced, StoreError> {
    let position = position(row, 0)?;
    let (kind, fall) = told(int(row, 3)?)
        .ok_or_else(|| StoreError::inconsistent("outbox", position, "it announces an unknown event"))?;
    Ok(Announced {
        position,
        wallet: wallet_key(row, 1)?,
        user: (int(row, 7)? == 1).then_some(UserNo(number(row, 8)?)),
        kind,
        fall,
        first_seq: number(row, 4)?,
        entries: number(row, 5)?,
        recorded_at: Timestamp(int(row, 6)?),
    })
}
