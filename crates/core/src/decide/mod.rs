//! The rule book: one pure function from state, command and time to entries or a refusal.
//!
//! Every command goes the same way. What is due on the wallets it writes is booked first (`due.rs`); then one file
//! per family of commands checks everything in the documented order of refusals before it books anything; then
//! whatever the command freed fills freezes, expires, and repays debt. A refused command leaves no trace. Time, ids
//! and prices are handed in, so the same input gives the same entries everywhere.

mod draft;
mod due;
mod grant;
mod hold;
mod refund;
mod reversal;
mod spend;
mod transfer;

use crate::catalogue::Catalogue;
use crate::command::{Command, Movement};
use crate::confirm::Thresholds;
use crate::counter::CounterKey;
use crate::entry::Entry;
use crate::receipt::{Detail, Receipt};
use crate::rejection::Rejection;
use crate::time::{DAY, SECOND, Timestamp};
use crate::wallet::{Fall, Wallet, WalletKey};
use draft::Draft;

/// How many due facts one command may book beside itself; more are swept first, in commands of their own.
pub const DUE_MAX: usize = 256;
/// How many lots one entry may touch.
pub const ALLOCATIONS_MAX: usize = 10_000;
/// The shortest time a hold is placed or extended for, in microseconds.
pub const HOLD_MIN: i64 = SECOND;
/// The longest life of a hold with all its extensions, in microseconds.
pub const HOLD_MAX: i64 = DAY;
/// How long credits that come back to an expired lot can still be spent, in microseconds.
pub const GRACE: i64 = 7 * DAY;

/// Whether a tenant may spend.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Standing {
    /// As usual.
    #[default]
    Active = 1,
    /// An operator froze spending.
    Frozen = 2,
    /// Suspended: nothing is spent, grants still arrive.
    Suspended = 3,
    /// Closed for good.
    Closed = 4,
}

impl Standing {
    /// The standing with this number.
    pub fn from_number(number: u8) -> Option<Standing> {
        [Standing::Active, Standing::Frozen, Standing::Suspended, Standing::Closed]
            .get(usize::from(number).checked_sub(1)?)
            .copied()
    }

    /// Refuses what only a tenant in good standing may do: strict debits, holds, extensions, transfers.
    fn require_spending(self) -> Result<(), Rejection> {
        match self {
            Standing::Active => Ok(()),
            Standing::Frozen => Err(Rejection::SpendingFrozen),
            Standing::Suspended => Err(Rejection::TenantSuspended),
            Standing::Closed => Err(Rejection::TenantClosed),
        }
    }

    /// Refuses what even a suspended tenant may do, but a closed one may not: settle debits, grants.
    fn require_open(self) -> Result<(), Rejection> {
        if self == Standing::Closed { Err(Rejection::TenantClosed) } else { Ok(()) }
    }
}

/// What a decision looks at: the loaded part of one tenant.
pub struct State<'a> {
    /// Units, actions and prices in force.
    pub catalogue: &'a Catalogue,
    /// Whether the tenant may spend.
    pub standing: Standing,
    /// Above which cost the user of the command wants to be asked first.
    pub confirm_above: Option<&'a Thresholds>,
    /// The wallets the command may touch: for debits and holds the candidates in funding order, for a transfer from and
    /// to, else the wallets of the thing that is named. Wallets that do not exist yet are here with no entries.
    pub wallets: Vec<Wallet>,
    /// The entries of the debit or cause that is undone, by wallet and seq.
    pub history: Vec<Entry>,
    /// The counters that [`crate::counter::looked_at`] names; those that are not here have counted nothing.
    pub counters: Vec<(CounterKey, i64)>,
}

/// What a command does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The entries to record, by wallet in the order of the state, by seq within a wallet.
    pub entries: Vec<Entry>,
    /// The wallets in which less can be spent than before, so much that somebody is told; each once.
    pub falls: Vec<(WalletKey, Fall)>,
    /// What the caller is told.
    pub receipt: Receipt,
    /// How much is to be added to which counters, each once, by key.
    pub counts: Vec<(CounterKey, i64)>,
}

/// Decides what `command` does to `state` at `now`. On success the wallets of the state are as after the entries;
/// on refusal they are untouched.
///
/// # Errors
/// The first refusal in the documented order: unknown things (404), the tenant's standing (403), the state of holds and
/// earlier movements (409), limits (403), the balance (402), a confirmation that lacks (409). Amounts and usage that cannot be right (422) come as soon as they are
/// known to be wrong.
///
/// # Panics
/// If the state lacks what the command names (a lot of the debit that is refunded): that is a bug of the loader.
pub fn decide(state: &mut State<'_>, command: &Command, now: Timestamp) -> Result<Decision, Rejection> {
    let mut draft = Draft::new(state, command, now);
    let outcome = match &command.movement {
        Movement::Grant(grant) => grant::grant(&mut draft, grant),
        Movement::Revoke(revoke) => grant::revoke(&mut draft, *revoke),
        Movement::Debit(debit) => spend::debit(&mut draft, debit),
        Movement::Refund(refund) => refund::refund(&mut draft, *refund),
        Movement::PlaceHold(place) => hold::place(&mut draft, place),
        Movement::ExtendHold(extend) => hold::extend(&mut draft, extend),
        Movement::CaptureHold(capture) => hold::capture(&mut draft, capture),
        Movement::ReleaseHold { hold } => hold::release(&mut draft, *hold),
        Movement::Transfer { amount } => transfer::transfer(&mut draft, *amount),
        Movement::Freeze(freeze) => reversal::freeze(&mut draft, *freeze),
        Movement::Thaw { cause } => reversal::thaw(&mut draft, *cause),
        Movement::Reverse(reverse) => reversal::reverse(&mut draft, *reverse),
        Movement::Reinstate { cause } => reversal::reinstate(&mut draft, *cause),
        Movement::Sweep => sweep(&mut draft),
    };
    match outcome {
        Ok(done) => Ok(draft.finish(done)),
        Err(rejection) => {
            draft.abandon();
            Err(rejection)
        }
    }
}

/// What a command did, before what it freed has been dealt with: the receipt's balance is read after that.
struct Done {
    /// The wallet the receipt is about.
    wallet: usize,
    /// What the receipt names.
    id: crate::Id,
    /// How much was moved, without sign.
    amount: crate::Amount,
    /// The entry that did it.
    entry: crate::EntryId,
    /// What depends on the command.
    detail: Detail,
    /// The other wallet of a transfer, whose balance is part of the receipt.
    peer: Option<usize>,
}

fn sweep(draft: &mut Draft<'_, '_>) -> Result<Done, Rejection> {
    for wallet in 0..draft.wallets.len() {
        draft.sweep(wallet);
    }
    if draft.wallets.is_empty() {
        return Err(Rejection::WalletNotFound);
    }
    let entry = crate::Id(0);
    Ok(Done {
        wallet: 0,
        id: draft.command.id,
        amount: crate::Amount::ZERO,
        entry,
        detail: Detail::Plain,
        peer: None,
    })
}

/// How many holds and lots of the wallet are due at `now`.
pub fn due_count(wallet: &Wallet, now: Timestamp) -> usize {
    due::count(wallet, now)
}

/// A copy of the wallet in which everything that is due at `now` is booked: what reads and preflight look at.
pub fn project(wallet: &Wallet, now: Timestamp) -> Wallet {
    let mut copy = wallet.clone();
    if copy.is_due(now) {
        due::project(&mut copy, now);
    }
    copy
}
