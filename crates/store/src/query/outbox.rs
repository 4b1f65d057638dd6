//! What happened, as it is told to others: the outbox.
//!
//! Readers keep one position for each slot and read up to the heads of one snapshot: what stands below a head is all there, and
//! nothing is added there later. Several writers may write one wallet, each in its own slot; so a row is told once the entry before
//! it in its wallet has been, wherever that stands. Of all rows that are not told, the one that was committed first can always be.

use super::Reader;
use crate::dialect::statements;
use crate::driver::{Columns, values};
use crate::error::StoreError;
use crate::hot::recording::{Told, told};
use crate::hot::rows::{bytes, int, number, position, unit, wallet_key};
use crate::position::{Heads, Position};
use purser_core::catalogue::Unit;
use purser_core::codec::decode_terms;
use purser_core::counter::{Span, user_of};
use purser_core::limit::Alert;
use purser_core::wallet::Fall;
use purser_core::{EntryKind, Terms, Timestamp, UserNo, WalletKey};
use std::collections::VecDeque;

statements! {
    /// The first entry of a row stands at its position; its wallet has a row since before that.
    ANNOUNCED = "
        SELECT outbox.position, outbox.tenant_no, outbox.wallet_id, outbox.event, outbox.first_seq, outbox.entries,
               entry.recorded_at, wallet.owner_kind, wallet.owner_no, entry.prev_position, wallet.unit_code, wallet.scale
          FROM outbox JOIN entry ON entry.position = outbox.position AND entry.tenant_no = outbox.tenant_no
          JOIN wallet ON wallet.tenant_no = outbox.tenant_no AND wallet.wallet_id = outbox.wallet_id
         WHERE outbox.position > ?1 AND outbox.position <= ?2 ORDER BY outbox.position LIMIT ?3";
    TERMS = "SELECT terms FROM entry WHERE position >= ?1 AND position <= ?2 ORDER BY position";
}

/// A share of a limit that was reached, and what was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alerted {
    /// What is told.
    pub alert: Alert,
    /// The user whose usage it is; none where that of all users counts together.
    pub user: Option<UserNo>,
    /// The period.
    pub span: Span,
}

/// What one decision did to one wallet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Where it stands.
    pub position: Position,
    /// The wallet.
    pub wallet: WalletKey,
    /// What the wallet counts.
    pub unit: Unit,
    /// The user whose wallet it is; none for a pool.
    pub user: Option<UserNo>,
    /// What was asked for; none where a later version of Purser wrote what this one has no word for.
    pub kind: Option<EntryKind>,
    /// The thresholds that it fell below.
    pub fall: Fall,
    /// Whether its entries tell of limits.
    pub has_alerts: bool,
    /// The shares of limits that were reached: those that its entries tell of, as far as this version can read them.
    pub alerts: Vec<Alerted>,
    /// The seq of its first entry there.
    pub first_seq: u64,
    /// How many entries it made there.
    pub entries: u64,
    /// When they were recorded.
    pub recorded_at: Timestamp,
}

/// Rows of a slot that are read at the least, of however many there are.
const OF_A_SLOT_MIN: usize = 8;

/// The rows of a slot that are not told yet.
struct Waiting {
    /// Each with the position of the entry before it in its wallet.
    rows: VecDeque<(Announced, Position)>,
    head: Position,
    /// Whether all up to the head were read.
    whole: bool,
}

impl Reader<'_> {
    /// Of about `chunk` rows behind `after` and up to `heads`, at most `limit` that fit, and how far they reach; further than
    /// `after` unless that is at the heads.
    pub fn announced(
        &self,
        after: &Heads,
        heads: &Heads,
        chunk: usize,
        limit: usize,
        fits: impl Fn(&Announced) -> bool,
    ) -> Result<(Vec<Announced>, Heads), StoreError> {
        let news: Vec<Position> = heads.written().filter(|head| after.of(head.slot()) < *head).collect();
        let most = (chunk / news.len().max(1)).max(OF_A_SLOT_MIN).min(chunk);
        let mut waiting = Vec::with_capacity(news.len());
        for head in news {
            let bounds = values![after.of(head.slot()).to_sql(), head.to_sql(), most];
            let rows = self.session.all(ANNOUNCED, bounds, read_announced)?;
            waiting.push(Waiting { whole: rows.len() < most, rows: rows.into(), head });
        }
        let (mut told, reached) = in_order(waiting, after.clone(), limit, fits);
        for row in told.iter_mut().filter(|row| row.has_alerts) {
            row.alerts = self.alerts(row.position, row.entries)?;
        }
        Ok((told, reached))
    }

    /// What the entries from a position on make known of limits.
    fn alerts(&self, first: Position, entries: u64) -> Result<Vec<Alerted>, StoreError> {
        let last = first.at(first.seq() + entries.max(1) - 1);
        let of_entry = |row: &dyn Columns| {
            // What a later version wrote is passed over: whoever reads goes on.
            Ok(decode_terms(bytes(row, 0)?).map(|terms| alerted(&terms)).unwrap_or_default())
        };
        let bounds = values![first.to_sql(), last.to_sql()];
        Ok(self.session.all(TERMS, bounds, of_entry)?.into_iter().flatten().collect())
    }
}

