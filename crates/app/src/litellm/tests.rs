//! Price lists against figures that are worked out by hand, and a list of 4,500 models against another arithmetic.

use super::*;
use purser_core::Decimal;
use purser_core::amount::parse_decimal;

fn terms() -> Terms {
    let exact = |text| Exact::parse(text).expect("a number");
    Terms {
        markup: exact("1.3"),
        credits_per_dollar: exact("100"),
        prefix: "llm/".into(),
        only: None,
        overage: "refuse",
    }
}

fn excerpt() -> Imported {
    import(include_str!("../../data/litellm-model-prices-excerpt.json"), &terms()).expect("a list")
}

fn rate_of(imported: &Imported, key: &str, dimension: &str) -> (String, i64) {
    let action = imported.actions.iter().find(|action| action["key"] == key);
    let rate = &action.unwrap_or_else(|| panic!("{key} is priced"))["prices"][0]["rates"][dimension];
    (rate["rate"].as_str().expect("text").to_string(), rate["per"].as_i64().expect("a number"))
}

#[test]
fn decimals_are_read_and_multiplied_as_they_are_written() {
    let table = [
        ("1.5e-07", "1.3", 1_000_000, Some(("0.195", 1_000_000))),
        ("1E-6", "1", 1_000_000, Some(("1", 1_000_000))),
        ("0.00000333333333333", "1", 1_000_000, Some(("3.33333333333", 1_000_000))),
        ("0", "1.3", 1_000_000, Some(("0", 1_000_000))),
        ("0.04", "1.3", 1, Some(("0.052", 1))),
        ("1.23456789e-10", "1.11", 1_000_000, Some(("0.13703703579", 1_000_000_000))),
        ("1e-15", "1", 1, Some(("0.000000000001", 1_000))),
        ("1.000000000000000000001", "1", 1, None),
        ("1e12", "1", 1, None),
    ];
    for (price, markup, per, expected) in table {
        let exact = |text| Exact::parse(text).expect("a number");
        let rate = exact(price).times(exact(markup)).and_then(|price| price.rate(per));
        let expected = expected.map(|(rate, per)| (rate.trim_end_matches('0').to_string(), per));
        let shown = rate.map(|(rate, per)| (if rate == "0" { String::new() } else { rate }, per));
        assert_eq!(shown, expected, "{price}");
    }
    for bad in
        ["1e-2147483648", "", "-", "1e", "e5", ".5", "1,5", "0x1", "1e999", "NaN", "1.2.3", &"9".repeat(31)]
    {
        assert_eq!(Exact::parse(bad), None, "{bad}");
    }
    assert!(Exact::parse("-0.5").is_some_and(Exact::is_negative));
}

#[test]
fn each_model_of_the_excerpt_is_priced_or_listed() {
    let imported = excerpt();
    assert_eq!(imported.actions.len() + imported.unpriced.len(), imported.models);
    // 0.15 and 0.6 dollars a million, at 1.3 and 100 credits a dollar.
    assert_eq!(rate_of(&imported, "llm:gpt-4o-mini", "input_tokens"), ("19.5".to_string(), 1_000_000));
    assert_eq!(rate_of(&imported, "llm:gpt-4o-mini", "output_tokens"), ("78".to_string(), 1_000_000));
    assert_eq!(rate_of(&imported, "llm:gpt-4o-mini", "cached_input_tokens"), ("9.75".to_string(), 1_000_000));
    let reason = |model: &str| {
        let found = imported.unpriced.iter().find(|(known, _)| known == model);
        found.unwrap_or_else(|| panic!("{model} is listed")).1.clone()
    };
    assert_eq!(reason("sample_spec"), "describes the list itself");
    assert!(imported.left_out.iter().any(|(_, field, _)| field.ends_with("_batches")));
    assert!(imported.left_out.iter().any(|(_, field, _)| field.contains("_above_")));
}

