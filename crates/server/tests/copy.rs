//! `purser copy` as an operator runs it: 100,000 debits from a file to PostgreSQL, to MariaDB and back, killed on the way
//! (proof 6), and a deployment that is served from a copy as it was before.

#[path = "crash/client.rs"]
mod client;
#[path = "crash/server.rs"]
mod server;

use client::Client;
use purser_app::boot::database::ScratchDatabase;
use serde_json::Value;
use server::Server;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// Debits of the ledger that moves everywhere.
const DEBITS: u64 = 100_000;
/// So many of its wallets are used.
const WALLETS: u64 = 2_000;

fn postgres() -> ScratchDatabase {
    database("PURSER_TEST_POSTGRES_URL")
}

fn mysql() -> ScratchDatabase {
    database("PURSER_TEST_MYSQL_URL")
}

fn database(variable: &str) -> ScratchDatabase {
    let url = std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `cargo xtask test`, or `cargo xtask services` and export what it prints")
    });
    ScratchDatabase::empty(&url).unwrap_or_else(|error| panic!("{variable}: {error}"))
}

fn command(folder: &Path, from: &str, to: &str) -> Command {
    let mut command = server::purser(folder);
    command.args(["--json", "copy", "--from", from, "--to", to]).env("PURSER_LOG", "info");
    command
}

fn copy(folder: &Path, from: &str, to: &str) -> Value {
    let copied = command(folder, from, to).output().expect("the program runs");
    assert_eq!(copied.status.code(), Some(0), "{from} to {to}: {}", errors(&copied));
    serde_json::from_slice(&copied.stdout).expect("JSON")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A copy that is killed once it has told so many tenths of a stage, wherever it is by then.
fn killed(folder: &Path, from: &str, to: &str, stage: &str, lines: usize) {
    let mut copying: Child = command(folder, from, to)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let said = BufReader::new(copying.stderr.take().expect("piped")).lines();
    let mut told = said.map_while(Result::ok).filter(|line| line.contains(stage));
    assert!(told.nth(lines - 1).is_some(), "{from} to {to}: it ended before it was killed");
    copying.kill().expect("it runs");
    assert!(!copying.wait().expect("it ended").success());
}

#[test]
fn a_hundred_thousand_entries_move_to_both_servers_and_back_although_each_copy_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (debits, wallets) = (DEBITS.to_string(), WALLETS.to_string());
    let arguments = ["bench", "engine", "--debits", &debits, "--wallets", &wallets];
    let made = server::run(folder, &arguments);
    assert!(made.status.success(), "{}", errors(&made));
    let (postgres, mysql) = (postgres(), mysql());
    let (first, last) = ("sqlite:purser.db", "sqlite:last.db");
    let mut copies = Vec::new();
    for (from, to) in [(first, postgres.url()), (postgres.url(), mysql.url()), (mysql.url(), last)] {
        for (stage, lines) in [("Copying", 3), ("Copying", 6), ("Verifying", 2)] {
            killed(folder, from, to, stage, lines);
        }
        copies.push(copy(folder, from, to));
    }
    for copied in &copies {
        assert_eq!(copied["holds"], true);
        assert_eq!(copied["resumed"], true);
        assert_eq!(copied["entries"], DEBITS + WALLETS);
        assert_eq!(
            (&copied["heads"], &copied["rows"]),
            (&copies[0]["heads"], &copies[0]["rows"]),
            "{copied}"
        );
    }
    assert_eq!(copies[0]["secret_file"], "purser.db.secret");
    let moved = std::fs::metadata(folder.join("last.db")).expect("it is there").len();
    assert!(moved > 10_000_000, "{moved} bytes");
}

#[test]
fn what_was_served_from_a_file_is_served_from_a_server_and_keys_answer_as_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let key = server::key(folder);
    let running = Server::start(folder);
    let mut client = Client::connect(running.address, &key).expect("it listens");
    let action = r#"{"key":"scan","name":"Scan","price":{"model":"flat","unit":"credit","amount":"2"}}"#;
    assert_eq!(client.post("/v1/actions", "unused", action).expect("an answer").status, 201);
    let grant = r#"{"user":"u","amount":"50","kind":"paid","reason":"test","reference":"order 1"}"#;
    let granted = client.post("/v1/grants", "grant-1", grant).expect("an answer");
    assert_eq!(granted.status, 201, "{granted:?}");
    let debit = r#"{"user":"u","action":"scan"}"#;
    let first = client.post("/v1/debits", "debit-1", debit).expect("an answer");

    let postgres = postgres();
    let served = command(folder, "sqlite:purser.db", postgres.url()).output().expect("it runs");
    assert_eq!(served.status.code(), Some(1));
    assert!(errors(&served).contains("is being served"), "{}", errors(&served));
    // Killed, so that rows of wallets are behind the ledger.
    running.kill();
    assert_eq!(copy(folder, "sqlite:purser.db", postgres.url())["entries"], 2);

    let secret = std::fs::read_to_string(folder.join("purser.db.secret")).expect("the secret");
    let variables = [("PURSER_DATABASE_URL", postgres.url()), ("PURSER_SECRET_KEY", secret.trim())];
    let moved = Server::start_with(folder, &variables);
    let mut client = Client::connect(moved.address, &key).expect("it listens");
    for (path, name, body, before) in
        [("/v1/grants", "grant-1", grant, &granted), ("/v1/debits", "debit-1", debit, &first)]
    {
        let again = client.post(path, name, body).expect("an answer");
        assert_eq!((again.status, again.replayed), (201, true), "{again:?}");
        assert_eq!(again.body, before.body);
    }
    let other = client
        .post("/v1/debits", "debit-1", r#"{"user":"u","action":"scan","reference":"x"}"#)
        .expect("an answer");
    assert_eq!(other.status, 422, "{other:?}");
    let next = client.post("/v1/debits", "debit-2", debit).expect("an answer");
    assert_eq!((next.status, next.text("/balance/available")), (201, "46"), "{next:?}");
    moved.stop();

    let back = copy(folder, postgres.url(), "sqlite:back.db");
    assert_eq!((&back["entries"], &back["secret_file"]), (&3.into(), &Value::Null));
}
