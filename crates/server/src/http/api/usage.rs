//! What the usage of the last days would have cost at proposed prices, as the comparisons of prices and catalogues tell it.

use purser_app::view::{Rehearsal, UsageOfAction, UsageOfTenant, UsageSum, UsageSums};
use purser_core::catalogue::Unit;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::http::outgoing::{AmountOut, TimeOut};
use crate::http::problem::Problem;
use crate::http::query::{FromQuery, Params};

/// Whether a change is made or only compared, and with how many days of usage.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DryRunQuery {
    /// Only says what would change.
    #[param(nullable = false)]
    pub dry_run: Option<bool>,
    /// With `dry_run`: charges the debits of so many last days again, at the new prices.
    #[param(nullable = false, minimum = 1, maximum = 31)]
    pub days: Option<u32>,
}

impl FromQuery for DryRunQuery {
    fn from_query(params: &mut Params) -> Result<DryRunQuery, Problem> {
        let dry_run = match params.take("dry_run").as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(Problem::field("?dry_run", "malformed", "true or false")),
        };
        let days = params.take("days").map(|text| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            let days = text.parse().ok().filter(|_| plain);
            days.ok_or_else(|| Problem::field("?days", "malformed", "a number of days, 1 to 31"))
        });
        let days = days.transpose()?;
        if days.is_some() && dry_run != Some(true) {
            return Err(Problem::field("?days", "not_allowed", "only with dry_run=true"));
        }
        Ok(DryRunQuery { dry_run, days })
    }
}

/// Debits and captures of the last days, of the actions and units whose price would change, at the prices they were charged at and
/// at the new ones: each new price as if it had been in force all along, the last one where there are several.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageRehearsal)]
pub struct UsageOut {
    /// How many days were asked for.
    days: u32,
    /// From when on.
    from: TimeOut,
    /// Until when.
    until: TimeOut,
    /// Whether only the first million debits, or what could be read in some seconds, is in it: what came after `until` is not.
    truncated: bool,
    /// How many debits and captures.
    debits: u64,
    /// Those at a price of the tenant's own, which stay as they were.
    own_price: u64,
    /// Captures whose amount was stated, which stay as they were.
    stated_amount: u64,
    /// Those whose usage does not fit the new price. They would be refused; here they stay as they were.
    not_priceable: u64,
    /// The sums of each unit.
    units: Vec<UsageOfUnitOut>,
}

/// What was charged in one unit, and what would have been. Refunds are not in it.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageOfUnit)]
pub struct UsageOfUnitOut {
    /// The unit.
    unit: String,
    /// All of it.
    #[serde(flatten)]
    sum: SumOut,
    /// By action.
    by_action: Vec<UsageOfActionOut>,
    /// The 20 tenants for whom most changes, first those.
    by_tenant: Vec<UsageOfTenantOut>,
}

/// What was charged, and what would have been.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageSum)]
pub struct SumOut {
    /// How many debits and captures.
    debits: u64,
    /// What they cost.
    before: AmountOut,
    /// What they would have cost.
    after: AmountOut,
    /// How much more that is.
    difference: AmountOut,
}

/// One action's part.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageOfAction)]
pub struct UsageOfActionOut {
    /// The action.
    action: String,
    /// Its sum.
    #[serde(flatten)]
    sum: SumOut,
}

/// One tenant's part.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageOfTenant)]
pub struct UsageOfTenantOut {
    /// The tenant; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// The user whose personal tenant it is.
    #[schema(required)]
    user: Option<String>,
    /// Its sum.
    #[serde(flatten)]
    sum: SumOut,
}

impl SumOut {
    fn new(unit: &Unit, sum: &UsageSum) -> SumOut {
        let [before, after, difference] =
            [sum.before, sum.after, sum.difference].map(|amount| AmountOut::of(unit, amount));
        SumOut { debits: sum.debits, before, after, difference }
    }
}

impl From<UsageSums> for UsageOfUnitOut {
    fn from(sums: UsageSums) -> UsageOfUnitOut {
        let unit = &sums.unit;
        let action = |UsageOfAction { action, sum }: &UsageOfAction| UsageOfActionOut {
            action: action.to_string(),
            sum: SumOut::new(unit, sum),
        };
        let tenant = |UsageOfTenant { tenant, user, sum }: &UsageOfTenant| UsageOfTenantOut {
            tenant: tenant.as_ref().map(ToString::to_string),
            user: user.as_ref().map(ToString::to_string),
            sum: SumOut::new(unit, sum),
        };
        UsageOfUnitOut {
            unit: unit.code.to_string(),
            sum: SumOut::new(unit, &sums.sum),
            by_action: sums.by_action.iter().map(action).collect(),
            by_tenant: sums.by_tenant.iter().map(tenant).collect(),
        }
    }
}

impl From<Rehearsal> for UsageOut {
    fn from(usage: Rehearsal) -> UsageOut {
        UsageOut {
            days: usage.days,
            from: TimeOut(usage.from),
            until: TimeOut(usage.until),
            truncated: usage.truncated,
            debits: usage.units.iter().map(|unit| unit.sum.debits).sum(),
            own_price: usage.own_price,
            stated_amount: usage.stated_amount,
            not_priceable: usage.not_priceable,
            units: usage.units.into_iter().map(UsageOfUnitOut::from).collect(),
        }
    }
}
