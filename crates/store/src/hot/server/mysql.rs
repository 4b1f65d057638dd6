//! The funnel's statements on MariaDB and MySQL: a batch costs two round trips, one text that takes and loads, one that
//! writes and commits.
//!
//! The rows of a statement are a table of literals (`mysql_text.rs`) that stands first in a straight join, so that the rows
//! of our tables are found, and locked, by their keys in the order of the literals. Each statement has a snapshot of its
//! own, so what is read after a lock is what the lock protects. When one fails, those behind it do nothing, the COMMIT
//! among them. `mysql_write.rs` has the statements that write.

use super::super::rows::{
    array, bytes, hold_columns, id, int, lot_columns, number, read_counter, read_debt, read_freeze,
    read_hold, read_lot, read_wallet_row, wallet_columns, wallet_key,
};
use super::super::{KeyDigest, StoredAnswer};
use super::loaded::{Opened, SlotRow, WalletRows, Wanted};
use super::mysql_text::{Line, Script};
use super::remembered::Remembered;
use crate::driver::Columns;
use crate::driver::mysql::MysqlLink;
use crate::driver::mysql_session::BEGIN_WRITING;
use crate::error::StoreError;
use mysql_async::Row;
use purser_core::{CounterKey, Id, TenantNo, Timestamp, WalletId, WalletKey};

/// The instant is that of the answer, not that of the question: a lock may have been waited for in between.
const SLOT: &str = "
    SELECT epoch, seq, closed_until, CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED),
           (SELECT config_epoch.epoch FROM config_epoch WHERE one = 1)
      FROM slot WHERE slot = ";
const OWNERS: &str = "
    WITH asked (of_tenant, of_subject) AS ({table})
    SELECT of_tenant, of_subject,
           (SELECT entry.wallet_id FROM entry FORCE INDEX (entry_by_subject)
             WHERE entry.subject = of_subject AND entry.tenant_no = of_tenant
             ORDER BY entry.recorded_at, entry.position LIMIT 1)
      FROM asked";
const WALLETS: &str = concat!(
    "WITH asked (of_tenant, of_wallet) AS ({table}) SELECT ",
    wallet_columns!(),
    " FROM asked STRAIGHT_JOIN wallet FORCE INDEX (PRIMARY) ON tenant_no = of_tenant AND wallet_id = of_wallet FOR UPDATE"
);
const LOTS: &str = concat!(
    "WITH asked (of_tenant, of_wallet) AS ({table}) SELECT ",
    lot_columns!(),
    ", tenant_no FROM asked STRAIGHT_JOIN lot FORCE INDEX (lot_by_wallet)
       ON tenant_no = of_tenant AND wallet_id = of_wallet AND is_open = 1"
);
const HOLDS: &str = concat!(
    "WITH asked (of_tenant, of_wallet) AS ({table}) SELECT ",
    hold_columns!(),
    ", tenant_no, wallet_id FROM asked STRAIGHT_JOIN hold FORCE INDEX (hold_active)
       ON tenant_no = of_tenant AND wallet_id = of_wallet AND state = 1"
);
/// In the order of their key, as they are found by it.
const DEBTS: &str = "
    WITH asked (of_tenant, of_wallet) AS ({table})
    SELECT seq, cause, subject, origin, amount, tenant_no, wallet_id
      FROM asked STRAIGHT_JOIN debt FORCE INDEX (PRIMARY) ON tenant_no = of_tenant AND wallet_id = of_wallet
     ORDER BY tenant_no, wallet_id, seq";
const FREEZES: &str = "
    WITH asked (of_tenant, of_wallet) AS ({table})
    SELECT cause, lot_id, wanted, taken, tenant_no, wallet_id
      FROM asked STRAIGHT_JOIN open_freeze FORCE INDEX (PRIMARY) ON tenant_no = of_tenant AND wallet_id = of_wallet
     ORDER BY tenant_no, wallet_id, ordinal";
const ANSWERS: &str = "
    WITH asked (of_key) AS ({table})
    SELECT key_digest, request_digest, receipt
      FROM asked STRAIGHT_JOIN answer FORCE INDEX (answer_by_key) ON key_digest = of_key";
/// Once the wallets are locked: who uses the same quote for the same wallet has committed by then.
const QUOTES: &str = "
    WITH asked (of_tenant, of_quote) AS ({table})
    SELECT tenant_no, quote_id
      FROM asked STRAIGHT_JOIN quote_use FORCE INDEX (PRIMARY) ON tenant_no = of_tenant AND quote_id = of_quote";
/// A row that is not there cannot be locked: so each is made first, and whoever comes second waits here for the first.
const MAKE_COUNTERS: &str = "
    INSERT INTO counter (tenant_no, subject, rule, period_start, used) VALUES {rows}
        ON DUPLICATE KEY UPDATE used = used";
