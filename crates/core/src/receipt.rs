//! Receipts: what a command did, as the caller is told, now and whenever the same key is sent again.
//!
//! A receipt is stored under the idempotency key in the transaction of its effect, so it holds numbers, not text: the
//! wire form is rendered from it each time.

use crate::amount::Amount;
use crate::catalogue::Unit;
use crate::entry::{Charge, Entry, GrantKind, Terms};
use crate::id::{EntryId, Id, TenantNo, UserNo, WalletId};
use crate::time::Timestamp;
use crate::wallet::{Balance, HoldState};

/// What a command did to the wallet it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The tenant.
    pub tenant: TenantNo,
    /// The grant, debit, hold, transfer or refund.
    pub id: Id,
    /// The wallet.
    pub wallet: WalletId,
    /// What it counts.
    pub unit: Unit,
    /// The entry that did it.
    pub entry: EntryId,
    /// The user it was done for.
    pub user: Option<UserNo>,
    /// How much was moved, without sign.
    pub amount: Amount,
    /// The balance right after.
    pub balance: Balance,
    /// When it was booked.
    pub recorded_at: Timestamp,
    /// What depends on the kind of command.
    pub detail: Detail,
}

impl Receipt {
    /// What a debit did, from its entry: for answers that are given for ever, while receipts are forgotten. An entry knows what
    /// was settled after it and nothing else of the balance, so the other numbers of that are zero: an answer of this kind
    /// shows none. None for an entry that is no debit.
    pub fn of_debit(entry: &Entry, unit: Unit) -> Option<Receipt> {
        let Terms::Charge(charge) = &entry.terms else { return None };
        Some(Receipt {
            tenant: entry.wallet.tenant,
            id: entry.subject,
            wallet: entry.wallet.id,
            unit,
            entry: entry.id(),
            user: entry.user,
            amount: charge.cost,
            balance: Balance { settled: entry.settled_after, ..Balance::default() },
            recorded_at: entry.recorded_at,
            detail: Detail::Debit { charge: charge.clone() },
        })
    }
}

/// The part of a receipt that depends on the kind of command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Detail {
    /// A grant; the lot has its id.
    Grant {
        /// Why it was given.
        kind: GrantKind,
        /// When it runs out.
        expires_at: Option<Timestamp>,
    },
    /// A revocation.
    Revoke {
        /// The grant.
        grant: Id,
    },
    /// A debit.
    Debit {
        /// What was charged and why.
        charge: Charge,
    },
    /// A refund of a debit.
    Refund {
        /// The debit.
        debit: Id,
        /// What was given back of it so far, this included.
        refunded: Amount,
    },
    /// A hold after it was placed, extended, captured or released.
    Hold {
        /// What became of it.
        state: HoldState,
        /// What is pinned, or was when it closed.
        held: Amount,
        /// What the capture charged.
        captured: Amount,
        /// When it runs out.
        expires_at: Timestamp,
        /// What was charged, or is expected to be.
        charge: Charge,
    },
    /// A transfer.
    Transfer {
        /// The wallet that received.
        peer: WalletId,
        /// Its balance right after.
        peer_balance: Balance,
    },
    /// A freeze, thaw, reversal, reinstatement or sweep: the amount says it all.
    Plain,
}
