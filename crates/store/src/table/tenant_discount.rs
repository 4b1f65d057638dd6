//! What tenants have taken off the prices of all. Changed in one way only: somebody ends one.

use super::catalogue::lock_config;
use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{id, int, number};
use purser_core::catalogue::TenantDiscount;
use purser_core::pricing::Discount;
use purser_core::{Id, TenantNo, Timestamp};

statements! {
    INSERT_DISCOUNT = "
        INSERT INTO tenant_discount (discount_id, tenant_no, action_no, basis_points, valid_from, valid_until, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    END_DISCOUNT = "UPDATE tenant_discount SET valid_until = ?2 WHERE discount_id = ?1";
    DELETE_DISCOUNT = "DELETE FROM tenant_discount WHERE discount_id = ?1";
    DISCOUNTS = "
        SELECT discount_id, tenant_no, action_no, basis_points, valid_from, valid_until
          FROM tenant_discount ORDER BY tenant_no, valid_from, discount_id";
}

/// All of them.
pub(super) fn read_discounts(session: Session<'_>) -> Result<Vec<TenantDiscount>, StoreError> {
    session.all(DISCOUNTS, &[], |row| {
        let discount_id = id(row, 0)?;
        let discount = u16::try_from(int(row, 3)?).ok().and_then(Discount::new);
        let discount = discount.ok_or_else(|| {
            StoreError::inconsistent("tenant_discount", discount_id, "it is no part of a price")
        })?;
        Ok(TenantDiscount {
            id: discount_id,
            tenant: TenantNo(number(row, 1)?),
            action: row.int(2)?.map(|no| no as u64),
            discount,
            valid_from: Timestamp(int(row, 4)?),
            valid_until: row.int(5)?.map(Timestamp),
        })
    })
}

impl Batch<'_> {
    /// The discounts of a tenant as they are, whatever a node remembers; they stay so until the batch ends.
    pub fn discounts_of(&mut self, tenant: TenantNo) -> Result<Vec<TenantDiscount>, StoreError> {
        lock_config(self.session())?;
        let mut discounts = read_discounts(self.session())?;
        discounts.retain(|own| own.tenant == tenant);
        Ok(discounts)
    }

    /// Adds a discount.
    pub fn insert_discount(&mut self, own: &TenantDiscount, now: Timestamp) -> Result<(), StoreError> {
        let id = own.id.to_bytes();
        let values = values![
            &id,
            own.tenant.0,
            own.action.map(|no| no as i64),
            i64::from(own.discount.basis_points()),
            own.valid_from.0,
            own.valid_until.map(|until| until.0),
            now.0
        ];
        self.session().execute(INSERT_DISCOUNT, values).map(|_| ())
    }

    /// Ends a discount at an instant.
    pub fn end_discount(&mut self, discount: Id, until: Timestamp) -> Result<(), StoreError> {
        self.session().execute(END_DISCOUNT, values![&discount.to_bytes(), until.0]).map(|_| ())
    }

    /// Removes a discount that never was in force.
    pub fn delete_discount(&mut self, discount: Id) -> Result<(), StoreError> {
        self.session().execute(DELETE_DISCOUNT, values![&discount.to_bytes()]).map(|_| ())
    }
}
