//! The three kinds of errors, never mixed: rejections (the business says no), faults (the machine failed), bugs (panics).

use crate::view::{Offer, ToConfirm};
use purser_core::Rejection;
use purser_core::gate::Refusal;
use std::time::Duration;

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No valid credentials: 401.
    #[error("no valid credentials")]
    Unauthenticated,
    /// The credentials do not allow it: 403.
    #[error("the key lacks the scope {scope}")]
    Denied {
        /// The missing scope.
        scope: &'static str,
    },
    /// The catalogue is the platform's, and the key belongs to a tenant: 403.
    #[error("only a key of the platform may do this")]
    PlatformOnly,
    /// The request is not well formed: 422 (400 for unreadable ones is the server's).
    #[error("{} field(s) are not acceptable", .0.len())]
    Invalid(Vec<FieldError>),
    /// The business says no.
    #[error("refused: {}", .0.code())]
    Rejected(Rejection),
    /// The balance lacks, and this can be done about it: 402.
    #[error("refused: {}", .rejection.code())]
    OutOfCredit {
        /// What the business says.
        rejection: Rejection,
        /// What can be done.
        offer: Box<Offer>,
    },
    /// The gate does not let a request pass, for another reason than the ledger's.
    #[error("refused at the gate: {}", .0.code())]
    Gate(Refusal),
    /// It costs more than may be spent without asking, and so somebody is asked: 409.
    #[error("refused: {}", .rejection.code())]
    Unconfirmed {
        /// What the business says.
        rejection: Rejection,
        /// With what it goes on.
        ask: Box<ToConfirm>,
    },
    /// What is to be read does not exist (or is another tenant's, which is the same to the caller): 404.
    #[error("no such {what}")]
    NotFound {
        /// The kind of thing: becomes the code `<what>_not_found`.
        what: &'static str,
    },
    /// The cursor of events is of another database, or ahead of this one: 410.
    #[error("the cursor is not of this database")]
    CursorUnknown,
    /// What is to be made exists already, with other content: 409.
    #[error("the {what} exists already")]
    Exists {
        /// The kind of thing: becomes the code `<what>_exists`.
        what: &'static str,
    },
    /// The service cannot take it now; nothing was done: 503 with `Retry-After`.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Stable code: `overloaded`, `deadline_exceeded`, `clock_unsafe`, `shutting_down`, `store_unavailable`,
        /// `too_many_streams`.
        reason: &'static str,
        /// When to come back.
        retry_after: Duration,
    },
    /// The key called too often; nothing was done: 429 with `Retry-After`.
    #[error("too many calls")]
    RateLimited {
        /// How many calls may come at once.
        limit: u32,
        /// When one may come again.
        retry_after: Duration,
        /// When as many as the limit may come again.
        reset_after: Duration,
    },
    /// The machine failed; opaque to the caller: 500. Logged once, at the edge.
    #[error("fault: {0}")]
    Fault(String),
}

/// A field that is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer into the body, or `?name` for a query parameter and `Name` for a header.
    pub pointer: String,
    /// Stable code, such as `too_fine`, `malformed`, `required`, `out_of_range`.
    pub code: &'static str,
    /// One sentence for people.
    pub detail: String,
}

impl From<Rejection> for AppError {
    fn from(rejection: Rejection) -> AppError {
        AppError::Rejected(rejection)
    }
}
