//! Reading wallets: search, balance, statement, lots, holds, a past instant.
//!
//! Wallets that changed lately are in memory and ahead of their rows; the others are read from rows. Reads decide
//! nothing: whether something may be spent is known only by trying to.

use super::hold::active;
use crate::App;
use crate::ask::{PageAsk, WalletSearch, Whose};
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, field};
use crate::view::{EntryView, HoldView, LotView, Names, Page, WalletView, title_of};
use purser_core::catalogue::Unit;
use purser_core::decide::project;
use purser_core::entry::Terms;
use purser_core::id::Prefix;
use purser_core::wallet::{Lot, Owner};
use purser_core::{Id, LotId, Rejection, TenantNo, Timestamp, Wallet, WalletId, WalletKey};
use purser_store::{Position, StoredEntry, StoredWallet, WalletFilter};

/// Entries that one step of a rebuild reads.
const REBUILD_STEP: usize = 4_096;

/// A wallet as of the last commit.
pub(crate) struct Current {
    pub(crate) wallet: Wallet,
    pub(crate) head: Position,
}

impl App {
    /// The wallet as of the last commit.
    pub(crate) async fn wallet_now(&self, key: WalletKey) -> Result<Option<Current>, AppError> {
        // Memory first: what is not there has exact rows at this moment, and rows never get older.
        if let Some(live) = self.inner.live.get(key) {
            return Ok(Some(Current { wallet: live.wallet.clone(), head: live.head }));
        }
        let stored = self.read(move |reader| reader.wallet(key)).await?;
        Ok(stored.map(|stored| Current { wallet: stored.loaded.wallet, head: stored.loaded.head }))
    }

    /// The unit of a wallet that exists.
    pub(crate) async fn unit_of_wallet(&self, key: WalletKey) -> Result<Unit, AppError> {
        let found = self.wallet_now(key).await?;
        Ok(found.ok_or(AppError::Rejected(Rejection::WalletNotFound))?.wallet.unit)
    }

    /// The unit in which a grant, debit or hold is counted.
    pub(crate) async fn unit_of_subject(
        &self,
        tenant: TenantNo,
        subject: Id,
        what: &'static str,
    ) -> Result<Unit, AppError> {
        let owner = self.read(move |reader| reader.wallet_of(tenant, subject)).await?;
        let id = owner.ok_or(AppError::NotFound { what })?;
        self.unit_of_wallet(WalletKey { tenant, id }).await
    }

    /// A lot as of the last commit.
    pub(crate) async fn lot_now(&self, tenant: TenantNo, id: LotId) -> Result<Option<Lot>, AppError> {
        let Some(owner) = self.read(move |reader| reader.wallet_of(tenant, id)).await? else {
            return Ok(None);
        };
        if let Some(live) = self.inner.live.get(WalletKey { tenant, id: owner })
            && let Some(lot) = live.wallet.lot(id)
        {
            return Ok(Some(lot.clone()));
        }
        Ok(self.read(move |reader| reader.lot(tenant, id)).await?.map(|(_, lot)| lot))
    }

    /// A wallet's lots, spent ones too, newest first.
    pub(crate) async fn lots_newest_first(
        &self,
        key: WalletKey,
        before: Option<LotId>,
        limit: usize,
    ) -> Result<Vec<Lot>, AppError> {
        let live = self.inner.live.get(key);
        let mut lots = self.read(move |reader| reader.lots(key, before, limit)).await?;
        if let Some(live) = live {
            // Memory has every lot whose row is behind, and its word is the newer one.
            lots.retain(|lot| live.wallet.lot(lot.terms.id).is_none());
            let newer =
                live.wallet.lots.iter().filter(|lot| before.is_none_or(|before| lot.terms.id < before));
            lots.extend(newer.cloned());
            lots.sort_by_key(|lot| std::cmp::Reverse(lot.terms.id));
            lots.truncate(limit);
        }
        Ok(lots)
    }

    async fn view(
        &self,
        wallet: &Wallet,
        created_at: Timestamp,
        as_of: Timestamp,
    ) -> Result<WalletView, AppError> {
        let (kind, user) = match wallet.owner {
            Owner::User(user) => ("personal", Some(user)),
            Owner::Pool(_) => ("pool", None),
        };
        let names = self.names(wallet.key.tenant, user).await?;
        let config = self.config();
        let unit_name =
            config.units.iter().find(|row| row.unit.code == wallet.unit.code).map(|row| row.name.clone());
        Ok(WalletView {
            key: wallet.key,
            unit: wallet.unit.clone(),
            unit_name: unit_name.unwrap_or_else(|| wallet.unit.code.to_string()),
            kind,
            names,
            balance: project(wallet, as_of).balance(as_of),
            as_of,
            created_at,
        })
    }

    /// The same wallets as of the last commit: memory where it is ahead, else rows read afterwards.
    async fn freshen(&self, stored: Vec<StoredWallet>) -> Result<Vec<(Wallet, Timestamp)>, AppError> {
        let mut fresh = Vec::with_capacity(stored.len());
        for StoredWallet { loaded, created_at } in stored {
            let current = self.wallet_now(loaded.wallet.key).await?;
            fresh.push((current.map_or(loaded.wallet, |current| current.wallet), created_at));
        }
        Ok(fresh)
    }
}

