//! Units, actions and price versions. Versions are added, never edited: what was charged keeps its price (law 7).

pub mod apply;
mod plan;
mod rehearsal;

use super::preference::thresholds;
use crate::App;
use crate::ask::{ActionAsk, ActionPatchAsk, PageAsk, PriceAsk, UnitAsk};
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, field};
use crate::view::{ActionView, Page, PriceRehearsed, UnitView};
use price::{behind, price};
use purser_core::catalogue::{Action, Overage, Price, Unit};
use purser_core::confirm::Thresholds;
use purser_core::{Key, Rejection, Scale, Timestamp};
use purser_store::{ActionRow, AuditRow, CatalogueChange, UnitRow};
use std::sync::Arc;

pub(super) mod price;

/// Units an action can be paid in.
const PRICES_MAX: usize = 16;
/// The longest name, label or category, in characters.
const NAME_MAX: usize = 200;
/// The longest description, in characters.
const DESCRIPTION_MAX: usize = 2_000;

/// All units.
pub async fn units(app: &App, caller: &Caller) -> Result<Vec<UnitView>, AppError> {
    caller.require(Scope::Read)?;
    let config = app.config();
    Ok(config.units.iter().map(|row| UnitView { unit: row.unit.clone(), name: row.name.clone() }).collect())
}

/// Makes a unit; saying the same again changes nothing.
pub async fn add_unit(app: &App, caller: &Caller, ask: UnitAsk) -> Result<UnitView, AppError> {
    platform(caller)?;
    let code = Key::parse(&ask.code).ok_or_else(|| crate::names::invalid_key("/code"))?;
    let scale = Scale::new(ask.scale).ok_or_else(|| field("/scale", "out_of_range", "0 to 6 decimals"))?;
    let name = name("/name", &ask.name)?;
    let row = UnitRow { unit: Unit { code: code.clone(), scale }, name };
    let (now, insert) = (app.now(), row.clone());
    let audit = audit(caller, "unit.create", code.as_str(), now);
    let inserted = app
        .inner
        .engine
        .change(move |batch| {
            let inserted = batch.insert_unit(&insert, now)?;
            if inserted {
                batch.insert_audit(&audit)?;
            }
            Ok((inserted, inserted))
        })
        .await?;
    let config = app.config();
    let known = config.units.iter().find(|known| known.unit.code == code);
    match known {
        Some(known) if inserted || *known == row => {
            Ok(UnitView { unit: known.unit.clone(), name: known.name.clone() })
        }
        _ => Err(AppError::Exists { what: "unit" }),
    }
}

/// Actions by key.
pub async fn actions(app: &App, caller: &Caller, page: PageAsk) -> Result<Page<ActionView>, AppError> {
    caller.require(Scope::Read)?;
    let limit = parse::limit(&page)?;
    let after = page.cursor.as_deref().unwrap_or("");
    let config = app.config();
    let first = config.actions.partition_point(|row| row.action.key.as_str() <= after && !after.is_empty());
    let data: Vec<ActionView> = config.actions[first..].iter().take(limit).map(view).collect();
    let more = first + data.len() < config.actions.len();
    let next_cursor = data.last().filter(|_| more).map(|last| last.action.key.to_string());
    Ok(Page { data, next_cursor })
}

/// One action.
pub async fn action(app: &App, caller: &Caller, key: &str) -> Result<ActionView, AppError> {
    caller.require(Scope::Read)?;
    find(app, key)
}

/// Makes an action with its first prices; saying the same again changes nothing.
pub async fn add_action(app: &App, caller: &Caller, ask: ActionAsk) -> Result<ActionView, AppError> {
    platform(caller)?;
    let key = Key::parse(&ask.key).ok_or_else(|| crate::names::invalid_key("/key"))?;
    let label = |pointer, text: &Option<String>, most| {
        text.as_deref().map(|text| bounded(pointer, text, most)).transpose()
    };
    let overage = overage(ask.overage.as_deref(), ask.overage_percent)?;
    let now = app.now();
    if ask.prices.is_empty() || ask.prices.len() > PRICES_MAX {
        return Err(field("/prices", "out_of_range", format!("1 to {PRICES_MAX} prices, one for each unit")));
    }
    let mut prices = Vec::with_capacity(ask.prices.len());
    for (index, ask_price) in ask.prices.iter().enumerate() {
        let at = if ask.single { "/price".to_string() } else { format!("/prices/{index}") };
        let price = price(app, &at, ask_price, now)?;
        if prices.iter().any(|known: &Price| known.unit == price.unit) {
            return Err(field(&format!("{at}/unit"), "repeated", "one price for each unit"));
        }
        prices.push(price);
    }
    let units: Vec<Key> = prices.iter().map(|price| price.unit.clone()).collect();
    let catalogue = app.catalogue();
    let asked = ask.confirm_above.as_ref();
    let confirm_above = asked
        .map(|asked| thresholds("/confirm_above", asked, Some(&units), |code| catalogue.unit(code).cloned()));
    let confirm_above = confirm_above.transpose()?.unwrap_or_default();
    let no = app.inner.ids.number();
    let row = ActionRow {
        action: Action { no, key: key.clone(), active: true, overage, confirm_above, units, prices },
        name: name("/name", &ask.name)?,
        unit_label: label("/unit_label", &ask.unit_label, NAME_MAX)?,
        description: label("/description", &ask.description, DESCRIPTION_MAX)?,
        category: label("/category", &ask.category, NAME_MAX)?,
    };
    let audit = audit(caller, "action.create", key.as_str(), now);
    let insert = row.clone();
    let inserted = app
        .inner
        .engine
        .change(move |batch| {
            let inserted = batch.insert_action(&insert, now)?;
            if inserted {
                batch.insert_audit(&audit)?;
            }
            Ok((inserted, inserted))
        })
        .await?;
    if !inserted {
        let config = app.config();
        let known = config.actions.iter().find(|known| known.action.key == key);
        if known.is_none_or(|known| !says_the_same(known, &row, &ask.prices, now)) {
            return Err(AppError::Exists { what: "action" });
        }
    }
    find(app, key.as_str())
}

