//! How a batch begins on PostgreSQL: what it locks and loads, in one round trip. Read next: `postgres_write.rs` for how it ends.
//!
//! Values are arrays that are unnested, so that a text is the same however many rows it is for.
//!
//! Every statement of a pipeline is sent before the first is answered; PostgreSQL carries them out in order, each on a
//! snapshot of its own, so what is read after a lock is what the lock protects. When one fails, those behind it do
//! nothing, the COMMIT among them.

use super::super::rows::{
    array, bytes, id, int, lot_columns, number, read_debt, read_freeze, read_hold, read_lot, read_wallet_row,
    small, wallet_columns, wallet_key,
};
use super::super::{KeyDigest, StoredAnswer};
use super::loaded::{Opened, SlotRow, WalletRows, Wanted};
use super::postgres_call::{Call, send};
use super::postgres_counters;
use super::remembered::Remembered;
use crate::driver::postgres::{PostgresLink, classify};
use crate::driver::{Columns, unreadable};
use crate::error::StoreError;
use purser_core::{Id, TenantNo, Timestamp, WalletId, WalletKey};
use tokio_postgres::Row;

const SLOT: &str = "
    SELECT epoch, seq, closed_until, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT),
           (SELECT config_epoch.epoch FROM config_epoch WHERE one = 1)
      FROM slot WHERE slot = $1 FOR UPDATE";
/// What is asked about comes first and each of it is looked up by itself: LIMIT, FOR UPDATE or OFFSET 0 keep the planner from
/// turning a join around. On tables that are younger than their statistics it does, and reads every open lot there is for each wallet.
const OWNERS: &str = "
    SELECT of_tenant, of_subject, entry.wallet_id
      FROM (SELECT unnest($1) AS of_tenant, unnest($2) AS of_subject) AS asked
     CROSS JOIN LATERAL (
           SELECT wallet_id FROM entry WHERE subject = of_subject AND tenant_no = of_tenant
            ORDER BY recorded_at, position LIMIT 1) AS entry";
