//! Above which cost a person is asked first: what an action says, and what a user prefers.
//!
//! The lower of the two counts. Whoever comes back with the quote that such a refusal carries has asked.

use crate::amount::Amount;
use crate::key::Key;
use std::collections::BTreeMap;

/// Costs above which somebody has to confirm, by unit. Units that are not named are not asked about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Thresholds(BTreeMap<Key, Amount>);

impl Thresholds {
    /// The threshold in this unit, in its smallest parts.
    pub fn of(&self, unit: &Key) -> Option<Amount> {
        self.0.get(unit).copied()
    }

    /// Whether nobody is ever asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by unit.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Amount)> {
        self.0.iter().map(|(unit, amount)| (unit, *amount))
    }
}

impl FromIterator<(Key, Amount)> for Thresholds {
    fn from_iter<I: IntoIterator<Item = (Key, Amount)>>(all: I) -> Thresholds {
        Thresholds(all.into_iter().collect())
    }
}

/// The threshold that counts in this unit: the lower of the action's and the user's own.
pub fn threshold(action: &Thresholds, own: Option<&Thresholds>, unit: &Key) -> Option<Amount> {
    let both = [action.of(unit), own.and_then(|own| own.of(unit))];
    both.into_iter().flatten().min()
}
