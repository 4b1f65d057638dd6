//! Rules of the gate: configuration, which only the platform changes.

use super::catalogue::{audit, platform};
use crate::App;
use crate::ask::{GateRuleAsk, PageAsk};
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::names::invalid_key;
use crate::parse::{self, field};
use crate::view::Page;
use purser_core::amount::render_decimal;
use purser_core::gate::{Charging, Effect, Pattern, Rule, TenantFrom, UserIs};
use purser_core::{Key, Quantity, Timestamp};
use purser_store::AuditRow;
use serde_json::json;
use std::sync::Arc;

/// The most rules there may be: all of them are in the memory of every node.
const RULES_MAX: usize = 10_000;
/// The longest name of a header, in bytes.
const HEADER_MAX: usize = 64;
/// The header that names the user where a rule names none.
const USER_HEADER: &str = "X-Purser-User";

/// Rules by key.
pub async fn list(app: &App, caller: &Caller, page: PageAsk) -> Result<Page<Arc<Rule>>, AppError> {
    reader(caller)?;
    let limit = parse::limit(&page)?;
    let after = page.cursor.as_deref().unwrap_or("");
    let config = app.config();
    let first = config.gate_rules.partition_point(|rule| !after.is_empty() && rule.key.as_str() <= after);
    let data: Vec<Arc<Rule>> = config.gate_rules[first..].iter().take(limit).cloned().collect();
    let more = first + data.len() < config.gate_rules.len();
    let next_cursor = data.last().filter(|_| more).map(|last| last.key.to_string());
    Ok(Page { data, next_cursor })
}

/// One rule.
pub async fn read(app: &App, caller: &Caller, key: &str) -> Result<Arc<Rule>, AppError> {
    reader(caller)?;
    find(app, key).ok_or(AppError::NotFound { what: "gate_rule" })
}

/// Makes a rule; saying the same again changes nothing.
pub async fn create(app: &App, caller: &Caller, ask: GateRuleAsk) -> Result<Arc<Rule>, AppError> {
    platform(caller)?;
    let rule = rule(app, &ask)?;
    room(app)?;
    let audit = told(caller, "gate_rule.create", &rule.key, None, Some(&rule), app.now());
    let insert = rule.clone();
    let change = move |batch: &mut purser_store::Batch<'_>| {
        let inserted = batch.insert_gate_rule(&insert)?;
        if inserted {
            batch.insert_audit(&audit)?;
        }
        Ok((inserted, inserted))
    };
    let inserted = app.inner.engine.change(change).await?;
    match find(app, rule.key.as_str()) {
        Some(known) if inserted || same(&known, &rule) => Ok(known),
        _ => Err(AppError::Exists { what: "gate_rule" }),
    }
}

/// Makes a rule, or another one of a rule that is there.
pub async fn put(app: &App, caller: &Caller, ask: GateRuleAsk) -> Result<Arc<Rule>, AppError> {
    platform(caller)?;
    let rule = rule(app, &ask)?;
    if find(app, rule.key.as_str()).is_none() {
        room(app)?;
    }
    let (key, audit) = (rule.key.clone(), told(caller, "gate_rule.put", &rule.key, None, None, app.now()));
    let change = move |batch: &mut purser_store::Batch<'_>| {
        // What is there may be younger than the configuration of this node.
        let before = batch.gate_rule(&rule.key)?;
        if before.as_ref().is_some_and(|known| same(known, &rule)) {
            return Ok(((), false));
        }
        let created_at = before.as_ref().map_or(rule.created_at, |known| known.created_at);
        let after = Rule { created_at, ..rule.clone() };
        batch.delete_gate_rule(&after.key)?;
        batch.insert_gate_rule(&after)?;
        let (before, after) = (before.as_ref().map(shown), Some(shown(&after)));
        batch.insert_audit(&AuditRow { before, after, ..audit.clone() })?;
        Ok(((), true))
    };
    app.inner.engine.change(change).await?;
    find(app, key.as_str()).ok_or(AppError::NotFound { what: "gate_rule" })
}

