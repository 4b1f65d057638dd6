//! Wallets: search, reading, the statement, lots, holds, and the balance at a past instant.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::WalletSearch;
use purser_app::usecase::wallet;
use purser_app::view::{EntryView, LotView, WalletView};
use purser_core::entry::Actor;
use purser_core::id::Prefix;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::ListOut;
use super::balance::{BalanceOut, WalletKindOut};
use super::debits::raw;
use super::grants::{GrantKindWire, MoneyOut};
use super::holds::HoldOut;
use super::refusals::OfReads;
use crate::http::extract::{NoQuery, PathText, Query, Reader};
use crate::http::incoming::{KeyIn, MetadataIn, TimeIn};
use crate::http::outgoing::{AmountOut, IdOut, TimeOut, hex};
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, PageQuery, Params};
use crate::http::reply::Reply;

/// A wallet.
#[derive(Serialize, ToSchema)]
#[schema(as = Wallet)]
pub struct WalletOut {
    /// The wallet.
    id: IdOut,
    /// The tenant; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// Whose it is; null for pools and once erased.
    #[schema(required)]
    user: Option<String>,
    /// `personal` or `pool`.
    kind: WalletKindOut,
    /// The code of its unit.
    unit: String,
    /// What people call the unit.
    name: String,
    /// Its balance at `as_of`.
    balance: BalanceOut,
    /// The instant of the balance.
    as_of: TimeOut,
    /// When it was first used.
    created_at: TimeOut,
}

impl From<WalletView> for WalletOut {
    fn from(view: WalletView) -> WalletOut {
        WalletOut {
            id: IdOut::wallet(view.key),
            tenant: view.names.tenant.map(|key| key.to_string()),
            user: view.names.user.map(|key| key.to_string()),
            kind: WalletKindOut::named(view.kind),
            unit: view.unit.code.to_string(),
            balance: BalanceOut::new(&view.unit, &view.balance),
            name: view.unit_name,
            as_of: TimeOut(view.as_of),
            created_at: TimeOut(view.created_at),
        }
    }
}

/// A line of a wallet's statement.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct EntryOut {
    /// The entry.
    id: IdOut,
    /// Its place in the wallet, from 1, without gaps.
    #[schema(minimum = 1)]
    seq: u64,
    /// What it is.
    #[schema(pattern = "^[a-z_]+$")]
    kind: &'static str,
    /// Change of the settled balance.
    amount: AmountOut,
    /// Change of the held balance.
    held_delta: AmountOut,
    /// The settled balance after it.
    settled_after: AmountOut,
    /// The code of the unit.
    unit: String,
    /// One line for people.
    title: String,
    /// The action, where there is one.
    #[schema(required)]
    action: Option<String>,
    /// For whom; null for sweeps and once erased.
    #[schema(required)]
    user: Option<String>,
    /// Your reference; null once erased.
    #[schema(required)]
    reference: Option<String>,
    /// Why a person did it; null once erased.
    #[schema(required)]
    reason: Option<String>,
    /// Your metadata; null once erased.
    #[schema(required, value_type = Option<MetadataIn<'static>>)]
    metadata: Option<Box<RawValue>>,
    /// Who did it.
    actor: ActorOut,
    /// When the work happened, as the caller said.
    occurred_at: TimeOut,
    /// When it was booked.
    recorded_at: TimeOut,
    /// Its place in the wallet's hash chain.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
}

/// Who did it.
#[derive(Serialize, ToSchema)]
#[schema(as = Actor)]
pub struct ActorOut {
    /// `api_key`, `console_user`, `portal_session` or `worker`.
    kind: &'static str,
    /// Which one.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    id: String,
}

impl From<Actor> for ActorOut {
    fn from(actor: Actor) -> ActorOut {
        ActorOut { kind: actor.kind.name(), id: hex(&actor.no.to_be_bytes()) }
    }
}