/// Locked in the order in which they are asked for, that of their keys, which is the same for every node.
const WALLETS: &str = concat!(
    "SELECT wallet.* FROM (SELECT unnest($1) AS of_tenant, unnest($2) AS of_wallet) AS asked
      CROSS JOIN LATERAL (
            SELECT ",
    wallet_columns!(),
    " FROM wallet WHERE tenant_no = of_tenant AND wallet_id = of_wallet FOR UPDATE) AS wallet"
);
/// Open lots, active holds, debts and open freezes, one after the other in the columns of a lot: most wallets have nothing of
/// three of them, and to ask costs more than to be told so. [`PART_COLUMNS`] says where each kind keeps what it has.
const PARTS: &str = concat!(
    "SELECT part.*, of_tenant, of_wallet
       FROM (SELECT unnest($1) AS of_tenant, unnest($2) AS of_wallet) AS asked
      CROSS JOIN LATERAL (
            (SELECT 1 AS what, ",
    lot_columns!(),
    " FROM lot WHERE tenant_no = of_tenant AND wallet_id = of_wallet AND is_open = 1 OFFSET 0)
            UNION ALL
            (SELECT 2, NULL, hold_id, state, held, captured, user_no, placed_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                    NULL, terms, pins
               FROM hold WHERE tenant_no = of_tenant AND wallet_id = of_wallet AND state = 1 OFFSET 0)
            UNION ALL
            (SELECT 3, NULL, subject, seq, cause, amount, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                    origin, NULL
               FROM debt WHERE tenant_no = of_tenant AND wallet_id = of_wallet ORDER BY seq OFFSET 0)
            UNION ALL
            (SELECT 4, NULL, cause, wanted, taken, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, lot_id,
                    NULL
               FROM open_freeze WHERE tenant_no = of_tenant AND wallet_id = of_wallet ORDER BY ordinal OFFSET 0)) AS part"
);
/// Where in a row of [`PARTS`] the columns are that are read of a lot, a hold, a debt and a freeze.
const PART_COLUMNS: [&[usize]; 4] = [
    &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17],
    &[2, 3, 16, 17, 4, 5, 6, 7],
    &[3, 4, 2, 16, 5],
    &[2, 16, 3, 4],
];
const ANSWERS: &str = "
    SELECT answer.* FROM (SELECT unnest($1) AS of_key) AS asked
     CROSS JOIN LATERAL (
           SELECT key_digest, request_digest, receipt FROM answer WHERE key_digest = of_key OFFSET 0) AS answer";
/// Asked once the wallets are locked: who uses the same quote for the same wallet has committed by then.
const QUOTES: &str = "
    SELECT of_tenant, of_quote FROM (SELECT unnest($1) AS of_tenant, unnest($2) AS of_quote) AS asked
     CROSS JOIN LATERAL (
           SELECT 1 FROM quote_use WHERE tenant_no = of_tenant AND quote_id = of_quote OFFSET 0) AS used";

/// Asked once the wallets are locked, as quotes are.
const EVENTS: &str = "
    SELECT of_tenant, of_event, known.debit
      FROM (SELECT unnest($1) AS of_tenant, unnest($2) AS of_event) AS asked
     CROSS JOIN LATERAL (
           SELECT debit FROM usage_event WHERE event = of_event AND tenant_no = of_tenant OFFSET 0) AS known";

/// Takes and loads what a batch was told of: see [`super::ServerWriter::begin`].
pub(super) fn open(
    link: &PostgresLink,
    slot: u8,
    wanted: &Wanted,
    remembered: &mut Remembered,
) -> Result<Opened, StoreError> {
    let owners = owners(link, wanted)?;
    let asked = wanted.in_lock_order(&owners);
    let whole = remembered.unknown(&asked);
    // A writer that only keeps its lease may do so for long while the tables are empty.
    if !asked.is_empty() {
        link.plan_as_it_grows()?;
    }
    let begin = link.begin_writing()?;
    let mut calls = vec![Call::new(SLOT).int(i64::from(slot))];
    calls.extend(loads(&asked, &whole));
    let counted = wanted.counters_in_lock_order();
    if !counted.is_empty() {
        calls.extend(postgres_counters::loads(&counted));
    }
    if !wanted.keys.is_empty() {
        calls.push(Call::new(ANSWERS).bytes(wanted.keys.iter().map(|key| key.bytes())));
    }
    if !wanted.quotes.is_empty() {
        calls.push(
            Call::new(QUOTES)
                .ints(wanted.quotes.iter().map(|(tenant, _)| tenant.0 as i64))
                .fixed(wanted.quotes.iter().map(|(_, quote)| quote.to_bytes())),
        );
    }
    if !wanted.events.is_empty() {
        calls.push(
            Call::new(EVENTS)
                .ints(wanted.events.iter().map(|(tenant, _)| tenant.0 as i64))
                .bytes(wanted.events.iter().map(|(_, event)| event.bytes())),
        );
    }
    let sent = send(link, Some(&begin), &calls, None)?;
    let mut answers = sent.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Ok(Vec::new())).map_err(|error| classify(&error));
    let slot = read_slot(&next()?)?;
    let mut rows = WalletRows::default();
    if !asked.is_empty() {
        read_wallets(&next()?, &mut rows)?;
    }
    if !whole.is_empty() {
        read_parts(&next()?, &mut rows)?;
    }
    let counters = if counted.is_empty() { Vec::new() } else { postgres_counters::read(&mut next)? };
    let answers = if wanted.keys.is_empty() { Vec::new() } else { read_answers(&next()?)? };
    let used = if wanted.quotes.is_empty() { Vec::new() } else { next()? };
    let quotes = used.iter().map(|row| Ok((TenantNo(number(row, 0)?), id(row, 1)?)));
    let quotes = quotes.collect::<Result<_, StoreError>>()?;
    let events = if wanted.events.is_empty() { Vec::new() } else { read_events(&next()?)? };
    Ok(Opened { slot, asked, whole, owners, rows, known: Vec::new(), answers, quotes, events, counters })
}

/// Wallets under lock, within a transaction, with their parts.
pub(super) fn wallets(link: &PostgresLink, asked: &[WalletKey]) -> Result<WalletRows, StoreError> {
    let mut rows = WalletRows::default();
    let [wallets, parts, ..] = &send(link, None, &loads(asked, asked), None)?[..] else {
        unreachable!("one answer for each call")
    };
    read_wallets(wallets.as_ref().map_err(classify)?, &mut rows)?;
    read_parts(parts.as_ref().map_err(classify)?, &mut rows)?;
    Ok(rows)
}

/// The parts of wallets that are under lock.
pub(super) fn parts(
    link: &PostgresLink,
    asked: &[WalletKey],
    rows: &mut WalletRows,
) -> Result<(), StoreError> {
    let found = send(link, None, &[Call::new(PARTS).wallets(asked)], None)?.remove(0);
    read_parts(&found.map_err(|error| classify(&error))?, rows)
}

