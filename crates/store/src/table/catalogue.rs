//! A change of the whole catalogue: thousands of rows of one transaction, written many at a time.
//!
//! What differs is worked out beforehand, beside the writer. The change only looks that nothing has moved since, under the
//! lock of the configuration's epoch, which whoever changes the catalogue takes as well.

use super::action::{overage_columns, set_confirm};
use super::audit::{AuditRow, insert_audit_rows};
use super::preference::thresholds_text;
use super::price::encode_model;
use super::{ActionRow, UnitRow, read_config_epoch};
use crate::dialect::statements;
use crate::driver::bulk::{Cell, Kind, Row, Shape};
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use purser_core::catalogue::Price;
use purser_core::{Key, Timestamp};

statements! {
    LOCK_CONFIG_EPOCH = "UPDATE config_epoch SET epoch = epoch WHERE one = 1";
    RENAME_UNIT = "UPDATE unit SET name = ?2 WHERE unit_code = ?1";
    SET_ACTION = "
        UPDATE action SET name = ?2, unit_label = ?3, description = ?4, category = ?5, active = ?6, overage = ?7,
                          overage_percent = ?8
         WHERE action_no = ?1";
}

const UNIT: Shape = Shape {
    table: "unit",
    columns: &[
        ("unit_code", Kind::Text),
        ("scale", Kind::Int),
        ("name", Kind::Text),
        ("created_at", Kind::Int),
    ],
};
const ACTION: Shape = Shape {
    table: "action",
    columns: &[
        ("action_no", Kind::Int),
        ("action_key", Kind::Text),
        ("name", Kind::Text),
        ("unit_label", Kind::Text),
        ("description", Kind::Text),
        ("category", Kind::Text),
        ("active", Kind::Int),
        ("overage", Kind::Int),
        ("overage_percent", Kind::Int),
        ("created_at", Kind::Int),
    ],
};
const ACTION_CONFIRM: Shape =
    Shape { table: "action_confirm", columns: &[("action_no", Kind::Int), ("confirm_above", Kind::Text)] };
const ACTION_UNIT: Shape = Shape {
    table: "action_unit",
    columns: &[("action_no", Kind::Int), ("ordinal", Kind::Int), ("unit_code", Kind::Text)],
};
const PRICE: Shape = Shape {
    table: "price",
    columns: &[
        ("price_id", Kind::Bytes),
        ("action_no", Kind::Int),
        ("unit_code", Kind::Text),
        ("valid_from", Kind::Int),
        ("model", Kind::Bytes),
        ("created_at", Kind::Int),
    ],
};

/// What a change of the catalogue writes. Nothing in it is looked up again.
#[derive(Clone, Debug, Default)]
pub struct CatalogueChange {
    /// The epoch of the configuration that it was worked out from.
    pub epoch: u64,
    /// Units to make.
    pub new_units: Vec<UnitRow>,
    /// Units whose name changes.
    pub renamed_units: Vec<UnitRow>,
    /// Actions to make, with their units and prices.
    pub new_actions: Vec<ActionRow>,
    /// Actions whose labels, rule or activity change; their units and prices are not looked at.
    pub set_actions: Vec<ActionRow>,
    /// Units that actions are paid in from now on, each with its place: action, ordinal, unit.
    pub new_action_units: Vec<(u64, usize, Key)>,
    /// Price versions of actions that exist.
    pub new_prices: Vec<(u64, Price)>,
    /// What is told of it.
    pub audit: Vec<AuditRow>,
}

impl CatalogueChange {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.new_units.is_empty()
            && self.renamed_units.is_empty()
            && self.new_actions.is_empty()
            && self.set_actions.is_empty()
            && self.new_action_units.is_empty()
            && self.new_prices.is_empty()
    }
}

/// Keeps everybody else from changing the configuration until the transaction ends: what it reads of it stays so.
pub(super) fn lock_config(session: Session<'_>) -> Result<(), StoreError> {
    session.execute(LOCK_CONFIG_EPOCH, &[]).map(drop)
}

