//! A deployment moves from a file to one server, to the other and back: nothing is lost, keys go on answering, and what was
//! interrupted goes on (proof 6).
//!
//! `PURSER_COPY_ENTRIES` says about how many entries the ledger has before it moves. `world.rs` makes it, `same.rs` looks at it.

#[path = "../../../store/tests/shared/databases.rs"]
#[allow(unused_macros, reason = "these tests are of several databases each")]
mod databases;
mod same;
mod world;

use databases::Kind;
use purser_app::usecase::copy::{Copied, CopyError, Stage, copy};
use purser_app::usecase::verify::verify;
use purser_store::{DatabaseUrl, OpenOptions, ScratchDatabase, Store, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use world::World;

/// Entries of the ledger that moves everywhere, unless the environment says otherwise.
const ENTRIES: u64 = 20_000;

fn file(folder: &Path, name: &str) -> String {
    format!("sqlite:{}", folder.join(name).display())
}

fn server(kind: Kind) -> ScratchDatabase {
    ScratchDatabase::empty(&kind.server_url()).unwrap_or_else(|error| panic!("{kind:?}: {error}"))
}

/// A ledger of about so many entries.
fn ledger(url: &str, entries: u64) -> World {
    let mut world = World::new(entries);
    world.settle_in(url);
    while same::kinds(url).1 < entries {
        world.live(url, usize::try_from(entries / 4).expect("a few") + 50);
    }
    world
}

/// Copies, and looks at both.
fn moved(from: &str, to: &str) -> Copied {
    let copied = copy(from, to, |_, _, _| ()).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
    assert_eq!(verify(to, |_, _| ()).expect("the copy holds").entries, copied.entries);
    same::same(from, to);
    copied
}

#[test]
fn a_deployment_moves_from_a_file_to_both_servers_and_back_and_lives_on() {
    let wanted = std::env::var("PURSER_COPY_ENTRIES").map_or(ENTRIES, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let (first, last) = (file(folder.path(), "first.db"), file(folder.path(), "last.db"));
    let (postgres, mysql, again) = (server(Kind::Postgres), server(Kind::Mysql), server(Kind::Postgres));
    let mut world = ledger(&first, wanted);
    assert_eq!(same::kinds(&first).0, same::all_kinds(), "everything happened");
    let few = 400;

    let to_postgres = moved(&first, postgres.url());
    world.repeat(postgres.url());
    world.live(postgres.url(), few);
    assert!(same::slots(postgres.url()) > 1, "two writers wrote");

    let to_mysql = moved(postgres.url(), mysql.url());
    assert!(to_mysql.entries > to_postgres.entries);
    world.repeat(mysql.url());
    world.live(mysql.url(), few);

    let back = moved(mysql.url(), &last);
    assert_eq!(same::slots(&last), 1, "an embedded database has one writer");
    world.repeat(&last);
    world.live(&last, few);

    let further = moved(&last, again.url());
    assert!(further.entries > back.entries);
    world.repeat(again.url());
    world.live(again.url(), few);
    verify(again.url(), |_, _| ()).expect("it holds after all that");
}

#[test]
fn a_ledger_that_nobody_touched_has_the_same_heads_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, last) = (file(folder.path(), "first.db"), file(folder.path(), "last.db"));
    let (postgres, mysql) = (server(Kind::Postgres), server(Kind::Mysql));
    let _ = ledger(&first, 2_000);
    let hops = [moved(&first, postgres.url()), moved(postgres.url(), mysql.url()), moved(mysql.url(), &last)];
    assert!(hops.iter().all(|hop| (hop.heads, hop.entries, &hop.rows) == (hops[0].heads, hops[0].entries, &hops[0].rows)));
    same::same(&first, &last);
}

/// Copies until so many steps of a stage were heard, and then ends without a word.
fn broken_off(from: &str, to: &str, at: Stage, steps: u64) {
    let cut = catch_unwind(AssertUnwindSafe(|| {
        copy(from, to, |stage, done, _| assert!(stage != at || done < steps, "cut here"))
    }));
    assert!(cut.is_err(), "the copy was done before it was cut: {cut:?}");
}