const COUNTERS: &str = "
    WITH asked (of_tenant, of_subject, of_rule, of_period) AS ({table})
    SELECT tenant_no, subject, rule, period_start, used
      FROM asked STRAIGHT_JOIN counter FORCE INDEX (PRIMARY)
        ON tenant_no = of_tenant AND subject = of_subject AND rule = of_rule AND period_start = of_period FOR UPDATE";

/// Once the wallets are locked, as quotes are.
const EVENTS: &str = "
    WITH asked (of_tenant, of_event) AS ({table})
    SELECT tenant_no, event, debit
      FROM asked STRAIGHT_JOIN usage_event FORCE INDEX (PRIMARY) ON event = of_event AND tenant_no = of_tenant";

/// The statements that join, each with the index by which it must find the rows of our table.
#[cfg(test)]
pub(super) const JOINS: [(&str, &str); 10] = [
    (EVENTS, "PRIMARY"),
    (COUNTERS, "PRIMARY"),
    (QUOTES, "PRIMARY"),
    (OWNERS, "entry_by_subject"),
    (WALLETS, "PRIMARY"),
    (LOTS, "lot_by_wallet"),
    (HOLDS, "hold_active"),
    (DEBTS, "PRIMARY"),
    (FREEZES, "PRIMARY"),
    (ANSWERS, "answer_by_key"),
];

/// What is in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Nothing,
    Slot,
    Wallets,
    Lots,
    Holds,
    Debts,
    Freezes,
    Answers,
    Quotes,
    Events,
    Counters,
    Owners,
}

/// Takes and loads what a batch was told of: see [`super::ServerWriter::begin`].
pub(super) fn open(
    link: &MysqlLink,
    slot: u8,
    wanted: &Wanted,
    remembered: &mut Remembered,
) -> Result<Opened, StoreError> {
    let owners = owners(link, wanted)?;
    let asked = wanted.in_lock_order(&owners);
    let whole = remembered.unknown(&asked);
    let mut script = Script::new(link);
    script.say(Part::Nothing, BEGIN_WRITING);
    script.say(Part::Slot, &format!("{SLOT}{slot} FOR UPDATE"));
    load(&mut script, &asked, &whole);
    load_counters(&mut script, &wanted.counters_in_lock_order());
    script.rows(Part::Answers, ANSWERS, &wanted.keys, answer_key);
    script.rows(Part::Quotes, QUOTES, &wanted.quotes, |line, (tenant, quote)| {
        line.int(tenant.0 as i64).bytes(&quote.to_bytes());
    });
    script.rows(Part::Events, EVENTS, &wanted.events, |line, (tenant, event)| {
        line.int(tenant.0 as i64).bytes(event.bytes());
    });
    let mut answers = run(script)?;
    let mut events = Vec::with_capacity(wanted.events.len());
    for (_, rows) in answers.extract_if(.., |(part, _)| *part == Part::Events) {
        for row in &rows {
            events.push((TenantNo(number(row, 0)?), KeyDigest::from_bytes(array(row, 1)?), id(row, 2)?));
        }
    }
    let mut quotes = Vec::with_capacity(wanted.quotes.len());
    for (_, rows) in answers.extract_if(.., |(part, _)| *part == Part::Quotes) {
        for row in &rows {
            quotes.push((TenantNo(number(row, 0)?), id(row, 1)?));
        }
    }
    let counters = read_counters(&mut answers)?;
    let slot = answers.extract_if(.., |(part, _)| *part == Part::Slot).next();
    let slot = read_slot(&slot.map(|(_, rows)| rows).unwrap_or_default())?;
    let (rows, answers) = read(answers)?;
    Ok(Opened { slot, asked, whole, owners, rows, known: Vec::new(), answers, quotes, events, counters })
}

/// Wallets under lock, within a transaction, with their parts.
pub(super) fn wallets(link: &MysqlLink, asked: &[WalletKey]) -> Result<WalletRows, StoreError> {
    let mut script = Script::new(link);
    load(&mut script, asked, asked);
    Ok(read(run(script)?)?.0)
}

/// The parts of wallets that are under lock.
pub(super) fn parts(link: &MysqlLink, asked: &[WalletKey], rows: &mut WalletRows) -> Result<(), StoreError> {
    let mut script = Script::new(link);
    load(&mut script, &[], asked);
    let (found, _) = read(run(script)?)?;
    rows.add_parts(found);
    Ok(())
}

/// Counters under lock, within a transaction, in the order in which every node locks them.
pub(super) fn counters(link: &MysqlLink, asked: &[CounterKey]) -> Result<Vec<(CounterKey, i64)>, StoreError> {
    let mut script = Script::new(link);
    load_counters(&mut script, asked);
    read_counters(&mut run(script)?)
}

