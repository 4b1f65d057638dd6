//! What users prefer: above which costs they want to be asked first.
//!
//! Preferences are configuration, as decisions need them at once on every node. So their number is bounded.

use super::catalogue::audit;
use crate::App;
use crate::ask::{ConfirmAsk, PreferencesAsk, Whose};
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::names::Named;
use crate::parse::{self, field};
use crate::view::PreferencesView;
use purser_core::catalogue::{Catalogue, Unit};
use purser_core::confirm::Thresholds;
use purser_core::{Amount, Key};
use purser_store::{Batch, PreferenceRow};

/// Users that may have a preference of their own; every node keeps them in memory.
const USERS_MAX: usize = 100_000;
/// Units that one threshold may name.
const UNITS_MAX: usize = 256;

/// What a user prefers. Makes nobody.
pub async fn read(app: &App, caller: &Caller, whose: &Whose) -> Result<PreferencesView, AppError> {
    caller.require(Scope::Read)?;
    let named = named(app, caller, whose)?;
    let found = app.find_user(&named).await?;
    let config = app.config();
    let own = found.and_then(|(tenant, user)| config.asked_above(tenant, user)).cloned();
    Ok(view(named, own.unwrap_or_default()))
}

/// Sets what a user prefers; the user is made where absent, so that it can be said before first use.
pub async fn set(app: &App, caller: &Caller, ask: PreferencesAsk) -> Result<PreferencesView, AppError> {
    caller.require(Scope::Write)?;
    let named = named(app, caller, &ask.whose)?;
    let wanted = match &ask.confirm_above {
        None => Thresholds::default(),
        Some(asked) => {
            let catalogue = app.catalogue();
            thresholds("/confirm_above", asked, None, |code| catalogue.unit(code).cloned())?
        }
    };
    if wanted.is_empty() && app.find_user(&named).await?.is_none() {
        return Ok(view(named, wanted));
    }
    let (tenant, user) = app.ensure_user(&named).await?;
    app.catch_up().await?;
    let config = app.config();
    let before = config.asked_above(tenant, user).cloned().unwrap_or_default();
    if before == wanted {
        return Ok(view(named, wanted));
    }
    if before.is_empty() && config.users_asked() >= USERS_MAX {
        let why = format!("at most {USERS_MAX} users can have a preference of their own");
        return Err(field("/confirm_above", "out_of_range", why));
    }
    let now = app.now();
    // The user's number, not its key: keys can be erased, and what is told here cannot.
    let line = audit(caller, "preference.update", &format!("{:016x} {:016x}", tenant.0, user.0), now);
    let told = |thresholds: &Thresholds| Some(told(thresholds, &app.catalogue()).to_string());
    let line = purser_store::AuditRow { before: told(&before), after: told(&wanted), ..line };
    let row = PreferenceRow { tenant, user, confirm_above: wanted.clone() };
    let change = move |batch: &mut Batch<'_>| {
        batch.set_preference(&row, now)?;
        batch.insert_audit(&line)?;
        Ok(((), true))
    };
    app.inner.engine.change(change).await?;
    Ok(view(named, wanted))
}

/// The user of a path: what no user can be called is not there.
fn named(app: &App, caller: &Caller, whose: &Whose) -> Result<Named, AppError> {
    if Key::parse(&whose.user).is_none() {
        return Err(AppError::NotFound { what: "user" });
    }
    app.named(caller, whose.tenant.as_deref(), &whose.user)
}

fn view(named: Named, confirm_above: Thresholds) -> PreferencesView {
    PreferencesView { tenant: named.tenant, user: named.user, confirm_above }
}

/// Thresholds as the audit tells them: decimals by unit.
pub(super) fn told(thresholds: &Thresholds, catalogue: &Catalogue) -> serde_json::Value {
    let shown = |(code, amount): (&Key, Amount)| {
        let unit = catalogue.unit(code)?;
        Some((code.to_string(), unit.render(amount).into()))
    };
    serde_json::Value::Object(thresholds.iter().filter_map(shown).collect())
}

/// Checks thresholds field by field. Where `units` is given they are in one of these; a threshold without a unit is in the
/// only one.
pub(super) fn thresholds(
    at: &str,
    ask: &ConfirmAsk,
    units: Option<&[Key]>,
    unit_of: impl Fn(&Key) -> Option<Unit>,
) -> Result<Thresholds, AppError> {
    let amount = |at: &str, text: &str, unit: &Unit| {
        let amount = parse::amount(at, text, unit)?;
        match amount >= Amount::ZERO {
            true => Ok((unit.code.clone(), amount)),
            false => Err(field(at, "out_of_range", "zero or more")),
        }
    };
    match (ask, units) {
        (ConfirmAsk::One(text), Some([only])) => {
            let unit = unit_of(only).ok_or_else(|| unknown(at, only.as_str()))?;
            Ok([amount(at, text, &unit)?].into_iter().collect())
        }
        (ConfirmAsk::One(_), _) => {
            Err(field(at, "unit_required", "say it by unit, such as {\"credit\": \"5\"}"))
        }
        (ConfirmAsk::ByUnit(all), _) if all.len() > UNITS_MAX => {
            Err(field(at, "out_of_range", format!("at most {UNITS_MAX} units")))
        }
        (ConfirmAsk::ByUnit(all), units) => {
            let one = |(code, text): &(String, String)| {
                let at = format!("{at}/{}", code.replace('~', "~0").replace('/', "~1"));
                let key = Key::parse(code).ok_or_else(|| crate::names::invalid_key(&at))?;
                let unit = unit_of(&key).ok_or_else(|| unknown(&at, code))?;
                if units.is_some_and(|units| !units.contains(&key)) {
                    return Err(field(&at, "unit_mismatch", "the action is not paid in this unit"));
                }
                amount(&at, text, &unit)
            };
            all.iter().map(one).collect()
        }
    }
}

fn unknown(at: &str, code: &str) -> AppError {
    field(at, "unknown_unit", format!("there is no unit `{code}`"))
}
