//! The suites that take their database from the environment, once more on every server.
//!
//! Tests that have a name for each database run with all others; these would be too long for that, or are the same text
//! for whichever database is below.

use std::path::Path;
use std::process::Command;

use crate::repo::cargo;
use crate::services::Servers;

/// The servers, as `crates/store/tests/shared/databases.rs` lists them.
pub(crate) const SERVERS: [&str; 2] = ["postgres", "mysql"];

/// What the simulation's test is called.
const SIMULATION: &str = "no_crash_fault_repetition_or_clock_makes_the_ledger_differ_from_the_model";

/// Tests of the API's suite that choose their database themselves, or need none.
const CHOOSE_THEMSELVES: [&str; 5] =
    ["nodes::", "nodes_clocks::", "nodes_network::", "commands::", "document::"];

/// Each suite on each server: what it is called, and the command that runs it.
pub(crate) fn suites(root: &Path, servers: &Servers) -> Vec<(String, Command)> {
    let on = |database: &'static str| {
        let mut api = cargo(root);
        api.args(["test", "--package", "purser-server", "--test", "it", "--"]);
        api.args(CHOOSE_THEMSELVES.iter().flat_map(|module| ["--skip", module]));
        api.env("PURSER_IT_DATABASE", database);
        servers.hand_to(&mut api);
        [
            (format!("the API on {database}"), api),
            (format!("the simulation on {database}"), simulation(root, servers, database)),
        ]
    };
    SERVERS.into_iter().flat_map(on).collect()
}

fn simulation(root: &Path, servers: &Servers, database: &str) -> Command {
    let mut command = cargo(root);
    command.args(["test", "--package", "purser-app", "--test", "simulation", "--"]);
    command.args(["--exact", SIMULATION, "--nocapture"]).env("PURSER_SIM_DATABASE", database);
    servers.hand_to(&mut command);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_are_those_of_the_tests() {
        let listed = include_str!("../../crates/store/tests/shared/databases.rs");
        let (_, list) = listed.split_once("macro_rules! on_every_server").expect("the one list");
        let list = list.split_once("macro_rules!").map_or(list, |(list, _)| list);
        let named: Vec<&str> = list
            .lines()
            .filter_map(|line| line.trim().strip_prefix("tests_on!(")?.split_whitespace().next())
            .collect();
        assert_eq!(named, SERVERS);
    }

    #[test]
    fn the_tests_that_are_named_here_are_there() {
        let simulation = include_str!("../../crates/app/tests/simulation.rs");
        assert!(simulation.contains(&format!("fn {SIMULATION}()")));
        let api = include_str!("../../crates/server/tests/it/main.rs");
        for module in CHOOSE_THEMSELVES {
            assert!(api.contains(&format!("mod {};", module.trim_end_matches(':'))), "{module}");
        }
    }
}
