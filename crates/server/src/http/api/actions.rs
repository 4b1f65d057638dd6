//! Actions: the consumable things of the catalogue.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::{ActionAsk, ActionPatchAsk};
use purser_app::usecase::catalogue;
use purser_app::view::ActionView;
use purser_core::catalogue::{Catalogue, Overage};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::ListOut;
use super::prices::{PriceIn, PriceOut};
use super::refusals::{OfChanges, OfQuestions, OfReads};
use crate::http::confirm::{ConfirmIn, ConfirmOut};
use crate::http::extract::{JsonBody, NoQuery, Nothing, PathText, Query, Reader, Writer};
use crate::http::incoming::{KeyIn, Owned, TextIn};
use crate::http::object::Strict;
use crate::http::problem::Problem;
use crate::http::query::PageQuery;
use crate::http::reply::Reply;

/// An action to make, with its first `price`, or one of `prices` for each unit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ActionRequest)]
pub struct ActionIn<'a> {
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
    /// What captures may take beyond the hold; `refuse` unless said.
    #[serde(default)]
    overage: Option<OverageWire>,
    /// With `allow`: so many percent of the hold.
    #[serde(default)]
    #[schema(maximum = 1000)]
    overage_percent: Option<u16>,
    /// A debit or hold that costs more needs its quote: somebody is to be asked first. By unit, where the action has several.
    #[serde(borrow, default)]
    #[schema(nullable = false)]
    confirm_above: Option<ConfirmIn<'a>>,
    /// Its price.
    #[serde(borrow, default)]
    #[schema(value_type = Option<PriceIn<'a>>)]
    price: Option<Strict<PriceIn<'a>>>,
    /// Its prices in several units, in the order in which the units are tried.
    #[serde(borrow, default)]
    #[schema(max_items = 16)]
    #[schema(value_type = Option<Vec<PriceIn<'a>>>)]
    prices: Option<Vec<Strict<PriceIn<'a>>>>,
}

/// What captures may take beyond the hold.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Overage)]
pub enum OverageWire {
    /// Nothing.
    Refuse,
    /// So many percent of the hold, if available.
    Allow,
    /// Everything; what is not available becomes debt.
    Debt,
}

impl OverageWire {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            OverageWire::Refuse => "refuse",
            OverageWire::Allow => "allow",
            OverageWire::Debt => "debt",
        }
    }
}

/// The rule with its percent.
pub fn overage(overage: Overage) -> (OverageWire, Option<u16>) {
    match overage {
        Overage::Refuse => (OverageWire::Refuse, None),
        Overage::Allow { percent } => (OverageWire::Allow, Some(percent)),
        Overage::Debt => (OverageWire::Debt, None),
    }
}

impl ActionIn<'_> {
    fn into_ask(self) -> Result<ActionAsk, Problem> {
        let single = self.price.is_some();
        let prices = match (self.price, self.prices) {
            (Some(Strict(price)), None) => vec![price.into_ask().map_err(|problem| problem.below("/price"))?],
            (None, Some(prices)) if !prices.is_empty() => {
                let ask = |(index, Strict(price)): (usize, Strict<PriceIn<'_>>)| {
                    price.into_ask().map_err(|problem| problem.below(&format!("/prices/{index}")))
                };
                prices.into_iter().enumerate().map(ask).collect::<Result<_, _>>()?
            }
            (None, _) => {
                return Err(Problem::field("/price", "required", "an action has a price, or prices"));
            }
            (Some(_), Some(_)) => {
                return Err(Problem::field(
                    "/prices",
                    "not_applicable",
                    "either `price` or `prices` is given",
                ));
            }
        };
        Ok(ActionAsk {
            key: self.key.0.into_owned(),
            name: self.name.0.into_owned(),
            unit_label: self.unit_label.owned(),
            description: self.description.owned(),
            category: self.category.owned(),
            overage: self.overage.map(|overage| overage.name().to_string()),
            overage_percent: self.overage_percent,
            confirm_above: self.confirm_above.map(ConfirmIn::into_ask),
            prices,
            single,
        })
    }
}

