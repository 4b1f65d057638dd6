//! From each released schema, with a ledger in it, to this program: opened, verified, charged further.
//!
//! The dumps are in `crates/store/tests/fixtures`; `cargo xtask fixtures` makes them.

use serde_json::json;

use crate::database::{Database, console};
use crate::flow::Flow;
use crate::program::Program;

/// Schemas that were released, by the number of their last migration.
const RELEASED: [u32; 2] = [2, 9];

/// The run that made the ledger in a dump: its users and actions are named after it.
const RUN: &str = "fixture";

fn dump(schema: u32, system: &str) -> String {
    let path = format!("{}/../store/tests/fixtures/schema-{schema}.{system}.sql", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}; `cargo xtask fixtures` makes it"))
}

fn upgraded(schema: u32, url: &str, system: &str) {
    console(url).run(&dump(schema, system)).unwrap_or_else(|error| panic!("{system} {schema}: {error}"));
    let program = Program::on(url);
    program.said(&["migrate"]);
    let entries = program.verify();
    assert!(entries > 15, "{system} {schema}: {entries} entries");
    let key = program.key();
    let serving = program.serve();
    let mut flow = Flow::new(serving.address, &key, RUN).numbered_from(1_000);
    flow.reads();
    let before = flow.available();
    let charged = json!({"tenant": "acme", "user": format!("ann-{RUN}"), "action": format!("scan-{RUN}"),
        "reference": "after the upgrade"});
    let debit = flow.done(201, "/v1/debits", charged);
    assert_eq!(debit["amount"], "5", "{debit}");
    assert_ne!(flow.available(), before);
    // Everything else the program does works on top of it as well.
    Flow::new(serving.address, &key, "further").all();
    serving.stop();
    assert!(program.verify() > entries + 15);
}

#[test]
fn a_ledger_of_a_released_schema_is_upgraded_on_sqlite() {
    for schema in RELEASED {
        let folder = tempfile::tempdir().expect("a folder");
        upgraded(schema, &format!("sqlite:{}", folder.path().join("purser.db").display()), "sqlite");
    }
}

#[test]
fn a_ledger_of_a_released_schema_is_upgraded_on_postgresql() {
    RELEASED.iter().for_each(|schema| upgraded(*schema, &Database::postgres().url, "postgres"));
}

#[test]
fn a_ledger_of_a_released_schema_is_upgraded_on_mariadb() {
    RELEASED.iter().for_each(|schema| upgraded(*schema, &Database::mariadb().url, "mysql"));
}
