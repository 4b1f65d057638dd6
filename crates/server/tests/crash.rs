//! `kill -9` under load, and many clients at one wallet: the laws, held against the real program.
//!
//! Nothing here looks inside: the program is started, killed and asked over HTTP. `PURSER_KILL_ROUNDS` sets how often it
//! is killed, `PURSER_KILL_SEED` repeats a run. Lines that begin with `figure:` go onto the page of the soak.

#[path = "crash/client.rs"]
mod client;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/server.rs"]
mod server;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use client::Client;
use load::{Chance, Kind, Round, Sent};
use server::Server;

const USERS: usize = 20;
const CLIENTS: u64 = 16;
/// A round is killed after so many acknowledged movements at the most.
const KILL_AFTER_MAX: u64 = 2_000;
/// Steps of doing nothing that a kill may come later, so that it is not tied to an answer.
const LATER_MAX: u64 = 2_000_000;

#[test]
fn a_killed_server_has_every_acknowledged_movement_once_and_none_twice() {
    let rounds = number_of("PURSER_KILL_ROUNDS").unwrap_or(5);
    let seed = number_of("PURSER_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}: PURSER_KILL_SEED={seed} repeats the moments of the kills");
    let folder = tempfile::tempdir().expect("a folder");
    let key = server::key(folder.path());
    let mut chance = Chance::new(seed);
    let mut all: Vec<Sent> = Vec::new();
    let mut unknown = 0;
    let mut running = Server::start(folder.path());
    let wallets = set_up(&mut connect(&running, &key), "1000000");
    let (limited, resets_at) = limit_some(&mut connect(&running, &key));
    for number in 0..rounds {
        let kill_after = usize::try_from(1 + chance.below(KILL_AFTER_MAX)).expect("few");
        let later = chance.below(LATER_MAX);
        let mut sent = round(running, &key, seed.wrapping_add(number), kill_after, later);
        server::verify(folder.path());
        running = Server::start(folder.path());
        unknown += sent.iter().filter(|sent| sent.acknowledged.is_none()).count();
        each(&running, &key, &mut sent, settle);
        all.extend(sent);
    }
    let mut client = connect(&running, &key);
    for (user, wallet) in wallets.iter().enumerate() {
        holds(&mut client, wallet, all.iter().filter(|sent| sent.user == user));
        if limited.contains(&user) {
            counts(&mut client, user, wallet, &resets_at);
        }
    }
    // Everything that was acknowledged in any round, once more.
    each(&running, &key, &mut all, is_replayed);
    running.kill();
    let entries = server::verify(folder.path());
    assert_eq!(entries, (USERS + all.len()) as u64, "one entry for each grant and each movement");
    println!("figure: seed {seed}, {rounds} rounds of `kill -9` under {CLIENTS} clients");
    println!(
        "figure: {} movements, of which {unknown} had no answer when the server died; each is booked once",
        all.len()
    );
    println!("figure: {entries} entries verified after the last kill");
}

#[test]
fn sixty_four_clients_spend_a_wallet_to_exactly_zero() {
    const CREDITS: usize = 10_000;
    const DEBITS: usize = 20_000;
    let folder = tempfile::tempdir().expect("a folder");
    let key = server::key(folder.path());
    let running = Server::start(folder.path());
    let wallets = set_up(&mut connect(&running, &key), &CREDITS.to_string());
    let next = AtomicUsize::new(0);
    let (charged, refused) = std::thread::scope(|scope| {
        let spend = || {
            let mut client = connect(&running, &key);
            let (mut charged, mut refused) = (0, 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= DEBITS {
                    return (charged, refused);
                }
                let body = r#"{"user":"u0","action":"scan"}"#;
                let answer = client.post("/v1/debits", &format!("race-{number}"), body).expect("an answer");
                match answer.status {
                    201 => charged += 1,
                    402 => refused += 1,
                    _ => panic!("{answer:?}"),
                }
            }
        };
        let clients: Vec<_> = (0..64).map(|_| scope.spawn(spend)).collect();
        clients.into_iter().fold((0, 0), |(charged, refused), client| {
            let (more_charged, more_refused) = client.join().expect("a client");
            (charged + more_charged, refused + more_refused)
        })
    });
    assert_eq!((charged, refused), (CREDITS, DEBITS - CREDITS));
    let mut client = connect(&running, &key);
    let wallet = client.get(&format!("/v1/wallets/{}", wallets[0])).expect("an answer");
    assert_eq!((wallet.text("/balance/settled"), wallet.text("/balance/debt")), ("0", "0"));
    // One grant a user, and one entry for each debit that was not refused.
    assert_eq!(server::verify(folder.path()), (USERS + CREDITS) as u64);
    println!(
        "figure: 64 clients, {DEBITS} debits of 1 on {CREDITS} credits: {charged} charged, {refused} refused"
    );
}

/// Names the small disk, once this program runs where it is mounted.
const SMALL_DISK: &str = "PURSER_TEST_SMALL_DISK";
/// As many refusals in a row as say that the disk is full and stays so.
const FULL: usize = 50;

