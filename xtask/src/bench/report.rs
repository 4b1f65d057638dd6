//! What the bench says: a table for the terminal, and `docs/benchmarks.md`.
//!
//! The page is written anew each time but for one part: what a person wrote between the two markers
//! about where the time goes is kept.

pub(super) mod large;
pub(super) mod servers;

use std::fs;
use std::path::Path;

use super::large::Large;
use super::machine::Machine;
use super::series::Series;
use super::{Effort, Once, Rounds};

const KEPT_FROM: &str = "<!-- where the time goes: begin -->";
const KEPT_TO: &str = "<!-- where the time goes: end -->";

pub(super) struct Report<'a> {
    pub(super) rounds: &'a Rounds,
    pub(super) once: &'a Once,
    pub(super) large: &'a [Large],
    pub(super) machine: &'a Machine,
    pub(super) effort: Effort,
}

/// One bar: what must hold, what we are after, and what came out.
struct Bar {
    work: &'static str,
    must: f64,
    goal: f64,
    found: f64,
    /// Smaller is better: latencies and sizes.
    small: bool,
    unit: &'static str,
}

impl Bar {
    fn verdict(&self) -> &'static str {
        let reached = |bar: f64| if self.small { self.found <= bar } else { self.found >= bar };
        match (reached(self.must), reached(self.goal)) {
            (_, true) => "goal",
            (true, false) => "must",
            (false, false) => "**missed**",
        }
    }
}

