//! Price lists of AI models in LiteLLM's JSON format, as actions of a catalogue file.
//!
//! Each price that is so much for one of something becomes the rate of a dimension, exactly: numbers are read as decimals from
//! their text, never as floats, and multiplied by markup and credits per dollar without rounding. What has no place in a price
//! by dimensions is listed with its reason, and nothing is dropped in silence: every model of the list is priced, unpriced or
//! not asked for. Nothing here talks to anybody; what is made goes through `PUT /v1/catalogue`.

mod exact;

pub use exact::Exact;

use purser_core::Key;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Models of one list.
pub const MODELS_MAX: usize = 100_000;
/// Most rates are for a million of something.
const MILLION: i64 = 1_000_000;
/// The longest label of an action, in characters.
const LABEL_MAX: usize = 200;

/// Prices of the list that are so much for one of something: the field, the dimension, and for how many its rate is shown.
const DIMENSIONS: [(&str, &str, i64); 35] = [
    ("input_cost_per_token", "input_tokens", MILLION),
    ("output_cost_per_token", "output_tokens", MILLION),
    ("cache_read_input_token_cost", "cached_input_tokens", MILLION),
    ("input_cost_per_token_cache_hit", "cached_input_tokens", MILLION),
    ("cache_creation_input_token_cost", "cache_creation_input_tokens", MILLION),
    ("cache_creation_input_token_cost_above_1hr", "cache_creation_1h_input_tokens", MILLION),
    ("cache_creation_input_token_cost_above_12hr", "cache_creation_12h_input_tokens", MILLION),
    ("output_cost_per_reasoning_token", "reasoning_tokens", MILLION),
    ("input_cost_per_audio_token", "input_audio_tokens", MILLION),
    ("output_cost_per_audio_token", "output_audio_tokens", MILLION),
    ("cache_read_input_audio_token_cost", "cached_input_audio_tokens", MILLION),
    ("cache_creation_input_audio_token_cost", "cache_creation_input_audio_tokens", MILLION),
    ("input_cost_per_image_token", "input_image_tokens", MILLION),
    ("output_cost_per_image_token", "output_image_tokens", MILLION),
    ("cache_read_input_image_token_cost", "cached_input_image_tokens", MILLION),
    ("input_cost_per_video_token", "input_video_tokens", MILLION),
    ("output_cost_per_video_token", "output_video_tokens", MILLION),
    ("citation_cost_per_token", "citation_tokens", MILLION),
    ("input_cost_per_character", "input_characters", MILLION),
    ("output_cost_per_character", "output_characters", MILLION),
    ("input_cost_per_pixel", "input_pixels", MILLION),
    ("output_cost_per_pixel", "output_pixels", MILLION),
    ("input_cost_per_second", "input_seconds", 1),
    ("output_cost_per_second", "output_seconds", 1),
    ("cost_per_second", "seconds", 1),
    ("input_cost_per_audio_per_second", "input_audio_seconds", 1),
    ("input_cost_per_video_per_second", "input_video_seconds", 1),
    ("output_cost_per_video_per_second", "output_video_seconds", 1),
    ("input_cost_per_image", "input_images", 1),
    ("output_cost_per_image", "output_images", 1),
    ("input_cost_per_query", "queries", 1),
    ("input_cost_per_request", "requests", 1),
    ("input_cost_per_text_message", "text_messages", 1),
    ("ocr_cost_per_page", "pages", 1),
    ("annotation_cost_per_page", "annotated_pages", 1),
];

/// Words at the end of fields that are prices of another way of being served.
const SERVICE_TIERS: [&str; 6] = ["_batches", "_priority", "_flex", "_balanced", "_ultrafast", "_decisions"];

/// How dollars become credits, and which models are wanted.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What the list's prices are multiplied with.
    pub markup: Exact,
    /// Credits for a dollar.
    pub credits_per_dollar: Exact,
    /// What the keys of actions begin with.
    pub prefix: String,
    /// Which models, by a pattern with `*` for anything; all unless said.
    pub only: Option<String>,
    /// What captures may take beyond the hold: `refuse` or `debt`.
    pub overage: &'static str,
}

/// What became of a list.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Models that are priced, as actions of a catalogue file, by key.
    pub actions: Vec<Value>,
    /// Models that are not, each with the reason.
    pub unpriced: Vec<(String, String)>,
    /// Prices that are left out of models that are priced: model, field, reason.
    pub left_out: Vec<(String, String, &'static str)>,
    /// Models that were not asked for.
    pub unasked: usize,
    /// Models of the list.
    pub models: usize,
}

/// Why a list cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It is not an object of models.
    #[error("not a JSON object of models: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is longer than any list.
    #[error("more than {MODELS_MAX} models")]
    TooLong,
}