impl EntryOut {
    fn new(view: EntryView) -> Result<EntryOut, Problem> {
        let entry = &view.entry;
        Ok(EntryOut {
            id: IdOut::new(Prefix::Entry, entry.wallet.tenant, entry.id()),
            seq: entry.seq,
            kind: entry.kind.name(),
            amount: AmountOut::of(&view.unit, entry.amount),
            held_delta: AmountOut::of(&view.unit, entry.held_delta),
            settled_after: AmountOut::of(&view.unit, entry.settled_after),
            unit: view.unit.code.to_string(),
            title: view.title,
            action: view.names.action.map(|key| key.to_string()),
            user: view.names.user.map(|key| key.to_string()),
            reference: view.reference,
            reason: view.reason,
            metadata: raw(view.metadata)?,
            actor: entry.actor.into(),
            occurred_at: TimeOut(entry.occurred_at),
            recorded_at: TimeOut(entry.recorded_at),
            hash: hex(&entry.hash),
        })
    }
}

/// What remains of one grant.
#[derive(Serialize, ToSchema)]
#[schema(as = Lot)]
pub struct LotOut {
    /// The lot.
    id: IdOut,
    /// The wallet.
    wallet_id: IdOut,
    /// Why it was given.
    kind: GrantKindWire,
    /// Lower burns first.
    priority: i32,
    /// Pending before this instant.
    effective_at: TimeOut,
    /// Not spendable from this instant; null for never.
    #[schema(required)]
    expires_at: Option<TimeOut>,
    /// How much was given.
    granted: AmountOut,
    /// What is left of it.
    remaining: AmountOut,
    /// Pinned by holds.
    held: AmountOut,
    /// Set aside.
    frozen: AmountOut,
    /// The code of the unit.
    unit: String,
    /// What was paid for all of it.
    #[schema(required)]
    paid: Option<MoneyOut>,
}

impl From<LotView> for LotOut {
    fn from(view: LotView) -> LotOut {
        let (lot, terms, unit) = (&view.lot, &view.lot.terms, &view.unit);
        LotOut {
            id: IdOut::new(Prefix::Lot, view.wallet.tenant, terms.id),
            wallet_id: IdOut::wallet(view.wallet),
            kind: terms.kind.into(),
            priority: terms.priority,
            effective_at: TimeOut(terms.effective_at),
            expires_at: terms.expires_at.map(TimeOut),
            granted: AmountOut::of(unit, terms.granted),
            remaining: AmountOut::of(unit, lot.remaining),
            held: AmountOut::of(unit, lot.held),
            frozen: AmountOut::of(unit, lot.frozen),
            unit: unit.code.to_string(),
            paid: terms.paid.map(MoneyOut::from),
        }
    }
}

/// Which wallets.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WalletsQuery {
    /// Of this tenant.
    #[param(value_type = Option<KeyIn<'static>>, nullable = false)]
    tenant: Option<String>,
    /// Of this user.
    #[param(value_type = Option<KeyIn<'static>>, nullable = false)]
    user: Option<String>,
    /// Of this unit.
    #[param(value_type = Option<KeyIn<'static>>, nullable = false)]
    unit: Option<String>,
}

impl FromQuery for WalletsQuery {
    fn from_query(params: &mut Params) -> Result<WalletsQuery, Problem> {
        let (tenant, user, unit) = (params.take("tenant"), params.take("user"), params.take("unit"));
        Ok(WalletsQuery { tenant, user, unit })
    }
}

/// Which entries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EntriesQuery {
    /// Only those with this reference of yours.
    #[param(nullable = false, max_length = 255)]
    reference: Option<String>,
}

impl FromQuery for EntriesQuery {
    fn from_query(params: &mut Params) -> Result<EntriesQuery, Problem> {
        Ok(EntriesQuery { reference: params.take("reference") })
    }
}

/// Which instant.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AtQuery {
    /// The instant, RFC 3339.
    #[param(value_type = TimeIn<'static>)]
    time: String,
}

impl FromQuery for AtQuery {
    fn from_query(params: &mut Params) -> Result<AtQuery, Problem> {
        Ok(AtQuery { time: params.required("time")? })
    }
}