/// Takes a rule away.
pub async fn delete(app: &App, caller: &Caller, key: &str) -> Result<(), AppError> {
    platform(caller)?;
    let known = find(app, key).ok_or(AppError::NotFound { what: "gate_rule" })?;
    let audit = told(caller, "gate_rule.delete", &known.key, Some(&known), None, app.now());
    let key = known.key.clone();
    let change = move |batch: &mut purser_store::Batch<'_>| {
        let deleted = batch.delete_gate_rule(&key)?;
        if deleted {
            batch.insert_audit(&audit)?;
        }
        Ok(((), deleted))
    };
    app.inner.engine.change(change).await
}

/// Rules tell of every tenant, and of headers that a client could try.
fn reader(caller: &Caller) -> Result<(), AppError> {
    caller.require(Scope::Read)?;
    if caller.tenant.is_some() { Err(AppError::PlatformOnly) } else { Ok(()) }
}

/// Whether two rules say the same, whenever they were made.
fn same(one: &Rule, other: &Rule) -> bool {
    let (created_at, changed_at) = (one.created_at, one.changed_at);
    *one == Rule { created_at, changed_at, ..other.clone() }
}

fn find(app: &App, key: &str) -> Option<Arc<Rule>> {
    let config = app.config();
    let found = config.gate_rules.binary_search_by(|rule| rule.key.as_str().cmp(key)).ok()?;
    Some(config.gate_rules[found].clone())
}

fn room(app: &App) -> Result<(), AppError> {
    if app.config().gate_rules.len() < RULES_MAX {
        return Ok(());
    }
    Err(field("/key", "out_of_range", format!("at most {RULES_MAX} rules")))
}

/// The rule that is asked for.
fn rule(app: &App, ask: &GateRuleAsk) -> Result<Rule, AppError> {
    let key = Key::parse(&ask.key).ok_or_else(|| invalid_key("/key"))?;
    let methods: Vec<&str> = ask.methods.iter().map(String::as_str).collect();
    let pattern = Pattern::parse(ask.host.as_deref(), &ask.path, &methods).map_err(|what| match what {
        "host" => field("/host", "malformed", "a host without port, or `*.` and a domain"),
        "methods" => field("/methods", "malformed", "at most 16 methods in capitals"),
        _ => field(
            "/path",
            "malformed",
            "it begins with `/`; `*` is one whole segment, `**` at its end what is left; no ? # ; \\ and no %2f, %25, empty or dot segments",
        ),
    })?;
    let effect = match ask.effect.as_deref() {
        None | Some("charge") => Effect::Charge(charging(app, ask)?),
        Some(effect @ ("free" | "deny")) => {
            only_where_charged(ask, effect)?;
            if effect == "free" { Effect::Free } else { Effect::Deny }
        }
        Some(_) => return Err(field("/effect", "malformed", "one of charge, free and deny")),
    };
    let (priority, active) = (ask.priority.unwrap_or(0), ask.active.unwrap_or(true));
    let now = app.now();
    Ok(Rule { key, pattern, priority, active, effect, created_at: now, changed_at: now })
}

fn charging(app: &App, ask: &GateRuleAsk) -> Result<Charging, AppError> {
    let action =
        ask.action.as_deref().ok_or_else(|| field("/action", "required", "a rule charges an action"))?;
    let action = parse::action(action)?;
    app.action(&action)?;
    let quantity = match &ask.quantity {
        None => Quantity::ONE,
        Some(text) => parse::quantity("/quantity", text)?,
    };
    let tenant = match (&ask.tenant, &ask.tenant_header) {
        (None, None) => TenantFrom::Personal,
        (Some(key), None) => TenantFrom::Fixed(Key::parse(key).ok_or_else(|| invalid_key("/tenant"))?),
        (None, Some(name)) => TenantFrom::Header(ours("/tenant_header", name)?),
        (Some(_), Some(_)) => {
            return Err(field("/tenant_header", "not_allowed", "the tenant is fixed, or from a header"));
        }
    };
    let user_header = ask.user_header.as_deref().unwrap_or(USER_HEADER);
    let user_is = match ask.user_is.as_deref() {
        None | Some("key") => UserIs::Key,
        Some("credential") => UserIs::Credential,
        Some(_) => return Err(field("/user_is", "malformed", "key or credential")),
    };
    // A credential proves itself; a key is believed, so that a client's own header must not get through.
    let user_header = match user_is {
        UserIs::Key => ours("/user_header", user_header)?,
        UserIs::Credential => header("/user_header", user_header)?,
    };
    let open = match ask.fail.as_deref() {
        None | Some("closed") => false,
        Some("open") => true,
        Some(_) => return Err(field("/fail", "malformed", "closed or open")),
    };
    Ok(Charging { action, quantity, tenant, user_header, user_is, open })
}