/// Names and values in the order of the file, also those that are given twice.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// Makes actions of a list.
///
/// # Errors
/// When the text is no list. A model that cannot be priced is no error: it is listed.
pub fn import(list: &str, terms: &Terms) -> Result<Imported, ListError> {
    let Fields(models) = serde_json::from_str(list)?;
    if models.len() > MODELS_MAX {
        return Err(ListError::TooLong);
    }
    let mut imported = Imported { models: models.len(), ..Imported::default() };
    let mut keys = HashSet::new();
    for (model, fields) in models {
        if terms.only.as_deref().is_some_and(|pattern| !matches(pattern, &model)) {
            imported.unasked += 1;
            continue;
        }
        match priced(&model, fields.get(), terms) {
            Err(reason) => imported.unpriced.push((model, reason)),
            Ok((key, ..)) if !keys.insert(key.clone()) => {
                imported.unpriced.push((model, format!("another model has the key {key}")));
            }
            Ok((_, action, left_out)) => {
                imported.actions.push(action);
                let named = |(field, reason)| (model.clone(), field, reason);
                imported.left_out.extend(left_out.into_iter().map(named));
            }
        }
    }
    imported.actions.sort_by(|a, b| a["key"].as_str().cmp(&b["key"].as_str()));
    Ok(imported)
}

type LeftOut = Vec<(String, &'static str)>;

/// The action of a model: its key, itself, and the prices that are left out.
fn priced(model: &str, fields: &str, terms: &Terms) -> Result<(String, Value, LeftOut), String> {
    if model == "sample_spec" {
        return Err("describes the list itself".to_string());
    }
    let fields = serde_json::from_str::<Fields>(fields).map_err(|_| "is not an object".to_string())?;
    let (rates, left_out) = rates(&fields.0, terms)?;
    if rates.is_empty() {
        return Err(if left_out.is_empty() {
            "has no price in the list".to_string()
        } else {
            let of = |(field, reason): &(String, &str)| format!("{field} ({reason})");
            format!("has no price by a measure: {}", left_out.iter().map(of).collect::<Vec<_>>().join(", "))
        });
    }
    let key = key(&terms.prefix, model)?;
    let text = |name: &str| {
        let found = fields.0.iter().find(|(known, _)| known == name)?;
        let text = serde_json::from_str::<String>(found.1.get()).ok()?;
        let text: String = text.chars().filter(|c| *c != '\0').take(LABEL_MAX).collect();
        (!text.trim().is_empty()).then_some(text)
    };
    let mut action = json!({
        "key": key, "name": model.chars().take(LABEL_MAX).collect::<String>(), "overage": terms.overage,
        "prices": [{"model": "per_dimension", "unit": "credit", "rates": rates}],
    });
    if let Some(mode) = text("mode") {
        action["description"] = json!(format!("Mode {mode}"));
    }
    if let Some(provider) = text("litellm_provider") {
        action["category"] = json!(provider);
    }
    Ok((key, action, left_out))
}

/// The rates of a model by dimension, and its other prices.
fn rates(fields: &[(String, Box<RawValue>)], terms: &Terms) -> Result<(Map<String, Value>, LeftOut), String> {
    let mut seen: BTreeMap<&str, Exact> = BTreeMap::new();
    let mut rates = Map::new();
    let mut left_out = LeftOut::new();
    for (field, value) in fields {
        let value = value.get();
        let is_price = field.contains("cost") || field.contains("pricing");
        if !is_price || value == "null" {
            continue;
        }
        let Some((_, dimension, per)) = DIMENSIONS.iter().find(|(known, ..)| known == field) else {
            left_out.push((field.clone(), why_not(field, value)));
            continue;
        };
        let price = Exact::parse(value.trim_matches('"'))
            .ok_or_else(|| format!("{field} is not a number that can be read exactly: {value:.40}"))?;
        if price.is_negative() {
            return Err(format!("{field} is negative"));
        }
        match seen.insert(dimension, price) {
            None => {}
            Some(before) if before == price => continue,
            Some(_) => return Err(format!("{field} is a second price for {dimension}")),
        }
        let credits = price.times(terms.credits_per_dollar).and_then(|price| price.times(terms.markup));
        let rate = credits.and_then(|credits| credits.rate(*per));
        let (rate, per) =
            rate.ok_or_else(|| format!("{field} has more digits than a rate, or is too large"))?;
        rates.insert((*dimension).to_string(), json!({"rate": rate, "per": per}));
    }
    Ok((rates, left_out))
}

/// Why a price is no dimension's.
fn why_not(field: &str, value: &str) -> &'static str {
    if field.contains("_above_") || field == "tiered_pricing" {
        "counts above a size of the request only"
    } else if SERVICE_TIERS.iter().any(|tier| field.ends_with(tier)) {
        "counts for another way of being served"
    } else if value.starts_with(['{', '[']) {
        "is not one price"
    } else {
        "has no measure of its own here"
    }
}

/// The action's key: what keys do not take becomes a colon, where it parts the name, or an underscore.
fn key(prefix: &str, model: &str) -> Result<String, String> {
    let sound = |character: char| match character {
        '/' | '\\' => ':',
        character if Key::parse(character.encode_utf8(&mut [0; 4])).is_some() => character,
        _ => '_',
    };
    let key: String = prefix.chars().chain(model.chars()).map(sound).collect();
    match Key::parse(&key) {
        Some(_) => Ok(key),
        None => Err("its key would be longer than 128 characters, or empty".to_string()),
    }
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
#[path = "litellm/tests.rs"]
mod tests;
