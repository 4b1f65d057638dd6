//! The laws, each checked by itself on entries and wallets, without the model.

use crate::generate;
use crate::story::Story;
use crate::world::World;
use purser_core::CounterKey;
use purser_core::command::{Command, Movement};
use purser_core::counter::{Counted, Measure};
use purser_core::decide::project;
use purser_core::entry::{Charge, Returned, Usage};
use purser_core::pricing::Discount;
use purser_core::wallet::{Fall, HoldState};
use purser_core::{Amount, Decision, Entry, EntryKind, LotId, Target, Terms, Timestamp, Wallet, audit};
use std::collections::BTreeMap;

/// What must hold after each step; also carries the rebuild one step further.
pub fn after_each_step(story: &mut Story) {
    let fresh = std::mem::take(&mut story.fresh);
    for entry in &fresh {
        let place = story
            .rebuilt
            .iter()
            .position(|wallet| wallet.key == entry.wallet)
            .expect("a wallet of the tenant");
        let wallet = &mut story.rebuilt[place];
        let before = wallet.clone();
        audit::replay(wallet, entry)
            .unwrap_or_else(|broken| panic!("{broken}: {entry:?}\n{}", story.trail()));
        debt_comes_only_from_where_it_may(story, &before, entry);
        pins_outlast_what_must_not_touch_them(entry);
        credits_burn_in_the_published_order(&before, entry);
    }
    transfers_conserve(&fresh);
    for (live, rebuilt) in story.world.wallets.iter().zip(&story.rebuilt) {
        audit::equations(live).unwrap_or_else(|broken| panic!("{broken}: {live:?}\n{}", story.trail()));
        assert!(
            live == rebuilt,
            "rebuilt from entries alone\n{rebuilt:?}\nlive\n{live:?}\n{}",
            story.trail()
        );
        assert!(live.clone().restore().as_ref() == Ok(live), "a wallet comes back from its rows");
    }
    story.fresh = fresh;
}

/// Of each wallet it is told exactly when less can be spent than a threshold and more could be before: right after the entry before,
/// or by now, had nobody done anything. A wallet that was not written, or stays on its side, is told nothing of.
pub fn each_fall_is_told_once(
    before: &[Wallet],
    after: &[Wallet],
    decision: &Decision,
    command: &Command,
    now: i64,
) {
    let (now, mut told) = (Timestamp(now), Vec::new());
    // 2: plenty, 1: low, 0: nothing; in whole numbers, as people would reckon it.
    let level = |wallet: &Wallet, at: Timestamp| {
        let available = i128::from(wallet.balance(at).available.0);
        if available <= 0 { 0 } else { 1 + u8::from(available * 5 > i128::from(wallet.last_topup.0)) }
    };
    for (before, after) in before.iter().zip(after).filter(|(before, after)| before.seq < after.seq) {
        let by_time = match &command.movement {
            // It does nothing but what time did.
            Movement::Sweep => 0,
            _ => level(&project(before, now), now),
        };
        let (was, is) = (level(before, before.recorded_at).max(by_time), level(after, now));
        let low = was == 2 && is < 2 && after.last_topup.is_positive();
        let depleted = was > 0 && is == 0;
        if is < was {
            told.push((after.key, Fall { low, depleted }));
        }
    }
    assert_eq!(decision.falls, told, "{command:?}");
}

/// Law 7: what a charge says of itself (price version, usage, footing) comes to what it charged. A quote promised its cost, and
/// what was stated needs no price.
pub fn each_charge_explains_itself(world: &World, decision: &Decision, command: &Command) {
    let measured = match &command.movement {
        Movement::Debit(_) | Movement::PlaceHold(_) => true,
        Movement::CaptureHold(capture) => capture.usage.is_some(),
        _ => false,
    };
    for entry in decision.entries.iter().filter(|_| measured) {
        let Some(charge) = entry.terms.charge() else { continue };
        let quoted = charge.quote.is_some() && entry.kind != EntryKind::Capture;
        if quoted || matches!(charge.usage, Usage::Amount(_)) {
            continue;
        }
        let action = world.catalogue.action(charge.action).expect("actions are never removed");
        let price = charge.price.and_then(|id| world.catalogue.price(generate::TENANT, action, id));
        let price = price.expect("versions are never removed");
        let scale = world.catalogue.unit(&price.unit).expect("prices are in known units").scale;
        let cost = price.model.cost_on(charge.footing, &charge.usage, scale);
        assert_eq!(cost, Ok(charge.cost), "{entry:?}");
    }
}

