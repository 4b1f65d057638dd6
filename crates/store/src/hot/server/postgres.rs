//! The funnel's statements on PostgreSQL: arrays unnested, so that a text is the same however many rows it is for, and
//! pipelined, so that a batch costs two round trips.
//!
//! Every statement of a pipeline is sent before the first is answered; PostgreSQL carries them out in order, each on a
//! snapshot of its own, so what is read after a lock is what the lock protects. When one fails, those behind it do
//! nothing, the COMMIT among them.

use super::super::rows::{
    array, bytes, id, int, lot_columns, number, read_debt, read_freeze, read_hold, read_lot, read_wallet_row,
    small, wallet_columns, wallet_key,
};
use super::super::{KeyDigest, StoredAnswer};
use super::lease::Seal;
use super::loaded::{Opened, SlotRow, WalletRows, Wanted};
use super::pending::{HoldRow, LotRow, Pending, WalletRow, owner_columns};
use super::postgres_call::{Call, send};
use super::postgres_counters;
use super::remembered::Remembered;
use crate::driver::postgres::{PostgresLink, classify};
use crate::driver::{Columns, unreadable};
use crate::error::{CommitError, StoreError};
use purser_core::{Id, TenantNo, Timestamp, WalletId, WalletKey};
use tokio_postgres::Row;
use tokio_postgres::error::Severity;

const SLOT: &str = "
    SELECT epoch, seq, closed_until, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT),
           (SELECT config_epoch.epoch FROM config_epoch WHERE one = 1)
      FROM slot WHERE slot = $1 FOR UPDATE";
/// What is asked about comes first and each of it is looked up by itself: LIMIT, FOR UPDATE or OFFSET 0 keep the planner from
/// turning a join around. On tables that are younger than their statistics it does, and reads every open lot there is for each wallet.
const OWNERS: &str = "
    SELECT of_tenant, of_subject, entry.wallet_id
      FROM unnest($1, $2) AS asked (of_tenant, of_subject)
     CROSS JOIN LATERAL (
           SELECT wallet_id FROM entry WHERE subject = of_subject AND tenant_no = of_tenant
            ORDER BY recorded_at, position LIMIT 1) AS entry";
