//! Price versions that tenants have for themselves. Never changed once stored, as those of all.

use super::price::{decode_model, encode_model};
use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{bytes, id, int, key, number};
use purser_core::catalogue::{Price, TenantPrice};
use purser_core::{TenantNo, Timestamp};

statements! {
    INSERT_TENANT_PRICE = "
        INSERT INTO tenant_price (price_id, tenant_no, action_no, unit_code, valid_from, valid_until, model, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    TENANT_PRICES = "
        SELECT price_id, tenant_no, action_no, unit_code, valid_from, valid_until, model
          FROM tenant_price ORDER BY tenant_no, action_no, unit_code, valid_from, price_id";
}

/// All of them.
pub(super) fn read_tenant_prices(session: Session<'_>) -> Result<Vec<TenantPrice>, StoreError> {
    session.all(TENANT_PRICES, &[], |row| {
        let price_id = id(row, 0)?;
        let model = decode_model(bytes(row, 6)?)
            .ok_or_else(|| StoreError::inconsistent("tenant_price", price_id, "its model cannot be read"))?;
        let price = Price { id: price_id, unit: key(row, 3)?, valid_from: Timestamp(int(row, 4)?), model };
        let (tenant, action) = (TenantNo(number(row, 1)?), number(row, 2)?);
        Ok(TenantPrice { tenant, action, price, valid_until: row.int(5)?.map(Timestamp) })
    })
}

impl Batch<'_> {
    /// Adds a price version that a tenant has for itself.
    pub fn insert_tenant_price(&mut self, own: &TenantPrice, now: Timestamp) -> Result<(), StoreError> {
        let (id, model) = (own.price.id.to_bytes(), encode_model(&own.price.model));
        let values = values![
            &id,
            own.tenant.0,
            own.action,
            own.price.unit.as_str(),
            own.price.valid_from.0,
            own.valid_until.map(|until| until.0),
            &model,
            now.0
        ];
        self.session().execute(INSERT_TENANT_PRICE, values).map(|_| ())
    }
}
