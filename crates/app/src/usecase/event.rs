//! Facts going out: what happened to wallets, as the outbox has it.
//!
//! A reader keeps a cursor, which says how far it has come with each writer, and asks again. Nothing is told twice below one
//! cursor and nothing is left out; of one wallet the order is that of its entries.

use crate::App;
use crate::ask::EventsAsk;
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, field};
use crate::view::{AlertView, EventView, Events};
use purser_core::{EntryKind, Key, TenantNo};
use purser_store::{Alerted, Announced, Heads, Reader, StoreError};

/// Rows of the outbox that are read at a time where most may be passed over.
const CHUNK: usize = 500;
/// Such reads of one call: what is more is left for the next.
const CHUNKS_MAX: usize = 10;
/// Fell to a fifth of the last top-up, or less.
const LOW: &str = "wallet.low";
/// Nothing can be spent any more.
const DEPLETED: &str = "wallet.depleted";
/// A share of a limit was reached.
const ALERT: &str = "limit.alert";
/// What a later version of Purser wrote and this one has no word for.
const CHANGED: &str = "wallet.changed";

/// Which facts are wanted.
#[derive(Clone)]
struct Wanted {
    /// The tenant's key; all tenants unless named.
    tenant: Option<Key>,
    kind: Option<&'static str>,
    limit: usize,
}

/// What one snapshot has for a reader.
struct Page {
    rows: Vec<Announced>,
    reached: Heads,
    /// Whether more was there already.
    more: bool,
}

/// Facts behind a cursor, oldest first.
pub async fn list(app: &App, caller: &Caller, ask: EventsAsk) -> Result<Events, AppError> {
    caller.require(Scope::Read)?;
    let limit = parse::limit(&ask.page)?;
    let kind = ask.kind.as_deref().map(kind).transpose()?;
    let after = match &ask.page.cursor {
        None => Heads::default(),
        Some(_) if ask.from_now => return Err(field("?start", "ambiguous", "a cursor says where to start")),
        Some(cursor) => app.reached_by(caller, cursor)?,
    };
    let tenant = app.tenant_key(caller, ask.tenant.as_deref())?;
    let (wanted, from_now) = (Wanted { tenant, kind, limit }, ask.from_now);
    let page = app.read(move |reader| read(reader, after, &wanted, from_now)).await?;
    let Page { rows, reached, more } = page.ok_or(AppError::CursorUnknown)?;
    let mut data = Vec::with_capacity(rows.len());
    for mut row in rows {
        let names = app.names(row.wallet.tenant, row.user).await?;
        let told = kinds(&row);
        let mut alerts = std::mem::take(&mut row.alerts).into_iter();
        let view = |kind, alert| EventView { kind, row: row.clone(), names: names.clone(), alert };
        for told in told {
            let alert = match (told == ALERT).then(|| alerts.next()).flatten() {
                Some(Alerted { alert, user, span }) => {
                    let user = app.names(row.wallet.tenant, user).await?.user;
                    Some(AlertView { alert, user, resets_at: span.until })
                }
                None => None,
            };
            data.extend(kind.is_none_or(|wanted| wanted == told).then(|| view(told, alert)));
        }
    }
    Ok(Events { data, next_cursor: app.cursor(caller, &reached), more })
}

/// A page in one snapshot; none where the reader has come further than anything is written, as in a database that was restored.
fn read(
    reader: &Reader<'_>,
    after: Heads,
    wanted: &Wanted,
    from_now: bool,
) -> Result<Option<Page>, StoreError> {
    let heads = reader.heads()?;
    if after.written().any(|reached| !heads.covers(reached)) {
        return Ok(None);
    }
    let end = |reached| Ok(Some(Page { rows: Vec::new(), reached, more: false }));
    if from_now {
        return end(heads);
    }
    let tenant = match &wanted.tenant {
        None => None,
        Some(key) => match reader.resolve_tenant(key)? {
            Some(tenant) => Some(tenant),
            // One that is not there has no events yet.
            None => return end(after),
        },
    };
    gather(reader, after, &heads, tenant, wanted).map(Some)
}

/// Rows until there are as many as are wanted, or enough has been looked at.
fn gather(
    reader: &Reader<'_>,
    mut reached: Heads,
    heads: &Heads,
    tenant: Option<TenantNo>,
    wanted: &Wanted,
) -> Result<Page, StoreError> {
    let fits = |row: &Announced| {
        tenant.is_none_or(|tenant| tenant == row.wallet.tenant)
            && wanted.kind.is_none_or(|wanted| match wanted {
                // What was reached is read once it is known that the row is told.
                ALERT => row.has_alerts,
                wanted => kinds(row).contains(&wanted),
            })
    };
    let choosy = tenant.is_some() || wanted.kind.is_some();
    let chunk = if choosy { CHUNK } else { wanted.limit };
    let mut rows = Vec::new();
    for _ in 0..CHUNKS_MAX {
        let (found, next) = reader.announced(&reached, heads, chunk, wanted.limit - rows.len(), fits)?;
        rows.extend(found);
        reached = next;
        if rows.len() >= wanted.limit || reached == *heads {
            break;
        }
    }
    Ok(Page { more: reached != *heads, rows, reached })
}

/// The facts in a row, in the order in which they are told.
fn kinds(row: &Announced) -> Vec<&'static str> {
    let mut kinds = vec![row.kind.map_or(CHANGED, name)];
    kinds.extend(row.fall.low.then_some(LOW));
    kinds.extend(row.fall.depleted.then_some(DEPLETED));
    kinds.extend(row.alerts.iter().map(|_| ALERT));
    kinds
}

fn kind(text: &str) -> Result<&'static str, AppError> {
    let numbers = (0..=u8::MAX).filter_map(EntryKind::from_number).map(name);
    let known = numbers.chain([LOW, DEPLETED, ALERT, CHANGED]).find(|known| *known == text);
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

#[cfg(test)]
mod tests {
    use super::*;
    use purser_core::catalogue::Unit;
    use purser_core::wallet::Fall;
    use purser_core::{Id, Timestamp, WalletId, WalletKey};
    use purser_store::Position;

    #[test]
    fn what_this_version_has_no_word_for_is_told_all_the_same() {
        let wallet = WalletKey { tenant: TenantNo(1), id: WalletId(Id(1)) };
        let fall = Fall { low: true, depleted: false };
        let (position, first_seq, entries, recorded_at) = (Position::new(1, 1), 1, 1, Timestamp(1));
        let (unit, alerts) = (Unit::credit(), Vec::new());
        let row = Announced {
            position,
            wallet,
            unit,
            user: None,
            kind: None,
            fall,
            has_alerts: false,
            alerts,
            first_seq,
            entries,
            recorded_at,
        };
        assert_eq!(kinds(&row), [CHANGED, LOW]);
    }

    #[test]
    fn every_kind_that_is_told_can_be_asked_for() {
        for known in
            (0..=u8::MAX).filter_map(EntryKind::from_number).map(name).chain([LOW, DEPLETED, ALERT, CHANGED])
        {
            assert_eq!(kind(known).ok(), Some(known));
        }
        assert!(kind("wallet.unknown").is_err());
    }
}
