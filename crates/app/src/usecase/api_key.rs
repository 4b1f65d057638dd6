//! API keys: made on the command line, shown once, stored as a hash.
//!
//! A key is `psk_`, twelve hexadecimal digits that name it, and 256 random bits. The name finds it, the hash proves it.

use crate::App;
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::names::invalid_key;
use crate::parse::field;
use purser_core::entry::Actor;
use purser_core::{Key, TenantNo, Timestamp};
use purser_store::{AuditRow, NewApiKey};

/// Bits of the number that names a key.
const NO_BITS: u32 = 48;

/// A key as lists show it: never the secret.
#[derive(Clone, Debug)]
pub struct KeyView {
    /// Its public part, `psk_` and 12 characters.
    pub prefix: String,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The tenant whose it is; none for a platform key.
    pub tenant: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl App {
    /// Who holds this bearer token.
    pub async fn authenticate(&self, bearer: &str) -> Result<Caller, AppError> {
        let number =
            bearer.strip_prefix("psk_").and_then(|rest| rest.split_once('_')).and_then(|(no, _)| number(no));
        let Some(no) = number else { return Err(AppError::Unauthenticated) };
        let known = || self.config().caller(no, &hash(bearer));
        if let Some(caller) = known() {
            return Ok(caller);
        }
        // A key that was made beside this node works at once.
        let caller = if self.look_again().await { known() } else { None };
        caller.ok_or(AppError::Unauthenticated)
    }
}

/// Makes a key and answers its text, which is not stored.
pub async fn create(app: &App, name: &str, scope: Scope, tenant: Option<&str>) -> Result<String, AppError> {
    if name.trim().is_empty() {
        return Err(field("/name", "required", "a name is expected"));
    }
    crate::parse::text("/name", name, 200)?;
    let tenant = tenant.map(|key| Key::parse(key).ok_or_else(|| invalid_key("/tenant"))).transpose()?;
    let no = app.inner.ids.number() >> (64 - NO_BITS);
    let secret: [u8; 32] = app.inner.ids.bytes();
    let text = format!("{}_{}", prefix(no), hexadecimal(&secret));
    let (now, fresh, name) = (app.now(), TenantNo(app.inner.ids.number()), name.to_string());
    let hash = hash(&text);
    let change = move |batch: &mut purser_store::Batch<'_>| {
        let tenant = tenant.as_ref().map(|key| batch.ensure_tenant(key, fresh, now)).transpose()?;
        let (name, scope) = (name.clone(), scope.name().to_string());
        batch.insert_api_key(&NewApiKey { no, name, hash, scope, tenant }, now)?;
        batch.insert_audit(&audit("api_key.create", no, now))?;
        Ok(((), true))
    };
    app.inner.engine.change(change).await?;
    Ok(text)
}

/// All keys.
pub async fn list(app: &App) -> Result<Vec<KeyView>, AppError> {
    Ok(views(app.read(|reader| reader.api_keys()).await?))
}

pub(crate) fn views(rows: Vec<purser_store::ApiKeyRow>) -> Vec<KeyView> {
    let view = |row: purser_store::ApiKeyRow| {
        Some(KeyView {
            prefix: prefix(row.no),
            name: row.name,
            scope: Scope::parse(&row.scope)?,
            tenant: row.tenant.map(|(key, _)| key.to_string()),
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        })
    };
    rows.into_iter().filter_map(view).collect()
}

/// Revokes a key by its public part, or by its whole text; from the next batch on it moves nothing. Revoking it again
/// changes nothing.
pub async fn revoke(app: &App, text: &str) -> Result<(), AppError> {
    let rest = text.strip_prefix("psk_").unwrap_or(text);
    let no = number(rest.split_once('_').map_or(rest, |(no, _)| no))
        .ok_or(AppError::NotFound { what: "api_key" })?;
    let now = app.now();
    let change = move |batch: &mut purser_store::Batch<'_>| {
        let revoked = batch.revoke_api_key(no, now)?;
        if revoked {
            batch.insert_audit(&audit("api_key.revoke", no, now))?;
        }
        Ok((revoked, revoked))
    };
    let revoked = app.inner.engine.change(change).await?;
    let known = revoked || list(app).await?.iter().any(|key| key.prefix == prefix(no));
    if known { Ok(()) } else { Err(AppError::NotFound { what: "api_key" }) }
}

fn audit(what: &str, no: u64, at: Timestamp) -> AuditRow {
    // The command line acts for whoever may open the database: it has no number of its own.
    AuditRow {
        actor: Actor::WORKER,
        what: what.into(),
        subject: prefix(no),
        before: None,
        after: None,
        reason: None,
        at,
    }
}

pub(crate) fn prefix(no: u64) -> String {
    format!("psk_{no:012x}")
}

fn number(digits: &str) -> Option<u64> {
    let lower = digits.len() == 12 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if lower { u64::from_str_radix(digits, 16).ok() } else { None }
}

fn hash(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
