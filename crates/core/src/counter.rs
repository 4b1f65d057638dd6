//! Counters: how much was used under one rule in one period.
//!
//! A rule is a limit (`limit.rs`), which counts amounts, or a metered price ([`crate::pricing::Meter`]), which counts what a
//! tenant used of an action. A charge names the counters that it counts in, so that whatever becomes of it later (capture,
//! release, refund) is counted where it began, and the ledger alone says what every counter is. Which those are is decided
//! here ([`applying`]), and so is how an entry moves them ([`changes`]); nobody else does either.

use crate::amount::Amount;
use crate::catalogue::Catalogue;
use crate::command::{Command, Debit, Movement, PlaceHold, Quote};
use crate::entry::{Charge, Entry, EntryKind, Terms, Usage};
use crate::id::{Id, TenantNo, UserNo};
use crate::key::Key;
use crate::pricing::Meter;
use crate::time::{DAY, Timestamp};
use crate::wallet::{HoldState, Wallet};

/// The stretch of time that a counter counts over. The numbers are part of stored prices and limits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Period {
    /// From midnight to midnight, UTC.
    Day = 1,
    /// From Monday to Monday.
    Week = 2,
    /// A month of the calendar.
    Month = 3,
}

impl Period {
    /// All of them.
    pub const ALL: [Period; 3] = [Period::Day, Period::Week, Period::Month];

    /// The period with this number.
    pub fn from_number(number: u8) -> Option<Period> {
        Period::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }

    /// The one that `at` lies in.
    pub fn around(self, at: Timestamp) -> Span {
        let day = at.0.div_euclid(DAY);
        let (first, next) = match self {
            Period::Day => (day, day + 1),
            // Day 0 of the count was a Thursday.
            Period::Week => {
                let monday = day - (day + 3).rem_euclid(7);
                (monday, monday + 7)
            }
            Period::Month => {
                let (year, month, _) = civil(day);
                let following = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (day_of(year, month), day_of(following.0, following.1))
            }
        };
        Span { from: Timestamp(first.saturating_mul(DAY)), until: Timestamp(next.saturating_mul(DAY)) }
    }
}

/// Year, month and day of the month of a day counted from 1970-01-01, in the Gregorian calendar. Years are taken to begin in
/// March, so that the day that some of them have more is their last.
fn civil(day: i64) -> (i64, i64, i64) {
    let since = day + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// The first day of a month, counted from 1970-01-01.
fn day_of(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5;
    era * 146_097 + 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

/// One period: from an instant until just before another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant of the next one.
    pub until: Timestamp,
}

/// What a counter adds up. The numbers are part of the chain encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Measure {
    /// What is charged, in smallest parts of the unit.
    Amount = 1,
    /// What is consumed, in smallest parts of a quantity.
    Quantity = 2,
}

impl Measure {
    /// The measure with this number.
    pub fn from_number(number: u8) -> Option<Measure> {
        [Measure::Amount, Measure::Quantity].get(usize::from(number).checked_sub(1)?).copied()
    }

    /// How much a charge counts.
    pub fn of(self, charge: &Charge) -> i64 {
        match (self, &charge.usage) {
            (Measure::Amount, _) => charge.cost.0,
            (Measure::Quantity, Usage::Quantity(quantity)) => quantity.0,
            (Measure::Quantity, Usage::Dimensions(_) | Usage::Amount(_)) => 0,
        }
    }
}

/// A counter that a charge counts in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Counted {
    /// The limit, or what stands for the metered action.
    pub rule: Id,
    /// Whose usage it is: a user's, or [`EVERYBODY`]'s.
    pub subject: Id,
    /// Which period of it.
    pub span: Span,
    /// What it adds up.
    pub measure: Measure,
}

/// The subject of what all users of a tenant count in together.
pub const EVERYBODY: Id = Id(0);

impl Counted {
    /// The counter.
    pub fn key(&self, tenant: TenantNo) -> CounterKey {
        CounterKey { tenant, subject: self.subject, rule: self.rule, period_start: self.span.from }
    }
}

/// Names a counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CounterKey {
    /// The tenant.
    pub tenant: TenantNo,
    /// Whose usage.
    pub subject: Id,
    /// Under which rule.
    pub rule: Id,
    /// In which period.
    pub period_start: Timestamp,
}

