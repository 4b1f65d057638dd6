//! A difference of catalogues, for people.

use serde_json::Value;

/// Keys that are told one by one; more are only counted.
const TOLD_MAX: usize = 20;

/// One line for each change, with what it was and what it will be, and the counts.
pub(super) fn diff(diff: &Value) -> String {
    let list = |name: &str| diff[name].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines = Vec::new();
    for unit in list("units") {
        let sign = if unit["name_before"].is_null() { '+' } else { '~' };
        lines.push(format!("{sign} unit {} \"{}\"", text(&unit["code"]), text(&unit["name"])));
    }
    for action in list("actions") {
        let sign = match action["change"].as_str() {
            Some("added") => '+',
            Some("deactivated") => '-',
            _ => '~',
        };
        lines.push(format!("{sign} {}", text(&action["key"])));
        let of = |name: &str| action[name].as_array().map_or(&[][..], Vec::as_slice);
        for field in of("fields") {
            let (before, after) = (&field["before"], &field["after"]);
            lines.push(format!("    {}: {before} -> {after}", text(&field["field"])));
        }
        for price in of("prices") {
            let before = if price["before"].is_null() {
                String::new()
            } else {
                format!("{} -> ", terms(&price["before"]))
            };
            lines.push(format!("    price in {}: {before}{}", text(&price["unit"]), terms(&price["after"])));
        }
    }
    for price in list("scheduled_not_in_file") {
        let (key, unit) = (text(&price["key"]), text(&price["unit"]));
        lines.push(format!(
            "! {key}: the price in {unit} from {} on is not in the file and stays",
            text(&price["valid_from"])
        ));
    }
    let alone = list("not_in_file");
    for key in alone.iter().take(TOLD_MAX) {
        lines.push(format!("  {} is not in the file and stays", text(key)));
    }
    if alone.len() > TOLD_MAX {
        lines.push(format!("  and {} more", alone.len() - TOLD_MAX));
    }
    let counts = &diff["counts"];
    let done = if diff["dry_run"] == Value::Bool(true) { "would be " } else { "" };
    lines.push(format!(
        "{} {done}added, {} changed, {} switched off, {} unchanged, {} not in the file; {} price versions",
        counts["added"],
        counts["changed"],
        counts["deactivated"],
        counts["unchanged"],
        counts["not_in_file"],
        counts["price_versions"]
    ));
    if diff["usage"].is_object() {
        usage(&diff["usage"], &mut lines);
    }
    lines.join("\n")
}

/// What the usage of the last days would have cost: by unit, action and tenant, and what was left out.
fn usage(usage: &Value, lines: &mut Vec<String>) {
    let sum = |of: &Value| {
        let [before, after, more] = ["before", "after", "difference"].map(|name| text(&of[name]));
        let sign = if more.starts_with('-') || more == "0" { "" } else { "+" };
        format!("{before} -> {after} ({sign}{more}), {} debits", of["debits"])
    };
    let (from, until) = (text(&usage["from"]), text(&usage["until"]));
    lines.push(format!("usage of {} days, from {from} until {until}, at the new prices:", usage["days"]));
    let list = |of: &'_ Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
    for unit in list(usage, "units") {
        lines.push(format!("  in {}: {}", text(&unit["unit"]), sum(&unit)));
        for action in list(&unit, "by_action").iter().take(TOLD_MAX) {
            lines.push(format!("    action {}: {}", text(&action["action"]), sum(action)));
        }
        for tenant in list(&unit, "by_tenant").iter().take(TOLD_MAX) {
            let who = match (tenant["tenant"].as_str(), tenant["user"].as_str()) {
                (Some(tenant), _) => format!("tenant {tenant}"),
                (None, Some(user)) => format!("user {user}"),
                (None, None) => "an erased tenant".to_string(),
            };
            lines.push(format!("    {who}: {}", sum(tenant)));
        }
    }
    if usage["debits"] == 0 {
        lines.push("  none of it is of actions whose prices would change".to_string());
    }
    let remarks = [
        ("own_price", "at a price of the tenant's own stay as they were"),
        ("stated_amount", "captures of a stated amount stay as they were"),
        ("not_priceable", "do not fit the new price and would be refused"),
    ];
    for (name, remark) in remarks.iter().filter(|(name, _)| usage[*name] != 0) {
        lines.push(format!("  {} {remark}", usage[*name]));
    }
    if usage["truncated"] == Value::Bool(true) {
        lines.push(format!("! what came after {until} was not looked at: there is too much of it"));
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A price in a line: its fields but for those that are shown beside it.
fn terms(price: &Value) -> String {
    let fields = price.as_object().into_iter().flatten();
    let shown = fields.filter(|(name, _)| !["id", "unit"].contains(&name.as_str()));
    shown.map(|(name, value)| format!("{name} {}", plain(value))).collect::<Vec<_>>().join(", ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            // A rate: so much for so many.
            if let (Some(rate), Some(per)) = (fields.get("rate").and_then(Value::as_str), fields.get("per")) {
                return format!("{rate} per {per}");
            }
            let fields = fields.iter().map(|(name, value)| format!("{name} {}", plain(value)));
            format!("[{}]", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join("; ")),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
