//! Entries: the lines of the append-only ledger, and everything a rebuild needs to know from them.
//!
//! An entry is a set of deltas (its allocations) and the terms under which they happened. Wallets, lots, holds, debts
//! and freezes are derived from entries by [`crate::Wallet::apply`] and from nothing else (law 1). Never edited,
//! never deleted; a mistake is answered by a further entry.

use crate::amount::{Amount, Money, Quantity};
use crate::counter::Counted;
use crate::id::{CauseId, EntryId, Id, LotId, PriceId, UserNo, WalletId};
use crate::limit::Alert;
use crate::pricing::{Footing, Priced};
use crate::time::Timestamp;
use crate::wallet::WalletKey;

/// What an entry is. The numbers are part of the chain encoding and never change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum EntryKind {
    /// Credits given; makes a lot.
    Grant = 1,
    /// Consumption.
    Debit = 2,
    /// All or part of a debit given back.
    Refund = 3,
    /// Credits pinned before work of unknown cost.
    Hold = 4,
    /// A hold made longer or larger.
    Extend = 5,
    /// A hold turned into consumption, once and finally.
    Capture = 6,
    /// A hold given up.
    Release = 7,
    /// A hold's time ran out.
    HoldExpire = 8,
    /// A lot's time ran out.
    Expire = 9,
    /// An operator took back what was unspent of a grant.
    Revoke = 10,
    /// Spendable credit paid off debt; moves nothing in the sum.
    Repay = 11,
    /// The money of a purchase went back.
    Reverse = 12,
    /// A reversal undone.
    Reinstate = 13,
    /// Credit set aside while money is disputed or being refunded.
    Freeze = 14,
    /// Credit no longer set aside.
    Thaw = 15,
    /// Credit that left for another wallet of the tenant.
    TransferOut = 16,
    /// Credit that came from another wallet of the tenant.
    TransferIn = 17,
    /// Credit that left for a wallet of another unit.
    ConvertOut = 18,
    /// Credit that came from a wallet of another unit.
    ConvertIn = 19,
}

impl EntryKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [EntryKind; 19] = [
        EntryKind::Grant,
        EntryKind::Debit,
        EntryKind::Refund,
        EntryKind::Hold,
        EntryKind::Extend,
        EntryKind::Capture,
        EntryKind::Release,
        EntryKind::HoldExpire,
        EntryKind::Expire,
        EntryKind::Revoke,
        EntryKind::Repay,
        EntryKind::Reverse,
        EntryKind::Reinstate,
        EntryKind::Freeze,
        EntryKind::Thaw,
        EntryKind::TransferOut,
        EntryKind::TransferIn,
        EntryKind::ConvertOut,
        EntryKind::ConvertIn,
    ];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<EntryKind> {
        EntryKind::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The name on the wire and in reports.
    pub fn name(self) -> &'static str {
        match self {
            EntryKind::Grant => "grant",
            EntryKind::Debit => "debit",
            EntryKind::Refund => "refund",
            EntryKind::Hold => "hold",
            EntryKind::Extend => "extend",
            EntryKind::Capture => "capture",
            EntryKind::Release => "release",
            EntryKind::HoldExpire => "hold_expire",
            EntryKind::Expire => "expire",
            EntryKind::Revoke => "revoke",
            EntryKind::Repay => "repay",
            EntryKind::Reverse => "reverse",
            EntryKind::Reinstate => "reinstate",
            EntryKind::Freeze => "freeze",
            EntryKind::Thaw => "thaw",
            EntryKind::TransferOut => "transfer_out",
            EntryKind::TransferIn => "transfer_in",
            EntryKind::ConvertOut => "convert_out",
            EntryKind::ConvertIn => "convert_in",
        }
    }
}

/// What an allocation changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Target {
    /// A lot of the entry's wallet.
    Lot(LotId),
    /// The debt that the entry with this seq of the same wallet made.
    Debt(u64),
}

/// The change of one lot or debt by one entry. All five numbers are signed deltas of the target.
///
/// For a lot `amount` changes what remains; for a debt it changes what is owed. So an entry's `amount` is the sum over
/// its lots less the sum over its debts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Allocation {
    /// The lot or debt.
    pub target: Target,
    /// Change of what remains of the lot, or of what is owed.
    pub amount: Amount,
    /// Change of what holds pin in the lot.
    pub held: Amount,
    /// Change of what is frozen in the lot.
    pub frozen: Amount,
    /// Change of the lot's money, in minor units of the lot's currency. What leaves by a debit or repayment is
    /// recognised, by expiry breakage, by a reversal returned. On a debt: recognised money that a refund undoes
    /// without any lot getting it back.
    pub money: i64,
}

impl Allocation {
    /// An allocation of a lot that changes nothing yet.
    pub fn lot(lot: LotId) -> Allocation {
        Allocation {
            target: Target::Lot(lot),
            amount: Amount(0),
            held: Amount(0),
            frozen: Amount(0),
            money: 0,
        }
    }