#[test]
fn what_cannot_be_priced_is_listed_with_its_reason() {
    let list = r#"{
        "a/b": {"input_cost_per_token": 1e-06}, "a:b": {"input_cost_per_token": 2e-06},
        "negative": {"input_cost_per_token": -1e-06}, "none": {"mode": "chat"}, "text": {"input_cost_per_token": "much"},
        "tiers": {"tiered_pricing": [1], "input_cost_per_token_flex": 1e-6}, "no object": 5,
        "fine": {"input_cost_per_token": 1e-40}, "null": {"input_cost_per_token": null},
        "two": {"cache_read_input_token_cost": 1e-6, "input_cost_per_token_cache_hit": 2e-6},
        "same": {"cache_read_input_token_cost": 1e-6, "input_cost_per_token_cache_hit": 0.000001}
    }"#;
    let imported = import(list, &terms()).expect("a list");
    let keys: Vec<_> = imported.actions.iter().map(|action| action["key"].as_str()).collect();
    assert_eq!(keys, [Some("llm:a:b"), Some("llm:same")]);
    let reasons: Vec<_> =
        imported.unpriced.iter().map(|(model, reason)| format!("{model}: {reason}")).collect();
    let expected = [
        "a:b: another model has the key llm:a:b",
        "negative: input_cost_per_token is negative",
        "none: has no price in the list",
        "text: input_cost_per_token is not a number that can be read exactly: \"much\"",
        "tiers: has no price by a measure: tiered_pricing (counts above a size of the request only), \
         input_cost_per_token_flex (counts for another way of being served)",
        "no object: is not an object",
        "fine: input_cost_per_token has more digits than a rate, or is too large",
        "null: has no price in the list",
        "two: input_cost_per_token_cache_hit is a second price for cached_input_tokens",
    ];
    assert_eq!(reasons, expected);
    assert!(import("[]", &terms()).is_err() && import("{", &terms()).is_err());
}

#[test]
fn four_thousand_five_hundred_models_are_multiplied_exactly() {
    let model = |number: u64| {
        let key = format!("provider/model-{number}");
        (key, json!({"input_cost_per_token": null, "mode": "chat", "litellm_provider": "provider"}))
    };
    let mut list = String::from("{");
    for number in 0..4_500_u64 {
        let (key, _) = model(number);
        let comma = if number == 0 { "" } else { "," };
        // Hundredths of a dollar for a million, written with an exponent.
        list.push_str(&format!(
            "{comma}\"{key}\": {{\"input_cost_per_token\": {number}e-8, \"output_cost_per_token\": {}e-08}}",
            number * 3
        ));
    }
    list.push('}');
    let imported = import(&list, &terms()).expect("a list");
    assert_eq!((imported.models, imported.actions.len()), (4_500, 4_500));
    for number in [0, 1, 7, 99, 4_499] {
        let (rate, per) = rate_of(&imported, &format!("llm:provider:model-{number}"), "output_tokens");
        let parts = parse_decimal(&rate, Decimal::DECIMALS).expect("a rate");
        // number × 3 hundredths of a dollar × 100 credits × 1.3, in parts of a millionth of a millionth.
        assert_eq!((parts, per), (number * 39 * 100_000_000_000, MILLION), "{number}");
    }
    let some = Terms { only: Some("provider/*-12*".into()), ..terms() };
    let imported = import(&list, &some).expect("a list");
    // 12, 120-129, 1200-1299.
    assert_eq!((imported.actions.len(), imported.unasked), (111, 4_389));
}

#[test]
fn patterns_fit_from_end_to_end() {
    for (pattern, name, fits) in [
        ("gpt-*", "gpt-4o", true),
        ("gpt", "gpt-4o", false),
        ("*mini", "gpt-4o-mini", true),
        ("*mini", "gpt-4o-mini-2", false),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxc", false),
        ("*", "", true),
        ("ab*ba", "aba", false),
    ] {
        assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
    }
}