/// Locked in the order in which they are asked for, that of their keys, which is the same for every node.
const WALLETS: &str = concat!(
    "SELECT wallet.* FROM unnest($1, $2) AS asked (of_tenant, of_wallet)
      CROSS JOIN LATERAL (
            SELECT ",
    wallet_columns!(),
    " FROM wallet WHERE tenant_no = of_tenant AND wallet_id = of_wallet FOR UPDATE) AS wallet"
);
/// Open lots, active holds, debts and open freezes, one after the other in the columns of a lot: most wallets have nothing of
/// three of them, and to ask costs more than to be told so. [`PART_COLUMNS`] says where each kind keeps what it has.
const PARTS: &str = concat!(
    "SELECT part.*, of_tenant, of_wallet FROM unnest($1, $2) AS asked (of_tenant, of_wallet)
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
    SELECT answer.* FROM unnest($1) AS asked (of_key)
     CROSS JOIN LATERAL (
           SELECT key_digest, request_digest, receipt FROM answer WHERE key_digest = of_key OFFSET 0) AS answer";
/// Asked once the wallets are locked: who uses the same quote for the same wallet has committed by then.
const QUOTES: &str = "
    SELECT of_tenant, of_quote FROM unnest($1, $2) AS asked (of_tenant, of_quote)
     CROSS JOIN LATERAL (
           SELECT 1 FROM quote_use WHERE tenant_no = of_tenant AND quote_id = of_quote OFFSET 0) AS used";

/// Asked once the wallets are locked, as quotes are.
const EVENTS: &str = "
    SELECT of_tenant, of_event, known.debit FROM unnest($1, $2) AS asked (of_tenant, of_event)
     CROSS JOIN LATERAL (
           SELECT debit FROM usage_event WHERE event = of_event AND tenant_no = of_tenant OFFSET 0) AS known";

const INSERT_EVENTS: &str = "
    INSERT INTO usage_event (event, tenant_no, debit) SELECT * FROM unnest($1, $2, $3)";
const INSERT_QUOTES: &str = "
    INSERT INTO quote_use (tenant_no, quote_id, expires_at) SELECT * FROM unnest($1, $2, $3)";
const INSERT_TEXTS: &str = "
    INSERT INTO entry_text (position, tenant_no, salt, reference, metadata, reason)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6)";
const INSERT_WALLETS: &str = "
    INSERT INTO wallet (tenant_no, wallet_id, owner_kind, owner_no, unit_code, scale, seq, head, head_position,
                        recorded_at, settled, held, frozen, debt, last_topup, created_at)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
const INSERT_LOTS: &str = "
    INSERT INTO lot (tenant_no, lot_id, wallet_id, is_open, kind, priority, effective_at, expires_at, granted, remaining,
                     held, frozen, paid_minor, paid_currency, money, expired, expired_money, origin, parent)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";
const UPDATE_LOTS: &str = "
    UPDATE lot SET remaining = new.remaining, held = new.held, frozen = new.frozen, money = new.money,
                   expired = new.expired, expired_money = new.expired_money, is_open = new.is_open
      FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           AS new (tenant_no, wallet_id, lot_id, remaining, held, frozen, money, expired, expired_money, is_open)
     WHERE lot.tenant_no = new.tenant_no AND lot.lot_id = new.lot_id AND lot.wallet_id = new.wallet_id";
const INSERT_HOLDS: &str = "
    INSERT INTO hold (tenant_no, wallet_id, hold_id, state, terms, pins, held, captured, user_no, placed_at, expires_at)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const UPDATE_HOLDS: &str = "
    UPDATE hold SET state = new.state, terms = new.terms, pins = new.pins, held = new.held, captured = new.captured,
                    expires_at = new.expires_at
      FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
           AS new (tenant_no, wallet_id, hold_id, state, terms, pins, held, captured, expires_at)
     WHERE hold.tenant_no = new.tenant_no AND hold.wallet_id = new.wallet_id AND hold.hold_id = new.hold_id";
const DELETE_DEBTS: &str = "
    DELETE FROM debt USING unnest($1, $2) AS gone (of_tenant, of_wallet)
     WHERE debt.tenant_no = of_tenant AND debt.wallet_id = of_wallet";
const INSERT_DEBTS: &str = "
    INSERT INTO debt (tenant_no, wallet_id, seq, cause, subject, origin, amount)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)";
const DELETE_FREEZES: &str = "
    DELETE FROM open_freeze USING unnest($1, $2) AS gone (of_tenant, of_wallet)
     WHERE open_freeze.tenant_no = of_tenant AND open_freeze.wallet_id = of_wallet";
const INSERT_FREEZES: &str = "
    INSERT INTO open_freeze (tenant_no, wallet_id, ordinal, cause, lot_id, wanted, taken)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)";