    /// A change of the debt made by the entry `seq`.
    pub fn debt(seq: u64, amount: Amount) -> Allocation {
        Allocation { target: Target::Debt(seq), amount, held: Amount(0), frozen: Amount(0), money: 0 }
    }
}

/// Why credits were given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum GrantKind {
    /// A gift: burns before what was paid for.
    Promotional = 1,
    /// A correction by an operator.
    Adjustment = 2,
    /// Bought.
    Paid = 3,
}

impl GrantKind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<GrantKind> {
        [GrantKind::Promotional, GrantKind::Adjustment, GrantKind::Paid]
            .get(usize::from(number).checked_sub(1)?)
            .copied()
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            GrantKind::Promotional => "promotional",
            GrantKind::Adjustment => "adjustment",
            GrantKind::Paid => "paid",
        }
    }
}

/// The terms under which a lot was made; fixed for its life.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LotTerms {
    /// The lot's id; that of the grant for the first lot of a grant.
    pub id: LotId,
    /// Why it was given.
    pub kind: GrantKind,
    /// Lower burns first.
    pub priority: i32,
    /// Before this instant it is pending.
    pub effective_at: Timestamp,
    /// From this instant it cannot be spent; none means never.
    pub expires_at: Option<Timestamp>,
    /// How much was given.
    pub granted: Amount,
    /// What was paid for all of it, net of tax.
    pub paid: Option<Money>,
    /// The top-up that bought it, or whose purchase it descends from.
    pub origin: Option<Id>,
    /// The lot it was split from, by a transfer or by a refund after expiry.
    pub parent: Option<LotId>,
}

/// What was consumed, as the caller measured it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Usage {
    /// A number of things; one where the caller says nothing.
    Quantity(Quantity),
    /// Several measures, each with its own rate, sorted by name.
    Dimensions(Vec<(String, Quantity)>),
    /// No measure: an amount of the wallet's unit stated by the caller (holds only).
    Amount(Amount),
}

/// What was charged and why: enough to explain itself after the catalogue changed (law 7).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Charge {
    /// The action's number in the catalogue.
    pub action: u64,
    /// The price version that was in force: the one a hold is captured at, also where it was placed by amount.
    pub price: Option<PriceId>,
    /// What was consumed.
    pub usage: Usage,
    /// What it costs.
    pub cost: Amount,
    /// Recorded after the fact: it could not be refused for lack of credit.
    pub settle: bool,
    /// What the arithmetic started from.
    pub footing: Footing,
    /// The quote that promised it.
    pub quote: Option<Id>,
    /// The counters that it counts in.
    pub counted: Vec<Counted>,
    /// What it makes known: limits of which it reached a share.
    pub alerts: Vec<Alert>,
}

impl Charge {
    /// A charge of this cost, at the price of all and of nothing else.
    pub fn plain(action: u64, price: Option<PriceId>, usage: Usage, cost: Amount) -> Charge {
        let (settle, footing, quote) = (false, Footing::default(), None);
        Charge { action, price, usage, cost, settle, footing, quote, counted: Vec::new(), alerts: Vec::new() }
    }

    /// Where its cost comes from.
    pub fn priced(&self) -> Option<Priced> {
        self.price.map(|price| Priced { price, footing: self.footing })
    }
}

/// The terms of a hold, after it was placed or extended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HoldTerms {
    /// What is expected to be charged.
    pub charge: Charge,
    /// From this instant it pins nothing.
    pub expires_at: Timestamp,
    /// No extension reaches beyond this instant.
    pub ends_at: Timestamp,
}

/// A piece of a refund: which allocation of which earlier entry is given back, and how much of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Returned {
    /// The earlier entry of the same wallet.
    pub seq: u64,
    /// The place of the allocation within it.
    pub index: u32,
    /// How much of it comes back.
    pub amount: Amount,
    /// Its share of that allocation's money.
    pub money: i64,
}

/// Credit of a lot that had expired unspent, whose purchase was reversed: only its breakage moves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Breakage {
    /// The expired lot.
    pub lot: LotId,
    /// How much of what expired is reversed (or reinstated).
    pub amount: Amount,
    /// The breakage money that turns into returned money (or back).
    pub money: i64,
}

