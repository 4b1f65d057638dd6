//! A wallet: exactly the state a decision needs, derived from entries and from nothing else.
//!
//! `apply.rs` is the only place where any of it changes. The fields are readable everywhere, so that a store can write
//! them into rows; building a wallet from rows goes through [`Wallet::restore`], which checks the equations
//! that must hold at every commit (law 2).

mod apply;
mod balance;
mod lot;

pub use balance::{Balance, Fall, Health, Level};
pub use lot::{BurnKey, Lot};

use crate::amount::Amount;
use crate::catalogue::Unit;
use crate::entry::{Digest, EntryKind, HoldTerms};
use crate::id::{CauseId, Id, LotId, TenantNo, UserNo, WalletId};
use crate::time::Timestamp;

/// Names a wallet: its tenant and its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WalletKey {
    /// The tenant.
    pub tenant: TenantNo,
    /// The wallet inside it.
    pub id: WalletId,
}

/// Whose balance it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Owner {
    /// A user's own.
    User(UserNo),
    /// A pool of the tenant, by its number.
    Pool(u64),
}

impl WalletKey {
    /// The key of the one wallet of this owner and unit.
    pub fn derive(tenant: TenantNo, owner: Owner, unit: &Unit) -> WalletKey {
        let mut hasher = blake3::Hasher::new();
        let (kind, no) = match owner {
            Owner::User(user) => (1_u8, user.0),
            Owner::Pool(pool) => (2, pool),
        };
        hasher.update(b"purser wallet 1");
        hasher.update(&tenant.0.to_be_bytes()).update(&[kind]).update(&no.to_be_bytes());
        hasher.update(unit.code.as_str().as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        WalletKey { tenant, id: WalletId(Id::from_bytes(id)) }
    }
}

/// What became of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum HoldState {
    /// It pins credits.
    Active = 1,
    /// It was charged.
    Captured = 2,
    /// It was given up.
    Released = 3,
    /// Its time ran out.
    Expired = 4,
}

impl HoldState {
    /// The state with this number.
    pub fn from_number(number: u8) -> Option<HoldState> {
        [HoldState::Active, HoldState::Captured, HoldState::Released, HoldState::Expired]
            .get(usize::from(number).checked_sub(1)?)
            .copied()
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            HoldState::Active => "active",
            HoldState::Captured => "captured",
            HoldState::Released => "released",
            HoldState::Expired => "expired",
        }
    }
}

/// What a hold pins in one lot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pin {
    /// The lot.
    pub lot: LotId,
    /// How much of it.
    pub amount: Amount,
}

/// Credits reserved before work of unknown cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Its id; the debit of its capture has the same number.
    pub id: Id,
    /// What became of it.
    pub state: HoldState,
    /// The expected charge and the times, as placed or last extended.
    pub terms: HoldTerms,
    /// The user it was placed for.
    pub user: Option<UserNo>,
    /// What it pins, in the order it was taken; empty once closed.
    pub pins: Vec<Pin>,
    /// What was pinned when it closed, or is pinned now.
    pub held: Amount,
    /// What the capture charged.
    pub captured: Amount,
    /// When it was placed.
    pub placed_at: Timestamp,
}

/// Credit owed: spent or taken back beyond what was there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Debt {
    /// The entry that made it.
    pub seq: u64,
    /// What that entry was: a debit, a capture or a reversal.
    pub cause: EntryKind,
    /// The debit, hold or cause that entry belongs to.
    pub subject: Id,
    /// The top-up whose reversal made it.
    pub origin: Option<Id>,
    /// What is still owed.
    pub amount: Amount,
}

/// Credit of one lot set aside by one cause.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Freeze {
    /// The dispute or refund of money.
    pub cause: CauseId,
    /// The lot.
    pub lot: LotId,
    /// How much of it is to be frozen in all.
    pub wanted: Amount,
    /// How much of it is frozen now.
    pub taken: Amount,
}

/// One balance of one unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wallet {
    /// Its key.
    pub key: WalletKey,
    /// Whose it is.
    pub owner: Owner,
    /// What it counts.
    pub unit: Unit,
    /// The number of its entries.
    pub seq: u64,
    /// The hash of its last entry; of its identity before the first.
    pub head: Digest,
    /// When its last entry was recorded.
    pub recorded_at: Timestamp,
    /// Sum of its entries = Σ remaining of lots − debt.
    pub settled: Amount,
    /// Pinned by active holds.
    pub held: Amount,
    /// Set aside by open freezes.
    pub frozen: Amount,
    /// Owed.
    pub debt: Amount,
    /// The amount of its last paid grant: what the balance bar is measured against.
    pub last_topup: Amount,
    /// Lots in burn order. Those of which nothing remains may be absent, unless a command needs them.
    pub lots: Vec<Lot>,
    /// Holds by id. Those which are closed may be absent, unless a command needs them.
    pub holds: Vec<Hold>,
    /// What is owed, oldest first.
    pub debts: Vec<Debt>,
    /// Open freezes, oldest first.
    pub freezes: Vec<Freeze>,
    due_from: DueFrom,
}

