//! The gate in front of a plain file server, with the programs that people run: Debian's nginx and Caddy, with the
//! configuration that is shipped in `deploy`.
//!
//! Both must be installed, which `cargo xtask test` sees to; without them these tests fail, because a test that did not run
//! proves nothing.

#[path = "crash/client.rs"]
#[allow(dead_code, reason = "other tests look whether an answer was replayed")]
mod client;
#[path = "gate/proxy.rs"]
mod proxy;
#[path = "crash/server.rs"]
#[allow(dead_code, reason = "other tests kill the server, this one stops it")]
mod server;

use std::collections::BTreeMap;
use std::path::Path;

use client::Client;
use proxy::{Answer, Proxy, get};
use serde_json::{Value, json};
use server::Server;
use tempfile::TempDir;

/// More often than a server is asked until it has heard of a revoked key.
const ASKED_MAX: usize = 10_000;

/// Purser with an action `page` at 1 credit, a rule that charges it below `/paid`, and a proxy in front of a few files.
struct Site {
    // The proxy ends before what it asks.
    proxy: Proxy,
    purser: Option<Server>,
    key: String,
    gate_key: String,
    folder: TempDir,
}

impl Site {
    fn new(start: fn(&Path, &Path, &str, &str) -> Proxy) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("purser");
        std::fs::create_dir(&home).expect("a folder");
        let purser = Server::start(&home);
        let key = server::key(&home);
        let made = server::run(&home, &["key", "create", "--name", "proxy", "--scope", "gate"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let gate_key = String::from_utf8(made.stdout).expect("text").trim().to_string();
        let proxy = start(folder.path(), &files(folder.path()), &purser.address.to_string(), &gate_key);
        let site = Site { proxy, purser: Some(purser), key, gate_key, folder };
        site.post(
            "/v1/actions",
            &json!({"key": "page", "name": "Page", "price": {"model": "flat", "amount": "1"}}),
        );
        site.post(
            "/v1/gate/rules",
            &json!({"key": "paid", "path": "/paid/**", "action": "page", "fail": "open"}),
        );
        site
    }

    fn client(&self) -> Client {
        Client::connect(self.purser.as_ref().expect("it runs").address, &self.key).expect("it listens")
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let answer =
            self.client().post(path, &format!("key {path} {body}"), &body.to_string()).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body
    }

    fn grant(&self, user: &str, amount: &str) {
        let body = json!({"user": user, "amount": amount, "kind": "promotional", "reason": "a test"});
        self.post("/v1/grants", &body);
    }

    /// What the user can spend, and how many debits its wallet has.
    fn ledger(&self, user: &str) -> (String, usize) {
        let mut client = self.client();
        let balance = client.get(&format!("/v1/balance?user={user}")).expect("an answer");
        let wallet = balance.text("/wallets/0/wallet_id").to_string();
        let entries = client.get(&format!("/v1/wallets/{wallet}/entries?limit=500")).expect("an answer");
        let entries = entries.body["data"].as_array().expect("a list").clone();
        let debits = entries.iter().filter(|entry| entry["kind"] == "debit").count();
        (balance.text("/wallets/0/balance/available").to_string(), debits)
    }

    fn get(&self, user: &str, path: &str) -> Answer {
        get(self.proxy.address, "GET", path, &self.proxy.login(user))
    }
}

/// Files as a plain web server has them.
fn files(folder: &Path) -> std::path::PathBuf {
    let root = folder.join("files");
    std::fs::create_dir_all(root.join("paid/folder")).expect("a folder");
    for (name, text) in [
        ("index.html", "home"),
        ("free.html", "free"),
        ("missing.html", "missing"),
        ("paid/page.html", "page"),
        ("paid/folder/index.html", "index"),
    ] {
        std::fs::write(root.join(name), text).expect("a file");
    }
    root
}

/// 100 requests of two clients at once with credit for 60: exactly 60 pass, and the ledger says so too.
fn sixty_of_a_hundred(site: &Site) {
    site.grant("ann", "60");
    let fifty = || (0..50).map(|_| site.get("ann", "/paid/page.html")).collect::<Vec<_>>();
    let answers = std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(fifty), scope.spawn(fifty));
        let mut all = one.join().expect("no panic");
        all.extend(other.join().expect("no panic"));
        all
    });
    let mut counts = BTreeMap::new();
    for answer in &answers {
        *counts.entry(answer.status).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([(200, 60), (402, 40)]));
    for answer in &answers {
        if answer.status == 200 {
            assert_eq!((&*answer.body, answer.header("x-purser-cost")), ("page", Some("1")), "{answer:?}");
            assert!(
                answer.header("x-purser-debit").is_some_and(|debit| debit.starts_with("deb_")),
                "{answer:?}"
            );
        } else {
            let document: Value = serde_json::from_str(&answer.body).expect("a problem document");
            assert_eq!(document["code"], "insufficient_credits");
            let url = document["topup_url"].as_str().expect("a link");
            assert!(
                url.starts_with("http") && answer.header("x-purser-topup-url") == Some(url),
                "{answer:?}"
            );
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
    }
    assert_eq!(site.ledger("ann"), ("0".to_string(), 60));
    // What costs nothing is served still.
    assert_eq!(site.get("ann", "/free.html").status, 200);
}

