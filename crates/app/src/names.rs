//! The keys that products use, and the numbers that stand for them in the ledger.
//!
//! Numbers never change once made, so they are kept in memory; keys can be erased, so names are forgotten on erasure.

use crate::App;
use crate::caller::Caller;
use crate::error::{AppError, FieldError};
use crate::parse::field;
use crate::view::Names;
use parking_lot::RwLock;
use purser_core::{Key, TenantNo, UserNo};
use purser_store::FreshNumbers;
use rustc_hash::FxHashMap;

/// Users kept in memory; beyond that the memory starts empty again.
const NAMES_MAX: usize = 500_000;

/// A user as products name it: with a tenant, or in its personal one.
type UserKey = (Option<Key>, Key);
/// What stands for it in the ledger.
type Numbers = (TenantNo, UserNo);

/// Keys and numbers that were looked up before.
#[derive(Default)]
pub(crate) struct NameCache {
    numbers: RwLock<FxHashMap<UserKey, Numbers>>,
    names: RwLock<FxHashMap<(TenantNo, Option<UserNo>), Names>>,
}

impl NameCache {
    fn remember(&self, tenant: Option<&Key>, user: &Key, numbers: Numbers) {
        let mut users = self.numbers.write();
        if users.len() >= NAMES_MAX {
            users.clear();
        }
        users.insert((tenant.cloned(), user.clone()), numbers);
    }
}

/// A tenant and a user as a request names them.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) tenant: Option<Key>,
    pub(crate) user: Key,
}

/// Whom a rule is about, by name.
pub(crate) enum Owner {
    /// All of an organisation.
    Tenant(Key),
    /// One user.
    User(Named),
}

impl App {
    /// Checks the keys of a request and that the caller may speak for them.
    pub(crate) fn named(&self, caller: &Caller, tenant: Option<&str>, user: &str) -> Result<Named, AppError> {
        let tenant = self.tenant_key(caller, tenant)?;
        let user = Key::parse(user).ok_or_else(|| invalid_key("/user"))?;
        Ok(Named { tenant, user })
    }

    /// The tenant that a request names. A tenant's key must name its own; a platform key that names none means the
    /// user's personal tenant.
    pub(crate) fn tenant_key(&self, caller: &Caller, tenant: Option<&str>) -> Result<Option<Key>, AppError> {
        let tenant = tenant.map(|text| Key::parse(text).ok_or_else(|| invalid_key("/tenant"))).transpose()?;
        match &caller.tenant {
            Some((own, _)) if tenant.as_ref() != Some(own) => Err(AppError::Invalid(vec![FieldError {
                pointer: "/tenant".into(),
                code: "tenant_required",
                detail: "this key belongs to a tenant: name that tenant in every call".into(),
            }])),
            _ => Ok(tenant),
        }
    }

    /// The tenant of a user that was looked up before.
    pub(crate) fn known_tenant(&self, named: &Named) -> Option<TenantNo> {
        let key = (named.tenant.clone(), named.user.clone());
        self.inner.names.numbers.read().get(&key).map(|(tenant, _)| *tenant)
    }

    /// The number of the tenant a request names, if it was ever used. Makes nothing.
    pub(crate) async fn find_tenant(&self, named: &Named) -> Result<Option<TenantNo>, AppError> {
        // A personal tenant is there when its user is.
        let Some(tenant) = named.tenant.clone() else { return Ok(None) };
        self.read(move |reader| reader.resolve_tenant(&tenant)).await
    }

    /// The numbers of a user, if it was ever used. Makes nothing.
    pub(crate) async fn find_user(&self, named: &Named) -> Result<Option<(TenantNo, UserNo)>, AppError> {
        // A tuple of borrowed keys cannot be looked up; clones of keys are counters, not copies.
        let key = (named.tenant.clone(), named.user.clone());
        if let Some(numbers) = self.inner.names.numbers.read().get(&key) {
            return Ok(Some(*numbers));
        }
        let (tenant, user) = key;
        let found = self.read(move |reader| reader.resolve_user(tenant.as_ref(), &user)).await?;
        if let Some(numbers) = found {
            self.inner.names.remember(named.tenant.as_ref(), &named.user, numbers);
        }
        Ok(found)
    }

