//! Every model against hand-computed tables, and what holds for all of them.

use super::*;
use proptest::prelude::*;

fn rate(text: &str, per: i64) -> Rate {
    Rate { rate: Decimal(crate::amount::parse_decimal(text, Decimal::DECIMALS).expect("a rate")), per }
}

fn tokens(input: i64, output: i64) -> Usage {
    Usage::Dimensions(vec![
        ("input_tokens".into(), Quantity(input * 1_000_000)),
        ("output_tokens".into(), Quantity(output * 1_000_000)),
    ])
}

fn per_million(bounds: Bounds) -> Model {
    Model::PerDimension {
        rates: vec![
            ("input_tokens".into(), rate("3", 1_000_000)),
            ("output_tokens".into(), rate("15", 1_000_000)),
        ],
        bounds,
    }
}

#[test]
fn costs_follow_the_hand_computed_table() {
    let credit = Scale::MAX;
    let whole = Scale::new(0).expect("a scale");
    let up = Bounds::default();
    let down = Bounds { rounding: Rounding::Down, ..up };
    let half = Bounds { rounding: Rounding::HalfEven, ..up };
    let quantity = |text: &str, per, bounds| Model::PerQuantity { rate: rate(text, per), bounds };
    let of = |count: i64| Usage::Quantity(Quantity(count));
    // (model, usage, scale, cost in smallest parts)
    let table = [
        (Model::Free, of(7_000_000), credit, 0),
        (Model::Flat { amount: Amount(5_000_000) }, of(1_000_000), credit, 5_000_000),
        (quantity("0.5", 1, up), of(3_000_000), credit, 1_500_000),
        (quantity("0.5", 1, up), of(3_000_000), whole, 2),
        (quantity("0.5", 1, down), of(3_000_000), whole, 1),
        (quantity("0.5", 1, half), of(3_000_000), whole, 2),
        (quantity("0.5", 1, half), of(5_000_000), whole, 2),
        (quantity("1", 3, up), of(1_000_000), credit, 333_334),
        (quantity("0.000000000001", 1, up), of(1), credit, 1),
        (quantity("2", 1, Bounds { minimum: Some(Amount(9)), ..up }), of(0), whole, 9),
        (quantity("2", 1, Bounds { maximum: Some(Amount(9)), ..up }), of(5_000_000), whole, 9),
        (per_million(up), tokens(4_808, 10), credit, 14_574),
        (per_million(up), tokens(0, 1), credit, 15),
        (per_million(down), tokens(0, 1), Scale::new(4).expect("a scale"), 0),
    ];
    for (model, usage, scale, cost) in table {
        assert_eq!(model.cost(&usage, scale), Ok(Amount(cost)), "{model:?} {usage:?}");
    }
}

#[test]
fn usage_that_does_not_fit_the_model_is_refused_by_name() {
    let flat = Model::Flat { amount: Amount(1) };
    let per_dimension = per_million(Bounds::default());
    let unknown = Usage::Dimensions(vec![("seconds".into(), Quantity::ONE)]);
    let table = [
        (&flat, Usage::Quantity(Quantity(2_000_000)), Misfit::OneOnly),
        (&flat, tokens(1, 1), Misfit::NoDimensions),
        (&flat, Usage::Amount(Amount(1)), Misfit::AmountStated),
        (&per_dimension, Usage::Quantity(Quantity::ONE), Misfit::DimensionsExpected),
        (&per_dimension, unknown, Misfit::UnknownDimension("seconds".into())),
    ];
    for (model, usage, misfit) in table {
        assert_eq!(model.cost(&usage, Scale::MAX), Err(invalid(misfit)), "{usage:?}");
    }
    let huge = Model::PerQuantity { rate: rate("9000000", 1), bounds: Bounds::default() };
    assert_eq!(huge.cost(&Usage::Quantity(Quantity(i64::MAX)), Scale::MAX), Err(Rejection::AmountOverflow));
    assert_eq!(huge.cost(&Usage::Quantity(Quantity(-1)), Scale::MAX), Err(Rejection::AmountNotPositive));
}

