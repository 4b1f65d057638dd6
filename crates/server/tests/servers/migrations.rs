//! `purser migrate`: any number at once, never past a newer schema, and on start where an owner is named.

use serde_json::json;

use crate::database::Database;
use crate::flow::Flow;
use crate::program::{Program, migrations, out};

/// Nodes that start at the same time.
const NODES: usize = 10;

fn servers() -> [Database; 2] {
    [Database::postgres(), Database::mariadb()]
}

#[test]
fn ten_migrations_at_once_apply_each_migration_once() {
    for database in servers() {
        let program = Program::on(&database.url);
        let done: Vec<_> = std::thread::scope(|scope| {
            let migrate = || program.run(&["--json", "migrate"]);
            let running: Vec<_> = (0..NODES).map(|_| scope.spawn(migrate)).collect();
            running.into_iter().map(|one| one.join().expect("no panic")).collect()
        });
        let answers: Vec<serde_json::Value> = done
            .iter()
            .map(|one| serde_json::from_str(out(one).trim()).unwrap_or_else(|_| panic!("{one:?}")))
            .collect();
        let applied = answers.iter().filter(|answer| answer["applied"] == json!(migrations())).count();
        assert_eq!(applied, 1, "{answers:?}");
        let newest = migrations().last().copied();
        assert!(answers.iter().all(|answer| answer["schema"] == json!(newest)), "{answers:?}");
        assert!(program.said(&["migrate"]).contains("nothing to do"));
    }
}

#[test]
fn a_schema_that_is_missing_or_newer_is_refused_with_what_to_do() {
    for database in servers() {
        let program = Program::on(&database.url);
        for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["verify"], &["key", "list"]] {
            let told = program.refused(arguments);
            assert!(told.contains("run `purser migrate`"), "{arguments:?}: {told}");
        }
        let (verdict, detail) = program.doctor("schema");
        assert!(verdict == "WRONG" && detail.contains("purser migrate"), "{detail}");
        program.said(&["migrate"]);
        database.run(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
             VALUES (99, 'later', '2026-01-01T00:00:00Z', '1')",
        );
        for arguments in [&["migrate"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let told = program.refused(arguments);
            assert!(told.contains("run the newer program"), "{arguments:?}: {told}");
        }
        assert_eq!(program.doctor("schema").0, "WRONG");
    }
}

#[test]
fn ten_nodes_that_know_the_owner_may_start_at_once() {
    let database = Database::postgres();
    let program = Program::on(&database.url).with_owner(&database.url);
    let serving: Vec<_> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..NODES).map(|_| scope.spawn(|| program.serve())).collect();
        starting.into_iter().map(|one| one.join().expect("it starts")).collect()
    });
    assert!(program.doctor("writers").1.starts_with("10 of 63"), "{}", program.doctor("writers").1);
    let key = program.key();
    for (number, node) in serving.iter().enumerate().take(2) {
        Flow::new(node.address, &key, &format!("node{number}")).all();
    }
    serving.into_iter().for_each(crate::program::Serving::stop);
    assert!(program.doctor("writers").1.starts_with("0 of 63"));
    assert!(program.logged().contains("would let this role change history"), "{}", program.logged());
    program.verify();
}

#[test]
fn an_embedded_database_is_migrated_too() {
    let program = Program::on("sqlite:purser.db");
    assert_eq!(
        program.json(&["migrate"]),
        json!({"applied": migrations(), "schema": migrations().last(), "granted": null})
    );
    assert!(program.said(&["migrate"]).contains("nothing to do"));
    assert_eq!(program.doctor("triggers").0, "ok");
    program.on_its_file("DROP TRIGGER entry_is_not_updated");
    let (verdict, detail) = program.doctor("triggers");
    assert!(verdict == "warn" && detail.contains("entry_is_not_updated"), "{detail}");
    assert!(program.refused(&["migrate", "--print-roles"]).contains("--system"));
    assert!(program.said(&["migrate", "--print-roles", "--system", "mysql"]).contains("CREATE USER"));
}

#[test]
fn doctor_changes_nothing_and_tells_what_a_start_would_stumble_over() {
    let database = Database::postgres();
    let program = Program::on(&database.url);
    assert_eq!(program.doctor("schema").0, "WRONG");
    assert!(program.refused(&["verify"]).contains("no schema"), "doctor made something");
    program.said(&["migrate"]);
    assert_eq!(program.doctor("history").0, "warn", "an administrator serves");
    database.run("ALTER TABLE entry DISABLE TRIGGER entry_is_append_only; DROP TRIGGER audit_is_not_truncated ON audit");
    let (verdict, detail) = program.doctor("triggers");
    assert!(verdict == "warn" && detail.contains("entry_is_append_only, audit_is_not_truncated"), "{detail}");
    database.run(&format!("ALTER DATABASE {} SET synchronous_commit = off", database.name));
    let (verdict, detail) = program.doctor("durability");
    assert!(verdict == "WRONG" && detail.contains("synchronous_commit is off"), "{detail}");
    let told = program.refused(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(told.contains("synchronous_commit is off"), "{told}");
    let nowhere = Program::on("postgres://purser:hunter2@127.0.0.1:1/purser");
    let (verdict, detail) = nowhere.doctor("database");
    assert!(verdict == "WRONG" && !detail.contains("hunter2"), "{detail}");
    let keyless = Program::on(&database.url).with("PURSER_SECRET_KEY", "");
    assert_eq!(keyless.doctor("secret_key").0, "WRONG");
}

#[test]
fn the_demo_runs_on_postgresql_as_often_as_it_is_asked() {
    demo_twice(&Database::postgres());
}

#[test]
fn the_demo_runs_on_mariadb_as_often_as_it_is_asked() {
    demo_twice(&Database::mariadb());
}

fn demo_twice(database: &Database) {
    let program = Program::on(&database.url).with("PURSER_SECRET_KEY", "");
    let mut before = 0;
    for _ in 0..2 {
        let shown = program.json(&["demo", "--exit"]);
        assert_eq!((&shown["charged_before"], &shown["verified"]["holds"]), (&0.into(), &true.into()));
        let entries = shown["verified"]["entries"].as_u64().expect("a number");
        assert!(entries > before + 2_000, "{shown}");
        before = entries;
    }
}