/// The wallets of a user in funding order, with balances now. Makes nothing: an unknown user has no wallets.
pub async fn balance(
    app: &App,
    caller: &Caller,
    whose: Whose,
    unit: Option<String>,
) -> Result<Vec<WalletView>, AppError> {
    caller.require(Scope::Read)?;
    let named = app.named(caller, whose.tenant.as_deref(), &whose.user)?;
    let unit = unit.map(|code| app.unit(Some(&code))).transpose()?.map(|unit| unit.code);
    let Some((tenant, user)) = app.find_user(&named).await? else { return Ok(Vec::new()) };
    let filter = WalletFilter { tenant: Some(tenant), user: Some(user), unit };
    // One wallet for each unit at the most: a page of the largest size holds them all.
    let stored = app.read(move |reader| reader.wallets(&filter, None, 500)).await?;
    let now = app.now();
    let mut views = Vec::with_capacity(stored.len());
    for (wallet, created_at) in app.freshen(stored).await? {
        views.push(app.view(&wallet, created_at, now.max(wallet.recorded_at)).await?);
    }
    Ok(views)
}

/// Wallets that match, by id.
pub async fn search(
    app: &App,
    caller: &Caller,
    search: WalletSearch,
    page: PageAsk,
) -> Result<Page<WalletView>, AppError> {
    caller.require(Scope::Read)?;
    let limit = parse::limit(&page)?;
    let after = page.cursor.as_ref().map(|text| {
        let found = purser_core::id::parse(Prefix::Wallet, text);
        found.map(|(tenant, id)| WalletKey { tenant, id: WalletId(id) })
    });
    let after = match after {
        Some(None) => return Err(field("?cursor", "malformed", "use next_cursor as it was given")),
        Some(key) => key,
        None => None,
    };
    let Some(filter) = filter(app, caller, &search).await? else {
        return Ok(Page { data: Vec::new(), next_cursor: None });
    };
    let stored = app.read(move |reader| reader.wallets(&filter, after, limit)).await?;
    let last = stored.last().filter(|_| stored.len() == limit).map(|last| last.loaded.wallet.key);
    let now = app.now();
    let mut data = Vec::with_capacity(stored.len());
    for (wallet, created_at) in app.freshen(stored).await? {
        data.push(app.view(&wallet, created_at, now.max(wallet.recorded_at)).await?);
    }
    let next_cursor = last.map(|key| purser_core::id::render(Prefix::Wallet, key.tenant, key.id.0));
    Ok(Page { data, next_cursor })
}

/// What to search for; none when nothing can match.
async fn filter(app: &App, caller: &Caller, search: &WalletSearch) -> Result<Option<WalletFilter>, AppError> {
    let unit = search.unit.as_deref().map(|code| app.unit(Some(code))).transpose()?.map(|unit| unit.code);
    let mut filter = WalletFilter { tenant: None, user: None, unit };
    if let Some(user) = &search.user {
        let named = app.named(caller, search.tenant.as_deref(), user)?;
        let Some((tenant, user)) = app.find_user(&named).await? else { return Ok(None) };
        (filter.tenant, filter.user) = (Some(tenant), Some(user));
    } else if let Some(tenant) = app.tenant_key(caller, search.tenant.as_deref())? {
        let Some(tenant) = app.read(move |reader| reader.resolve_tenant(&tenant)).await? else {
            return Ok(None);
        };
        filter.tenant = Some(tenant);
    }
    Ok(Some(filter))
}

pub(super) async fn named_wallet(
    app: &App,
    caller: &Caller,
    wallet_id: &str,
) -> Result<(Current, Timestamp), AppError> {
    caller.require(Scope::Read)?;
    let (tenant, id) = parse::id(caller, Prefix::Wallet, wallet_id, "wallet")?;
    let key = WalletKey { tenant, id: WalletId(id) };
    let missing = || AppError::NotFound { what: "wallet" };
    let current = app.wallet_now(key).await?.ok_or_else(missing)?;
    let stored = app.read(move |reader| reader.wallet(key)).await?.ok_or_else(missing)?;
    Ok((current, stored.created_at))
}

/// One wallet now.
pub async fn read(app: &App, caller: &Caller, wallet_id: &str) -> Result<WalletView, AppError> {
    let (current, created_at) = named_wallet(app, caller, wallet_id).await?;
    let now = app.now().max(current.wallet.recorded_at);
    app.view(&current.wallet, created_at, now).await
}

