//! Actions, the units they are paid in, and with them their price versions.

use super::price::{insert_price, read_prices};
use crate::dialect::statements;
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::load::all;
use crate::hot::rows::{key, number};
use purser_core::catalogue::{Action, Overage, Price};
use purser_core::{Key, Timestamp};
use rusqlite::{Connection, params};
use std::collections::HashMap;

statements! {
    INSERT_ACTION = "
        INSERT INTO action (action_no, action_key, name, unit_label, description, category, active, overage,
                            overage_percent, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (action_key) DO NOTHING";
    INSERT_ACTION_UNIT = "INSERT INTO action_unit (action_no, ordinal, unit_code) VALUES (?1, ?2, ?3)";
    ACTION_UNITS = "SELECT action_no, unit_code FROM action_unit ORDER BY action_no, ordinal";
    UNITS_OF_ACTION = "SELECT COUNT(*), COALESCE(SUM(unit_code = ?2), 0) FROM action_unit WHERE action_no = ?1";
    SET_ACTIVE = "UPDATE action SET active = ?2 WHERE action_no = ?1";
    ACTIONS = "
        SELECT action_no, action_key, name, unit_label, description, category, active, overage, overage_percent
          FROM action ORDER BY created_at, action_key";
}

/// An action with what the catalogue says beside its prices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActionRow {
    /// Number, key, overage, units and prices.
    pub action: Action,
    /// What people call it.
    pub name: String,
    /// What one of it is.
    pub unit_label: Option<String>,
    /// One paragraph.
    pub description: Option<String>,
    /// For grouping.
    pub category: Option<String>,
}

/// A new action is written as it will be read.
pub type NewAction = ActionRow;

/// Overage as two columns: 1 refuse, 2 allow with percent, 3 debt.
fn overage_columns(overage: Overage) -> (u8, u16) {
    match overage {
        Overage::Refuse => (1, 0),
        Overage::Allow { percent } => (2, percent),
        Overage::Debt => (3, 0),
    }
}

fn overage_from(kind: u8, percent: u16) -> Option<Overage> {
    match kind {
        1 => Some(Overage::Refuse),
        2 => Some(Overage::Allow { percent }),
        3 => Some(Overage::Debt),
        _ => None,
    }
}

/// All actions with their units and prices, oldest first.
pub(crate) fn read_actions(connection: &Connection) -> Result<Vec<ActionRow>, StoreError> {
    let mut units: HashMap<u64, Vec<Key>> = HashMap::new();
    for (no, unit) in all(connection, ACTION_UNITS, [], |row| Ok((number(row, 0)?, key(row, 1)?)))? {
        units.entry(no).or_default().push(unit);
    }
    let mut prices: HashMap<u64, Vec<Price>> = HashMap::new();
    for (no, price) in read_prices(connection)? {
        prices.entry(no).or_default().push(price);
    }
    all(connection, ACTIONS, [], |row| {
        let no = number(row, 0)?;
        let overage = overage_from(row.get(7)?, row.get(8)?)
            .ok_or_else(|| StoreError::inconsistent("action", no, "its overage is unknown"))?;
        let action = Action {
            no,
            key: key(row, 1)?,
            active: row.get(6)?,
            overage,
            units: units.remove(&no).unwrap_or_default(),
            prices: prices.remove(&no).unwrap_or_default(),
        };
        Ok(ActionRow {
            action,
            name: row.get(2)?,
            unit_label: row.get(3)?,
            description: row.get(4)?,
            category: row.get(5)?,
        })
    })
}

impl Batch<'_> {
    /// Inserts an action with its units and first prices; false when its key is taken.
    pub fn insert_action(&mut self, row: &NewAction, now: Timestamp) -> Result<bool, StoreError> {
        let action = &row.action;
        let (overage, percent) = overage_columns(action.overage);
        let inserted = self.connection.prepare_cached(INSERT_ACTION)?.execute(params![
            action.no as i64,
            action.key.as_str(),
            row.name,
            row.unit_label,
            row.description,
            row.category,
            action.active,
            overage,
            percent,
            now.0
        ])?;
        if inserted == 0 {
            return Ok(false);
        }
        for (ordinal, unit) in action.units.iter().enumerate() {
            let values = params![action.no as i64, ordinal as i64, unit.as_str()];
            self.connection.prepare_cached(INSERT_ACTION_UNIT)?.execute(values)?;
        }
        for price in &action.prices {
            insert_price(self.connection, action.no, price, now)?;
        }
        Ok(true)
    }

    /// Adds a price version. A unit the action was not paid in so far becomes the last that is tried.
    pub fn insert_price(&mut self, action: u64, price: &Price, now: Timestamp) -> Result<(), StoreError> {
        let values = params![action as i64, price.unit.as_str()];
        let (units, known): (i64, bool) = self
            .connection
            .prepare_cached(UNITS_OF_ACTION)?
            .query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        if !known {
            let values = params![action as i64, units, price.unit.as_str()];
            self.connection.prepare_cached(INSERT_ACTION_UNIT)?.execute(values)?;
        }
        insert_price(self.connection, action, price, now)
    }

    /// Switches an action on or off; false when there is none.
    pub fn set_action_active(&mut self, action: u64, active: bool) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached(SET_ACTIVE)?.execute(params![action as i64, active])? == 1)
    }
}
