//! Units, actions and price versions.
use crate::{App, ask::*, caller::Caller, error::AppError, view::*};

/// All units.
pub async fn units(_app: &App, _caller: &Caller) -> Result<Vec<UnitView>, AppError> { todo!() }
/// Makes a unit; saying the same again changes nothing.
pub async fn add_unit(_app: &App, _caller: &Caller, _ask: UnitAsk) -> Result<UnitView, AppError> { todo!() }
/// Actions by key.
pub async fn actions(_app: &App, _caller: &Caller, _page: PageAsk) -> Result<Page<ActionView>, AppError> { todo!() }
/// One action.
pub async fn action(_app: &App, _caller: &Caller, _key: &str) -> Result<ActionView, AppError> { todo!() }
/// Makes an action with its first prices.
pub async fn add_action(_app: &App, _caller: &Caller, _ask: ActionAsk) -> Result<ActionView, AppError> { todo!() }
/// Adds a price version to an action.
pub async fn add_price(_app: &App, _caller: &Caller, _action: &str, _ask: PriceAsk) -> Result<ActionView, AppError> { todo!() }
/// Switches an action off or on.
pub async fn set_active(_app: &App, _caller: &Caller, _action: &str, _active: bool) -> Result<ActionView, AppError> { todo!() }