/// One wallet at a past instant (RFC 3339): its entries recorded until then, and what was due then.
pub async fn at(app: &App, caller: &Caller, wallet_id: &str, time: &str) -> Result<WalletView, AppError> {
    let (Current { wallet, head }, created_at) = named_wallet(app, caller, wallet_id).await?;
    let time = parse::time("?time", time)?;
    if time > app.now() {
        return Err(field("?time", "out_of_range", "the future is not known yet"));
    }
    let mut past = Wallet::new(wallet.key.tenant, wallet.owner, wallet.unit.clone());
    let past = app
        .read(move |reader| {
            while past.seq < wallet.seq {
                let entries = reader.entries_from(wallet.key, head, past.seq, REBUILD_STEP)?;
                for entry in &entries {
                    if entry.recorded_at > time {
                        return Ok(past);
                    }
                    past.apply(entry).map_err(|what| purser_store::StoreError::Inconsistent {
                        table: "entry",
                        key: format!("{:?} seq {}", entry.wallet, entry.seq),
                        what: what.into(),
                    })?;
                }
                past.forget_final_holds();
                if entries.is_empty() {
                    break;
                }
            }
            Ok(past)
        })
        .await?;
    app.view(&past, created_at, time).await
}

/// The statement, newest first; with `reference`, only entries that carry it.
pub async fn entries(
    app: &App,
    caller: &Caller,
    wallet_id: &str,
    reference: Option<String>,
    page: PageAsk,
) -> Result<Page<EntryView>, AppError> {
    let (Current { wallet, head }, _) = named_wallet(app, caller, wallet_id).await?;
    let limit = parse::limit(&page)?;
    let before: Option<u64> = parse::cursor(&page)?;
    let key = wallet.key;
    let stored = app
        .read(move |reader| match &reference {
            None => reader.entries(key, head, before, limit),
            Some(reference) => reader.entries_by_reference(key, reference, before, limit),
        })
        .await?;
    let last = stored.last().filter(|last| stored.len() == limit && last.entry.seq > 1);
    let next_cursor = last.map(|last| last.entry.seq.to_string());
    let mut data = Vec::with_capacity(stored.len());
    for entry in stored {
        data.push(entry_view(app, entry, &wallet.unit).await?);
    }
    Ok(Page { data, next_cursor })
}

async fn entry_view(app: &App, stored: StoredEntry, unit: &Unit) -> Result<EntryView, AppError> {
    let StoredEntry { entry, text, .. } = stored;
    let mut names: Names = app.names(entry.wallet.tenant, entry.user).await?;
    let mut title = title_of(entry.kind).to_string();
    let action = entry.terms.charge().map(|charge| charge.action);
    if let Some(row) =
        action.and_then(|no| app.config().actions.iter().find(|row| row.action.no == no).cloned())
    {
        names.action = Some(row.action.key.clone());
        title = match entry.terms {
            Terms::Charge(_) => row.name,
            _ => format!("{title}: {}", row.name),
        };
    }
    let (reference, metadata, reason) =
        text.map_or((None, None, None), |text| (text.reference, text.metadata, text.reason));
    Ok(EntryView { entry, names, title, unit: unit.clone(), reference, reason, metadata })
}

/// The open lots in burn order.
pub async fn lots(
    app: &App,
    caller: &Caller,
    wallet_id: &str,
    page: PageAsk,
) -> Result<Page<LotView>, AppError> {
    let (current, _) = named_wallet(app, caller, wallet_id).await?;
    let (limit, skip) = (parse::limit(&page)?, parse::cursor::<usize>(&page)?.unwrap_or(0));
    let wallet = project(&current.wallet, app.now().max(current.wallet.recorded_at));
    let open: Vec<&Lot> = wallet.lots.iter().filter(|lot| lot.remaining.is_positive()).collect();
    let view = |lot: &&Lot| LotView { lot: (*lot).clone(), unit: wallet.unit.clone(), wallet: wallet.key };
    Ok(page_of(&open, skip, limit, view))
}

/// The active holds by id.
pub async fn holds(
    app: &App,
    caller: &Caller,
    wallet_id: &str,
    page: PageAsk,
) -> Result<Page<HoldView>, AppError> {
    let (current, _) = named_wallet(app, caller, wallet_id).await?;
    let (limit, skip) = (parse::limit(&page)?, parse::cursor::<usize>(&page)?.unwrap_or(0));
    let now = app.now().max(current.wallet.recorded_at);
    let wallet = project(&current.wallet, now);
    let balance = wallet.balance(now);
    let open: Vec<_> = active(&wallet).collect();
    let Page { data, next_cursor } = page_of(&open, skip, limit, |hold| (*hold).clone());
    let mut views = Vec::with_capacity(data.len());
    for hold in data {
        let mut names = app.names(wallet.key.tenant, hold.user).await?;
        names.action = app.action_key(hold.terms.charge.action);
        views.push(HoldView { hold, wallet: wallet.key, unit: wallet.unit.clone(), names, balance });
    }
    Ok(Page { data: views, next_cursor })
}

/// A page of a list that is in memory as a whole; the cursor counts what came before.
fn page_of<T, V>(all: &[T], skip: usize, limit: usize, view: impl Fn(&T) -> V) -> Page<V> {
    let data: Vec<V> = all.iter().skip(skip).take(limit).map(view).collect();
    let next = skip.saturating_add(data.len());
    Page { next_cursor: (next < all.len()).then(|| next.to_string()), data }
}
