//! The tenant's standing and every code that the rule book refuses with, as scripts.
//!
//! See `play/mod.rs` for the words. Two codes need states that a script cannot reach; they have tests of their own.

#![allow(unreachable_pub, reason = "the modules of a test are read nowhere else")]

mod play;
mod world;

use insta::assert_snapshot;
use play::play;
use purser_core::catalogue::{Action, Overage, Price};
use purser_core::catalogue::{Catalogue, Unit};
use purser_core::command::{Command, Debit, Grant, Movement, Promise, Quote, Reverse};
use purser_core::confirm::Thresholds;
use purser_core::counter::Period;
use purser_core::decide::{ALLOCATIONS_MAX, Standing};
use purser_core::entry::{Actor, GrantKind, LotTerms};
use purser_core::entry::{Terms, Usage};
use purser_core::limit::{Limit, Whose};
use purser_core::pricing::{Footing, Model};
use purser_core::wallet::{Lot, Owner};
use purser_core::{
    Amount, CounterKey, Decision, Id, Key, Quantity, Rejection, State, TenantNo, Timestamp, Wallet, WalletId,
    decide,
};

#[test]
fn a_suspended_tenant_spends_nothing_but_work_done_is_recorded() {
    let story = "grant 10 · hold 4 · suspend · debit 1 · hold 1 · extend h1 for 60s · transfer 1 · \
         settle 1 · grant 1 · capture h1 · refund d1 · revoke g1";
    assert_snapshot!(play(story), @r"
    grant 10          -> 10 left
    hold 4            -> 6 left, held 4
    suspend           -> 6 left, held 4
    debit 1           -> tenant_suspended
    hold 1            -> tenant_suspended
    extend h1 for 60s -> tenant_suspended
    transfer 1        -> tenant_suspended
    settle 1          -> 5 left, held 4
    grant 1           -> 6 left, held 4
    capture h1        -> 6 left
    refund d1         -> 7 left
    revoke g1         -> 1 left
    ");
}

#[test]
fn frozen_spending_has_a_code_of_its_own() {
    let story = "grant 10 · freeze_spending · debit 1 · settle 1 · active · debit 1";
    assert_snapshot!(play(story), @r"
    grant 10        -> 10 left
    freeze_spending -> 10 left
    debit 1         -> spending_frozen
    settle 1        -> 9 left
    active          -> 9 left
    debit 1         -> 8 left
    ");
}

#[test]
fn a_closed_tenant_takes_nothing_new_and_gives_back() {
    let story = "grant 10 · debit 2 · hold 4 · close · debit 1 · settle 1 · grant 1 · transfer 1 · \
         release h1 · refund d1 · revoke g1";
    assert_snapshot!(play(story), @r"
    grant 10   -> 10 left
    debit 2    -> 8 left
    hold 4     -> 4 left, held 4
    close      -> 4 left, held 4
    debit 1    -> tenant_closed
    settle 1   -> tenant_closed
    grant 1    -> tenant_closed
    transfer 1 -> tenant_closed
    release h1 -> 8 left
    refund d1  -> 10 left
    revoke g1  -> 0 left
    ");
}

#[test]
fn amounts_are_more_than_nothing() {
    let story = "grant 0 · grant -5 · grant 10 · debit 1 · refund d1 0 · revoke g1 -1 · transfer 0 · \
         hold 0 · freeze C of P 0 · reverse C of P -1";
    assert_snapshot!(play(story), @r"
    grant 0           -> amount_not_positive
    grant -5          -> amount_not_positive
    grant 10          -> 10 left
    debit 1           -> 9 left
    refund d1 0       -> amount_not_positive
    revoke g1 -1      -> amount_not_positive
    transfer 0        -> amount_not_positive
    hold 0            -> amount_not_positive
    freeze C of P 0   -> amount_not_positive
    reverse C of P -1 -> amount_not_positive
    ");
}

#[test]
fn no_wallet_counts_beyond_the_largest_amount() {
    let story = "grant 9223372036854775807 · grant 2305843009213693951 · grant 1 · \
         settle 9000000000000";
    assert_snapshot!(play(story), @r"
    grant 9223372036854775807 -> amount_overflow
    grant 2305843009213693951 -> 2305843009213693951 left
    grant 1                   -> amount_overflow
    settle 9000000000000      -> 2305834009213693951 left
    ");
}

#[test]
fn times_must_make_sense() {
    let story = "grant 1 until 0s · grant 1 in 60s until 60s · grant 10 · hold 1 for 0s · \
         hold 1 for 25h · hold 1 · extend h1 for 0s";
    assert_snapshot!(play(story), @r"
    grant 1 until 0s         -> time_invalid
    grant 1 in 60s until 60s -> time_invalid
    grant 10                 -> 10 left
    hold 1 for 0s            -> time_invalid
    hold 1 for 25h           -> time_invalid
    hold 1                   -> 9 left, held 1
    extend h1 for 0s         -> time_invalid
    ");
}

#[test]
fn usage_must_fit_the_price() {
    let story = "grant 10 · call scan 2 · call model seconds 3 · call model tokens 3 · call scan";
    assert_snapshot!(play(story), @r"
    grant 10             -> 10 left
    call scan 2          -> usage_invalid
    call model seconds 3 -> usage_invalid (seconds)
    call model tokens 3  -> 4 left
    call scan            -> insufficient_credits (needs 5, has 4)
    ");
}

#[test]
fn an_action_is_paid_in_its_own_units_only() {
    let story = "grant 10 · debit 1 in sms · debit 1 from sms · transfer 1 to sms";
    assert_snapshot!(play(story), @r"
    grant 10          -> 10 left
    debit 1 in sms    -> unit_mismatch
    debit 1 from sms  -> unit_mismatch
    transfer 1 to sms -> unit_mismatch
    ");
}

#[test]
fn a_transfer_has_two_wallets() {
    let story = "grant 10 · transfer 1 to user";
    assert_snapshot!(play(story), @r"
    grant 10           -> 10 left
    transfer 1 to user -> same_wallet
    ");
}

#[test]
fn unknown_and_switched_off_actions_are_not_found() {
    let story = "grant 10 · call nothing · call gone";
    assert_snapshot!(play(story), @r"
    grant 10     -> 10 left
    call nothing -> action_not_found
    call gone    -> action_not_found
    ");
}

#[test]
fn things_that_do_not_exist_are_not_found() {
    let story = "release h1 · capture h1 · extend h1 for 60s · refund d1 · revoke g1 · thaw C · \
         reinstate C · freeze C of P 1 · reverse C of P 1";
    assert_snapshot!(play(story), @r"
    release h1        -> hold_not_found
    capture h1        -> hold_not_found
    extend h1 for 60s -> hold_not_found
    refund d1         -> debit_not_found
    revoke g1         -> grant_not_found
    thaw C            -> cause_not_found
    reinstate C       -> cause_not_found
    freeze C of P 1   -> grant_not_found
    reverse C of P 1  -> grant_not_found
    ");
}

#[test]
fn a_cause_freezes_reverses_and_reinstates_once() {
    let story = "grant 10 paid of P · freeze C of P 1 · freeze C of P 1 · reverse C of P 1 · \
         reverse C of P 1 · freeze C of P 1 · reinstate C · reinstate C";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P -> 10 left
    freeze C of P 1    -> 9 left, frozen 1
    freeze C of P 1    -> cause_repeated
    reverse C of P 1   -> 9 left
    reverse C of P 1   -> cause_repeated
    freeze C of P 1    -> cause_repeated
    reinstate C        -> 10 left
    reinstate C        -> cause_repeated
    ");
}

#[test]
fn unknown_things_are_told_before_the_standing_and_that_before_the_balance() {
    let story = "suspend · debit 1 · call nothing · active · debit 1";
    assert_snapshot!(play(story), @r"
    suspend      -> 0 left
    debit 1      -> tenant_suspended
    call nothing -> action_not_found
    active       -> 0 left
    debit 1      -> insufficient_credits (needs 1, has 0)
    ");
}

#[test]
fn limits_refuse_strict_spending_and_count_what_is_settled() {
    let story = "grant 100 · limit 10 per day · debit 4 · hold 6 · debit 1 · settle 3 · release h1 · debit 4 · \
         debit 3 · refund d1 · debit 5 · debit 4 · wait 1d · debit 10 · call gift · debit 1";
    assert_snapshot!(play(story), @r"
    grant 100        -> 100 left
    limit 10 per day -> 100 left
    debit 4          -> 96 left
    hold 6           -> 90 left, held 6
    debit 1          -> limit_reached (needs 1, used 10 of 10)
    settle 3         -> 87 left, held 6
    release h1       -> 93 left
    debit 4          -> limit_reached (needs 4, used 7 of 10)
    debit 3          -> 90 left
    refund d1        -> 94 left
    debit 5          -> limit_reached (needs 5, used 6 of 10)
    debit 4          -> 90 left
    wait 1d          -> 90 left
    debit 10         -> 80 left
    call gift        -> 80 left
    debit 1          -> limit_reached (needs 1, used 10 of 10)
    ");
}

#[test]
fn a_limit_of_one_action_concerns_no_other() {
    let story = "grant 100 · limit 9 per week on scan · call scan · call scan · debit 20 · wait 6d · call scan · wait 1d · call scan";
    assert_snapshot!(play(story), @r"
    grant 100                -> 100 left
    limit 9 per week on scan -> 100 left
    call scan                -> 95 left
    call scan                -> limit_reached (needs 5, used 5 of 9)
    debit 20                 -> 75 left
    wait 6d                  -> 75 left
    call scan                -> 70 left
    wait 1d                  -> 70 left
    call scan                -> limit_reached (needs 5, used 5 of 9)
    ");
}

#[test]
fn limits_are_told_after_the_standing_and_before_the_balance_and_another_wallet_may_pay() {
    let story = "limit 3 per month · suspend · debit 4 · active · debit 4 · debit 3 · grant 9 to sms · call text · grant 9 · call text in credit";
    assert_snapshot!(play(story), @r"
    limit 3 per month   -> 0 left
    suspend             -> 0 left
    debit 4             -> tenant_suspended
    active              -> 0 left
    debit 4             -> limit_reached (needs 4, used 0 of 3)
    debit 3             -> insufficient_credits (needs 3, has 0)
    grant 9 to sms      -> 0 left; sms 9 left
    call text           -> 0 left; sms 8 left
    grant 9             -> 9 left; sms 8 left
    call text in credit -> limit_reached (needs 4, used 0 of 3)
    ");
}

#[test]
fn a_hold_that_ran_out_counts_for_nothing() {
    let story = "grant 100 · limit 10 per day · hold 8 for 60s · debit 3 · wait 61s · debit 10 · capture h1 settle · debit 1";
    assert_snapshot!(play(story), @r"
    grant 100         -> 100 left
    limit 10 per day  -> 100 left
    hold 8 for 60s    -> 92 left, held 8
    debit 3           -> limit_reached (needs 3, used 8 of 10)
    wait 61s          -> 100 left
    debit 10          -> 90 left [hold_expire 8]
    capture h1 settle -> 82 left
    debit 1           -> limit_reached (needs 1, used 18 of 10)
    ");
}

/// Decides for a tenant with these wallets, at a time when nothing is due.
fn ask(wallets: Vec<Wallet>, movement: Movement) -> Result<(), &'static str> {
    let now = Timestamp(1_000_000);
    let command = Command {
        id: Id::new(1, 1),
        tenant: TenantNo(1),
        user: None,
        actor: Actor::WORKER,
        occurred_at: now,
        text_digest: None,
        movement,
    };
    let catalogue = Catalogue::default();
    let mut state = State {
        catalogue: &catalogue,
        standing: Standing::Active,
        confirm_above: None,
        wallets,
        history: Vec::new(),
        counters: Vec::new(),
    };
    decide(&mut state, &command, now).map(drop).map_err(|rejection| rejection.code())
}

/// A wallet with this many lots of one credit each, as a store would load it.
fn crumbs(count: usize) -> Wallet {
    let mut wallet = Wallet::new(TenantNo(1), Owner::Pool(1), Unit::credit());
    let lot = |number: usize| {
        let terms = LotTerms {
            id: Id(number as u128 + 1),
            kind: GrantKind::Promotional,
            priority: 0,
            effective_at: Timestamp(0),
            expires_at: None,
            granted: Amount(1),
            paid: None,
            origin: Some(Id(7)),
            parent: None,
        };
        Lot { remaining: Amount(1), ..Lot::new(terms) }
    };
    wallet.lots = (0..count).map(lot).collect();
    wallet.settled = Amount(count as i64);
    wallet.restore().expect("the equations hold")
}

#[test]
fn one_entry_touches_so_many_lots_and_no_more() {
    let most = ALLOCATIONS_MAX as i64;
    let transfer = |amount: i64| {
        let other = Wallet::new(TenantNo(1), Owner::Pool(2), Unit::credit());
        ask(vec![crumbs(ALLOCATIONS_MAX + 1), other], Movement::Transfer { amount: Amount(amount) })
    };
    assert_eq!(transfer(most + 1), Err("too_many_lots"));
    assert_eq!(transfer(most), Ok(()));
}

#[test]
fn a_wallet_that_is_not_there_is_not_found() {
    let grant = Grant {
        amount: Amount(1),
        kind: GrantKind::Paid,
        priority: 0,
        effective_at: None,
        expires_at: None,
        paid: None,
        origin: None,
    };
    assert_eq!(ask(Vec::new(), Movement::Grant(grant)), Err("wallet_not_found"));
    let buyer = WalletId(Id(5));
    let reverse = Reverse { cause: Id(1), origin: Id(7), amount: Amount(1), buyer };
    assert_eq!(ask(vec![crumbs(1)], Movement::Reverse(reverse)), Err("wallet_not_found"));
}

#[test]
fn every_code_that_the_rule_book_answers_is_told_by_a_script() {
    let scripts = [include_str!("scripts.rs"), include_str!("refusals.rs")].concat();
    let told = |code: &str| scripts.contains(&format!("-> {code}"));
    let codes = [
        "amount_not_positive",
        "amount_overflow",
        "time_invalid",
        "usage_invalid",
        "unit_mismatch",
        "same_wallet",
        "action_not_found",
        "hold_not_found",
        "debit_not_found",
        "grant_not_found",
        "cause_not_found",
        "tenant_suspended",
        "spending_frozen",
        "tenant_closed",
        "hold_expired",
        "hold_closed",
        "capture_exceeds_hold",
        "hold_life_exceeded",
        "refund_exceeds_debit",
        "revoke_exceeds_unspent",
        "cause_repeated",
        "insufficient_credits",
        "limit_reached",
        "confirmation_required",
    ];
    let missing: Vec<_> = codes.into_iter().filter(|code| !told(code)).collect();
    assert!(missing.is_empty(), "no script tells {missing:?}");
}

/// Asks for a debit of an action that costs 5 now, of a wallet with so much, at the instant 1,000,000.
fn quoted(standing: Standing, has: usize, settle: bool, quote: Quote) -> Result<Decision, Rejection> {
    decided_for(None, standing, has, settle, Some(quote), [None, None])
}

/// The same where no more than this may be spent in a month.
fn limited(
    most: Option<i64>,
    standing: Standing,
    has: usize,
    settle: bool,
    quote: Quote,
) -> Result<Decision, Rejection> {
    decided_for(most, standing, has, settle, Some(quote), [None, None])
}

/// The same with or without a quote, where the action and the user say above how much is asked.
fn asked(
    standing: Standing,
    has: usize,
    settle: bool,
    quote: Option<Quote>,
    above: [Option<i64>; 2],
) -> Result<Decision, Rejection> {
    decided_for(None, standing, has, settle, quote, above)
}

fn decided_for(
    most: Option<i64>,
    standing: Standing,
    has: usize,
    settle: bool,
    quote: Option<Quote>,
    above: [Option<i64>; 2],
) -> Result<Decision, Rejection> {
    let thresholds = |above: Option<i64>| -> Thresholds {
        above.into_iter().map(|above| (Unit::credit().code, Amount(above))).collect()
    };
    let [of_action, of_user] = above.map(thresholds);
    let credit = Unit::credit().code;
    let price = |id: u128, at, amount| Price {
        id: Id(id),
        unit: credit.clone(),
        valid_from: Timestamp(at),
        model: Model::Flat { amount: Amount(amount) },
    };
    let action = Action {
        no: 1,
        key: Key::parse("scan").expect("a key"),
        active: true,
        confirm_above: of_action,
        overage: Overage::Refuse,
        units: vec![credit.clone()],
        prices: vec![price(70, 0, 3), price(71, 500, 5)],
    };
    let limit = most.map(|most| Limit {
        id: Id(8),
        tenant: TenantNo(1),
        whose: Whose::Everybody,
        action: None,
        unit: credit,
        amount: Amount(most),
        period: Period::Month,
        enforced: true,
        alert_at: Vec::new(),
    });
    let catalogue = Catalogue::new([], [action]).with_limits(limit);
    let debit =
        Debit { action: 1, usage: Usage::Quantity(Quantity::ONE), unit: None, wallet: None, settle, quote };
    let now = Timestamp(1_000_000);
    let command = Command {
        id: Id::new(1, 1),
        tenant: TenantNo(1),
        user: None,
        actor: Actor::WORKER,
        occurred_at: now,
        text_digest: None,
        movement: Movement::Debit(debit),
    };
    let mut state = State {
        catalogue: &catalogue,
        standing,
        confirm_above: Some(&of_user),
        wallets: vec![crumbs(has)],
        history: Vec::new(),
        counters: Vec::new(),
    };
    decide(&mut state, &command, now)
}

/// A promise of 3 until just after now.
fn promise() -> Promise {
    let (unit, expires_at, footing) = (Unit::credit().code, Timestamp(1_000_001), Footing::default());
    Promise { id: Id(9), price: Id(70), unit, amount: Amount(3), footing, expires_at, used: false }
}

#[test]
fn a_promise_holds_whatever_the_price_is_now_and_the_entry_names_its_version() {
    let decision = quoted(Standing::Active, 4, false, Quote::Promise(promise())).expect("3 of 4");
    let [entry] = &decision.entries[..] else { panic!("{decision:?}") };
    let Terms::Charge(charge) = &entry.terms else { panic!("{entry:?}") };
    assert_eq!((entry.amount, charge.cost, charge.price), (Amount(-3), Amount(3), Some(Id(70))));
}

#[test]
fn a_bad_quote_is_refused_after_the_standing_and_before_the_lack_of_credits() {
    let used = Quote::Promise(Promise { used: true, ..promise() });
    let over = Quote::Promise(Promise { expires_at: Timestamp(1_000_000), ..promise() });
    let codes = [
        (Quote::Invalid, "quote_invalid"),
        (Quote::Mismatch, "quote_mismatch"),
        (used, "quote_used"),
        (over, "quote_expired"),
    ];
    let code = |standing, has, settle, quote: &Quote| {
        quoted(standing, has, settle, quote.clone()).map(drop).map_err(|rejection| rejection.code())
    };
    for (quote, expected) in &codes {
        for has in [0, 10] {
            assert_eq!(code(Standing::Suspended, has, false, quote), Err("tenant_suspended"));
            assert_eq!(code(Standing::Frozen, has, false, quote), Err("spending_frozen"));
            assert_eq!(code(Standing::Active, has, false, quote), Err(*expected));
            // Work already done as well: with a quote it asks for the promised price, which is not to be had.
            assert_eq!(code(Standing::Active, has, true, quote), Err(*expected));
        }
    }
    let good = Quote::Promise(promise());
    assert_eq!(code(Standing::Active, 2, false, &good), Err("insufficient_credits"));
    assert_eq!(code(Standing::Active, 2, true, &good), Ok(()));
}

#[test]
fn a_limit_is_refused_after_a_bad_quote_and_before_the_lack_of_credits() {
    let code = |most, has, settle, quote: Quote| {
        let decided = limited(Some(most), Standing::Active, has, settle, quote);
        decided.map(drop).map_err(|rejection| rejection.code())
    };
    let good = || Quote::Promise(promise());
    assert_eq!(code(2, 10, false, Quote::Invalid), Err("quote_invalid"));
    assert_eq!(code(2, 10, false, good()), Err("limit_reached"));
    assert_eq!(code(2, 0, false, good()), Err("limit_reached"));
    assert_eq!(code(2, 0, true, good()), Ok(()));
    assert_eq!(code(3, 2, false, good()), Err("insufficient_credits"));
    assert_eq!(code(3, 3, false, good()), Ok(()));
    let decision = limited(Some(3), Standing::Active, 3, false, good()).expect("as much as may be");
    let month = Period::Month.around(Timestamp(1_000_000));
    let key = CounterKey { tenant: TenantNo(1), subject: Id(0), rule: Id(8), period_start: month.from };
    assert_eq!(decision.counts, [(key, 3)]);
}

#[test]
fn what_costs_more_than_may_be_spent_without_asking_is_asked_for_its_quote() {
    let story = "grant 1100 · call work 500 · call work 501 · ask_above 3 · debit 3 · debit 4 · hold 4 · \
         hold 3 · extend h1 to 4 · capture h1 4 · settle 4";
    assert_snapshot!(play(story), @r"
    grant 1100     -> 1100 left
    call work 500  -> 600 left
    call work 501  -> confirmation_required (needs 501, asked above 500)
    ask_above 3    -> 600 left
    debit 3        -> 597 left
    debit 4        -> confirmation_required (needs 4, asked above 3)
    hold 4         -> confirmation_required (needs 4, asked above 3)
    hold 3         -> 594 left, held 3
    extend h1 to 4 -> 593 left, held 4
    capture h1 4   -> 593 left
    settle 4       -> 589 left
    ");
}

#[test]
fn the_lower_of_the_two_thresholds_counts_and_the_cost_has_to_be_above_it() {
    let code = |above| {
        let decided = asked(Standing::Active, 10, false, None, above);
        decided.map(drop).map_err(|rejection| rejection.code())
    };
    let refused = Err("confirmation_required");
    assert_eq!(code([None, None]), Ok(()));
    assert_eq!(code([Some(5), None]), Ok(()));
    assert_eq!(code([None, Some(5)]), Ok(()));
    assert_eq!(code([Some(4), None]), refused);
    assert_eq!(code([None, Some(4)]), refused);
    assert_eq!(code([Some(4), Some(9)]), refused);
    assert_eq!(code([Some(9), Some(4)]), refused);
    let rejection =
        asked(Standing::Active, 10, false, None, [Some(4), Some(2)]).expect_err("5 is more than 2");
    let Rejection::ConfirmationRequired { required, above, priced, wallet, .. } = rejection else {
        panic!("{rejection:?}")
    };
    let price = priced.map(|priced| priced.price);
    assert_eq!((required, above, price), (Amount(5), Amount(2), Some(Id(71))));
    assert_eq!(wallet, crumbs(1).key.id);
}

#[test]
fn a_confirmation_is_asked_for_last_and_not_of_what_brings_its_quote_or_is_done_already() {
    let code = |standing, has, settle, quote| {
        let decided = asked(standing, has, settle, quote, [Some(0), Some(0)]);
        decided.map(drop).map_err(|rejection| rejection.code())
    };
    assert_eq!(code(Standing::Suspended, 10, false, None), Err("tenant_suspended"));
    assert_eq!(code(Standing::Active, 10, false, Some(Quote::Invalid)), Err("quote_invalid"));
    assert_eq!(code(Standing::Active, 4, false, None), Err("insufficient_credits"));
    assert_eq!(code(Standing::Active, 5, false, None), Err("confirmation_required"));
    assert_eq!(code(Standing::Active, 5, false, Some(Quote::Promise(promise()))), Ok(()));
    assert_eq!(code(Standing::Active, 5, true, None), Ok(()));
}