proptest! {
    #[test]
    fn more_tokens_never_cost_less_and_rounding_loses_less_than_one_part(
        input in 0_i64..10_000_000, output in 0_i64..1_000_000, more in 0_i64..1_000
    ) {
        let up = per_million(Bounds::default());
        let down = per_million(Bounds { rounding: Rounding::Down, ..Bounds::default() });
        let (dear, cheap) = (up.cost(&tokens(input, output), Scale::MAX), down.cost(&tokens(input, output), Scale::MAX));
        let (dear, cheap) = (dear.expect("in range").0, cheap.expect("in range").0);
        prop_assert!((0..=1).contains(&(dear - cheap)));
        prop_assert!(up.cost(&tokens(input + more, output), Scale::MAX).expect("in range").0 >= dear);
        // Independent arithmetic: whole micro-credits are 3 and 15 a token here.
        prop_assert_eq!(dear, input * 3 + output * 15);
    }
}

fn tier(up_to: Option<i64>, text: &str, per: i64, flat: i64) -> Tier {
    Tier {
        up_to: up_to.map(|wholes| Quantity(wholes * 1_000_000)),
        rate: rate(text, per),
        flat: Amount(flat),
    }
}

/// 1 each up to 10, 0.8 up to 100, then 0.5.
fn three() -> Vec<Tier> {
    vec![tier(Some(10), "1", 1, 0), tier(Some(100), "0.8", 1, 0), tier(None, "0.5", 1, 0)]
}

#[test]
fn tiers_and_packages_follow_the_hand_computed_table() {
    let scale = |decimals| Scale::new(decimals).expect("a scale");
    let up = Bounds::default();
    let down = Bounds { rounding: Rounding::Down, ..up };
    let half = Bounds { rounding: Rounding::HalfEven, ..up };
    let graduated = |bounds| Model::Graduated { tiers: three(), bounds };
    let volume = |bounds| Model::Volume { tiers: three(), bounds };
    let entry = vec![tier(Some(5), "0", 1, 300), tier(None, "1", 3, 50)];
    let package = |amount, per, bounds| Model::Package { amount: Amount(amount), per, bounds };
    let limited = Bounds { minimum: Some(Amount(500)), maximum: Some(Amount(1_200)), ..up };
    // (model, quantity in millionths, decimals, cost in smallest parts)
    let table = [
        (graduated(up), 0, 2, 0),
        (graduated(up), 10_000_000, 2, 1_000),
        (graduated(up), 10_000_001, 2, 1_001),
        (graduated(down), 10_000_001, 2, 1_000),
        (graduated(up), 11_000_000, 2, 1_080),
        (graduated(up), 100_000_000, 2, 8_200),
        (graduated(up), 101_000_000, 2, 8_250),
        (graduated(up), 101_000_000, 0, 83),
        (graduated(half), 101_000_000, 0, 82),
        (graduated(half), 103_000_000, 0, 84),
        (graduated(down), 103_000_000, 0, 83),
        (graduated(up), 1_000_000_000_000, 6, 500_032_000_000),
        (volume(up), 0, 2, 0),
        (volume(up), 10_000_000, 2, 1_000),
        (volume(up), 10_000_001, 2, 801),
        (volume(up), 11_000_000, 2, 880),
        (volume(up), 100_000_000, 2, 8_000),
        (volume(up), 101_000_000, 2, 5_050),
        (volume(half), 101_000_000, 0, 50),
        (volume(limited), 1_000_000, 2, 500),
        (volume(limited), 101_000_000, 2, 1_200),
        // A flat part when a tier is used, and a third of a whole behind it.
        (Model::Graduated { tiers: entry.clone(), bounds: up }, 0, 2, 0),
        (Model::Graduated { tiers: entry.clone(), bounds: up }, 5_000_000, 2, 300),
        (Model::Graduated { tiers: entry.clone(), bounds: up }, 6_000_000, 2, 384),
        (Model::Graduated { tiers: entry.clone(), bounds: down }, 6_000_000, 2, 383),
        (Model::Volume { tiers: entry.clone(), bounds: half }, 7_000_000, 2, 283),
        (Model::Volume { tiers: entry, bounds: limited }, 0, 2, 500),
        (package(250, 100, up), 0, 2, 0),
        (package(250, 100, up), 1, 2, 250),
        (package(250, 100, up), 100_000_000, 2, 250),
        (package(250, 100, up), 100_000_001, 2, 500),
        (package(250, 100, limited), 1_000_000, 2, 500),
        (package(250, 100, limited), 900_000_000, 2, 1_200),
        (package(1, 1_000_000_000, up), i64::MAX, 0, 9_224),
    ];
    for (model, quantity, decimals, cost) in table {
        let usage = Usage::Quantity(Quantity(quantity));
        assert_eq!(model.cost(&usage, scale(decimals)), Ok(Amount(cost)), "{model:?} {quantity}");
    }
}