/// Whether an action that exists is what is asked for: the same labels and rule, paid in the same units, with the same
/// prices in force, or valid from the same instant where the ask names one. Whether it is switched on is not asked.
fn says_the_same(known: &ActionRow, asked: &ActionRow, asks: &[PriceAsk], now: Timestamp) -> bool {
    let labels = |row: &ActionRow| {
        let ActionRow { action: _, name, unit_label, description, category } = row.clone();
        (name, unit_label, description, category)
    };
    labels(known) == labels(asked)
        && known.action.overage == asked.action.overage
        && known.action.confirm_above == asked.action.confirm_above
        && known.action.units == asked.action.units
        && asked.action.prices.iter().zip(asks).all(|(price, ask)| {
            if ask.valid_from.is_none() {
                known.action.price_at(&price.unit, now).is_some_and(|known| known.model == price.model)
            } else {
                let same = |known: &Price| (&known.unit, known.valid_from) == (&price.unit, price.valid_from);
                known.action.prices.iter().any(|known| same(known) && known.model == price.model)
            }
        })
}

/// What a price version would be, and what the usage of the last days would have cost with it. Makes nothing.
pub async fn rehearse_price(
    app: &App,
    caller: &Caller,
    action: &str,
    ask: PriceAsk,
    days: Option<u32>,
) -> Result<PriceRehearsed, AppError> {
    platform(caller)?;
    let days = rehearsal::days(days)?;
    app.catch_up().await?;
    let (found, after) = proposed(app, action, &ask)?;
    let before = found.action.price_at(&after.unit, after.valid_from).cloned();
    let proposal = rehearsal::Proposal::new([(found.action.no, &after)]);
    let usage = rehearsal::rehearse(app, days, &proposal).await?;
    Ok(PriceRehearsed { before, after, usage })
}

/// The version that is asked for, and its action.
fn proposed(app: &App, action: &str, ask: &PriceAsk) -> Result<(ActionView, Price), AppError> {
    let found = find(app, action)?;
    let mut price = price(app, "", ask, app.now())?;
    price.id = behind(price.id, found.action.prices.iter().map(|known| known.id));
    if !found.action.units.contains(&price.unit) && found.action.units.len() >= PRICES_MAX {
        return Err(field("/unit", "out_of_range", format!("at most {PRICES_MAX} units")));
    }
    Ok((found, price))
}

/// Adds a price version to an action.
pub async fn add_price(
    app: &App,
    caller: &Caller,
    action: &str,
    ask: PriceAsk,
) -> Result<ActionView, AppError> {
    platform(caller)?;
    let (found, price) = proposed(app, action, &ask)?;
    let (no, now) = (found.action.no, app.now());
    let audit = audit(caller, "price.create", action, now);
    let change = move |batch: &mut purser_store::Batch<'_>| {
        batch.insert_price(no, &price, now)?;
        batch.insert_audit(&audit)?;
        Ok(((), true))
    };
    app.inner.engine.change(change).await?;
    find(app, action)
}

/// Switches an action off or on.
pub async fn set_active(
    app: &App,
    caller: &Caller,
    action: &str,
    active: bool,
) -> Result<ActionView, AppError> {
    platform(caller)?;
    let no = find(app, action)?.action.no;
    let what = if active { "action.activate" } else { "action.deactivate" };
    let audit = audit(caller, what, action, app.now());
    let change = move |batch: &mut purser_store::Batch<'_>| {
        batch.set_action_active(no, active)?;
        batch.insert_audit(&audit)?;
        Ok(((), true))
    };
    app.inner.engine.change(change).await?;
    find(app, action)
}

