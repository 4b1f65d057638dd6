//! The whole catalogue as one document: what `purser catalogue export` writes into a file and `apply` brings it back from.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::{CatalogueActionAsk, CatalogueAsk, UnitAsk};
use purser_app::usecase::catalogue::apply::{self, How};
use purser_app::view::{ActionChange, ActionView, CatalogueDiff, FilePrice};
use purser_core::catalogue::Catalogue;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::actions::{self, OverageWire};
use super::prices::{PriceIn, PriceOut};
use super::refusals::{OfChanges, OfReads};
use super::units::{UnitIn, UnitOut};
use super::usage::{DryRunQuery, UsageOut};
use crate::http::confirm::{ConfirmIn, ConfirmOut};
use crate::http::extract::{NoQuery, QueriedBody, Query, Reader, Writer};
use crate::http::incoming::{KeyIn, Owned, TextIn};
use crate::http::object::Strict;
use crate::http::outgoing::TimeOut;
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// The longest catalogue: 10,000 actions with a page of text each are not meant, with their prices they fit.
pub const CATALOGUE_BODY_MAX: usize = 16 << 20;

/// The catalogue to have. Units and actions that it does not name stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CatalogueRequest)]
pub struct CatalogueIn<'a> {
    /// Units to make, or to rename.
    #[serde(borrow, default)]
    #[schema(max_items = 256, value_type = Option<Vec<UnitIn<'a>>>)]
    units: Option<Vec<Strict<UnitIn<'a>>>>,
    /// Actions to make, or to change.
    #[serde(borrow)]
    #[schema(max_items = 10_000, value_type = Vec<CatalogueActionIn<'a>>)]
    actions: Vec<Strict<CatalogueActionIn<'a>>>,
    /// Switches off the actions that are not named; they stay unless said.
    #[serde(default)]
    #[schema(nullable = false)]
    prune: Option<bool>,
}

/// An action of the catalogue. A label that is not given is taken away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CatalogueActionRequest)]
pub struct CatalogueActionIn<'a> {
    /// Your name for it.
    #[serde(borrow)]
    key: KeyIn<'a>,
    /// What people call it.
    #[serde(borrow)]
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    name: TextIn<'a, 200>,
    /// What one of it is: scan, call, token.
    #[serde(borrow, default)]
    unit_label: Option<TextIn<'a, 200>>,
    /// One paragraph.
    #[serde(borrow, default)]
    description: Option<TextIn<'a, 2000>>,
    /// For grouping.
    #[serde(borrow, default)]
    category: Option<TextIn<'a, 200>>,
    /// Whether it may be consumed; it may unless said.
    #[serde(default)]
    active: Option<bool>,
    /// What captures may take beyond the hold; `refuse` unless said.
    #[serde(default)]
    overage: Option<OverageWire>,
    /// With `allow`: so many percent of the hold.
    #[serde(default)]
    #[schema(maximum = 1000)]
    overage_percent: Option<u16>,
    /// Above which costs a debit or hold needs its quote, by unit; nobody is asked unless said.
    #[serde(borrow, default)]
    #[schema(nullable = false)]
    confirm_above: Option<ConfirmIn<'a>>,
    /// For each unit, in the order in which the units are tried, the price from now on, and those from an instant ahead on. An
    /// instant that is over counts as now. A price that is in force already stays the version that it is; another one is a
    /// new version.
    #[serde(borrow)]
    #[schema(min_items = 1, max_items = 64, value_type = Vec<PriceIn<'a>>)]
    prices: Vec<Strict<PriceIn<'a>>>,
}

impl CatalogueIn<'_> {
    fn into_ask(self) -> Result<CatalogueAsk, Problem> {
        let unit = |Strict(unit): Strict<UnitIn<'_>>| -> UnitAsk { unit.into_ask() };
        let action = |(index, Strict(action)): (usize, Strict<CatalogueActionIn<'_>>)| {
            action.into_ask().map_err(|problem| problem.below(&format!("/actions/{index}")))
        };
        Ok(CatalogueAsk {
            units: self.units.unwrap_or_default().into_iter().map(unit).collect(),
            actions: self.actions.into_iter().enumerate().map(action).collect::<Result<_, _>>()?,
            prune: self.prune.unwrap_or(false),
        })
    }
}