#[test]
fn tiers_and_packages_refuse_what_they_cannot_count() {
    let bounds = Bounds::default();
    let huge = vec![tier(None, "9000000", 1, 0)];
    let models = [
        Model::Graduated { tiers: huge.clone(), bounds },
        Model::Volume { tiers: huge, bounds },
        Model::Package { amount: Amount::MAX, per: 1, bounds },
    ];
    for model in models {
        let of = |usage: &Usage| model.cost(usage, Scale::MAX);
        assert_eq!(of(&Usage::Quantity(Quantity(i64::MAX))), Err(Rejection::AmountOverflow), "{model:?}");
        assert_eq!(of(&Usage::Quantity(Quantity(-1))), Err(Rejection::AmountNotPositive), "{model:?}");
        assert_eq!(of(&tokens(1, 1)), Err(invalid(Misfit::NoDimensions)), "{model:?}");
        assert_eq!(of(&Usage::Amount(Amount(1))), Err(invalid(Misfit::AmountStated)), "{model:?}");
    }
}

#[test]
fn a_maximum_caps_what_no_amount_could_be() {
    let bounds = Bounds { maximum: Some(Amount(700)), ..Bounds::default() };
    let huge = vec![tier(None, "9000000", 1, 0)];
    let most = Usage::Quantity(Quantity(i64::MAX));
    for model in [
        Model::PerQuantity { rate: huge[0].rate, bounds },
        Model::Graduated { tiers: huge.clone(), bounds },
        Model::Volume { tiers: huge, bounds },
        Model::Package { amount: Amount::MAX, per: 1, bounds },
    ] {
        let explained = model.explain(&most, Scale::MAX).expect("the maximum");
        assert_eq!(explained.outcome.limit, Some(Limit::Maximum(Amount(700))), "{model:?}");
        assert_eq!(model.cost(&most, Scale::MAX), Ok(Amount(700)));
    }
    // As it is told: a number of any length.
    let thousand = Model::PerQuantity { rate: rate("1000", 1), bounds };
    let explained = thousand.explain(&Usage::Quantity(Quantity(9_000_000_000_000_000_000)), Scale::MAX);
    assert_eq!(explained.expect("the maximum").outcome.sum.render(Scale::MAX), "9000000000000000");
}

#[test]
fn an_exact_cost_is_a_decimal_or_a_fraction() {
    let scale = |decimals| Scale::new(decimals).expect("a scale");
    let exact =
        |text, per, quantity, decimals| Exact::of(rate(text, per), Quantity(quantity), scale(decimals));
    assert_eq!(Exact::ZERO.render(scale(6)), "0");
    assert_eq!(exact("0.5", 1, 250_000, 0).render(scale(0)), "0.125");
    assert_eq!(exact("1", 3, 1_000_000, 6).render(scale(6)), "1/3");
    assert_eq!(exact("15", 1_000_000, 7_000_000, 2).render(scale(2)), "0.000105");
    assert_eq!(exact("100", 3, 6_000_000, 2).render(scale(2)), "200");
}

