//! `GET /v1/debits/{id}/explain`: why a debit cost what it cost, in numbers and in a sentence.

use std::collections::BTreeMap;

use axum::extract::State;
use purser_app::App;
use purser_app::usecase::explain;
use purser_app::view::{Explained, Given, Taken};
use purser_core::amount::render_decimal;
use purser_core::catalogue::Unit;
use purser_core::entry::Usage;
use purser_core::id::Prefix;
use purser_core::pricing::{Discount, Explanation, Limit, Line, Part};
use purser_core::{Amount, Decimal, EntryKind, Quantity, TenantNo};
use serde::Serialize;
use utoipa::ToSchema;

use super::debits::shown;
use super::discounts::percent;
use super::grants::{GrantKindWire, MoneyOut};
use super::prices::{PriceOut, RoundingWire};
use super::refusals::OfReads;
use crate::http::extract::{NoQuery, PathText, Reader};
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::Problem;
use crate::http::reply::Reply;

/// Why a debit cost what it cost, and what paid for it.
#[derive(Serialize, ToSchema)]
#[schema(as = Explanation)]
pub struct ExplainOut {
    /// The debit.
    debit_id: IdOut,
    /// The wallet that paid.
    wallet_id: IdOut,
    /// The action.
    #[schema(required)]
    action: Option<String>,
    /// The code of the unit it was paid in.
    unit: String,
    /// When the work happened: it selected the price version, unless a quote did.
    occurred_at: TimeOut,
    /// The quote that promised the price; null where none was brought.
    #[schema(required)]
    quote_id: Option<IdOut>,
    /// How much of the action, where it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quantity: Option<AmountOut>,
    /// How much by measure, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dimensions: Option<BTreeMap<String, AmountOut>>,
    /// Where the price goes by a period: what the tenant had used of the action in it before. The arithmetic begins there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    used_before: Option<AmountOut>,
    /// The price version; null where the caller stated the amount.
    #[schema(required)]
    price: Option<PriceOut>,
    /// The arithmetic by this version; null where the caller stated the amount.
    #[schema(required)]
    arithmetic: Option<ArithmeticOut>,
    /// What was charged.
    amount: AmountOut,
    /// What paid for it, in the order in which it was taken.
    lots: Vec<TakenOut>,
    /// What no credits were there for at that time.
    debt: AmountOut,
    /// What was given back since.
    refunds: Vec<GivenOut>,
    /// The sum of it.
    refunded: AmountOut,
    /// All of it in English.
    sentence: String,
}

/// How usage becomes a charge.
#[derive(Serialize, ToSchema)]
#[schema(as = Arithmetic)]
pub struct ArithmeticOut {
    /// Line by line: quantity × rate ÷ per + flat; for packages, quantity × flat.
    lines: Vec<LineOut>,
    /// The exact sum of the lines, in whole units: a decimal, or a fraction such as `1/3` where no decimal ends.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+|/[0-9]+)?$")]
    sum: String,
    /// The limit that took its place; null where none did.
    #[schema(required)]
    limit: Option<LimitWire>,
    /// The tenant's discount on that, in percent; null where there was none.
    #[schema(required)]
    discount: Option<AmountOut>,
    /// What is left, exactly, as `sum`.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+|/[0-9]+)?$")]
    exact: String,
    /// How that was settled to the unit's smallest part; null where nothing leaves a fraction.
    #[schema(required)]
    rounding: Option<RoundingWire>,
    /// What is charged.
    total: AmountOut,
}

/// One line of the arithmetic.
#[derive(Serialize, ToSchema)]
#[schema(as = ArithmeticLine)]
pub struct LineOut {
    /// What it is about.
    part: PartWire,
    /// `dimension`: which.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dimension: Option<String>,
    /// `tier`: its place in the price, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tier: Option<usize>,
    /// How much of it.
    quantity: AmountOut,
    /// What `per` of it cost, where it goes by a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rate: Option<AmountOut>,
    /// For how many the rate is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    per: Option<i64>,
    /// What it costs beside the rate: once, or for each package.
    flat: AmountOut,
    /// What the line comes to, exactly, as `sum`.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+|/[0-9]+)?$")]
    cost: String,
}

/// What a line is about.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ArithmeticPart)]
pub enum PartWire {
    /// The call as such.
    Call,
    /// What is free of the quantity.
    Included,
    /// All of the quantity that is charged for.
    Quantity,
    /// One measure.
    Dimension,
    /// What lies in one tier, or all of the quantity at the rate of the tier it reaches.
    Tier,
    /// Started packages.
    Packages,
}

/// The limit that decided a charge.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PriceLimit)]
pub enum LimitWire {
    /// It was raised to the price's minimum.
    Minimum,
    /// It was cut to the price's maximum.
    Maximum,
}

