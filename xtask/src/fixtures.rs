//! `cargo xtask fixtures`: makes the ledgers of this schema from which the upgrade tests of later versions start.
//!
//! Run it when a schema is about to be released, and commit what it wrote; fixtures of released schemas are never made again.
//! What happens on such a ledger is in `crates/server/examples/fixture.rs`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::guard::TempFolder;
use crate::repo::{self, cargo};
use crate::services::{MariaDb, Postgres};
use crate::step;

/// Where they lie.
const FOLDER: &str = "crates/store/tests/fixtures";
/// The database on each private server.
const DATABASE: &str = "purser_fixture";

/// Makes one for each system; those that can be made are, whatever happens to the others.
pub(crate) fn command(root: &Path) -> Result<(), String> {
    let schema = newest(&root.join("crates/store/migrations"))?;
    let build = ["build", "--quiet", "--package", "purser-server", "--example", "fixture"];
    step::run(cargo(root).args(build))?;
    let program = repo::target_folder(root)?.join("debug/examples/fixture");
    let make = |system: &str, url: &str| {
        let path = root.join(FOLDER).join(format!("schema-{schema}.{system}.sql"));
        made(&program, url, &path).map_err(|error| format!("{system}: {error}"))
    };
    let results = [on_sqlite(&make), on_postgres(&make), on_mariadb(&make)];
    let errors: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}

type Make<'a> = dyn Fn(&str, &str) -> Result<(), String> + 'a;

fn on_sqlite(make: &Make<'_>) -> Result<(), String> {
    let folder = TempFolder::new("fixture")?;
    make("sqlite", &format!("sqlite:{}", folder.path().join("purser.db").display()))
}

fn on_postgres(make: &Make<'_>) -> Result<(), String> {
    let server = Postgres::start()?;
    server.create_database(DATABASE)?;
    make("postgres", &server.url_of(DATABASE)).and(server.stop())
}

fn on_mariadb(make: &Make<'_>) -> Result<(), String> {
    let server = MariaDb::start()?;
    server.create_database(DATABASE)?;
    make("mysql", &server.url_of(DATABASE)).and(server.stop())
}

/// The number of the newest migration.
fn newest(folder: &Path) -> Result<u32, String> {
    let items = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let number = |name: String| name.split('_').next()?.parse().ok();
    let numbers = items.flatten().filter_map(|item| number(item.file_name().into_string().ok()?));
    numbers.max().ok_or_else(|| format!("{} holds no migration", folder.display()))
}

/// Has the example make the ledger and keeps what it prints.
fn made(program: &Path, url: &str, path: &Path) -> Result<(), String> {
    let done = Command::new(program).arg(url).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let done = done.map_err(|error| format!("{}: {error}", program.display()))?;
    if !done.status.success() || done.stdout.is_empty() {
        return Err(format!("the ledger was not made: {}", done.status));
    }
    fs::write(path, &done.stdout).map_err(|error| format!("{}: {error}", path.display()))?;
    eprintln!("xtask: wrote {}", path.display());
    Ok(())
}