/// Where so much was used before in the period.
fn after(used: i64) -> Footing {
    Footing { used_before: Some(Quantity(used)), ..Footing::default() }
}

/// One of the models by what was used in a period.
fn metered(included: i64, continued: bool, model: Model) -> Model {
    let meter = Meter { period: Period::Month, included: Quantity(included * 1_000_000), continued };
    Model::Metered { meter, model: Box::new(model) }
}

#[test]
fn metered_prices_follow_the_hand_computed_table() {
    let scale = |decimals| Scale::new(decimals).expect("a scale");
    let up = Bounds::default();
    let down = Bounds { rounding: Rounding::Down, ..up };
    let at_least = Bounds { minimum: Some(Amount(500)), ..up };
    let graduated = |bounds| Model::Graduated { tiers: three(), bounds };
    let volume = Model::Volume { tiers: three(), bounds: up };
    let with_flat = vec![tier(Some(5), "1", 1, 300), tier(None, "0.5", 1, 50)];
    let flats = Model::Graduated { tiers: with_flat.clone(), bounds: up };
    let volume_flats = Model::Volume { tiers: with_flat, bounds: up };
    let each = |bounds| Model::PerQuantity { rate: rate("2", 1), bounds };
    let package = Model::Package { amount: Amount(250), per: 100, bounds: up };
    let flat = Model::Flat { amount: Amount(700) };
    // (model, used before and quantity in millionths, cost in hundredths)
    let table = [
        // Tiers of the month: 1 each up to 10, 0.8 up to 100, then 0.5.
        (metered(0, true, graduated(up)), 0, 11_000_000, 1_080),
        (metered(0, true, graduated(up)), 9_000_000, 2_000_000, 180),
        (metered(0, true, graduated(up)), 10_000_000, 1_000_000, 80),
        (metered(0, true, graduated(up)), 99_500_000, 1_000_000, 65),
        (metered(0, true, graduated(up)), 5_000_000, 100_000_000, 500 + 7_200 + 250),
        (metered(0, true, graduated(down)), 100_000_001, 1, 0),
        (metered(0, true, graduated(at_least)), 100_000_000, 1_000_000, 500),
        // Tiers of the call, whatever was used.
        (metered(0, false, graduated(up)), 99_000_000, 11_000_000, 1_080),
        // The rate of the tier that the month reaches; what was charged before stays.
        (metered(0, true, volume.clone()), 9_000_000, 1_000_000, 100),
        (metered(0, true, volume.clone()), 9_000_000, 2_000_000, 160),
        (metered(0, true, volume), 200_000_000, 10_000_000, 500),
        // The flat charge of a tier, once in the month.
        (metered(0, true, flats.clone()), 0, 1_000_000, 400),
        (metered(0, true, flats.clone()), 1_000_000, 1_000_000, 100),
        (metered(0, true, flats.clone()), 4_000_000, 2_000_000, 200),
        (metered(0, true, flats.clone()), 5_000_000, 1_000_000, 100),
        (metered(0, true, flats), 6_000_000, 1_000_000, 50),
        (metered(0, true, volume_flats.clone()), 0, 1_000_000, 400),
        (metered(0, true, volume_flats.clone()), 1_000_000, 1_000_000, 100),
        (metered(0, true, volume_flats), 4_000_000, 2_000_000, 150),
        // So much is free; of a call that goes beyond it, the rest is charged.
        (metered(10, false, each(up)), 0, 10_000_000, 0),
        (metered(10, false, each(up)), 0, 11_000_000, 200),
        (metered(10, false, each(up)), 9_500_000, 1_000_000, 100),
        (metered(10, false, each(up)), 10_000_000, 1_000_000, 200),
        (metered(10, false, each(at_least)), 0, 10_000_000, 0),
        (metered(10, false, each(at_least)), 0, 11_000_000, 500),
        // Nothing costs nothing while something is left, and the minimum once nothing is.
        (metered(10, false, each(at_least)), 0, 0, 0),
        (metered(10, false, each(at_least)), 9_999_999, 0, 0),
        (metered(10, false, each(at_least)), 10_000_000, 0, 500),
        (metered(0, true, graduated(at_least)), 0, 0, 500),
        (metered(10, false, package), 0, 110_000_001, 500),
        // Tiers begin behind what is included.
        (metered(10, true, graduated(up)), 0, 20_000_000, 1_000),
        (metered(10, true, graduated(up)), 15_000_000, 10_000_000, 500 + 400),
        (metered(10, false, graduated(up)), 15_000_000, 11_000_000, 1_080),
        // There is no half of a call.
        (metered(2, false, flat.clone()), 0, 1_000_000, 0),
        (metered(2, false, flat.clone()), 1_000_000, 1_000_000, 0),
        (metered(2, false, flat.clone()), 1_500_000, 1_000_000, 700),
        (metered(2, false, flat), 2_000_000, 1_000_000, 700),
    ];
    for (model, used, quantity, cost) in table {
        let usage = Usage::Quantity(Quantity(quantity));
        let charged = model.cost_on(after(used), &usage, scale(2));
        assert_eq!(charged, Ok(Amount(cost)), "{model:?} {used} {quantity}");
    }
    let one_only = metered(10, false, Model::Flat { amount: Amount(700) });
    for quantity in [0, 500_000, 2_000_000, 20_000_000] {
        let refused = one_only.cost_on(after(0), &Usage::Quantity(Quantity(quantity)), scale(2));
        assert_eq!(refused, Err(invalid(Misfit::OneOnly)), "{quantity}");
    }
    let model = metered(10, true, graduated(up));
    let of = |used, usage: &Usage| model.cost_on(after(used), usage, scale(2));
    assert_eq!(of(i64::MAX, &Usage::Quantity(Quantity(1))), Err(Rejection::AmountOverflow));
    assert_eq!(of(0, &Usage::Quantity(Quantity(-1))), Err(Rejection::AmountNotPositive));
    assert_eq!(of(0, &tokens(1, 1)), Err(invalid(Misfit::NoDimensions)));
    assert_eq!(of(0, &Usage::Amount(Amount(1))), Err(invalid(Misfit::AmountStated)));
}