/// What a debit took from a lot.
#[derive(Serialize, ToSchema)]
#[schema(as = TakenLot)]
pub struct TakenOut {
    /// The lot.
    lot_id: IdOut,
    /// Why it was given.
    kind: GrantKindWire,
    /// How much.
    amount: AmountOut,
    /// The money recognised by it; null for a lot that nothing was paid for.
    #[schema(required)]
    money: Option<MoneyOut>,
}

/// What was given back of a debit.
#[derive(Serialize, ToSchema)]
#[schema(as = GivenBack)]
pub struct GivenOut {
    /// The entry that booked it.
    entry_id: IdOut,
    /// How much.
    amount: AmountOut,
    /// When.
    created_at: TimeOut,
}

fn quantity(quantity: Quantity) -> AmountOut {
    AmountOut::new(quantity.0, Quantity::DECIMALS)
}

/// A discount that takes something off.
fn discounted(discount: Discount) -> Option<Discount> {
    (discount != Discount::NONE).then_some(discount)
}

impl LineOut {
    fn new(line: &Line, usage: &Usage, unit: &Unit) -> LineOut {
        let (part, dimension, tier) = match line.part {
            Part::Call => (PartWire::Call, None, None),
            Part::Included => (PartWire::Included, None, None),
            Part::Quantity => (PartWire::Quantity, None, None),
            Part::Dimension(place) => (PartWire::Dimension, Some(dimension(usage, place)), None),
            Part::Tier(place) => (PartWire::Tier, None, Some(place + 1)),
            Part::Packages => (PartWire::Packages, None, None),
        };
        LineOut {
            part,
            dimension,
            tier,
            quantity: quantity(line.quantity),
            rate: line.rate.map(|rate| AmountOut::new(rate.rate.0, Decimal::DECIMALS)),
            per: line.rate.map(|rate| rate.per),
            flat: AmountOut::of(unit, line.flat),
            cost: line.cost.render(unit.scale),
        }
    }
}

fn dimension(usage: &Usage, place: usize) -> String {
    match usage {
        Usage::Dimensions(dimensions) => {
            dimensions.get(place).map(|(name, _)| name.clone()).unwrap_or_default()
        }
        Usage::Quantity(_) | Usage::Amount(_) => String::new(),
    }
}

impl ArithmeticOut {
    fn new(explanation: &Explanation, usage: &Usage, unit: &Unit) -> ArithmeticOut {
        let outcome = &explanation.outcome;
        ArithmeticOut {
            lines: explanation.lines.iter().map(|line| LineOut::new(line, usage, unit)).collect(),
            sum: outcome.sum.render(unit.scale),
            limit: outcome.limit.map(|limit| match limit {
                Limit::Minimum(_) => LimitWire::Minimum,
                Limit::Maximum(_) => LimitWire::Maximum,
            }),
            discount: discounted(outcome.discount).map(percent),
            exact: outcome.exact.render(unit.scale),
            rounding: outcome.rounding.map(RoundingWire::from),
            total: AmountOut::of(unit, outcome.total),
        }
    }
}

impl ExplainOut {
    fn new(view: Explained, app: &App) -> Result<ExplainOut, Problem> {
        let (unit, entry) = (&view.debit.unit, &view.debit.entry);
        let tenant = entry.wallet.tenant;
        let catalogue = app.catalogue();
        let price = view.priced.as_ref().map(|(price, _)| PriceOut::new(price, &catalogue)).transpose()?;
        let sentence = sentence(&view, price.as_ref());
        let (quantity, dimensions) = shown(&view.debit.charge.usage);
        let usage = &view.debit.charge.usage;
        Ok(ExplainOut {
            debit_id: IdOut::new(Prefix::Debit, tenant, entry.subject),
            wallet_id: IdOut::wallet(entry.wallet),
            action: view.debit.names.action.as_ref().map(ToString::to_string),
            unit: unit.code.to_string(),
            occurred_at: TimeOut(entry.occurred_at),
            quote_id: view.debit.charge.quote.map(IdOut::quote),
            quantity,
            dimensions,
            used_before: view.debit.charge.footing.used_before.map(self::quantity),
            price,
            arithmetic: view
                .priced
                .as_ref()
                .map(|(_, explanation)| ArithmeticOut::new(explanation, usage, unit)),
            amount: AmountOut::of(unit, view.debit.charge.cost),
            lots: view.lots.iter().map(|taken| taken_out(taken, tenant, unit)).collect(),
            debt: AmountOut::of(unit, view.owed),
            refunds: view.refunds.iter().map(|given| given_out(given, tenant, unit)).collect(),
            refunded: AmountOut::of(unit, view.debit.refunded),
            sentence,
        })
    }
}

fn taken_out(taken: &Taken, tenant: TenantNo, unit: &Unit) -> TakenOut {
    TakenOut {
        lot_id: IdOut::new(Prefix::Lot, tenant, taken.lot),
        kind: taken.kind.into(),
        amount: AmountOut::of(unit, taken.amount),
        money: taken.money.map(MoneyOut::from),
    }
}

