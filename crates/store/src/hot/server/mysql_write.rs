//! What a batch writes on MariaDB and MySQL: rows of literals by table, the slot's seal and the COMMIT, in one text.

use super::lease::Seal;
use super::mysql::{counter, wallet};
use super::mysql_text::{Line, Script};
use super::pending::{
    AnswerRow, EntryRow, HoldRow, LotRow, OutboxRow, Pending, QuoteRow, TextRow, WalletRow, owner_columns,
};
use crate::driver::mysql::MysqlLink;
use crate::error::{CommitError, StoreError};
use purser_core::{Id, Timestamp};

const INSERT_ENTRIES: &str = "
    INSERT INTO entry (position, prev_position, tenant_no, wallet_id, seq, kind, subject, amount, held_delta,
                       settled_after, user_no, actor_kind, actor_no, occurred_at, recorded_at, allocations, terms,
                       text_digest, hash) VALUES {rows}";
const INSERT_TEXTS: &str = "
    INSERT INTO entry_text (position, tenant_no, salt, reference, metadata, reason) VALUES {rows}";
const INSERT_OUTBOX: &str = "
    INSERT INTO outbox (position, tenant_no, wallet_id, event, first_seq, entries) VALUES {rows}";
const INSERT_ANSWERS: &str = "
    INSERT INTO answer (position, tenant_no, key_digest, request_digest, receipt, created_at) VALUES {rows}";
const INSERT_QUOTES: &str = "INSERT INTO quote_use (tenant_no, quote_id, expires_at) VALUES {rows}";
const INSERT_EVENTS: &str = "INSERT INTO usage_event (event, tenant_no, debit) VALUES {rows}";
const COUNT: &str = "
    INSERT INTO counter (tenant_no, subject, rule, period_start, used) VALUES {rows}
        ON DUPLICATE KEY UPDATE used = used + VALUES(used)";
const INSERT_WALLETS: &str = "
    INSERT INTO wallet (tenant_no, wallet_id, owner_kind, owner_no, unit_code, scale, created_at, seq, head,
                        head_position, recorded_at, settled, held, frozen, debt, last_topup) VALUES {rows}";
const UPDATE_WALLETS: &str = "
    UPDATE (WITH given (of_tenant, of_wallet, was_seq, new_seq, new_head, new_position, new_recorded, new_settled,
                        new_held, new_frozen, new_debt, new_topup) AS ({table}) SELECT * FROM given) given
           STRAIGHT_JOIN wallet FORCE INDEX (PRIMARY)
           ON tenant_no = of_tenant AND wallet_id = of_wallet AND seq = was_seq
       SET seq = new_seq, head = new_head, head_position = new_position, recorded_at = new_recorded,
           settled = new_settled, held = new_held, frozen = new_frozen, debt = new_debt, last_topup = new_topup";
const INSERT_LOTS: &str = "
    INSERT INTO lot (tenant_no, lot_id, remaining, held, frozen, money, expired, expired_money, is_open, wallet_id,
                     kind, priority, effective_at, expires_at, granted, paid_minor, paid_currency, origin, parent)
    VALUES {rows}";
/// Lots that stay open: no column of an index is assigned.
const UPDATE_OPEN_LOTS: &str = "
    UPDATE (WITH given (of_tenant, of_lot, new_remaining, new_held, new_frozen, new_money, new_expired,
                        new_expired_money) AS ({table}) SELECT * FROM given) given
           STRAIGHT_JOIN lot FORCE INDEX (PRIMARY) ON tenant_no = of_tenant AND lot_id = of_lot
       SET remaining = new_remaining, held = new_held, frozen = new_frozen, money = new_money,
           expired = new_expired, expired_money = new_expired_money";
