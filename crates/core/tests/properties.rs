//! The laws over arbitrary stories: the real rule book against an independent model, and each law by itself.
//!
//! `PROPTEST_CASES` sets how many stories each property tells; every story is one tenant with up to three wallets.

#![allow(unreachable_pub, reason = "the modules of a test are read nowhere else")]

mod generate;
mod laws;
mod model;
mod story;
mod world;

use generate::{Op, any_catalogue, any_steps};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use story::Story;

/// How many stories each property tells unless `PROPTEST_CASES` says otherwise.
fn cases(default: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    Config { cases, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn every_answer_and_every_balance_is_what_the_model_predicts(
        catalogue in any_catalogue(), count in 1_usize..=3, steps in any_steps(60)
    ) {
        let mut story = Story::new(catalogue, count);
        for step in &steps {
            let _ = story.tell(step);
            laws::after_each_step(&mut story);
            story.agrees_with_the_model();
        }
        laws::at_the_end(&story);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn booking_what_is_due_early_or_late_gives_the_same_answers_and_balances(
        catalogue in any_catalogue(),
        count in 1_usize..=3,
        steps in any_steps(40),
        sweeps in prop::collection::vec((any::<bool>(), 0_i64..=100), 40),
    ) {
        // What ran out in another wallet counts against limits and in metered prices until it is booked there.
        let counts = catalogue.actions().flat_map(|action| &action.prices).any(|price| price.model.meter().is_some());
        let count = if counts || !catalogue.limits(generate::TENANT).is_empty() { 1 } else { count };
        let mut idle = Story::new(catalogue.clone(), count);
        let mut swept = Story::new(catalogue, count);
        for (step, (sweep, percent)) in steps.iter().zip(sweeps) {
            if sweep {
                swept.sweep_at(swept.now + step.after * percent / 100);
            }
            let (left, right) = (idle.tell(step), swept.tell(step));
            prop_assert_eq!(left.map(drop), right.map(drop));
            prop_assert_eq!(idle.numbers(), swept.numbers());
        }
    }

    #[test]
    fn any_changed_removed_or_moved_entry_breaks_the_rebuild(
        catalogue in any_catalogue(), steps in any_steps(30), place in any::<prop::sample::Index>(), seed in any::<u64>()
    ) {
        let mut story = Story::new(catalogue, 1);
        for step in steps.iter().filter(|step| !matches!(step.op, Op::Standing(_))) {
            let _ = story.tell(step);
        }
        let entries = &story.world.entries;
        if !entries.is_empty() {
            laws::damage_is_found(&story, place.index(entries.len()), seed);
        }
    }
}

/// A property proves nothing about what its stories never meet.
#[test]
fn the_stories_meet_every_kind_of_entry_and_every_refusal() {
    let mut runner = TestRunner::deterministic();
    let strategy = (any_catalogue(), any_steps(60));
    let mut met: BTreeMap<&'static str, u32> = BTreeMap::new();
    for _ in 0..800 {
        let (catalogue, steps) = strategy.new_tree(&mut runner).expect("a story").current();
        let mut story = Story::new(catalogue, 3);
        for step in &steps {
            if let Err(rejection) = story.tell(step) {
                *met.entry(rejection.code()).or_default() += 1;
            }
        }
        for entry in &story.world.entries {
            *met.entry(laws::event(entry)).or_default() += 1;
        }
    }
    let missing: Vec<_> =
        laws::EVENTS.iter().filter(|event| met.get(*event).copied().unwrap_or(0) < 5).collect();
    assert!(missing.is_empty(), "too rare: {missing:?} in {met:#?}");
}
