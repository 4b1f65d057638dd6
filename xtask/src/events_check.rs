//! The official CloudEvents SDK against `POST /v1/usage_events`: single events and batches, structured and in headers, each sent
//! twice. What is sent and asked is in `events_check.py`.

use std::path::Path;
use std::process::Command;

use crate::python;
use crate::server::{Server, Settings};
use crate::services::Servers;

/// The version whose calls the script uses.
const CLOUDEVENTS: &str = "cloudevents==2.2.0";
const SCRIPT: &str = include_str!("events_check.py");

/// What the check is called on each database, and what came of it.
pub(crate) fn on_every_database(
    target: &Path,
    program: &Path,
    servers: Option<&Servers>,
) -> Vec<(String, Result<(), String>)> {
    let urls = servers.into_iter().flat_map(Servers::urls);
    let databases = urls.filter(|(name, ..)| ["postgres", "mariadb"].contains(name));
    let on_servers = databases.map(|(name, _, url)| (name, Some(url)));
    let check = |(name, url): (&str, Option<String>)| {
        let checked = run(target, program, url.as_deref());
        (format!("events by the SDK of CloudEvents on {name}"), checked)
    };
    std::iter::once(("sqlite", None)).chain(on_servers).map(check).collect()
}

/// Runs the script against `program` on the database of this URL; on a file where there is none.
fn run(target: &Path, program: &Path, url: Option<&str>) -> Result<(), String> {
    let environment = python::environment(&target.join("tools"), "cloudevents", CLOUDEVENTS)?;
    let server = match url {
        Some(url) => Server::start_with(&Settings::on(url), program)?,
        None => Server::start(program)?,
    };
    let key = server.key("events")?;
    let mut command = Command::new(environment.join("bin/python"));
    command.args(["-c", SCRIPT]).env("EVENTS_KEY", &key).env("EVENTS_ADDRESS", server.address.to_string());
    let output = command.output().map_err(|error| format!("python: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).replace(&key, "psk_…");
        return Err(format!("{said}\nthe server's last words:\n{}", server.log_tail()));
    }
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
    server.stop()
}
