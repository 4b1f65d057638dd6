//! Private database servers for tests and measurements: on a free port of the loopback interface, in a
//! temporary folder, gone with their guard.
//!
//! Never touches a server that it did not start. Read next: `postgres`.

mod postgres;

pub(crate) use postgres::Postgres;

use std::net::TcpListener;

/// A port of the loopback interface that nobody listens on now.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| format!("loopback: {error}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|error| format!("loopback: {error}"))
}

/// `cargo xtask services`: starts what there is and keeps it until Ctrl-C; with `check`, asks it one
/// question and stops it.
pub(crate) fn command(check: bool) -> Result<(), String> {
    let postgres = Postgres::start()?;
    println!("postgres {}", postgres.url());
    if check {
        let version = postgres.query("SHOW server_version")?;
        let synced = postgres
            .query("SELECT current_setting('fsync') || ' ' || current_setting('synchronous_commit')")?;
        if synced != "on on" {
            return Err(format!("PostgreSQL does not sync its commits: {synced}"));
        }
        println!("postgres {version} answers and syncs its commits");
        return postgres.stop();
    }
    println!("Ctrl-C stops it.");
    loop {
        // The thread that listens for signals ends the process.
        std::thread::park();
    }
}