/// What, beside the allocations, a rebuild needs to know of an entry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Terms {
    /// The allocations say everything.
    None,
    /// The lot that the grant made.
    Grant(LotTerms),
    /// What a debit or a capture charged.
    Charge(Charge),
    /// The hold, as placed or extended.
    Hold(HoldTerms),
    /// What is given back, and lots that replace those which expired meanwhile.
    Refund {
        /// The allocations given back.
        returned: Vec<Returned>,
        /// New lots with days of grace.
        lots: Vec<LotTerms>,
    },
    /// Further credit that the cause wants frozen, lot by lot; what is taken now stands in the allocations.
    Freeze {
        /// The lots and how much is wanted of each.
        wants: Vec<(LotId, Amount)>,
    },
    /// A reversal of a purchase.
    Reverse {
        /// The top-up whose money went back.
        origin: Id,
        /// What had expired.
        breakage: Vec<Breakage>,
    },
    /// A reversal undone.
    Reinstate {
        /// The allocations given back.
        returned: Vec<Returned>,
        /// New lots for repaying lots that expired meanwhile.
        lots: Vec<LotTerms>,
        /// What had expired before it was reversed.
        breakage: Vec<Breakage>,
    },
    /// Where a transfer went.
    TransferOut {
        /// The other wallet.
        peer: WalletId,
    },
    /// Where a transfer came from, and the lots it made here.
    TransferIn {
        /// The other wallet.
        peer: WalletId,
        /// The lots split off there.
        lots: Vec<LotTerms>,
    },
}

impl Terms {
    /// What is charged, or expected to be by a hold.
    pub fn charge(&self) -> Option<&Charge> {
        match self {
            Terms::Charge(charge) => Some(charge),
            Terms::Hold(hold) => Some(&hold.charge),
            _ => None,
        }
    }

    /// The lots that come into being with the entry.
    pub fn new_lots(&self) -> &[LotTerms] {
        match self {
            Terms::Grant(lot) => std::slice::from_ref(lot),
            Terms::Refund { lots, .. } | Terms::Reinstate { lots, .. } | Terms::TransferIn { lots, .. } => {
                lots
            }
            Terms::None
            | Terms::Charge(_)
            | Terms::Hold(_)
            | Terms::Freeze { .. }
            | Terms::Reverse { .. }
            | Terms::TransferOut { .. } => &[],
        }
    }
}

/// Who did it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Actor {
    /// What kind of actor.
    pub kind: ActorKind,
    /// Its number: the key's, the console user's, the session's; 0 for a worker.
    pub no: u64,
}

/// The kinds of actors. The numbers are part of the chain encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ActorKind {
    /// The service itself: due facts, sweeps.
    Worker = 1,
    /// An API key.
    ApiKey = 2,
    /// A person in the console.
    ConsoleUser = 3,
    /// A hosted session of one user.
    PortalSession = 4,
}

impl ActorKind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<ActorKind> {
        [ActorKind::Worker, ActorKind::ApiKey, ActorKind::ConsoleUser, ActorKind::PortalSession]
            .get(usize::from(number).checked_sub(1)?)
            .copied()
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ActorKind::Worker => "worker",
            ActorKind::ApiKey => "api_key",
            ActorKind::ConsoleUser => "console_user",
            ActorKind::PortalSession => "portal_session",
        }
    }
}

impl Actor {
    /// The service itself.
    pub const WORKER: Actor = Actor { kind: ActorKind::Worker, no: 0 };
}

/// A BLAKE3 hash or digest.
pub type Digest = [u8; 32];

/// One line of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The wallet it changed.
    pub wallet: WalletKey,
    /// Its place in the wallet, from 1, without gaps.
    pub seq: u64,
    /// What it is.
    pub kind: EntryKind,
    /// The thing it belongs to: grant, debit, hold, transfer or cause. A repayment belongs to what made the debt.
    pub subject: Id,
    /// Change of the settled balance.
    pub amount: Amount,
    /// Change of the held balance.
    pub held_delta: Amount,
    /// The settled balance after it.
    pub settled_after: Amount,
    /// What it took from, or gave to, which lot or debt.
    pub allocations: Vec<Allocation>,
    /// The terms beside them.
    pub terms: Terms,
    /// The user it was done for; none for a sweep.
    pub user: Option<UserNo>,
    /// Who did it.
    pub actor: Actor,
    /// When the work happened, as the caller says.
    pub occurred_at: Timestamp,
    /// When it was booked; drives everything.
    pub recorded_at: Timestamp,
    /// Salted digest of reference, metadata and reason, which are kept apart and may be erased.
    pub text_digest: Option<Digest>,
    /// The chain hash over all of the above and the hash of the entry before.
    pub hash: Digest,
}

impl Entry {
    /// The public id: the millisecond it was recorded in and the first 80 bits of its hash.
    pub fn id(&self) -> EntryId {
        let millis = (self.recorded_at.0 / 1_000).unsigned_abs() & 0xffff_ffff_ffff;
        let mut head = [0u8; 16];
        head[6..].copy_from_slice(&self.hash[..10]);
        Id(u128::from(millis) << 80 | u128::from_be_bytes(head))
    }

    /// The cause of a freeze, thaw, reversal or reinstatement.
    pub fn cause(&self) -> CauseId {
        self.subject
    }
}
