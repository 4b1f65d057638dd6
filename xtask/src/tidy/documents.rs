//! The rule about documents: what ARCHITECTURE.md points at is there.
//!
//! Only words in backticks that look like paths of this checkout are judged; a plain word is left alone.

use super::Finding;
use crate::repo::SourceFile;

/// The document that newcomers steer by.
const MAP: &str = "ARCHITECTURE.md";

/// Endings that make a word without a slash a file of ours.
const FILE_ENDINGS: [&str; 6] = [".rs", ".md", ".toml", ".sql", ".json", ".csv"];

/// Names in ARCHITECTURE.md that lead nowhere.
pub(super) fn architecture_paths(files: &[SourceFile]) -> Vec<Finding> {
    let Some(map) = files.iter().find(|file| file.path == MAP) else {
        return vec![Finding::new(MAP, 0, "is missing: it is the map of the repository")];
    };
    let mut found = Vec::new();
    for (at, line) in map.text.lines().enumerate() {
        // Between backticks: every second piece of the line.
        for word in line.split('`').skip(1).step_by(2) {
            for path in spelled_out(word) {
                if looks_like_path(&path, files) && !exists(&path, files) {
                    found.push(Finding::new(MAP, at + 1, format!("`{path}` does not exist")));
                }
            }
        }
    }
    found
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn spelled_out(word: &str) -> Vec<String> {
    let Some((before, rest)) = word.split_once('{') else { return vec![word.to_string()] };
    let Some((choices, after)) = rest.split_once('}') else { return vec![word.to_string()] };
    choices.split(',').map(|choice| format!("{before}{}{after}", choice.trim())).collect()
}

fn looks_like_path(word: &str, files: &[SourceFile]) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    if word.is_empty() || word.starts_with('/') || !word.chars().all(plain) {
        return false;
    }
    if FILE_ENDINGS.iter().any(|ending| word.ends_with(ending)) {
        return true;
    }
    let Some((first, _)) = word.split_once('/') else { return false };
    let top_folder = |file: &SourceFile| file.path.split_once('/').is_some_and(|(top, _)| top == first);
    files.iter().any(top_folder)
}

/// A file, a folder, or the last part of a path (`clock.rs`, `cli/serve.rs`).
fn exists(word: &str, files: &[SourceFile]) -> bool {
    let word = word.trim_end_matches('/');
    let (folder, tail) = (format!("{word}/"), format!("/{word}"));
    files.iter().any(|file| {
        file.path == word
            || file.path.starts_with(&folder)
            || file.path.ends_with(&tail) && word.contains('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(map: &str) -> Vec<String> {
        let file = |path: &str, text: &str| SourceFile { path: path.to_string(), text: text.to_string() };
        let files =
            [file(MAP, map), file("crates/core/src/decide.rs", ""), file("crates/app/src/clock.rs", "")];
        architecture_paths(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_path_that_is_gone_is_found() {
        let found = check(
            "Read\n`crates/core/src/gone.rs`, `crates/{core,till}/src`, `gone.rs` and `crates/gone`.\n",
        );
        assert_eq!(
            found,
            [
                "ARCHITECTURE.md:2: `crates/core/src/gone.rs` does not exist",
                "ARCHITECTURE.md:2: `crates/till/src` does not exist",
                "ARCHITECTURE.md:2: `gone.rs` does not exist",
                "ARCHITECTURE.md:2: `crates/gone` does not exist",
            ]
        );
    }

    #[test]
    fn paths_that_exist_and_words_that_are_no_paths_are_left_alone() {
        let found = check(
            "`crates/core/src/decide.rs` `decide.rs` `crates/app` `src/clock.rs` `crates/{core,app}/src/`",
        );
        assert!(found.is_empty(), "{found:?}");
        let found =
            check("`decide`, `POST /v1/debits`, `/v1/debits`, `app::clock`, `a / b`, `read/write`, `v0.1`");
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_missing_map_is_found() {
        assert_eq!(architecture_paths(&[]).len(), 1);
    }
}
