//! Lots and the published order in which they burn.

use crate::amount::{Amount, money_left};
use crate::entry::{GrantKind, LotTerms};
use crate::id::LotId;
use crate::time::Timestamp;

/// What remains of one grant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lot {
    /// The terms it was made under.
    pub terms: LotTerms,
    /// What is left of it: remaining ≥ held + frozen.
    pub remaining: Amount,
    /// Pinned by holds.
    pub held: Amount,
    /// Set aside by freezes.
    pub frozen: Amount,
    /// Money that has not left with credits yet, in minor units.
    pub money: i64,
    /// What expired of it unspent and was not reversed.
    pub expired: Amount,
    /// The breakage money of that.
    pub expired_money: i64,
}

/// The sort key of the burn order.
pub type BurnKey = (i32, Timestamp, GrantKind, Timestamp, LotId);

impl Lot {
    /// An empty lot under these terms; its first allocation fills it.
    pub fn new(terms: LotTerms) -> Lot {
        Lot {
            terms,
            remaining: Amount::ZERO,
            held: Amount::ZERO,
            frozen: Amount::ZERO,
            money: 0,
            expired: Amount::ZERO,
            expired_money: 0,
        }
    }

    /// Burn order: lower priority, sooner expiry (never last), promotional before paid, earlier effective, older.
    pub fn burn_key(&self) -> BurnKey {
        let terms = &self.terms;
        (
            terms.priority,
            terms.expires_at.unwrap_or(Timestamp::NEVER),
            terms.kind,
            terms.effective_at,
            terms.id,
        )
    }

    /// What neither a hold nor a freeze has taken.
    pub fn spendable(&self) -> Amount {
        self.remaining - self.held - self.frozen
    }

    /// Whether its credits count at `now`: effective and not expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.terms.effective_at <= now && !self.is_expired(now)
    }

    /// Whether its time has run out at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.terms.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// The money that leaves with `amount` more of it: cumulative rounding, so that the lot's money adds up exactly.
    pub fn money_of(&self, amount: Amount) -> i64 {
        if amount.is_zero() {
            // A lot that is ahead of the schedule gives its minor unit to whoever takes credit, not to a freed pin.
            return 0;
        }
        let paid = self.terms.paid.map_or(0, |money| money.minor);
        let after = money_left(paid, self.terms.granted, self.remaining - amount);
        // A refund may have put the money back a minor unit ahead of the schedule; it never owes the lot any.
        (self.money - after).max(0)
    }
}
