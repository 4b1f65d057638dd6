//! Rules of the gate: which requests to a product are charged, and how.

use axum::extract::State;
use axum::http::StatusCode;
use purser_app::App;
use purser_app::ask::GateRuleAsk;
use purser_app::usecase::gate_rule;
use purser_core::Quantity;
use purser_core::gate::{Effect, Rule, TenantFrom, UserIs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ListOut;
use super::refusals::{OfChanges, OfQuestions, OfReads};
use crate::http::extract::{JsonBody, NoQuery, Nothing, PathText, Query, Reader, Writer};
use crate::http::incoming::{DecimalIn, KeyIn, Owned, TextIn};
use crate::http::outgoing::{AmountOut, TimeOut};
use crate::http::problem::Problem;
use crate::http::query::PageQuery;
use crate::http::reply::Reply;

/// What happens to a request.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = GateEffect)]
pub enum EffectWire {
    /// It passes once it is paid for.
    Charge,
    /// It passes.
    Free,
    /// It does not pass.
    Deny,
}

/// What the header of a user holds.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = GateUserIs)]
pub enum UserIsWire {
    /// The user's key.
    Key,
    /// A secret of the user, such as an API key of the product: the user is `key_` and the first 32 digits of its BLAKE3.
    Credential,
}

/// What happens to a request when the ledger cannot be asked.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = GateFail)]
pub enum FailWire {
    /// It does not pass.
    Closed,
    /// It passes unpaid.
    Open,
}

/// A rule.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GateRuleRequest)]
pub struct GateRuleIn<'a> {
    /// Your name for it; has to be given where the path does not.
    #[serde(borrow, default)]
    key: Option<KeyIn<'a>>,
    /// A host, or `*.` and a domain for every name below it; any unless said.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 255)]
    host: Option<TextIn<'a, 255>>,
    /// Segments between slashes: text, `*` for any one, `**` at the end for whatever is left.
    #[serde(borrow)]
    #[schema(value_type = String, max_length = 2048)]
    path: TextIn<'a, 2048>,
    /// In capitals; all unless said.
    #[serde(borrow, default)]
    #[schema(value_type = Vec<String>, max_items = 16, required = false)]
    methods: Vec<TextIn<'a, 32>>,
    /// Lower goes first among rules that are as specific; 0 unless said.
    #[serde(default)]
    priority: Option<i32>,
    /// Whether it is looked at; it is unless said.
    #[serde(default)]
    active: Option<bool>,
    /// `charge` unless said. What follows is for `charge` alone.
    #[serde(default)]
    effect: Option<EffectWire>,
    /// The action that is charged.
    #[serde(borrow, default)]
    action: Option<KeyIn<'a>>,
    /// How much of it; one unless said.
    #[serde(borrow, default)]
    quantity: Option<DecimalIn<'a>>,
    /// The tenant that pays; each user's personal one unless said.
    #[serde(borrow, default)]
    tenant: Option<KeyIn<'a>>,
    /// Instead: the header, set by the proxy, that names the tenant.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 64)]
    tenant_header: Option<TextIn<'a, 64>>,
    /// The header, set by the proxy, that names the user; `X-Purser-User` unless said.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, max_length = 64)]
    user_header: Option<TextIn<'a, 64>>,
    /// What is in it; `key` unless said.
    #[serde(default)]
    user_is: Option<UserIsWire>,
    /// When the ledger cannot be asked; `closed` unless said.
    #[serde(default)]
    fail: Option<FailWire>,
}

impl GateRuleIn<'_> {
    fn into_ask(self, key: String) -> GateRuleAsk {
        let effect = self.effect.map(|effect| match effect {
            EffectWire::Charge => "charge",
            EffectWire::Free => "free",
            EffectWire::Deny => "deny",
        });
        let user_is = self.user_is.map(|user| match user {
            UserIsWire::Key => "key",
            UserIsWire::Credential => "credential",
        });
        let fail = self.fail.map(|fail| match fail {
            FailWire::Closed => "closed",
            FailWire::Open => "open",
        });
        GateRuleAsk {
            key,
            host: self.host.owned(),
            path: self.path.0.into_owned(),
            methods: self.methods.into_iter().map(|method| method.0.into_owned()).collect(),
            priority: self.priority,
            active: self.active,
            effect: effect.map(str::to_string),
            action: self.action.owned(),
            quantity: self.quantity.owned(),
            tenant: self.tenant.owned(),
            tenant_header: self.tenant_header.owned(),
            user_header: self.user_header.owned(),
            user_is: user_is.map(str::to_string),
            fail: fail.map(str::to_string),
        }
    }
}

/// A rule.
#[derive(Serialize, ToSchema)]
#[schema(as = GateRule)]
pub struct GateRuleOut {
    /// Your name for it.
    key: String,
    /// The host; null for any.
    #[schema(required)]
    host: Option<String>,
    /// The path.
    path: String,
    /// The methods; empty for all.
    methods: Vec<String>,
    /// Lower goes first among rules that are as specific.
    priority: i32,
    /// Whether it is looked at.
    active: bool,
    /// What happens to a request. What follows is null unless it charges.
    effect: EffectWire,
    /// The action that is charged.
    #[schema(required)]
    action: Option<String>,
    /// How much of it.
    #[schema(required)]
    quantity: Option<AmountOut>,
    /// The tenant that pays.
    #[schema(required)]
    tenant: Option<String>,
    /// The header that names the tenant.
    #[schema(required)]
    tenant_header: Option<String>,
    /// The header that names the user.
    #[schema(required)]
    user_header: Option<String>,
    /// What is in it.
    #[schema(required)]
    user_is: Option<UserIsWire>,
    /// When the ledger cannot be asked.
    #[schema(required)]
    fail: Option<FailWire>,
    /// When it was made.
    created_at: TimeOut,
    /// Since when it says what it says: requests before are not charged by it.
    changed_at: TimeOut,
}