fn load_counters(script: &mut Script<'_, Part>, asked: &[CounterKey]) {
    script.rows(Part::Nothing, MAKE_COUNTERS, asked, |line, key| {
        counter(line, key);
        line.int(0);
    });
    script.rows(Part::Counters, COUNTERS, asked, counter);
}

/// A counter's key.
pub(super) fn counter(line: &mut Line<'_>, key: &CounterKey) {
    line.int(key.tenant.0 as i64).bytes(&key.subject.to_bytes()).bytes(&key.rule.to_bytes());
    line.int(key.period_start.0);
}

/// Takes what is said of counters out of the answers.
fn read_counters(answers: &mut Vec<(Part, Vec<Row>)>) -> Result<Vec<(CounterKey, i64)>, StoreError> {
    let mut counters = Vec::new();
    for (_, rows) in answers.extract_if(.., |(part, _)| *part == Part::Counters) {
        for row in &rows {
            counters.push(read_counter(row)?);
        }
    }
    Ok(counters)
}

/// The answers to keys, as committed now.
pub(super) fn answers(
    link: &MysqlLink,
    keys: &[KeyDigest],
) -> Result<Vec<(KeyDigest, StoredAnswer)>, StoreError> {
    let mut script = Script::new(link);
    script.rows(Part::Answers, ANSWERS, keys, answer_key);
    Ok(read(run(script)?)?.1)
}

/// The wallets of subjects. They never change, so they are looked up before anything is locked.
fn owners(link: &MysqlLink, wanted: &Wanted) -> Result<Vec<(TenantNo, Id, WalletId)>, StoreError> {
    let mut script = Script::new(link);
    script.rows(Part::Owners, OWNERS, &wanted.subjects, |line, (tenant, subject)| {
        line.int(tenant.0 as i64).bytes(&subject.to_bytes());
    });
    let mut owners = Vec::with_capacity(wanted.subjects.len());
    for row in run(script)?.iter().flat_map(|(_, rows)| rows) {
        if Columns::bytes(row, 2)?.is_some() {
            owners.push((TenantNo(number(row, 0)?), id(row, 1)?, WalletId(id(row, 2)?)));
        }
    }
    Ok(owners)
}

/// Wallets first: what belongs to them, or to some of them, is read once they are locked.
fn load(script: &mut Script<'_, Part>, asked: &[WalletKey], whole: &[WalletKey]) {
    script.rows(Part::Wallets, WALLETS, asked, wallet);
    let parts = [(Part::Lots, LOTS), (Part::Holds, HOLDS), (Part::Debts, DEBTS), (Part::Freezes, FREEZES)];
    for (part, sql) in parts {
        script.rows(part, sql, whole, wallet);
    }
}

fn answer_key(line: &mut Line<'_>, key: &KeyDigest) {
    line.bytes(key.bytes());
}

/// A wallet's key.
pub(super) fn wallet(line: &mut Line<'_>, key: &WalletKey) {
    line.int(key.tenant.0 as i64).bytes(&key.id.0.to_bytes());
}

fn run(script: Script<'_, Part>) -> Result<Vec<(Part, Vec<Row>)>, StoreError> {
    script.run().map_err(|stopped| stopped.error)
}

/// Wallets and answers to keys.
type Read = (WalletRows, Vec<(KeyDigest, StoredAnswer)>);

fn read(answers: Vec<(Part, Vec<Row>)>) -> Result<Read, StoreError> {
    let (mut wallets, mut known) = (WalletRows::default(), Vec::new());
    for (part, rows) in answers {
        for row in &rows {
            match part {
                Part::Wallets => wallets.wallets.push(read_wallet_row(row)?),
                Part::Lots => {
                    let (wallet, lot) = read_lot(row)?;
                    wallets.lots.push((TenantNo(number(row, 17)?), wallet, lot));
                }
                Part::Holds => wallets.holds.push((wallet_key(row, 8)?, read_hold(row)?)),
                Part::Debts => wallets.debts.push((wallet_key(row, 5)?, read_debt(row)?)),
                Part::Freezes => wallets.freezes.push((wallet_key(row, 4)?, read_freeze(row)?)),
                Part::Answers => known.push(read_answer(row)?),
                Part::Nothing | Part::Slot | Part::Owners | Part::Quotes | Part::Events | Part::Counters => {}
            }
        }
    }
    Ok((wallets, known))
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

fn read_answer(row: &Row) -> Result<(KeyDigest, StoredAnswer), StoreError> {
    let answer = StoredAnswer { request_digest: array(row, 1)?, receipt: bytes(row, 2)?.to_vec() };
    Ok((KeyDigest::from_bytes(array(row, 0)?), answer))
}
