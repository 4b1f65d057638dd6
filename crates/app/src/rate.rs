//! How often one API key may call. Counted after the key is known, by key: who has none is refused before.
//!
//! It protects the service from a client that went astray, and says nothing about credits. Counters are hints: they may
//! be lost, shared or not, and then a client gets a few calls more (decision 0012).

use crate::App;
use crate::caller::Caller;
use crate::error::AppError;
use crate::usecase::api_key::prefix;
use purser_store::hint::Taken;

pub use purser_store::hint::{RATE_MAX, Rate};

impl App {
    /// Counts a call of this key, and refuses it when there were too many. Costs nothing where no rate is set.
    ///
    /// # Errors
    /// [`AppError::RateLimited`], with when to come back.
    pub async fn admit(&self, caller: &Caller) -> Result<(), AppError> {
        let Some(rate) = self.inner.settings.rate_limit else { return Ok(()) };
        let taken = self.inner.hints.take(&prefix(caller.key_no), rate, self.monotonic()).await;
        let Taken { allowed, retry_after, reset_after, .. } = taken;
        if allowed {
            return Ok(());
        }
        Err(AppError::RateLimited { limit: rate.burst(), retry_after, reset_after })
    }
}
