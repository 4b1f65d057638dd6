//! The figures of one kind over the rounds of a run.

/// One figure a round, in the order of the rounds.
#[derive(Default, Clone)]
pub(super) struct Series {
    figures: Vec<f64>,
}

impl Series {
    /// Takes the figure of one more round, and shows it as it comes.
    pub(super) fn push(&mut self, name: &str, figure: f64) {
        eprintln!("{name}: {figure:.0} a second");
        self.figures.push(figure);
    }

    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.figures.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => 0.0,
            count if count % 2 == 1 => sorted[count / 2],
            count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
        }
    }

    pub(super) fn least(&self) -> f64 {
        self.figures.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(super) fn most(&self) -> f64 {
        self.figures.iter().copied().fold(0.0, f64::max)
    }

    /// Each round's figure as a multiple of the same round's figure of `other`.
    pub(super) fn against(&self, other: &Series) -> Series {
        let figures = self.figures.iter().zip(&other.figures).map(|(mine, theirs)| mine / theirs).collect();
        Series { figures }
    }

    #[cfg(test)]
    pub(super) fn of(figures: &[f64]) -> Self {
        Series { figures: figures.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round_and_then_the_median_counts() {
        // The machine was half as fast in the second round, for both.
        let (one, two) = (Series::of(&[100.0, 50.0, 110.0]), Series::of(&[10.0, 5.0, 10.0]));
        let ratio = one.against(&two);
        assert_eq!((ratio.median(), ratio.least(), ratio.most()), (10.0, 10.0, 11.0));
        assert_eq!(Series::of(&[4.0, 1.0]).median(), 2.5);
    }
}
