//! The rules as scripts: each one reads as documentation. What is refused, and with which code: `refusals.rs`.
//!
//! See `play/mod.rs` for the words. Amounts are in the smallest part of the unit.

#![allow(unreachable_pub, reason = "the modules of a test are read nowhere else")]

mod play;
mod world;

use insta::assert_snapshot;
use play::play;

#[test]
fn spending_more_than_is_left_is_refused_and_changes_nothing() {
    let story = "grant 100 paid · debit 70 · debit 31 · debit 30 · debit 1";
    assert_snapshot!(play(story), @r"
    grant 100 paid -> 100 left
    debit 70       -> 30 left
    debit 31       -> insufficient_credits (needs 31, has 30)
    debit 30       -> 0 left
    debit 1        -> insufficient_credits (needs 1, has 0)
    ");
}

#[test]
fn what_costs_nothing_is_always_allowed() {
    let story = "call gift · settle 5 · call gift";
    assert_snapshot!(play(story), @r"
    call gift -> 0 left
    settle 5  -> -5 left, debt 5
    call gift -> -5 left, debt 5
    ");
}

#[test]
fn sooner_expiring_credits_burn_first_and_never_last() {
    let story = "grant 10 · grant 10 until 60s · debit 10 · wait 60s";
    assert_snapshot!(play(story), @r"
    grant 10           -> 10 left
    grant 10 until 60s -> 20 left
    debit 10           -> 10 left
    wait 60s           -> 10 left
    ");
}

#[test]
fn lower_priority_burns_before_sooner_expiry() {
    let story = "grant 10 until 60s · grant 10 priority -1 · debit 10 · wait 60s";
    assert_snapshot!(play(story), @r"
    grant 10 until 60s   -> 10 left
    grant 10 priority -1 -> 20 left
    debit 10             -> 10 left
    wait 60s             -> 0 left
    ");
}

#[test]
fn promotional_burns_before_adjustment_before_paid() {
    let story = "grant 10 paid · grant 10 adjustment · grant 10 · debit 10 · revoke g3 · debit 10 · \
         revoke g2 · revoke g1";
    assert_snapshot!(play(story), @r"
    grant 10 paid       -> 10 left
    grant 10 adjustment -> 20 left
    grant 10            -> 30 left
    debit 10            -> 20 left
    revoke g3           -> revoke_exceeds_unspent (at most 0)
    debit 10            -> 10 left
    revoke g2           -> revoke_exceeds_unspent (at most 0)
    revoke g1           -> 0 left
    ");
}

#[test]
fn a_pending_grant_counts_from_its_instant() {
    let story = "grant 10 in 10s · debit 1 · wait 10s · debit 1";
    assert_snapshot!(play(story), @r"
    grant 10 in 10s -> 0 left, pending 10
    debit 1         -> insufficient_credits (needs 1, has 0)
    wait 10s        -> 10 left
    debit 1         -> 9 left
    ");
}

#[test]
fn expiry_is_exact_without_a_sweeper() {
    let story = "grant 10 until 10s · wait 9s · debit 1 · wait 1s · debit 1 · sweep";
    assert_snapshot!(play(story), @r"
    grant 10 until 10s -> 10 left
    wait 9s            -> 10 left
    debit 1            -> 9 left
    wait 1s            -> 0 left
    debit 1            -> insufficient_credits (needs 1, has 0)
    sweep              -> 0 left [expire 9]
    ");
}

#[test]
fn a_refused_command_books_nothing_not_even_what_is_due() {
    let story = "grant 10 until 10s · wait 20s · debit 1 · grant 1";
    assert_snapshot!(play(story), @r"
    grant 10 until 10s -> 10 left
    wait 20s           -> 0 left
    debit 1            -> insufficient_credits (needs 1, has 0)
    grant 1            -> 1 left [expire 10]
    ");
}

#[test]
fn a_revoke_takes_what_is_unspent_unpinned_and_unfrozen() {
    let story = "grant 100 paid of P · debit 10 · hold 20 · freeze C of P 5 · revoke g1 66 · \
         revoke g1 60 · revoke g1 · revoke g1";
    assert_snapshot!(play(story), @r"
    grant 100 paid of P -> 100 left
    debit 10            -> 90 left
    hold 20             -> 70 left, held 20
    freeze C of P 5     -> 65 left, held 20, frozen 5
    revoke g1 66        -> revoke_exceeds_unspent (at most 65)
    revoke g1 60        -> 5 left, held 20, frozen 5
    revoke g1           -> 0 left, held 20, frozen 5
    revoke g1           -> revoke_exceeds_unspent (at most 0)
    ");
}

#[test]
fn work_that_is_done_is_settled_and_may_make_debt() {
    let story = "grant 10 · settle 25 · debit 1 · settle 5";
    assert_snapshot!(play(story), @r"
    grant 10  -> 10 left
    settle 25 -> -15 left, debt 15
    debit 1   -> insufficient_credits (needs 1, has -15)
    settle 5  -> -20 left, debt 20
    ");
}

#[test]
fn every_credit_that_comes_in_repays_debt_first_the_oldest_before() {
    let story = "settle 10 · settle 20 · grant 15 · grant 20";
    assert_snapshot!(play(story), @r"
    settle 10 -> -10 left, debt 10
    settle 20 -> -30 left, debt 30
    grant 15  -> -15 left, debt 15 [repay 10, repay 5]
    grant 20  -> 5 left [repay 15]
    ");
}

#[test]
fn a_pending_grant_repays_debt_when_it_becomes_effective() {
    let story = "settle 10 · grant 30 in 10s · wait 10s · debit 21 · debit 20";
    assert_snapshot!(play(story), @r"
    settle 10       -> -10 left, debt 10
    grant 30 in 10s -> -10 left, pending 30, debt 10
    wait 10s        -> 20 left
    debit 21        -> insufficient_credits (needs 21, has 20)
    debit 20        -> 0 left [repay 10]
    ");
}

#[test]
fn a_refund_gives_back_at_most_the_debit_in_any_number_of_parts() {
    let story = "grant 10 · debit 10 · refund d1 4 · refund d1 7 · refund d1 · refund d1";
    assert_snapshot!(play(story), @r"
    grant 10    -> 10 left
    debit 10    -> 0 left
    refund d1 4 -> 4 left
    refund d1 7 -> refund_exceeds_debit (at most 6)
    refund d1   -> 10 left
    refund d1   -> refund_exceeds_debit (at most 0)
    ");
}

#[test]
fn a_refund_lowers_the_debits_own_debt_first() {
    let story = "grant 4 · settle 10 · refund d1 5 · refund d1";
    assert_snapshot!(play(story), @r"
    grant 4     -> 4 left
    settle 10   -> -6 left, debt 6
    refund d1 5 -> -1 left, debt 1
    refund d1   -> 4 left
    ");
}

#[test]
fn a_refund_after_repayment_gives_back_to_the_lots_that_repaid() {
    let story = "grant 4 until 1h · settle 10 · grant 20 · refund d1 6 · wait 1h · refund d1";
    assert_snapshot!(play(story), @r"
    grant 4 until 1h -> 4 left
    settle 10        -> -6 left, debt 6
    grant 20         -> 14 left [repay 6]
    refund d1 6      -> 20 left
    wait 1h          -> 20 left
    refund d1        -> 24 left
    ");
}

#[test]
fn credits_of_an_expired_lot_come_back_with_seven_days() {
    let story = "grant 10 until 60s · debit 10 · wait 2m · refund d1 · wait 6d · debit 3 · wait 1d · \
         debit 1";
    assert_snapshot!(play(story), @r"
    grant 10 until 60s -> 10 left
    debit 10           -> 0 left
    wait 2m            -> 0 left
    refund d1          -> 10 left
    wait 6d            -> 10 left
    debit 3            -> 7 left
    wait 1d            -> 0 left
    debit 1            -> insufficient_credits (needs 1, has 0)
    ");
}

#[test]
fn a_hold_pins_what_others_cannot_spend() {
    let story = "grant 10 · hold 8 · debit 3 · debit 2 · capture h1";
    assert_snapshot!(play(story), @r"
    grant 10   -> 10 left
    hold 8     -> 2 left, held 8
    debit 3    -> insufficient_credits (needs 3, has 2)
    debit 2    -> 0 left, held 8
    capture h1 -> 0 left
    ");
}

#[test]
fn a_capture_below_the_hold_frees_the_rest_and_is_refunded_by_the_name_of_the_hold() {
    let story = "grant 10 · hold 8 · capture h1 3 · refund h1";
    assert_snapshot!(play(story), @r"
    grant 10     -> 10 left
    hold 8       -> 2 left, held 8
    capture h1 3 -> 7 left
    refund h1    -> 10 left
    ");
}

#[test]
fn a_capture_beyond_the_hold_is_refused_by_default_and_the_hold_stays() {
    let story = "grant 20 · hold 8 · capture h1 9 · capture h1 8";
    assert_snapshot!(play(story), @r"
    grant 20     -> 20 left
    hold 8       -> 12 left, held 8
    capture h1 9 -> capture_exceeds_hold (needs 9, holds 8, at most 8)
    capture h1 8 -> 12 left
    ");
}

#[test]
fn a_capture_may_go_beyond_by_a_percentage_if_that_is_available() {
    let story = "grant 13 · hold 8 on elastic · capture h1 13 · debit 2 · capture h1 12 · \
         capture h1 11";
    assert_snapshot!(play(story), @r"
    grant 13          -> 13 left
    hold 8 on elastic -> 5 left, held 8
    capture h1 13     -> capture_exceeds_hold (needs 13, holds 8, at most 12)
    debit 2           -> 3 left, held 8
    capture h1 12     -> insufficient_credits (needs 4, has 3)
    capture h1 11     -> 0 left
    ");
}

#[test]
fn a_capture_beyond_the_hold_may_make_debt_where_the_action_says_so() {
    let story = "grant 10 · hold 8 on loose · capture h1 15";
    assert_snapshot!(play(story), @r"
    grant 10        -> 10 left
    hold 8 on loose -> 2 left, held 8
    capture h1 15   -> -5 left, debt 5
    ");
}

#[test]
fn pins_survive_the_expiry_of_their_lot() {
    let story = "grant 10 until 60s · hold 8 for 5m · wait 2m · capture h1 5";
    assert_snapshot!(play(story), @r"
    grant 10 until 60s -> 10 left
    hold 8 for 5m      -> 2 left, held 8
    wait 2m            -> 0 left, held 8
    capture h1 5       -> 0 left [expire 2, expire 3]
    ");
}

#[test]
fn released_pins_of_an_expired_lot_expire_at_once() {
    let story = "grant 10 until 60s · hold 8 for 5m · wait 2m · release h1";
    assert_snapshot!(play(story), @r"
    grant 10 until 60s -> 10 left
    hold 8 for 5m      -> 2 left, held 8
    wait 2m            -> 0 left, held 8
    release h1         -> 0 left [expire 2, expire 8]
    ");
}

#[test]
fn a_hold_that_ran_out_pins_nothing_and_can_only_be_settled() {
    let story = "grant 10 · hold 8 for 60s · wait 60s · capture h1 · release h1 · extend h1 for 60s · \
         capture h1 12 settle · capture h1 settle";
    assert_snapshot!(play(story), @r"
    grant 10             -> 10 left
    hold 8 for 60s       -> 2 left, held 8
    wait 60s             -> 10 left
    capture h1           -> hold_expired
    release h1           -> hold_expired
    extend h1 for 60s    -> hold_expired
    capture h1 12 settle -> -2 left, debt 2 [hold_expire 8]
    capture h1 settle    -> hold_closed (captured)
    ");
}

#[test]
fn an_extension_makes_a_hold_longer_or_larger_but_never_smaller() {
    let story = "grant 10 · hold 4 for 60s · extend h1 to 7 · extend h1 to 2 · extend h1 to 11 · \
         extend h1 for 2m · wait 90s · capture h1";
    assert_snapshot!(play(story), @r"
    grant 10         -> 10 left
    hold 4 for 60s   -> 6 left, held 4
    extend h1 to 7   -> 3 left, held 7
    extend h1 to 2   -> 3 left, held 7
    extend h1 to 11  -> insufficient_credits (needs 4, has 3)
    extend h1 for 2m -> 3 left, held 7
    wait 90s         -> 3 left, held 7
    capture h1       -> 3 left
    ");
}

#[test]
fn a_hold_lives_a_day_at_most_with_all_its_extensions() {
    let story = "grant 10 · hold 4 for 24h · hold 1 for 25h · wait 1h · extend h1 for 24h · \
         extend h1 for 23h";
    assert_snapshot!(play(story), @r"
    grant 10          -> 10 left
    hold 4 for 24h    -> 6 left, held 4
    hold 1 for 25h    -> time_invalid
    wait 1h           -> 6 left, held 4
    extend h1 for 24h -> hold_life_exceeded
    extend h1 for 23h -> 6 left, held 4
    ");
}

#[test]
fn at_the_same_instant_a_hold_ends_before_its_lot() {
    let story = "grant 10 until 60s · hold 4 for 60s · wait 60s · sweep";
    assert_snapshot!(play(story), @r"
    grant 10 until 60s -> 10 left
    hold 4 for 60s     -> 6 left, held 4
    wait 60s           -> 0 left
    sweep              -> 0 left [hold_expire 4, expire 10]
    ");
}

#[test]
fn what_is_captured_or_released_is_closed() {
    let story = "grant 10 · hold 4 · hold 4 · capture h1 · release h2 · capture h1 · release h2 · \
         extend h1 for 60s";
    assert_snapshot!(play(story), @r"
    grant 10          -> 10 left
    hold 4            -> 6 left, held 4
    hold 4            -> 2 left, held 8
    capture h1        -> 2 left, held 4
    release h2        -> 6 left
    capture h1        -> hold_closed (captured)
    release h2        -> hold_closed (released)
    extend h1 for 60s -> hold_closed (captured)
    ");
}

#[test]
fn a_transfer_moves_lots_with_their_terms() {
    let story = "grant 10 until 60s · grant 10 · transfer 15 · wait 60s · sweep";
    assert_snapshot!(play(story), @r"
    grant 10 until 60s -> 10 left
    grant 10           -> 20 left
    transfer 15        -> 5 left; pool 15 left
    wait 60s           -> 5 left; pool 5 left
    sweep              -> 5 left; pool 5 left [expire 10]
    ");
}

#[test]
fn a_transfer_repays_the_debt_of_the_receiver() {
    let story = "settle 5 from pool · grant 10 · transfer 8";
    assert_snapshot!(play(story), @r"
    settle 5 from pool -> 0 left; pool -5 left, debt 5
    grant 10           -> 10 left; pool -5 left, debt 5
    transfer 8         -> 2 left; pool 3 left [repay 5]
    ");
}

#[test]
fn the_first_wallet_that_covers_in_full_pays() {
    let story = "grant 10 · grant 20 to pool · debit 15 · debit 8 · debit 5 · debit 6";
    assert_snapshot!(play(story), @r"
    grant 10         -> 10 left
    grant 20 to pool -> 10 left; pool 20 left
    debit 15         -> 10 left; pool 5 left
    debit 8          -> 2 left; pool 5 left
    debit 5          -> 2 left; pool 0 left
    debit 6          -> insufficient_credits (needs 6, has 2)
    ");
}

#[test]
fn a_settle_debit_that_none_covers_is_taken_by_the_first_wallet() {
    let story = "grant 10 · grant 20 to pool · settle 25";
    assert_snapshot!(play(story), @r"
    grant 10         -> 10 left
    grant 20 to pool -> 10 left; pool 20 left
    settle 25        -> -15 left, debt 15; pool 20 left
    ");
}

#[test]
fn an_action_of_two_units_is_paid_in_its_first_unit_while_that_lasts() {
    let story = "grant 4 · grant 1 to sms · call text · call text · call text";
    assert_snapshot!(play(story), @r"
    grant 4        -> 4 left
    grant 1 to sms -> 4 left; sms 1 left
    call text      -> 4 left; sms 0 left
    call text      -> 0 left; sms 0 left
    call text      -> insufficient_credits (needs 1, has 0)
    ");
}

#[test]
fn frozen_credit_cannot_be_spent_until_it_is_thawed() {
    let story = "grant 10 paid of P · freeze C of P 8 · debit 3 · debit 2 · thaw C";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P -> 10 left
    freeze C of P 8    -> 2 left, frozen 8
    debit 3            -> insufficient_credits (needs 3, has 2)
    debit 2            -> 0 left, frozen 8
    thaw C             -> 8 left
    ");
}

#[test]
fn a_freeze_takes_what_is_free_and_the_rest_as_it_comes_free() {
    let story = "grant 10 paid of P · hold 8 · freeze C of P 10 · release h1";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P -> 10 left
    hold 8             -> 2 left, held 8
    freeze C of P 10   -> 0 left, held 8, frozen 2
    release h1         -> 0 left, frozen 10 [freeze 8]
    ");
}

#[test]
fn frozen_credit_does_not_expire_and_thawed_credit_of_an_expired_lot_does() {
    let story = "grant 10 paid of P until 60s · freeze C of P 6 · wait 60s · thaw C";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P until 60s -> 10 left
    freeze C of P 6              -> 4 left, frozen 6
    wait 60s                     -> 0 left, frozen 6
    thaw C                       -> 0 left [expire 4, expire 6]
    ");
}

#[test]
fn a_reversal_takes_frozen_then_free_credit_and_makes_debt_of_the_rest() {
    let story = "grant 10 paid of P · debit 4 · freeze C of P 10 · reverse C of P 10 · grant 6";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P -> 10 left
    debit 4            -> 6 left
    freeze C of P 10   -> 0 left, frozen 6
    reverse C of P 10  -> -4 left, debt 4
    grant 6            -> 2 left [repay 4]
    ");
}

#[test]
fn a_reversal_takes_paid_lots_before_bonus_lots() {
    let story = "grant 3 of P · grant 10 paid of P · reverse C of P 10 · revoke g2 · revoke g1";
    assert_snapshot!(play(story), @r"
    grant 3 of P       -> 3 left
    grant 10 paid of P -> 13 left
    reverse C of P 10  -> 3 left
    revoke g2          -> revoke_exceeds_unspent (at most 0)
    revoke g1          -> 0 left
    ");
}

#[test]
fn a_reversal_follows_the_purchase_through_transfers() {
    let story = "grant 10 paid of P · transfer 6 · reverse C of P 10";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P -> 10 left
    transfer 6         -> 4 left; pool 6 left
    reverse C of P 10  -> 0 left; pool 0 left
    ");
}

#[test]
fn a_reversal_of_what_expired_unspent_moves_no_credit() {
    let story = "grant 10 paid of P until 60s · wait 60s · reverse C of P 10";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P until 60s -> 10 left
    wait 60s                     -> 0 left
    reverse C of P 10            -> 0 left [expire 10]
    ");
}

#[test]
fn a_reinstatement_undoes_a_reversal_exactly() {
    let story = "grant 10 paid of P · debit 4 · reverse C of P 10 · reinstate C · reinstate C";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P -> 10 left
    debit 4            -> 6 left
    reverse C of P 10  -> -4 left, debt 4
    reinstate C        -> 6 left
    reinstate C        -> cause_repeated
    ");
}

#[test]
fn a_reinstatement_gives_back_what_repaid_the_debt() {
    let story = "grant 10 paid of P · debit 4 · reverse C of P 10 · grant 5 · reinstate C";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P -> 10 left
    debit 4            -> 6 left
    reverse C of P 10  -> -4 left, debt 4
    grant 5            -> 1 left [repay 4]
    reinstate C        -> 11 left
    ");
}

#[test]
fn a_refund_of_a_reversed_purchase_lowers_its_debt_before_older_debt() {
    let story = "grant 10 paid of P · debit 10 · settle 3 · reverse C of P 10 · refund d1 6";
    assert_snapshot!(play(story), @r"
    grant 10 paid of P -> 10 left
    debit 10           -> 0 left
    settle 3           -> -3 left, debt 3
    reverse C of P 10  -> -13 left, debt 13
    refund d1 6        -> -7 left, debt 7 [repay 6]
    ");
}