    /// The numbers of a user and its tenant, made on first use in a cold transaction of their own.
    pub(crate) async fn ensure_user(&self, named: &Named) -> Result<(TenantNo, UserNo), AppError> {
        if let Some(numbers) = self.find_user(named).await? {
            return Ok(numbers);
        }
        let fresh =
            FreshNumbers { tenant: TenantNo(self.inner.ids.number()), user: UserNo(self.inner.ids.number()) };
        let (Named { tenant, user }, now) = (named.clone(), self.now());
        let change = move |batch: &mut purser_store::Batch<'_>| {
            batch.ensure_user(tenant.as_ref(), &user, fresh, now).map(|numbers| (numbers, false))
        };
        let numbers = self.inner.engine.change(change).await?;
        self.inner.names.remember(named.tenant.as_ref(), &named.user, numbers);
        Ok(numbers)
    }

    /// Whom a rule is about that names a tenant, a user or both.
    pub(crate) fn owner(
        &self,
        caller: &Caller,
        tenant: Option<&str>,
        user: Option<&str>,
    ) -> Result<Owner, AppError> {
        match user {
            Some(user) => Ok(Owner::User(self.named(caller, tenant, user)?)),
            None => match self.tenant_key(caller, tenant)? {
                Some(tenant) => Ok(Owner::Tenant(tenant)),
                None => Err(field("/user", "required", "without a tenant it is for one user")),
            },
        }
    }

    /// Its numbers, made on first use.
    pub(crate) async fn ensure_owner(&self, owner: Owner) -> Result<(TenantNo, Option<UserNo>), AppError> {
        match owner {
            Owner::User(named) => self.ensure_user(&named).await.map(|(tenant, user)| (tenant, Some(user))),
            Owner::Tenant(key) => {
                let (fresh, now) = (TenantNo(self.inner.ids.number()), self.now());
                let change = move |batch: &mut purser_store::Batch<'_>| {
                    batch.ensure_tenant(&key, fresh, now).map(|tenant| (tenant, false))
                };
                self.inner.engine.change(change).await.map(|tenant| (tenant, None))
            }
        }
    }

    /// The number of its tenant, if it was ever used. Makes nothing.
    pub(crate) async fn known_owner(&self, owner: &Owner) -> Result<Option<TenantNo>, AppError> {
        match owner {
            Owner::Tenant(key) => {
                let key = key.clone();
                self.read(move |reader| reader.resolve_tenant(&key)).await
            }
            Owner::User(named) => Ok(self.find_user(named).await?.map(|(tenant, _)| tenant)),
        }
    }

    /// The tenant of which a list is asked for: an organisation, or the personal one of a user; none where it was never used.
    pub(crate) async fn find_owner(
        &self,
        caller: &Caller,
        tenant: Option<&str>,
        user: Option<&str>,
    ) -> Result<Option<TenantNo>, AppError> {
        let owner = match (self.tenant_key(caller, tenant)?, user) {
            (Some(tenant), None) => Owner::Tenant(tenant),
            (None, Some(user)) => Owner::User(self.named(caller, None, user)?),
            _ => return Err(field("?tenant", "required", "either a tenant, or the user of a personal one")),
        };
        self.known_owner(&owner).await
    }

    /// The keys behind numbers.
    pub(crate) async fn names(&self, tenant: TenantNo, user: Option<UserNo>) -> Result<Names, AppError> {
        if let Some(names) = self.inner.names.names.read().get(&(tenant, user)) {
            return Ok(names.clone());
        }
        let found = self.read(move |reader| reader.names(tenant, user)).await?;
        let names = Names { tenant: found.tenant, user: found.user, action: None };
        let mut known = self.inner.names.names.write();
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert((tenant, user), names.clone());
        Ok(names)
    }
}

pub(crate) fn invalid_key(pointer: &str) -> AppError {
    AppError::Invalid(vec![FieldError {
        pointer: pointer.into(),
        code: "invalid_key",
        detail: "1-128 printable ASCII characters without space / \\ ? # % \" < >".into(),
    }])
}