/// What nearly every batch writes, and all that a batch of debits does, as one statement: each further one would cost a plan's
/// start, a snapshot and a wake-up at either end. Its parts concern different rows, so it does not matter that they see one snapshot; any of them may have no rows.
///
/// The wallets are locked, so their seq is what was loaded; if ever it were not, dividing by zero undoes the batch before its
/// COMMIT, which is under way already. Of the lots only those that stay open are here: no column of an index is assigned, so the
/// row stays where it is. Their wallet is named as well, so that whichever index is chosen leads to the one lot and not through
/// all of a tenant's; that they are open is not said, as a plan that was made while there were few would go through all of those.
const RECORD: &str = "
    WITH changed AS (
        UPDATE wallet
           SET seq = new.seq, head = new.head, head_position = new.head_position, recorded_at = new.recorded_at,
               settled = new.settled, held = new.held, frozen = new.frozen, debt = new.debt, last_topup = new.last_topup
          FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
               AS new (tenant_no, wallet_id, before, seq, head, head_position, recorded_at, settled, held, frozen, debt,
                       last_topup)
         WHERE wallet.tenant_no = new.tenant_no AND wallet.wallet_id = new.wallet_id AND wallet.seq = new.before
        RETURNING 1),
    spent AS (
        UPDATE lot SET remaining = new.remaining, held = new.held, frozen = new.frozen, money = new.money,
                       expired = new.expired, expired_money = new.expired_money
          FROM unnest($14, $15, $16, $17, $18, $19, $20, $21, $22)
               AS new (tenant_no, wallet_id, lot_id, remaining, held, frozen, money, expired, expired_money)
         WHERE lot.tenant_no = new.tenant_no AND lot.lot_id = new.lot_id AND lot.wallet_id = new.wallet_id),
    entered AS (
        INSERT INTO entry (position, prev_position, tenant_no, wallet_id, seq, kind, subject, amount, held_delta,
                           settled_after, user_no, actor_kind, actor_no, occurred_at, recorded_at, allocations, terms,
                           text_digest, hash)
        SELECT * FROM unnest($23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41)),
    announced AS (
        INSERT INTO outbox (position, tenant_no, wallet_id, event, first_seq, entries)
        SELECT * FROM unnest($42, $43, $44, $45, $46, $47)),
    answered AS (
        INSERT INTO answer (position, tenant_no, key_digest, request_digest, receipt, created_at)
        SELECT * FROM unnest($48, $49, $50, $51, $52, $53)),
    sealed AS (UPDATE slot SET seq = $56, leased_until = $57 WHERE slot = $54 AND epoch = $55)
    SELECT 1 / (CASE WHEN COUNT(*) = $13 THEN 1 ELSE 0 END) FROM changed";

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

/// Writes everything that is pending and commits, in one go.
pub(super) fn record(link: &PostgresLink, pending: &Pending, seal: &Seal) -> Result<(), CommitError> {
    let mut calls = Vec::with_capacity(8);
    calls.push(record_call(pending, seal));
    further_calls(pending, &mut calls);
    let sent = send(link, None, &calls, Some("COMMIT")).map_err(CommitError::Unknown)?;
    for outcome in sent {
        let Err(error) = outcome else { continue };
        // What the server says of a statement it says before it would reach the COMMIT. Without its word, or when it ended the
        // connection, nobody knows how far it came.
        let said = error.as_db_error().is_some_and(|error| error.parsed_severity() == Some(Severity::Error));
        let error = classify(&error);
        return Err(if said { CommitError::Failed(error) } else { CommitError::Unknown(error) });
    }
    Ok(())
}

/// The values of [`RECORD`], in its order.
fn record_call<'a>(pending: &'a Pending, seal: &Seal) -> Call<'a> {
    let changed: Vec<&WalletRow> = pending.wallets.iter().filter(|row| row.before.is_some()).collect();
    let call = keys(Call::new(RECORD), &changed)
        .ints(changed.iter().map(|row| row.before.unwrap_or_default() as i64));
    let call = balances(call, &changed).int(changed.len() as i64);
    let open: Vec<&LotRow> = pending.lots_changed.iter().filter(|row| row.stays_open()).collect();
    let call = entry_columns(amounts(call, &open), pending);
    let outbox = &pending.outbox;
    let answers = &pending.answers;
    call.ints(outbox.iter().map(|row| row.position.to_sql()))
        .ints(outbox.iter().map(|row| row.wallet.tenant.0 as i64))
        .fixed(outbox.iter().map(|row| row.wallet.id.0.to_bytes()))
        .ints(outbox.iter().map(|row| row.event))
        .ints(outbox.iter().map(|row| row.first_seq as i64))
        .ints(outbox.iter().map(|row| row.entries as i64))
        .ints(answers.iter().map(|row| row.position.to_sql()))
        .ints(answers.iter().map(|row| row.tenant.0 as i64))
        .bytes(answers.iter().map(|row| row.key.bytes()))
        .bytes(answers.iter().map(|row| &row.answer.request_digest[..]))
        .bytes(answers.iter().map(|row| row.answer.receipt.as_slice()))
        .ints(answers.iter().map(|row| row.created_at.0))
        .int(seal.slot.into())
        .int(seal.epoch)
        .int(seal.seq as i64)
        .int(seal.leased_until)
}