/// A charge tells of exactly those shares of its limits that what is counted reaches with the command: it had not before.
pub fn each_share_that_is_reached_is_told(
    world: &World,
    counters: &BTreeMap<CounterKey, i64>,
    decision: &Decision,
    now: i64,
) {
    for entry in &decision.entries {
        let Some(charge) = entry.terms.charge() else { continue };
        let mut told = Vec::new();
        let current = |counted: &&Counted| counted.measure == Measure::Amount && now < counted.span.until.0;
        for counted in charge.counted.iter().filter(current) {
            let mut limits = world.catalogue.limits(generate::TENANT).iter();
            let Some(limit) = limits.find(|limit| limit.id == counted.rule) else { continue };
            let value = |counters: &BTreeMap<CounterKey, i64>| {
                counters.get(&counted.key(generate::TENANT)).copied().unwrap_or(0)
            };
            let (was, is) = (value(counters), value(&world.counters));
            let share = |percent: u8| {
                let hundredths = limit.amount.0 * i64::from(percent);
                hundredths / 100 + i64::from(hundredths % 100 > 0)
            };
            let reached = limit.alert_at.iter().filter(|percent| (was + 1..=is).contains(&share(**percent)));
            told.extend(reached.map(|percent| (limit.id, *percent, Amount(is), limit.amount)));
        }
        let alerts: Vec<_> = charge
            .alerts
            .iter()
            .map(|alert| (alert.limit, alert.percent, alert.used, alert.amount))
            .collect();
        assert_eq!(alerts, told, "{entry:?}");
    }
}

/// What must hold of the whole ledger at the end.
pub fn at_the_end(story: &Story) {
    counters_are_what_the_ledger_says(story);
    refunds_stay_within_their_debits(story);
    money_adds_up(story);
    for wallet in &story.world.wallets {
        let mut pruned = wallet.clone();
        pruned.prune();
        assert_eq!(pruned.balance(Timestamp(story.now)), wallet.balance(Timestamp(story.now)));
        audit::equations(&pruned).expect("closed lots and holds carry nothing");
    }
}

/// Each counter is the sum of what the ledger says of its period, and no strict spending took a limit's beyond it.
fn counters_are_what_the_ledger_says(story: &Story) {
    let mut sums: BTreeMap<CounterKey, i64> = BTreeMap::new();
    let mut add = |charge: &Charge, refunds: &[&Entry], is_held: bool| {
        for counted in &charge.counted {
            let given: i64 = refunds
                .iter()
                .filter(|entry| entry.recorded_at < counted.span.until)
                .map(|entry| entry.amount.0)
                .sum();
            let sum = sums.entry(counted.key(generate::TENANT)).or_default();
            *sum += match (counted.measure, &charge.usage) {
                (Measure::Amount, _) => charge.cost.0 - given,
                (Measure::Quantity, Usage::Quantity(_))
                    if !is_held && given > 0 && given == charge.cost.0 =>
                {
                    0
                }
                (Measure::Quantity, Usage::Quantity(quantity)) => quantity.0,
                (Measure::Quantity, _) => 0,
            };
        }
    };
    for entry in &story.world.entries {
        let Terms::Charge(charge) = &entry.terms else { continue };
        let of_debit = |other: &&Entry| {
            other.kind == EntryKind::Refund && other.subject == entry.subject && other.wallet == entry.wallet
        };
        let refunds: Vec<&Entry> = story.world.entries.iter().filter(of_debit).collect();
        add(charge, &refunds, false);
    }
    for wallet in &story.world.wallets {
        for hold in wallet.holds.iter().filter(|hold| hold.state == HoldState::Active) {
            add(&hold.terms.charge, &[], true);
        }
    }
    sums.retain(|_, sum| *sum != 0);
    let mut counters = story.world.counters.clone();
    counters.retain(|_, used| *used != 0);
    assert_eq!(counters, sums, "{}", story.trail());
}

