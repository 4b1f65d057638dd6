//! The program itself: serve, key, doctor, openapi, on a database of their own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use tempfile::TempDir;

/// The program with its own settings and without those of the desk.
fn purser(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purser"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PURSER_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    let database = format!("sqlite:{}", folder.join("purser.db").display());
    command.env("PURSER_DATABASE_URL", database).env("PURSER_LISTEN", "127.0.0.1:0").current_dir(folder);
    command.stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    purser(folder).args(arguments).output().expect("it starts")
}

#[track_caller]
fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// A running `purser serve`; killed with the test if it did not stop.
struct Serving {
    child: Child,
    output: BufReader<ChildStdout>,
    first_lines: String,
    address: String,
}

impl Serving {
    fn start(folder: &Path) -> Serving {
        let mut child = purser(folder)
            .arg("serve")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("it says where it serves");
        let start = first.find("http://").expect("an address") + "http://".len();
        let address = first[start..].split([' ', '\n']).next().expect("an address").to_string();
        Serving { child, output: lines, first_lines: first, address }
    }

    fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
        std::mem::take(&mut self.first_lines) + &rest
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(address: &str, key: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "GET /v1/units HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_key_is_made_alone_on_standard_output_whether_a_server_runs_or_not() {
    let folder = folder();
    let before = said(folder.path(), &["key", "create", "--name", "before"]);
    assert!(before.starts_with("psk_") && before.lines().count() == 1, "{before}");
    let serving = Serving::start(folder.path());
    let during = said(folder.path(), &["key", "create", "--name", "during", "--scope", "read"]);
    for key in [before.trim(), during.trim()] {
        assert!(ask(&serving.address, key).starts_with("HTTP/1.1 200"), "{key}");
    }
    let list = said(folder.path(), &["key", "list"]);
    assert!(list.contains("before") && list.contains("during") && !list.contains(before.trim()), "{list}");
    said(folder.path(), &["key", "revoke", &during[..16]]);
    assert!(ask(&serving.address, during.trim()).starts_with("HTTP/1.1 401"));
    assert!(ask(&serving.address, before.trim()).starts_with("HTTP/1.1 200"));
    serving.stop();
    assert!(!folder.path().join("purser.db.admin.sock").exists(), "the door is still there");
    assert!(said(folder.path(), &["key", "list"]).contains("(revoked)"));
}

#[test]
fn the_first_start_says_how_to_make_a_key_and_later_ones_do_not() {
    let folder = folder();
    let first = Serving::start(folder.path()).stop();
    assert!(first.contains("purser key create --name"), "{first}");
    said(folder.path(), &["key", "create", "--name", "a"]);
    let later = Serving::start(folder.path()).stop();
    assert!(!later.contains("purser key create"), "{later}");
}

#[test]
fn the_door_is_open_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let serving = Serving::start(folder.path());
    let door = std::fs::metadata(folder.path().join("purser.db.admin.sock")).expect("a door");
    assert_eq!(door.permissions().mode() & 0o777, 0o600);
    serving.stop();
}

#[test]
fn a_second_server_on_the_same_database_is_refused() {
    let folder = folder();
    let serving = Serving::start(folder.path());
    let second = run(folder.path(), &["serve"]);
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("purser.db"), "{second:?}");
    serving.stop();
}

#[test]
fn keys_as_json_and_refusals_with_a_sentence() {
    let folder = folder();
    let made: serde_json::Value = serde_json::from_str(&said(
        folder.path(),
        &["key", "create", "--name", "a", "--tenant", "acme", "--json"],
    ))
    .expect("JSON");
    assert!(made["key"].as_str().expect("a key").starts_with("psk_"));
    let list: serde_json::Value =
        serde_json::from_str(&said(folder.path(), &["--json", "key", "list"])).expect("JSON");
    assert_eq!(
        (&list[0]["name"], &list[0]["tenant"], &list[0]["scope"]),
        (&"a".into(), &"acme".into(), &"write".into())
    );
    let refused = run(folder.path(), &["key", "create", "--name", "a", "--tenant", "a b"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--tenant: "), "{refused:?}");
    for unknown in ["psk_000000000000", "nonsense"] {
        let unknown = run(folder.path(), &["key", "revoke", unknown]);
        assert_eq!(unknown.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&unknown.stderr), "purser: there is no such api key\n");
    }
    let prefix = list[0]["prefix"].as_str().expect("text");
    for _ in 0..2 {
        assert_eq!(said(folder.path(), &["key", "revoke", prefix]), "Done.\n", "again changes nothing");
    }
    assert_eq!(run(folder.path(), &["key", "create"]).status.code(), Some(2));
}

#[test]
fn doctor_explains_settings_without_making_anything() {
    let folder = folder();
    let secret = "c0ffee00".repeat(8);
    let file = format!("queue_max = 100\nsecret_key = \"{secret}\"\n");
    std::fs::write(folder.path().join("purser.toml"), file).expect("written");
    let report = said(folder.path(), &["doctor"]);
    assert!(
        report
            .lines()
            .any(|line| line.contains("queue_max") && line.contains("100") && line.contains("purser.toml")),
        "{report}"
    );
    assert!(report.lines().any(|line| line.contains("listen") && line.contains("PURSER_LISTEN")), "{report}");
    assert!(!report.contains(&secret), "{report}");
    assert!(!folder.path().join("purser.db").exists(), "doctor made a database");
    let typo = purser(folder.path()).arg("doctor").env("PURSER_LISTN", "x").output().expect("it starts");
    assert_eq!(typo.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&typo.stdout).contains("PURSER_LISTN"));
}

#[test]
fn doctor_finds_what_a_start_would_stumble_over() {
    let folder = folder();
    let finds = |name: &str, value: &str, expected: &str| {
        let report = purser(folder.path()).arg("doctor").env(name, value).output().expect("it starts");
        let text = String::from_utf8_lossy(&report.stdout).into_owned();
        assert_eq!(report.status.code(), Some(1), "{name}={value}: {text}");
        assert!(text.lines().any(|line| line.starts_with("  WRONG") && line.contains(expected)), "{text}");
    };
    finds("PURSER_LOG", "===", "log: ");
    finds("PURSER_SECRET_KEY", "c0ffee", "secret_key: ");
    finds("PURSER_DATABASE_URL", "sqlite:", "names no file");
    finds("PURSER_DATABASE_URL", "sqlite:nowhere/purser.db", "no folder nowhere");
    said(folder.path(), &["key", "list"]);
    let secret = folder.path().join("purser.db.secret");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("there");
    finds("PURSER_LOG", "info", "chmod 600");
    std::fs::remove_file(&secret).expect("there");
    finds("PURSER_LOG", "info", "purser.db.secret is missing");
    assert!(!secret.exists(), "doctor made another secret key");
}

#[test]
fn doctor_asks_a_running_server_how_it_is() {
    let folder = folder();
    let serving = Serving::start(folder.path());
    let report = said(folder.path(), &["doctor"]);
    assert!(report.contains("ok    clock: fine") && report.contains("ok    database: fine"), "{report}");
    serving.stop();
}

#[test]
fn openapi_prints_the_document() {
    let folder = folder();
    let printed = said(folder.path(), &["openapi"]);
    assert_eq!(printed, purser_server::http::docs::text(&purser_server::http::router::document()));
}
