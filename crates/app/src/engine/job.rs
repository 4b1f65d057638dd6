//! What waits in the queue: commands with the promise to answer them, and cold changes.

use crate::error::AppError;
use purser_core::entry::EntryKind;
use purser_core::receipt::Receipt;
use purser_core::wallet::Owner;
use purser_core::{Command, Id, Key, Movement, WalletKey};
use purser_store::{Batch, EntryText, KeyDigest, StoreError};
use tokio::sync::oneshot;

/// The outcome of a command.
pub type Outcome = Result<Done, AppError>;

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What it did.
    pub receipt: Receipt,
    /// Whether that was before, under the same key.
    pub replayed: bool,
}

/// Which wallets a command is about; the writer loads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The wallets of this owner in the units of the action that is consumed, in the catalogue's order.
    Action(Owner),
    /// The wallet with this key, which must exist and be this owner's where one is given.
    Wallet(WalletKey, Option<Owner>),
    /// The wallet of this owner and unit, made on first use.
    Owned(Owner, Key),
    /// The wallet to which the grant, debit, hold or cause belongs.
    Subject(Id),
    /// From and to.
    Pair(Box<(Route, Route)>),
    /// Every wallet with lots of this purchase, and the buyer's.
    Origin(Id, Option<WalletKey>),
}

/// A command in the queue.
pub struct Job {
    /// The command.
    pub command: Command,
    /// Which wallets it is about.
    pub route: Route,
    /// The key it is sent under, and the digest of the request.
    pub key: Option<(KeyDigest, [u8; 32])>,
    /// The event that the debit is made of, in place of a key or behind it: taken once for ever, whatever else the request says.
    pub event: Option<KeyDigest>,
    /// Text beside its entry.
    pub text: Option<EntryText>,
    /// When it was queued, on the monotonic clock.
    pub queued_at: i64,
}

/// A change of configuration or identity, in a transaction of its own kind. It may be made more than once, each time as if
/// for the first: what was made before was not kept.
pub type ColdJob = Box<dyn FnMut(&mut Batch<'_>) -> Result<bool, StoreError> + Send>;

/// What the queue holds.
pub(super) enum Work {
    Command(Box<Job>, oneshot::Sender<Outcome>),
    /// The job answers whether configuration changed.
    Cold(ColdJob, oneshot::Sender<Result<(), StoreError>>),
    /// Everything in memory goes to the rows, then the writer ends.
    Stop,
}

/// The kind of event that a command's outbox rows announce.
pub(super) fn event_of(movement: &Movement) -> EntryKind {
    match movement {
        Movement::Grant(_) => EntryKind::Grant,
        Movement::Revoke(_) => EntryKind::Revoke,
        Movement::Debit(_) => EntryKind::Debit,
        Movement::Refund(_) => EntryKind::Refund,
        Movement::PlaceHold(_) => EntryKind::Hold,
        Movement::ExtendHold(_) => EntryKind::Extend,
        Movement::CaptureHold(_) => EntryKind::Capture,
        Movement::ReleaseHold { .. } => EntryKind::Release,
        Movement::Transfer { .. } => EntryKind::TransferOut,
        Movement::Freeze(_) => EntryKind::Freeze,
        Movement::Thaw { .. } => EntryKind::Thaw,
        Movement::Reverse(_) => EntryKind::Reverse,
        Movement::Reinstate { .. } => EntryKind::Reinstate,
        Movement::Sweep => EntryKind::Expire,
    }
}
