//! Commands: everything one may ask of a tenant's wallets.
//!
//! A command names things by number (names were resolved before) and carries the fresh id of what it makes. Which
//! wallet funds it, what it costs and whether it may happen is decided by [`crate::decide()`] alone.

use crate::amount::{Amount, Money};
use crate::entry::{Actor, Digest, GrantKind, Usage};
use crate::id::{CauseId, Id, LotId, PriceId, TenantNo, UserNo, WalletId};
use crate::key::Key;
use crate::pricing::Footing;
use crate::time::Timestamp;

/// One request to move credits, and who makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// A fresh id: that of the grant, debit, hold, transfer or refund which the command makes.
    pub id: Id,
    /// The tenant; credits never leave it.
    pub tenant: TenantNo,
    /// The user it is for.
    pub user: Option<UserNo>,
    /// Who asks.
    pub actor: Actor,
    /// When the work happened; selects the price version.
    pub occurred_at: Timestamp,
    /// Salted digest of reference, metadata and reason, if any was given.
    pub text_digest: Option<Digest>,
    /// What to do.
    pub movement: Movement,
}

/// The ways to move credits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Movement {
    /// Gives credits: makes a lot.
    Grant(Grant),
    /// Takes back what is unspent of a grant.
    Revoke(Revoke),
    /// Consumes.
    Debit(Debit),
    /// Gives back all or part of a debit.
    Refund(Refund),
    /// Pins credits before work of unknown cost.
    PlaceHold(PlaceHold),
    /// Makes a hold longer or larger.
    ExtendHold(ExtendHold),
    /// Charges what the held work really cost, once and finally.
    CaptureHold(CaptureHold),
    /// Gives a hold up.
    ReleaseHold {
        /// The hold.
        hold: Id,
    },
    /// Moves credits between two wallets of the tenant: the first and second wallet of the state.
    Transfer {
        /// How much.
        amount: Amount,
    },
    /// Sets credits of a purchase aside.
    Freeze(Freeze),
    /// Ends a freeze.
    Thaw {
        /// What caused the freeze.
        cause: CauseId,
    },
    /// Takes credits back because the money went back.
    Reverse(Reverse),
    /// Undoes one reversal exactly.
    Reinstate {
        /// What caused the reversal.
        cause: CauseId,
    },
    /// Books what is due in every wallet of the state, and nothing else.
    Sweep,
}

/// The terms of a grant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// How much; more than zero.
    pub amount: Amount,
    /// Why.
    pub kind: GrantKind,
    /// Lower burns first.
    pub priority: i32,
    /// Pending before this instant; at once when none is given.
    pub effective_at: Option<Timestamp>,
    /// Not spendable from this instant; never when none is given.
    pub expires_at: Option<Timestamp>,
    /// What was paid for it, net of tax.
    pub paid: Option<Money>,
    /// The top-up that bought it.
    pub origin: Option<Id>,
}

/// What to take back of a grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revoke {
    /// The grant's lot.
    pub lot: LotId,
    /// How much; everything that is unspent and unpinned when none is given.
    pub amount: Option<Amount>,
}

/// What to charge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Debit {
    /// The action's number.
    pub action: u64,
    /// What was consumed.
    pub usage: Usage,
    /// Pay in this unit only.
    pub unit: Option<Key>,
    /// Pay from this wallet only.
    pub wallet: Option<WalletId>,
    /// Record work already done: never refused for lack of credit.
    pub settle: bool,
    /// The promise of its cost that was given before.
    pub quote: Option<Quote>,
}

/// What a quote that comes back with a debit or hold is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Quote {
    /// It cannot be read, or this service did not sign it.
    Invalid,
    /// It was given for another request.
    Mismatch,
    /// It was given for this request.
    Promise(Promise),
}

/// What a quote promises: the price is locked, whatever the catalogue says meanwhile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promise {
    /// Names the quote; it is used once.
    pub id: Id,
    /// The price version that was in force when it was given.
    pub price: PriceId,
    /// The unit of the promised amount.
    pub unit: Key,
    /// What it costs, in smallest parts of the unit.
    pub amount: Amount,
    /// What the arithmetic started from when it was given.
    pub footing: Footing,
    /// It binds before this instant.
    pub expires_at: Timestamp,
    /// Whether a debit or hold was made with it before.
    pub used: bool,
}

impl Movement {
    /// The promise of cost that a debit or hold brings.
    pub fn promise(&self) -> Option<&Promise> {
        match self {
            Movement::Debit(Debit { quote: Some(Quote::Promise(promise)), .. })
            | Movement::PlaceHold(PlaceHold { quote: Some(Quote::Promise(promise)), .. }) => Some(promise),
            _ => None,
        }
    }

    /// The same movement, whose promise was used before.
    pub fn with_promise_used(mut self) -> Movement {
        match &mut self {
            Movement::Debit(Debit { quote: Some(Quote::Promise(promise)), .. })
            | Movement::PlaceHold(PlaceHold { quote: Some(Quote::Promise(promise)), .. }) => {
                promise.used = true;
            }
            _ => {}
        }
        self
    }
}

/// What to give back of a debit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refund {
    /// The debit.
    pub debit: Id,
    /// How much; everything that is left when none is given.
    pub amount: Option<Amount>,
}

/// What to pin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlaceHold {
    /// The action's number.
    pub action: u64,
    /// The expected consumption, or an amount.
    pub usage: Usage,
    /// Pay in this unit only.
    pub unit: Option<Key>,
    /// Pay from this wallet only.
    pub wallet: Option<WalletId>,
    /// Microseconds until it runs out.
    pub expires_in: i64,
    /// The promise of its cost that was given before.
    pub quote: Option<Quote>,
}

/// How to change a hold; the place of what is not given stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtendHold {
    /// The hold.
    pub hold: Id,
    /// Microseconds from now until it runs out.
    pub expires_in: Option<i64>,
    /// The new total expectation; it may only grow.
    pub usage: Option<Usage>,
}

/// What the held work really was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureHold {
    /// The hold.
    pub hold: Id,
    /// The true consumption, or amount; what was held when none is given.
    pub usage: Option<Usage>,
    /// Record it even if the hold ran out: then it is a settle debit of the hold's wallet.
    pub settle: bool,
}

/// What to set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Freeze {
    /// The dispute or refund that causes it.
    pub cause: CauseId,
    /// The top-up whose lots are meant.
    pub origin: Id,
    /// How much; what is free now is taken, the rest as it comes free.
    pub amount: Amount,
}

/// What to take back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reverse {
    /// The dispute or refund that causes it.
    pub cause: CauseId,
    /// The top-up whose money went back.
    pub origin: Id,
    /// How many credits are reversed.
    pub amount: Amount,
    /// The wallet that bought: what is spent or pinned becomes its debt.
    pub buyer: WalletId,
}