impl CatalogueActionIn<'_> {
    fn into_ask(self) -> Result<CatalogueActionAsk, Problem> {
        let price = |(index, Strict(price)): (usize, Strict<PriceIn<'_>>)| {
            price.into_ask().map_err(|problem| problem.below(&format!("/prices/{index}")))
        };
        let action = purser_app::ask::ActionAsk {
            key: self.key.0.into_owned(),
            name: self.name.0.into_owned(),
            unit_label: self.unit_label.owned(),
            description: self.description.owned(),
            category: self.category.owned(),
            overage: self.overage.map(|overage| overage.name().to_string()),
            overage_percent: self.overage_percent,
            confirm_above: self.confirm_above.map(ConfirmIn::into_ask),
            prices: self.prices.into_iter().enumerate().map(price).collect::<Result<_, _>>()?,
            single: false,
        };
        Ok(CatalogueActionAsk { action, active: self.active.unwrap_or(true) })
    }
}

/// The whole catalogue, as `PUT` takes it.
#[derive(Serialize, ToSchema)]
#[schema(as = Catalogue)]
pub struct CatalogueOut {
    /// All units.
    units: Vec<UnitOut>,
    /// All actions, by key.
    actions: Vec<CatalogueActionOut>,
}

/// An action with the prices that are in force or scheduled.
#[derive(Serialize, ToSchema)]
#[schema(as = CatalogueAction)]
pub struct CatalogueActionOut {
    /// Your name for it.
    key: String,
    /// What people call it.
    name: String,
    /// What one of it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unit_label: Option<String>,
    /// One paragraph.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
    /// For grouping.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    category: Option<String>,
    /// Whether it may be consumed.
    active: bool,
    /// What captures may take beyond the hold.
    overage: OverageWire,
    /// With `allow`: so many percent of the hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    overage_percent: Option<u16>,
    /// Above which costs a debit or hold needs its quote, by unit.
    #[serde(skip_serializing_if = "ConfirmOut::is_empty")]
    #[schema(required = false)]
    confirm_above: ConfirmOut,
    /// For each unit the price in force, and those scheduled with their `valid_from`.
    #[schema(value_type = Vec<PriceIn<'static>>)]
    prices: Vec<serde_json::Value>,
}

/// What applying a catalogue changed, or would change.
#[derive(Serialize, ToSchema)]
#[schema(as = CatalogueDiff)]
pub struct DiffOut {
    /// Whether nothing was changed because only the difference was asked for.
    dry_run: bool,
    /// Whether there is any difference.
    differs: bool,
    /// Actions by what happens to them.
    counts: CountsOut,
    /// Units that are made or renamed.
    units: Vec<UnitChangeOut>,
    /// Actions that are made, changed or switched off.
    actions: Vec<ActionChangeOut>,
    /// Active actions that are not named and are left alone.
    not_in_file: Vec<String>,
    /// Scheduled versions of the actions and units named that are not named themselves, and come into force all the same.
    scheduled_not_in_file: Vec<ScheduledOut>,
    /// What the usage of the last days would have cost, where `days` are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    usage: Option<UsageOut>,
}

/// How many actions are made, changed, switched off, as they should be, or left alone.
#[derive(Serialize, ToSchema)]
#[schema(as = CatalogueCounts)]
pub struct CountsOut {
    /// Made.
    added: usize,
    /// Changed in labels, rule, activity or price.
    changed: usize,
    /// Switched off, as they are not named.
    deactivated: usize,
    /// As they should be.
    unchanged: usize,
    /// Active, not named and left alone.
    not_in_file: usize,
    /// New price versions, those of new actions among them.
    price_versions: usize,
}

/// A unit that is made or renamed.
#[derive(Serialize, ToSchema)]
#[schema(as = UnitChange)]
pub struct UnitChangeOut {
    /// The unit as it will be.
    #[serde(flatten)]
    unit: UnitOut,
    /// What it was called; null for a new one.
    #[schema(required)]
    name_before: Option<String>,
}

