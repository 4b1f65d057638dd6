//! What is said of large ledgers: a part of the page for each system, which says when it was measured and stays until it is
//! measured again, as to make such a ledger takes longer than everything else.

use super::super::large::Large;
use super::super::machine::Machine;
use super::{Bar, thousands};

/// The systems that have a part, in its order.
const SYSTEMS: [&str; 2] = ["SQLite", "PostgreSQL"];

/// All parts: those that were measured now, and the others as they were.
pub(in super::super) fn section(measured: &[Large], machine: &Machine, old: &str) -> String {
    let part = |system: &str| {
        let now = measured.iter().find(|large| large.system == system);
        now.map_or_else(|| kept(old, system), |large| written(large, machine))
    };
    SYSTEMS.map(part).join("\n")
}

/// The page with these parts in the place of older ones.
pub(in super::super) fn replaced(
    page: &str,
    measured: &[Large],
    machine: &Machine,
) -> Result<String, String> {
    let unknown = || "the page has no part about large ledgers: run the whole bench first".to_string();
    let (before, rest) = page.split_once(HEAD).ok_or_else(unknown)?;
    let (_, after) = rest.split_once(BEHIND).ok_or_else(unknown)?;
    Ok(format!("{before}{HEAD}{}{BEHIND}{after}", section(measured, machine, page)))
}

/// What stands before and behind all parts.
pub(super) const HEAD: &str = "## With a large ledger\n\n";
pub(super) const BEHIND: &str = "\n## Against the bars\n";

fn title(system: &str) -> String {
    format!("### {system}\n")
}

fn kept(old: &str, system: &str) -> String {
    let rest =
        old.split_once(HEAD).and_then(|(_, rest)| rest.split_once(BEHIND)).map_or("", |(parts, _)| parts);
    let Some((_, part)) = rest.split_once(&title(system)) else {
        return format!("{}\nNot measured yet: `cargo xtask bench --large` does.\n", title(system));
    };
    let part = part.split_once("\n### ").map_or(part, |(part, _)| part);
    format!("{}{}\n", title(system), part.trim_end_matches('\n'))
}

fn written(large: &Large, machine: &Machine) -> String {
    let mut text = format!(
        "{}\nMeasured at commit {} on {}. Before: {} entries, which `purser verify` went through at {} a second.\n\n\
         | debits over HTTP, 10,000 wallets | a second, median | of the empty one |\n| --- | --- | --- |\n",
        title(large.system),
        machine.commit,
        machine.date,
        thousands(large.entries as f64),
        thousands(large.verified_per_second),
    );
    for (name, series) in [
        ("an empty ledger", &large.empty),
        ("the large ledger, UUIDv7 keys", &large.full),
        ("the large ledger, random keys", &large.full_random),
    ] {
        let share = series.against(&large.empty).median();
        text.push_str(&format!("| {name} | {} | {share:.2} |\n", thousands(series.median())));
    }
    let turns = large.full.against(&large.empty);
    let found = turns.median();
    let bar = Bar { work: "", must: 0.8, goal: 0.95, found, small: false, unit: "" };
    text.push_str(&format!(
        "\nUUIDv7 keys against the empty ledger, must 0.80 and goal 0.95: {}. The two services take turns, each once the machine is at rest; \
         single turns came to {:.2} .. {:.2}.\n",
        bar.verdict(),
        turns.least(),
        turns.most()
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::series::Series;
    use super::*;

    fn large(system: &'static str, full: f64) -> Large {
        Large {
            system,
            entries: 20_010_000,
            empty: Series::of(&[20_000.0]),
            full: Series::of(&[full]),
            full_random: Series::of(&[9_000.0]),
            verified_per_second: 400_000.0,
        }
    }

    #[test]
    fn what_is_measured_replaces_its_own_part_only() {
        let machine = |commit: &str| Machine { commit: commit.to_string(), ..Machine::some() };
        let page = |parts: String| format!("# Benchmarks\n\n{HEAD}{parts}{BEHIND}\nbars\n");
        let none = page(section(&[], &machine("a"), ""));
        assert_eq!(none.matches("Not measured yet").count(), 2, "{none}");
        let both =
            replaced(&none, &[large("SQLite", 18_000.0), large("PostgreSQL", 10_000.0)], &machine("b"));
        let both = both.expect("it has the part");
        assert!(both.contains("| 18,000 | 0.90 |") && both.contains("goal 0.95: must."), "{both}");
        assert!(both.contains("| 10,000 | 0.50 |") && both.contains("goal 0.95: **missed**."), "{both}");
        let one = replaced(&both, &[large("SQLite", 19_500.0)], &machine("c")).expect("it has the part");
        assert!(one.contains("commit c") && one.contains("goal 0.95: goal."), "{one}");
        assert!(one.contains("commit b") && one.contains("| 10,000 | 0.50 |"), "{one}");
        assert!(!one.contains("18,000") && one.ends_with("bars\n"), "{one}");
        assert_eq!(replaced(&one, &[], &machine("d")).expect("it has the part"), one);
        assert!(replaced("# Benchmarks\n", &[], &machine("d")).is_err());
    }
}