/// What changes of an action beside its prices. What is not named stays; null takes a label away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ActionPatch)]
pub struct ActionPatchIn<'a> {
    /// What people call it.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 200)]
    name: Option<TextIn<'a, 200>>,
    /// What one of it is.
    #[serde(borrow, default, deserialize_with = "named")]
    #[schema(value_type = Option<TextIn<'a, 200>>)]
    unit_label: Option<Option<TextIn<'a, 200>>>,
    /// One paragraph.
    #[serde(borrow, default, deserialize_with = "named")]
    #[schema(value_type = Option<TextIn<'a, 2000>>)]
    description: Option<Option<TextIn<'a, 2000>>>,
    /// For grouping.
    #[serde(borrow, default, deserialize_with = "named")]
    #[schema(value_type = Option<TextIn<'a, 200>>)]
    category: Option<Option<TextIn<'a, 200>>>,
    /// Whether it may be consumed.
    #[serde(default)]
    active: Option<bool>,
    /// What captures may take beyond the hold.
    #[serde(default)]
    overage: Option<OverageWire>,
    /// With `allow`: so many percent of the hold.
    #[serde(default)]
    #[schema(maximum = 1000)]
    overage_percent: Option<u16>,
    /// Above which costs a debit or hold needs its quote; null asks nobody any more.
    #[serde(borrow, default, deserialize_with = "named")]
    #[schema(value_type = Option<ConfirmIn<'a>>)]
    confirm_above: Option<Option<ConfirmIn<'a>>>,
}

/// A field that is named, with null as something of its own.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl ActionPatchIn<'_> {
    fn into_ask(self) -> ActionPatchAsk {
        ActionPatchAsk {
            name: self.name.owned(),
            unit_label: self.unit_label.map(Owned::owned),
            description: self.description.map(Owned::owned),
            category: self.category.map(Owned::owned),
            active: self.active,
            overage: self.overage.map(|overage| overage.name().to_string()),
            overage_percent: self.overage_percent,
            confirm_above: self.confirm_above.map(|asked| asked.map(ConfirmIn::into_ask)),
        }
    }
}

/// An action with all its price versions.
#[derive(Serialize, ToSchema)]
#[schema(as = Action)]
pub struct ActionOut {
    /// Your name for it.
    key: String,
    /// What people call it.
    name: String,
    /// What one of it is.
    #[schema(required)]
    unit_label: Option<String>,
    /// One paragraph.
    #[schema(required)]
    description: Option<String>,
    /// For grouping.
    #[schema(required)]
    category: Option<String>,
    /// Inactive actions are refused as if unknown.
    active: bool,
    /// What captures may take beyond the hold.
    overage: OverageWire,
    /// With `allow`: so many percent of the hold.
    #[schema(required)]
    overage_percent: Option<u16>,
    /// Above which costs a debit or hold needs its quote, by unit; empty where nobody is asked.
    confirm_above: ConfirmOut,
    /// The units it is paid in, in the order in which they are tried.
    units: Vec<String>,
    /// All versions.
    prices: Vec<PriceOut>,
}

impl ActionOut {
    /// Renders an action; the amounts of its prices are counted in units of the catalogue.
    pub fn new(view: ActionView, catalogue: &Catalogue) -> Result<ActionOut, Problem> {
        let action = &view.action;
        let (overage, overage_percent) = overage(action.overage);
        let prices = action.prices.iter().map(|price| PriceOut::new(price, catalogue));
        Ok(ActionOut {
            key: action.key.to_string(),
            active: action.active,
            overage,
            overage_percent,
            confirm_above: ConfirmOut::new(&action.confirm_above, catalogue)?,
            units: action.units.iter().map(ToString::to_string).collect(),
            prices: prices.collect::<Result<_, _>>()?,
            name: view.name,
            unit_label: view.unit_label,
            description: view.description,
            category: view.category,
        })
    }
}

