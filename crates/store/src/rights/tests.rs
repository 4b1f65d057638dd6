//! The table of rights against the statements of this crate.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Rights that no statement here uses.
const AHEAD: [(&str, Right); 3] = [
    // The schema's number, which `migrate.rs` asks for.
    ("refinery_schema_history", Right::Select),
    // Personal text is erased by deleting it, and with it the reference under which it is found.
    ("entry_text", Right::Delete),
    ("entry_reference", Right::Delete),
];

/// What the statements of a server's path do, by table: words of SQL in the texts of this crate.
fn used() -> BTreeMap<&'static str, BTreeSet<Right>> {
    let mut texts = Vec::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut texts);
    assert!(texts.len() > 20, "the sources were not found");
    let mut used: BTreeMap<&'static str, BTreeSet<Right>> = BTreeMap::new();
    for text in texts {
        let words: Vec<&str> = text.split_whitespace().collect();
        for (table, _) in NEEDED {
            for place in words.windows(2).filter(|pair| bare(pair[1]) == *table).map(|pair| pair[0]) {
                let of_table = used.entry(table).or_default();
                match place.trim_start_matches(['"', '(']) {
                    "FROM" | "JOIN" => of_table.insert(Right::Select),
                    "INTO" => of_table.insert(Right::Insert),
                    "UPDATE" => of_table.insert(Right::Update),
                    _ => continue,
                };
            }
            if text.contains(&format!("DELETE FROM {table} ")) {
                used.entry(table).or_default().insert(Right::Delete);
            }
        }
        for (table, rights) in locking_and_upserts(&text) {
            used.entry(table).or_default().extend(rights);
        }
    }
    used
}

/// Texts with SQL in them that servers get from who serves: not the embedded database's, nor what migrates or copies, which
/// is the owner's work.
fn gather(folder: &Path, texts: &mut Vec<String>) {
    for item in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = item.expect("an item").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("text");
        if path.is_dir() && !["sqlite", "rights", "transport"].contains(&name) {
            gather(&path, texts);
        } else if name.ends_with(".rs") && !["sqlite.rs", "migrate.rs", "dialect.rs"].contains(&name) {
            let source = std::fs::read_to_string(&path).expect("a source");
            // A comment that speaks of a lock takes none.
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            texts.push(code.collect::<Vec<_>>().join("\n"));
        }
    }
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// Rows that are locked, and rows that are inserted unless present, which MySQL wants to be allowed to update.
fn locking_and_upserts(text: &str) -> Vec<(&'static str, Vec<Right>)> {
    let mut found = Vec::new();
    for statement in text.split(';') {
        let of = |words: &str, right: Right| {
            let named = NEEDED.iter().filter(|(table, _)| statement.contains(&format!("{words} {table} ")));
            named.map(|(table, _)| (*table, vec![right])).collect::<Vec<_>>()
        };
        if statement.contains("ON CONFLICT") {
            found.extend(of("INSERT INTO", Right::Update));
        }
        if statement.contains("FOR UPDATE") && !statement.contains("FOR UPDATE OF") {
            found.extend(of("FROM", Right::Update));
        }
    }
    found
}

#[test]
fn the_runtime_role_may_do_exactly_what_the_statements_do() {
    let used = used();
    for (table, needed) in NEEDED {
        let mut expected: BTreeSet<Right> = used.get(table).cloned().unwrap_or_default();
        expected.extend(AHEAD.iter().filter(|(of, _)| of == table).map(|(_, right)| *right));
        let named: BTreeSet<Right> = needed.iter().copied().collect();
        // What only the embedded database or a migration uses shows in texts that both share.
        if !needed.is_empty() {
            assert_eq!(named, expected, "{table}");
        }
    }
}

#[test]
fn every_table_of_the_schema_is_in_the_table_of_rights() {
    let schema = crate::rendered_schema("postgres").expect("a known system");
    let made =
        schema.lines().filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split_whitespace().next());
    for table in made {
        assert!(NEEDED.iter().any(|(named, _)| *named == table), "{table} is in no line of NEEDED");
    }
}

#[test]
fn what_holds_history_is_never_granted_to_be_changed() {
    for (table, hurts) in KEPT_FROM {
        let needed = NEEDED.iter().find(|(named, _)| *named == table).expect("in the table").1;
        assert!(!needed.contains(&Right::Update), "{table}");
        assert_eq!(needed.contains(&Right::Delete), !hurts.contains(&Hurt::Delete), "{table}");
    }
}

#[test]
fn names_of_roles_are_quoted() {
    let names =
        RoleNames { owner: "the \"owner\"".into(), runtime: "o'neil".into(), database: "purser_1".into() };
    let postgres = print_roles("postgres", &names).expect("a known system");
    assert!(postgres.contains("CREATE ROLE \"the \"\"owner\"\"\" LOGIN"), "{postgres}");
    assert!(postgres.contains("rolname = 'o''neil'"), "{postgres}");
    let mysql = print_roles("mysql", &names).expect("a known system");
    assert!(mysql.contains("GRANT SELECT, INSERT ON `purser_1`.entry TO 'o''neil'@'%';"), "{mysql}");
    assert!(mysql.contains("ON `purser\\_1`.* TO"), "{mysql}");
    assert_eq!(print_roles("oracle", &names), None);
}
