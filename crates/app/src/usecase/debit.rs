//! Consumption: preflight, debit, batch, refund, reading back.
use crate::{App, ask::*, caller::Caller, error::AppError, view::*};

/// What a debit would do now; moves and makes nothing.
pub async fn preflight(_app: &App, _caller: &Caller, _ask: DebitAsk) -> Result<Preflight, AppError> { todo!() }
/// Charges an action.
pub async fn debit(_app: &App, _caller: &Caller, _ask: DebitAsk, _key: Idempotency) -> Result<Answered, AppError> { todo!() }
/// Charges up to 1,000 actions; each stands alone, outcomes in the order of the asks.
pub async fn batch(_app: &App, _caller: &Caller, _asks: Vec<(DebitAsk, Idempotency)>) -> Vec<Result<Answered, AppError>> { todo!() }
/// Gives back all or part of a debit.
pub async fn refund(_app: &App, _caller: &Caller, _ask: RefundAsk, _key: Idempotency) -> Result<Answered, AppError> { todo!() }
/// One debit.
pub async fn read(_app: &App, _caller: &Caller, _debit_id: &str) -> Result<DebitView, AppError> { todo!() }
