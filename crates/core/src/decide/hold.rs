//! Holds: credits pinned before work of unknown cost, and what becomes of them.

use super::draft::{Draft, Line};
use super::spend::{self, Ask};
use super::{Done, HOLD_MAX, HOLD_MIN, due};
use crate::amount::Amount;
use crate::catalogue::Overage;
use crate::command::{CaptureHold, ExtendHold, PlaceHold};
use crate::entry::{Allocation, Charge, EntryKind, HoldTerms, Target, Terms, Usage};
use crate::id::Id;
use crate::receipt::Detail;
use crate::rejection::Rejection;
use crate::time::Timestamp;
use crate::wallet::{Hold, HoldState, Wallet};

/// Pins the expected cost, strictly.
pub(super) fn place(draft: &mut Draft<'_, '_>, place: &PlaceHold) -> Result<Done, Rejection> {
    check_duration(place.expires_in)?;
    let ask = Ask {
        action: place.action,
        usage: &place.usage,
        unit: &place.unit,
        wallet: place.wallet,
        settle: false,
        quote: place.quote.as_ref(),
    };
    let (wallet, mut charge) = spend::fund(draft, &ask)?;
    let allocations = pin(&draft.wallets[wallet], charge.cost, draft.now);
    spend::limit(&allocations)?;
    ask.confirmed(draft, wallet, &charge)?;
    charge.alerts = draft.alerts(wallet, &charge.counted, charge.cost);
    let id = draft.command.id;
    let held = charge.cost;
    let terms =
        HoldTerms { charge, expires_at: draft.now.plus(place.expires_in), ends_at: draft.now.plus(HOLD_MAX) };
    let line = Line { kind: EntryKind::Hold, subject: id, allocations, terms: Terms::Hold(terms) };
    let entry = draft.book(wallet, line).id();
    Ok(done(draft, wallet, id, held, entry))
}

/// Makes a hold longer, or larger by strictly available credit of the same wallet.
pub(super) fn extend(draft: &mut Draft<'_, '_>, extend: &ExtendHold) -> Result<Done, Rejection> {
    if let Some(expires_in) = extend.expires_in {
        check_duration(expires_in)?;
    }
    let wallet = find(draft, extend.hold)?;
    let hold = draft.wallets[wallet].hold(extend.hold).expect("found above").clone();
    let usage = extend.usage.as_ref();
    let cost = usage.map_or(Ok(hold.held), |usage| cost(draft, wallet, &hold, usage))?;
    draft.standing.require_spending()?;
    let hold = active(draft, wallet, extend.hold)?;
    let expires_at = extend.expires_in.map_or(hold.terms.expires_at, |expires_in| draft.now.plus(expires_in));
    if expires_at > hold.terms.ends_at {
        return Err(Rejection::HoldLifeExceeded);
    }
    let more = Amount((cost - hold.held).0.max(0));
    let (available, unit) =
        (draft.wallets[wallet].available(draft.now), draft.wallets[wallet].unit.code.clone());
    if let Some(passed) = draft.limit_reached(wallet, &hold.terms.charge.counted, more) {
        return Err(passed);
    }
    if more.is_positive() && available < more {
        return Err(Rejection::InsufficientCredits { required: more, available, unit, priced: None });
    }
    let allocations = pin(&draft.wallets[wallet], more, draft.now);
    spend::limit(&allocations)?;
    // A smaller expectation changes nothing: pins are given back by capture or release, not by extension.
    let cost = hold.held + more;
    let alerts = draft.alerts(wallet, &hold.terms.charge.counted, more);
    let charge = match usage.filter(|usage| grows(&hold, usage, more)) {
        Some(usage) => Charge { usage: larger(&hold, usage), cost, alerts, ..hold.terms.charge },
        None => Charge { alerts, ..hold.terms.charge },
    };
    draft.require_countable(&charge)?;
    let terms =
        HoldTerms { charge, expires_at: expires_at.max(hold.terms.expires_at), ends_at: hold.terms.ends_at };
    let line = Line { kind: EntryKind::Extend, subject: hold.id, allocations, terms: Terms::Hold(terms) };
    let entry = draft.book(wallet, line).id();
    Ok(done(draft, wallet, hold.id, more, entry))
}