#[test]
fn a_full_disk_refuses_movements_loses_none_and_is_no_reason_to_restart() {
    let Some(disk) = std::env::var_os(SMALL_DISK) else { return on_a_small_disk() };
    let disk = std::path::Path::new(&disk);
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![0; 3 << 20]).expect("room for the ballast");
    let key = server::key(disk);
    let running = Server::start(disk);
    let wallets = set_up(&mut connect(&running, &key), "1000000");
    let mut client = connect(&running, &key);
    let debit = |client: &mut Client, number: usize| {
        let body = r#"{"user":"u0","action":"scan"}"#;
        client.post("/v1/debits", &format!("debit-{number}"), body).expect("an answer")
    };
    // The first that is refused may be followed by some that are not, where the log was copied meanwhile and begins anew.
    let (mut charged, mut in_a_row) = (0, 0);
    while in_a_row < FULL {
        assert!(charged < 100_000, "the disk does not become full");
        let answer = debit(&mut client, charged);
        if answer.status == 201 {
            assert!(!answer.replayed, "what was refused was not done");
            (charged, in_a_row) = (charged + 1, 0);
            continue;
        }
        assert_eq!((answer.status, answer.text("/code")), (503, "store_unavailable"), "{answer:?}");
        in_a_row += 1;
    }
    assert_eq!(client.get("/readyz").expect("an answer").status, 503, "others should get the work");
    let settled = |client: &mut Client| {
        let wallet = client.get(&format!("/v1/wallets/{}", wallets[0])).expect("an answer");
        wallet.text("/balance/settled").parse::<usize>().expect("whole credits")
    };
    assert_eq!(settled(&mut client), 1_000_000 - charged, "reads go on");
    // Killed while it is full: the log that lies there must be enough.
    running.kill();
    std::fs::remove_file(&ballast).expect("removed");
    let running = Server::start(disk);
    let mut client = connect(&running, &key);
    assert_eq!(settled(&mut client), 1_000_000 - charged);
    // Filled again, and given room again without a restart.
    std::fs::write(&ballast, vec![0; 2 << 20]).expect("room for the ballast");
    while debit(&mut client, charged).status == 201 {
        charged += 1;
        assert!(charged < 200_000, "the disk does not become full");
    }
    std::fs::remove_file(&ballast).expect("removed");
    // Nobody sends it work meanwhile: it finds out by itself.
    let mut asked = 0;
    while client.get("/readyz").expect("an answer").status != 200 {
        asked += 1;
        assert!(asked < 1_000_000, "it takes writes again and does not say so");
    }
    let again = debit(&mut client, charged);
    assert_eq!((again.status, again.replayed), (201, false), "{again:?}");
    assert!(debit(&mut client, charged).replayed);
    charged += 1;
    running.kill();
    assert_eq!(server::verify(disk), (USERS + charged) as u64);
    println!("figure: a disk that became full twice: {charged} debits charged, each once");
}

/// Runs this test once more where a folder is a disk of 8 MiB that only this process and its children see.
fn on_a_small_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = r#"mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@""#;
    let test = "a_full_disk_refuses_movements_loses_none_and_is_no_reason_to_restart";
    // Anybody may mount in a user namespace of their own, where the machine allows those; else it takes root.
    let own: &[&str] = &["--user", "--map-root-user", "--mount"];
    let may = |how: &[&str]| {
        let tried = std::process::Command::new("unshare").args(how).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    };
    let how = if may(own) { own } else { &["--mount"] };
    let done = std::process::Command::new("unshare")
        .args(how)
        .args(["sh", "-c", mount])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(SMALL_DISK, folder.path())
        .status()
        .expect("unshare (util-linux) runs");
    assert!(done.success(), "it fails on the small disk, or there is no right to mount one: see above");
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?} and should be a number")))
}

fn connect(server: &Server, key: &str) -> Client {
    Client::connect(server.address, key).expect("the server listens")
}