/// What happens to an action.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ActionChangeKind)]
pub enum ChangeWire {
    /// It is made.
    Added,
    /// Some of it is other than it was.
    Changed,
    /// It is switched off, as it is not named.
    Deactivated,
}

/// An action that is made, changed or switched off.
#[derive(Serialize, ToSchema)]
#[schema(as = ActionChange)]
pub struct ActionChangeOut {
    /// The action.
    key: String,
    /// What happens to it.
    change: ChangeWire,
    /// Fields that change.
    fields: Vec<FieldChangeOut>,
    /// New price versions.
    prices: Vec<PriceChangeOut>,
}

/// A field of an action that changes. Values are shown as text.
#[derive(Serialize, ToSchema)]
#[schema(as = FieldChange)]
pub struct FieldChangeOut {
    /// Which.
    field: &'static str,
    /// As it was.
    #[schema(required)]
    before: Option<String>,
    /// As it will be.
    #[schema(required)]
    after: Option<String>,
}

/// A new price version.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceChange)]
pub struct PriceChangeOut {
    /// The unit.
    unit: String,
    /// The version whose place it takes; null where there is none.
    #[schema(required)]
    before: Option<PriceOut>,
    /// The new one.
    #[schema(value_type = PriceIn<'static>)]
    after: serde_json::Value,
}

/// A scheduled version.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduledPrice)]
pub struct ScheduledOut {
    /// The action.
    key: String,
    /// The unit.
    unit: String,
    /// From when on.
    valid_from: TimeOut,
}

/// A price as a catalogue names it: without its id, and without the instant of what is in force.
pub fn file_price(price: &FilePrice, catalogue: &Catalogue) -> Result<serde_json::Value, Problem> {
    let shown = PriceOut::new(&price.price, catalogue)?;
    let mut shown = serde_json::to_value(shown).map_err(|error| Problem::fault(error.to_string()))?;
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("id");
        if !price.scheduled {
            fields.remove("valid_from");
        }
    }
    Ok(shown)
}

impl CatalogueActionOut {
    fn new(view: ActionView, prices: &[FilePrice], catalogue: &Catalogue) -> Result<Self, Problem> {
        let (overage, overage_percent) = actions::overage(view.action.overage);
        Ok(CatalogueActionOut {
            key: view.action.key.to_string(),
            name: view.name,
            unit_label: view.unit_label,
            description: view.description,
            category: view.category,
            active: view.action.active,
            overage,
            overage_percent,
            confirm_above: ConfirmOut::new(&view.action.confirm_above, catalogue)?,
            prices: prices.iter().map(|price| file_price(price, catalogue)).collect::<Result<_, _>>()?,
        })
    }
}

impl DiffOut {
    fn new(diff: CatalogueDiff, dry_run: bool) -> Result<DiffOut, Problem> {
        let CatalogueDiff { units, actions, unchanged, not_in_file, scheduled_not_in_file, catalogue, usage } =
            diff;
        let actions: Vec<ActionChangeOut> = actions
            .iter()
            .map(|action| ActionChangeOut::new(action, &catalogue))
            .collect::<Result<_, _>>()?;
        let count = |kind| actions.iter().filter(|action| action.change == kind).count();
        let counts = CountsOut {
            added: count(ChangeWire::Added),
            changed: count(ChangeWire::Changed),
            deactivated: count(ChangeWire::Deactivated),
            unchanged,
            not_in_file: not_in_file.len(),
            price_versions: actions.iter().map(|action| action.prices.len()).sum(),
        };
        let unit = |(unit, name_before)| UnitChangeOut { unit: UnitOut::from(unit), name_before };
        let scheduled = |(key, unit, at): (purser_core::Key, purser_core::Key, _)| ScheduledOut {
            key: key.to_string(),
            unit: unit.to_string(),
            valid_from: TimeOut(at),
        };
        Ok(DiffOut {
            dry_run,
            differs: !(actions.is_empty() && units.is_empty()),
            counts,
            units: units.into_iter().map(unit).collect(),
            actions,
            not_in_file: not_in_file.iter().map(ToString::to_string).collect(),
            scheduled_not_in_file: scheduled_not_in_file.into_iter().map(scheduled).collect(),
            usage: usage.map(UsageOut::from),
        })
    }
}