/// Charges what the work really cost. Up to the held amount nothing refuses it.
pub(super) fn capture(draft: &mut Draft<'_, '_>, capture: &CaptureHold) -> Result<Done, Rejection> {
    let wallet = find(draft, capture.hold)?;
    let hold = draft.wallets[wallet].hold(capture.hold).expect("found above").clone();
    let cost = match &capture.usage {
        Some(usage) => cost(draft, wallet, &hold, usage)?,
        None => expected(draft, wallet, &hold)?,
    };
    let usage = capture.usage.clone().unwrap_or_else(|| hold.terms.charge.usage.clone());
    draft.prepare(wallet);
    let hold = draft.wallets[wallet].hold(capture.hold).expect("found above").clone();
    let (late, seq) = (hold.state == HoldState::Expired && capture.settle, draft.next_seq(wallet));
    let allocations = if late {
        draft.standing.require_open()?;
        spend::take_or_owe(&draft.wallets[wallet], cost, seq, draft.now)?
    } else {
        require_active(&hold)?;
        capture_pins(draft, wallet, &hold, cost)?
    };
    spend::limit(&allocations)?;
    // What was pinned counts already, unless the hold ran out.
    let counts = if late { cost } else { cost - cost.least(hold.held) };
    let alerts = draft.alerts(wallet, &hold.terms.charge.counted, counts);
    let charge = Charge { usage, cost, settle: capture.settle, alerts, ..hold.terms.charge };
    draft.require_countable(&charge)?;
    let terms = Terms::Charge(charge.clone());
    let line = Line { kind: EntryKind::Capture, subject: hold.id, allocations, terms };
    let entry = draft.book(wallet, line).id();
    Ok(done_with(draft, wallet, hold.id, cost, entry, charge))
}

/// Gives a hold up.
pub(super) fn release(draft: &mut Draft<'_, '_>, hold: Id) -> Result<Done, Rejection> {
    let wallet = find(draft, hold)?;
    let held = active(draft, wallet, hold)?.held;
    let line = due::unpin(&draft.wallets[wallet], hold, EntryKind::Release);
    let entry = draft.book(wallet, line).id();
    let expected = draft.wallets[wallet].hold(hold).expect("just booked").terms.charge.clone();
    // What its placing made known is not told again.
    let charge = Charge { alerts: Vec::new(), ..expected };
    Ok(done_with(draft, wallet, hold, held, entry, charge))
}

/// The allocations of a capture: `cost` from the pins and, by the action's rule, beyond them; the other pins go free.
fn capture_pins(
    draft: &Draft<'_, '_>,
    index: usize,
    hold: &Hold,
    cost: Amount,
) -> Result<Vec<Allocation>, Rejection> {
    let wallet = &draft.wallets[index];
    let mut missing = cost.least(hold.held);
    let mut allocations = Vec::with_capacity(hold.pins.len());
    for pin in &hold.pins {
        let part = pin.amount.least(missing);
        missing -= part;
        allocations.push(Allocation { amount: -part, held: -pin.amount, ..Allocation::lot(pin.lot) });
    }
    let overage = cost - cost.least(hold.held);
    if overage.is_positive() {
        let extra = overage_parts(draft, index, hold, cost, overage)?;
        merge(&mut allocations, extra);
    }
    // One allocation for each lot, so that its money is rounded once.
    for allocation in &mut allocations {
        if let Target::Lot(id) = allocation.target {
            let lot = wallet.lot(id).expect("pinned lots are loaded");
            allocation.money = -lot.money_of(-allocation.amount);
        }
    }
    Ok(allocations)
}

/// Where the part of the cost beyond the hold comes from, if the action's rule lets it.
fn overage_parts(
    draft: &Draft<'_, '_>,
    index: usize,
    hold: &Hold,
    cost: Amount,
    overage: Amount,
) -> Result<Vec<Allocation>, Rejection> {
    let (wallet, seq) = (&draft.wallets[index], draft.next_seq(index));
    let action = draft.catalogue.action(hold.terms.charge.action).ok_or(Rejection::ActionNotFound)?;
    let refused = |beyond: Amount| {
        let (held, unit) = (hold.held, wallet.unit.code.clone());
        Rejection::CaptureExceedsHold { held, required: cost, capturable: held + beyond, unit }
    };
    match action.overage {
        Overage::Refuse => Err(refused(Amount::ZERO)),
        Overage::Allow { percent } => {
            // Floored, as a capture takes whole smallest parts and no more than the percentage.
            let allowed = i128::from(hold.held.0) * i128::from(percent) / 100;
            let allowed =
                i64::try_from(allowed).map_or(Amount::MAX, |allowed| Amount(allowed).least(Amount::MAX));
            if overage > allowed {
                return Err(refused(allowed));
            }
            if let Some(passed) = draft.limit_reached(index, &hold.terms.charge.counted, overage) {
                return Err(passed);
            }
            let available = wallet.available(draft.now);
            if available < overage {
                let unit = wallet.unit.code.clone();
                return Err(Rejection::InsufficientCredits {
                    required: overage,
                    available,
                    unit,
                    priced: None,
                });
            }
            Ok(spend::take(wallet, overage, draft.now))
        }
        Overage::Debt => spend::take_or_owe(wallet, overage, seq, draft.now),
    }
}

fn merge(allocations: &mut Vec<Allocation>, extra: Vec<Allocation>) {
    for part in extra {
        match allocations.iter_mut().find(|known| known.target == part.target) {
            Some(known) => known.amount += part.amount,
            None => allocations.push(part),
        }
    }
}