impl GateRuleOut {
    fn new(rule: &Rule) -> GateRuleOut {
        let (effect, charging) = match &rule.effect {
            Effect::Charge(charging) => (EffectWire::Charge, Some(charging)),
            Effect::Free => (EffectWire::Free, None),
            Effect::Deny => (EffectWire::Deny, None),
        };
        let (tenant, tenant_header) = match charging.map(|charging| &charging.tenant) {
            Some(TenantFrom::Fixed(key)) => (Some(key.to_string()), None),
            Some(TenantFrom::Header(name)) => (None, Some(name.clone())),
            Some(TenantFrom::Personal) | None => (None, None),
        };
        GateRuleOut {
            key: rule.key.to_string(),
            host: rule.pattern.host().map(str::to_string),
            path: rule.pattern.path().to_string(),
            methods: rule.pattern.methods().to_vec(),
            priority: rule.priority,
            active: rule.active,
            effect,
            action: charging.map(|charging| charging.action.to_string()),
            quantity: charging.map(|charging| AmountOut::new(charging.quantity.0, Quantity::DECIMALS)),
            tenant,
            tenant_header,
            user_header: charging.map(|charging| charging.user_header.clone()),
            user_is: charging.map(|charging| match charging.user_is {
                UserIs::Key => UserIsWire::Key,
                UserIs::Credential => UserIsWire::Credential,
            }),
            fail: charging.map(|charging| if charging.open { FailWire::Open } else { FailWire::Closed }),
            created_at: TimeOut(rule.created_at),
            changed_at: TimeOut(rule.changed_at),
        }
    }
}

/// Lists rules of the gate
///
/// By key.
#[utoipa::path(get, path = "/v1/gate/rules", tag = "gate", operation_id = "list_gate_rules", params(PageQuery),
    responses((status = 200, description = "A page of rules", body = ListOut<GateRuleOut>), OfReads))]
pub async fn list(
    Reader(caller): Reader,
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Reply<ListOut<GateRuleOut>>, Problem> {
    let page = gate_rule::list(&app, &caller, page.into()).await?;
    Ok(Reply::ok(ListOut::of(page, |rule| GateRuleOut::new(&rule))))
}

/// Makes a rule of the gate
///
/// Saying the same again changes nothing. It is in force on every node within a second.
#[utoipa::path(post, path = "/v1/gate/rules", tag = "gate", operation_id = "create_gate_rule",
    request_body = GateRuleIn,
    responses((status = 201, description = "The rule", body = GateRuleOut), OfChanges))]
pub async fn create(
    Writer(caller): Writer,
    State(app): State<App>,
    body: JsonBody,
) -> Result<Reply<GateRuleOut>, Problem> {
    let request = body.parse::<GateRuleIn<'_>>()?;
    let key = request.key.clone().owned();
    let key = key.ok_or_else(|| Problem::field("/key", "required", "the field is required"))?;
    let ask = request.into_ask(key);
    Ok(Reply::created(GateRuleOut::new(&*gate_rule::create(&app, &caller, ask).await?)))
}

/// Reads a rule of the gate
#[utoipa::path(get, path = "/v1/gate/rules/{key}", tag = "gate", operation_id = "read_gate_rule",
    params(("key" = String, Path, description = "The rule")),
    responses((status = 200, description = "The rule", body = GateRuleOut), OfReads))]
pub async fn read(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(key): PathText,
    _: NoQuery,
) -> Result<Reply<GateRuleOut>, Problem> {
    Ok(Reply::ok(GateRuleOut::new(&*gate_rule::read(&app, &caller, &key).await?)))
}

/// Makes or replaces a rule of the gate
///
/// What is not said is as if the rule were new.
#[utoipa::path(put, path = "/v1/gate/rules/{key}", tag = "gate", operation_id = "put_gate_rule",
    params(("key" = String, Path, description = "The rule")), request_body = GateRuleIn,
    responses((status = 200, description = "The rule", body = GateRuleOut), OfQuestions))]
pub async fn put(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(key): PathText,
    body: JsonBody,
) -> Result<Reply<GateRuleOut>, Problem> {
    let request = body.parse::<GateRuleIn<'_>>()?;
    if request.key.as_ref().is_some_and(|said| said.0 != key) {
        return Err(Problem::field("/key", "not_allowed", "the path names another rule"));
    }
    let ask = request.into_ask(key);
    Ok(Reply::ok(GateRuleOut::new(&*gate_rule::put(&app, &caller, ask).await?)))
}

/// Takes a rule of the gate away
#[utoipa::path(delete, path = "/v1/gate/rules/{key}", tag = "gate", operation_id = "delete_gate_rule",
    params(("key" = String, Path, description = "The rule")),
    responses((status = 204, description = "It is gone"), OfQuestions))]
pub async fn delete(
    Writer(caller): Writer,
    State(app): State<App>,
    PathText(key): PathText,
    _: Nothing,
) -> Result<StatusCode, Problem> {
    gate_rule::delete(&app, &caller, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
