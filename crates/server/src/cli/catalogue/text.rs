//! A catalogue as TOML: one table for each unit and action, each price on a line of its own, always in the same order, so that a
//! difference of two files is read easily.

use serde_json::{Map, Value};

/// The order of fields; others follow by name.
const ORDER: [&str; 17] = [
    "key",
    "code",
    "scale",
    "name",
    "unit_label",
    "description",
    "category",
    "active",
    "overage",
    "overage_percent",
    "confirm_above",
    "model",
    "unit",
    "valid_from",
    "amount",
    "rate",
    "per",
];

/// Renders a catalogue.
pub(super) fn to_toml(catalogue: &Value) -> String {
    let mut out = String::new();
    if catalogue["prune"] == Value::Bool(true) {
        out.push_str("prune = true\n\n");
    }
    for list in ["units", "actions"] {
        for row in catalogue[list].as_array().map_or(&[][..], Vec::as_slice) {
            out.push_str(&format!("[[{list}]]\n"));
            for (name, value) in row.as_object().map_or_else(Vec::new, ordered) {
                match value {
                    Value::Array(items) if name == "prices" => {
                        out.push_str("prices = [\n");
                        for item in items {
                            out.push_str(&format!("    {},\n", inline(item)));
                        }
                        out.push_str("]\n");
                    }
                    value => out.push_str(&format!("{} = {}\n", bare(name), inline(value))),
                }
            }
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn ordered(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
    let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    fields.sort_by_key(|(name, _)| (place(name), *name));
    fields
}

fn bare(name: &str) -> String {
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if plain { name.to_string() } else { quoted(name) }
}

/// A basic string; what TOML escapes, JSON escapes alike, but for one character.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = ordered(fields)
                .into_iter()
                .map(|(name, value)| format!("{} = {}", bare(name), inline(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::String(text) => quoted(text),
        // TOML has no null: in a list it can only be a tier without end, which is left out as a field.
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Reads TOML as what is sent.
pub(super) fn from_toml(text: &str) -> Result<Value, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    sent(toml::Value::Table(table), "")
}

fn sent(value: toml::Value, at: &str) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::from(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Boolean(flag) => Value::from(flag),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Float(_) => {
            return Err(format!("{at}: fractions are given as strings, such as \"12.5\""));
        }
        toml::Value::Array(items) => {
            let item = |(index, item)| sent(item, &format!("{at}/{index}"));
            Value::Array(items.into_iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(fields) => {
            let field = |(name, value): (String, toml::Value)| {
                let value = sent(value, &format!("{at}/{name}"))?;
                Ok::<_, String>((name, value))
            };
            Value::Object(fields.into_iter().map(field).collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_catalogue_is_read_as_it_was_written() {
        let catalogue = json!({
        "units": [{"code": "MYR", "scale": 2, "name": "Ringgit \"RM\" \u{7f}\\ é\n2"}],
        "actions": [
            {"key": "a'b", "name": "A", "active": true, "overage": "refuse", "confirm_above": {"MYR": "5", "credit": "2.5"}, "prices": [
                {"model": "per_dimension", "unit": "credit", "rates": {"in put!": {"rate": "3", "per": 1_000_000}}},
                {"model": "graduated", "unit": "MYR", "tiers": [{"up_to": "100", "rate": "1"}, {"rate": "0.8"}]}]},
            {"key": "b", "name": "B", "active": false, "overage": "refuse", "prices": [{"model": "free"}]},
        ]});
        let written = to_toml(&catalogue);
        assert_eq!(from_toml(&written).expect("TOML"), catalogue, "{written}");
        assert_eq!(to_toml(&from_toml(&written).expect("TOML")), written);
        assert!(written.contains("    { model = \"free\" },\n"), "{written}");
    }

    #[test]
    fn fractions_are_texts_and_instants_may_be_instants() {
        let refused = from_toml("[[actions]]\nprices = [{ amount = 1.5 }]\n").expect_err("a float");
        assert!(refused.starts_with("/actions/0/prices/0/amount"), "{refused}");
        let read = from_toml("valid_from = 2026-01-01T00:00:00Z\n").expect("TOML");
        assert_eq!(read, json!({"valid_from": "2026-01-01T00:00:00Z"}));
        assert!(from_toml("a = ").is_err());
    }
}
