//! The commands of the program as a user runs them: exit codes, what they print, what they leave behind.

#[path = "crash/client.rs"]
mod client;
#[path = "crash/server.rs"]
mod server;

use std::path::Path;
use std::process::Output;

use client::Client;
use serde_json::Value;
use server::Server;

#[test]
fn the_demo_charges_the_real_trace_and_its_ledger_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = json(&demo(server::purser(folder.path()).env_remove("PURSER_DATABASE_URL")));
    let of = |name: &str| shown[name].as_u64().expect("a number");
    assert_eq!((of("charged") + of("refused"), of("exceeded"), of("charged_before")), (2_000, 0, 0));
    assert!(of("charged") > 1_000 && of("refused") > 50, "{shown}");
    assert_eq!(shown["verified"]["holds"], true);
    // A grant for each user, a hold and a capture for each request that was charged.
    assert_eq!(shown["verified"]["entries"].as_u64(), Some(300 + 2 * of("charged")));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("there").collect();
    assert!(left.is_empty(), "the demo leaves nothing behind: {left:?}");
}

#[test]
fn the_demo_runs_twice_on_a_database_that_is_set_and_on_none_that_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    for runs in 1..=2 {
        let shown = json(&demo(&mut server::purser(folder.path())));
        assert_eq!((&shown["charged_before"], &shown["verified"]["holds"]), (&0.into(), &true.into()));
        let entries = shown["verified"]["entries"].as_u64().expect("a number");
        assert!(entries > runs * 2_000, "run {runs}: {shown}");
    }
    server::key(folder.path());
    let used = server::run(folder.path(), &["demo", "--exit"]);
    assert_eq!(used.status.code(), Some(1));
    assert!(errors(&used).contains("is used"), "{}", errors(&used));
}

fn demo(purser: &mut std::process::Command) -> Output {
    let shown = purser.args(["--json", "demo", "--exit"]).output().expect("the program runs");
    assert_eq!(shown.status.code(), Some(0), "{}", errors(&shown));
    shown
}

#[test]
fn a_replay_that_is_started_again_charges_nothing_twice() {
    let (folder, key) = ready();
    let running = Server::start(folder.path());
    publish(&running, &key);
    let trace = folder.path().join("trace.csv");
    std::fs::write(
        &trace,
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\na,1000,10\r\nb,x,1\r\nc,2000,9999\r\nd,500,5\r\n",
    )
    .expect("written");
    let replay = |run: &str| {
        let url = format!("http://{}", running.address);
        let file = trace.to_str().expect("text");
        let arguments = ["--json", "replay", file, "--url", &url, "--key", &key, "--users", "2"];
        let run = ["--run", run, "--grant", "100"];
        let replayed = server::run(folder.path(), &[&arguments[..], &run[..]].concat());
        assert_eq!(replayed.status.code(), Some(0), "{}", errors(&replayed));
        assert!(errors(&replayed).contains("line 3: ContextTokens is \"x\""), "{}", errors(&replayed));
        json(&replayed)
    };
    let first = replay("one");
    assert_eq!(
        (&first["charged"], &first["exceeded"], &first["bad_rows"]),
        (&2.into(), &1.into(), &1.into())
    );
    // 1,000 and 500 tokens in at 2, 10 and 5 out at 4 for a thousand.
    assert_eq!(first["moved"]["credit"], "3.06");
    let again = replay("one");
    assert_eq!((&again["charged"], &again["charged_before"]), (&0.into(), &2.into()));
    assert_eq!(again["moved"], serde_json::json!({}));
    assert_eq!(replay("two")["charged"], 2);
}

#[test]
fn a_replay_tells_what_it_cannot_do() {
    let (folder, key) = ready();
    let running = Server::start(folder.path());
    let trace = folder.path().join("trace.csv");
    std::fs::write(&trace, "TIMESTAMP,ContextTokens,GeneratedTokens\na,1,1\n").expect("written");
    let url = format!("http://{}", running.address);
    let refused = |file: &str, url: &str, key: &str, expected: &str| {
        let replayed = server::run(folder.path(), &["replay", file, "--url", url, "--key", key]);
        assert_eq!(replayed.status.code(), Some(1));
        assert!(errors(&replayed).contains(expected), "{}", errors(&replayed));
    };
    refused("trace.csv", &url, &key, "no action that is priced by input_tokens");
    refused("trace.csv", &url, "psk_wrong", "401 (unauthenticated)");
    refused("trace.csv", "https://purser.example", &key, "proxy");
    refused("missing.csv", &url, &key, "missing.csv");
    std::fs::write(folder.path().join("other.csv"), "a,b\n1,2\n").expect("written");
    refused("other.csv", &url, &key, "no column ContextTokens");
}