#[test]
fn a_copy_that_was_broken_off_goes_on_and_nobody_serves_it_before_it_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = file(folder.path(), "first.db");
    let mut world = ledger(&first, 12_000);
    let (postgres, mysql) = (server(Kind::Postgres), server(Kind::Mysql));
    let last = file(folder.path(), "last.db");
    world.repeat(&first);
    let mut from = first;
    for to in [postgres.url(), mysql.url(), &last] {
        // In the first table, in the ledger, behind it, and when everything is there.
        for (stage, steps) in
            [(Stage::Copying, 1), (Stage::Copying, 6_000), (Stage::Copying, 11_000), (Stage::Comparing, 3)]
        {
            broken_off(&from, to, stage, steps);
            let refused = refused_to_serve(to);
            assert!(matches!(refused, StoreError::Unfinished), "{to}: {refused}");
        }
        let copied = copy(&from, to, |_, _, _| ()).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        assert!(copied.resumed);
        same::same(&from, to);
        world.repeat(to);
        world.live(to, 100);
        from = to.to_string();
    }
}

fn refused_to_serve(url: &str) -> StoreError {
    let options = OpenOptions::default();
    match DatabaseUrl::parse(url).expect("a URL") {
        DatabaseUrl::Sqlite(path) => Store::open(&path, &options).map(|_| ()).expect_err("it is not served"),
        DatabaseUrl::Server(target) => {
            Store::connect(&target, &options, 1).map(|_| ()).expect_err("it is not served")
        }
    }
}

fn refusal(from: &str, to: &str) -> String {
    match copy(from, to, |_, _, _| ()) {
        Ok(copied) => panic!("{from} was copied to {to}: {copied:?}"),
        Err(error @ (CopyError::Store(_) | CopyError::Url { .. })) => error.to_string(),
        Err(error) => panic!("{from} to {to}: {error}"),
    }
}

#[test]
fn what_is_served_or_holds_something_else_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, other) = (file(folder.path(), "first.db"), file(folder.path(), "other.db"));
    let mut world = ledger(&first, 300);
    let _ = ledger(&other, 400);
    for kind in [Kind::Postgres, Kind::Mysql] {
        let home = server(kind);
        let url = home.url();
        assert!(refusal(&first, &first).contains("the same database"));
        assert!(refusal(&file(folder.path(), "none.db"), url).contains("No such file"));
        assert!(!folder.path().join("none.db").exists());

        broken_off(&first, url, Stage::Verifying, 0);
        assert!(refusal(&other, url).contains("copy of another database"), "another source");
        // Somebody serves the source in between: what was copied is not what there is any more.
        world.live(&first, 10);
        assert!(refusal(&first, url).contains("before it was served again"));
        let target = file(folder.path(), &format!("{kind:?}.db"));
        assert!(refusal(url, &target).contains("part of a copy"), "an unfinished copy is no source");

        let whole = server(kind);
        moved(&first, whole.url());
        assert!(refusal(&other, whole.url()).contains("is not empty"));
        assert!(refusal(whole.url(), &other).contains("is not empty"));
        let serving = Serving::at(whole.url());
        assert!(refusal(whole.url(), &file(folder.path(), "x.db")).contains("is being served"));
        serving.end();
    }
    let serving = Serving::at(&first);
    assert!(refusal(&first, &file(folder.path(), "y.db")).contains("is being served"));
    serving.end();
}

/// Somebody who serves a database.
struct Serving(purser_store::Writer);

impl Serving {
    fn at(url: &str) -> Serving {
        let options = OpenOptions::default();
        let mut writer = match DatabaseUrl::parse(url).expect("a URL") {
            DatabaseUrl::Sqlite(path) => Store::open(&path, &options).expect("it opens").1,
            DatabaseUrl::Server(target) => {
                Store::connect(&target, &options, 1).expect("it answers").1.remove(0)
            }
        };
        writer.keep_lease().expect("a place");
        Serving(writer)
    }

    fn end(self) {
        self.0.close().expect("it ends in order");
    }
}

#[test]
fn a_file_whose_rows_are_behind_its_ledger_is_brought_up_before_it_is_copied() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = folder.path().join("first.db");
    let first_url = file(folder.path(), "first.db");
    let mut world = ledger(&first_url, 300);
    // As a process that was killed leaves it: rows of wallets are saved later than entries.
    let crashed = folder.path().join("crashed.db");
    world.live_and(&first_url, 300, || {
        for ending in ["", "-wal"] {
            let name = |path: &Path| std::path::PathBuf::from(format!("{}{ending}", path.display()));
            std::fs::copy(name(&first), name(&crashed)).expect("copied");
        }
    });
    let postgres = server(Kind::Postgres);
    let crashed = file(folder.path(), "crashed.db");
    moved(&crashed, postgres.url());
    world.repeat(postgres.url());
}
