//! Reading wallets: search, balance, statement, lots, holds, a past instant.
use crate::{App, ask::*, caller::Caller, error::AppError, view::*};

/// The wallets of a user in funding order, with balances now. Makes nothing: an unknown user has no wallets.
pub async fn balance(_app: &App, _caller: &Caller, _whose: Whose, _unit: Option<String>) -> Result<Vec<WalletView>, AppError> { todo!() }
/// Wallets that match, by id.
pub async fn search(_app: &App, _caller: &Caller, _search: WalletSearch, _page: PageAsk) -> Result<Page<WalletView>, AppError> { todo!() }
/// One wallet now.
pub async fn read(_app: &App, _caller: &Caller, _wallet_id: &str) -> Result<WalletView, AppError> { todo!() }
/// One wallet at a past instant (RFC 3339).
pub async fn at(_app: &App, _caller: &Caller, _wallet_id: &str, _time: &str) -> Result<WalletView, AppError> { todo!() }
/// The statement, newest first; with `reference`, only entries that carry it.
pub async fn entries(_app: &App, _caller: &Caller, _wallet_id: &str, _reference: Option<String>, _page: PageAsk) -> Result<Page<EntryView>, AppError> { todo!() }
/// The open lots in burn order.
pub async fn lots(_app: &App, _caller: &Caller, _wallet_id: &str, _page: PageAsk) -> Result<Page<LotView>, AppError> { todo!() }
/// The active holds by id.
pub async fn holds(_app: &App, _caller: &Caller, _wallet_id: &str, _page: PageAsk) -> Result<Page<HoldView>, AppError> { todo!() }
