//! The whole catalogue as one value: read as a file holds it, and brought to what a file says.
//!
//! What differs is worked out beside the writer, from the configuration in force; the writer makes it in one transaction,
//! if nothing moved meanwhile, and else it is worked out again. Labels change in place, prices by new versions only (law 7).
//! `plan.rs` compares.

use super::plan::{Plan, Wanted, WantedPrice};
use super::price::{below, price_in};
use super::rehearsal::{self, Proposal};
use super::{DESCRIPTION_MAX, NAME_MAX, PRICES_MAX, audit, bounded, name, overage, platform, view};
use crate::App;
use crate::ask::{CatalogueActionAsk, CatalogueAsk, PriceAsk, UnitAsk};
use crate::caller::{Caller, Scope};
use crate::config::Config;
use crate::error::AppError;
use crate::parse::{self, field};
use crate::usecase::preference::thresholds;
use crate::view::{CatalogueDiff, CatalogueView, UnitView};
use purser_core::catalogue::{Action, Unit};
use purser_core::{Key, Scale, Timestamp};
use purser_store::{ActionRow, CatalogueChange, UnitRow};
use std::collections::{HashMap, HashSet};

/// Actions of one file.
pub const ACTIONS_MAX: usize = 10_000;
/// Units of one file.
const UNITS_MAX: usize = 256;
/// Prices of one action of a file: what is in force and what is scheduled, in all units.
const FILE_PRICES_MAX: usize = 64;
/// How often a change is worked out again because another one came first.
const TRIES_MAX: usize = 8;

/// The whole catalogue.
pub async fn export(app: &App, caller: &Caller) -> Result<CatalogueView, AppError> {
    caller.require(Scope::Read)?;
    let (config, now) = (app.config(), app.now());
    let unit = |row: &UnitRow| UnitView { unit: row.unit.clone(), name: row.name.clone() };
    let action = |row: &ActionRow| (view(row), super::plan::in_file(&row.action, now));
    Ok(CatalogueView {
        units: config.units.iter().map(unit).collect(),
        actions: config.actions.iter().map(action).collect(),
    })
}

/// What is done with a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// It is made.
    Apply,
    /// It is only told.
    DryRun {
        /// With what the usage of so many last days would have cost at the new prices.
        days: Option<u32>,
    },
}

/// Brings the catalogue to what a file says, in one transaction; a dry run only says what that would change.
pub async fn apply(
    app: &App,
    caller: &Caller,
    ask: CatalogueAsk,
    how: How,
) -> Result<CatalogueDiff, AppError> {
    platform(caller)?;
    if ask.actions.len() > ACTIONS_MAX {
        return Err(field("/actions", "out_of_range", format!("at most {ACTIONS_MAX} actions")));
    }
    if ask.units.len() > UNITS_MAX {
        return Err(field("/units", "out_of_range", format!("at most {UNITS_MAX} units")));
    }
    if let How::DryRun { days } = how {
        let days = days.map(|days| rehearsal::days(Some(days))).transpose()?;
        app.catch_up().await?;
        let (mut plan, change) = planned(app, caller, &ask, &app.config(), app.now())?;
        if let Some(days) = days {
            let proposal = Proposal::new(change.new_prices.iter().map(|(action, price)| (*action, price)));
            plan.usage = Some(rehearsal::rehearse(app, days, &proposal).await?);
        }
        return Ok(plan);
    }
    settled(app, |config, now| planned(app, caller, &ask, config, now)).await
}

/// Works a change out and makes it, again while others come first.
pub(super) async fn settled<T>(
    app: &App,
    mut work_out: impl FnMut(&Config, Timestamp) -> Result<(T, CatalogueChange), AppError>,
) -> Result<T, AppError> {
    for _ in 0..TRIES_MAX {
        let now = app.now();
        let (answer, change) = work_out(&app.config(), now)?;
        if change.is_empty() {
            // It is only so if nothing that this node has not heard of says otherwise.
            match app.catch_up().await? {
                true => continue,
                false => return Ok(answer),
            }
        }
        let write = move |batch: &mut purser_store::Batch<'_>| {
            let made = batch.change_catalogue(&change, now)?;
            Ok((made, made))
        };
        if app.inner.engine.change(write).await? {
            return Ok(answer);
        }
    }
    tracing::warn!("others came first with a change of the configuration {TRIES_MAX} times in a row");
    Err(AppError::Unavailable { reason: "store_unavailable", retry_after: std::time::Duration::from_secs(1) })
}