/// Searches wallets
///
/// By id; with their balances now.
#[utoipa::path(get, path = "/v1/wallets", tag = "wallets", operation_id = "search_wallets",
    params(WalletsQuery, PageQuery),
    responses((status = 200, description = "A page of wallets", body = ListOut<WalletOut>), OfReads))]
pub async fn search(
    Reader(caller): Reader,
    State(app): State<App>,
    Query((query, page)): Query<(WalletsQuery, PageQuery)>,
) -> Result<Reply<ListOut<WalletOut>>, Problem> {
    let search = WalletSearch { tenant: query.tenant, user: query.user, unit: query.unit };
    let page = wallet::search(&app, &caller, search, page.into()).await;
    let page = page.map_err(|error| Problem::from(error).in_query())?;
    Ok(Reply::ok(ListOut::of(page, WalletOut::from)))
}

/// Reads a wallet
#[utoipa::path(get, path = "/v1/wallets/{id}", tag = "wallets", operation_id = "read_wallet",
    params(("id" = String, Path, description = "The wallet")),
    responses((status = 200, description = "The wallet now", body = WalletOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Reply<WalletOut>, Problem> {
    Ok(Reply::ok(wallet::read(&app, &caller, &id).await?.into()))
}

/// Reads a wallet as it was at a past instant
#[utoipa::path(get, path = "/v1/wallets/{id}/at", tag = "wallets", operation_id = "read_wallet_at",
    params(("id" = String, Path, description = "The wallet"), AtQuery),
    responses((status = 200, description = "The wallet then", body = WalletOut), OfReads))]
pub async fn at(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    Query(query): Query<AtQuery>,
) -> Result<Reply<WalletOut>, Problem> {
    Ok(Reply::ok(wallet::at(&app, &caller, &id, &query.time).await?.into()))
}

/// Reads the statement of a wallet
///
/// Newest first.
#[utoipa::path(get, path = "/v1/wallets/{id}/entries", tag = "wallets", operation_id = "list_entries",
    params(("id" = String, Path, description = "The wallet"), EntriesQuery, PageQuery),
    responses((status = 200, description = "A page of entries", body = ListOut<EntryOut>), OfReads))]
pub async fn entries(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    Query((query, page)): Query<(EntriesQuery, PageQuery)>,
) -> Result<Reply<ListOut<EntryOut>>, Problem> {
    let page = wallet::entries(&app, &caller, &id, query.reference, page.into()).await?;
    let data = page.data.into_iter().map(EntryOut::new).collect::<Result<_, _>>()?;
    Ok(Reply::ok(ListOut { data, next_cursor: page.next_cursor }))
}

/// Lists the open lots of a wallet
///
/// In the order in which they burn.
#[utoipa::path(get, path = "/v1/wallets/{id}/lots", tag = "wallets", operation_id = "list_lots",
    params(("id" = String, Path, description = "The wallet"), PageQuery),
    responses((status = 200, description = "A page of lots", body = ListOut<LotOut>), OfReads))]
pub async fn lots(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    Query(page): Query<PageQuery>,
) -> Result<Reply<ListOut<LotOut>>, Problem> {
    let page = wallet::lots(&app, &caller, &id, page.into()).await?;
    Ok(Reply::ok(ListOut::of(page, LotOut::from)))
}

/// Lists the active holds of a wallet
///
/// By id.
#[utoipa::path(get, path = "/v1/wallets/{id}/holds", tag = "wallets", operation_id = "list_holds",
    params(("id" = String, Path, description = "The wallet"), PageQuery),
    responses((status = 200, description = "A page of holds", body = ListOut<HoldOut>), OfReads))]
pub async fn holds(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    Query(page): Query<PageQuery>,
) -> Result<Reply<ListOut<HoldOut>>, Problem> {
    let page = wallet::holds(&app, &caller, &id, page.into()).await?;
    Ok(Reply::ok(ListOut::of(page, HoldOut::from)))
}