/// The subject that stands for a user.
pub fn subject_of(user: UserNo) -> Id {
    // One more than the number, so that no user is everybody.
    Id(u128::from(user.0) + 1)
}

/// The user that a subject stands for; none for everybody.
pub fn user_of(subject: Id) -> Option<UserNo> {
    u64::try_from(subject.0.checked_sub(1)?).ok().map(UserNo)
}

/// The rule that stands for what a tenant uses of an action by this period.
pub fn metered_rule(action: u64, period: Period) -> Id {
    // Ids of limits are hashes: that one is so near to all ones is not to be expected.
    Id(u128::from(u64::MAX - period as u64) << 64 | u128::from(action))
}

/// The counters that a charge of a user for an action counts in at `now`: its limits by their ids, then the action's meter.
pub fn applying(
    catalogue: &Catalogue,
    who: (TenantNo, Option<UserNo>),
    action: u64,
    unit: &Key,
    meter: Option<&Meter>,
    now: Timestamp,
) -> Vec<Counted> {
    let (tenant, user) = who;
    let limits = catalogue.limits(tenant).iter().filter(|limit| limit.unit == *unit);
    let mut all: Vec<Counted> = limits.filter_map(|limit| limit.counted(user, action, now)).collect();
    all.extend(meter.map(|meter| metered(action, meter, now)));
    all
}

fn metered(action: u64, meter: &Meter, now: Timestamp) -> Counted {
    Counted {
        rule: metered_rule(action, meter.period),
        subject: EVERYBODY,
        span: meter.period.around(now),
        measure: Measure::Quantity,
    }
}