fn planned(
    app: &App,
    caller: &Caller,
    ask: &CatalogueAsk,
    config: &Config,
    now: Timestamp,
) -> Result<(CatalogueDiff, CatalogueChange), AppError> {
    let mut plan = Plan::new(config, caller, now);
    for (index, unit) in ask.units.iter().enumerate() {
        let at = format!("/units/{index}");
        plan.unit(wanted_unit(&at, unit)?)
            .map_err(|detail| field(&format!("{at}/{}", detail.0), detail.1, detail.2))?;
    }
    let units: HashMap<Key, Unit> = plan.units().map(|unit| (unit.code.clone(), unit.clone())).collect();
    let mut named = HashSet::with_capacity(ask.actions.len());
    for (index, action) in ask.actions.iter().enumerate() {
        let at = format!("/actions/{index}");
        let wanted = wanted(app, &units, &at, action, now)?;
        if !named.insert(wanted.row.action.key.clone()) {
            return Err(field(&format!("{at}/key"), "repeated", "the file names the action twice"));
        }
        plan.action(wanted, || app.inner.ids.number())
            .map_err(|(pointer, code, detail)| field(&format!("{at}/{pointer}"), code, detail))?;
    }
    plan.others(&named, ask.prune);
    Ok(plan.finished(audit(caller, "catalogue.apply", "catalogue", now)))
}

fn wanted_unit(at: &str, ask: &UnitAsk) -> Result<UnitRow, AppError> {
    let code = Key::parse(&ask.code).ok_or_else(|| crate::names::invalid_key(&format!("{at}/code")))?;
    let scale = Scale::new(ask.scale)
        .ok_or_else(|| field(&format!("{at}/scale"), "out_of_range", "0 to 6 decimals"))?;
    Ok(UnitRow { unit: Unit { code, scale }, name: name(&format!("{at}/name"), &ask.name)? })
}

/// What the file says of an action, checked field by field.
fn wanted(
    app: &App,
    units: &HashMap<Key, Unit>,
    at: &str,
    ask: &CatalogueActionAsk,
    now: Timestamp,
) -> Result<Wanted, AppError> {
    let CatalogueActionAsk { action, active } = ask;
    let key = Key::parse(&action.key).ok_or_else(|| crate::names::invalid_key(&format!("{at}/key")))?;
    let label = |name: &str, text: &Option<String>, most| {
        text.as_deref().map(|text| bounded(&format!("{at}/{name}"), text, most)).transpose()
    };
    let overage = overage(action.overage.as_deref(), action.overage_percent);
    if action.prices.is_empty() || action.prices.len() > FILE_PRICES_MAX {
        let detail = format!("1 to {FILE_PRICES_MAX} prices");
        return Err(field(&format!("{at}/prices"), "out_of_range", detail));
    }
    let mut prices: Vec<WantedPrice> = Vec::with_capacity(action.prices.len());
    let mut order: Vec<Key> = Vec::new();
    for (index, ask) in action.prices.iter().enumerate() {
        let at = format!("{at}/prices/{index}");
        let price = wanted_price(app, units, &at, ask, now)?;
        let same = |known: &WantedPrice| (&known.price.unit, known.from) == (&price.price.unit, price.from);
        if prices.iter().any(same) {
            return Err(field(&at, "repeated", "one price for each unit and instant"));
        }
        if !order.contains(&price.price.unit) {
            order.push(price.price.unit.clone());
        }
        prices.push(price);
    }
    if order.len() > PRICES_MAX {
        return Err(field(&format!("{at}/prices"), "out_of_range", format!("at most {PRICES_MAX} units")));
    }
    let asked = action.confirm_above.as_ref();
    let confirm_above = asked.map(|asked| {
        thresholds(&format!("{at}/confirm_above"), asked, Some(&order), |code| units.get(code).cloned())
    });
    let action_row = Action {
        no: 0,
        key,
        active: *active,
        overage: overage.map_err(|error| below(at, error))?,
        confirm_above: confirm_above.transpose()?.unwrap_or_default(),
        units: order,
        prices: Vec::new(),
    };
    let row = ActionRow {
        action: action_row,
        name: name(&format!("{at}/name"), &action.name)?,
        unit_label: label("unit_label", &action.unit_label, NAME_MAX)?,
        description: label("description", &action.description, DESCRIPTION_MAX)?,
        category: label("category", &action.category, NAME_MAX)?,
    };
    Ok(Wanted { row, prices })
}

/// A price of the file. Its instant may be over: it is then what is wanted from now on, unless a later one is too.
fn wanted_price(
    app: &App,
    units: &HashMap<Key, Unit>,
    at: &str,
    ask: &PriceAsk,
    now: Timestamp,
) -> Result<WantedPrice, AppError> {
    let code = ask.unit.as_deref().unwrap_or(Unit::CREDIT);
    let pointer = format!("{at}/unit");
    let key = Key::parse(code).ok_or_else(|| crate::names::invalid_key(&pointer))?;
    let unit = units.get(&key);
    let unit = unit.ok_or_else(|| field(&pointer, "unknown_unit", format!("there is no unit `{code}`")))?;
    let from = ask.valid_from.as_deref();
    let from = from.map(|text| parse::time(&format!("{at}/valid_from"), text)).transpose()?;
    let at_once = PriceAsk { valid_from: None, ..ask.clone() };
    let price = price_in(unit.clone(), app.inner.ids.id(), at, &at_once, now)?;
    Ok(WantedPrice { price, from })
}