fn entry_columns<'a>(call: Call<'a>, pending: &'a Pending) -> Call<'a> {
    let entries = &pending.entries;
    call.ints(entries.iter().map(|row| row.position.to_sql()))
        .ints(entries.iter().map(|row| row.previous.to_sql()))
        .ints(entries.iter().map(|row| row.entry.wallet.tenant.0 as i64))
        .fixed(entries.iter().map(|row| row.entry.wallet.id.0.to_bytes()))
        .ints(entries.iter().map(|row| row.entry.seq as i64))
        .ints(entries.iter().map(|row| row.entry.kind as i64))
        .fixed(entries.iter().map(|row| row.entry.subject.to_bytes()))
        .ints(entries.iter().map(|row| row.entry.amount.0))
        .ints(entries.iter().map(|row| row.entry.held_delta.0))
        .ints(entries.iter().map(|row| row.entry.settled_after.0))
        .int_options(entries.iter().map(|row| row.entry.user.map(|user| user.0 as i64)))
        .ints(entries.iter().map(|row| row.entry.actor.kind as i64))
        .ints(entries.iter().map(|row| row.entry.actor.no as i64))
        .ints(entries.iter().map(|row| row.entry.occurred_at.0))
        .ints(entries.iter().map(|row| row.entry.recorded_at.0))
        .bytes(entries.iter().map(|row| row.allocations.as_slice()))
        .bytes(entries.iter().map(|row| row.terms.as_slice()))
        .byte_options(entries.iter().map(|row| row.entry.text_digest.as_ref().map(|digest| &digest[..])))
        .bytes(entries.iter().map(|row| &row.entry.hash[..]))
}

/// What some batches write as well.
fn further_calls<'a>(pending: &'a Pending, calls: &mut Vec<Call<'a>>) {
    let texts = &pending.texts;
    if !texts.is_empty() {
        calls.push(
            Call::new(INSERT_TEXTS)
                .ints(texts.iter().map(|row| row.position.to_sql()))
                .ints(texts.iter().map(|row| row.tenant.0 as i64))
                .bytes(texts.iter().map(|row| &row.text.salt[..]))
                .text_options(texts.iter().map(|row| row.text.reference.as_deref()))
                .text_options(texts.iter().map(|row| row.text.metadata.as_deref()))
                .text_options(texts.iter().map(|row| row.text.reason.as_deref())),
        );
    }
    let quotes = &pending.quotes;
    if !quotes.is_empty() {
        calls.push(
            Call::new(INSERT_QUOTES)
                .ints(quotes.iter().map(|row| row.tenant.0 as i64))
                .fixed(quotes.iter().map(|row| row.quote.to_bytes()))
                .ints(quotes.iter().map(|row| row.expires_at.0)),
        );
    }
    let events = &pending.events;
    if !events.is_empty() {
        calls.push(
            Call::new(INSERT_EVENTS)
                .bytes(events.keys().map(|(_, event)| event.bytes()))
                .ints(events.keys().map(|(tenant, _)| tenant.0 as i64))
                .fixed(events.values().map(|debit| debit.to_bytes())),
        );
    }
    calls.extend(postgres_counters::counts(pending));
    let new: Vec<&WalletRow> = pending.wallets.iter().filter(|row| row.before.is_none()).collect();
    if !new.is_empty() {
        let owners: Vec<(i64, i64)> = new.iter().map(|row| owner_columns(row.wallet.owner)).collect();
        let mut call = keys(Call::new(INSERT_WALLETS), &new)
            .ints(owners.iter().map(|(kind, _)| *kind))
            .ints(owners.iter().map(|(_, no)| *no))
            .texts(new.iter().map(|row| row.wallet.unit.code.as_str()))
            .ints(new.iter().map(|row| row.wallet.unit.scale.decimals().into()));
        call = balances(call, &new);
        calls.push(call.ints(new.iter().map(|row| row.created_at.0)));
    }
    lot_calls(pending, calls);
    hold_calls(pending, calls);
    debt_and_freeze_calls(pending, calls);
}