/// Two actions, and credits for everybody; the users' wallets.
fn set_up(client: &mut Client, credits: &str) -> Vec<String> {
    let actions = [
        r#"{"key":"scan","name":"Scan","price":{"model":"flat","unit":"credit","amount":"1"}}"#,
        r#"{"key":"tokens","name":"Tokens","price":{"model":"per_quantity","unit":"credit","rate":"0.7"}}"#,
    ];
    for action in actions {
        let made = client.post("/v1/actions", "unused", action).expect("an answer");
        assert_eq!(made.status, 201, "{made:?}");
    }
    let grant = |user: usize| {
        let body = format!(r#"{{"user":"u{user}","amount":"{credits}","kind":"paid","reason":"test"}}"#);
        let given = client.post("/v1/grants", &format!("grant-{user}"), &body).expect("an answer");
        assert_eq!(given.status, 201, "{given:?}");
        given.text("/wallet_id").to_string()
    };
    (0..USERS).map(grant).collect()
}

/// Limits that are never reached, so that what the users spend is counted; for whom, and when their month ends.
fn limit_some(client: &mut Client) -> (Vec<usize>, String) {
    let limited: Vec<usize> = (0..USERS).step_by(2).collect();
    let mut resets_at = String::new();
    for user in &limited {
        let body = format!(r#"{{"user":"u{user}","amount":"1000000","period":"month"}}"#);
        let made = client.post("/v1/limits", "unused", &body).expect("an answer");
        assert_eq!(made.status, 201, "{made:?}");
        resets_at = made.text("/resets_at").to_string();
    }
    (limited, resets_at)
}

/// What counts against the limit of a user is what it spent and holds; less only where a new month began since `begun`, when the
/// limit's month was to end.
fn counts(client: &mut Client, user: usize, wallet: &str, begun: &str) {
    let millionths = |text: &str| -> i64 {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        format!("{whole}{part:0<6}").parse().expect("a decimal")
    };
    let wallet = client.get(&format!("/v1/wallets/{wallet}")).expect("an answer");
    let (settled, held) = (wallet.text("/balance/settled"), wallet.text("/balance/held"));
    let spent = 1_000_000_000_000 - millionths(settled) + millionths(held);
    let limits = client.get(&format!("/v1/limits?user=u{user}")).expect("an answer");
    let used = millionths(limits.text("/data/0/used"));
    let same_month = limits.text("/data/0/resets_at") == begun;
    assert!(used == spent || (!same_month && used < spent), "u{user}: {used} of {spent}");
}

/// Loads the server and kills it; what was sent, by all clients.
fn round(running: Server, key: &str, number: u64, kill_after: usize, later: u64) -> Vec<Sent> {
    let acknowledged = AtomicUsize::new(0);
    let address = running.address;
    let round = Round { address, key, number, users: USERS, kill_after, acknowledged: &acknowledged };
    let (enough, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (round, enough) = (&round, enough.clone());
                scope.spawn(move || load::until_it_dies(round, client, &enough))
            })
            .collect();
        // With the last client goes the last sender: a server that dies by itself does not hang the test.
        drop(enough);
        told.recv().expect("the server lived until it was killed");
        for step in 0..later {
            std::hint::black_box(step);
        }
        running.kill();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    })
}

/// After a restart: what was acknowledged is answered as before, what was not is sent until it is.
fn settle(client: &mut Client, movement: &mut Sent) {
    if movement.acknowledged.is_none() {
        let answer = movement.send(client).expect("an answer");
        movement.acknowledged = Some(movement.told(&answer));
    }
    is_replayed(client, movement);
}

fn is_replayed(client: &mut Client, sent: &mut Sent) {
    let answer = sent.send(client).expect("an answer");
    assert!(answer.replayed, "{sent:?} is not known any more: {answer:?}");
    assert_eq!(Some(sent.told(&answer)), sent.acknowledged, "{sent:?}");
}

/// Does it with every movement, by as many clients as made them.
fn each(running: &Server, key: &str, sent: &mut [Sent], what: fn(&mut Client, &mut Sent)) {
    let share = sent.len().div_ceil(CLIENTS as usize).max(1);
    std::thread::scope(|scope| {
        for part in sent.chunks_mut(share) {
            scope.spawn(move || {
                let mut client = connect(running, key);
                part.iter_mut().for_each(|sent| what(&mut client, sent));
            });
        }
    });
}

/// The wallet's entries are its grant and one for each movement; its balance is what they leave.
fn holds<'a>(client: &mut Client, wallet: &str, sent: impl Iterator<Item = &'a Sent>) {
    let mut expected: HashMap<&str, u64> = HashMap::from([("grant", 1)]);
    let mut spent = 0;
    for movement in sent {
        let (kind, tenths) = match movement.kind {
            Kind::Debit => ("debit", 10),
            Kind::Hold => ("hold", 0),
            Kind::Capture => ("capture", 21),
            Kind::Release => ("release", 0),
        };
        *expected.entry(kind).or_default() += 1;
        spent += tenths;
    }
    let found = entries(client, wallet);
    let found: HashMap<&str, u64> = found.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(found, expected, "the entries of {wallet}");
    let left = 10_000_000 - spent;
    let left = if left % 10 == 0 { (left / 10).to_string() } else { format!("{}.{}", left / 10, left % 10) };
    let answer = client.get(&format!("/v1/wallets/{wallet}")).expect("an answer");
    assert_eq!(answer.text("/balance/settled"), left, "the balance of {wallet}");
}

/// How many entries of each kind a wallet has, read page by page.
fn entries(client: &mut Client, wallet: &str) -> HashMap<String, u64> {
    let mut found = HashMap::new();
    let mut path = format!("/v1/wallets/{wallet}/entries?limit=500");
    loop {
        let page = client.get(&path).expect("an answer");
        assert_eq!(page.status, 200, "{page:?}");
        for entry in page.body["data"].as_array().expect("a list") {
            *found.entry(entry["kind"].as_str().expect("a kind").to_string()).or_default() += 1;
        }
        match page.body["next_cursor"].as_str() {
            None => return found,
            Some(cursor) => path = format!("/v1/wallets/{wallet}/entries?limit=500&cursor={cursor}"),
        }
    }
}