/// Lists actions
///
/// By key.
#[utoipa::path(get, path = "/v1/actions", tag = "catalogue", operation_id = "list_actions", params(PageQuery),
    responses((status = 200, description = "A page of actions", body = ListOut<ActionOut>), OfReads))]
pub async fn list(
    Reader(caller): Reader,
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Reply<ListOut<ActionOut>>, Problem> {
    let page = catalogue::actions(&app, &caller, page.into()).await?;
    let catalogue = app.catalogue();
    let data = page.data.into_iter().map(|view| ActionOut::new(view, &catalogue));
    Ok(Reply::ok(ListOut { data: data.collect::<Result<_, _>>()?, next_cursor: page.next_cursor }))
}

/// Makes an action with its first prices
///
/// Saying the same again changes nothing.
#[utoipa::path(post, path = "/v1/actions", tag = "catalogue", operation_id = "create_action",
    request_body = ActionIn,
    responses((status = 201, description = "The action", body = ActionOut), OfChanges))]
pub async fn create(
    Writer(caller): Writer,
    State(app): State<App>,
    body: JsonBody,
) -> Result<Reply<ActionOut>, Problem> {
    let ask = body.parse::<ActionIn<'_>>()?.into_ask()?;
    let view = catalogue::add_action(&app, &caller, ask).await?;
    Ok(Reply::created(ActionOut::new(view, &app.catalogue())?))
}

/// Reads an action
#[utoipa::path(get, path = "/v1/actions/{key}", tag = "catalogue", operation_id = "read_action",
    params(("key" = String, Path, description = "The action")),
    responses((status = 200, description = "The action", body = ActionOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(key): PathText,
    _: NoQuery,
) -> Result<Reply<ActionOut>, Problem> {
    let view = catalogue::action(&app, &caller, &key).await?;
    Ok(Reply::ok(ActionOut::new(view, &app.catalogue())?))
}

/// Changes what the catalogue says of an action beside its prices
#[utoipa::path(patch, path = "/v1/actions/{key}", tag = "catalogue", operation_id = "change_action",
    params(("key" = String, Path, description = "The action")), request_body = ActionPatchIn,
    responses((status = 200, description = "The action", body = ActionOut), OfQuestions))]
pub async fn change(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(key): PathText,
    body: JsonBody,
) -> Result<Reply<ActionOut>, Problem> {
    let ask = body.parse::<ActionPatchIn<'_>>()?.into_ask();
    let view = catalogue::change_action(&app, &caller, &key, ask).await?;
    Ok(Reply::ok(ActionOut::new(view, &app.catalogue())?))
}

/// Switches an action on
#[utoipa::path(post, path = "/v1/actions/{key}/activate", tag = "catalogue", operation_id = "activate_action",
    params(("key" = String, Path, description = "The action")),
    responses((status = 200, description = "The action", body = ActionOut), OfQuestions))]
pub async fn activate(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(key): PathText,
    _: Nothing,
) -> Result<Reply<ActionOut>, Problem> {
    let view = catalogue::set_active(&app, &caller, &key, true).await?;
    Ok(Reply::ok(ActionOut::new(view, &app.catalogue())?))
}

/// Switches an action off
///
/// It is then refused as if unknown; holds that were placed before can still be captured.
#[utoipa::path(post, path = "/v1/actions/{key}/deactivate", tag = "catalogue", operation_id = "deactivate_action",
    params(("key" = String, Path, description = "The action")),
    responses((status = 200, description = "The action", body = ActionOut), OfQuestions))]
pub async fn deactivate(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(key): PathText,
    _: Nothing,
) -> Result<Reply<ActionOut>, Problem> {
    let view = catalogue::set_active(&app, &caller, &key, false).await?;
    Ok(Reply::ok(ActionOut::new(view, &app.catalogue())?))
}
