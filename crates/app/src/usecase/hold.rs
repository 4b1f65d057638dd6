//! Holds: place, extend, capture, release, read.
use crate::{App, ask::*, caller::Caller, error::AppError, view::*};

/// Pins credits before work of unknown cost.
pub async fn place(_app: &App, _caller: &Caller, _ask: HoldAsk, _key: Idempotency) -> Result<Answered, AppError> { todo!() }
/// Makes a hold longer or larger.
pub async fn extend(_app: &App, _caller: &Caller, _ask: ExtendAsk, _key: Idempotency) -> Result<Answered, AppError> { todo!() }
/// Charges what the work really cost.
pub async fn capture(_app: &App, _caller: &Caller, _ask: CaptureAsk, _key: Idempotency) -> Result<Answered, AppError> { todo!() }
/// Gives a hold up.
pub async fn release(_app: &App, _caller: &Caller, _hold_id: &str, _key: Idempotency) -> Result<Answered, AppError> { todo!() }
/// One hold.
pub async fn read(_app: &App, _caller: &Caller, _hold_id: &str) -> Result<HoldView, AppError> { todo!() }