const UPDATE_LOTS: &str = "
    UPDATE (WITH given (of_tenant, of_lot, new_remaining, new_held, new_frozen, new_money, new_expired,
                        new_expired_money, new_open) AS ({table}) SELECT * FROM given) given
           STRAIGHT_JOIN lot FORCE INDEX (PRIMARY) ON tenant_no = of_tenant AND lot_id = of_lot
       SET remaining = new_remaining, held = new_held, frozen = new_frozen, money = new_money,
           expired = new_expired, expired_money = new_expired_money, is_open = new_open";
const INSERT_HOLDS: &str = "
    INSERT INTO hold (tenant_no, wallet_id, hold_id, state, terms, pins, held, captured, expires_at, user_no, placed_at)
    VALUES {rows}";
const UPDATE_HOLDS: &str = "
    UPDATE (WITH given (of_tenant, of_wallet, of_hold, new_state, new_terms, new_pins, new_held, new_captured,
                        new_expires) AS ({table}) SELECT * FROM given) given
           STRAIGHT_JOIN hold FORCE INDEX (PRIMARY)
           ON tenant_no = of_tenant AND wallet_id = of_wallet AND hold_id = of_hold
       SET state = new_state, terms = new_terms, pins = new_pins, held = new_held, captured = new_captured,
           expires_at = new_expires";
const DELETE_DEBTS: &str = "
    DELETE old FROM (WITH gone (of_tenant, of_wallet) AS ({table}) SELECT * FROM gone) gone
           STRAIGHT_JOIN debt old FORCE INDEX (PRIMARY) ON tenant_no = of_tenant AND wallet_id = of_wallet";
const INSERT_DEBTS: &str = "
    INSERT INTO debt (tenant_no, wallet_id, seq, cause, subject, origin, amount) VALUES {rows}";
const DELETE_FREEZES: &str = "
    DELETE old FROM (WITH gone (of_tenant, of_wallet) AS ({table}) SELECT * FROM gone) gone
           STRAIGHT_JOIN open_freeze old FORCE INDEX (PRIMARY) ON tenant_no = of_tenant AND wallet_id = of_wallet";
const INSERT_FREEZES: &str = "
    INSERT INTO open_freeze (tenant_no, wallet_id, ordinal, cause, lot_id, wanted, taken) VALUES {rows}";

/// The statements that join: all by primary keys.
#[cfg(test)]
pub(super) const JOINS: [&str; 6] =
    [UPDATE_WALLETS, UPDATE_OPEN_LOTS, UPDATE_LOTS, UPDATE_HOLDS, DELETE_DEBTS, DELETE_FREEZES];

/// The statement before which the outcome of the batch is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Write,
    Commit,
}

/// Writes everything that is pending and commits, in one go.
pub(super) fn record(link: &MysqlLink, pending: &Pending, seal: &Seal) -> Result<(), CommitError> {
    if link.is_undone() {
        let what = "a statement of the transaction failed, so nothing may be written in it".into();
        return Err(CommitError::Failed(StoreError::Other(what)));
    }
    let mut script = Script::new(link);
    state(pending, &mut script);
    ledger(pending, &mut script);
    let Seal { slot, epoch, seq, leased_until } = seal;
    let seal = format!(
        "UPDATE slot SET seq = {seq}, leased_until = {leased_until} WHERE slot = {slot} AND epoch = {epoch}"
    );
    script.say(Step::Write, &seal);
    script.say(Step::Commit, "COMMIT");
    script.run().map(|_| ()).map_err(|stopped| {
        // What the server says of a statement it says before it would reach the COMMIT, and what is not in the last text it
        // has not seen. Without its word, or when the COMMIT itself failed, nobody knows how far it came.
        if stopped.at == Some(Step::Write) || !stopped.in_last_text {
            CommitError::Failed(stopped.error)
        } else {
            CommitError::Unknown(stopped.error)
        }
    })
}

type Writing<'l> = Script<'l, Step>;

