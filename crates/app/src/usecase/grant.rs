//! Giving credits, taking back what is unspent, reading grants.
use crate::{App, ask::*, caller::Caller, error::AppError, view::*};

/// Gives credits to a wallet; makes user and wallet on first use.
pub async fn grant(_app: &App, _caller: &Caller, _ask: GrantAsk, _key: Idempotency) -> Result<Answered, AppError> { todo!() }
/// Takes back what is unspent of a grant.
pub async fn revoke(_app: &App, _caller: &Caller, _ask: RevokeAsk, _key: Idempotency) -> Result<Answered, AppError> { todo!() }
/// The grants of a wallet's lots, newest first.
pub async fn list(_app: &App, _caller: &Caller, _wallet_id: &str, _page: PageAsk) -> Result<Page<GrantView>, AppError> { todo!() }
/// One grant.
pub async fn read(_app: &App, _caller: &Caller, _grant_id: &str) -> Result<GrantView, AppError> { todo!() }