/// Pins `amount` in burn order.
fn pin(wallet: &Wallet, amount: Amount, now: Timestamp) -> Vec<Allocation> {
    let parts = spend::walk(wallet, amount, now);
    parts.into_iter().map(|(lot, held)| Allocation { held, ..Allocation::lot(lot.terms.id) }).collect()
}

/// Whether a new expectation is larger than what the hold counts: it costs more, or more is used, be it free.
fn grows(hold: &Hold, usage: &Usage, more: Amount) -> bool {
    more.is_positive()
        || counts(&hold.terms.charge, usage) > counts(&hold.terms.charge, &hold.terms.charge.usage)
}

/// What counts of the old and the new expectation. By volume less may cost more: the larger quantity stays counted.
fn larger(hold: &Hold, usage: &Usage) -> Usage {
    let charge = &hold.terms.charge;
    let is_less = counts(charge, usage) < counts(charge, &charge.usage);
    if is_less && !matches!(usage, Usage::Amount(_)) { charge.usage.clone() } else { usage.clone() }
}

/// The quantity of `usage` where the charge counts quantities.
fn counts(charge: &Charge, usage: &Usage) -> i64 {
    match usage {
        Usage::Quantity(quantity) if charge.footing.used_before.is_some() => quantity.0,
        _ => 0,
    }
}

/// What the expected usage costs: all that is held, but for a metered price under which more may cost less.
fn expected(draft: &Draft<'_, '_>, wallet: usize, hold: &Hold) -> Result<Amount, Rejection> {
    let charge = &hold.terms.charge;
    match &charge.usage {
        usage @ Usage::Quantity(_) if charge.footing.used_before.is_some() => {
            cost(draft, wallet, hold, usage)
        }
        _ => Ok(hold.held),
    }
}

/// What `usage` costs at the hold's own price version.
fn cost(draft: &Draft<'_, '_>, wallet: usize, hold: &Hold, usage: &Usage) -> Result<Amount, Rejection> {
    match usage {
        Usage::Amount(amount) if *amount > Amount::MAX => Err(Rejection::AmountOverflow),
        Usage::Amount(amount) if *amount < Amount::ZERO => Err(Rejection::AmountNotPositive),
        Usage::Amount(amount) => Ok(*amount),
        Usage::Quantity(_) | Usage::Dimensions(_) => {
            let (charge, tenant) = (&hold.terms.charge, draft.wallets[wallet].key.tenant);
            let action = draft.catalogue.action(charge.action).ok_or(Rejection::ActionNotFound)?;
            let price = charge
                .price
                .and_then(|id| draft.catalogue.price(tenant, action, id))
                .ok_or(Rejection::ActionNotFound)?;
            price.model.cost_on(charge.footing, usage, draft.wallets[wallet].unit.scale)
        }
    }
}

fn find(draft: &mut Draft<'_, '_>, hold: Id) -> Result<usize, Rejection> {
    let found =
        draft.wallets.iter().enumerate().find_map(|(index, wallet)| Some((index, wallet.hold(hold)?.user)));
    let (wallet, user) = found.ok_or(Rejection::HoldNotFound)?;
    draft.on_behalf_of(user);
    Ok(wallet)
}

/// Books what is due and answers the hold if it is still active.
fn active(draft: &mut Draft<'_, '_>, wallet: usize, hold: Id) -> Result<Hold, Rejection> {
    draft.prepare(wallet);
    let hold = draft.wallets[wallet].hold(hold).expect("found before");
    require_active(hold)?;
    Ok(hold.clone())
}

fn require_active(hold: &Hold) -> Result<(), Rejection> {
    match hold.state {
        HoldState::Active => Ok(()),
        HoldState::Expired => Err(Rejection::HoldExpired),
        HoldState::Captured | HoldState::Released => Err(Rejection::HoldClosed { state: hold.state }),
    }
}

fn check_duration(expires_in: i64) -> Result<(), Rejection> {
    if (HOLD_MIN..=HOLD_MAX).contains(&expires_in) { Ok(()) } else { Err(Rejection::TimeInvalid) }
}

/// What was done to a hold that now has these terms.
fn done(draft: &Draft<'_, '_>, wallet: usize, id: Id, amount: Amount, entry: Id) -> Done {
    let charge = draft.wallets[wallet].hold(id).expect("just booked").terms.charge.clone();
    done_with(draft, wallet, id, amount, entry, charge)
}

/// The same where this was charged: a capture's own charge takes the place of the expectation.
fn done_with(
    draft: &Draft<'_, '_>,
    wallet: usize,
    id: Id,
    amount: Amount,
    entry: Id,
    charge: Charge,
) -> Done {
    let hold = draft.wallets[wallet].hold(id).expect("just booked");
    let (state, held, captured, expires_at) = (hold.state, hold.held, hold.captured, hold.terms.expires_at);
    let detail = Detail::Hold { state, held, captured, expires_at, charge };
    Done { wallet, id, amount, entry, detail, peer: None }
}