/// Changes what the catalogue says of an action beside its prices; what is not named stays.
pub async fn change_action(
    app: &App,
    caller: &Caller,
    action: &str,
    ask: ActionPatchAsk,
) -> Result<ActionView, AppError> {
    platform(caller)?;
    let name = ask.name.as_deref().map(|text| name("/name", text)).transpose()?;
    let label = |pointer, given: &Option<Option<String>>, most| match given {
        Some(Some(text)) => bounded(pointer, text, most).map(|text| Some(Some(text))),
        Some(None) => Ok(Some(None)),
        None => Ok(None),
    };
    let unit_label = label("/unit_label", &ask.unit_label, NAME_MAX)?;
    let description = label("/description", &ask.description, DESCRIPTION_MAX)?;
    let category = label("/category", &ask.category, NAME_MAX)?;
    let overage = match (&ask.overage, ask.overage_percent) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err(field("/overage_percent", "not_allowed", "only with overage `allow`"));
        }
        (Some(rule), percent) => Some(overage(Some(rule), percent)?),
    };
    apply::settled(app, |config, now| {
        let at = config.actions.binary_search_by(|row| row.action.key.as_str().cmp(action));
        let before = at.map_err(|_| AppError::Rejected(Rejection::ActionNotFound))?;
        let before = &config.actions[before];
        let mut after = before.clone();
        after.name = name.clone().unwrap_or(after.name);
        after.unit_label = unit_label.clone().unwrap_or(after.unit_label);
        after.description = description.clone().unwrap_or(after.description);
        after.category = category.clone().unwrap_or(after.category);
        after.action.active = ask.active.unwrap_or(after.action.active);
        after.action.overage = overage.unwrap_or(after.action.overage);
        after.action.confirm_above = match &ask.confirm_above {
            None => after.action.confirm_above,
            Some(None) => Thresholds::default(),
            Some(Some(asked)) => {
                let units = Some(&before.action.units[..]);
                thresholds("/confirm_above", asked, units, |code| config.catalogue.unit(code).cloned())?
            }
        };
        let mut change = CatalogueChange { epoch: config.epoch, ..CatalogueChange::default() };
        if after != *before {
            change.audit.push(plan::told_of_change(caller, before, &after, &config.catalogue, now));
            change.set_actions.push(after);
        }
        Ok(((), change))
    })
    .await?;
    find(app, action)
}

pub(super) fn find(app: &App, key: &str) -> Result<ActionView, AppError> {
    let config = app.config();
    let found = config.actions.binary_search_by(|row| row.action.key.as_str().cmp(key));
    found.map(|index| view(&config.actions[index])).map_err(|_| AppError::Rejected(Rejection::ActionNotFound))
}

fn view(row: &ActionRow) -> ActionView {
    ActionView {
        action: Arc::new(row.action.clone()),
        name: row.name.clone(),
        unit_label: row.unit_label.clone(),
        description: row.description.clone(),
        category: row.category.clone(),
    }
}

/// The catalogue is the platform's: a tenant's key does not change what others pay.
pub(super) fn platform(caller: &Caller) -> Result<(), AppError> {
    caller.require(Scope::Write)?;
    if caller.tenant.is_some() { Err(AppError::PlatformOnly) } else { Ok(()) }
}

pub(super) fn audit(caller: &Caller, what: &str, subject: &str, at: Timestamp) -> AuditRow {
    AuditRow {
        actor: caller.actor(),
        what: what.into(),
        subject: subject.into(),
        before: None,
        after: None,
        reason: None,
        at,
    }
}

fn name(pointer: &str, text: &str) -> Result<String, AppError> {
    if text.trim().is_empty() {
        return Err(field(pointer, "required", "a name for people is expected"));
    }
    bounded(pointer, text, NAME_MAX)
}

fn bounded(pointer: &str, text: &str, most: usize) -> Result<String, AppError> {
    parse::text(pointer, text, most).map(|()| text.to_string())
}

fn overage(rule: Option<&str>, percent: Option<u16>) -> Result<Overage, AppError> {
    match (rule, percent) {
        (None | Some("refuse"), None) => Ok(Overage::Refuse),
        (Some("debt"), None) => Ok(Overage::Debt),
        (Some("allow"), Some(percent)) if percent <= 1_000 => Ok(Overage::Allow { percent }),
        (Some("allow"), Some(_)) => Err(field("/overage_percent", "out_of_range", "0 to 1000 percent")),
        (Some("allow"), None) => {
            Err(field("/overage_percent", "required", "say how many percent are allowed"))
        }
        (None | Some("refuse" | "debt"), Some(_)) => {
            Err(field("/overage_percent", "not_allowed", "only with overage `allow`"))
        }
        (Some(_), _) => Err(field("/overage", "malformed", "one of refuse, allow and debt")),
    }
}
