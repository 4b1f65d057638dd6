//! The part of the page that is about server databases.

use super::super::Paced;
use super::super::series::Series;
use super::super::servers::OnServer;
use super::{Bar, ms, thousands};
use crate::load::Histogram;

/// Throughputs beside one transaction per debit by SQL on the same server.
pub(in crate::bench) fn figures(systems: &[(&str, &OnServer)]) -> String {
    let mut text =
        "| server database | a second, median | least .. most | times one transaction per debit by SQL |\n\
         | --- | --- | --- | --- |\n"
            .to_string();
    for (name, on) in systems {
        let lines: [(&str, &Series, Option<&Series>); 7] = [
            ("one transaction per debit by SQL, 10,000 wallets", &on.rival, None),
            ("one transaction per debit by SQL, one hot wallet", &on.rival_hot, None),
            ("debits over HTTP, 10,000 wallets", &on.many, Some(&on.rival)),
            ("debits over HTTP, 10,000 wallets, two nodes", &on.many_two_nodes, Some(&on.rival)),
            ("debits over HTTP, one hot wallet", &on.hot, Some(&on.rival_hot)),
            ("debits over HTTP, one hot wallet, two nodes", &on.hot_two_nodes, Some(&on.rival_hot)),
            ("engine without HTTP, batches of 1,000", &on.engine, Some(&on.rival)),
        ];
        for (what, series, rival) in lines {
            let times = rival.map_or(String::new(), |rival| format!("{:.1}", series.against(rival).median()));
            text.push_str(&format!(
                "| {name}: {what} | {} | {} .. {} | {times} |\n",
                thousands(series.median()),
                thousands(series.least()),
                thousands(series.most()),
            ));
        }
    }
    text
}

/// Latencies of one system.
pub(in crate::bench) fn latency(name: &str, paced: &Paced, at_most: &Histogram) -> String {
    let mut text = format!(
        "| debits over HTTP, {name}, 10,000 wallets | p50 ms | p99 ms | p99.9 ms |\n| --- | --- | --- | --- |\n"
    );
    let half =
        format!("at half of the highest load: {} a second on a timetable", thousands(paced.rate as f64));
    for (what, latency) in [(half, &paced.latency), ("at the highest load".to_string(), at_most)] {
        let [p50, p99, p999] = [500, 990, 999].map(|per_mille| ms(latency.percentile(per_mille)));
        text.push_str(&format!("| {what} | {p50:.2} | {p99:.2} | {p999:.2} |\n"));
    }
    text
}

/// The bars of PostgreSQL.
pub(super) fn bars(on: &OnServer, paced: &Paced) -> [Bar; 4] {
    let against = |series: &Series, rival: &Series| series.against(rival).median();
    let large = |work, must, goal, found| Bar { work, must, goal, found, small: false, unit: "" };
    [
        large(
            "HTTP debits, PostgreSQL, 10,000 wallets, against pgbench",
            2.5,
            3.5,
            against(&on.many, &on.rival),
        ),
        large(
            "one hot wallet, PostgreSQL, against pgbench on one row",
            15.0,
            30.0,
            against(&on.hot, &on.rival_hot),
        ),
        // 35,000 and 70,000 where pgbench makes about 8,000.
        large(
            "engine without HTTP, PostgreSQL, against pgbench",
            4.375,
            8.75,
            against(&on.engine, &on.rival),
        ),
        Bar {
            work: "p99 at half of the highest load, PostgreSQL",
            must: 20.0,
            goal: 10.0,
            found: ms(paced.latency.percentile(990)),
            small: true,
            unit: "ms",
        },
    ]
}
