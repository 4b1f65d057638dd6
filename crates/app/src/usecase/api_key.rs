//! API keys: made on the command line, shown once, stored as a hash.
use crate::{App, caller::Scope, error::AppError};

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
    pub created_at: purser_core::Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<purser_core::Timestamp>,
}

/// Makes a key and answers its text, which is not stored.
pub async fn create(_app: &App, _name: &str, _scope: Scope, _tenant: Option<&str>) -> Result<String, AppError> { todo!() }
/// All keys.
pub async fn list(_app: &App) -> Result<Vec<KeyView>, AppError> { todo!() }
/// Revokes a key by its public part.
pub async fn revoke(_app: &App, _prefix: &str) -> Result<(), AppError> { todo!() }