impl Report<'_> {
    /// The whole of it for a terminal; Markdown reads well enough there.
    pub(super) fn table(&self) -> String {
        let large = match self.large {
            [] => String::new(),
            measured => large::section(measured, self.machine, ""),
        };
        format!("{}\n{}\n{large}\n{}", self.figures(), self.latencies(), self.bars())
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        let old = fs::read_to_string(path).unwrap_or_default();
        fs::write(path, self.page(&old)).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn page(&self, old: &str) -> String {
        let (machine, kept) = (self.machine, kept(old));
        let head = format!(
            "# Benchmarks\n\nWritten by `cargo xtask bench`; run it yourself. Everything on this page but its part about large ledgers was\n\
             measured in one run on one machine, Purser, rival and load generator sharing its cores.\n\n\
             | machine | |\n| --- | --- |\n| processor | {}, {} cores |\n| memory | {} GiB |\n| system | {} |\n\
             | disk | {} us for a 4 kB write and its fdatasync (median of 200) |\n| compiler | {} |\n| commit | {} |\n| date | {} |\n",
            machine.cpu,
            machine.cores,
            machine.memory_gib,
            machine.kernel,
            machine.sync.as_micros(),
            machine.rust,
            machine.commit,
            machine.date,
        );
        format!(
            "{head}\n## Throughput\n\n{}\n## Latency\n\n{}\n{}{}{}\n{}\n## Where the time goes\n\n\
             {KEPT_FROM}{kept}{KEPT_TO}\n\n{}",
            self.figures(),
            self.latencies(),
            large::HEAD,
            large::section(self.large, machine, old),
            large::BEHIND,
            self.bars(),
            self.method()
        )
    }

    fn figures(&self) -> String {
        let rounds = self.rounds;
        let mut text =
            "| what | a second, median | least .. most | of the no-op | times pgbench |\n| --- | --- | --- | --- | --- |\n"
                .to_string();
        let (pgbench, pgbench_hot) = (&rounds.postgres.rival, &rounds.postgres.rival_hot);
        let lines: [(&str, &Series, Option<&Series>); 6] = [
            ("no-op handler, the same JSON in and out", &rounds.noop, None),
            ("debits over HTTP, SQLite, 10,000 wallets", &rounds.sqlite, Some(pgbench)),
            ("debits over HTTP, SQLite, one hot wallet", &rounds.sqlite_hot, Some(pgbench_hot)),
            ("pgbench, PostgreSQL, 10,000 wallets", pgbench, None),
            ("pgbench, PostgreSQL, one hot wallet", pgbench_hot, None),
            ("engine without HTTP, SQLite, batches of 1,000", &rounds.engine, Some(pgbench)),
        ];
        for (name, series, rival) in lines {
            let of_noop = series.against(&rounds.noop).median();
            let times =
                rival.map_or("".to_string(), |rival| format!("{:.1}", series.against(rival).median()));
            text.push_str(&format!(
                "| {name} | {} | {} .. {} | {of_noop:.2} | {times} |\n",
                thousands(series.median()),
                thousands(series.least()),
                thousands(series.most()),
            ));
        }
        text.push('\n');
        text.push_str(&servers::figures(&[("PostgreSQL", &rounds.postgres), ("MariaDB", &rounds.mariadb)]));
        text
    }

    fn latencies(&self) -> String {
        let mut text =
            "| debits over HTTP, SQLite, 10,000 wallets | p50 ms | p99 ms | p99.9 ms |\n| --- | --- | --- | --- |\n"
                .to_string();
        let paced = &self.once.paced;
        let half = format!(
            "at half of the highest load: {} a second on a timetable, {} answers",
            thousands(paced.rate as f64),
            thousands(paced.answered as f64)
        );
        let most = "at the highest load: 64 connections asking again at once".to_string();
        for (name, latency) in [(half, &paced.latency), (most, &self.once.latency_at_most)] {
            let [p50, p99, p999] = [500, 990, 999].map(|per_mille| ms(latency.percentile(per_mille)));
            text.push_str(&format!("| {name} | {p50:.2} | {p99:.2} | {p999:.2} |\n"));
        }
        text.push('\n');
        let at_most = &self.rounds.postgres.latency_at_most;
        text.push_str(&servers::latency("PostgreSQL", &self.once.paced_postgres, at_most));
        text
    }

    fn bars(&self) -> String {
        let mut text =
            "| bar | must | goal | found | reached |\n| --- | --- | --- | --- | --- |\n".to_string();
        for bar in self.all_bars() {
            let show = |figure: f64| match (figure < 100.0, bar.unit) {
                (true, "") => format!("{figure:.2}"),
                (true, unit) => format!("{figure:.1} {unit}"),
                (false, unit) => format!("{} {unit}", thousands(figure)),
            };
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} |\n",
                bar.work,
                show(bar.must),
                show(bar.goal),
                show(bar.found),
                bar.verdict()
            ));
        }
        text
    }

    fn all_bars(&self) -> Vec<Bar> {
        let (rounds, once) = (self.rounds, self.once);
        let large = |work, must, goal, found, unit| Bar { work, must, goal, found, small: false, unit };
        let small = |work, must, goal, found, unit| Bar { work, must, goal, found, small: true, unit };
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let mut bars = vec![
            large(
                "HTTP debits, 10,000 wallets, against the no-op handler",
                0.35,
                0.55,
                rounds.sqlite.against(&rounds.noop).median(),
                "",
            ),
            large(
                "the same, against one transaction per debit by pgbench",
                3.5,
                7.0,
                rounds.sqlite.against(&rounds.postgres.rival).median(),
                "",
            ),
            // 80,000 and 150,000 where pgbench makes about 8,000.
            large(
                "engine without HTTP, against pgbench",
                10.0,
                18.75,
                rounds.engine.against(&rounds.postgres.rival).median(),
                "",
            ),
            small("p99 at half of the highest load", 15.0, 5.0, ms(once.paced.latency.percentile(990)), "ms"),
            small("memory of the idle service", 100.0, 60.0, megabytes(once.idle_kilobytes * 1024), "MB"),
            small("release binary", 60.0, 40.0, megabytes(once.binary_bytes), "MB"),
            large("`purser verify`", 250_000.0, 1_000_000.0, self.verified_per_second(), "entries/s"),
        ];
        bars.extend(servers::bars(&rounds.postgres, &once.paced_postgres));
        bars
    }

    /// Of the largest ledger that was verified: with a small one the start of the program counts.
    fn verified_per_second(&self) -> f64 {
        self.large.first().map_or(self.once.verified_per_second, |large| large.verified_per_second)
    }

    fn method(&self) -> String {
        let effort = self.effort;
        format!(
            "## How it is measured\n\n\
             - {} rounds; in each, everything above runs once, one after the other, {} s each after {} s of warm-up. Ratios are\n  \
               taken within a round, then the median. Differences below about 15 % mean nothing.\n\
             - Purser runs with every law on: hash chain, allocations, outbox, stored answers, authentication, `synchronous=FULL`.\n  \
               Each run starts with an empty ledger, and counts only if `purser verify` holds afterwards and finds exactly one\n  \
               entry for every answer.\n\
             - The load generator (`xtask/src/load`) keeps 64 connections open over two threads, each request under a UUIDv7 of its\n  \
               own. At half load it asks on a fixed timetable, and times from when a request was due, not from when it was sent.\n\
             - The rival is `pgbench` with 64 clients over a unix socket, prepared statements, fsync and synchronous_commit on:\n  \
               `xtask/src/bench/pgbench_debit.sql` on `xtask/src/bench/pgbench_schema.sql`, an empty ledger each time.\n\
             - On server databases Purser has a database of its own, vacuumed and analysed before a load over HTTP as the rival's is.\n  \
               It reaches PostgreSQL over the unix socket, as the rival does; two nodes share the 64 connections. On MariaDB the rival\n  \
               is the same SQL by a loop of 64 connections with prepared statements (`xtask/src/bench/mariadb.rs`). Each of these\n  \
               runs takes 4 s at the most.\n\
             - `purser verify` went through {} entries, its start included.\n",
            effort.rounds,
            effort.measured.as_secs(),
            effort.warm_up.as_secs(),
            thousands(self.once.verified_entries as f64),
        )
    }
}

