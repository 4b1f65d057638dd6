//! Units: what wallets count. A unit's code and scale never change once it exists.

use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{key, small, text};
use purser_core::catalogue::Unit;
use purser_core::{Scale, Timestamp};

statements! {
    INSERT_UNIT = "
        INSERT INTO unit (unit_code, scale, name, created_at) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (unit_code) DO NOTHING";
    UNITS = "SELECT unit_code, scale, name FROM unit ORDER BY created_at, unit_code";
}

/// A unit with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitRow {
    /// The unit.
    pub unit: Unit,
    /// What people call it.
    pub name: String,
}

/// All units, oldest first.
pub(crate) fn read_units(session: Session<'_>) -> Result<Vec<UnitRow>, StoreError> {
    session.all(UNITS, &[], |row| {
        let code = key(row, 0)?;
        let scale = Scale::new(small(row, 1)?)
            .ok_or_else(|| StoreError::inconsistent("unit", &code, "its scale is unknown"))?;
        Ok(UnitRow { unit: Unit { code, scale }, name: text(row, 2)? })
    })
}

impl Batch<'_> {
    /// Inserts a unit; false when its code is taken.
    pub fn insert_unit(&mut self, row: &UnitRow, now: Timestamp) -> Result<bool, StoreError> {
        let values = values![row.unit.code.as_str(), row.unit.scale.decimals(), &row.name, now.0];
        Ok(self.session().execute(INSERT_UNIT, values)? == 1)
    }
}
