//! The rules about single source files: clock, floats, SQL, length, names, tests that do not run.
//!
//! Each rule takes text and answers findings. An exception is a line in a list here, with its reason.
//! Read next: `code`, which removes comments, strings and tests before these rules look.

use super::code::lines_with_word;
use super::{Finding, RustFile};

/// The longest a Rust file may be, tests included, where it is not itself a test.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside, so that anything ends up inside.
const BANNED_NAMES: [&str; 6] = ["util.rs", "utils.rs", "helpers.rs", "common.rs", "types.rs", "manager.rs"];

/// Where the time may be read and chance be asked, besides tests and xtask.
const CLOCK_FILES: [(&str, &str); 2] = [
    ("crates/app/src/clock.rs", "the one place that time and chance come from"),
    ("crates/store/examples/append.rs", "measures the store alone; it is no part of the product"),
];

/// Where a float may stand in the crates that count credits.
const FLOAT_FILES: [(&str, &str); 1] =
    [("crates/app/src/metrics.rs", "percentiles and gauges are measurements, never amounts")];

/// Crates whose amounts must be integers throughout.
const EXACT_CRATES: [&str; 3] = ["crates/core/src/", "crates/store/src/", "crates/app/src/"];

/// All rules of this file that look at Rust.
pub(super) fn check(file: &RustFile<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(banned_name(file.path));
    found.extend(ignored_tests(file.path, &file.code));
    found.extend(sql_driver_outside_store(file.path, &file.code));
    if !file.product.is_empty() {
        found.extend(too_long(file.path, file.text));
        found.extend(clock_outside_clock(file.path, &file.product));
        found.extend(floats(file.path, &file.product));
    }
    found
}

fn banned_name(path: &str) -> Option<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    BANNED_NAMES
        .contains(&name)
        .then(|| Finding::new(path, 0, "a file with this name becomes a drawer; name it after what it holds"))
}

fn too_long(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let message =
        || format!("{lines} lines; a file ends before {LINES_MAX}: split it by what its parts are for");
    (lines > LINES_MAX).then(|| Finding::new(path, 0, message()))
}

fn clock_outside_clock(path: &str, product: &str) -> Vec<Finding> {
    if path.starts_with("xtask/") || CLOCK_FILES.iter().any(|(allowed, _)| *allowed == path) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for word in ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "getrandom"] {
        for line in lines_with_word(product, word) {
            let message =
                format!("{word} outside crates/app/src/clock.rs: take time and chance from the clock");
            found.push(Finding::new(path, line, message));
        }
    }
    found
}

fn floats(path: &str, product: &str) -> Vec<Finding> {
    let exact = EXACT_CRATES.iter().any(|folder| path.starts_with(folder));
    if !exact || FLOAT_FILES.iter().any(|(allowed, _)| *allowed == path) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for word in ["f32", "f64"] {
        for line in lines_with_word(product, word) {
            found.push(Finding::new(
                path,
                line,
                format!("{word} in a crate that counts credits: use integers"),
            ));
        }
    }
    found
}

fn sql_driver_outside_store(path: &str, code: &str) -> Vec<Finding> {
    if path.starts_with("crates/store/") {
        return Vec::new();
    }
    let found = lines_with_word(code, "rusqlite");
    let message = "rusqlite outside crates/store: only the store knows SQL";
    found.into_iter().map(|line| Finding::new(path, line, message)).collect()
}

fn ignored_tests(path: &str, code: &str) -> Vec<Finding> {
    let marked = |line: &str| line.trim_start().starts_with("#[ignore");
    let lines = code.lines().enumerate().filter(|(_, line)| marked(line));
    lines
        .map(|(at, _)| Finding::new(path, at + 1, "an ignored test proves nothing: run it or remove it"))
        .collect()
}

