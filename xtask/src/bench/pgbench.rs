//! The rival: PostgreSQL's own load program making the same debits, one transaction each, over a unix
//! socket, with prepared statements and no network, on a schema in `pgbench_schema.sql`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::Effort;
use crate::guard::TempFolder;
use crate::services::Postgres;

const SCHEMA: &str = include_str!("pgbench_schema.sql");
const DEBIT: &str = include_str!("pgbench_debit.sql");
const CLIENTS: &str = "64";

/// Debits a second over `wallets` wallets, against an empty ledger.
pub(super) fn run(postgres: &Postgres, wallets: u64, effort: Effort) -> Result<f64, String> {
    let folder = TempFolder::new("pgbench")?;
    let (schema, debit) = (folder.path().join("schema.sql"), folder.path().join("debit.sql"));
    for (path, text) in [(&schema, SCHEMA), (&debit, DEBIT)] {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let mut psql = postgres.client("psql");
    psql.args([
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-v",
        &format!("wallets={wallets}"),
        "-d",
        "postgres",
        "-f",
    ]);
    output_of(psql.arg(&schema))?;
    let load = |time: Duration| {
        let mut pgbench = postgres.client("pgbench");
        let seconds = time.as_secs().max(1).to_string();
        pgbench.args(["-n", "-c", CLIENTS, "-j", "2", "-M", "prepared", "-T", &seconds]);
        pgbench.args(["-D", &format!("wallets={wallets}"), "-f"]).arg(&debit).arg("postgres");
        Figures::parse(&output_of(&mut pgbench)?)
    };
    let (warm_up, measured) = (load(effort.warm_up)?, load(effort.measured)?);
    let entries = postgres.query("SELECT count(*) FROM entry")?;
    let answered = warm_up.transactions + measured.transactions;
    if entries != answered.to_string() {
        return Err(format!("pgbench counted {answered} transactions and the table holds {entries} entries"));
    }
    Ok(measured.per_second)
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{:?} ended with {}: {errors}", command.get_program(), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What pgbench says at its end.
#[derive(Debug, PartialEq)]
struct Figures {
    transactions: u64,
    per_second: f64,
}

impl Figures {
    fn parse(printed: &str) -> Result<Self, String> {
        let after = |label: &str| {
            let rest = printed.lines().find_map(|line| line.trim().strip_prefix(label))?;
            rest.split([' ', '/']).find(|word| !word.is_empty())
        };
        let failed = after("number of failed transactions:");
        if failed.is_some_and(|count| count != "0") {
            return Err(format!("pgbench: some transactions failed:\n{printed}"));
        }
        let transactions =
            after("number of transactions actually processed:").and_then(|count| count.parse().ok());
        let per_second = after("tps =").and_then(|rate| rate.parse().ok());
        match (transactions, per_second) {
            (Some(transactions), Some(per_second)) => Ok(Figures { transactions, per_second }),
            _ => Err(format!("pgbench printed no figures:\n{printed}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "transaction type: debit.sql\nnumber of transactions actually processed: 22538\n\
                           number of failed transactions: 0 (0.000%)\nlatency average = 17.0 ms\n\
                           tps = 3756.331 (without initial connection time)\n";

    #[test]
    fn the_figures_of_pgbench_are_read() {
        assert_eq!(Figures::parse(PRINTED), Ok(Figures { transactions: 22_538, per_second: 3_756.331 }));
    }

    #[test]
    fn failed_transactions_and_missing_figures_are_told() {
        assert!(Figures::parse(&PRINTED.replace("transactions: 0", "transactions: 3")).is_err());
        assert!(Figures::parse("pgbench: error: connection refused\n").is_err());
    }
}
