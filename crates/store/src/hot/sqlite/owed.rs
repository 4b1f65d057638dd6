//! How much of what is indexed behind the funnel is to be written beside its batches.

/// Rows that a step beside a batch writes at least. Fewer at a time would seek for each row; and a page of an index that is split
/// within it makes SQLite look through its whole cache at the next commit, for as long as the file is below 1 GiB: pages change
/// their numbers by way of the one at that place (`balance_nonroot`), which is then taken for one beyond the end of the file.
const STEP_ROWS: usize = 512;

/// Rows owed for what was appended, until they make up a step.
#[derive(Default)]
pub(super) struct Owed(usize);

impl Owed {
    /// Owes so many more rows; answers what to write now, once it is a step or all of a `window` of rows.
    pub(super) fn step(&mut self, rows: usize, window: usize) -> Option<usize> {
        self.0 += rows;
        (self.0 >= STEP_ROWS.min(window)).then(|| std::mem::take(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_answered_once_it_is_a_step_and_nothing_of_it_is_lost() {
        let mut owed = Owed::default();
        let steps: Vec<usize> = (0..STEP_ROWS).filter_map(|_| owed.step(40, usize::MAX)).collect();
        assert!(steps.iter().all(|rows| (STEP_ROWS..STEP_ROWS + 40).contains(rows)), "{steps:?}");
        assert_eq!(steps.iter().sum::<usize>() + owed.0, STEP_ROWS * 40);
    }

    #[test]
    fn a_window_smaller_than_a_step_is_one() {
        let mut owed = Owed::default();
        assert_eq!(owed.step(99, 100), None);
        assert_eq!(owed.step(1, 100), Some(100));
        assert_eq!(owed.step(1, 100), None);
    }
}