impl ActionChangeOut {
    fn new(change: &ActionChange, catalogue: &Catalogue) -> Result<ActionChangeOut, Problem> {
        let price = |(before, after): &(Option<purser_core::catalogue::Price>, FilePrice)| {
            Ok(PriceChangeOut {
                unit: after.price.unit.to_string(),
                before: before.as_ref().map(|price| PriceOut::new(price, catalogue)).transpose()?,
                after: file_price(after, catalogue)?,
            })
        };
        Ok(ActionChangeOut {
            key: change.after.action.key.to_string(),
            change: match &change.before {
                None => ChangeWire::Added,
                Some(_) if change.pruned => ChangeWire::Deactivated,
                Some(_) => ChangeWire::Changed,
            },
            fields: match &change.before {
                None => Vec::new(),
                Some(before) => fields(before, &change.after, catalogue)?,
            },
            prices: change.prices.iter().map(price).collect::<Result<_, Problem>>()?,
        })
    }
}

/// The fields in which an action differs.
fn fields(
    before: &ActionView,
    after: &ActionView,
    catalogue: &Catalogue,
) -> Result<Vec<FieldChangeOut>, Problem> {
    let shown = |view: &ActionView| {
        let (overage, percent) = actions::overage(view.action.overage);
        let confirm_above = ConfirmOut::new(&view.action.confirm_above, catalogue)?.text();
        Ok::<_, Problem>([
            ("name", Some(view.name.clone())),
            ("unit_label", view.unit_label.clone()),
            ("description", view.description.clone()),
            ("category", view.category.clone()),
            ("active", Some(view.action.active.to_string())),
            ("overage", Some(overage.name().to_string())),
            ("overage_percent", percent.map(|percent| percent.to_string())),
            ("confirm_above", confirm_above),
        ])
    };
    let both = shown(before)?.into_iter().zip(shown(after)?);
    Ok(both
        .filter(|((_, before), (_, after))| before != after)
        .map(|((field, before), (_, after))| FieldChangeOut { field, before, after })
        .collect())
}

/// Reads the whole catalogue
///
/// As `PUT` takes it: units, and actions with the prices that are in force or scheduled. To apply what was read changes nothing.
#[utoipa::path(get, path = "/v1/catalogue", tag = "catalogue", operation_id = "read_catalogue",
    responses((status = 200, description = "The catalogue", body = CatalogueOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    _: NoQuery,
) -> Result<Reply<CatalogueOut>, Problem> {
    let view = apply::export(&app, &caller).await?;
    let catalogue = app.catalogue();
    let action =
        |(view, prices): (ActionView, Vec<FilePrice>)| CatalogueActionOut::new(view, &prices, &catalogue);
    Ok(Reply::ok(CatalogueOut {
        units: view.units.into_iter().map(UnitOut::from).collect(),
        actions: view.actions.into_iter().map(action).collect::<Result<_, _>>()?,
    }))
}

/// Applies a catalogue, whole or not at all
///
/// Labels change in place; a price that differs becomes a new version, and history never changes. What is not named is left
/// alone unless `prune` is set. With `dry_run` nothing changes, and `days` of usage are charged again at the new prices.
#[utoipa::path(put, path = "/v1/catalogue", tag = "catalogue", operation_id = "apply_catalogue",
    params(DryRunQuery), request_body = CatalogueIn,
    responses((status = 200, description = "What differed", body = DiffOut), OfChanges))]
pub async fn put(
    Writer(caller): Writer,
    State(app): State<App>,
    Query(query): Query<DryRunQuery>,
    body: QueriedBody<CATALOGUE_BODY_MAX>,
) -> Result<Reply<DiffOut>, Problem> {
    let ask = body.parse::<CatalogueIn<'_>>()?.into_ask()?;
    let dry_run = query.dry_run.unwrap_or(false);
    let how = if dry_run { How::DryRun { days: query.days } } else { How::Apply };
    let diff = apply::apply(&app, &caller, ask, how).await?;
    Ok(Reply::ok(DiffOut::new(diff, dry_run)?))
}