impl Batch<'_> {
    /// Makes the change, unless the configuration has moved since it was worked out: false, and nothing is changed then.
    pub fn change_catalogue(&mut self, change: &CatalogueChange, now: Timestamp) -> Result<bool, StoreError> {
        let session = self.session();
        lock_config(session)?;
        if read_config_epoch(session)? != change.epoch {
            return Ok(false);
        }
        let units: Vec<Row> = change.new_units.iter().map(|row| unit_row(row, now)).collect();
        session.insert_rows(&UNIT, &units)?;
        for row in &change.renamed_units {
            session.execute(RENAME_UNIT, values![row.unit.code.as_str(), &row.name])?;
        }
        let actions: Vec<Row> = change.new_actions.iter().map(|row| action_row(row, now)).collect();
        session.insert_rows(&ACTION, &actions)?;
        let confirms: Vec<Row> = change.new_actions.iter().filter_map(confirm_row).collect();
        session.insert_rows(&ACTION_CONFIRM, &confirms)?;
        for row in &change.set_actions {
            set_action(session, row)?;
        }
        let of_new = change.new_actions.iter().flat_map(|row| {
            let no = row.action.no;
            row.action.units.iter().enumerate().map(move |(ordinal, unit)| (no, ordinal, unit))
        });
        let of_known = change.new_action_units.iter().map(|(no, ordinal, unit)| (*no, *ordinal, unit));
        let action_units: Vec<Row> = of_new
            .chain(of_known)
            .map(|(no, ordinal, unit)| vec![int(no), Cell::Int(ordinal as i64), key(unit)])
            .collect();
        session.insert_rows(&ACTION_UNIT, &action_units)?;
        let of_new = change
            .new_actions
            .iter()
            .flat_map(|row| row.action.prices.iter().map(move |price| (row.action.no, price)));
        let of_known = change.new_prices.iter().map(|(no, price)| (*no, price));
        let prices: Vec<Row> = of_new.chain(of_known).map(|(no, price)| price_row(no, price, now)).collect();
        session.insert_rows(&PRICE, &prices)?;
        insert_audit_rows(session, &change.audit)?;
        Ok(true)
    }
}

fn set_action(session: Session<'_>, row: &ActionRow) -> Result<(), StoreError> {
    let (overage, percent) = overage_columns(row.action.overage);
    let values = values![
        row.action.no,
        &row.name,
        row.unit_label.as_ref(),
        row.description.as_ref(),
        row.category.as_ref(),
        row.action.active,
        overage,
        percent
    ];
    session.execute(SET_ACTION, values)?;
    set_confirm(session, &row.action, false)
}

/// Unsigned numbers are kept by their bits.
fn int(number: u64) -> Cell {
    Cell::Int(number as i64)
}

fn key(key: &Key) -> Cell {
    Cell::Text(key.as_str().to_owned())
}

fn text(text: Option<&String>) -> Cell {
    text.map_or(Cell::Null, |text| Cell::Text(text.clone()))
}

fn unit_row(row: &UnitRow, now: Timestamp) -> Row {
    vec![
        key(&row.unit.code),
        Cell::Int(i64::from(row.unit.scale.decimals())),
        Cell::Text(row.name.clone()),
        Cell::Int(now.0),
    ]
}

fn action_row(row: &ActionRow, now: Timestamp) -> Row {
    let (overage, percent) = overage_columns(row.action.overage);
    vec![
        int(row.action.no),
        key(&row.action.key),
        Cell::Text(row.name.clone()),
        text(row.unit_label.as_ref()),
        text(row.description.as_ref()),
        text(row.category.as_ref()),
        Cell::Int(i64::from(row.action.active)),
        Cell::Int(i64::from(overage)),
        Cell::Int(i64::from(percent)),
        Cell::Int(now.0),
    ]
}

fn confirm_row(row: &ActionRow) -> Option<Row> {
    let text = thresholds_text(&row.action.confirm_above)?;
    Some(vec![int(row.action.no), Cell::Text(text)])
}

fn price_row(action: u64, price: &Price, now: Timestamp) -> Row {
    vec![
        Cell::Bytes(price.id.to_bytes().to_vec()),
        int(action),
        key(&price.unit),
        Cell::Int(price.valid_from.0),
        Cell::Bytes(encode_model(&price.model)),
        Cell::Int(now.0),
    ]
}
