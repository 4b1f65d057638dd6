//! Consumption: which wallet pays, what it costs, and which lots burn.

use super::draft::{Draft, Line};
use super::{ALLOCATIONS_MAX, Done};
use crate::amount::Amount;
use crate::catalogue::{Action, Applicable};
use crate::command::{Debit, Promise, Quote};
use crate::confirm::threshold;
use crate::entry::{Allocation, Charge, EntryKind, Terms, Usage};
use crate::id::WalletId;
use crate::key::Key;
use crate::pricing::Footing;
use crate::receipt::Detail;
use crate::rejection::{Misfit, Rejection};
use crate::time::Timestamp;
use crate::wallet::{Lot, Wallet};

/// Charges an action. Strict debits need the whole cost; settle debits take what is there and owe the rest.
pub(super) fn debit(draft: &mut Draft<'_, '_>, debit: &Debit) -> Result<Done, Rejection> {
    // Only a hold may state an amount: a debit has to explain itself by a price (law 7).
    if matches!(debit.usage, Usage::Amount(_)) {
        return Err(Rejection::UsageInvalid { misfit: Misfit::AmountStated });
    }
    let ask = Ask {
        action: debit.action,
        usage: &debit.usage,
        unit: &debit.unit,
        wallet: debit.wallet,
        settle: debit.settle,
        quote: debit.quote.as_ref(),
    };
    let (wallet, mut charge) = fund(draft, &ask)?;
    let seq = draft.next_seq(wallet);
    let allocations = if debit.settle {
        take_or_owe(&draft.wallets[wallet], charge.cost, seq, draft.now)?
    } else {
        take(&draft.wallets[wallet], charge.cost, draft.now)
    };
    limit(&allocations)?;
    ask.confirmed(draft, wallet, &charge)?;
    charge.alerts = draft.alerts(wallet, &charge.counted, charge.cost);
    let id = draft.command.id;
    let terms = Terms::Charge(charge.clone());
    let entry = draft.book(wallet, Line { kind: EntryKind::Debit, subject: id, allocations, terms }).id();
    Ok(Done { wallet, id, amount: charge.cost, entry, detail: Detail::Debit { charge }, peer: None })
}

/// What is to be paid for: the common part of debits and holds.
pub(super) struct Ask<'a> {
    pub(super) action: u64,
    pub(super) usage: &'a Usage,
    pub(super) unit: &'a Option<Key>,
    pub(super) wallet: Option<WalletId>,
    pub(super) settle: bool,
    pub(super) quote: Option<&'a Quote>,
}

impl<'a> Ask<'a> {
    /// Refuses what costs more than may be spent without asking, unless it brought its quote: one that does not bind was
    /// refused before. Work that is done already is not asked about any more.
    pub(super) fn confirmed(
        &self,
        draft: &Draft<'_, '_>,
        wallet: usize,
        charge: &Charge,
    ) -> Result<(), Rejection> {
        if self.settle || self.quote.is_some() {
            return Ok(());
        }
        let Wallet { unit, key, .. } = &draft.wallets[wallet];
        let Some(action) = draft.catalogue.action(self.action) else { return Ok(()) };
        match threshold(&action.confirm_above, draft.confirm_above, &unit.code) {
            Some(above) if charge.cost > above => Err(Rejection::ConfirmationRequired {
                required: charge.cost,
                above,
                unit: unit.code.clone(),
                priced: charge.priced().map(Box::new),
                wallet: key.id,
            }),
            _ => Ok(()),
        }
    }

    /// The promise that the quote makes at `now`; none without a quote.
    fn promise(&self, now: Timestamp) -> Result<Option<&'a Promise>, Rejection> {
        let promise = match self.quote {
            None => return Ok(None),
            Some(Quote::Invalid) => return Err(Rejection::QuoteInvalid),
            Some(Quote::Mismatch) => return Err(Rejection::QuoteMismatch),
            Some(Quote::Promise(promise)) => promise,
        };
        if self.unit.as_ref().is_some_and(|unit| *unit != promise.unit) {
            return Err(Rejection::QuoteMismatch);
        }
        if promise.used {
            return Err(Rejection::QuoteUsed);
        }
        if promise.expires_at <= now { Err(Rejection::QuoteExpired) } else { Ok(Some(promise)) }
    }
}

