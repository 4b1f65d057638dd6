//! Every business "no", its stable code and its place in the order of refusals.
//!
//! A rejection is expected and part of the API: nothing was booked, nothing is stored under the idempotency key, and
//! the same call may succeed later. Faults (the machine failed) and bugs never take this type.

use crate::amount::Amount;
use crate::id::{Id, WalletId};
use crate::key::Key;
use crate::pricing::Priced;
use crate::time::Timestamp;
use crate::wallet::HoldState;

/// In what way usage does not fit a price.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// A flat price is for one: several are several commands.
    OneOnly,
    /// A price that does not know dimensions got some.
    NoDimensions,
    /// A price per dimension got none.
    DimensionsExpected,
    /// A price per dimension got one that it has no rate for.
    UnknownDimension(String),
    /// The caller stated an amount where a price has to explain it.
    AmountStated,
}

/// Why a command was refused. The wallet is exactly as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// An amount that must be more than zero is not.
    AmountNotPositive,
    /// An amount, or a balance after the command, would pass the largest amount the ledger counts.
    AmountOverflow,
    /// An expiry, or another time of the command, lies where it makes no sense (before its start, in the past).
    TimeInvalid,
    /// The quantity or the dimensions do not fit the action's price model.
    UsageInvalid {
        /// In what way.
        misfit: Misfit,
    },
    /// The command names a unit that the wallet, or the action's prices, do not have.
    UnitMismatch,
    /// A transfer from a wallet to itself.
    SameWallet,
    /// The command would touch more lots than one entry may.
    TooManyLots,
    /// The key was used for another request: the answer belongs to that one (law 4).
    IdempotencyConflict,
    /// No such action, or it has no price yet at the time of the work.
    ActionNotFound,
    /// No such wallet.
    WalletNotFound,
    /// No such hold.
    HoldNotFound,
    /// No such debit.
    DebitNotFound,
    /// No such grant, or nothing of it is in this wallet.
    GrantNotFound,
    /// No such freeze or reversal.
    CauseNotFound,
    /// The tenant is suspended: nothing is spent, grants still arrive.
    TenantSuspended,
    /// Spending of the tenant is frozen by an operator.
    SpendingFrozen,
    /// The tenant is closed for good.
    TenantClosed,
    /// The quote cannot be read, or this service did not sign it.
    QuoteInvalid,
    /// The quote was given for another user, action, input, unit or wallet.
    QuoteMismatch,
    /// A debit or hold was made with the quote before.
    QuoteUsed,
    /// The quote's time is over.
    QuoteExpired,
    /// The hold ran out before it was captured or extended.
    HoldExpired,
    /// The hold was captured or released before.
    HoldClosed {
        /// What became of it.
        state: HoldState,
    },
    /// The work cost more than was held and than the action's rule allows beyond it.
    CaptureExceedsHold {
        /// What is pinned.
        held: Amount,
        /// What the work costs.
        required: Amount,
        /// The most that the action's rule lets a capture of this hold take.
        capturable: Amount,
        /// The unit all three are counted in.
        unit: Key,
    },
    /// An extension would let the hold live longer than 24 hours.
    HoldLifeExceeded,
    /// More is to be given back than is left of the debit.
    RefundExceedsDebit {
        /// What could still be given back.
        refundable: Amount,
        /// The unit it is counted in.
        unit: Key,
    },
    /// More is to be taken back than is unspent and unpinned.
    RevokeExceedsUnspent {
        /// What could still be revoked.
        revocable: Amount,
        /// The unit it is counted in.
        unit: Key,
    },
    /// This cause was booked before (a freeze, reversal or reinstatement happens once).
    CauseRepeated,
    /// The balance lacks.
    InsufficientCredits {
        /// What the command needs.
        required: Amount,
        /// What can be spent now; negative when there is debt.
        available: Amount,
        /// The unit both are counted in.
        unit: Key,
        /// The price version that `required` is the cost of, so that a quote can promise both; none where it is a part
        /// of a cost, as beyond a hold, or no cost at all.
        priced: Option<Box<Priced>>,
    },
    /// A limit on what may be used in a period would be passed.
    LimitReached {
        /// Which; of several, the one that lasts longest.
        limit: Id,
        /// The most it allows in a period.
        amount: Amount,
        /// What counts against it already.
        used: Amount,
        /// What the command would add.
        required: Amount,
        /// The unit all three are counted in.
        unit: Key,
        /// When its next period begins.
        resets_at: Timestamp,
    },
    /// It costs more than may be spent without asking, and no quote says that somebody was asked.
    ConfirmationRequired {
        /// What it costs.
        required: Amount,
        /// What may be spent without asking: the lower of the action's and the user's threshold.
        above: Amount,
        /// The unit both are counted in.
        unit: Key,
        /// The price version that `required` is the cost of.
        priced: Option<Box<Priced>>,
        /// The wallet that would pay.
        wallet: WalletId,
    },
}

