//! The rule book of Purser: what a command does to a tenant's wallets, and what it costs.
//!
//! This crate decides and never acts: no I/O, no clock, no randomness, no async, no serialisation framework. Everything
//! it needs (state, command, `now`, fresh ids) is handed in, so the same input gives the same entries on every
//! machine and every database. Read [`decide()`] first, then [`wallet::Wallet::apply`], the only place where
//! state changes, then [`chain`] for the bytes that are hashed.
//!
//! The words are fixed. A *tenant* pays; a *user* consumes; a *wallet* holds one balance of one *unit*; a *grant*
//! gives credits and leaves a *lot*; an *entry* is one line of the append-only ledger; an *allocation* says how much
//! an entry took from which lot; a *debit* is consumption; a *hold* pins credits before work of unknown cost; an
//! *action* is a consumable thing with *price* versions. Expire, release, revoke and reverse are never mixed: time ran
//! out, a hold was given up, an operator took back, the money went back. A *discount* is a part of the price of all that one
//! tenant does not pay; a *limit* is the most of a period; an *alert* says that a share of one was reached.

pub mod amount;
pub mod audit;
pub mod catalogue;
pub mod chain;
pub mod codec;
pub mod command;
pub mod confirm;
pub mod counter;
pub mod decide;
pub mod entry;
pub mod gate;
pub mod id;
pub mod key;
pub mod limit;
pub mod pricing;
pub mod receipt;
pub mod rejection;
pub mod time;
pub mod wallet;

pub use amount::{Amount, Currency, Decimal, Money, Quantity, Rounding, Scale};
pub use command::{Command, Movement};
pub use counter::CounterKey;
pub use decide::{Decision, State, decide};
pub use entry::{Allocation, Entry, EntryKind, Target, Terms};
pub use id::{CauseId, EntryId, Id, LotId, PriceId, TenantNo, UserNo, WalletId};
pub use key::Key;
pub use rejection::Rejection;
pub use time::Timestamp;
pub use wallet::{Balance, Wallet, WalletKey};
