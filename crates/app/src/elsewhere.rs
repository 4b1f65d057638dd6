//! The catalogue of a running server, wherever it is: read whole, compared, applied. Through its HTTP API, as anybody would.

pub use purser_remote::http::RemoteError;
pub use purser_remote::purser::Problem;

use purser_remote::http::Limits;
use purser_remote::purser::{Answered, PurserClient};
use serde_json::Value;
use std::time::Duration;

/// The longest catalogue that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long a server may take for thousands of actions.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Why there is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum ElsewhereError {
    /// The server cannot be used.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It refuses.
    #[error("the server refuses with {} ({}): {}", .0.status, .0.code, .0.detail)]
    Refused(Problem),
}

/// A server's catalogue.
pub struct CatalogueElsewhere {
    client: PurserClient,
}

impl CatalogueElsewhere {
    /// The catalogue of the server at `url`, with this API key.
    ///
    /// # Errors
    /// When URL or key cannot be used; nothing is connected yet.
    pub fn new(url: &str, key: &str) -> Result<CatalogueElsewhere, RemoteError> {
        let limits = Limits {
            connections: 1,
            answer: ANSWER_MAX,
            answer_bytes: ANSWER_BYTES_MAX,
            ..Limits::default()
        };
        Ok(CatalogueElsewhere { client: PurserClient::new(url, key, limits)? })
    }

    /// All of it, as it is applied.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn read(&self) -> Result<Value, ElsewhereError> {
        done(self.client.catalogue().await?)
    }

    /// Brings it to what a file says, or only says what differs, with what so many last `days` of usage would have cost.
    ///
    /// # Errors
    /// When the server refuses or does not answer. To ask again is safe: what is as it should be stays.
    pub async fn apply(
        &self,
        file: &Value,
        dry_run: bool,
        days: Option<u32>,
    ) -> Result<Value, ElsewhereError> {
        done(self.client.apply_catalogue(file, dry_run, days).await?)
    }
}

fn done(answered: Answered<Value>) -> Result<Value, ElsewhereError> {
    match answered {
        Answered::Done { value, .. } => Ok(value),
        Answered::Refused(problem) => Err(ElsewhereError::Refused(problem)),
    }
}