#[test]
fn verify_says_with_its_exit_code_whether_the_ledger_holds() {
    let (folder, key) = ready();
    let running = Server::start(folder.path());
    let mut client = Client::connect(running.address, &key).expect("the server listens");
    let grant = |client: &mut Client, number: u32| {
        let body = r#"{"user":"u","amount":"5","kind":"paid","reason":"test"}"#;
        client.post("/v1/grants", &format!("grant-{number}"), body).expect("an answer")
    };
    let wallet = grant(&mut client, 1).text("/wallet_id").to_string();
    (2..5).for_each(|number| assert_eq!(grant(&mut client, number).status, 201));
    let entries = client.get(&format!("/v1/wallets/{wallet}/entries")).expect("an answer");
    // The second entry of four: neither the first of the chain nor its head.
    let hash = entries.text("/data/2/hash").to_string();
    assert_eq!(server::verify(folder.path()), 4, "beside a running server");
    running.kill();
    // Opening and closing it brings everything into the one file.
    assert!(server::run(folder.path(), &["key", "list"]).status.success());
    assert_eq!(server::verify(folder.path()), 4, "without a server");

    let quiet = server::run(folder.path(), &["verify", "--quiet"]);
    assert_eq!((quiet.status.code(), quiet.stdout.len()), (Some(0), 0));
    flip_a_bit(&folder.path().join("purser.db"), &hash);
    let broken = server::run(folder.path(), &["--json", "verify"]);
    assert_eq!(broken.status.code(), Some(1), "{}", errors(&broken));
    let told = json(&broken);
    assert_eq!((&told["holds"], &told["wallet"]), (&false.into(), &wallet.into()), "{told}");
    assert_eq!(told["seq"], 2, "{told}");

    let missing = server::run(folder.path(), &["verify", "--database-url", "sqlite:missing.db"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(errors(&missing).contains("missing.db: the ledger could not be read"), "{}", errors(&missing));
    assert!(!folder.path().join("missing.db").exists(), "verify makes no database");
}

#[test]
fn a_ledger_that_was_emptied_or_lost_its_secret_is_not_begun_anew() {
    let (folder, _) = ready();
    let database = folder.path().join("purser.db");
    let secret = folder.path().join("purser.db.secret");
    let kept = std::fs::read(&secret).expect("made on first start");
    std::fs::remove_file(&secret).expect("it is there");
    let refused = server::run(folder.path(), &["key", "list"]);
    assert!(!refused.status.success() && errors(&refused).contains("is gone"), "{}", errors(&refused));
    assert!(!secret.exists(), "another secret would fit nothing");
    std::fs::write(&secret, kept).expect("restored");
    assert!(server::run(folder.path(), &["key", "list"]).status.success());
    std::fs::write(&database, "").expect("emptied");
    let refused = server::run(folder.path(), &["key", "list"]);
    assert!(!refused.status.success() && errors(&refused).contains("empty file"), "{}", errors(&refused));
    assert_eq!(database.metadata().expect("it is there").len(), 0);
}

#[test]
fn what_the_bench_of_the_engine_leaves_can_be_served_and_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["bench", "engine", "--json", "--debits", "250", "--batch", "100", "--wallets", "10"];
    let measured = server::run(folder.path(), &arguments);
    assert_eq!(measured.status.code(), Some(0), "{}", errors(&measured));
    let figures = json(&measured);
    assert_eq!((&figures["debits"], &figures["batch"]), (&250.into(), &100.into()));
    assert!(figures["debits_per_second"].as_u64().is_some_and(|figure| figure > 0), "{figures}");
    assert_eq!(server::verify(folder.path()), 260);
    let key = server::key(folder.path());
    let running = Server::start(folder.path());
    let mut client = Client::connect(running.address, &key).expect("the server listens");
    let body = r#"{"user":"u3","action":"bench_engine"}"#;
    for replayed in [false, true] {
        let answer = client.post("/v1/debits", "debit-1", body).expect("an answer");
        assert_eq!((answer.status, answer.replayed), (201, replayed), "{answer:?}");
    }
}

#[test]
fn a_catalogue_lives_in_a_file() {
    let (folder, key) = ready();
    let running = Server::start(folder.path());
    publish(&running, &key);
    let catalogue = |arguments: &[&str], code: i32| {
        let url = format!("http://{}", running.address);
        let server = ["--url", &url, "--key", &key];
        let ended = server::run(folder.path(), &[&["catalogue"], arguments, &server].concat());
        assert_eq!(ended.status.code(), Some(code), "{}", errors(&ended));
        ended
    };
    let file = folder.path().join("catalogue.toml");
    std::fs::write(&file, catalogue(&["export"], 0).stdout).expect("written");
    catalogue(&["apply", "catalogue.toml", "--check"], 0);
    let exported = std::fs::read_to_string(&file).expect("text");
    std::fs::write(&file, exported.replace("rate = \"4\"", "rate = \"5\"")).expect("written");
    let differs = catalogue(&["apply", "catalogue.toml", "--check"], 2);
    let shown = String::from_utf8(differs.stdout).expect("text");
    assert!(shown.contains("~ model") && shown.contains("output_tokens 5 per 1000"), "{shown}");
    catalogue(&["apply", "catalogue.toml", "--dry-run"], 0);
    catalogue(&["apply", "catalogue.toml"], 0);
    catalogue(&["apply", "catalogue.toml", "--check"], 0);
    std::fs::write(&file, exported.replace("per_dimension", "flat")).expect("written");
    let refused = catalogue(&["apply", "catalogue.toml"], 1);
    assert!(errors(&refused).contains("/actions/0/prices/0/rates (action model)"), "{}", errors(&refused));
}

#[test]
fn a_trace_charged_by_an_imported_price_list_costs_what_another_arithmetic_says() {
    let (folder, key) = ready();
    let running = Server::start(folder.path());
    let url = format!("http://{}", running.address);
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/../app/data/litellm-model-prices-excerpt.json");
    let import = ["catalogue", "import-litellm", list, "--markup", "1.3", "--credits-per-dollar", "100"];
    let rest = ["--action-prefix", "llm/", "--only", "gpt-4o*", "--url", &url, "--key", &key];
    let imported = server::run(folder.path(), &[&import[..], &rest].concat());
    assert_eq!(imported.status.code(), Some(0), "{}", errors(&imported));
    let trace = include_str!("../data/azure-llm-trace-code-2023-excerpt.csv");
    let (head, rows) = trace.split_once('\n').expect("a head");
    let rows: Vec<&str> = rows.lines().collect();
    // Millionths of a credit for ten tokens: dollars a million × 1.3 × 100 × 10. In: 0.15 and 2.5, out: 0.6 and 10.
    let models = [("llm:gpt-4o-mini", 195, 780), ("llm:gpt-4o", 3_250, 13_000)];
    let credits = |millionths: u64| {
        let shown = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
        shown.trim_end_matches('0').to_string()
    };
    let mut doubled = Vec::new();
    for (part, (model, input, output)) in rows.chunks(1_000).zip(models) {
        let tokens = |row: &str, column: usize| {
            row.split(',').nth(column).and_then(|text| text.trim().parse::<u64>().ok()).expect("tokens")
        };
        let cost = |row: &&str| (tokens(row, 1) * input + tokens(row, 2) * output).div_ceil(10);
        let sum: u64 = part.iter().map(cost).sum();
        let twice = |row: &&str| (tokens(row, 1) * input * 2 + tokens(row, 2) * output * 2).div_ceil(10);
        doubled.push((model, credits(sum), credits(part.iter().map(twice).sum())));
        std::fs::write(folder.path().join("part.csv"), format!("{head}\n{}\n", part.join("\n")))
            .expect("written");
        let arguments = ["--json", "replay", "part.csv", "--url", &url, "--key", &key, "--model", model];
        let run = ["--users", "3", "--grant", "100000", "--run", &model[4..], "--hold-output-tokens", "4096"];
        let shown = json(&server::run(folder.path(), &[&arguments[..], &run].concat()));
        assert_eq!((&shown["charged"], &shown["exceeded"]), (&1_000.into(), &0.into()), "{shown}");
        assert_eq!(shown["moved"]["credit"].as_str(), Some(&*credits(sum)), "{model}");
    }
    // What it would have been at twice the prices, before anybody pays them.
    let mut twice = import;
    twice[4] = "2.6";
    let dry = ["--dry-run", "--days", "1"];
    let run = |json: &[&str]| server::run(folder.path(), &[json, &twice[..], &rest, &dry].concat());
    let usage = json(&run(&["--json"]))["usage"].clone();
    assert_eq!((&usage["debits"], &usage["truncated"]), (&2_000.into(), &false.into()), "{usage}");
    let text = String::from_utf8(run(&[]).stdout).expect("text");
    for (model, before, after) in doubled {
        let actions = usage["units"][0]["by_action"].as_array().expect("a list");
        let action = actions.iter().find(|action| action["action"] == model).expect("it was used");
        assert_eq!((&action["before"], &action["after"]), (&before.as_str().into(), &after.as_str().into()));
        assert!(text.contains(&format!("action {model}: {before} -> {after} (+")), "{text}");
    }
    // A grant for each user and run, a hold and a capture for each request.
    drop(running);
    assert_eq!(server::verify(folder.path()), 6 + 2 * 2_000);
}

/// A folder with a fresh ledger, and a key to it.
fn ready() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let key = server::key(folder.path());
    (folder, key)
}

fn publish(running: &Server, key: &str) {
    let mut client = Client::connect(running.address, key).expect("the server listens");
    let action = r#"{"key":"model","name":"Model","price":{"model":"per_dimension","unit":"credit","rates":{
        "input_tokens":{"rate":"2","per":1000},"output_tokens":{"rate":"4","per":1000}}}}"#;
    assert_eq!(client.post("/v1/actions", "unused", action).expect("an answer").status, 201);
}

/// Damages the place in the file where these bytes, given in hexadecimal, are stored.
fn flip_a_bit(file: &Path, hexadecimal: &str) {
    let digit = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).expect("hexadecimal");
    let wanted: Vec<u8> = (0..hexadecimal.len()).step_by(2).map(digit).collect();
    let mut bytes = std::fs::read(file).expect("the database");
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).expect("the hash is stored");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("written");
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}{}", errors(output)))
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
