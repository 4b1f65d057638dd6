//! The runtime role that `purser migrate --print-roles` makes: it is enough for everything the service does, and history is
//! safe from it.

use crate::database::{Database, as_user, console};
use crate::flow::Flow;
use crate::program::Program;

/// How often the folder, which works every moment, is looked at before it counts as stuck.
const LOOKS_MAX: usize = 100_000;

/// A database with both roles made by the printed SQL, migrated by the owner; the program as the runtime role.
struct Roles {
    database: Database,
    runtime: String,
    owner: String,
    program: Program,
}

impl Roles {
    fn on(database: Database) -> Roles {
        let (owner, runtime) = (database.role("owner"), database.role("runtime"));
        let (owner_url, runtime_url) = (as_user(&database.url, &owner), as_user(&database.url, &runtime));
        let program = Program::on(&runtime_url).with_owner(&owner_url);
        let sql = program.said(&["migrate", "--print-roles"]);
        assert!(sql.contains(&owner) && sql.contains(&runtime), "{sql}");
        // MariaDB grants on tables only once they are there; a migration does that.
        let first = match database.url.starts_with("mysql") {
            true => sql.split("-- What serving needs").next().expect("a first part"),
            false => sql.as_str(),
        };
        database.run(first);
        let migrated = program.json(&["migrate"]);
        assert!(migrated["applied"].as_array().is_some_and(|applied| !applied.is_empty()), "{migrated}");
        assert!(migrated["granted"].as_str().is_some_and(|role| role.starts_with(&runtime)), "{migrated}");
        Roles { database, runtime: runtime_url, owner: owner_url, program }
    }

    /// The whole of it may be run again, by hand, at any time.
    fn print_and_run_again(&self) {
        let sql = self.program.said(&["migrate", "--print-roles"]);
        self.database.run(&sql);
        let migrated = self.program.json(&["migrate"]);
        assert_eq!((&migrated["applied"], &migrated["granted"]), (&serde_json::json!([]), &().into()));
    }

    fn refuses(&self, statements: &[&str]) {
        let runtime = console(&self.runtime);
        for sql in statements {
            let refused = runtime.run(sql).expect_err(sql).to_string();
            let denied = ["denied", "must be owner", "permission"].iter().any(|word| refused.contains(word));
            assert!(denied, "{sql}: {refused}");
        }
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        let (owner, runtime) = (self.database.role("owner"), self.database.role("runtime"));
        let sql = match self.database.url.starts_with("mysql") {
            true => format!("DROP USER '{owner}'@'%';\nDROP USER '{runtime}'@'%';\n"),
            // The tables go first, with the database; what the roles hold beside them does not outlive this.
            false => format!(
                "REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {runtime}; DROP OWNED BY {owner}; DROP ROLE {owner}, {runtime}"
            ),
        };
        if let Err(error) = console(&self.database.url).run(&sql) {
            eprintln!("roles were left behind: {error}");
        }
    }
}

/// What may be asked of history and is refused.
const HISTORY: [&str; 9] = [
    "UPDATE entry SET amount = amount + 1",
    "UPDATE entry SET terms = terms WHERE position < 0",
    "DELETE FROM entry WHERE position < 0",
    "ALTER TABLE entry ADD COLUMN more BIGINT",
    "UPDATE entry_text SET reason = 'x' WHERE position < 0",
    "UPDATE audit SET reason = 'x' WHERE position < 0",
    "DELETE FROM audit WHERE position < 0",
    "DROP TABLE outbox",
    "CREATE TABLE mine (one BIGINT)",
];