/// The answers to keys, as committed now.
pub(super) fn answers(
    link: &PostgresLink,
    keys: &[KeyDigest],
) -> Result<Vec<(KeyDigest, StoredAnswer)>, StoreError> {
    let call = Call::new(ANSWERS).bytes(keys.iter().map(|key| key.bytes()));
    let rows = send(link, None, &[call], None)?.remove(0).map_err(|error| classify(&error))?;
    read_answers(&rows)
}

/// The wallets of subjects. They never change, so they are looked up before anything is locked.
fn owners(link: &PostgresLink, wanted: &Wanted) -> Result<Vec<(TenantNo, Id, WalletId)>, StoreError> {
    if wanted.subjects.is_empty() {
        return Ok(Vec::new());
    }
    let call = Call::new(OWNERS)
        .ints(wanted.subjects.iter().map(|(tenant, _)| tenant.0 as i64))
        .fixed(wanted.subjects.iter().map(|(_, subject)| subject.to_bytes()));
    // In a transaction of its own, for the planner's settings.
    let begin = link.begin_writing()?;
    let rows =
        send(link, Some(&begin), &[call], Some("ROLLBACK"))?.remove(0).map_err(|error| classify(&error))?;
    rows.iter().map(|row| Ok((TenantNo(number(row, 0)?), id(row, 1)?, WalletId(id(row, 2)?)))).collect()
}

/// Locks and reads wallets, and the parts of some of them. Nothing is asked about none.
fn loads(asked: &[WalletKey], whole: &[WalletKey]) -> Vec<Call<'static>> {
    let about = [(WALLETS, asked), (PARTS, whole)].into_iter().filter(|(_, keys)| !keys.is_empty());
    about.map(|(sql, keys)| Call::new(sql).wallets(keys)).collect()
}

fn read_wallets(found: &[Row], rows: &mut WalletRows) -> Result<(), StoreError> {
    for row in found {
        rows.wallets.push(read_wallet_row(row)?);
    }
    Ok(())
}

fn read_parts(found: &[Row], rows: &mut WalletRows) -> Result<(), StoreError> {
    for row in found {
        let what: usize = small(row, 0)?;
        let owner = wallet_key(row, 18)?;
        let Some(columns) = what.checked_sub(1).and_then(|kind| PART_COLUMNS.get(kind)) else {
            return Err(unreadable(0, "no part of a wallet"));
        };
        let part = Picked { row, columns };
        match what {
            1 => rows.lots.push((owner.tenant, owner.id, read_lot(&part)?.1)),
            2 => rows.holds.push((owner, read_hold(&part)?)),
            3 => rows.debts.push((owner, read_debt(&part)?)),
            _ => rows.freezes.push((owner, read_freeze(&part)?)),
        }
    }
    Ok(())
}

/// Some columns of a row, in an order of their own.
struct Picked<'a> {
    row: &'a Row,
    columns: &'a [usize],
}

impl Columns for Picked<'_> {
    fn int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.row.int(self.columns[column])
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        self.row.bytes(self.columns[column])
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.row.text(self.columns[column])
    }
}

fn read_slot(rows: &[Row]) -> Result<SlotRow, StoreError> {
    let row = rows.first().ok_or_else(|| StoreError::Corrupt { what: "the row of a slot is gone".into() })?;
    Ok(SlotRow {
        epoch: int(row, 0)?,
        seq: number(row, 1)?,
        closed_until: Timestamp(int(row, 2)?),
        now: int(row, 3)?,
        config_epoch: number(row, 4)?,
    })
}

fn read_events(rows: &[Row]) -> Result<Vec<(TenantNo, KeyDigest, Id)>, StoreError> {
    let read =
        |row: &Row| Ok((TenantNo(number(row, 0)?), KeyDigest::from_bytes(array(row, 1)?), id(row, 2)?));
    rows.iter().map(read).collect()
}

fn read_answers(rows: &[Row]) -> Result<Vec<(KeyDigest, StoredAnswer)>, StoreError> {
    let read = |row: &Row| {
        let answer = StoredAnswer { request_digest: array(row, 1)?, receipt: bytes(row, 2)?.to_vec() };
        Ok((KeyDigest::from_bytes(array(row, 0)?), answer))
    };
    rows.iter().map(read).collect()
}