/// Refuses what says how to charge where nothing is charged: it would be forgotten in silence.
fn only_where_charged(ask: &GateRuleAsk, effect: &str) -> Result<(), AppError> {
    let given = [
        ("/action", &ask.action),
        ("/quantity", &ask.quantity),
        ("/tenant", &ask.tenant),
        ("/tenant_header", &ask.tenant_header),
        ("/user_header", &ask.user_header),
        ("/user_is", &ask.user_is),
        ("/fail", &ask.fail),
    ];
    match given.into_iter().find(|(_, given)| given.is_some()) {
        None => Ok(()),
        Some((pointer, _)) => {
            Err(field(pointer, "not_allowed", format!("a rule with effect `{effect}` charges nothing")))
        }
    }
}

/// The name of a header that the proxies' configuration takes from clients' requests.
fn ours(pointer: &str, name: &str) -> Result<String, AppError> {
    let name = header(pointer, name)?;
    if name.to_ascii_lowercase().strip_prefix("x-purser-").is_some_and(|rest| !rest.is_empty()) {
        return Ok(name);
    }
    let detail = "a name that begins with X-Purser-: only such headers are never a client's";
    Err(field(pointer, "not_allowed", detail))
}

/// The name of a header that a proxy may set for us. Some have another meaning on the way here.
fn header(pointer: &str, name: &str) -> Result<String, AppError> {
    const TAKEN: [&str; 6] =
        ["authorization", "host", "connection", "content-length", "transfer-encoding", "x-purser-request-id"];
    let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !(1..=HEADER_MAX).contains(&name.len()) || !name.bytes().all(token) {
        return Err(field(pointer, "malformed", "1-64 letters, digits and -"));
    }
    if TAKEN.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(field(pointer, "not_allowed", "this header has another meaning on its way to the gate"));
    }
    Ok(name.to_string())
}

fn told(
    caller: &Caller,
    what: &str,
    key: &Key,
    before: Option<&Rule>,
    after: Option<&Rule>,
    now: Timestamp,
) -> AuditRow {
    let (before, after) = (before.map(shown), after.map(shown));
    AuditRow { before, after, ..audit(caller, what, key.as_str(), now) }
}

/// A rule as the audit trail tells it.
fn shown(rule: &Rule) -> String {
    let pattern = &rule.pattern;
    let mut told = json!({
        "host": pattern.host(), "path": pattern.path(), "methods": pattern.methods(), "priority": rule.priority,
        "active": rule.active,
    });
    match &rule.effect {
        Effect::Free => told["effect"] = json!("free"),
        Effect::Deny => told["effect"] = json!("deny"),
        Effect::Charge(charging) => {
            told["effect"] = json!("charge");
            told["action"] = json!(charging.action.as_str());
            told["quantity"] = json!(render_decimal(charging.quantity.0, Quantity::DECIMALS));
            match &charging.tenant {
                TenantFrom::Personal => {}
                TenantFrom::Fixed(key) => told["tenant"] = json!(key.as_str()),
                TenantFrom::Header(name) => told["tenant_header"] = json!(name),
            }
            told["user_header"] = json!(charging.user_header);
            told["user_is"] = json!(charging.user_is.name());
            told["fail"] = json!(if charging.open { "open" } else { "closed" });
        }
    }
    told.to_string()
}