/// Marks of unfinished work without the number of an issue behind them, in any text file.
pub(super) fn unnumbered_work(path: &str, text: &str) -> Vec<Finding> {
    // Written in two parts so that this file does not accuse itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut found = Vec::new();
    for mark in marks {
        for line in lines_with_word(text, mark) {
            let body = text.lines().nth(line - 1).unwrap_or_default();
            let numbered = body.match_indices(mark).all(|(at, _)| {
                let rest = &body[at + mark.len()..];
                rest.strip_prefix("(#").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            });
            if !numbered {
                found.push(Finding::new(path, line, format!("{mark} without an issue: write {mark}(#123)")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::code::{code_only, part};
    use super::*;

    fn check_text(path: &str, text: &str) -> Vec<String> {
        let code = code_only(text);
        let product = part(&code).product;
        check(&RustFile { path, text, code, product }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_drawer_name_is_found() {
        assert_eq!(check_text("crates/app/src/helpers.rs", "fn a() {}").len(), 1);
        assert!(check_text("crates/app/src/engine.rs", "fn a() {}").is_empty());
    }

    #[test]
    fn a_file_that_scrolls_for_ever_is_found() {
        let found = check_text("crates/app/src/engine.rs", &"fn a() {}\n".repeat(601));
        assert!(found.len() == 1 && found[0].contains("601 lines"), "{found:?}");
        assert!(check_text("crates/app/src/engine.rs", &"fn a() {}\n".repeat(600)).is_empty());
    }

    #[test]
    fn a_wall_clock_outside_the_clock_is_found_and_in_a_test_it_is_not() {
        let text =
            "fn a() { Instant::now(); }\nfn b() { std::time::SystemTime::now(); }\nuse getrandom::fill;\n";
        let found = check_text("crates/server/src/main.rs", text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found.iter().any(|finding| finding.starts_with("crates/server/src/main.rs:2: SystemTime::now"))
        );
        assert!(check_text("crates/app/src/clock.rs", text).is_empty());
        assert!(check_text("xtask/src/main.rs", text).is_empty());
        let test = format!("#[cfg(test)]\nmod tests {{\n{text}}}\n");
        assert!(check_text("crates/server/src/main.rs", &test).is_empty());
    }

    #[test]
    fn a_float_near_credits_is_found_and_beside_them_it_is_not() {
        let text = "fn share(a: f64) -> f32 { 0.0 } // f64 in a comment is nobody's business\n";
        assert_eq!(check_text("crates/core/src/amount.rs", text).len(), 2);
        assert_eq!(check_text("crates/store/src/hot.rs", text).len(), 2);
        assert_eq!(check_text("crates/app/src/engine.rs", text).len(), 2);
        assert!(check_text("crates/app/src/metrics.rs", text).is_empty());
        assert!(check_text("crates/server/src/chart.rs", text).is_empty());
    }

    #[test]
    fn the_sql_driver_outside_the_store_is_found_even_in_tests() {
        let text = "#[cfg(test)]\nmod tests {\n    use rusqlite::Connection;\n}\n";
        assert_eq!(check_text("crates/server/src/main.rs", text).len(), 1);
        assert!(check_text("crates/store/src/lib.rs", text).is_empty());
    }

    #[test]
    fn an_ignored_test_is_found() {
        let text = "#[cfg(test)]\nmod tests {\n    #[test]\n    #[ignore = \"slow\"]\n    fn a() {}\n}\n";
        let found = check_text("crates/core/src/chain.rs", text);
        assert!(found.len() == 1 && found[0].starts_with("crates/core/src/chain.rs:4"), "{found:?}");
    }

    #[test]
    fn unfinished_work_without_an_issue_is_found() {
        let mark = concat!("TO", "DO");
        assert_eq!(unnumbered_work("README.md", &format!("{mark}: later")).len(), 1);
        assert_eq!(unnumbered_work("a.rs", &format!("// {mark}(#12): x {mark} y")).len(), 1);
        assert!(unnumbered_work("a.rs", &format!("// {mark}(#12): the rest")).is_empty());
    }
}
