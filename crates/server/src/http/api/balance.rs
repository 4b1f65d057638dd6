//! Balances: the object that every movement answers with, and `GET /v1/balance`.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::Whose;
use purser_app::usecase::wallet;
use purser_app::view::WalletView;
use purser_core::catalogue::Unit;
use purser_core::wallet::Balance;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::refusals::OfReads;
use crate::http::extract::{Query, Reader};
use crate::http::outgoing::{AmountOut, IdOut};
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, Params};
use crate::http::reply::Reply;

/// The balance of a wallet at an instant.
#[derive(Serialize, ToSchema)]
#[schema(as = Balance)]
pub struct BalanceOut {
    /// Everything that is in the wallet, less what is owed.
    settled: AmountOut,
    /// Pinned by active holds.
    held: AmountOut,
    /// What can be spent now; negative when more is owed than is there.
    available: AmountOut,
    /// Given, but not effective yet.
    pending: AmountOut,
    /// Set aside while money is disputed or being refunded.
    frozen: AmountOut,
    /// What is owed.
    debt: AmountOut,
    /// The amount of the last paid grant; null before any.
    #[schema(required)]
    last_topup: Option<AmountOut>,
    /// Available as a share of the last top-up, from 0 to 1 in steps of a thousandth; null before any top-up.
    #[schema(required)]
    share_of_last_topup: Option<AmountOut>,
    /// The balance in one word.
    health: HealthOut,
    /// The auto top-up rule that watches over this wallet; null without one.
    #[schema(required)]
    auto_topup: Option<AutoTopupOut>,
}

/// An auto top-up rule. None can be made in this version.
#[derive(Serialize, ToSchema)]
#[schema(as = AutoTopup)]
pub struct AutoTopupOut {}

/// A balance in one word.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Health)]
pub enum HealthOut {
    /// Plenty.
    Healthy,
    /// A fifth of the last top-up or less.
    Low,
    /// Nothing to spend.
    Empty,
    /// Credit is owed.
    Debt,
}

impl BalanceOut {
    /// Renders a balance of a unit.
    pub fn new(unit: &Unit, balance: &Balance) -> BalanceOut {
        let amount = |amount| AmountOut::of(unit, amount);
        BalanceOut {
            settled: amount(balance.settled),
            held: amount(balance.held),
            available: amount(balance.available),
            pending: amount(balance.pending),
            frozen: amount(balance.frozen),
            debt: amount(balance.debt),
            last_topup: balance.last_topup.is_positive().then(|| amount(balance.last_topup)),
            share_of_last_topup: balance
                .share_of_last_topup()
                .map(|share| AmountOut::new(i64::from(share), 3)),
            health: balance.health().into(),
            auto_topup: None,
        }
    }
}

impl From<purser_core::wallet::Health> for HealthOut {
    fn from(health: purser_core::wallet::Health) -> HealthOut {
        use purser_core::wallet::Health;
        match health {
            Health::Healthy => HealthOut::Healthy,
            Health::Low => HealthOut::Low,
            Health::Empty => HealthOut::Empty,
            Health::Debt => HealthOut::Debt,
        }
    }
}

/// Whose balance.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BalanceQuery {
    /// The user.
    #[param(value_type = crate::http::incoming::KeyIn)]
    user: String,
    /// The tenant; the user's personal one unless said.
    #[param(value_type = Option<crate::http::incoming::KeyIn>, nullable = false)]
    tenant: Option<String>,
    /// This unit only.
    #[param(value_type = Option<crate::http::incoming::KeyIn>, nullable = false)]
    unit: Option<String>,
}

impl FromQuery for BalanceQuery {
    fn from_query(params: &mut Params) -> Result<BalanceQuery, Problem> {
        Ok(BalanceQuery {
            user: params.required("user")?,
            tenant: params.take("tenant"),
            unit: params.take("unit"),
        })
    }
}

/// The wallets of a user in funding order.
#[derive(Serialize, ToSchema)]
#[schema(as = Balances)]
pub struct BalancesOut {
    /// In the order in which they fund.
    wallets: Vec<WalletBalanceOut>,
}

/// A wallet and its balance.
#[derive(Serialize, ToSchema)]
#[schema(as = WalletBalance)]
pub struct WalletBalanceOut {
    /// The wallet.
    wallet_id: IdOut,
    /// The code of its unit.
    unit: String,
    /// What people call the unit.
    name: String,
    /// `personal` or `pool`.
    kind: WalletKindOut,
    /// Its balance now.
    balance: BalanceOut,
}

/// Whose a wallet is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WalletKind)]
pub enum WalletKindOut {
    /// A user's own.
    Personal,
    /// The tenant's, shared.
    Pool,
}

impl WalletKindOut {
    /// The kind with this name.
    pub fn named(name: &str) -> WalletKindOut {
        if name == "pool" { WalletKindOut::Pool } else { WalletKindOut::Personal }
    }
}

impl From<WalletView> for WalletBalanceOut {
    fn from(view: WalletView) -> WalletBalanceOut {
        WalletBalanceOut {
            wallet_id: IdOut::wallet(view.key),
            unit: view.unit.code.to_string(),
            kind: WalletKindOut::named(view.kind),
            balance: BalanceOut::new(&view.unit, &view.balance),
            name: view.unit_name,
        }
    }
}

/// Reads a user's balances
///
/// In funding order. A user who was never given anything has no wallets.
#[utoipa::path(get, path = "/v1/balance", tag = "wallets", operation_id = "read_balance", params(BalanceQuery),
    responses((status = 200, description = "The wallets", body = BalancesOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    Query(query): Query<BalanceQuery>,
) -> Result<Reply<BalancesOut>, Problem> {
    let whose = Whose { tenant: query.tenant, user: query.user };
    let wallets = wallet::balance(&app, &caller, whose, query.unit).await;
    let wallets = wallets.map_err(|error| Problem::from(error).in_query())?;
    Ok(Reply::ok(BalancesOut { wallets: wallets.into_iter().map(WalletBalanceOut::from).collect() }))
}
