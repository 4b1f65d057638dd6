//! Transfers between wallets of one tenant and unit.
use crate::{App, ask::*, caller::Caller, error::AppError, view::*};

/// Moves credits.
pub async fn transfer(_app: &App, _caller: &Caller, _ask: TransferAsk, _key: Idempotency) -> Result<Answered, AppError> { todo!() }
