//! Limits: at most so many credits in a day, week or month.
//!
//! A limit is for one tenant and one unit. It may name a user, an action or both; one that names no user is for all users
//! together, or for each of them. Strict debits and holds that would pass it are refused; what is settled passes it and
//! counts all the same. Whoever reaches a share of one is told of by an alert; a limit may be there for that alone.

use crate::amount::Amount;
use crate::counter::{Counted, EVERYBODY, Measure, Period, subject_of};
use crate::id::{Id, TenantNo, UserNo};
use crate::key::Key;
use crate::time::Timestamp;

/// Limits that one tenant may have.
pub const LIMITS_MAX: usize = 100;

/// Shares of one limit at which somebody is told.
pub const ALERTS_MAX: usize = 10;

/// A share of a limit was reached: what a charge that brought it there makes known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Alert {
    /// The limit, which is one of the charge's counters as well.
    pub limit: Id,
    /// The share, in percent.
    pub percent: u8,
    /// What counts against it with this charge.
    pub used: Amount,
    /// What it allowed at that time.
    pub amount: Amount,
}

/// Whose usage a limit counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Whose {
    /// That of all users of the tenant together.
    Everybody,
    /// That of each user by itself.
    Each,
    /// That of one user.
    User(UserNo),
}

/// At most so many credits in a period.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Names it and its counters: [`Limit::id_of`] what it is about.
    pub id: Id,
    /// The tenant.
    pub tenant: TenantNo,
    /// Whose usage.
    pub whose: Whose,
    /// Of this action only.
    pub action: Option<u64>,
    /// What is paid in this unit.
    pub unit: Key,
    /// The most, in smallest parts of the unit.
    pub amount: Amount,
    /// In which time.
    pub period: Period,
    /// Whether what would pass it is refused; else it only counts, and alerts.
    pub enforced: bool,
    /// At which shares somebody is told, in percent, ascending.
    pub alert_at: Vec<u8>,
}

impl Limit {
    /// The shares that are reached where what counts goes from `before` to `after`: those that were not before.
    pub fn alerts(&self, before: Amount, after: Amount) -> impl Iterator<Item = Alert> {
        let reached = move |used: Amount, percent: u8| {
            i128::from(used.0) * 100 >= i128::from(self.amount.0) * i128::from(percent)
        };
        let newly = move |percent: &u8| !reached(before, *percent) && reached(after, *percent);
        let alert = move |percent| Alert { limit: self.id, percent, used: after, amount: self.amount };
        self.alert_at.iter().copied().filter(newly).map(alert)
    }

    /// The id of the one limit about this. The amount plays no part: when it is changed, its counters go on.
    pub fn id_of(tenant: TenantNo, whose: Whose, action: Option<u64>, unit: &Key, period: Period) -> Id {
        let (kind, user) = match whose {
            Whose::Everybody => (1_u8, 0),
            Whose::Each => (2, 0),
            Whose::User(user) => (3, user.0),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"purser limit 1").update(&tenant.0.to_be_bytes());
        hasher.update(&[kind, period as u8, u8::from(action.is_some())]);
        hasher.update(&user.to_be_bytes()).update(&action.unwrap_or(0).to_be_bytes());
        hasher.update(unit.as_str().as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Id::from_bytes(id)
    }

    /// The counter in which it counts what a user consumes of an action at `now`; none where it is not about that.
    pub fn counted(&self, user: Option<UserNo>, action: u64, now: Timestamp) -> Option<Counted> {
        if self.action.is_some_and(|only| only != action) {
            return None;
        }
        let subject = match (self.whose, user) {
            (Whose::Everybody, _) => EVERYBODY,
            (Whose::Each, Some(user)) => subject_of(user),
            (Whose::User(only), Some(user)) if only == user => subject_of(user),
            (Whose::Each | Whose::User(_), _) => return None,
        };
        let span = self.period.around(now);
        Some(Counted { rule: self.id, subject, span, measure: Measure::Amount })
    }
}