impl Rejection {
    /// The stable code on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::AmountNotPositive => "amount_not_positive",
            Rejection::AmountOverflow => "amount_overflow",
            Rejection::TimeInvalid => "time_invalid",
            Rejection::UsageInvalid { .. } => "usage_invalid",
            Rejection::UnitMismatch => "unit_mismatch",
            Rejection::SameWallet => "same_wallet",
            Rejection::TooManyLots => "too_many_lots",
            Rejection::IdempotencyConflict => "idempotency_conflict",
            Rejection::ActionNotFound => "action_not_found",
            Rejection::WalletNotFound => "wallet_not_found",
            Rejection::HoldNotFound => "hold_not_found",
            Rejection::DebitNotFound => "debit_not_found",
            Rejection::GrantNotFound => "grant_not_found",
            Rejection::CauseNotFound => "cause_not_found",
            Rejection::TenantSuspended => "tenant_suspended",
            Rejection::SpendingFrozen => "spending_frozen",
            Rejection::TenantClosed => "tenant_closed",
            Rejection::QuoteInvalid => "quote_invalid",
            Rejection::QuoteMismatch => "quote_mismatch",
            Rejection::QuoteUsed => "quote_used",
            Rejection::QuoteExpired => "quote_expired",
            Rejection::HoldExpired => "hold_expired",
            Rejection::HoldClosed { .. } => "hold_closed",
            Rejection::CaptureExceedsHold { .. } => "capture_exceeds_hold",
            Rejection::HoldLifeExceeded => "hold_life_exceeded",
            Rejection::RefundExceedsDebit { .. } => "refund_exceeds_debit",
            Rejection::RevokeExceedsUnspent { .. } => "revoke_exceeds_unspent",
            Rejection::CauseRepeated => "cause_repeated",
            Rejection::InsufficientCredits { .. } => "insufficient_credits",
            Rejection::LimitReached { .. } => "limit_reached",
            Rejection::ConfirmationRequired { .. } => "confirmation_required",
        }
    }

    /// The HTTP status that says what kind of no it is. One table, so that no handler decides it again.
    pub fn status(&self) -> u16 {
        match self {
            Rejection::AmountNotPositive
            | Rejection::AmountOverflow
            | Rejection::TimeInvalid
            | Rejection::UsageInvalid { .. }
            | Rejection::UnitMismatch
            | Rejection::SameWallet
            | Rejection::TooManyLots
            | Rejection::IdempotencyConflict => 422,
            Rejection::ActionNotFound
            | Rejection::WalletNotFound
            | Rejection::HoldNotFound
            | Rejection::DebitNotFound
            | Rejection::GrantNotFound
            | Rejection::CauseNotFound => 404,
            Rejection::TenantSuspended
            | Rejection::SpendingFrozen
            | Rejection::TenantClosed
            | Rejection::LimitReached { .. } => 403,
            Rejection::QuoteInvalid
            | Rejection::QuoteMismatch
            | Rejection::QuoteUsed
            | Rejection::QuoteExpired
            | Rejection::HoldExpired
            | Rejection::HoldClosed { .. }
            | Rejection::CaptureExceedsHold { .. }
            | Rejection::HoldLifeExceeded
            | Rejection::RefundExceedsDebit { .. }
            | Rejection::RevokeExceedsUnspent { .. }
            | Rejection::CauseRepeated
            | Rejection::ConfirmationRequired { .. } => 409,
            Rejection::InsufficientCredits { .. } => 402,
        }
    }
}
