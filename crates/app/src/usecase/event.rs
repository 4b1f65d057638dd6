//! Facts going out: what happened to wallets, as the outbox has it.
//!
//! A reader keeps a cursor, which says how far it has come with each writer, and asks again. Nothing is told twice below one
//! cursor and nothing is left out; of one wallet the order is that of its entries.

use crate::App;
use crate::ask::EventsAsk;
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, field};
use crate::view::{EventView, Events};
use purser_core::{EntryKind, TenantNo};
use purser_store::{Announced, Heads, Position};

/// Rows of the outbox that one call looks at: those of other tenants and other kinds are passed over.
const LOOKED_AT_MAX: usize = 5_000;
/// Fell to a fifth of the last top-up, or less.
const LOW: &str = "wallet.low";
/// Nothing can be spent any more.
const DEPLETED: &str = "wallet.depleted";

/// Facts behind a cursor, oldest first.
pub async fn list(app: &App, caller: &Caller, ask: EventsAsk) -> Result<Events, AppError> {
    caller.require(Scope::Read)?;
    let limit = parse::limit(&ask.page)?;
    let wanted = ask.kind.as_deref().map(kind).transpose()?;
    let after = match (&ask.page.cursor, ask.from_now) {
        (None, true) => app.read(|reader| reader.heads()).await?,
        (None, false) => Heads::default(),
        (Some(_), true) => return Err(field("?start", "ambiguous", "a cursor says where to start")),
        (Some(text), false) => {
            cursor(text).ok_or_else(|| field("?cursor", "malformed", "use next_cursor as it was given"))?
        }
    };
    let tenant = match app.tenant_key(caller, ask.tenant.as_deref())? {
        None => None,
        Some(key) => match app.read(move |reader| reader.resolve_tenant(&key)).await? {
            Some(tenant) => Some(tenant),
            // One that is not there has no events yet.
            None => return Ok(Events { data: Vec::new(), next_cursor: render(&after) }),
        },
    };
    if ask.from_now {
        return Ok(Events { data: Vec::new(), next_cursor: render(&after) });
    }
    let (rows, reached) = app.read(move |reader| gather(reader, after, tenant, wanted, limit)).await?;
    let mut data = Vec::with_capacity(rows.len());
    for row in rows {
        let names = app.names(row.wallet.tenant, row.user).await?;
        let kinds = kinds(&row).into_iter().filter(|kind| wanted.is_none_or(|wanted| wanted == *kind));
        data.extend(kinds.map(|kind| EventView { kind, row: row.clone(), names: names.clone() }));
    }
    Ok(Events { data, next_cursor: render(&reached) })
}

/// Rows until there are `limit` of those that are wanted, or enough has been looked at.
fn gather(
    reader: &purser_store::Reader<'_>,
    mut after: Heads,
    tenant: Option<TenantNo>,
    wanted: Option<&'static str>,
    limit: usize,
) -> Result<(Vec<Announced>, Heads), purser_store::StoreError> {
    let fits = |row: &Announced| {
        tenant.is_none_or(|tenant| tenant == row.wallet.tenant)
            && wanted.is_none_or(|wanted| kinds(row).contains(&wanted))
    };
    let (mut rows, mut looked_at) = (Vec::new(), 0);
    while rows.len() < limit && looked_at < LOOKED_AT_MAX {
        // No more than may be wanted, so that none is read that is not told.
        let (found, reached) = reader.announced(&after, limit - rows.len())?;
        after = reached;
        if found.is_empty() {
            break;
        }
        looked_at += found.len();
        rows.extend(found.into_iter().filter(fits));
    }
    Ok((rows, after))
}

/// The facts in a row, in the order in which they are told.
fn kinds(row: &Announced) -> Vec<&'static str> {
    let mut kinds = vec![name(row.kind)];
    kinds.extend(row.fall.low.then_some(LOW));
    kinds.extend(row.fall.depleted.then_some(DEPLETED));
    kinds
}

fn kind(text: &str) -> Result<&'static str, AppError> {
    let numbers = (0..=u8::MAX).filter_map(EntryKind::from_number).map(name);
    let known = numbers.chain([LOW, DEPLETED]).find(|known| *known == text);
    known.ok_or_else(|| field("?type", "unknown_value", "there is no event of this type"))
}

fn name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Grant => "wallet.grant",
        EntryKind::Debit => "wallet.debit",
        EntryKind::Refund => "wallet.refund",
        EntryKind::Hold => "wallet.hold",
        EntryKind::Extend => "wallet.extend",
        EntryKind::Capture => "wallet.capture",
        EntryKind::Release => "wallet.release",
        EntryKind::HoldExpire => "wallet.hold_expire",
        EntryKind::Expire => "wallet.expire",
        EntryKind::Revoke => "wallet.revoke",
        EntryKind::Repay => "wallet.repay",
        EntryKind::Reverse => "wallet.reverse",
        EntryKind::Reinstate => "wallet.reinstate",
        EntryKind::Freeze => "wallet.freeze",
        EntryKind::Thaw => "wallet.thaw",
        EntryKind::TransferOut | EntryKind::TransferIn => "wallet.transfer",
        EntryKind::ConvertOut | EntryKind::ConvertIn => "wallet.conversion",
    }
}

/// Slot and sequence of each writer; a dash where nothing was read yet, as a cursor is never empty.
fn render(heads: &Heads) -> String {
    let parts: Vec<String> =
        heads.written().map(|head| format!("{:x}-{:x}", head.slot(), head.seq())).collect();
    if parts.is_empty() { "-".to_string() } else { parts.join(".") }
}

fn cursor(text: &str) -> Option<Heads> {
    let mut heads = Heads::default();
    for part in text.split('.').filter(|_| text != "-") {
        let (slot, seq) = part.split_once('-')?;
        let (slot, seq) = (u8::from_str_radix(slot, 16).ok()?, u64::from_str_radix(seq, 16).ok()?);
        heads.set(Position::parse(slot, seq)?);
    }
    Some(heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_given() {
        let mut heads = Heads::default();
        assert_eq!(cursor(&render(&heads)), Some(heads.clone()));
        for (slot, seq) in [(1, 5), (63, 0xff_ffff_ffff)] {
            heads.set(Position::new(slot, seq));
            assert_eq!(cursor(&render(&heads)), Some(heads.clone()));
        }
        for bad in ["", "1", "1-", "-1", "40-1", "1-100000000000000", "1-1.", "x-1", "1-1-1"] {
            assert_eq!(cursor(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_kind_that_is_told_can_be_asked_for() {
        for known in (0..=u8::MAX).filter_map(EntryKind::from_number).map(name).chain([LOW, DEPLETED]) {
            assert_eq!(kind(known).ok(), Some(known));
        }
        assert!(kind("wallet.unknown").is_err());
    }
}
