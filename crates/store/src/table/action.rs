//! Actions, the units they are paid in, and with them their price versions.

use super::preference::{thresholds_from, thresholds_text};
use super::price::{insert_price, read_prices};
use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{flag, int, key, number, small, text, text_option};
use purser_core::catalogue::{Action, Overage, Price};
use purser_core::confirm::Thresholds;
use purser_core::{Key, Timestamp};
use std::collections::HashMap;

statements! {
    INSERT_ACTION = "
        INSERT INTO action (action_no, action_key, name, unit_label, description, category, active, overage,
                            overage_percent, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (action_key) DO NOTHING";
    INSERT_ACTION_UNIT = "INSERT INTO action_unit (action_no, ordinal, unit_code) VALUES (?1, ?2, ?3)";
    ACTION_UNITS = "SELECT action_no, unit_code FROM action_unit ORDER BY action_no, ordinal";
    UNITS_OF_ACTION = "SELECT COUNT(*), COUNT(CASE WHEN unit_code = ?2 THEN 1 END) FROM action_unit WHERE action_no = ?1";
    ACTION_CONFIRMS = "SELECT action_no, confirm_above FROM action_confirm WHERE confirm_above IS NOT NULL";
    SET_ACTION_CONFIRM = "
        INSERT INTO action_confirm (action_no, confirm_above) VALUES (?1, ?2)
        ON CONFLICT (action_no) DO UPDATE SET confirm_above = excluded.confirm_above";
    KNOWN = "SELECT 1 FROM action WHERE action_no = ?1";
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
pub(super) fn overage_columns(overage: Overage) -> (u8, u16) {
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
pub(crate) fn read_actions(session: Session<'_>) -> Result<Vec<ActionRow>, StoreError> {
    let mut units: HashMap<u64, Vec<Key>> = HashMap::new();
    for (no, unit) in session.all(ACTION_UNITS, &[], |row| Ok((number(row, 0)?, key(row, 1)?)))? {
        units.entry(no).or_default().push(unit);
    }
    let mut prices: HashMap<u64, Vec<Price>> = HashMap::new();
    for (no, price) in read_prices(session)? {
        prices.entry(no).or_default().push(price);
    }
    let mut confirms: HashMap<u64, Thresholds> = read_confirms(session)?.into_iter().collect();
    session.all(ACTIONS, &[], |row| {
        let no = number(row, 0)?;
        let overage = overage_from(small(row, 7)?, small(row, 8)?)
            .ok_or_else(|| StoreError::inconsistent("action", no, "its overage is unknown"))?;
        let action = Action {
            no,
            key: key(row, 1)?,
            active: flag(row, 6)?,
            overage,
            confirm_above: confirms.remove(&no).unwrap_or_default(),
            units: units.remove(&no).unwrap_or_default(),
            prices: prices.remove(&no).unwrap_or_default(),
        };
        Ok(ActionRow {
            action,
            name: text(row, 2)?,
            unit_label: text_option(row, 3)?,
            description: text_option(row, 4)?,
            category: text_option(row, 5)?,
        })
    })
}

fn read_confirms(session: Session<'_>) -> Result<Vec<(u64, Thresholds)>, StoreError> {
    session.all(ACTION_CONFIRMS, &[], |row| {
        let no = number(row, 0)?;
        let thresholds = thresholds_from(text_option(row, 1)?.as_deref());
        let unread = || StoreError::inconsistent("action_confirm", no, "its thresholds cannot be read");
        Ok((no, thresholds.ok_or_else(unread)?))
    })
}

/// Sets above which costs an action asks first; `new` ones that never ask need no row.
pub(super) fn set_confirm(session: Session<'_>, action: &Action, new: bool) -> Result<(), StoreError> {
    let text = thresholds_text(&action.confirm_above);
    if new && text.is_none() {
        return Ok(());
    }
    session.execute(SET_ACTION_CONFIRM, values![action.no, text.as_ref()]).map(|_| ())
}

impl Batch<'_> {
    /// Inserts an action with its units and first prices; false when its key is taken.
    pub fn insert_action(&mut self, row: &NewAction, now: Timestamp) -> Result<bool, StoreError> {
        let action = &row.action;
        let (overage, percent) = overage_columns(action.overage);
        let session = self.session();
        let values = values![
            action.no,
            action.key.as_str(),
            &row.name,
            row.unit_label.as_ref(),
            row.description.as_ref(),
            row.category.as_ref(),
            action.active,
            overage,
            percent,
            now.0
        ];
        let inserted = session.execute(INSERT_ACTION, values)?;
        if inserted == 0 {
            return Ok(false);
        }
        set_confirm(session, action, true)?;
        for (ordinal, unit) in action.units.iter().enumerate() {
            session.execute(INSERT_ACTION_UNIT, values![action.no, ordinal, unit.as_str()])?;
        }
        for price in &action.prices {
            insert_price(session, action.no, price, now)?;
        }
        Ok(true)
    }

    /// Adds a price version. A unit the action was not paid in so far becomes the last that is tried.
    pub fn insert_price(&mut self, action: u64, price: &Price, now: Timestamp) -> Result<(), StoreError> {
        let session = self.session();
        let of_unit = values![action, price.unit.as_str()];
        let (units, known) =
            session.one(UNITS_OF_ACTION, of_unit, |row| Ok((int(row, 0)?, flag(row, 1)?)))?;
        if !known {
            session.execute(INSERT_ACTION_UNIT, values![action, units, price.unit.as_str()])?;
        }
        insert_price(session, action, price, now)
    }

    /// Switches an action on or off; false when there is none.
    pub fn set_action_active(&mut self, action: u64, active: bool) -> Result<bool, StoreError> {
        let session = self.session();
        session.execute(SET_ACTIVE, values![action, active])?;
        Ok(session.first(KNOWN, values![action], |_| Ok(()))?.is_some())
    }
}