fn debt_and_freeze_calls<'a>(pending: &'a Pending, calls: &mut Vec<Call<'a>>) {
    if !pending.owing.is_empty() {
        calls.push(Call::new(DELETE_DEBTS).wallets(&pending.owing));
    }
    let debts = &pending.debts;
    if !debts.is_empty() {
        calls.push(
            Call::new(INSERT_DEBTS)
                .ints(debts.iter().map(|(key, _)| key.tenant.0 as i64))
                .fixed(debts.iter().map(|(key, _)| key.id.0.to_bytes()))
                .ints(debts.iter().map(|(_, debt)| debt.seq as i64))
                .ints(debts.iter().map(|(_, debt)| debt.cause as i64))
                .fixed(debts.iter().map(|(_, debt)| debt.subject.to_bytes()))
                .fixed_options(debts.iter().map(|(_, debt)| debt.origin.map(Id::to_bytes)))
                .ints(debts.iter().map(|(_, debt)| debt.amount.0)),
        );
    }
    if !pending.freezing.is_empty() {
        calls.push(Call::new(DELETE_FREEZES).wallets(&pending.freezing));
    }
    let freezes = &pending.freezes;
    if !freezes.is_empty() {
        calls.push(
            Call::new(INSERT_FREEZES)
                .ints(freezes.iter().map(|(key, ..)| key.tenant.0 as i64))
                .fixed(freezes.iter().map(|(key, ..)| key.id.0.to_bytes()))
                .ints(freezes.iter().map(|(_, ordinal, _)| *ordinal as i64))
                .fixed(freezes.iter().map(|(.., freeze)| freeze.cause.to_bytes()))
                .fixed(freezes.iter().map(|(.., freeze)| freeze.lot.to_bytes()))
                .ints(freezes.iter().map(|(.., freeze)| freeze.wanted.0))
                .ints(freezes.iter().map(|(.., freeze)| freeze.taken.0)),
        );
    }
}

