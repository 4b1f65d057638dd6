//! What happens to credits when their money is disputed or goes back: freeze, thaw, reverse, reinstate.
//!
//! All four act on every open lot of one purchase inside the tenant: the paid lots, then the bonus lots, then what
//! was split from either by transfers and refunds.

use super::Done;
use super::draft::{Draft, Line};
use super::refund::{Expired, GiveBack, find_entry, owed, parts_newest_first};
use crate::amount::Amount;
use crate::command::{Freeze, Reverse};
use crate::entry::{Allocation, Breakage, Entry, EntryKind, GrantKind, Terms};
use crate::id::{CauseId, Id, LotId};
use crate::receipt::Detail;
use crate::rejection::Rejection;
use crate::wallet::Lot;

/// Sets credits of a purchase aside: what is free at once, the rest as pins release it or refunds bring it back.
pub(super) fn freeze(draft: &mut Draft<'_, '_>, freeze: Freeze) -> Result<Done, Rejection> {
    if !freeze.amount.is_positive() {
        return Err(Rejection::AmountNotPositive);
    }
    let lots = lots_of(draft, freeze.origin);
    if lots.is_empty() {
        return Err(Rejection::GrantNotFound);
    }
    let known =
        (0..draft.wallets.len()).any(|wallet| draft.history_of(wallet, freeze.cause).next().is_some());
    if known {
        return Err(Rejection::CauseRepeated);
    }
    prepare_all(draft);
    let mut wants =
        Wants { rest: freeze.amount, of: lots.iter().map(|_| (Amount::ZERO, Amount::ZERO)).collect() };
    wants.take(draft, &lots, |_, lot| lot.spendable(), true);
    // What is pinned or spent is wanted all the same: it may come free again.
    wants.take(draft, &lots, |draft_wants, lot| lot.held - draft_wants.least(lot.held), false);
    wants.take(
        draft,
        &lots,
        |draft_wants, lot| {
            let gone = lot.terms.granted - lot.remaining - lot.expired;
            let pinned = draft_wants.least(lot.held);
            Amount((gone - (draft_wants - pinned)).0.max(0))
        },
        false,
    );
    let frozen: Amount = wants.of.iter().map(|(taken, _)| *taken).sum();
    let mut entry = Id(0);
    let mut about = 0;
    for wallet in (0..draft.wallets.len()).rev() {
        let mine = || lots.iter().zip(&wants.of).filter(|(lot, _)| lot.wallet == wallet);
        let wanted: Vec<(LotId, Amount)> = mine()
            .map(|(lot, (taken, later))| (lot.id, *taken + *later))
            .filter(|(_, wanted)| wanted.is_positive())
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let taken = mine().filter(|(_, (taken, _))| taken.is_positive());
        let allocations =
            taken.map(|(lot, (taken, _))| Allocation { frozen: *taken, ..Allocation::lot(lot.id) }).collect();
        let terms = Terms::Freeze { wants: wanted };
        entry = draft
            .book(wallet, Line { kind: EntryKind::Freeze, subject: freeze.cause, allocations, terms })
            .id();
        about = wallet;
    }
    Ok(done(about, freeze.cause, frozen, entry))
}

/// Ends a freeze: what it took is spendable again, or expires at once if its time has run out.
pub(super) fn thaw(draft: &mut Draft<'_, '_>, cause: CauseId) -> Result<Done, Rejection> {
    let known = draft.wallets.iter().any(|wallet| wallet.freezes.iter().any(|freeze| freeze.cause == cause));
    if !known {
        return Err(Rejection::CauseNotFound);
    }
    prepare_all(draft);
    let (amount, about, entry) = thaw_all(draft, cause);
    Ok(done(about, cause, amount, entry))
}