#[test]
fn everything_the_service_does_works_under_the_runtime_role_on_postgresql() {
    let roles = Roles::on(Database::postgres());
    roles.print_and_run_again();
    everything(&roles);
    refuses_to_migrate(&roles);
    roles.refuses(&HISTORY);
    roles.refuses(&[
        "TRUNCATE entry",
        "TRUNCATE entry_text",
        "TRUNCATE audit",
        "ALTER TABLE entry DISABLE TRIGGER ALL",
        "DROP TRIGGER entry_is_append_only ON entry",
        "CREATE TEMPORARY TABLE mine (one BIGINT)",
        "UPDATE refinery_schema_history SET version = 9",
        "INSERT INTO pool (tenant_no, pool_no, pool_key, name, created_at) VALUES (1, 1, 'a', 'a', 1)",
        "DELETE FROM wallet",
    ]);
    // Answers are forgotten after their time, many days from now.
    console(&roles.runtime).run("DELETE FROM answer WHERE position < 0").expect("forgotten");
    // Erasure: the text of an entry may go, and with it the reference under which it is found.
    console(&roles.runtime).run("DELETE FROM entry_text; DELETE FROM entry_reference").expect("erased");
    assert!(roles.program.verify() > 0, "the chain holds without the texts");
    // Behind the rights stand the triggers, which stop the owner as well.
    let refused = console(&roles.owner).run("UPDATE entry SET amount = 1").expect_err("stopped");
    assert!(refused.to_string().contains("append-only"), "{refused}");
}

#[test]
fn the_runtime_role_is_safe_and_sufficient_on_mariadb() {
    let roles = Roles::on(Database::mariadb());
    roles.print_and_run_again();
    everything(&roles);
    roles.refuses(&HISTORY);
    roles.refuses(&[
        "TRUNCATE TABLE entry",
        "TRUNCATE TABLE audit",
        "DROP TRIGGER entry_is_not_updated",
        "DELETE FROM wallet",
    ]);
    console(&roles.runtime).run("DELETE FROM entry_text;\nDELETE FROM entry_reference;\n").expect("erased");
    let refused = console(&roles.owner).run("UPDATE entry SET amount = 1").expect_err("stopped");
    assert!(refused.to_string().contains("append-only"), "{refused}");
}

/// The flow of all movements, folding and forgetting, keys made, listed and revoked beside the node.
fn everything(roles: &Roles) {
    let program = &roles.program;
    for what in
        ["version", "durability", "pooling", "clock", "schema", "rights", "history", "triggers", "writers"]
    {
        let (verdict, detail) = program.doctor(what);
        assert_eq!(verdict, "ok", "{what}: {detail}");
    }
    let key = program.key();
    let serving = program.serve();
    let mut flow = Flow::new(serving.address, &key, "one");
    flow.all();
    // A key that is revoked beside the node spends on it no more.
    let other = program.key();
    let public = other.rsplit_once('_').expect("a key").0;
    assert_eq!(serving.client(&other).get("/v1/actions").expect("an answer").status, 200);
    program.said(&["key", "revoke", public]);
    assert!(program.said(&["key", "list"]).contains("(revoked)"));
    assert!(program.doctor("writers").1.starts_with("1 of 63"), "the commands gave their slots back");
    until_folded(roles);
    assert!(program.verify() > 15);
    serving.stop();
    assert!(program.doctor("writers").1.starts_with("0 of 63"), "a node that stops gives its slot back");
    assert!(!program.logged().contains("could not"), "{}", program.logged());
    assert!(!program.logged().contains("WARN"), "{}", program.logged());
}

/// Whoever may not change the schema is told who may.
fn refuses_to_migrate(roles: &Roles) {
    let alone = Program::on(&roles.runtime);
    let told = alone.refused(&["migrate"]);
    assert!(told.contains("database_owner_url"), "{told}");
}

/// Waits for the folder, which works beside the writers: what it wrote is the proof that it may.
fn until_folded(roles: &Roles) {
    let console = console(&roles.database.url);
    let count =
        "SELECT CAST((SELECT COUNT(*) FROM entry) - (SELECT COUNT(*) FROM wallet_history) AS CHAR(9))";
    let folded = (0..LOOKS_MAX).any(|_| console.texts(count).expect("counted")[0].trim() == "0");
    assert!(folded, "the folder does not get on: {}", roles.program.logged());
}