fn keys<'a>(call: Call<'a>, rows: &[&'a WalletRow]) -> Call<'a> {
    call.ints(rows.iter().map(|row| row.wallet.key.tenant.0 as i64))
        .fixed(rows.iter().map(|row| row.wallet.key.id.0.to_bytes()))
}

fn balances<'a>(call: Call<'a>, rows: &[&'a WalletRow]) -> Call<'a> {
    call.ints(rows.iter().map(|row| row.wallet.seq as i64))
        .bytes(rows.iter().map(|row| &row.wallet.head[..]))
        .ints(rows.iter().map(|row| row.head.to_sql()))
        .ints(rows.iter().map(|row| row.wallet.recorded_at.0))
        .ints(rows.iter().map(|row| row.wallet.settled.0))
        .ints(rows.iter().map(|row| row.wallet.held.0))
        .ints(rows.iter().map(|row| row.wallet.frozen.0))
        .ints(rows.iter().map(|row| row.wallet.debt.0))
        .ints(rows.iter().map(|row| row.wallet.last_topup.0))
}

fn lot_calls<'a>(pending: &'a Pending, calls: &mut Vec<Call<'a>>) {
    let new = &pending.lots_new;
    if !new.is_empty() {
        calls.push(
            Call::new(INSERT_LOTS)
                .ints(new.iter().map(|row| row.wallet.tenant.0 as i64))
                .fixed(new.iter().map(|row| row.lot.terms.id.to_bytes()))
                .fixed(new.iter().map(|row| row.wallet.id.0.to_bytes()))
                .ints(new.iter().map(LotRow::is_open))
                .ints(new.iter().map(|row| row.lot.terms.kind as i64))
                .ints(new.iter().map(|row| row.lot.terms.priority.into()))
                .ints(new.iter().map(|row| row.lot.terms.effective_at.0))
                .ints(new.iter().map(|row| row.lot.terms.expires_at.unwrap_or(Timestamp::NEVER).0))
                .ints(new.iter().map(|row| row.lot.terms.granted.0))
                .ints(new.iter().map(|row| row.lot.remaining.0))
                .ints(new.iter().map(|row| row.lot.held.0))
                .ints(new.iter().map(|row| row.lot.frozen.0))
                .int_options(new.iter().map(|row| row.lot.terms.paid.as_ref().map(|money| money.minor)))
                .text_options(
                    new.iter().map(|row| row.lot.terms.paid.as_ref().map(|money| money.currency.code())),
                )
                .ints(new.iter().map(|row| row.lot.money))
                .ints(new.iter().map(|row| row.lot.expired.0))
                .ints(new.iter().map(|row| row.lot.expired_money))
                .fixed_options(new.iter().map(|row| row.lot.terms.origin.map(Id::to_bytes)))
                .fixed_options(new.iter().map(|row| row.lot.terms.parent.map(Id::to_bytes))),
        );
    }
    let turned: Vec<&LotRow> = pending.lots_changed.iter().filter(|row| !row.stays_open()).collect();
    if !turned.is_empty() {
        calls.push(amounts(Call::new(UPDATE_LOTS), &turned).ints(turned.iter().map(|row| row.is_open())));
    }
}

fn amounts<'a>(call: Call<'a>, rows: &[&'a LotRow]) -> Call<'a> {
    call.ints(rows.iter().map(|row| row.wallet.tenant.0 as i64))
        .fixed(rows.iter().map(|row| row.wallet.id.0.to_bytes()))
        .fixed(rows.iter().map(|row| row.lot.terms.id.to_bytes()))
        .ints(rows.iter().map(|row| row.lot.remaining.0))
        .ints(rows.iter().map(|row| row.lot.held.0))
        .ints(rows.iter().map(|row| row.lot.frozen.0))
        .ints(rows.iter().map(|row| row.lot.money))
        .ints(rows.iter().map(|row| row.lot.expired.0))
        .ints(rows.iter().map(|row| row.lot.expired_money))
}

fn hold_calls<'a>(pending: &'a Pending, calls: &mut Vec<Call<'a>>) {
    fn head<'a>(call: Call<'a>, rows: &'a [HoldRow]) -> Call<'a> {
        call.ints(rows.iter().map(|row| row.wallet.tenant.0 as i64))
            .fixed(rows.iter().map(|row| row.wallet.id.0.to_bytes()))
            .fixed(rows.iter().map(|row| row.hold.id.to_bytes()))
            .ints(rows.iter().map(|row| row.hold.state as i64))
            .bytes(rows.iter().map(|row| row.terms.as_slice()))
            .bytes(rows.iter().map(|row| row.pins.as_slice()))
            .ints(rows.iter().map(|row| row.hold.held.0))
            .ints(rows.iter().map(|row| row.hold.captured.0))
    }
    let new = &pending.holds_new;
    if !new.is_empty() {
        calls.push(
            head(Call::new(INSERT_HOLDS), new)
                .int_options(new.iter().map(|row| row.hold.user.map(|user| user.0 as i64)))
                .ints(new.iter().map(|row| row.hold.placed_at.0))
                .ints(new.iter().map(|row| row.hold.terms.expires_at.0)),
        );
    }
    let changed = &pending.holds_changed;
    if !changed.is_empty() {
        let call = head(Call::new(UPDATE_HOLDS), changed);
        calls.push(call.ints(changed.iter().map(|row| row.hold.terms.expires_at.0)));
    }
}