/// Takes credits back because the money went back: what is frozen for this cause, free credit, what had expired unspent;
/// what is spent or pinned becomes debt of the wallet that bought.
pub(super) fn reverse(draft: &mut Draft<'_, '_>, reverse: Reverse) -> Result<Done, Rejection> {
    if !reverse.amount.is_positive() {
        return Err(Rejection::AmountNotPositive);
    }
    let buyer = draft
        .wallets
        .iter()
        .position(|wallet| wallet.key.id == reverse.buyer)
        .ok_or(Rejection::WalletNotFound)?;
    let lots = lots_of(draft, reverse.origin);
    if lots.is_empty() {
        return Err(Rejection::GrantNotFound);
    }
    let repeated =
        (0..draft.wallets.len()).any(|wallet| find_entry(draft, wallet, reverse.cause, is_reverse).is_some());
    if repeated {
        return Err(Rejection::CauseRepeated);
    }
    prepare_all(draft);
    draft.wallets[buyer].settled.checked_add(-reverse.amount).ok_or(Rejection::AmountOverflow)?;
    let plan = Plan::new(draft, &lots, reverse);
    let mut about = (buyer, Id(0));
    for wallet in 0..draft.wallets.len() {
        let (mut allocations, breakage) = plan.of_wallet(draft, &lots, wallet);
        if wallet == buyer && plan.owed.is_positive() {
            allocations.push(Allocation::debt(draft.next_seq(wallet), plan.owed));
        }
        if allocations.is_empty() && breakage.is_empty() {
            continue;
        }
        let terms = Terms::Reverse { origin: reverse.origin, breakage };
        let line = Line { kind: EntryKind::Reverse, subject: reverse.cause, allocations, terms };
        let entry = draft.book(wallet, line).id();
        if wallet == buyer || about.1 == Id(0) {
            about = (wallet, entry);
        }
    }
    // A freeze for more than was reversed in the end is over, too.
    thaw_all(draft, reverse.cause);
    Ok(done(about.0, reverse.cause, reverse.amount, about.1))
}

/// Undoes one reversal exactly.
pub(super) fn reinstate(draft: &mut Draft<'_, '_>, cause: CauseId) -> Result<Done, Rejection> {
    let find = |wanted: fn(&Entry) -> bool| {
        (0..draft.wallets.len())
            .filter(|wallet| find_entry(draft, *wallet, cause, wanted).is_some())
            .collect::<Vec<_>>()
    };
    let reversed = find(is_reverse);
    if reversed.is_empty() {
        return Err(Rejection::CauseNotFound);
    }
    if !find(|entry| entry.kind == EntryKind::Reinstate).is_empty() {
        return Err(Rejection::CauseRepeated);
    }
    prepare_all(draft);
    let mut total = Amount::ZERO;
    let mut about = (0, Id(0));
    for wallet in reversed {
        let entry = find_entry(draft, wallet, cause, is_reverse).expect("found above");
        let (seq, breakage) = match &entry.terms {
            Terms::Reverse { breakage, .. } => (entry.seq, breakage.clone()),
            _ => unreachable!("a reversal has the terms of one"),
        };
        let amount = -entry.amount;
        let mut back = GiveBack::default();
        let from_debt = owed(draft, wallet, seq);
        back.lower_debt(seq, from_debt);
        let parts = parts_newest_first(draft, wallet, cause, seq, EntryKind::Reinstate);
        let (repaid, own): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.seq != seq);
        let rest = back.parts(draft, wallet, &repaid, amount - from_debt, Expired::Grace);
        let rest = back.parts(draft, wallet, &own, rest, Expired::Same);
        assert!(rest.is_zero(), "a reversal is owed, repaid or taken from lots");
        let GiveBack { allocations, returned, lots } = back;
        total += amount + breakage.iter().map(|part| part.amount).sum::<Amount>();
        let terms = Terms::Reinstate { returned, lots, breakage };
        let entry =
            draft.book(wallet, Line { kind: EntryKind::Reinstate, subject: cause, allocations, terms }).id();
        if about.1 == Id(0) {
            about = (wallet, entry);
        }
    }
    Ok(done(about.0, cause, total, about.1))
}

/// A lot of the purchase and the wallet it is in.
struct Place {
    wallet: usize,
    id: LotId,
}

/// The loaded lots of a purchase: paid, then bonus, then descendants; the older first.
fn lots_of(draft: &Draft<'_, '_>, origin: Id) -> Vec<Place> {
    let class = |lot: &Lot| match (lot.terms.parent, lot.terms.kind) {
        (None, GrantKind::Paid) => 0,
        (None, GrantKind::Promotional | GrantKind::Adjustment) => 1,
        (Some(_), _) => 2,
    };
    let mut places: Vec<(i32, Place)> = Vec::new();
    for (wallet, state) in draft.wallets.iter().enumerate() {
        let mine = state.lots.iter().filter(|lot| lot.terms.origin == Some(origin));
        places.extend(mine.map(|lot| (class(lot), Place { wallet, id: lot.terms.id })));
    }
    places.sort_by_key(|(class, place)| (*class, place.id));
    places.into_iter().map(|(_, place)| place).collect()
}

fn lot<'d>(draft: &'d Draft<'_, '_>, place: &Place) -> &'d Lot {
    draft.wallets[place.wallet].lot(place.id).expect("just listed")
}

/// How much of each lot is frozen now, and how much is wanted later.
struct Wants {
    rest: Amount,
    of: Vec<(Amount, Amount)>,
}

