//! What a batch writes on PostgreSQL: all of it and its COMMIT in one round trip.
//!
//! Arrays are unnested in the SELECT list and not in FROM, where each of them would first be copied into a store of its own: with
//! more than fifty a batch that was a sixth of what PostgreSQL did for a debit.

use super::lease::Seal;
use super::pending::{HoldRow, LotRow, Pending, WalletRow, owner_columns};
use super::postgres_call::{Call, send};
use super::postgres_counters;
use crate::driver::postgres::{PostgresLink, classify};
use crate::error::CommitError;
use purser_core::{Id, Timestamp};
use tokio_postgres::error::Severity;

const INSERT_EVENTS: &str = "
    INSERT INTO usage_event (event, tenant_no, debit) SELECT unnest($1), unnest($2), unnest($3)";
const INSERT_QUOTES: &str = "
    INSERT INTO quote_use (tenant_no, quote_id, expires_at) SELECT unnest($1), unnest($2), unnest($3)";
const INSERT_TEXTS: &str = "
    INSERT INTO entry_text (position, tenant_no, salt, reference, metadata, reason)
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6)";
const INSERT_WALLETS: &str = "
    INSERT INTO wallet (tenant_no, wallet_id, owner_kind, owner_no, unit_code, scale, seq, head, head_position,
                        recorded_at, settled, held, frozen, debt, last_topup, created_at)
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), unnest($7), unnest($8), unnest($9),
           unnest($10), unnest($11), unnest($12), unnest($13), unnest($14), unnest($15), unnest($16)";
const INSERT_LOTS: &str = "
    INSERT INTO lot (tenant_no, lot_id, wallet_id, is_open, kind, priority, effective_at, expires_at, granted, remaining,
                     held, frozen, paid_minor, paid_currency, money, expired, expired_money, origin, parent)
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), unnest($7), unnest($8), unnest($9),
           unnest($10), unnest($11), unnest($12), unnest($13), unnest($14), unnest($15), unnest($16), unnest($17),
           unnest($18), unnest($19)";
const UPDATE_LOTS: &str = "
    UPDATE lot SET remaining = new.remaining, held = new.held, frozen = new.frozen, money = new.money,
                   expired = new.expired, expired_money = new.expired_money, is_open = new.is_open
      FROM (SELECT unnest($1) AS tenant_no, unnest($2) AS wallet_id, unnest($3) AS lot_id, unnest($4) AS remaining,
                   unnest($5) AS held, unnest($6) AS frozen, unnest($7) AS money, unnest($8) AS expired,
                   unnest($9) AS expired_money, unnest($10) AS is_open) AS new
     WHERE lot.tenant_no = new.tenant_no AND lot.lot_id = new.lot_id AND lot.wallet_id = new.wallet_id";
const INSERT_HOLDS: &str = "
    INSERT INTO hold (tenant_no, wallet_id, hold_id, state, terms, pins, held, captured, user_no, placed_at, expires_at)
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), unnest($7), unnest($8), unnest($9),
           unnest($10), unnest($11)";
const UPDATE_HOLDS: &str = "
    UPDATE hold SET state = new.state, terms = new.terms, pins = new.pins, held = new.held, captured = new.captured,
                    expires_at = new.expires_at
      FROM (SELECT unnest($1) AS tenant_no, unnest($2) AS wallet_id, unnest($3) AS hold_id, unnest($4) AS state,
                   unnest($5) AS terms, unnest($6) AS pins, unnest($7) AS held, unnest($8) AS captured,
                   unnest($9) AS expires_at) AS new
     WHERE hold.tenant_no = new.tenant_no AND hold.wallet_id = new.wallet_id AND hold.hold_id = new.hold_id";
const DELETE_DEBTS: &str = "
    DELETE FROM debt USING (SELECT unnest($1) AS of_tenant, unnest($2) AS of_wallet) AS gone
     WHERE debt.tenant_no = of_tenant AND debt.wallet_id = of_wallet";
const INSERT_DEBTS: &str = "
    INSERT INTO debt (tenant_no, wallet_id, seq, cause, subject, origin, amount)
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), unnest($7)";
const DELETE_FREEZES: &str = "
    DELETE FROM open_freeze USING (SELECT unnest($1) AS of_tenant, unnest($2) AS of_wallet) AS gone
     WHERE open_freeze.tenant_no = of_tenant AND open_freeze.wallet_id = of_wallet";
const INSERT_FREEZES: &str = "
    INSERT INTO open_freeze (tenant_no, wallet_id, ordinal, cause, lot_id, wanted, taken)
    SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), unnest($7)";
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
          FROM (SELECT unnest($1) AS tenant_no, unnest($2) AS wallet_id, unnest($3) AS before, unnest($4) AS seq,
                       unnest($5) AS head, unnest($6) AS head_position, unnest($7) AS recorded_at, unnest($8) AS settled,
                       unnest($9) AS held, unnest($10) AS frozen, unnest($11) AS debt, unnest($12) AS last_topup) AS new
         WHERE wallet.tenant_no = new.tenant_no AND wallet.wallet_id = new.wallet_id AND wallet.seq = new.before
        RETURNING 1),
    spent AS (
        UPDATE lot SET remaining = new.remaining, held = new.held, frozen = new.frozen, money = new.money,
                       expired = new.expired, expired_money = new.expired_money
          FROM (SELECT unnest($14) AS tenant_no, unnest($15) AS wallet_id, unnest($16) AS lot_id,
                       unnest($17) AS remaining, unnest($18) AS held, unnest($19) AS frozen, unnest($20) AS money,
                       unnest($21) AS expired, unnest($22) AS expired_money) AS new
         WHERE lot.tenant_no = new.tenant_no AND lot.lot_id = new.lot_id AND lot.wallet_id = new.wallet_id),
    entered AS (
        INSERT INTO entry (position, prev_position, tenant_no, wallet_id, seq, kind, subject, amount, held_delta,
                           settled_after, user_no, actor_kind, actor_no, occurred_at, recorded_at, allocations, terms,
                           text_digest, hash)
        SELECT unnest($23), unnest($24), unnest($25), unnest($26), unnest($27), unnest($28), unnest($29), unnest($30),
               unnest($31), unnest($32), unnest($33), unnest($34), unnest($35), unnest($36), unnest($37), unnest($38),
               unnest($39), unnest($40), unnest($41)),
    announced AS (
        INSERT INTO outbox (position, tenant_no, wallet_id, event, first_seq, entries)
        SELECT unnest($42), unnest($43), unnest($44), unnest($45), unnest($46), unnest($47)),
    answered AS (
        INSERT INTO answer (position, tenant_no, key_digest, request_digest, receipt, created_at)
        SELECT unnest($48), unnest($49), unnest($50), unnest($51), unnest($52), unnest($53)),
    sealed AS (UPDATE slot SET seq = $56, leased_until = $57 WHERE slot = $54 AND epoch = $55)
    SELECT 1 / (CASE WHEN COUNT(*) = $13 THEN 1 ELSE 0 END) FROM changed";

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