/// Finds the wallet that pays and prices the usage in its unit: the first in funding order that covers the cost in
/// full and whose limits allow it; for a settle debit, which passes limits, failing that, simply the first.
pub(super) fn fund(draft: &mut Draft<'_, '_>, ask: &Ask<'_>) -> Result<(usize, Charge), Rejection> {
    let catalogue = draft.catalogue;
    let action =
        catalogue.action(ask.action).filter(|action| action.active).ok_or(Rejection::ActionNotFound)?;
    // A quote that does not bind is refused below, after everything that is wrong without it.
    let quoted = ask.promise(draft.now);
    let promise = quoted.as_ref().ok().copied().flatten();
    let candidates = candidates(draft, action, ask, promise)?;
    // Holds that ran out in the wallet that pays count for nothing, neither in its price nor in its limits.
    candidates.iter().for_each(|wallet| draft.prepare(*wallet));
    let charges = candidates
        .iter()
        .map(|wallet| charge(draft, action, *wallet, ask, promise))
        .collect::<Result<Vec<_>, _>>()?;
    if ask.settle {
        draft.standing.require_open()?;
    } else {
        draft.standing.require_spending()?;
    }
    quoted?;
    if let Some(promise) = promise {
        candidates.iter().try_for_each(|wallet| still_binds(draft, action, *wallet, ask.usage, promise))?;
    }
    charges.iter().try_for_each(|charge| draft.require_countable(charge))?;
    let (mut reached, mut lacking) = (None, None);
    for (wallet, charge) in candidates.iter().zip(&charges) {
        if !ask.settle
            && let Some(passed) = draft.limit_reached(*wallet, &charge.counted, charge.cost)
        {
            reached.get_or_insert(passed);
            continue;
        }
        if charge.cost.is_zero() || draft.wallets[*wallet].available(draft.now) >= charge.cost {
            return Ok((*wallet, charge.clone()));
        }
        lacking.get_or_insert((*wallet, charge));
    }
    // Buying helps where no limit is in the way.
    let Some((first, charge)) = lacking else {
        return Err(reached.expect("each of the candidates is limited or lacks credit"));
    };
    if ask.settle {
        return Ok((first, charge.clone()));
    }
    let wallet = &draft.wallets[first];
    let (available, unit) = (wallet.available(draft.now), wallet.unit.code.clone());
    let (required, priced) = (charge.cost, charge.priced().map(Box::new));
    Err(Rejection::InsufficientCredits { required, available, unit, priced })
}

/// The wallets whose unit the action has a price for at the time of the work. Never empty.
fn candidates(
    draft: &Draft<'_, '_>,
    action: &Action,
    ask: &Ask<'_>,
    promise: Option<&Promise>,
) -> Result<Vec<usize>, Rejection> {
    if draft.wallets.is_empty() {
        return Err(Rejection::WalletNotFound);
    }
    let unit = promise.map(|promise| &promise.unit).or(ask.unit.as_ref());
    let wanted = |wallet: &Wallet| {
        unit.is_none_or(|unit| *unit == wallet.unit.code) && ask.wallet.is_none_or(|id| id == wallet.key.id)
    };
    let mut matching = draft.wallets.iter().enumerate().filter(|(_, wallet)| wanted(wallet)).peekable();
    if matching.peek().is_none() {
        return Err(Rejection::UnitMismatch);
    }
    // What was promised has a price already, whatever was in force when the work happened.
    let has_price = |wallet: &Wallet| {
        let (tenant, at) = (draft.command.tenant, draft.command.occurred_at);
        promise.is_some() || draft.catalogue.price_at(tenant, action, &wallet.unit.code, at).is_some()
    };
    let priced: Vec<usize> =
        matching.clone().filter(|(_, wallet)| has_price(wallet)).map(|(index, _)| index).collect();
    if priced.is_empty() {
        let known = matching.any(|(_, wallet)| action.units.contains(&wallet.unit.code));
        return Err(if known { Rejection::ActionNotFound } else { Rejection::UnitMismatch });
    }
    Ok(priced)
}

fn charge(
    draft: &Draft<'_, '_>,
    action: &Action,
    wallet: usize,
    ask: &Ask<'_>,
    promise: Option<&Promise>,
) -> Result<Charge, Rejection> {
    let (action_no, usage, settle) = (action.no, ask.usage.clone(), ask.settle);
    let unit = &draft.wallets[wallet].unit;
    let (tenant, at) = (draft.command.tenant, draft.command.occurred_at);
    if let Some(promise) = promise {
        let promised = draft.catalogue.price(tenant, action, promise.price);
        let meter = promised.and_then(|price| price.model.meter());
        return Ok(Charge {
            action: action_no,
            price: Some(promise.price),
            usage,
            cost: promise.amount,
            settle,
            footing: promise.footing,
            quote: Some(promise.id),
            counted: draft.counted(action_no, &unit.code, meter),
            alerts: Vec::new(),
        });
    }
    let applicable = draft.catalogue.applicable(tenant, action, &unit.code, at);
    let Applicable { price, discount } = applicable.expect("candidates have a price");
    let counted = draft.counted(action_no, &unit.code, price.model.meter());
    let footing = Footing { used_before: draft.used_before(wallet, &counted), discount };
    let cost = match ask.usage {
        Usage::Amount(amount) if amount.is_positive() && *amount <= Amount::MAX => *amount,
        Usage::Amount(amount) if amount.is_positive() => return Err(Rejection::AmountOverflow),
        Usage::Amount(_) => return Err(Rejection::AmountNotPositive),
        usage => price.model.cost_on(footing, usage, unit.scale)?,
    };
    let (price, quote, alerts) = (Some(price.id), None, Vec::new());
    Ok(Charge { action: action_no, price, usage, cost, settle, footing, quote, counted, alerts })
}

