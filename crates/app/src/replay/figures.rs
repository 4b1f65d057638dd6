//! What a replay counts while it runs, and what it reports in the end.

use super::{Latency, ReplayError};
use purser_core::amount::{parse_decimal, render_decimal};
use purser_remote::purser::Hold;
use std::collections::BTreeMap;

/// Units on the wire have at most this many decimals; sums are kept in the smallest part of the finest.
const DECIMALS: u8 = 6;

/// Rows by what came of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Charged now.
    pub charged: u64,
    /// Charged before, under the same run.
    pub charged_before: u64,
    /// Refused for lack of credit.
    pub refused: u64,
    /// Cost more than was held, where the action's rule refuses that; released.
    pub exceeded: u64,
}

impl Count {
    /// All rows so far.
    pub fn rows(&self) -> u64 {
        self.charged + self.charged_before + self.refused + self.exceeded
    }
}

/// What a replay came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Rows by what came of them.
    pub count: Count,
    /// What was charged now, by unit, as exact decimals.
    pub moved: Vec<(String, String)>,
    /// HTTP requests that were answered.
    pub requests: u64,
    /// From the first request to the last answer, in microseconds.
    pub took: i64,
    /// Answered requests per second, rounded down.
    pub requests_per_second: u64,
    /// How long requests took.
    pub latency: Latency,
}

/// The figures of a replay under way.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) count: Count,
    pub(super) latency: Latency,
    moved: BTreeMap<String, i64>,
}

impl Figures {
    /// Counts a row that is charged.
    pub(super) fn charged(&mut self, hold: &Hold, replayed: bool) -> Result<(), ReplayError> {
        if replayed {
            self.count.charged_before += 1;
            return Ok(());
        }
        let wrong = || ReplayError::Amount(hold.captured.clone());
        let amount = parse_decimal(&hold.captured, DECIMALS).map_err(|_| wrong())?;
        let sum = self.moved.entry(hold.unit.clone()).or_default();
        *sum = sum.checked_add(amount).ok_or_else(wrong)?;
        self.count.charged += 1;
        Ok(())
    }

    pub(super) fn report(&self, took: i64) -> Report {
        let requests = self.latency.total();
        let per_second = u128::from(requests) * 1_000_000 / u128::from(took.max(1).unsigned_abs());
        Report {
            count: self.count,
            moved: self
                .moved
                .iter()
                .map(|(unit, sum)| (unit.clone(), render_decimal(*sum, DECIMALS)))
                .collect(),
            requests,
            took,
            requests_per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
            latency: self.latency.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(amount: &str) -> Hold {
        Hold { id: "hol_1".into(), captured: amount.into(), unit: "credit".into() }
    }

    #[test]
    fn sums_take_every_decimal_that_a_unit_may_have() {
        assert_eq!(DECIMALS, purser_core::Scale::MAX.decimals());
    }

    #[test]
    fn sums_are_exact_and_leave_out_what_was_charged_before() {
        let mut figures = Figures::default();
        for amount in ["0.1", "0.2", "1000000"] {
            figures.charged(&captured(amount), false).unwrap();
        }
        figures.charged(&captured("7"), true).unwrap();
        figures.count.refused = 2;
        let report = figures.report(1_000_000);
        assert_eq!(report.moved, [("credit".to_string(), "1000000.3".to_string())]);
        assert_eq!((report.count.charged, report.count.charged_before, report.count.rows()), (3, 1, 6));
        assert!(figures.charged(&captured("1e5"), false).is_err());
    }

    #[test]
    fn requests_per_second_are_over_the_whole_time() {
        let mut figures = Figures::default();
        (0..10).for_each(|_| figures.latency.record(1_000));
        assert_eq!(figures.report(2_000_000).requests_per_second, 5);
        assert_eq!(figures.report(0).requests, 10);
    }
}