/// Law 3: debt comes from settle debits, captures that may, and money that went back; strict spending never goes below
/// what is there.
fn debt_comes_only_from_where_it_may(story: &Story, before: &Wallet, entry: &Entry) {
    let more = entry
        .allocations
        .iter()
        .any(|part| matches!(part.target, Target::Debt(_)) && part.amount.is_positive());
    let strict = match (&entry.kind, &entry.terms) {
        (EntryKind::Debit, Terms::Charge(charge)) => !charge.settle,
        (EntryKind::Hold | EntryKind::Extend | EntryKind::TransferOut, _) => true,
        _ => false,
    };
    if strict {
        let needed = -(entry.amount - entry.held_delta);
        let spendable = before.available(entry.recorded_at);
        assert!(needed <= spendable || needed.is_zero(), "overdraft: {entry:?}\n{}", story.trail());
    }
    let may = match (&entry.kind, &entry.terms) {
        (EntryKind::Debit | EntryKind::Capture, Terms::Charge(charge)) => {
            let action = story.world.catalogue.action(charge.action).expect("a known action");
            charge.settle
                || (entry.kind == EntryKind::Capture
                    && action.overage == purser_core::catalogue::Overage::Debt)
        }
        (kind, _) => *kind == EntryKind::Reverse,
    };
    assert!(may || !more, "debt from nowhere: {entry:?}\n{}", story.trail());
}

/// Expiry, revoke and freeze take only what is not pinned.
fn pins_outlast_what_must_not_touch_them(entry: &Entry) {
    let may_move_pins =
        [EntryKind::Hold, EntryKind::Extend, EntryKind::Capture, EntryKind::Release, EntryKind::HoldExpire];
    if !may_move_pins.contains(&entry.kind) {
        assert!(entry.allocations.iter().all(|part| part.held.is_zero()), "pins moved by {entry:?}");
    }
}

/// Before a lot is touched by spending, everything that burns sooner is used up.
fn credits_burn_in_the_published_order(before: &Wallet, entry: &Entry) {
    if !matches!(entry.kind, EntryKind::Debit | EntryKind::Hold | EntryKind::Extend | EntryKind::TransferOut)
    {
        return;
    }
    let order = |id: LotId| {
        let terms = &before.lot(id).expect("a known lot").terms;
        let expires = terms.expires_at.unwrap_or(Timestamp::NEVER);
        (terms.priority, expires, terms.kind, terms.effective_at, terms.id)
    };
    let lots = entry.allocations.iter().filter_map(|part| match part.target {
        Target::Lot(id) => Some((order(id), id, part.held - part.amount)),
        Target::Debt(_) => None,
    });
    let lots: Vec<_> = lots.collect();
    assert!(lots.windows(2).all(|pair| pair[0].0 < pair[1].0), "not in burn order: {entry:?}");
    let Some((last, _, _)) = lots.last() else { return };
    for lot in before.lots.iter().filter(|lot| lot.is_live(entry.recorded_at) && lot.burn_key() < *last) {
        let taken =
            lots.iter().find(|(_, id, _)| *id == lot.terms.id).map_or(Amount::ZERO, |(_, _, taken)| *taken);
        assert_eq!(taken, lot.spendable(), "a lot that burns sooner was spared by {entry:?}");
    }
}

/// A transfer takes and gives the same credits and the same money.
fn transfers_conserve(fresh: &[Entry]) {
    let of = |kind: EntryKind| {
        let entries = fresh.iter().filter(move |entry| entry.kind == kind);
        let money = entries.clone().flat_map(|entry| &entry.allocations).map(|part| part.money).sum::<i64>();
        (entries.map(|entry| entry.amount.0).sum::<i64>(), money)
    };
    let (left, arrived) = (of(EntryKind::TransferOut), of(EntryKind::TransferIn));
    assert_eq!(
        (left.0 + arrived.0, left.1 + arrived.1),
        (0, 0),
        "a transfer made or lost something: {fresh:?}"
    );
}

/// Σ refunds ≤ debit, over all wallets.
fn refunds_stay_within_their_debits(story: &Story) {
    let mut left: BTreeMap<u128, i64> = BTreeMap::new();
    for entry in &story.world.entries {
        match (&entry.kind, &entry.terms) {
            (EntryKind::Debit | EntryKind::Capture, Terms::Charge(charge)) => {
                left.insert(entry.subject.0, charge.cost.0);
            }
            (EntryKind::Refund, _) => {
                *left.get_mut(&entry.subject.0).expect("a debit was refunded") -= entry.amount.0
            }
            _ => {}
        }
    }
    assert!(left.values().all(|left| *left >= 0), "more came back than was debited\n{}", story.trail());
}