/// What can never change.
fn ledger(pending: &Pending, script: &mut Writing<'_>) {
    let Pending { entries, texts, outbox, answers, .. } = pending;
    script.rows(Step::Write, INSERT_ENTRIES, entries, entry);
    script.rows(Step::Write, INSERT_TEXTS, texts, |line, TextRow { position, tenant, text }| {
        line.int(position.to_sql()).int(tenant.0 as i64).bytes(&text.salt);
        line.bytes_option(text.reference.as_deref().map(str::as_bytes));
        line.text_option(text.metadata.as_deref()).text_option(text.reason.as_deref());
    });
    script.rows(Step::Write, INSERT_OUTBOX, outbox, |line, row| {
        let OutboxRow { position, wallet, event, first_seq, entries } = row;
        line.int(position.to_sql()).int(wallet.tenant.0 as i64).bytes(&wallet.id.0.to_bytes());
        line.int(*event).int(*first_seq as i64).int(*entries as i64);
    });
    script.rows(Step::Write, INSERT_ANSWERS, answers, |line, row| {
        let AnswerRow { position, tenant, key, answer, created_at } = row;
        line.int(position.to_sql()).int(tenant.0 as i64).bytes(key.bytes());
        line.bytes(&answer.request_digest).bytes(&answer.receipt).int(created_at.0);
    });
}

fn entry(line: &mut Line<'_>, row: &EntryRow) {
    let EntryRow { position, previous, entry, allocations, terms } = row;
    line.int(position.to_sql()).int(previous.to_sql());
    wallet(line, &entry.wallet);
    line.int(entry.seq as i64).int(entry.kind as i64).bytes(&entry.subject.to_bytes());
    line.int(entry.amount.0).int(entry.held_delta.0).int(entry.settled_after.0);
    line.int_option(entry.user.map(|user| user.0 as i64));
    line.int(entry.actor.kind as i64).int(entry.actor.no as i64);
    line.int(entry.occurred_at.0).int(entry.recorded_at.0).bytes(allocations).bytes(terms);
    line.bytes_option(entry.text_digest.as_ref().map(|digest| &digest[..])).bytes(&entry.hash);
}

/// What is derived from entries.
fn state(pending: &Pending, script: &mut Writing<'_>) {
    wallets(pending, script);
    lots(pending, script);
    holds(pending, script);
    script.rows(
        Step::Write,
        INSERT_QUOTES,
        &pending.quotes,
        |line, QuoteRow { tenant, quote, expires_at }| {
            line.int(tenant.0 as i64).bytes(&quote.to_bytes()).int(expires_at.0);
        },
    );
    script.rows(Step::Write, INSERT_EVENTS, &pending.events, |line, ((tenant, event), debit)| {
        line.bytes(event.bytes()).int(tenant.0 as i64).bytes(&debit.to_bytes());
    });
    script.rows(Step::Write, COUNT, pending.counts_in_lock_order(), |line, (key, change)| {
        counter(line, &key);
        line.int(change);
    });
    let Pending { owing, debts, freezing, freezes, .. } = pending;
    script.rows(Step::Write, DELETE_DEBTS, owing, wallet);
    script.rows(Step::Write, INSERT_DEBTS, debts, |line, (key, debt)| {
        wallet(line, key);
        line.int(debt.seq as i64).int(debt.cause as i64).bytes(&debt.subject.to_bytes());
        id_option(line, debt.origin);
        line.int(debt.amount.0);
    });
    script.rows(Step::Write, DELETE_FREEZES, freezing, wallet);
    script.rows(Step::Write, INSERT_FREEZES, freezes, |line, (key, ordinal, freeze)| {
        wallet(line, key);
        line.int(*ordinal as i64).bytes(&freeze.cause.to_bytes()).bytes(&freeze.lot.to_bytes());
        line.int(freeze.wanted.0).int(freeze.taken.0);
    });
}

