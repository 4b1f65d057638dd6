//! The rule about migrations: what has been released never changes, since databases out there ran it.
//!
//! `xtask/released-migrations.txt` holds a BLAKE3 sum and a path a line, in the format of `b3sum`.
//! `cargo xtask tidy --record-migrations` adds what is new; it never replaces a line that is there.

use std::fs;
use std::path::Path;

use super::Finding;
use crate::repo::{self, SourceFile};

/// The committed sums.
const RELEASED: &str = "xtask/released-migrations.txt";
const MIGRATIONS: &str = "crates/store/migrations/";

/// Released migrations that are gone or differ from what was released.
pub(super) fn changed(files: &[SourceFile]) -> Vec<Finding> {
    let Some(released) = files.iter().find(|file| file.path == RELEASED) else {
        return vec![Finding::new(RELEASED, 0, "is missing: it holds the sums of released migrations")];
    };
    let mut found = Vec::new();
    for (at, line) in released.text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((sum, path)) = line.split_once("  ") else {
            found.push(Finding::new(RELEASED, at + 1, "is not `sum  path`"));
            continue;
        };
        match files.iter().find(|file| file.path == path) {
            None => found.push(Finding::new(path, 0, "was released and is gone")),
            Some(file) if sum_of(&file.text) != sum => {
                found.push(Finding::new(
                    path,
                    0,
                    "was released and has changed: add a new migration instead",
                ));
            }
            Some(_) => {}
        }
    }
    found
}

fn sum_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Adds every migration that is not yet listed; a release does this once, when its issue closes.
pub(crate) fn record(root: &Path) -> Result<(), String> {
    let files = repo::files(root).map_err(|error| error.to_string())?;
    let mut text = fs::read_to_string(root.join(RELEASED)).map_err(|error| format!("{RELEASED}: {error}"))?;
    let listed: Vec<String> =
        text.lines().filter_map(|line| line.split_once("  ")).map(|(_, path)| path.to_string()).collect();
    for file in files.iter().filter(|file| file.path.starts_with(MIGRATIONS)) {
        if !listed.contains(&file.path) {
            println!("released: {}", file.path);
            text.push_str(&format!("{}  {}\n", sum_of(&file.text), file.path));
        }
    }
    fs::write(root.join(RELEASED), text).map_err(|error| format!("{RELEASED}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, migration: Option<&str>) -> Vec<String> {
        let file = |path: &str, text: &str| SourceFile { path: path.to_string(), text: text.to_string() };
        let mut files = vec![file(RELEASED, list)];
        files.extend(migration.map(|text| file("crates/store/migrations/0001_ledger.sql", text)));
        changed(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_released_migration_that_changed_is_found() {
        let list =
            format!("# sums\n{}  crates/store/migrations/0001_ledger.sql\n", sum_of("CREATE TABLE a;"));
        assert!(check(&list, Some("CREATE TABLE a;")).is_empty());
        let found = check(&list, Some("CREATE TABLE b;"));
        assert!(found.len() == 1 && found[0].contains("has changed"), "{found:?}");
    }

    #[test]
    fn a_released_migration_that_is_gone_is_found() {
        let list = format!("{}  crates/store/migrations/0001_ledger.sql\n", sum_of("x"));
        let found = check(&list, None);
        assert!(found.len() == 1 && found[0].contains("is gone"), "{found:?}");
    }

    #[test]
    fn a_list_that_cannot_be_read_is_found_instead_of_passing() {
        assert_eq!(check("nonsense\n", None).len(), 1);
        assert_eq!(changed(&[]).len(), 1);
    }
}