fn given_out(given: &Given, tenant: TenantNo, unit: &Unit) -> GivenOut {
    GivenOut {
        entry_id: IdOut::new(Prefix::Entry, tenant, given.entry),
        amount: AmountOut::of(unit, given.amount),
        created_at: TimeOut(given.at),
    }
}

/// The same in English: what, how it was priced, what paid for it, what came back.
fn sentence(view: &Explained, shown: Option<&PriceOut>) -> String {
    let (unit, debit) = (&view.debit.unit, &view.debit);
    let amount = |amount: Amount| format!("{} {}", unit.render(amount), unit.code);
    let action = debit.names.action.as_ref().map_or("An action", |key| key.as_str());
    let mut text = format!("{action} was charged {}", amount(debit.charge.cost));
    match (&view.priced, shown) {
        (Some((price, explanation)), Some(shown)) => {
            text.push_str(&format!(
                " by its {} price valid from {}: ",
                shown.model().replace('_', " "),
                TimeOut(price.valid_from).text()
            ));
            match (debit.charge.quote, debit.entry.kind) {
                (None, _) => {}
                (Some(_), EntryKind::Debit) => text.push_str("as a quote promised: "),
                // A quote promised what the hold was placed for; its price goes on.
                (Some(_), _) => text.push_str("at the price of a quote: "),
            }
            if let Some(used) = debit.charge.footing.used_before {
                let used = render_decimal(used.0, Quantity::DECIMALS);
                text.push_str(&format!("after {used} used before in the period: "));
            }
            text.push_str(&arithmetic(explanation, &debit.charge.usage, unit));
        }
        _ => text.push_str(", an amount that the caller stated, so no price applies"),
    }
    let from =
        view.lots.iter().map(|taken| format!("{} from a {} lot", amount(taken.amount), taken.kind.name()));
    let mut paid: Vec<String> = from.collect();
    if view.owed.is_positive() {
        paid.push(format!("{} as debt", amount(view.owed)));
    }
    if !paid.is_empty() {
        text.push_str(&format!("; paid by {}", paid.join(", ")));
    }
    if debit.refunded.is_positive() {
        text.push_str(&format!("; {} was given back since", amount(debit.refunded)));
    }
    text.push('.');
    text
}

fn arithmetic(explanation: &Explanation, usage: &Usage, unit: &Unit) -> String {
    let line = |line: &Line| {
        let count = render_decimal(line.quantity.0, Quantity::DECIMALS);
        let name = match line.part {
            Part::Dimension(place) => format!("{} ", dimension(usage, place)),
            Part::Tier(place) => format!("tier {}: ", place + 1),
            Part::Packages => "packages ".to_string(),
            Part::Included => return format!("{count} included"),
            Part::Call | Part::Quantity => String::new(),
        };
        let product = match line.rate {
            Some(rate) => {
                let per = if rate.per == 1 { String::new() } else { format!(" ÷ {}", rate.per) };
                let flat = if line.flat.is_zero() {
                    String::new()
                } else {
                    format!(" + {}", unit.render(line.flat))
                };
                format!("{count} × {}{per}{flat}", render_decimal(rate.rate.0, Decimal::DECIMALS))
            }
            None => format!("{count} × {}", unit.render(line.flat)),
        };
        format!("{name}{product} = {}", line.cost.render(unit.scale))
    };
    let outcome = &explanation.outcome;
    let mut text = explanation.lines.iter().map(line).collect::<Vec<_>>().join("; ");
    if text.is_empty() {
        text.push_str("nothing to count");
    }
    if explanation.lines.len() > 1 {
        text.push_str(&format!("; together {}", outcome.sum.render(unit.scale)));
    }
    match outcome.limit {
        None => {}
        Some(Limit::Minimum(limit)) => {
            text.push_str(&format!(", raised to the minimum of {}", unit.render(limit)))
        }
        Some(Limit::Maximum(limit)) => {
            text.push_str(&format!(", cut to the maximum of {}", unit.render(limit)))
        }
    }
    if let Some(discount) = discounted(outcome.discount) {
        let percent = render_decimal(discount.basis_points().into(), Discount::DECIMALS);
        let left = outcome.exact.render(unit.scale);
        text.push_str(&format!(", less {percent} % = {left}"));
    }
    if let Some(rounding) = outcome.rounding
        && outcome.exact.render(unit.scale) != unit.render(outcome.total)
    {
        let way = RoundingWire::from(rounding).name().replace('_', " ");
        text.push_str(&format!(", rounded {way} to {}", unit.render(outcome.total)));
    }
    text
}

/// Explains a debit
///
/// The price version, the arithmetic line by line, what paid for it and what was given back since.
#[utoipa::path(get, path = "/v1/debits/{id}/explain", tag = "debits", operation_id = "explain_debit",
    params(("id" = String, Path, description = "The debit")),
    responses((status = 200, description = "Why it cost what it cost", body = ExplainOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Reply<ExplainOut>, Problem> {
    let view = explain::explain(&app, &caller, &id).await?;
    Ok(Reply::ok(ExplainOut::new(view, &app)?))
}