fn wallets(pending: &Pending, script: &mut Writing<'_>) {
    let new = pending.wallets.iter().filter(|row| row.before.is_none());
    script.rows(Step::Write, INSERT_WALLETS, new, |line, row| {
        let unit = &row.wallet.unit;
        let (owner_kind, owner_no) = owner_columns(row.wallet.owner);
        wallet(line, &row.wallet.key);
        line.int(owner_kind).int(owner_no).bytes(unit.code.as_str().as_bytes());
        line.int(unit.scale.decimals().into()).int(row.created_at.0);
        balances(line, row);
    });
    // Every entry has a seq of its own, so a wallet with the seq it was loaded with is what it was.
    let changed = pending.wallets.iter().filter_map(|row| Some((row.before?, row)));
    let changed = changed.filter(|(before, row)| *before != row.wallet.seq);
    let write = |line: &mut Line<'_>, (before, row): (u64, &WalletRow)| {
        wallet(line, &row.wallet.key);
        line.int(before as i64);
        balances(line, row);
    };
    // The rows are locked, so their seq is what was loaded; if ever it were not, a second row where one is expected undoes
    // the batch before its COMMIT, which is under way already.
    script.rows_and(Step::Write, UPDATE_WALLETS, changed, write, |script, count| {
        script
            .say(Step::Write, &format!("SELECT IF(ROW_COUNT() = {count}, 1, (SELECT 1 UNION ALL SELECT 2))"));
    });
}

fn balances(line: &mut Line<'_>, row: &WalletRow) {
    let wallet = &row.wallet;
    line.int(wallet.seq as i64).bytes(&wallet.head).int(row.head.to_sql()).int(wallet.recorded_at.0);
    line.int(wallet.settled.0).int(wallet.held.0).int(wallet.frozen.0).int(wallet.debt.0);
    line.int(wallet.last_topup.0);
}

fn lots(pending: &Pending, script: &mut Writing<'_>) {
    script.rows(Step::Write, INSERT_LOTS, &pending.lots_new, |line, row| {
        let terms = &row.lot.terms;
        amounts(line, row);
        line.int(row.is_open()).bytes(&row.wallet.id.0.to_bytes());
        line.int(terms.kind as i64).int(terms.priority.into()).int(terms.effective_at.0);
        line.int(terms.expires_at.unwrap_or(Timestamp::NEVER).0).int(terms.granted.0);
        line.int_option(terms.paid.as_ref().map(|money| money.minor));
        line.bytes_option(terms.paid.as_ref().map(|money| money.currency.code().as_bytes()));
        id_option(line, terms.origin);
        id_option(line, terms.parent);
    });
    let (open, turned): (Vec<&LotRow>, Vec<&LotRow>) =
        pending.lots_changed.iter().partition(|row| row.stays_open());
    script.rows(Step::Write, UPDATE_OPEN_LOTS, open, amounts);
    script.rows(Step::Write, UPDATE_LOTS, turned, |line, row| {
        amounts(line, row);
        line.int(row.is_open());
    });
}

fn amounts(line: &mut Line<'_>, row: &LotRow) {
    let lot = &row.lot;
    line.int(row.wallet.tenant.0 as i64).bytes(&lot.terms.id.to_bytes());
    line.int(lot.remaining.0).int(lot.held.0).int(lot.frozen.0).int(lot.money);
    line.int(lot.expired.0).int(lot.expired_money);
}

fn holds(pending: &Pending, script: &mut Writing<'_>) {
    script.rows(Step::Write, INSERT_HOLDS, &pending.holds_new, |line, row| {
        hold(line, row);
        line.int_option(row.hold.user.map(|user| user.0 as i64)).int(row.hold.placed_at.0);
    });
    script.rows(Step::Write, UPDATE_HOLDS, &pending.holds_changed, hold);
}

fn hold(line: &mut Line<'_>, HoldRow { wallet: key, hold, terms, pins }: &HoldRow) {
    wallet(line, key);
    line.bytes(&hold.id.to_bytes()).int(hold.state as i64).bytes(terms).bytes(pins);
    line.int(hold.held.0).int(hold.captured.0).int(hold.terms.expires_at.0);
}

fn id_option(line: &mut Line<'_>, id: Option<Id>) {
    line.bytes_option(id.map(Id::to_bytes).as_ref().map(|bytes| &bytes[..]));
}