fn any_tiers() -> impl Strategy<Value = Vec<Tier>> {
    let one = (1_i64..50_000_000, 0_i64..3_000_000_000_000, 1_i64..9);
    prop::collection::vec(one, 1..6).prop_map(|parts| {
        let (mut reached, last) = (0, parts.len() - 1);
        let tier = |(place, (width, rate, per)): (usize, (i64, i64, i64))| {
            reached += width;
            Tier {
                up_to: (place < last).then_some(Quantity(reached)),
                rate: Rate { rate: Decimal(rate), per },
                flat: Amount::ZERO,
            }
        };
        parts.into_iter().enumerate().map(tier).collect()
    })
}

fn any_bounds() -> impl Strategy<Value = Bounds> {
    let rounding = prop::sample::select(vec![Rounding::Up, Rounding::HalfEven, Rounding::Down]);
    (prop::option::of(0_i64..500), prop::option::of(500_i64..1_000_000), rounding).prop_map(
        |(minimum, maximum, rounding)| Bounds {
            minimum: minimum.map(Amount),
            maximum: maximum.map(Amount),
            rounding,
        },
    )
}

fn any_model() -> impl Strategy<Value = Model> {
    prop_oneof![
        (any_tiers(), any_bounds()).prop_map(|(tiers, bounds)| Model::Graduated { tiers, bounds }),
        (any_tiers(), any_bounds()).prop_map(|(tiers, bounds)| Model::Volume { tiers, bounds }),
        (any_tiers(), any_bounds())
            .prop_map(|(tiers, bounds)| Model::PerQuantity { rate: tiers[0].rate, bounds }),
        (0_i64..5_000, 1_i64..50, any_bounds()).prop_map(|(amount, per, bounds)| Model::Package {
            amount: Amount(amount),
            per,
            bounds
        }),
    ]
}