/// Nothing is due before this instant; what is due is looked for only from here on. A lower bound that saves work: it
/// says nothing about the wallet, so it plays no part in comparisons.
#[derive(Clone, Copy, Debug)]
struct DueFrom(Timestamp);

impl PartialEq for DueFrom {
    fn eq(&self, _: &DueFrom) -> bool {
        true
    }
}

impl Eq for DueFrom {}

impl Wallet {
    /// The wallet of this owner and unit before its first entry.
    pub fn new(tenant: TenantNo, owner: Owner, unit: Unit) -> Wallet {
        let key = WalletKey::derive(tenant, owner, &unit);
        Wallet {
            key,
            owner,
            head: crate::chain::genesis(key, &unit),
            unit,
            seq: 0,
            recorded_at: Timestamp::ZERO,
            settled: Amount::ZERO,
            held: Amount::ZERO,
            frozen: Amount::ZERO,
            debt: Amount::ZERO,
            last_topup: Amount::ZERO,
            lots: Vec::new(),
            holds: Vec::new(),
            debts: Vec::new(),
            freezes: Vec::new(),
            due_from: DueFrom(Timestamp::NEVER),
        }
    }

    /// Completes a wallet whose fields came from rows: orders its parts and finds when something is due next.
    ///
    /// # Errors
    /// Names the equation of law 2 that the rows do not satisfy: the store is damaged and must not be written.
    pub fn restore(mut self) -> Result<Wallet, &'static str> {
        self.lots.sort_by_key(Lot::burn_key);
        self.holds.sort_by_key(|hold| hold.id);
        self.debts.sort_by_key(|debt| debt.seq);
        self.refresh_due();
        crate::audit::equations(&self)?;
        Ok(self)
    }

    /// The lot with this id, if it is loaded.
    pub fn lot(&self, id: LotId) -> Option<&Lot> {
        self.lots.iter().find(|lot| lot.terms.id == id)
    }

    /// The hold with this id, if it is loaded.
    pub fn hold(&self, id: Id) -> Option<&Hold> {
        self.holds.binary_search_by_key(&id, |hold| hold.id).ok().map(|index| &self.holds[index])
    }

    /// Adds a lot that a command needs although nothing remains of it.
    pub fn load_lot(&mut self, lot: Lot) {
        if self.lot(lot.terms.id).is_none() {
            self.insert_lot(lot);
        }
    }

    /// Adds a closed hold that a command names.
    pub fn load_hold(&mut self, hold: Hold) {
        if let Err(index) = self.holds.binary_search_by_key(&hold.id, |known| known.id) {
            self.holds.insert(index, hold);
        }
    }

    /// Forgets lots of which nothing remains and holds that are closed: they change only when a command names them.
    pub fn prune(&mut self) {
        self.lots.retain(|lot| lot.remaining.is_positive());
        self.holds.retain(|hold| hold.state == HoldState::Active);
    }

    /// Forgets captured and released holds: no entry can ever name them again, except a refund, which needs no hold.
    pub fn forget_final_holds(&mut self) {
        self.holds.retain(|hold| matches!(hold.state, HoldState::Active | HoldState::Expired));
    }

    /// Whether something may be due at `now`: a hold or lot ran out, or a lot became effective while there is debt.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.due_from.0
    }

    /// What can be spent at `now`, less what is owed; meaningful when nothing is due.
    pub fn available(&self, now: Timestamp) -> Amount {
        let spendable: Amount = self.lots.iter().filter(|lot| lot.is_live(now)).map(Lot::spendable).sum();
        spendable - self.debt
    }

    /// Looks for the next instant at which something becomes due, after what was due has been booked.
    pub(crate) fn refresh_due(&mut self) {
        let holds = self
            .holds
            .iter()
            .filter(|hold| hold.state == HoldState::Active)
            .map(|hold| hold.terms.expires_at);
        // What is pinned in an expired lot is dealt with when the pin goes, not by waiting.
        let open = self.lots.iter().filter(|lot| lot.remaining.is_positive());
        let waiting = open.filter(|lot| lot.spendable().is_positive() || !lot.is_expired(self.recorded_at));
        let lots = waiting.filter_map(|lot| self.next_instant_of(lot));
        self.due_from = DueFrom(holds.chain(lots).min().unwrap_or(Timestamp::NEVER));
    }

    /// Something may become due at `at`.
    fn expect_due(&mut self, at: Timestamp) {
        self.due_from = DueFrom(self.due_from.0.min(at));
    }

    /// The next instant that matters for a lot: it becomes effective (and may repay debt), or expires.
    fn next_instant_of(&self, lot: &Lot) -> Option<Timestamp> {
        // Where a sweep stopped between instants, a lot may be effective already and have debt to repay all the same.
        let repays = self.debt.is_positive() && lot.spendable().is_positive();
        let effective_at = Some(lot.terms.effective_at).filter(|at| repays || *at > self.recorded_at);
        effective_at.or(lot.terms.expires_at)
    }

    fn insert_lot(&mut self, lot: Lot) {
        let place = self.lots.partition_point(|known| known.burn_key() < lot.burn_key());
        self.lots.insert(place, lot);
    }
}