/// The counters whose values a decision at `now` looks at. Those of debits and holds are known without their wallets.
pub fn looked_at(
    catalogue: &Catalogue,
    wallets: &[Wallet],
    command: &Command,
    now: Timestamp,
) -> Vec<CounterKey> {
    let mut keys: Vec<CounterKey> = match &command.movement {
        Movement::Debit(_) | Movement::PlaceHold(_) if !catalogue.counts(command.tenant) => {
            return Vec::new();
        }
        Movement::Debit(Debit { action, quote, .. })
        | Movement::PlaceHold(PlaceHold { action, quote, .. }) => {
            asked(catalogue, command, *action, quote.as_ref(), now)
        }
        Movement::ExtendHold(extend) => of_hold(wallets, extend.hold),
        Movement::CaptureHold(capture) => of_hold(wallets, capture.hold),
        _ => Vec::new(),
    };
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn asked(
    catalogue: &Catalogue,
    command: &Command,
    action_no: u64,
    quote: Option<&Quote>,
    now: Timestamp,
) -> Vec<CounterKey> {
    let tenant = command.tenant;
    let limits = catalogue.limits(tenant).iter();
    let mut keys: Vec<CounterKey> = limits
        .filter_map(|limit| limit.counted(command.user, action_no, now))
        .map(|counted| counted.key(tenant))
        .collect();
    let Some(action) = catalogue.action(action_no) else { return keys };
    let promised = match quote {
        Some(Quote::Promise(promise)) => Some(promise.price),
        _ => None,
    };
    let in_force = action
        .units
        .iter()
        .filter_map(|unit| catalogue.price_at(tenant, action, unit, command.occurred_at))
        .chain(promised.and_then(|price| catalogue.price(tenant, action, price)));
    let meters = in_force.filter_map(|price| price.model.meter());
    keys.extend(meters.map(|meter| metered(action_no, meter, now).key(tenant)));
    keys
}

fn of_hold(wallets: &[Wallet], hold: Id) -> Vec<CounterKey> {
    let found = wallets.iter().find_map(|wallet| Some((wallet.key.tenant, wallet.hold(hold)?)));
    let Some((tenant, hold)) = found else { return Vec::new() };
    hold.terms.charge.counted.iter().map(|counted| counted.key(tenant)).collect()
}

/// How an entry moves counters, given its wallet before it. What a refund gives back depends on the debit as well:
/// [`given_back`].
pub fn changes(before: &Wallet, entry: &Entry, mut tell: impl FnMut(CounterKey, i64)) {
    let hold = |active: bool| {
        let hold = before.hold(entry.subject).filter(|hold| !active || hold.state == HoldState::Active);
        hold.map(|hold| &hold.terms.charge)
    };
    let (less, more) = match (entry.kind, &entry.terms) {
        (EntryKind::Debit, Terms::Charge(charge)) => (None, Some(charge)),
        (EntryKind::Hold, Terms::Hold(terms)) => (None, Some(&terms.charge)),
        (EntryKind::Extend, Terms::Hold(terms)) => (hold(false), Some(&terms.charge)),
        // What an expired hold counted was taken back when it expired.
        (EntryKind::Capture, Terms::Charge(charge)) => (hold(true), Some(charge)),
        (EntryKind::Release | EntryKind::HoldExpire, _) => (hold(false), None),
        _ => return,
    };
    let Some(charge) = more.or(less) else { return };
    for counted in &charge.counted {
        let value = |charge: Option<&Charge>| charge.map_or(0, |charge| counted.measure.of(charge));
        let change = value(more) - value(less);
        if change != 0 {
            tell(counted.key(entry.wallet.tenant), change);
        }
    }
}

/// How a refund at `at` moves the counters of its debit: only those whose period it still is. Amounts go back with each part,
/// the quantity once all of the debit is given back.
pub fn given_back(
    tenant: TenantNo,
    charge: &Charge,
    amount: Amount,
    is_all: bool,
    at: Timestamp,
    mut tell: impl FnMut(CounterKey, i64),
) {
    for counted in charge.counted.iter().filter(|counted| at < counted.span.until) {
        let change = match counted.measure {
            Measure::Amount => amount.0,
            Measure::Quantity if is_all => counted.measure.of(charge),
            Measure::Quantity => 0,
        };
        if change != 0 {
            tell(counted.key(tenant), -change);
        }
    }
}

/// The value of a counter; nothing was counted in one that is not there.
pub(crate) fn value(counters: &[(CounterKey, i64)], key: CounterKey) -> i64 {
    counters.iter().find(|(known, _)| *known == key).map_or(0, |(_, used)| *used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Days from 1970-01-01, counted by hand (or by any calendar).
    #[test]
    fn periods_are_those_of_the_calendar() {
        let cases = [
            // Thursday, 1 January 1970.
            (Period::Week, 0, -3, 4),
            (Period::Month, 0, 0, 31),
            // 29 February 2000, a Tuesday.
            (Period::Day, 11_016, 11_016, 11_017),
            (Period::Week, 11_016, 11_015, 11_022),
            (Period::Month, 11_016, 10_988, 11_017),
            // 31 December 2026, a Thursday; 1 January 2027.
            (Period::Week, 20_818, 20_815, 20_822),
            (Period::Month, 20_818, 20_788, 20_819),
            (Period::Month, 20_819, 20_819, 20_850),
            // 28 February 2100 is the last of its month.
            (Period::Month, 47_540, 47_513, 47_541),
            // 31 December 1969.
            (Period::Month, -1, -31, 0),
        ];
        for (period, day, from, until) in cases {
            for instant in [day * DAY, day * DAY + DAY - 1] {
                let span = period.around(Timestamp(instant));
                assert_eq!((span.from.0 / DAY, span.until.0 / DAY), (from, until), "{period:?} of {day}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_instant_lies_in_its_period_and_periods_follow_each_other(at in -3_000_000 * DAY..=3_000_000 * DAY) {
            for period in Period::ALL {
                let span = period.around(Timestamp(at));
                prop_assert!(span.from.0 <= at && at < span.until.0);
                prop_assert_eq!(period.around(span.from), span);
                prop_assert_eq!(period.around(Timestamp(span.until.0 - 1)), span);
                prop_assert_eq!(period.around(span.until).from, span.until);
                let days = (span.until.0 - span.from.0) / DAY;
                let lasts = match period {
                    Period::Day => 1..=1,
                    Period::Week => 7..=7,
                    Period::Month => 28..=31,
                };
                prop_assert!(lasts.contains(&days));
            }
        }
    }

    #[test]
    fn rules_of_metered_actions_are_their_own() {
        let mut seen = std::collections::BTreeSet::new();
        for action in [0, 1, 2, u64::MAX >> 2, u64::MAX] {
            for period in Period::ALL {
                assert!(seen.insert(metered_rule(action, period)), "{action} {period:?}");
            }
        }
    }
}