/// The alerts of an entry with these terms, each with the counter that it is about.
fn alerted(terms: &Terms) -> Vec<Alerted> {
    let Some(charge) = terms.charge() else { return Vec::new() };
    let of = |alert: &Alert| {
        let counted = charge.counted.iter().find(|counted| counted.rule == alert.limit)?;
        Some(Alerted { alert: *alert, user: user_of(counted.subject), span: counted.span })
    };
    charge.alerts.iter().filter_map(of).collect()
}

/// The rows that fit in the order of their wallets, and how far they reach. What does not fit is passed over.
fn in_order(
    mut waiting: Vec<Waiting>,
    mut reached: Heads,
    limit: usize,
    fits: impl Fn(&Announced) -> bool,
) -> (Vec<Announced>, Heads) {
    let mut told = Vec::new();
    let mut moved = true;
    while moved {
        moved = false;
        for slot in &mut waiting {
            while told.len() < limit && slot.rows.front().is_some_and(|(_, before)| reached.covers(*before)) {
                let (row, _) = slot.rows.pop_front().expect("just looked at");
                // Its entries stand one behind the other.
                reached.set(row.position.at(row.position.seq() + row.entries.max(1) - 1));
                told.extend(Some(row).filter(&fits));
                moved = true;
            }
            if slot.rows.is_empty() && slot.whole {
                // Answers that moved nothing take positions, too.
                reached.set(slot.head);
            }
        }
    }
    (told, reached)
}

/// A row, and the position of the entry before it in its wallet.
fn read_announced(row: &dyn Columns) -> Result<(Announced, Position), StoreError> {
    let (position, before) = (position(row, 0)?, position(row, 9)?);
    let Told { kind, fall, alerts } = told(int(row, 3)?);
    let wallet = wallet_key(row, 1)?;
    let announced = Announced {
        position,
        wallet,
        unit: unit(row, 10, wallet)?,
        user: (int(row, 7)? == 1).then_some(UserNo(number(row, 8)?)),
        kind,
        fall,
        has_alerts: alerts,
        alerts: Vec::new(),
        first_seq: number(row, 4)?,
        entries: number(row, 5)?,
        recorded_at: Timestamp(int(row, 6)?),
    };
    Ok((announced, before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use purser_core::wallet::Owner;
    use purser_core::{TenantNo, Wallet};
    use std::collections::BTreeMap;

    /// Commits of single entries by writers on wallets, in their order.
    fn ledger(commits: &[(u8, u64)]) -> Vec<(Announced, Position)> {
        let (mut heads, mut wallets) = (Heads::default(), BTreeMap::new());
        let row = |&(slot, user): &(u8, u64)| {
            let position = Position::new(slot, heads.of(slot).seq() + 1);
            heads.set(position);
            let wallet = Wallet::new(TenantNo(1), Owner::User(UserNo(user)), Unit::credit()).key;
            let (before, seq) = wallets.insert(user, (position, 0)).unwrap_or((Position::NONE, 0));
            wallets.insert(user, (position, seq + 1));
            let (kind, fall) = (Some(EntryKind::Debit), Fall::default());
            let (first_seq, entries, recorded_at) = (seq + 1, 1, Timestamp(1));
            let user = Some(UserNo(user));
            let (unit, has_alerts, alerts) = (Unit::credit(), false, Vec::new());
            let row = Announced {
                position,
                wallet,
                unit,
                user,
                kind,
                fall,
                has_alerts,
                alerts,
                first_seq,
                entries,
                recorded_at,
            };
            (row, before)
        };
        commits.iter().map(row).collect()
    }

    proptest! {
        #[test]
        fn everything_is_told_once_and_each_wallet_in_its_order(
            commits in prop::collection::vec((1_u8..5, 1_u64..4), 0..60), most in 1_usize..6, limit in 1_usize..10,
            choosy in any::<bool>()
        ) {
            let fits = |row: &Announced| !choosy || row.user == Some(UserNo(1));
            let all = ledger(&commits);
            let mut heads = Heads::default();
            all.iter().for_each(|(row, _)| heads.set(row.position));
            let (mut reached, mut told) = (Heads::default(), Vec::new());
            while reached != heads {
                let behind = |head: Position| {
                    let mut rows: Vec<_> = all.iter().filter(|(row, _)| row.position.slot() == head.slot())
                        .filter(|(row, _)| row.position > reached.of(head.slot())).cloned().collect();
                    rows.sort_by_key(|(row, _)| row.position);
                    let whole = rows.len() < most;
                    rows.truncate(most);
                    Waiting { rows: rows.into(), head, whole }
                };
                let (rows, next) = in_order(heads.written().map(behind).collect(), reached.clone(), limit, fits);
                prop_assert!(rows.len() <= limit && (next != reached), "a page brings one further");
                told.extend(rows);
                reached = next;
            }
            prop_assert_eq!(told.len(), all.iter().filter(|(row, _)| fits(row)).count());
            let mut seqs: BTreeMap<WalletKey, u64> = BTreeMap::new();
            for row in told {
                let last = seqs.entry(row.wallet).or_default();
                *last += 1;
                prop_assert_eq!(*last, row.first_seq);
            }
        }
    }
}
