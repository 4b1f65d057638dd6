//! Tenants and their users: numbers for keys, and keys for numbers.
//!
//! Numbers are drawn by the caller and kept for ever; keys, names and e-mail addresses may be erased. A user without a
//! named tenant has a personal one, which is found by the user's own key in a namespace of its own.

use crate::dialect::statements;
use crate::driver::{Session, Value, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{int, key_option, number};
use purser_core::decide::Standing;
use purser_core::{Key, TenantNo, Timestamp, UserNo};

statements! {
    INSERT_TENANT = "
        INSERT INTO tenant (tenant_no, kind, tenant_key, standing, zone, funding_order, created_at)
        VALUES (?1, ?2, ?3, 1, 'UTC', 1, ?4)
        ON CONFLICT (kind, tenant_key) DO NOTHING";
    TENANT_BY_KEY = "SELECT tenant_no FROM tenant WHERE kind = ?1 AND tenant_key = ?2";
    TENANT_KEY = "SELECT tenant_key FROM tenant WHERE tenant_no = ?1 AND kind = 1";
    STANDINGS = "SELECT tenant_no, standing FROM tenant WHERE standing <> 1";
    KNOWN = "SELECT 1 FROM tenant WHERE tenant_no = ?1";
    SET_STANDING = "UPDATE tenant SET standing = ?2 WHERE tenant_no = ?1";
    INSERT_USER = "
        INSERT INTO users (tenant_no, user_no, user_key, created_at) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (tenant_no, user_key) DO NOTHING";
    USER_BY_KEY = "SELECT user_no FROM users WHERE tenant_no = ?1 AND user_key = ?2";
    PERSONAL_USER = "
        SELECT user_no FROM users JOIN tenant ON tenant.tenant_no = users.tenant_no
         WHERE users.tenant_no = ?1 AND tenant.kind = ?2";
    USER_KEY = "SELECT user_key FROM users WHERE tenant_no = ?1 AND user_no = ?2";
}

/// Numbers for a tenant and a user that may have to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreshNumbers {
    /// For the tenant.
    pub tenant: TenantNo,
    /// For the user.
    pub user: UserNo,
}

/// The keys behind the numbers of a tenant and a user.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// The tenant's key; none for a personal tenant.
    pub tenant: Option<Key>,
    /// The user's key; none when it was erased or none is asked for.
    pub user: Option<Key>,
}

/// What a tenant is.
#[derive(Clone, Copy)]
enum TenantKind {
    Organisation = 1,
    Personal = 2,
}

fn find_tenant(session: Session<'_>, kind: TenantKind, key: &Key) -> Result<Option<TenantNo>, StoreError> {
    Ok(session.first(TENANT_BY_KEY, values![kind as u8, key.as_str()], |row| number(row, 0))?.map(TenantNo))
}

fn find_user(session: Session<'_>, tenant: TenantNo, key: &Key) -> Result<Option<UserNo>, StoreError> {
    Ok(session.first(USER_BY_KEY, values![tenant.0, key.as_str()], |row| number(row, 0))?.map(UserNo))
}

/// The number of an organisation.
pub(crate) fn resolve_tenant(session: Session<'_>, key: &Key) -> Result<Option<TenantNo>, StoreError> {
    find_tenant(session, TenantKind::Organisation, key)
}

/// The one user of a personal tenant; none for an organisation.
pub(crate) fn personal_user(session: Session<'_>, tenant: TenantNo) -> Result<Option<UserNo>, StoreError> {
    let personal = values![tenant.0, TenantKind::Personal as u8];
    session.first(PERSONAL_USER, personal, |row| Ok(UserNo(number(row, 0)?)))
}

/// The numbers of a user and its tenant.
pub(crate) fn resolve_user(
    session: Session<'_>,
    tenant: Option<&Key>,
    user: &Key,
) -> Result<Option<(TenantNo, UserNo)>, StoreError> {
    let found = match tenant {
        Some(key) => find_tenant(session, TenantKind::Organisation, key)?,
        None => find_tenant(session, TenantKind::Personal, user)?,
    };
    let Some(tenant) = found else { return Ok(None) };
    Ok(find_user(session, tenant, user)?.map(|user| (tenant, user)))
}

/// The keys behind numbers.
pub(crate) fn names(
    session: Session<'_>,
    tenant: TenantNo,
    user: Option<UserNo>,
) -> Result<Names, StoreError> {
    let key_of = |sql: &'static str, values: &[Value<'_>]| -> Result<Option<Key>, StoreError> {
        Ok(session.first(sql, values, |row| key_option(row, 0))?.flatten())
    };
    let user = match user {
        Some(user) => key_of(USER_KEY, values![tenant.0, user.0])?,
        None => None,
    };
    Ok(Names { tenant: key_of(TENANT_KEY, values![tenant.0])?, user })
}

/// Tenants whose standing is not active.
pub(crate) fn read_standings(session: Session<'_>) -> Result<Vec<(TenantNo, Standing)>, StoreError> {
    session.all(STANDINGS, &[], |row| {
        let tenant = TenantNo(number(row, 0)?);
        let standing = match int(row, 1)? {
            1 => Standing::Active,
            2 => Standing::Frozen,
            3 => Standing::Suspended,
            4 => Standing::Closed,
            other => {
                return Err(StoreError::inconsistent(
                    "tenant",
                    tenant,
                    format!("standing {other} is unknown"),
                ));
            }
        };
        Ok((tenant, standing))
    })
}

impl Batch<'_> {
    /// The numbers of a user and of its tenant (its personal one where none is named), made where absent.
    pub fn ensure_user(
        &mut self,
        tenant: Option<&Key>,
        user: &Key,
        fresh: FreshNumbers,
        now: Timestamp,
    ) -> Result<(TenantNo, UserNo), StoreError> {
        let tenant = match tenant {
            Some(key) => self.ensure_tenant_of(TenantKind::Organisation, key, fresh.tenant, now)?,
            None => self.ensure_tenant_of(TenantKind::Personal, user, fresh.tenant, now)?,
        };
        let session = self.session();
        session.execute(INSERT_USER, values![tenant.0, fresh.user.0, user.as_str(), now.0])?;
        let found = find_user(session, tenant, user)?;
        Ok((
            tenant,
            found
                .ok_or_else(|| StoreError::inconsistent("users", user, "it was inserted but is not there"))?,
        ))
    }

    /// The number of an organisation, made where absent.
    pub fn ensure_tenant(
        &mut self,
        tenant: &Key,
        fresh: TenantNo,
        now: Timestamp,
    ) -> Result<TenantNo, StoreError> {
        self.ensure_tenant_of(TenantKind::Organisation, tenant, fresh, now)
    }

    /// Sets what a tenant may do; false when there is none.
    pub fn set_standing(&mut self, tenant: TenantNo, standing: Standing) -> Result<bool, StoreError> {
        let session = self.session();
        session.execute(SET_STANDING, values![tenant.0, standing as u8])?;
        Ok(session.first(KNOWN, values![tenant.0], |_| Ok(()))?.is_some())
    }

    fn ensure_tenant_of(
        &mut self,
        kind: TenantKind,
        key: &Key,
        fresh: TenantNo,
        now: Timestamp,
    ) -> Result<TenantNo, StoreError> {
        let session = self.session();
        session.execute(INSERT_TENANT, values![fresh.0, kind as u8, key.as_str(), now.0])?;
        find_tenant(session, kind, key)?
            .ok_or_else(|| StoreError::inconsistent("tenant", key, "it was inserted but is not there"))
    }
}
