//! `POST /v1/preflight`: may this user do this now, and what does it cost? Moves and makes nothing.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::{DebitAsk, Remarks, Whose};
use purser_app::usecase::debit;
use purser_app::view::Preflight;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::balance::BalanceOut;
use super::refusals::OfQuestions;
use crate::http::extract::{JsonBody, Reader};
use crate::http::incoming::{DecimalIn, DimensionsIn, KeyIn, Owned, TextIn, measure, measured_at, unit_at};
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::{PackageOut, Problem, QuoteOut};
use crate::http::reply::Reply;

/// What somebody is about to do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PreflightRequest)]
pub struct PreflightIn<'a> {
    /// The tenant that would pay; the user's personal one unless said.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// Who would consume.
    #[serde(borrow)]
    user: KeyIn<'a>,
    /// The action.
    #[serde(borrow)]
    action: KeyIn<'a>,
    /// How much of it; one unless said.
    #[serde(borrow, default)]
    quantity: Option<DecimalIn<'a>>,
    /// How much by measure.
    #[serde(borrow, default)]
    dimensions: Option<DimensionsIn<'a>>,
    /// Pay in this unit only.
    #[serde(borrow, default)]
    unit: Option<KeyIn<'a>>,
    /// Pay from this wallet only.
    #[serde(borrow, default)]
    wallet_id: Option<KeyIn<'a>>,
    /// Where the page for buying credits leads back to when they lack: an address on a site that the settings allow.
    #[serde(borrow, default)]
    return_url: Option<TextIn<'a, 2048>>,
}

/// Whether a debit would be made now, and what it would cost.
#[derive(Serialize, ToSchema)]
#[schema(as = Preflight)]
pub struct PreflightOut {
    /// Whether it would be made.
    allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'static str>,
    /// `limit_reached`: when the next period begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    resets_at: Option<TimeOut>,
    /// What it costs.
    cost: AmountOut,
    /// The code of the unit.
    unit: String,
    /// The wallet that would pay, or is closest to it; null where it does not exist yet.
    #[schema(required)]
    wallet_id: Option<IdOut>,
    /// Its balance now.
    balance: BalanceOut,
    /// What would be available after the debit; negative when it would be refused for lack of credits.
    balance_after: AmountOut,
    /// Whether it costs more than may be spent without asking: the debit is made with the quote, and refused without.
    confirmation_required: bool,
    /// A signed promise of the cost; null when the debit would be refused for another reason than a lack of credits.
    #[schema(required)]
    quote: Option<QuoteOut>,
    /// What is missing, debt included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shortfall: Option<AmountOut>,
    /// Where credits can be bought, when they are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    topup_url: Option<String>,
    /// What could be bought, smallest sufficient first.
    packages: Vec<PackageOut>,
}

impl From<Preflight> for PreflightOut {
    fn from(preflight: Preflight) -> PreflightOut {
        let unit = &preflight.unit;
        PreflightOut {
            allowed: preflight.allowed,
            code: preflight.code,
            resets_at: preflight.resets_at.map(TimeOut),
            cost: AmountOut::of(unit, preflight.cost),
            wallet_id: preflight.wallet.map(IdOut::wallet),
            balance: BalanceOut::new(unit, &preflight.balance),
            balance_after: AmountOut::of(unit, preflight.available_after),
            confirmation_required: preflight.confirmation_required,
            quote: preflight.quote.map(QuoteOut::from),
            topup_url: preflight.topup_url,
            shortfall: preflight.shortfall.map(|shortfall| AmountOut::of(unit, shortfall)),
            packages: Vec::new(),
            unit: unit.code.to_string(),
        }
    }
}

/// Asks what a debit would do now
///
/// Moves nothing and makes nothing; the answer is 200 whether the debit would be made or not.
#[utoipa::path(post, path = "/v1/preflight", tag = "debits", operation_id = "preflight",
    request_body = PreflightIn,
    responses((status = 200, description = "What a debit would do", body = PreflightOut), OfQuestions))]
pub async fn ask(
    Reader(caller): Reader,
    State(app): State<App>,
    body: JsonBody,
) -> Result<Reply<PreflightOut>, Problem> {
    let request: PreflightIn<'_> = body.parse()?;
    let ask = DebitAsk {
        whose: Whose { tenant: request.tenant.owned(), user: request.user.0.into_owned() },
        action: request.action.0.into_owned(),
        measure: measure(request.quantity, request.dimensions, None),
        unit: request.unit.owned(),
        wallet_id: request.wallet_id.owned(),
        settle: false,
        occurred_at: None,
        quote: None,
        return_url: request.return_url.owned(),
        remarks: Remarks::default(),
    };
    let (unit, amount) = (unit_at(ask.unit.as_ref()), measured_at(&ask.measure));
    let answered = debit::preflight(&app, &caller, ask).await;
    let answered = answered.map_err(|error| Problem::from(error).locate(unit, amount))?;
    Ok(Reply::ok(answered.into()))
}