/// What stands between the markers of the page so far.
fn kept(old: &str) -> String {
    let inside = old.split_once(KEPT_FROM).and_then(|(_, rest)| rest.split_once(KEPT_TO));
    inside.map_or("\n", |(inside, _)| inside).to_string()
}

fn ms(latency: std::time::Duration) -> f64 {
    latency.as_secs_f64() * 1e3
}

/// `12345.6` as `12,346`.
fn thousands(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Paced;
    use super::*;
    use crate::load::Histogram;

    fn on_server(rival: f64) -> super::super::OnServer {
        super::super::OnServer {
            many: Series::of(&[3.0 * rival]),
            hot: Series::of(&[20.0 * rival]),
            many_two_nodes: Series::of(&[2.0 * rival]),
            hot_two_nodes: Series::of(&[10.0 * rival]),
            engine: Series::of(&[5.0 * rival]),
            rival: Series::of(&[rival]),
            rival_hot: Series::of(&[rival]),
            latency_at_most: Histogram::default(),
        }
    }

    fn page(old: &str, sqlite: f64) -> String {
        let mut latency = Histogram::default();
        latency.record(Duration::from_millis(4));
        let rounds = Rounds {
            noop: Series::of(&[50_000.0]),
            sqlite: Series::of(&[sqlite]),
            sqlite_hot: Series::of(&[30_000.0]),
            engine: Series::of(&[120_000.0]),
            postgres: on_server(4_000.0),
            mariadb: on_server(3_000.0),
        };
        let once = Once {
            paced: Paced { rate: 10_000, answered: 180_000, latency: latency.clone() },
            paced_postgres: Paced { rate: 5_000, answered: 90_000, latency: latency.clone() },
            idle_kilobytes: 20_000,
            binary_bytes: 50_000_000,
            verified_per_second: 300_000.0,
            verified_entries: 190_000,
            latency_at_most: latency,
        };
        let large = [Large {
            system: "SQLite",
            entries: 20_010_000,
            empty: Series::of(&[20_000.0]),
            full: Series::of(&[18_000.0]),
            full_random: Series::of(&[9_000.0]),
            verified_per_second: 400_000.0,
        }];
        let machine = Machine::some();
        Report { rounds: &rounds, once: &once, large: &large, machine: &machine, effort: Effort::FULL }
            .page(old)
    }

    #[test]
    fn a_bar_says_whether_it_is_reached_or_missed() {
        let text = page("", 20_000.0);
        assert!(
            text.contains(
                "| HTTP debits, 10,000 wallets, against the no-op handler | 0.35 | 0.55 | 0.40 | must |"
            ),
            "{text}"
        );
        assert!(
            text.contains("| p99 at half of the highest load | 15.0 ms | 5.0 ms | 4.0 ms | goal |"),
            "{text}"
        );
        assert!(
            text.contains("UUIDv7 keys against the empty ledger, must 0.80 and goal 0.95: must."),
            "{text}"
        );
        assert!(
            text.contains(
                "| HTTP debits, PostgreSQL, 10,000 wallets, against pgbench | 2.50 | 3.50 | 3.00 | must |"
            ),
            "{text}"
        );
        assert!(page("", 10_000.0).contains("| 3.50 | 7.00 | 2.50 | **missed** |"));
    }

    #[test]
    fn what_a_person_wrote_between_the_markers_is_kept() {
        let first = page("", 20_000.0);
        let edited =
            first.replace(&format!("{KEPT_FROM}\n"), &format!("{KEPT_FROM}\nMostly in the kernel.\n"));
        let second = page(&edited, 31_000.0);
        assert!(second.contains("\nMostly in the kernel.\n"), "{second}");
        assert!(second.contains("| 31,000 |") && !second.contains("wallets | 20,000 |"), "{second}");
        assert_eq!(page(&second, 31_000.0), second);
    }

    #[test]
    fn large_figures_are_grouped() {
        assert_eq!(
            ["7", "999", "1000", "12345.6", "1234567"].map(|text| thousands(text.parse().expect("a number"))),
            ["7", "999", "1,000", "12,346", "1,234,567"]
        );
    }
}