/// Per lot: recognised + breakage + returned + revoked + transferred + left is what was paid, to the last minor unit.
fn money_adds_up(story: &Story) {
    for wallet in &story.world.wallets {
        let entries: Vec<&Entry> =
            story.world.entries.iter().filter(|entry| entry.wallet == wallet.key).collect();
        for lot in &wallet.lots {
            let mut gone = 0;
            for entry in &entries {
                let born_here = entry.terms.new_lots().iter().any(|terms| terms.id == lot.terms.id);
                for part in entry.allocations.iter().filter(|part| part.target == Target::Lot(lot.terms.id)) {
                    if born_here {
                        let start = (part.amount, part.money);
                        assert_eq!(
                            start,
                            (lot.terms.granted, lot.terms.paid.map_or(0, |money| money.minor)),
                            "{entry:?}"
                        );
                    } else {
                        gone -= part.money;
                    }
                }
            }
            let paid = lot.terms.paid.map_or(0, |money| money.minor);
            assert_eq!(gone + lot.money, paid, "the money of {lot:?} does not add up\n{}", story.trail());
        }
        for entry in &entries {
            if let Terms::Refund { returned, .. } | Terms::Reinstate { returned, .. } = &entry.terms {
                what_comes_back_is_what_left(&entries, entry, returned);
            }
        }
    }
}

/// A refund names the pieces it gives back; their credits and money are those of its allocations.
fn what_comes_back_is_what_left(entries: &[&Entry], entry: &Entry, returned: &[Returned]) {
    let money: i64 = entry.allocations.iter().map(|part| part.money).sum();
    assert_eq!(money, returned.iter().map(|piece| piece.money).sum::<i64>(), "{entry:?}");
    for piece in returned {
        let source = entries[usize::try_from(piece.seq - 1).expect("a place")];
        let taken = &source.allocations[piece.index as usize];
        assert_eq!(source.seq, piece.seq);
        let back: Vec<&Returned> = entries
            .iter()
            .filter_map(|entry| match &entry.terms {
                Terms::Refund { returned, .. } | Terms::Reinstate { returned, .. } => Some(returned),
                _ => None,
            })
            .flatten()
            .filter(|other| (other.seq, other.index) == (piece.seq, piece.index))
            .collect();
        let amount: i64 = back.iter().map(|piece| piece.amount.0).sum();
        let money: i64 = back.iter().map(|piece| piece.money).sum();
        assert!(amount <= taken.amount.0.abs() && money <= taken.money.abs(), "{piece:?} of {source:?}");
        if amount == taken.amount.0.abs() && matches!(taken.target, Target::Lot(_)) {
            assert_eq!(money, -taken.money, "all credits came back, but not all money: {source:?}");
        }
    }
}

/// Law 9: one wrong bit, a gap or another order anywhere, and the rebuild stops at it or ends elsewhere.
pub fn damage_is_found(story: &Story, place: usize, seed: u64) {
    let honest = &story.world.entries;
    let rebuild = |entries: &[Entry]| {
        let mut wallet = crate::generate::wallets(1).remove(0);
        entries.iter().try_for_each(|entry| audit::replay(&mut wallet, entry))?;
        if wallet.head == story.world.wallets[0].head {
            Ok(())
        } else {
            Err("the ledger does not end where it should")
        }
    };
    assert_eq!(rebuild(honest), Ok(()), "the honest ledger holds");
    let mut changed = honest.clone();
    change(&mut changed[place], seed);
    assert!(rebuild(&changed).is_err(), "unseen change: {:?} of {:?}", changed[place], honest[place]);
    let mut shorter = honest.clone();
    shorter.remove(place);
    assert!(rebuild(&shorter).is_err(), "unseen removal");
    let mut twice = honest.clone();
    twice.insert(place, honest[place].clone());
    assert!(rebuild(&twice).is_err(), "unseen repetition");
    if honest.len() > 1 {
        let mut swapped = honest.clone();
        swapped.swap(place, (place + 1) % honest.len());
        assert!(rebuild(&swapped).is_err(), "unseen exchange");
    }
}

