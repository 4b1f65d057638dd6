//! Rules of the gate. One that changes is written anew, in the transaction that takes the old one away.

use crate::dialect::statements;
use crate::driver::{Columns, Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{flag, int, key, key_option, small, text, text_option};
use purser_core::gate::{Charging, Effect, Pattern, Rule, TenantFrom, UserIs};
use purser_core::{Key, Quantity, Timestamp};

statements! {
    INSERT_GATE_RULE = "
        INSERT INTO gate_rule (rule_key, host, path, methods, priority, active, effect, action_key, quantity, tenant_key,
                               tenant_header, user_header, user_is, fail_open, created_at, changed_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
    DELETE_GATE_RULE = "DELETE FROM gate_rule WHERE rule_key = ?1";
    GATE_RULE_KNOWN = "SELECT 1 FROM gate_rule WHERE rule_key = ?1";
    GATE_RULES = "
        SELECT rule_key, host, path, methods, priority, active, effect, action_key, quantity, tenant_key, tenant_header,
               user_header, user_is, fail_open, created_at, changed_at
          FROM gate_rule ORDER BY rule_key";
    GATE_RULE = "
        SELECT rule_key, host, path, methods, priority, active, effect, action_key, quantity, tenant_key, tenant_header,
               user_header, user_is, fail_open, created_at, changed_at
          FROM gate_rule WHERE rule_key = ?1";
}

/// All rules, by key.
pub(super) fn read_gate_rules(session: Session<'_>) -> Result<Vec<Rule>, StoreError> {
    session.all(GATE_RULES, &[], rule)
}

fn rule(row: &dyn Columns) -> Result<Rule, StoreError> {
    let name = key(row, 0)?;
    let methods = text(row, 3)?;
    let methods: Vec<&str> = methods.split(',').filter(|method| !method.is_empty()).collect();
    // A rule that is not understood must not become none: what it is for would pass.
    let unclear =
        |what: &str| StoreError::inconsistent("gate_rule", &name, format!("{what} is not understood"));
    let pattern =
        Pattern::parse(text_option(row, 1)?.as_deref(), &text(row, 2)?, &methods).map_err(unclear)?;
    let effect = match int(row, 6)? {
        1 => Effect::Charge(charging(row)?.ok_or_else(|| unclear("what it charges"))?),
        2 => Effect::Free,
        3 => Effect::Deny,
        _ => return Err(unclear("effect")),
    };
    let (priority, active) = (small(row, 4)?, flag(row, 5)?);
    let (created_at, changed_at) = (Timestamp(int(row, 14)?), Timestamp(int(row, 15)?));
    Ok(Rule { key: name, pattern, priority, active, effect, created_at, changed_at })
}

fn charging(row: &dyn Columns) -> Result<Option<Charging>, StoreError> {
    let tenant = match (key_option(row, 9)?, text_option(row, 10)?) {
        (None, None) => TenantFrom::Personal,
        (Some(key), None) => TenantFrom::Fixed(key),
        (None, Some(header)) => TenantFrom::Header(header),
        (Some(_), Some(_)) => return Ok(None),
    };
    let user_is = match row.int(12)? {
        Some(1) => UserIs::Key,
        Some(2) => UserIs::Credential,
        _ => return Ok(None),
    };
    let (Some(action), Some(quantity), Some(user_header)) =
        (key_option(row, 7)?, row.int(8)?, text_option(row, 11)?)
    else {
        return Ok(None);
    };
    let open = row.int(13)? == Some(1);
    Ok(Some(Charging { action, quantity: Quantity(quantity), tenant, user_header, user_is, open }))
}

impl Batch<'_> {
    /// A rule as it is now.
    pub fn gate_rule(&mut self, key: &Key) -> Result<Option<Rule>, StoreError> {
        self.session().first(GATE_RULE, values![key.as_str()], rule)
    }

    /// Adds a rule; false when its key is taken.
    pub fn insert_gate_rule(&mut self, rule: &Rule) -> Result<bool, StoreError> {
        if self.session().first(GATE_RULE_KNOWN, values![rule.key.as_str()], |_| Ok(()))?.is_some() {
            return Ok(false);
        }
        let charging = match &rule.effect {
            Effect::Charge(charging) => Some(charging),
            Effect::Free | Effect::Deny => None,
        };
        let effect = match &rule.effect {
            Effect::Charge(_) => 1_u8,
            Effect::Free => 2,
            Effect::Deny => 3,
        };
        let (tenant, tenant_header) = match charging.map(|charging| &charging.tenant) {
            Some(TenantFrom::Fixed(key)) => (Some(key.as_str()), None),
            Some(TenantFrom::Header(header)) => (None, Some(header.as_str())),
            Some(TenantFrom::Personal) | None => (None, None),
        };
        let user_is = charging.map(|charging| match charging.user_is {
            UserIs::Key => 1_i64,
            UserIs::Credential => 2,
        });
        let methods = rule.pattern.methods().join(",");
        let values = values![
            rule.key.as_str(),
            rule.pattern.host(),
            rule.pattern.path(),
            &methods,
            i64::from(rule.priority),
            rule.active,
            effect,
            charging.map(|charging| charging.action.as_str()),
            charging.map(|charging| charging.quantity.0),
            tenant,
            tenant_header,
            charging.map(|charging| charging.user_header.as_str()),
            user_is,
            charging.map(|charging| i64::from(charging.open)),
            rule.created_at.0,
            rule.changed_at.0
        ];
        self.session().execute(INSERT_GATE_RULE, values).map(|_| true)
    }

    /// Takes a rule away; false when there is none.
    pub fn delete_gate_rule(&mut self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.session().execute(DELETE_GATE_RULE, values![key.as_str()])? == 1)
    }
}