/// Whatever a client sends along, it pays itself, for each request.
fn clients_cannot_speak_for_others(site: &Site) {
    site.grant("bob", "10");
    site.grant("eve", "10");
    let id = "0123456789abcdef0123456789abcdef";
    for _ in 0..3 {
        let mut headers = site.proxy.login("eve");
        for (name, value) in [
            ("X-Purser-User", "bob"),
            ("X-Purser-Tenant", "acme"),
            ("X-Purser-Request-Id", id),
            ("X-Request-Id", id),
            ("X-Forwarded-Uri", "/free.html"),
            ("X-Forwarded-Method", "HEAD"),
            ("X-Forwarded-Host", "other"),
            ("X-Purser-Cost", "0"),
            ("Idempotency-Key", id),
        ] {
            headers.push((name.to_string(), value.to_string()));
        }
        let answer = get(site.proxy.address, "GET", "/paid/page.html", &headers);
        assert_eq!((answer.status, answer.header("x-purser-cost")), (200, Some("1")), "{answer:?}");
    }
    assert_eq!(site.ledger("bob"), ("10".to_string(), 0));
    assert_eq!(site.ledger("eve"), ("7".to_string(), 3));
    // Another way of writing the path is the same path.
    for path in
        ["/%70aid/page.html", "/paid//page.html", "/paid/folder/%2e%2e/page.html", "/paid/./page.html?x=1"]
    {
        let answer = site.get("eve", path);
        assert_eq!((answer.status, &*answer.body), (200, "page"), "{path} {answer:?}");
    }
    // And where it depends on the product which path it is, it does not pass.
    for path in [
        "//paid/page.html",
        "/free/../paid/page.html",
        "/paid/..%2ffree.html",
        "/paid;x",
        "/%2570aid/page.html",
    ] {
        let answer = site.get("eve", path);
        assert!([400, 403].contains(&answer.status), "{path} {answer:?}");
        assert!(answer.body.contains("gate_request_unreadable"), "{path} {answer:?}");
    }
    assert_eq!(site.ledger("eve"), ("3".to_string(), 7));
}

/// Without Purser nothing passes, paid or not.
fn closed_without_purser(site: &mut Site) {
    site.purser.take().expect("it runs").stop();
    for path in ["/paid/page.html", "/free.html"] {
        let answer = site.get("ann", path);
        assert!([502, 503].contains(&answer.status), "{answer:?}");
        assert!(!["page", "free"].contains(&&*answer.body), "{answer:?}");
    }
    assert!(server::verify(&site.folder.path().join("purser")) > 0);
}

#[test]
fn nginx_lets_pass_exactly_what_there_is_credit_for() {
    let mut site = Site::new(Proxy::nginx);
    sixty_of_a_hundred(&site);
    clients_cannot_speak_for_others(&site);
    closed_without_purser(&mut site);
}

#[test]
fn caddy_lets_pass_exactly_what_there_is_credit_for() {
    let mut site = Site::new(Proxy::caddy);
    sixty_of_a_hundred(&site);
    clients_cannot_speak_for_others(&site);
    closed_without_purser(&mut site);
}

#[test]
fn no_way_of_writing_a_path_passes_nginx_free_that_the_product_takes_for_a_paid_one() {
    let site = Site::new(Proxy::nginx);
    site.grant("ann", "100");
    // The product gets the path as it was written, and answers with it.
    let told = site.get("ann", "/raw/%61?x=1");
    assert_eq!((told.status, &*told.body), (200, "/raw/%61?x=1"), "{told:?}");
    site.post("/v1/gate/rules", &json!({"key": "raw", "path": "/raw/graphql/**", "action": "page"}));
    let paid = site.get("ann", "/raw/graphql/x");
    assert_eq!((paid.status, &*paid.body, paid.header("x-purser-cost")), (200, "/raw/graphql/x", Some("1")));
    for path in [
        "/raw/graphql/../x",
        "/raw/graphql/..%2fx",
        "/raw/graphql/%2e%2e/x",
        "/raw/x/../graphql/y",
        "/raw//graphql",
        "/raw/graphql%2fx",
        "/raw/graphql;x",
        "/raw/x;/../graphql",
        "/raw/graphql%3bx",
        "/raw/%2567raphql",
        "/raw/x%5c..%5cgraphql",
    ] {
        let answer = site.get("ann", path);
        assert!([400, 403].contains(&answer.status), "{path} {answer:?}");
        assert!(!answer.body.starts_with("/raw"), "{path} {answer:?}");
    }
    let shouted = site.get("ann", "/raw/GraphQL/x");
    assert_eq!((shouted.status, shouted.header("x-purser-cost")), (200, Some("1")), "{shouted:?}");
    assert_eq!(site.ledger("ann"), ("98".to_string(), 2));
}

