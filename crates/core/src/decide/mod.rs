//! The rule book: one pure function from state, command and time to entries or a refusal.

use crate::catalogue::Catalogue;
use crate::command::Command;
use crate::entry::Entry;
use crate::receipt::Receipt;
use crate::rejection::Rejection;
use crate::time::Timestamp;
use crate::wallet::Wallet;

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

/// What a decision looks at: the loaded part of one tenant.
pub struct State<'a> {
    /// Units, actions and prices in force.
    pub catalogue: &'a Catalogue,
    /// Whether the tenant may spend.
    pub standing: Standing,
    /// The wallets the command may touch: for debits and holds the candidates in funding order, for a transfer from and
    /// to, else the wallets of the thing that is named. Wallets that do not exist yet are here with no entries.
    pub wallets: Vec<Wallet>,
    /// The entries of the debit or cause that is undone, by wallet and seq.
    pub history: Vec<Entry>,
}

/// What a command does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The entries to record, by wallet in the order of the state, by seq within a wallet.
    pub entries: Vec<Entry>,
    /// What the caller is told.
    pub receipt: Receipt,
}

/// Decides what `command` does to `state` at `now`. On success the wallets of the state are as after the entries;
/// on refusal they are untouched.
pub fn decide(_state: &mut State<'_>, _command: &Command, _now: Timestamp) -> Result<Decision, Rejection> {
    todo!()
}

/// A copy of the wallet in which everything that is due at `now` is booked: what reads and preflight look at.
pub fn project(wallet: &Wallet, _now: Timestamp) -> Wallet {
    wallet.clone()
}