/// Refuses the promise of a metered price whose period is over, or that what was used since has made too cheap: many that
/// were given at the same moment would each have the included quantity, which is there once.
fn still_binds(
    draft: &Draft<'_, '_>,
    action: &Action,
    wallet: usize,
    usage: &Usage,
    promise: &Promise,
) -> Result<(), Rejection> {
    let price = draft.catalogue.price(draft.command.tenant, action, promise.price);
    let Some((price, meter)) = price.and_then(|price| Some((price, price.model.meter()?))) else {
        return Ok(());
    };
    let given =
        i64::try_from(promise.id.millis()).map_or(Timestamp::NEVER, |millis| Timestamp(millis * 1_000));
    if promise.footing.used_before.is_none() {
        return Err(Rejection::QuoteExpired);
    }
    if matches!(usage, Usage::Amount(_)) {
        // What was stated does not go by what was used.
        return Ok(());
    }
    // A promise can come from a clock that is a little ahead: of a period that is yet to come it cannot be.
    if given < meter.period.around(draft.now).from {
        return Err(Rejection::QuoteExpired);
    }
    let unit = &draft.wallets[wallet].unit;
    let counted = draft.counted(action.no, &unit.code, Some(meter));
    let footing = Footing { used_before: draft.used_before(wallet, &counted), ..promise.footing };
    match price.model.cost_on(footing, usage, unit.scale) {
        Ok(cost) if cost <= promise.amount => Ok(()),
        Ok(_) | Err(Rejection::AmountOverflow) => Err(Rejection::QuoteExpired),
        Err(refused) => Err(refused),
    }
}

/// What can be spent at `at`, whatever is owed.
pub(super) fn spendable(wallet: &Wallet, at: Timestamp) -> Amount {
    wallet.lots.iter().filter(|lot| lot.is_live(at)).map(Lot::spendable).sum()
}

/// Takes `amount` from the spendable lots in burn order; the caller knows that it is there.
pub(super) fn take(wallet: &Wallet, amount: Amount, at: Timestamp) -> Vec<Allocation> {
    let parts = walk(wallet, amount, at);
    let taken = parts.into_iter().map(|(lot, part)| Allocation {
        amount: -part,
        money: -lot.money_of(part),
        ..Allocation::lot(lot.terms.id)
    });
    taken.collect()
}

/// Takes what is spendable and owes the rest to the entry `seq`.
pub(super) fn take_or_owe(
    wallet: &Wallet,
    amount: Amount,
    seq: u64,
    at: Timestamp,
) -> Result<Vec<Allocation>, Rejection> {
    let taken = spendable(wallet, at).least(amount);
    let owed = amount - taken;
    wallet.settled.checked_add(-amount).ok_or(Rejection::AmountOverflow)?;
    let mut allocations = take(wallet, taken, at);
    if owed.is_positive() {
        allocations.push(Allocation::debt(seq, owed));
    }
    Ok(allocations)
}

/// The lots, in burn order, that make up `amount`, and how much of each.
pub(super) fn walk(wallet: &Wallet, amount: Amount, at: Timestamp) -> Vec<(&Lot, Amount)> {
    let mut parts = Vec::new();
    let mut missing = amount;
    for lot in wallet.lots.iter().filter(|lot| lot.is_live(at)) {
        if missing.is_zero() {
            break;
        }
        let part = lot.spendable().least(missing);
        if part.is_positive() {
            parts.push((lot, part));
            missing -= part;
        }
    }
    assert!(missing.is_zero(), "the caller checked that the wallet has it");
    parts
}

/// Refuses entries that touch more lots than one entry may.
pub(super) fn limit(allocations: &[Allocation]) -> Result<(), Rejection> {
    if allocations.len() > ALLOCATIONS_MAX { Err(Rejection::TooManyLots) } else { Ok(()) }
}