fn priced(model: &Model, quantity: i64, decimals: u8) -> i64 {
    let scale = Scale::new(decimals).expect("a scale");
    model.cost(&Usage::Quantity(Quantity(quantity)), scale).expect("in range").0
}

proptest! {
    #[test]
    fn more_never_costs_less_except_by_volume(
        model in any_model(), quantity in 0_i64..300_000_000, more in 0_i64..50_000_000, decimals in 0_u8..=6
    ) {
        if !matches!(model, Model::Volume { .. }) {
            prop_assert!(priced(&model, quantity + more, decimals) >= priced(&model, quantity, decimals));
        }
    }

    /// Across a border a millionth more costs what a millionth costs at either side, and what one rounding adds.
    #[test]
    fn a_graduated_price_does_not_jump_at_a_border(tiers in any_tiers(), decimals in 0_u8..=6) {
        let model = Model::Graduated { tiers: tiers.clone(), bounds: Bounds::default() };
        for border in tiers.iter().filter_map(|tier| tier.up_to) {
            let step = priced(&model, border.0 + 1, decimals) - priced(&model, border.0, decimals);
            let dearest = tiers.iter().map(|tier| {
                let model = Model::PerQuantity { rate: tier.rate, bounds: Bounds::default() };
                priced(&model, 1, decimals)
            });
            prop_assert!((0..=dearest.max().unwrap_or(0) + 1).contains(&step), "{step}");
        }
    }

    /// One tier for everything is the plain rate, and cutting it in two at the same rate changes nothing.
    #[test]
    fn a_border_between_equal_rates_is_none(
        tiers in any_tiers(), border in 1_i64..200_000_000, quantity in 0_i64..300_000_000, bounds in any_bounds()
    ) {
        let open = Tier { up_to: None, ..tiers[0] };
        let plain = Model::PerQuantity { rate: open.rate, bounds };
        let cut = vec![Tier { up_to: Some(Quantity(border)), ..open }, open];
        let cost = priced(&plain, quantity, 2);
        prop_assert_eq!(priced(&Model::Graduated { tiers: cut.clone(), bounds }, quantity, 2), cost);
        prop_assert_eq!(priced(&Model::Volume { tiers: cut, bounds }, quantity, 2), cost);
    }

    /// The lines add up to the sum, rounding moves it by less than one part in the direction it names, and what the
    /// limits leave of it is what is charged.
    #[test]
    fn an_explanation_adds_up_to_the_charge(
        model in any_model(), quantity in 0_i64..300_000_000, decimals in 0_u8..=6
    ) {
        let scale = Scale::new(decimals).expect("a scale");
        let usage = Usage::Quantity(Quantity(quantity));
        let Explanation { lines, outcome } = model.explain(&usage, scale).expect("in range");
        let sum = lines.iter().fold(Exact::ZERO, |sum, line| sum.plus(line.cost).expect("in range"));
        prop_assert_eq!(sum, outcome.sum);
        let list = match outcome.limit {
            None => sum,
            Some(Limit::Minimum(minimum)) => { prop_assert!(sum.is_less_than(minimum)); Exact::whole(minimum) }
            Some(Limit::Maximum(maximum)) => { prop_assert!(sum.is_more_than(maximum)); Exact::whole(maximum) }
        };
        prop_assert_eq!((outcome.exact, outcome.discount), (list, Discount::NONE));
        let (floor, ceiling) = (list.round(Rounding::Down).expect("fits"), list.round(Rounding::Up).expect("fits"));
        let charged = outcome.total.0;
        match outcome.rounding {
            Some(Rounding::Down) => prop_assert_eq!(charged, floor),
            Some(Rounding::Up) => prop_assert_eq!(charged, ceiling),
            Some(Rounding::HalfEven) => prop_assert!(charged == floor || charged == ceiling),
            None => prop_assert_eq!((floor, ceiling), (charged, charged)),
        }
        prop_assert_eq!(Amount(charged), model.cost(&usage, scale).expect("in range"));
        // Every part of the quantity is in exactly one line.
        let parts: i64 = lines.iter().map(|line| line.quantity.0).sum();
        if !matches!(model, Model::Package { .. }) {
            prop_assert_eq!(parts, quantity);
        }
    }

    /// However a month's usage is cut into calls, it costs the same before rounding, flat charges included.
    #[test]
    fn tiers_of_the_month_are_continuous_from_call_to_call(
        tiers in any_tiers(),
        flat in 0_i64..900,
        included in 0_i64..90,
        parts in prop::collection::vec(0_i64..40_000_000, 1..9),
    ) {
        let tiers: Vec<Tier> = tiers.into_iter().map(|tier| Tier { flat: Amount(flat), ..tier }).collect();
        let model = metered(included, true, Model::Graduated { tiers, bounds: Bounds::default() });
        let exact = |used: i64, quantity: i64| {
            let usage = Usage::Quantity(Quantity(quantity));
            let explained = model.explain_on(after(used), &usage, Scale::MAX).expect("in range");
            let quantities: i64 = explained.lines.iter().map(|line| line.quantity.0).sum();
            assert_eq!(quantities, quantity, "every part of the quantity is in exactly one line");
            assert_eq!(Ok(explained.outcome.total), model.cost_on(after(used), &usage, Scale::MAX));
            explained.outcome.sum
        };
        let (mut used, mut sum) = (0, Exact::ZERO);
        for part in &parts {
            sum = sum.plus(exact(used, *part)).expect("in range");
            used += part;
        }
        prop_assert_eq!(sum, exact(0, used));
    }

    /// What is free in a period is free once, however it is cut.
    #[test]
    fn an_included_quantity_is_given_once(
        included in 0_i64..50, parts in prop::collection::vec(0_i64..30, 1..9), decimals in 0_u8..=6
    ) {
        let scale = Scale::new(decimals).expect("a scale");
        let each = Model::PerQuantity { rate: rate("1", 1), bounds: Bounds::default() };
        let model = metered(included, false, each);
        let (mut used, mut charged) = (0, 0);
        for part in &parts {
            let usage = Usage::Quantity(Quantity(part * 1_000_000));
            charged += model.cost_on(after(used), &usage, scale).expect("in range").0;
            used += part * 1_000_000;
        }
        let beyond = (parts.iter().sum::<i64>() - included).max(0);
        prop_assert_eq!(charged, beyond * 10_i64.pow(u32::from(decimals)));
    }

    /// Also where a minimum is charged: what is left of the included quantity is free for whoever uses less of it.
    #[test]
    fn with_something_included_more_never_costs_less(
        included in 0_i64..30_000_000,
        used in 0_i64..40_000_000,
        quantity in prop_oneof![Just(0_i64), 0_i64..40_000_000],
        more in 0_i64..10_000_000,
        bounds in any_bounds(),
        decimals in 0_u8..=6,
    ) {
        let scale = Scale::new(decimals).expect("a scale");
        let meter = Meter { period: Period::Month, included: Quantity(included), continued: false };
        let model = Box::new(Model::PerQuantity { rate: rate("0.7", 3), bounds });
        let model = Model::Metered { meter, model };
        let cost = |quantity| {
            model.cost_on(after(used), &Usage::Quantity(Quantity(quantity)), scale).expect("in range")
        };
        prop_assert!(cost(quantity) <= cost(quantity + more));
        if used + quantity <= included && used < included {
            prop_assert_eq!(cost(quantity), Amount::ZERO);
        }
    }
}