/// Flips one bit somewhere in what the entry says.
fn change(entry: &mut Entry, seed: u64) {
    let bit = seed >> 8;
    let flip = |number: &mut i64| *number ^= 1 << (bit % 62);
    match seed % 13 {
        0 => flip(&mut entry.amount.0),
        1 => flip(&mut entry.held_delta.0),
        2 => flip(&mut entry.settled_after.0),
        3 => flip(&mut entry.occurred_at.0),
        4 => flip(&mut entry.recorded_at.0),
        5 => entry.subject.0 ^= 1 << (bit % 128),
        6 => entry.actor.no ^= 1 << (bit % 64),
        7 => entry.user = entry.user.map_or(Some(purser_core::UserNo(bit)), |_| None),
        8 => entry.text_digest = Some([bit as u8; 32]),
        9 => entry.hash[(bit % 32) as usize] ^= 1,
        10 => entry.seq ^= 1 << (bit % 64),
        11 if !entry.allocations.is_empty() => {
            let index = (bit as usize) % entry.allocations.len();
            entry.allocations[index].money ^= 1 << (bit % 60);
        }
        _ => match EntryKind::from_number((entry.kind as u8 % 19) + 1) {
            Some(kind) => entry.kind = kind,
            None => entry.wallet.tenant.0 ^= 1,
        },
    }
}

/// Everything that generated stories have to meet, often enough to mean something.
pub const EVENTS: &[&str] = &[
    "grant",
    "debit",
    "debit with debt",
    "refund",
    "refund of debt",
    "refund to an expired lot",
    "hold",
    "extend",
    "larger extend",
    "capture",
    "capture with debt",
    "capture without pins",
    "release",
    "hold_expire",
    "expire",
    "revoke",
    "repay",
    "reverse",
    "reverse with debt",
    "reverse of breakage",
    "reinstate",
    "freeze",
    "freeze filled later",
    "thaw",
    "transfer_out",
    "transfer_in",
    "amount_not_positive",
    "time_invalid",
    "usage_invalid",
    "unit_mismatch",
    "action_not_found",
    "hold_not_found",
    "grant_not_found",
    "cause_not_found",
    "tenant_suspended",
    "tenant_closed",
    "hold_expired",
    "hold_closed",
    "capture_exceeds_hold",
    "hold_life_exceeded",
    "refund_exceeds_debit",
    "cause_repeated",
    "insufficient_credits",
    "limit_reached",
    "metered charge",
    "discounted charge",
    "charge with alerts",
    "hold with alerts",
    "capture with alerts",
    "quote_invalid",
    "quote_mismatch",
    "quote_used",
    "quote_expired",
    "confirmation_required",
    "revoke_exceeds_unspent",
    "debit_not_found",
    "same_wallet",
    "spending_frozen",
];

/// Names an entry by its kind, or by the rarer thing that it is.
pub fn event(entry: &Entry) -> &'static str {
    let debt = entry.allocations.iter().any(|part| matches!(part.target, Target::Debt(_)));
    let pins = entry.allocations.iter().any(|part| !part.held.is_zero());
    match (&entry.kind, &entry.terms) {
        (EntryKind::Debit, _) if debt => "debit with debt",
        (EntryKind::Capture, Terms::Charge(charge)) if !charge.alerts.is_empty() => "capture with alerts",
        (EntryKind::Hold, Terms::Hold(terms)) if !terms.charge.alerts.is_empty() => "hold with alerts",
        (EntryKind::Debit, Terms::Charge(charge)) if !charge.alerts.is_empty() => "charge with alerts",
        (EntryKind::Debit, Terms::Charge(charge)) if charge.footing.used_before.is_some() => "metered charge",
        (EntryKind::Debit, Terms::Charge(charge)) if charge.footing.discount != Discount::NONE => {
            "discounted charge"
        }
        (EntryKind::Refund, Terms::Refund { lots, .. }) if !lots.is_empty() => "refund to an expired lot",
        (EntryKind::Refund, _) if debt => "refund of debt",
        (EntryKind::Extend, _) if pins => "larger extend",
        (EntryKind::Capture, _) if debt => "capture with debt",
        (EntryKind::Capture, _) if !pins && !entry.amount.is_zero() => "capture without pins",
        (EntryKind::Reverse, _) if debt => "reverse with debt",
        (EntryKind::Reverse, Terms::Reverse { breakage, .. }) if !breakage.is_empty() => {
            "reverse of breakage"
        }
        (EntryKind::Freeze, Terms::Freeze { wants }) if wants.is_empty() => "freeze filled later",
        (kind, _) => kind.name(),
    }
}