impl Wants {
    /// Spreads what is still wanted over the lots by their `capacity`, which is told what other causes and earlier
    /// rounds still want of the lot.
    fn take(
        &mut self,
        draft: &Draft<'_, '_>,
        lots: &[Place],
        capacity: impl Fn(Amount, &Lot) -> Amount,
        now: bool,
    ) {
        for (place, (taken, later)) in lots.iter().zip(&mut self.of) {
            let open = draft.wallets[place.wallet].freezes.iter().filter(|freeze| freeze.lot == place.id);
            let wanted = open.map(|freeze| freeze.wanted - freeze.taken).sum::<Amount>() + *later;
            let part = capacity(wanted, lot(draft, place)).least(self.rest);
            self.rest -= part;
            if now {
                *taken += part;
            } else {
                *later += part;
            }
        }
    }
}

/// Where the credits of a reversal come from.
struct Plan {
    /// By lot: taken from what is frozen for the cause, taken from what is free, expired unspent.
    of: Vec<(Amount, Amount, Amount)>,
    /// What becomes debt.
    owed: Amount,
}

impl Plan {
    fn new(draft: &Draft<'_, '_>, lots: &[Place], reverse: Reverse) -> Plan {
        let mut rest = reverse.amount;
        let mut round = |capacity: &dyn Fn(&Place) -> Amount| {
            let parts: Vec<Amount> = lots
                .iter()
                .map(|place| {
                    let part = capacity(place).least(rest);
                    rest -= part;
                    part
                })
                .collect();
            parts
        };
        let frozen = round(&|place| {
            let freezes = &draft.wallets[place.wallet].freezes;
            let mine = freezes.iter().find(|freeze| freeze.cause == reverse.cause && freeze.lot == place.id);
            mine.map_or(Amount::ZERO, |freeze| freeze.taken)
        });
        let free = round(&|place| lot(draft, place).spendable());
        let expired = round(&|place| lot(draft, place).expired);
        let of = frozen
            .into_iter()
            .zip(free)
            .zip(expired)
            .map(|((frozen, free), expired)| (frozen, free, expired));
        Plan { of: of.collect(), owed: rest }
    }

    fn of_wallet(
        &self,
        draft: &Draft<'_, '_>,
        lots: &[Place],
        wallet: usize,
    ) -> (Vec<Allocation>, Vec<Breakage>) {
        let mut allocations = Vec::new();
        let mut breakage = Vec::new();
        for (place, &(frozen, free, expired)) in
            lots.iter().zip(&self.of).filter(|(place, _)| place.wallet == wallet)
        {
            let lot = lot(draft, place);
            let taken = frozen + free;
            if taken.is_positive() {
                let money = -lot.money_of(taken);
                allocations.push(Allocation {
                    amount: -taken,
                    frozen: -frozen,
                    money,
                    ..Allocation::lot(place.id)
                });
            }
            if expired.is_positive() {
                let money = i128::from(lot.expired_money) * i128::from(expired.0) / i128::from(lot.expired.0);
                let money = i64::try_from(money).expect("at most the lot's breakage money");
                breakage.push(Breakage { lot: place.id, amount: expired, money });
            }
        }
        (allocations, breakage)
    }
}

/// Ends what is left of the cause's freezes everywhere; answers how much, and the first wallet and entry.
fn thaw_all(draft: &mut Draft<'_, '_>, cause: CauseId) -> (Amount, usize, Id) {
    let mut total = Amount::ZERO;
    let mut about = (0, Id(0));
    for wallet in 0..draft.wallets.len() {
        let mine: Vec<_> =
            draft.wallets[wallet].freezes.iter().filter(|freeze| freeze.cause == cause).copied().collect();
        if mine.is_empty() {
            continue;
        }
        let taken = mine.iter().filter(|freeze| freeze.taken.is_positive());
        let allocations: Vec<_> =
            taken.map(|freeze| Allocation { frozen: -freeze.taken, ..Allocation::lot(freeze.lot) }).collect();
        total += mine.iter().map(|freeze| freeze.taken).sum::<Amount>();
        let line = Line { kind: EntryKind::Thaw, subject: cause, allocations, terms: Terms::None };
        let entry = draft.book(wallet, line).id();
        if about.1 == Id(0) {
            about = (wallet, entry);
        }
    }
    (total, about.0, about.1)
}

fn prepare_all(draft: &mut Draft<'_, '_>) {
    for wallet in 0..draft.wallets.len() {
        draft.prepare(wallet);
    }
}

fn is_reverse(entry: &Entry) -> bool {
    entry.kind == EntryKind::Reverse
}

fn done(wallet: usize, cause: CauseId, amount: Amount, entry: Id) -> Done {
    Done { wallet, id: cause, amount, entry, detail: Detail::Plain, peer: None }
}