#[test]
fn what_nginx_redirects_inside_itself_is_charged_once() {
    let site = Site::new(Proxy::nginx);
    site.grant("ann", "20");
    let mut spent = 0;
    for (path, status, body) in [
        ("/paid/folder/", 200, "index"),
        ("/paid/tried/x", 200, "page"),
        ("/paid/nowhere", 404, "missing"),
        ("/paid/", 403, ""),
    ] {
        let answer = site.get("ann", path);
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert!(answer.body.contains(body), "{path} {answer:?}");
        spent += 1;
        assert_eq!(site.ledger("ann"), ((20 - spent).to_string(), spent), "{path}");
    }
    // What the site itself refuses at once is not asked about.
    assert_eq!(site.get("ann", "/paid/refused").status, 403);
    assert_eq!(site.ledger("ann").1, spent);
    // error_page asks the second time about a GET, were it not for the snippet.
    let posted = get(site.proxy.address, "POST", "/paid/nowhere", &site.proxy.login("ann"));
    assert!([404, 405].contains(&posted.status), "{posted:?}");
    assert_eq!(site.ledger("ann").1, spent + 1);
}

#[test]
fn nginx_asks_nobody_who_is_not_let_in_and_opens_only_where_it_is_told_to() {
    let mut site = Site::new(Proxy::nginx);
    site.grant("ann", "5");
    let wrong = get(site.proxy.address, "GET", "/paid/page.html", &[]);
    assert_eq!((wrong.status, wrong.header("www-authenticate").is_some()), (401, true), "{wrong:?}");
    assert_eq!(site.ledger("ann").1, 0);
    // Neither does a rewrite of the site answer in Purser's place, nor what the site keeps of answers, nor a client for the gate.
    let poor = get(site.proxy.address, "GET", "/paid/page.html", &site.proxy.login("bob"));
    assert_eq!(poor.status, 402, "{poor:?}");
    let mut headers = site.proxy.login("ann");
    headers.push(("X-Purser-Debit".to_string(), "deb_of_another".to_string()));
    let told = get(site.proxy.address, "GET", "/raw/told", &headers);
    assert_eq!((told.status, &*told.body), (200, "/raw/told"), "{told:?}");
    assert_eq!(told.header("x-told-user"), Some("ann"), "{told:?}");
    assert_eq!(told.header("x-told-debit"), None, "{told:?}");
    // A key that Purser does not know is no fault of the client's, who is asked for no password.
    let revoked = server::run(&site.folder.path().join("purser"), &["key", "revoke", &site.gate_key[..16]]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    for _ in 0..ASKED_MAX {
        let answer = site.get("ann", "/free.html");
        if answer.status == 503 {
            break;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let unknown = site.get("ann", "/free.html");
    assert_eq!((unknown.status, unknown.header("www-authenticate")), (503, None), "{unknown:?}");
    site.purser.take().expect("it runs").stop();
    assert_eq!(site.get("ann", "/paid/page.html").status, 503);
    let open = get(site.proxy.open, "GET", "/paid/page.html", &site.proxy.login("ann"));
    assert_eq!((open.status, &*open.body, open.header("x-purser-debit")), (200, "page", None), "{open:?}");
}

#[test]
fn what_nginx_logs_makes_good_what_failed_behind_it_and_what_passed_unpaid() {
    let mut site = Site::new(Proxy::nginx);
    site.grant("ann", "5");
    let home = site.folder.path().join("purser");
    let ann = site.proxy.login("ann");
    assert_eq!(site.get("ann", "/paid/page.html").status, 200);
    // Nothing listens where this leads: it is charged, and fails.
    let failed = site.get("ann", "/paid/broken/x");
    assert_eq!((failed.status, failed.header("x-purser-cost")), (502, Some("1")), "{failed:?}");
    assert_eq!(site.ledger("ann"), ("3".to_string(), 2));
    site.purser.take().expect("it runs").stop();
    for (path, status) in [("/paid/page.html", 200), ("/free.html", 200), ("/paid/nowhere", 404)] {
        assert_eq!(get(site.proxy.open, "GET", path, &ann).status, status, "{path}");
    }
    assert_eq!(site.get("ann", "/paid/page.html").status, 503);
    site.purser = Some(Server::start(&home));
    let url = format!("http://{}", site.purser.as_ref().expect("it runs").address);
    let log = site.folder.path().join("access.log");
    let replay = |key: &str| {
        let file = log.to_str().expect("text");
        server::run(&home, &["--json", "gate", "replay", file, "--url", &url, "--key", key])
    };
    // The line of a request is written after its answer, so the last one may not be there yet; those before it are.
    for _ in 0..2 {
        let done = replay(&site.gate_key);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let said: Value = serde_json::from_slice(&done.stdout).expect("JSON");
        let counts = ["refunded", "settled", "trouble"].map(|what| said[what].as_u64());
        assert_eq!(counts, [Some(1), Some(1), Some(0)], "{said}");
        assert_eq!(site.ledger("ann"), ("3".to_string(), 3));
    }
    // Another proxy's key gives nothing back.
    let made = server::run(&home, &["key", "create", "--name", "other", "--scope", "gate"]);
    let other = String::from_utf8(made.stdout).expect("text");
    assert_eq!(replay(other.trim()).status.code(), Some(1));
    assert_eq!(site.ledger("ann"), ("3".to_string(), 3));
}
